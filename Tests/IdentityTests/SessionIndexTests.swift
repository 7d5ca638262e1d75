import PacketHeaders
import Testing

@testable import Identity

@Suite struct SessionIndexTests {
    static let bot = SessionScope(agent: "bot")
    static let first = SessionNumber(rawValue: 1)
    static let second = SessionNumber(rawValue: 2)
    static let root = "/sallyport.slice/sallyport-bot.slice"

    private func flow(_ port: UInt16, from source: UInt32 = 0xC612_0002) -> FiveTuple {
        FiveTuple(
            source: IPAddress(v4: source), sourcePort: port, destination: IPAddress(v4: 0xC612_0001),
            destinationPort: 443, transport: .tcp)
    }

    private func socket(_ cookie: UInt64?, cgroup: UInt64 = 7) -> SocketOwner {
        SocketOwner(
            cgroup: CgroupID(rawValue: cgroup), cookie: cookie.map { SocketCookie(rawValue: $0) }, uid: 1001, inode: 1)
    }

    private func cgroup(_ id: UInt64, _ name: String) -> SessionBinding {
        .cgroup(CgroupID(rawValue: id), path: Self.root + name)
    }

    @Test("takes the most specific binding: the socket, its port, its address, its cgroup")
    func ranks() {
        var index = SessionIndex()
        let within = SessionScope(agent: "bot", within: Self.first)
        let (third, fourth) = (SessionNumber(rawValue: 3), SessionNumber(rawValue: 4))
        func found(_ index: borrowing SessionIndex) -> SessionMatch {
            index.session(of: socket(9), agent: "bot", path: Self.root + "/a", flow: flow(4000))
        }
        let before = found(index)
        #expect(before == .none)
        index.bind(Self.first, Self.bot, cgroup(7, "/a"))
        let byCgroup = found(index)
        #expect(byCgroup == .session(Self.first))
        index.bind(Self.second, within, .source(IPAddress(v4: 0xC612_0002)))
        let bySource = found(index)
        #expect(bySource == .session(Self.second))
        index.bind(third, within, .ports(3900...4000))
        let byPort = found(index)
        #expect(byPort == .session(third))
        index.bind(fourth, within, .socket(SocketCookie(rawValue: 9)))
        let bySocket = found(index)
        #expect(bySocket == .session(fourth))
    }

    @Test("a lease counts in the scope where it was taken: a bound worker that takes the port is not its holder")
    func scopes() {
        var index = SessionIndex()
        index.bind(Self.first, Self.bot, cgroup(7, "/a"))
        index.bind(Self.second, Self.bot, .ports(4000...4010))
        index.bind(Self.second, Self.bot, .socket(SocketCookie(rawValue: 9)))
        let outside = index.session(of: socket(1, cgroup: 5), agent: "bot", path: Self.root, flow: flow(4000))
        #expect(outside == .session(Self.second))
        let worker = index.session(of: socket(1), agent: "bot", path: Self.root + "/a", flow: flow(4000))
        #expect(worker == .session(Self.first))
        let handed = index.session(of: socket(9), agent: "bot", path: Self.root + "/a", flow: flow(9))
        #expect(handed == .session(Self.first))
        let other = index.session(of: socket(9, cgroup: 5), agent: "other", path: "/o", flow: flow(4000))
        #expect(other == .none)
    }

    @Test("takes the nearest bound cgroup, and none that was made later under the same name")
    func nearest() {
        var index = SessionIndex()
        index.bind(Self.first, Self.bot, cgroup(7, "/a"))
        index.bind(Self.second, Self.bot, cgroup(8, "/a/b"))
        func session(_ id: UInt64, _ name: String) -> SessionNumber {
            index.cgroupSession(of: CgroupID(rawValue: id), path: Self.root + name)
        }
        #expect(session(7, "/a") == Self.first)
        #expect(session(20, "/a/c/d") == Self.first)
        #expect(session(8, "/a/b") == Self.second)
        #expect(session(21, "/a/b/c") == Self.second)
        #expect(session(22, "/a/bb") == Self.first)
        #expect(session(23, "/aa") == .none)
        #expect(session(24, "/a") == .none)
    }

    @Test("cannot tell two leases of one port, nor one of several sockets on a port where single sockets are bound")
    func unclear() {
        var index = SessionIndex()
        index.bind(Self.first, Self.bot, .ports(4000...4010))
        index.bind(Self.second, Self.bot, .ports(4005...4020))
        let only = index.session(of: socket(1), agent: "bot", path: Self.root, flow: flow(4004))
        #expect(only == .session(Self.first))
        guard case .unclear = index.session(of: socket(1), agent: "bot", path: Self.root, flow: flow(4007)) else {
            Issue.record("two leases of a port are told apart")
            return
        }
        index.forget(Self.first)
        let freed = index.session(of: socket(1), agent: "bot", path: Self.root, flow: flow(4007))
        #expect(freed == .session(Self.second))
        let shared = index.session(of: socket(nil), agent: "bot", path: Self.root, flow: flow(5000))
        #expect(shared == .none)
        index.bind(Self.second, Self.bot, .socket(SocketCookie(rawValue: 9)))
        guard case .unclear = index.session(of: socket(nil), agent: "bot", path: Self.root, flow: flow(5000)) else {
            Issue.record("a datagram of several sockets is given to a session")
            return
        }
        index.forget(Self.second)
        let isEmpty = index.isEmpty
        #expect(isEmpty)
    }

    @Test("an ended session gives its leases back and keeps its cgroup and sockets; a forgotten one keeps nothing")
    func ends() {
        var index = SessionIndex()
        let within = SessionScope(agent: "bot", within: Self.first)
        index.bind(Self.first, Self.bot, cgroup(7, "/a"))
        index.bind(Self.first, within, .socket(SocketCookie(rawValue: 9)))
        index.bind(Self.second, Self.bot, .ports(4000...4000))
        index.bind(Self.second, Self.bot, .source(IPAddress(v4: 0xC612_0003)))
        index.release(Self.second)
        index.release(Self.first)
        let port = index.session(of: socket(1, cgroup: 5), agent: "bot", path: Self.root, flow: flow(4000))
        #expect(port == .none)
        let source = index.session(
            of: socket(1, cgroup: 5), agent: "bot", path: Self.root, flow: flow(1, from: 0xC612_0003))
        #expect(source == .none)
        let worker = index.session(of: socket(1), agent: "bot", path: Self.root + "/a", flow: flow(1))
        #expect(worker == .session(Self.first))
        let bound = index.session(of: socket(9), agent: "bot", path: Self.root + "/a", flow: flow(1))
        #expect(bound == .session(Self.first))
        index.forget(Self.first)
        let forgotten = index.session(of: socket(9), agent: "bot", path: Self.root + "/a", flow: flow(1))
        #expect(forgotten == .none)
    }

    @Test("a forwarded agent is told apart by the address it sends from, and by no port")
    func forwarded() {
        var index = SessionIndex()
        index.bind(Self.first, SessionScope(agent: "box"), .source(IPAddress(v4: 0xC612_0505)))
        index.bind(Self.second, SessionScope(agent: "box"), .ports(4000...4000))
        let known = index.session(ofForwarded: "box", source: IPAddress(v4: 0xC612_0505))
        #expect(known == .session(Self.first))
        let neighbour = index.session(ofForwarded: "box", source: IPAddress(v4: 0xC612_0506))
        #expect(neighbour == .none)
        let other = index.session(ofForwarded: "tap", source: IPAddress(v4: 0xC612_0505))
        #expect(other == .none)
    }
}
