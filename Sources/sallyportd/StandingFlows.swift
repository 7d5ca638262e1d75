import Configuration
import DecisionLog
import Enforcement
import Glibc
import Netlink
import PacketHeaders
import Policy
import Rego
import WholeFile

/// A flow that the kernel goes on to pass when the daemon ends, and what it was allowed for.
struct StandingFlow: Sendable {
    let flow: FiveTuple
    let allowed: PolicyInput
}

/// What one queue thread takes over from an earlier run, and what it leaves to the next.
struct Takeover: Sendable {
    var connections: [StandingConnection] = []
    var isSamePolicy = false
    var left: [StandingFlow] = []
}

/// Hands the flows that the kernel passes from one run of the daemon to the next.
///
/// Which there are is said by connection tracking, and whose they are by sockets and sessions: both outlive the daemon in
/// whatever way it ends. What they were allowed for is left in a file (0600) by a run that ends in an orderly way; the file
/// always says which policy was in force.
struct StandingFlows: Sendable {
    /// Flows that one thread leaves at most.
    static let limit = 65_536

    private let path: String

    /// Keeps its file in a directory that does not outlive the machine's boot.
    init(directory: String) {
        path = directory + "/flows.jsonl"
    }

    /// Gives the threads what an earlier run allowed.
    func takeOver(by workers: [QueueWorker], policy: String, mark: MarkBits, log: LogThread) {
        let (before, allowed) = read()
        leave([], policy: policy)
        do throws(NetlinkError) {
            // Refused connections have lost the bit, or have another one beside it.
            let flows = try Conntrack.connections(
                .tcp, mark: mark.confined | mark.allowed, mask: mark.confined | mark.allowed | mark.refused)
            var routes = try RouteLookup()
            var shares = workers.map { _ in Takeover(isSamePolicy: before == policy) }
            for (position, flow) in flows.enumerated() {
                var connection = StandingConnection(flow: flow)
                let places = (routes.place(of: flow.source), routes.place(of: flow.destination))
                connection.isLocal = (places.0 == .local, places.1 == .local)
                if case .interface(let index)? = places.0 { connection.sourceInterface = index }
                if case .interface(let index)? = places.1 { connection.destinationInterface = index }
                connection.allowed = allowed[flow]
                shares[position % workers.count].connections.append(connection)
            }
            for (worker, share) in zip(workers, shares) { worker.takeOver(share) }
        } catch {
            log.event(
                .internalError,
                message: "flows that an earlier run allowed cannot be found: \(error); they go on until they end")
        }
    }

    /// Writes what the next run is to know.
    func leave(_ flows: [StandingFlow], policy: String) {
        var text = #"{"policy":"\#(policy)"}"# + "\n"
        for flow in flows {
            let input = RegoValue.object([
                (.string("from"), .string(flow.flow.source.description)),
                (.string("input"), flow.allowed.value), (.string("port"), RegoValue(Int(flow.flow.sourcePort))),
            ])
            text += input.json + "\n"
        }
        // Where it cannot be written the old one stays: facts of flows that are gone, and of another policy, say nothing.
        let descriptor = WholeFile.replace(path, Array(text.utf8))
        if descriptor >= 0 { close(descriptor) }
    }

    /// The policy of the run before, and what it allowed flows for.
    private func read() -> (policy: String?, allowed: [FiveTuple: PolicyInput]) {
        guard let text = WholeFile.readOwn(path) else { return (nil, [:]) }
        var lines = text.split(separator: 0x0A)[...]
        let policy = lines.popFirst().flatMap { try? RegoValue(json: $0)["policy"]?.string }
        var allowed: [FiveTuple: PolicyInput] = [:]
        for line in lines {
            guard let value = try? RegoValue(json: line), let facts = value["input"],
                let input = try? PolicyInput(value: facts),
                let from = value["from"]?.string.flatMap({ IPAddress($0) }),
                let port = value["port"]?.integer.flatMap({ UInt16(exactly: $0) })
            else { continue }
            let flow = FiveTuple(
                source: from, sourcePort: port, destination: input.address, destinationPort: input.port,
                transport: input.transport)
            allowed[flow] = input
        }
        return (policy, allowed)
    }
}
