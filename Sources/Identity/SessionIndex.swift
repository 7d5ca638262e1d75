public import PacketHeaders

/// Whose session a flow belongs to.
public enum SessionMatch: Hashable, Sendable {
    /// Nobody's: nothing that is bound covers the flow.
    case none
    /// This session's; it may have ended.
    case session(SessionNumber)
    /// It cannot be told; the flow is refused.
    case unclear(String)
}

/// What names a flow's session, for one queue thread: the bindings of every session, by what they bind.
///
/// A socket lies in the scope of its agent and of the nearest cgroup above it that is bound to a session. Within that scope
/// the most specific binding wins: the socket itself, its local port, its local address, and last the bound cgroup. What was
/// bound in another scope says nothing of it.
///
/// A look-up costs a few hash table look-ups, however many sessions there are.
public struct SessionIndex: ~Copyable {
    private var cgroups: [CgroupID: SessionNumber] = [:]
    private var cgroupPaths: [String: SessionNumber] = [:]
    private var sockets: [SocketKey: SessionNumber] = [:]
    private var socketCounts: [SessionScope: Int] = [:]
    private var ports: [SessionScope: PortLeases] = [:]
    private var sources: [SourceKey: SessionNumber] = [:]
    private var bindings: [SessionNumber: [(scope: SessionScope, binding: SessionBinding)]] = [:]

    private struct SocketKey: Hashable {
        let scope: SessionScope
        let cookie: SocketCookie
    }

    private struct SourceKey: Hashable {
        let scope: SessionScope
        let address: IPAddress
    }

    /// Nothing is bound.
    public init() {}

    /// Whether nothing is bound.
    public var isEmpty: Bool { bindings.isEmpty }

    /// Binds something to a session. Whoever bound the same cgroup or socket in this scope before gives way: it has ended.
    public mutating func bind(_ session: SessionNumber, _ scope: SessionScope, _ binding: SessionBinding) {
        switch binding {
        case .cgroup(let id, let path):
            cgroups[id] = session
            cgroupPaths[path] = session
        case .socket(let cookie):
            if sockets.updateValue(session, forKey: SocketKey(scope: scope, cookie: cookie)) == nil {
                socketCounts[scope, default: 0] += 1
            }
        case .ports(let range):
            ports[scope, default: PortLeases()].insert(range, session)
        case .source(let address):
            sources[SourceKey(scope: scope, address: address)] = session
        }
        bindings[session, default: []].append((scope, binding))
    }

    /// Takes back what is leased to a session: ports and addresses.
    public mutating func release(_ session: SessionNumber) {
        let all = bindings[session] ?? []
        for (scope, binding) in all where binding.isLease { remove(session, scope, binding) }
        bindings[session] = all.filter { !$0.binding.isLease }
    }

    /// Takes back everything that is bound to a session.
    public mutating func forget(_ session: SessionNumber) {
        for (scope, binding) in bindings.removeValue(forKey: session) ?? [] { remove(session, scope, binding) }
    }

    /// The session whose bound cgroup is nearest above a cgroup; `.none` where none is.
    /// - Parameter id: nil where the directory is gone: then what was bound at its path counts.
    public func cgroupSession(of id: CgroupID?, path: String) -> SessionNumber {
        guard !cgroups.isEmpty else { return .none }
        if let session = id.map({ cgroups[$0] }) ?? cgroupPaths[path] { return session }
        // A directory of the same name that was made later is another one; what lies below the bound one counts.
        var end = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        while let slash = end, slash != path.startIndex {
            if let session = cgroupPaths[String(path[..<slash])] { return session }
            end = path.utf8[..<slash].lastIndex(of: UInt8(ascii: "/"))
        }
        return .none
    }

    /// The session that a cgroup itself is bound to; `.none` where there is none.
    public func cgroupSession(ofExactly id: CgroupID) -> SessionNumber { cgroups[id] ?? .none }

    /// The session that a socket is bound to within a scope; `.none` where there is none.
    public func socketSession(of cookie: SocketCookie, _ scope: SessionScope) -> SessionNumber {
        sockets[SocketKey(scope: scope, cookie: cookie)] ?? .none
    }

    /// The session that an address is leased to within a scope; `.none` where there is none.
    public func sourceSession(of address: IPAddress, _ scope: SessionScope) -> SessionNumber {
        sources[SourceKey(scope: scope, address: address)] ?? .none
    }

