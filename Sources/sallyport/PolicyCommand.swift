import ArgumentParser
import Configuration
import Control
import Glibc
import Policy
import PolicySources
import Rego

/// `sallyport policy`: a policy before it is put in force.
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Checks, tests and asks a policy, without putting it in force.",
        discussion: "`systemctl reload sallyportd` puts the policy of the configuration in force.",
        subcommands: [Check.self, Test.self, Eval.self])

    /// The policy that a command is about.
    struct Options: ParsableArguments {
        @Argument(help: "The policy's directory. (default: policy.directory of the configuration)")
        var directory: String?

        @OptionGroup var configuration: ConfigurationOptions

        /// The directory and the package in which `decision` is looked for.
        func load() throws -> (directory: PolicyDirectory, package: String) {
            let settings = try configuration.load().policy
            do throws(PolicyLoadError) {
                return (try PolicyDirectory.read(directory ?? settings.directory), settings.package)
            } catch {
                throw CommandFailure.badInput(error.description)
            }
        }

        /// What a step on the policy gives, its failure as a failed check.
        static func attempt<Result>(_ body: () throws(PolicyLoadError) -> Result) throws -> Result {
            do throws(PolicyLoadError) {
                return try body()
            } catch {
                throw CommandFailure.no(error.description)
            }
        }
    }

    /// `sallyport policy check`.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says whether a policy and its tests compile and define a decision.",
            discussion: "Exit status 0 where they do, 1 where they do not, 2 where the directory cannot be read.")

        @OptionGroup var options: Options
        @OptionGroup var output: OutputOptions

        func run() throws {
            let (directory, package) = try options.load()
            let policy = try Options.attempt { () throws(PolicyLoadError) in
                try LoadedPolicy.compile(directory, package: package)
            }
            _ = try Options.attempt { () throws(PolicyLoadError) in try PolicyTestRunner(directory) }
            if output.json {
                return try output.printJSON(
                    CheckReport(
                        directory: directory.path, package: package, revision: policy.engine.revision,
                        modules: directory.modules.map { $0.name }, data: directory.data.map { $0.name },
                        tests: directory.tests.map { $0.name }))
            }
            print("\(directory.path): good, revision \(policy.engine.revision), package \(package)")
        }
    }

    /// `sallyport policy test`.
    struct Test: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Runs a policy's own tests: rules test_* of its modules, *_test.rego among them.",
            discussion:
                "Exit status 0 where all pass, 1 where one fails or there is none, 2 where the directory cannot be read."
        )

        @OptionGroup var options: Options
        @OptionGroup var output: OutputOptions

        func run() throws {
            let (directory, _) = try options.load()
            let runner = try Options.attempt { () throws(PolicyLoadError) in try PolicyTestRunner(directory) }
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            let results = runner.run(time: now.tv_sec * 1_000_000_000 + now.tv_nsec).map { TestReport($0) }
            let failed = results.filter { $0.outcome == "failed" }.count
            if output.json {
                try output.printJSON(results)
            } else {
                for result in results { print(result.line) }
                let skipped = results.filter { $0.outcome == "skipped" }.count
                print("\(results.count - failed - skipped) passed, \(failed) failed, \(skipped) skipped")
            }
            guard !results.isEmpty else {
                throw CommandFailure.no(
                    "\(directory.path): no tests: no rule is named test_* (add them in *_test.rego)")
            }
            guard failed == 0 else { throw CommandFailure.no() }
        }
    }

    /// `sallyport policy eval`.
    struct Eval: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says what a policy decides on an input.",
            discussion: """
                The input is JSON as policies/schema/input.schema.json describes it, such as `sallyport explain` shows. Exit \
                status 0 where the policy allows, 1 where it does not, 2 where policy or input cannot be used.
                """)

        @OptionGroup var options: Options
        @OptionGroup var output: OutputOptions

        @Option(help: "A file with the input; - for standard input.")
        var input: String

        func run() throws {
            let (directory, package) = try options.load()
            let policy: LoadedPolicy
            do throws(PolicyLoadError) {
                policy = try LoadedPolicy.compile(directory, package: package)
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
            let name = input == "-" ? "standard input" : input
            let bytes = try Self.contents(of: input, named: name)
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

        private static func contents(of path: String, named name: String) throws -> [UInt8] {
            let descriptor = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw unreadable(name) }
            defer { close(descriptor) }
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 65_536)
            while bytes.count <= largestInput {
                let count = read(descriptor, &chunk, chunk.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw unreadable(name) }
                if count == 0 { return bytes }
                bytes += chunk[..<count]
            }
            throw CommandFailure.badInput("\(name): too large: more than \(largestInput) bytes (give one input)")
        }

        private static func unreadable(_ name: String) -> CommandFailure {
            .badInput("\(name): cannot be read: \(String(cString: strerror(errno))) (check the path and its rights)")
        }
    }

    private struct CheckReport: Encodable {
        let directory: String
        let package: String
        let revision: String
        let modules: [String]
        let data: [String]
        let tests: [String]
    }

    private struct TestReport: Encodable {
        let name: String
        let outcome: String
        let detail: String?

        init(_ result: PolicyTestResult) {
            name = result.name
            switch result.outcome {
            case .passed: (outcome, detail) = ("passed", nil)
            case .skipped: (outcome, detail) = ("skipped", nil)
            case .failed(let why): (outcome, detail) = ("failed", why)
            }
        }

        var line: String {
            let style: Console.Style = outcome == "passed" ? .green : outcome == "failed" ? .red : .yellow
            return TextTable.line([.init(outcome, style), .init(name + (detail.map { ": \($0)" } ?? ""))], widths: [7])
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

private let largestInput = 1 << 20
