internal import Enforcement
internal import FoundationEssentials
internal import Identity
internal import Octets
internal import PacketHeaders
internal import Policy
internal import Rego

/// One line of the journal: what happened to a session. One of the parts is there.
struct SessionLine: Codable {
    /// The first line: which boot of the machine the file belongs to, and the last number that was given.
    struct Head: Codable {
        var format = 1
        let boot: String
        let last: UInt32
    }

    struct Opened: Codable {
        let id: String
        let number: UInt32
        let agent: String
        let within: UInt32
        let customer: String
        let issuer: String?
        let expires: UInt64
        let claims: String?
        let opened: UInt64
        let deadline: UInt64
        let tokens: [Token]
        let bindings: [Binding]
    }

    struct Token: Codable {
        let digest: String
        let until: UInt64
    }

    struct Binding: Codable {
        var cgroup: UInt64?
        var path: String?
        var socket: UInt64?
        var ports: [UInt16]?
        var source: String?
    }

    struct Bound: Codable {
        let number: UInt32
        let binding: Binding
    }

    struct Ended: Codable {
        let number: UInt32
        let reason: String
    }

    struct Used: Codable {
        let digest: String
        let agent: String
        let until: UInt64
    }

    var head: Head?
    /// A session as it is now: a new one, or one that was renewed.
    var session: Opened?
    var bound: Bound?
    var ended: Ended?
    /// A token that is used up.
    var used: Used?
}

extension SessionLine {
    /// The line as JSON with its line feed.
    var bytes: [UInt8] {
        get throws { Array(try JSONEncoder().encode(self)) + [0x0A] }
    }

    init(bytes: some Sequence<UInt8>) throws {
        self = try JSONDecoder().decode(SessionLine.self, from: Data(bytes))
    }

    init(session: OpenSession) {
        self.init()
        self.session = Opened(
            id: session.id, number: session.number.rawValue, agent: session.agent, within: session.within.rawValue,
            customer: session.customer.id, issuer: session.customer.issuer, expires: session.expires,
            claims: session.customer.claims?.text, opened: session.opened, deadline: session.deadline,
            tokens: session.tokens.map { Token(digest: Hex.encode($0.key), until: $0.value) },
            bindings: session.bindings.map { Binding($0) })
    }

    init(bound binding: SessionBinding, to number: SessionNumber) {
        self.init()
        bound = Bound(number: number.rawValue, binding: Binding(binding))
    }

    init(ended number: SessionNumber, _ reason: Reason) {
        self.init()
        ended = Ended(number: number.rawValue, reason: reason.rawValue)
    }

    init(used digest: [UInt8], agent: String, until: UInt64) {
        self.init()
        used = Used(digest: Hex.encode(digest), agent: agent, until: until)
    }
}

extension SessionLine.Binding {
    init(_ binding: SessionBinding) {
        self.init()
        switch binding {
        case .cgroup(let id, let path):
            cgroup = id.rawValue
            self.path = path
        case .socket(let cookie): socket = cookie.rawValue
        case .ports(let range): ports = [range.lowerBound, range.upperBound]
        case .source(let address): source = address.description
        }
    }

    var value: SessionBinding? {
        if let cgroup, let path { return .cgroup(CgroupID(rawValue: cgroup), path: path) }
        if let socket { return .socket(SocketCookie(rawValue: socket)) }
        if let ports, ports.count == 2, ports[0] <= ports[1] { return .ports(ports[0]...ports[1]) }
        return source.flatMap { IPAddress($0) }.map { .source($0) }
    }
}

extension SessionLine.Opened {
    var value: OpenSession? {
        let bindings = bindings.map(\.value)
        guard bindings.allSatisfy({ $0 != nil }) else { return nil }
        var claims: InputObject?
        if let text = self.claims {
            guard let value = try? RegoValue(json: text) else { return nil }
            claims = InputObject(value)
        }
        var uses: [[UInt8]: UInt64] = [:]
        for token in tokens {
            guard let digest = Hex.decode(token.digest) else { return nil }
            uses[digest] = token.until
        }
        var session = OpenSession(
            id: id, number: SessionNumber(rawValue: number), agent: agent, within: SessionNumber(rawValue: within),
            customer: Customer(id: customer, issuer: issuer, session: id, expires: expires, claims: claims),
            opened: opened, deadline: deadline, tokens: uses)
        session.bindings = bindings.compactMap { $0 }
        return session
    }
}
