/// Agents by cgroup path and by systemd unit. Compares bytes, never characters: cgroup names are bytes, and two names that
/// Unicode calls equal are two cgroups. A look-up walks the path once and does not allocate.
struct PathIndex: Sendable {
    private var paths = ByteIndex()
    private var units = ByteIndex()

    /// Makes `path` name `agent`; the agent that already has it is returned and kept.
    mutating func insert(path: String, _ agent: AgentIndex) -> AgentIndex? {
        paths.insert(Array(path.utf8), agent)
    }

    /// Makes the unit `name` name `agent`; the agent that already has it is returned and kept.
    mutating func insert(unit name: String, _ agent: AgentIndex) -> AgentIndex? {
        units.insert(Array(name.utf8), agent)
    }

    /// The agent of the deepest ancestor of `path` (or `path` itself) that a path or a unit names. A unit counts only
    /// where every directory above it is a slice: there systemd alone makes directories, while below a service or scope an
    /// agent with a delegated cgroup can make a directory of any name.
    func agent(of path: String) -> Identification {
        guard path.utf8.first == UInt8(ascii: "/") else { return .nobody(.noMatch) }
        var path = path
        return path.withUTF8 { bytes in
            var found = Identification.nobody(.noMatch)
            var wholeHash = ByteIndex.seed
            var start = 0
            var slicesOnly = true
            while start < bytes.count {
                var end = start + 1
                var nameHash = ByteIndex.seed
                wholeHash = ByteIndex.combine(wholeHash, UInt8(ascii: "/"))
                while end < bytes.count, bytes[end] != UInt8(ascii: "/") {
                    wholeHash = ByteIndex.combine(wholeHash, bytes[end])
                    nameHash = ByteIndex.combine(nameHash, bytes[end])
                    end += 1
                }
                let byPath = paths.value(UnsafeBufferPointer(rebasing: bytes[..<end]), wholeHash)
                let name = UnsafeBufferPointer(rebasing: bytes[(start + 1)..<end])
                let byUnit = slicesOnly ? units.value(name, nameHash) : nil
                if let byPath, let byUnit, byPath != byUnit {
                    found = .nobody(.conflict(.cgroup, byPath, .unit, byUnit))
                } else if let agent = byPath ?? byUnit {
                    found = .agent(agent)
                }
                slicesOnly = slicesOnly && Self.isSlice(name)
                start = end
            }
            return found
        }
    }

    private static func isSlice(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        name.count > SystemdName.suffix.utf8.count
            && name.suffix(SystemdName.suffix.utf8.count).elementsEqual(SystemdName.suffix.utf8)
    }
}

/// A hash table from byte strings to agents, built once. Only the operator adds keys, so the plain FNV-1a hash is enough;
/// a hit is confirmed byte by byte.
private struct ByteIndex: Sendable {
    private var newest: [UInt64: Int] = [:]
    private var entries: [(key: [UInt8], agent: AgentIndex, older: Int?)] = []

    /// FNV-1a's offset basis (draft-eastlake-fnv).
    static let seed: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The hash after one more byte; the product wraps by design.
    static func combine(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x100_0000_01B3
    }

    mutating func insert(_ key: [UInt8], _ agent: AgentIndex) -> AgentIndex? {
        let hash = key.reduce(Self.seed, Self.combine)
        if let other = key.withUnsafeBufferPointer({ value($0, hash) }) { return other == agent ? nil : other }
        entries.append((key, agent, newest[hash]))
        newest[hash] = entries.count - 1
        return nil
    }

    func value(_ key: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> AgentIndex? {
        var next = newest[hash]
        while let position = next {
            let entry = entries[position]
            if entry.key.elementsEqual(key) { return entry.agent }
            next = entry.older
        }
        return nil
    }
}