    /// Whether one of these ports is leased within a scope.
    public func hasLease(of range: ClosedRange<UInt16>, _ scope: SessionScope) -> Bool {
        ports[scope]?.overlap(range) ?? false
    }

    /// The session of what a local socket sends.
    /// - Parameters:
    ///   - agent: the id of the socket's agent.
    ///   - path: the path of the socket's cgroup.
    ///   - flow: the flow, the socket's side first.
    public func session(of socket: SocketOwner, agent: String, path: String, flow: FiveTuple) -> SessionMatch {
        guard !bindings.isEmpty else { return .none }
        let within = socket.cgroup.map { cgroupSession(of: $0, path: path) } ?? .none
        let scope = SessionScope(agent: agent, within: within)
        if let cookie = socket.cookie {
            if let session = sockets[SocketKey(scope: scope, cookie: cookie)] { return .session(session) }
        } else if socketCounts[scope] != nil {
            return .unclear(
                "several sockets share the local port, and sessions of this agent are bound to single sockets")
        }
        if let leases = ports[scope] {
            switch leases.session(at: flow.sourcePort) {
            case .none: break
            case let found: return found
            }
        }
        if let session = sources[SourceKey(scope: scope, address: flow.source)] { return .session(session) }
        return within == .none ? .none : .session(within)
    }

    /// The session of what a forwarded agent sends from an address.
    public func session(ofForwarded agent: String, source: IPAddress) -> SessionMatch {
        guard !sources.isEmpty else { return .none }
        let key = SourceKey(scope: SessionScope(agent: agent), address: source)
        return sources[key].map { .session($0) } ?? .none
    }

    private mutating func remove(_ session: SessionNumber, _ scope: SessionScope, _ binding: SessionBinding) {
        switch binding {
        case .cgroup(let id, let path):
            if cgroups[id] == session { cgroups[id] = nil }
            if cgroupPaths[path] == session { cgroupPaths[path] = nil }
        case .socket(let cookie):
            let key = SocketKey(scope: scope, cookie: cookie)
            guard sockets[key] == session else { return }
            sockets[key] = nil
            if let count = socketCounts[scope] { socketCounts[scope] = count > 1 ? count - 1 : nil }
        case .ports(let range):
            ports[scope]?.remove(range, session)
            if ports[scope]?.isEmpty == true { ports[scope] = nil }
        case .source(let address):
            let key = SourceKey(scope: scope, address: address)
            if sources[key] == session { sources[key] = nil }
        }
    }
}

/// The port leases of one scope.
private struct PortLeases {
    private var leases: [(ports: ClosedRange<UInt16>, session: SessionNumber)] = []
    private var overlaps = false

    var isEmpty: Bool { leases.isEmpty }

    mutating func insert(_ ports: ClosedRange<UInt16>, _ session: SessionNumber) {
        let position = leases.firstIndex { $0.ports.lowerBound > ports.lowerBound } ?? leases.count
        leases.insert((ports, session), at: position)
        noteOverlap()
    }

    mutating func remove(_ ports: ClosedRange<UInt16>, _ session: SessionNumber) {
        leases.removeAll { $0.session == session && $0.ports == ports }
        noteOverlap()
    }

    func overlap(_ ports: ClosedRange<UInt16>) -> Bool {
        leases.contains { $0.ports.overlaps(ports) }
    }

    /// The one lease that holds a port.
    func session(at port: UInt16) -> SessionMatch {
        guard !overlaps else {
            let found = leases.filter { $0.ports.contains(port) }
            if found.count > 1 { return .unclear("local port \(port) is leased to two sessions") }
            return found.first.map { .session($0.session) } ?? .none
        }
        // The first lease that begins behind the port; the one before may hold it.
        var low = 0
        var high = leases.count
        while low < high {
            let middle = (low + high) / 2
            if leases[middle].ports.lowerBound <= port { low = middle + 1 } else { high = middle }
        }
        guard low > 0, leases[low - 1].ports.contains(port) else { return .none }
        return .session(leases[low - 1].session)
    }

    private mutating func noteOverlap() {
        overlaps = zip(leases, leases.dropFirst()).contains { $0.ports.upperBound >= $1.ports.lowerBound }
    }
}

extension SessionBinding {
    /// Whether a session's end frees what is bound: chosen by a process, it may be another's next.
    fileprivate var isLease: Bool {
        switch self {
        case .ports, .source: true
        case .cgroup, .socket: false
        }
    }
}
