import PacketHeaders
import Testing

@testable import Identity

@Suite struct IdentityCacheTests {
    /// A kernel of a few cgroups that counts how often it is asked.
    private struct Kernel: SocketOwnerResolving {
        var paths: [UInt64: String]
        var asked = 0

        mutating func owner(of _: FiveTuple, uid _: UInt32?) -> SocketOwner? { nil }
        mutating func listener(at _: IPAddress, port _: UInt16, transport _: TransportProtocol) -> SocketOwner? { nil }
        mutating func bytesAcknowledged(on _: FiveTuple) -> UInt64? { nil }
        mutating func tracked(_: FiveTuple) -> TrackedFlow? { nil }
        mutating func path(of cgroup: CgroupID) -> String? {
            asked += 1
            return paths[cgroup.rawValue]
        }
    }

    private func owner(_ cgroup: UInt64?, uid: UInt32? = nil) -> SocketOwner {
        SocketOwner(cgroup: cgroup.map { CgroupID(rawValue: $0) }, cookie: nil, uid: uid, inode: 1)
    }

    private func table(_ ids: String...) throws -> AgentTable {
        try AgentTable(ids.map { Agent(id: $0, labels: [:], selectors: $0 == "bot" ? [.uid(1001)] : []) })
    }

    @Test("an orphaned socket keeps its agent after the cgroup is gone")
    func orphans() throws {
        let table = try table("bot")
        var kernel = Kernel(paths: [7: "/sallyport.slice/sallyport-bot.slice/run.scope"])
        var cache = IdentityCache(table: table)
        let first = cache.identify(owner(7), in: table, resolver: &kernel)
        #expect(first.identification == .agent(AgentIndex(rawValue: 0)))
        kernel.paths = [:]
        let second = cache.identify(owner(7), in: table, resolver: &kernel)
        #expect(second.identification == first.identification)
        #expect(second.cgroup == "/sallyport.slice/sallyport-bot.slice/run.scope")
        #expect(kernel.asked == 1)
    }

    @Test("a cgroup that is gone and was never seen is nobody's, whatever the uid")
    func unknown() throws {
        let table = try table("bot")
        var kernel = Kernel(paths: [:])
        var cache = IdentityCache(table: table)
        #expect(
            cache.identify(owner(7, uid: 1001), in: table, resolver: &kernel).identification == .nobody(.cgroupUnknown))
        #expect(
            cache.identify(owner(nil, uid: 1001), in: table, resolver: &kernel).identification
                == .nobody(.cgroupUnknown))
        kernel.paths = [7: "/elsewhere"]
        #expect(cache.identify(owner(7, uid: 1001), in: table, resolver: &kernel).identification.agent != nil)
    }

    @Test("one cgroup, two uids: each socket by its own")
    func uidPerSocket() throws {
        let table = try table("bot", "other")
        var kernel = Kernel(paths: [7: "/elsewhere", 8: "/sallyport.slice/sallyport-other.slice"])
        var cache = IdentityCache(table: table)
        #expect(cache.identify(owner(7, uid: 1001), in: table, resolver: &kernel).identification.agent?.rawValue == 0)
        #expect(cache.identify(owner(7, uid: 5), in: table, resolver: &kernel).identification == .nobody(.noMatch))
        #expect(cache.identify(owner(8, uid: 5), in: table, resolver: &kernel).identification.agent?.rawValue == 1)
        #expect(cache.identify(owner(8, uid: 1001), in: table, resolver: &kernel).identification.agent == nil)
    }

    @Test("a new table renames the agents of remembered cgroups")
    func reload() throws {
        let old = try table("x", "bot")
        let new = try table("bot")
        var kernel = Kernel(paths: [7: "/sallyport.slice/sallyport-bot.slice", 8: "/sallyport.slice/sallyport-x.slice"])
        var cache = IdentityCache(table: old)
        #expect(cache.identify(owner(7), in: old, resolver: &kernel).identification.agent?.rawValue == 1)
        #expect(cache.identify(owner(8), in: old, resolver: &kernel).identification.agent?.rawValue == 0)
        kernel.paths = [:]
        #expect(cache.identify(owner(7), in: new, resolver: &kernel).identification.agent?.rawValue == 0)
        #expect(cache.identify(owner(8), in: new, resolver: &kernel).identification == .nobody(.noMatch))
    }

    @Test("bounded: the cgroups in use stay")
    func bounded() throws {
        let table = try table("bot")
        var kernel = Kernel(paths: [:])
        for id in 0..<1000 { kernel.paths[UInt64(id)] = "/sallyport.slice/sallyport-bot.slice/\(id)" }
        var cache = IdentityCache(table: table, capacity: 16)
        for id in 0..<1000 {
            _ = cache.identify(owner(UInt64(id)), in: table, resolver: &kernel)
            _ = cache.identify(owner(0), in: table, resolver: &kernel)
        }
        #expect(cache.count == 16)
        #expect(kernel.asked == 1000)
        kernel.paths = [:]
        #expect(cache.identify(owner(0), in: table, resolver: &kernel).identification.agent != nil)
        #expect(cache.identify(owner(500), in: table, resolver: &kernel).identification == .nobody(.cgroupUnknown))
    }
}
