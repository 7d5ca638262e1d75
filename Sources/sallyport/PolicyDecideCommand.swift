import ArgumentParser
import Configuration
import Control
import Policy
import PolicySources
import Rego

/// `sallyport policy decide`: what the daemon would do.
struct PolicyDecideCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decide", abstract: "Says what a policy decides on an input, as the daemon would.",
        discussion: """
            The input is JSON as policies/schema/input.schema.json describes it, such as `sallyport explain` shows. Exit \
            status 0 where the policy allows, 1 where it does not, 2 where policy or input cannot be used.
            """)

    @Argument(help: "The policy's directory. (default: policy.directory of the configuration)")
    var directory: String?

    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    @Option(name: .shortAndLong, help: "A file with the input; - for standard input.")
    var input: String

    func run() throws {
        let settings = try configuration.load().policy
        let policy: LoadedPolicy
        do throws(PolicyLoadError) {
            policy = try LoadedPolicy.load(directory ?? settings.directory, package: settings.package)
        } catch {
            throw CommandFailure.badInput(error.description)
        }
        let decision = policy.engine.makeSession().decide(try readInput())
        if output.json {
            try output.printJSON(DecisionReport(decision, revision: policy.engine.revision))
        } else {
            let text = [
                decision.allow ? nil : decision.reason.rawValue, decision.rule.map { "rule \($0)" },
                decision.policyReason,
            ].compactMap { $0 }.joined(separator: ", ")
            print(Console.styled(decision.allow ? "allow" : "deny", decision.allow ? .green : .red) + " (\(text))")
        }
        guard decision.allow else { throw CommandFailure.no() }
    }

    private func readInput() throws -> PolicyInput {
        let name = InputFile.name(of: input)
        let bytes = try InputFile.contents(of: input)
        let value: RegoValue
        do throws(RegoError) {
            value = try RegoValue(json: bytes)
        } catch {
            throw CommandFailure.badInput("\(name): not JSON: \(error) (see policies/schema/input.schema.json)")
        }
        do throws(PolicyInputError) {
            return try PolicyInput(value: value)
        } catch {
            throw CommandFailure.badInput("\(name): \(error) (see policies/schema/input.schema.json)")
        }
    }

    private struct DecisionReport: Encodable {
        let allow: Bool
        let reason: String
        let policyReason: String?
        let rule: String?
        let log: String
        let policyRevision: String

        init(_ decision: PolicyDecision, revision: String) {
            allow = decision.allow
            reason = decision.reason.rawValue
            policyReason = decision.policyReason
            rule = decision.rule
            log = decision.logging.rawValue
            policyRevision = revision
        }
    }
}
