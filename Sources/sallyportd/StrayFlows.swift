import Configuration
import DecisionLog
import Enforcement
import Glibc
import Identity
import Netlink
import PacketHeaders

/// Finds the flows of this host's agents that may have begun while the rules were not in force: before enforcement, or after
/// somebody had deleted them. No rule holds them up: their packets without payload pass, and so does what is sent to them.
///
/// Sockets say which there are, not connection tracking alone: without rules it may not have seen them. Those of guests need no
/// search: their next packet, either way, is refused by the daemon.
enum StrayFlows {
    /// Finds them and has them judged by the first queue thread. Waits for all of them.
    static func judge(agents: AgentTable, mark: MarkBits, by workers: [QueueWorker], log: LogThread) {
        do throws(NetlinkError) {
            var strays = try find(agents: agents, mark: mark)
            guard !strays.isEmpty else { return }
            // Asked afterwards: a flow that was found and is being decided is known by now.
            guard let known = knownFlows(of: workers) else { return }
            strays.removeAll { known.contains($0.flow) || known.contains($0.flow.reversed) }
            workers.first?.judge(strays)
        } catch {
            log.event(
                .internalError,
                message: "flows that began while the rules were not in force cannot be found: \(error)", fields: [:])
        }
    }

    /// The flows that the queue threads know; nil where one of them does not say: it ends, or stands still.
    private static func knownFlows(of workers: [QueueWorker]) -> Set<FiveTuple>? {
        let asked = workers.map { (worker: $0, request: ViewRequest(FlowSelection(limit: .max))) }
        for (worker, request) in asked { worker.ask(request) }
        var known: Set<FiveTuple> = []
        for (worker, request) in asked {
            for _ in 0..<5000 where request.answer == nil { usleep(1000) }
            guard let view = request.answer else {
                worker.withdraw(request)
                return nil
            }
            known.formUnion(view.flows.map(\.flow))
        }
        return known
    }

    /// The flows without a verdict, of agents and of whatever else is confined; among them those that are being decided now.
    private static func find(agents: AgentTable, mark: MarkBits) throws(NetlinkError) -> [StandingConnection] {
        var diagnosis = try SocketDiagnosis.open(cgroups: try CgroupHierarchy.find())
        var identities = IdentityCache(table: agents)
        let confined = "/" + agents.slice + "/"
        var candidates: Set<FiveTuple> = []
        for transport in [TransportProtocol.tcp, .udp] {
            for (flow, owner) in diagnosis.sockets(transport) where flow.destinationPort != 0 {
                let named = identities.identify(owner, in: agents, resolver: &diagnosis)
                let isConfined = named.identification.agent != nil || named.cgroup?.hasPrefix(confined) == true
                if isConfined { candidates.insert(flow) }
            }
        }
        // A datagram socket without a peer has as many flows as it has sent to.
        for flow in try Conntrack.connections(.udp, mark: 0, mask: mark.confined) where !candidates.contains(flow) {
            guard let owner = diagnosis.owner(of: flow) else { continue }
            if identities.identify(owner, in: agents, resolver: &diagnosis).identification.agent != nil {
                candidates.insert(flow)
            }
        }
        for bit in [mark.allowed, mark.refused] {
            for flow in try Conntrack.connections(.tcp, mark: bit, mask: bit) {
                candidates.remove(flow)
                candidates.remove(flow.reversed)
            }
        }
        var routes = try RouteLookup()
        return candidates.map { flow in
            var connection = StandingConnection(flow: flow)
            connection.hasSaidNothing = diagnosis.bytesAcknowledged(on: flow) == 0
            connection.isLocal = (true, routes.place(of: flow.destination) == .local)
            return connection
        }
    }
}
