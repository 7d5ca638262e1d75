internal import HeapModule

/// Which agent a token has opened a session for, and which tokens are used up: as long as they would be valid.
struct TokenUses {
    private struct Use {
        let agent: String
        var isClosed = false
        var until: UInt64
    }

    private struct Entry: Comparable {
        let until: UInt64
        let digest: [UInt8]

        static func < (a: Entry, b: Entry) -> Bool { a.until < b.until }
    }

    private var uses: [[UInt8]: Use] = [:]
    private var ends = Heap<Entry>()

    /// Throws where a token is used up or is another agent's.
    func admit(_ digest: [UInt8], for agent: String) throws(SessionError) {
        guard let use = uses[digest] else { return }
        guard use.agent == agent else {
            throw .replayed("the token has opened a session of another agent (each agent needs a token of its own)")
        }
        guard !use.isClosed else {
            throw .replayed("the token's session was closed, and the token with it (ask its issuer for a new one)")
        }
    }

    mutating func note(_ digest: [UInt8], agent: String, until: UInt64) {
        guard uses[digest] == nil else { return }
        uses[digest] = Use(agent: agent, until: until)
        ends.insert(Entry(until: until, digest: digest))
    }

    mutating func close(_ digest: [UInt8]) {
        uses[digest]?.isClosed = true
    }

    mutating func forget(until now: UInt64) {
        while let first = ends.min, first.until <= now {
            ends.removeMin()
            uses[first.digest] = nil
        }
    }

    /// The tokens that are used up: digest, agent, and until when they would be valid.
    var closed: [(digest: [UInt8], agent: String, until: UInt64)] {
        uses.filter { $0.value.isClosed }.map { ($0.key, $0.value.agent, $0.value.until) }
    }
}
