import Identity
import PacketHeaders
import Policy

/// Who is behind a packet, with the kernel's facts that say so.
struct PacketIdentity {
    /// The agent, or why none.
    var identification: Identification
    /// The uid of the socket's creator.
    var uid: UInt32?
    /// The socket's cgroup.
    var cgroup: CgroupID?
    /// The path of that cgroup.
    var path: String?
    /// The inode of the agent's socket, 0 where it is not known.
    var inode: UInt32 = 0
    /// Whose session the packet belongs to.
    var session = SessionMatch.none
}

extension EnforcementEngine where Resolver: ~Copyable {
    /// Names the agent of a packet that leaves it: by its socket in the output hook, else by interface and source address.
    /// - Parameter local: the flow with the agent's side as its source.
    mutating func identify(_ arrival: Arrival, local: FiveTuple) -> PacketIdentity {
        guard arrival.facts.hook == .output else {
            let identification = snapshot.agents.identify(
                interface: arrival.facts.inputInterface, source: local.source)
            var identity = PacketIdentity(identification: identification, uid: nil, cgroup: nil, path: nil)
            if let agent = identification.agent {
                identity.session = sessions.index.session(
                    ofForwarded: snapshot.agents[agent].id, source: local.source)
            }
            return identity
        }
        guard var owner = resolver.owner(of: local, uid: arrival.facts.uid) else {
            return PacketIdentity(
                identification: .nobody(.noSocket), uid: arrival.facts.uid, cgroup: nil, path: nil)
        }
        var identity = name(&owner, arrival)
        if let agent = identity.identification.agent, let path = identity.path {
            identity.session = sessions.index.session(
                of: owner, agent: snapshot.agents[agent].id, path: path, flow: local)
        }
        return identity
    }

    private mutating func name(_ owner: inout SocketOwner, _ arrival: Arrival) -> PacketIdentity {
        // The packet's own uid is that of the socket which sent it; sock_diag's is asked a moment later.
        if let uid = arrival.facts.uid {
            owner = SocketOwner(cgroup: owner.cgroup, cookie: owner.cookie, uid: uid, inode: owner.inode)
        }
        let named = identities.identify(owner, in: snapshot.agents, resolver: &resolver)
        return PacketIdentity(
            identification: named.identification, uid: owner.uid, cgroup: owner.cgroup, path: named.cgroup,
            inode: owner.inode)
    }

    /// Names the agent that a packet goes to: by the socket that takes it in the input hook, else by the interface that it
    /// will leave by and its destination address.
    mutating func identify(towards arrival: Arrival) -> PacketIdentity {
        let flow = arrival.packet.flow
        if arrival.facts.hook == .input {
            guard
                var owner = resolver.listener(
                    at: flow.destination, port: flow.destinationPort, transport: flow.transport)
                    ?? resolver.owner(of: flow.reversed)
            else { return PacketIdentity(identification: .nobody(.noSocket), uid: nil, cgroup: nil, path: nil) }
            return name(&owner, arrival)
        }
        return PacketIdentity(
            identification: snapshot.agents.identify(
                interface: arrival.facts.outputInterface, source: flow.destination),
            uid: nil, cgroup: nil, path: nil)
    }

    /// Ties a flow that begins to its session. Returns why it may not begin, or nil.
    func join(_ identity: PacketIdentity, _ state: inout FlowState, _ arrival: Arrival) -> Refusal? {
        switch identity.session {
        case .none: return nil
        case .unclear(let text): return Refusal(.noSession, text: text)
        case .session(let session):
            state.session = session
            return sessions.refusal(of: session, at: arrival.clock.wall).map { reason in
                Refusal(
                    reason, Self.endText(reason),
                    makeInput(.connect, arrival.packet.flow, state, clock: arrival.clock))
            }
        }
    }

    /// A sentence for a refusal without identity.
    func describe(_ identity: PacketIdentity) -> String? {
        guard case .nobody(let reason) = identity.identification else { return nil }
        let facts = [identity.path.map { "cgroup \($0)" }, identity.uid.map { "uid \($0)" }].compactMap { $0 }
        let text = snapshot.agents.describe(reason)
        return facts.isEmpty ? text : "\(text) (\(facts.joined(separator: ", ")))"
    }

    /// The facts that every stage has.
    func makeInput(
        _ stage: DecisionStage, _ tuple: FiveTuple, _ state: FlowState, clock: ClockReading
    ) -> PolicyInput {
        var input = PolicyInput(
            time: clock.wall, stage: stage, agent: agent(at: state.agent), address: tuple.destination,
            port: tuple.destinationPort, transport: tuple.transport)
        input.uid = state.uid == .max ? nil : state.uid
        input.cgroup = state.cgroup == 0 ? nil : identities.path(of: CgroupID(rawValue: state.cgroup))
        input.customer = sessions.customer(of: state.session)
        if state.listener != .max { input.listenerAgent = agent(at: state.listener).id }
        locate(&input, clock: clock)
        return input
    }

    /// The facts of a packet for which no flow is kept.
    func makeInput(
        _ stage: DecisionStage, _ tuple: FiveTuple, identity: PacketIdentity, clock: ClockReading
    ) -> PolicyInput {
        let agent =
            identity.identification.agent.map { snapshot.agents[$0] } ?? Agent(id: "", labels: [:], selectors: [])
        var input = PolicyInput(
            time: clock.wall, stage: stage, agent: agent, address: tuple.destination, port: tuple.destinationPort,
            transport: tuple.transport)
        input.uid = identity.uid
        input.cgroup = identity.path
        if case .session(let session) = identity.session {
            input.customer = sessions.customer(of: session)
        }
        locate(&input, clock: clock)
        return input
    }
}
