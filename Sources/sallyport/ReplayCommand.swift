import ArgumentParser
import Configuration
import DecisionLog
import Enforcement
import Flow
import Identity
import PacketHeaders
import Policy
import PolicySources

/// `sallyport replay`: what a policy would have decided on the flows of a capture.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Says what a policy would have decided on a capture. Needs no root and no daemon.",
        discussion: """
            Every flow of the capture (pcap, pcapng) is taken as one that the agent opened, and goes through the daemon's own \
            engine. One line a decision; with --json one object a line, with the fields of docs/journal.md. Each server of DNS \
            in the capture counts as a configured resolver unless --resolver names others. Names lead where the answers in the \
            capture and the configuration say; where it shows no answer at all, names and addresses are not compared. Flows that \
            the capture does not show from their beginning are refused (preexisting), as the daemon would. What the kernel's \
            rules drop is not replayed.
            Exit status 0 where everything was allowed, 1 where something was refused, 2 where policy or file cannot be used.
            """)

    @Argument(help: "The capture file.")
    var file: String

    @Option(help: "The policy's directory. (default: policy.directory of the configuration)")
    var policy: String?

    @Option(help: "The agent; with the labels of the configuration where it is listed there.")
    var agent: String

    @Option(help: "The customer for whom the agent acts on every flow.")
    var customer: String?

    @Option(name: .customLong("resolver"), help: "A DNS resolver that the agent may use; may be repeated.")
    var resolvers: [String] = []

    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let settings = try configuration.load()
        let loaded: LoadedPolicy
        do throws(PolicyLoadError) {
            loaded = try LoadedPolicy.load(policy ?? settings.policy.directory, package: settings.policy.package)
        } catch {
            throw CommandFailure.badInput(error.description)
        }
        let capture = try CaptureFile(path: file)
        let labels = settings.agents.first { $0.id == agent }?.labels ?? [:]
        var replay = CaptureReplay(
            agent: agent, labels: labels, policy: loaded.engine, resolvers: try resolverAddresses(),
            customer: customer.map { Customer(id: $0) },
            names: NameWatch(isOn: settings.dns.isWatched, fixed: settings.fixedNames),
            bindingLimits: NameBindings.Limits(
                floorSeconds: settings.dns.floorSeconds, graceSeconds: settings.dns.graceSeconds))
        var identifiers = DecisionIDSource(seed: 0)
        var progress = ProgressBar(total: capture.byteCount)
        var lines = OutputLines()
        var bytes: [UInt8] = []
        var isRefused = false
        replay.read(capture.bytes, progress: { progress.show($0) }) { outcome in
            isRefused = isRefused || !outcome.decision.allow
            let record = DecisionRecord(
                id: identifiers.next(nanoseconds: outcome.input.time), input: outcome.input,
                decision: outcome.decision, flow: outcome.flow, isInbound: outcome.isInbound,
                policyRevision: loaded.engine.revision, latencyMicroseconds: 0)
            guard output.json else { return lines.append(Self.line(record)) }
            bytes.removeAll(keepingCapacity: true)
            RecordFormat.appendJSON(record, to: &bytes)
            lines.append(String(decoding: bytes, as: UTF8.self))
        }
        progress.clear()
        lines.flush()
        if settings.dns.isWatched, !replay.comparesNames {
            Console.note("no resolver answers in \(file): names and addresses were not compared, as with dns: off")
        }
        if let error = replay.fileError {
            throw CommandFailure.badInput(
                "\(file): \(error) (give a pcap or pcapng file; what was read up to there is shown)")
        }
        if isRefused { throw CommandFailure.no() }
    }

    private func resolverAddresses() throws -> [IPAddress]? {
        guard !resolvers.isEmpty else { return nil }
        return try resolvers.map { text in
            guard let address = IPAddress(text) else {
                throw CommandFailure.badInput("--resolver \(text): not an address (give an IPv4 or IPv6 address)")
            }
            return address
        }
    }

    private static func line(_ record: DecisionRecord) -> String {
        let message = RecordFormat.message(of: record)
        let time = Timestamp.text(nanoseconds: record.input.time)
        return "\(time)  " + Console.styled(message, record.decision.allow ? .plain : .red)
    }
}
