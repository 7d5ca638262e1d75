/// Where formatted records wait while journald is slow or gone: bounded in number and bytes, shared fairly.
///
/// Each agent has a line of its own, served in turn. When the spool is full, the agent that holds most of it loses its
/// newest record: an agent that floods pays itself, and what it did first stays known.
struct RecordSpool {
    /// The bounds.
    struct Limits {
        var records = 32_768
        var byteCount = 16 << 20
    }

    private(set) var count = 0
    private(set) var byteCount = 0
    private let limits: Limits
    private var lines: [Line] = []
    private var positions: [String: Int] = [:]
    private var turn = 0

    init(limits: Limits = Limits()) {
        self.limits = limits
    }

    var isEmpty: Bool { count == 0 }

    /// Keeps a record of `agent`; events have a line of their own, which `eventLine` names.
    /// - Returns: the agent that lost a record for it, maybe `agent` itself; nil where all are kept.
    mutating func append(_ bytes: [UInt8], agent: String) -> String? {
        var loser: String?
        while count >= limits.records || byteCount + bytes.count > limits.byteCount {
            guard let largest = largestLine(), lines[largest].agent != agent,
                lines[largest].byteCount > lineByteCount(agent)
            else { return agent }
            dropNewest(of: largest)
            loser = lines[largest].agent
        }
        let position = positions[agent] ?? addLine(agent)
        lines[position].append(bytes)
        count += 1
        byteCount += bytes.count
        return loser
    }

    /// The record whose turn it is; it stays until `removeFirst`.
    mutating func first() -> [UInt8]? {
        guard count > 0 else { return nil }
        while lines[turn].isEmpty { turn = (turn + 1) % lines.count }
        return lines[turn].first
    }

    /// Takes out what `first` answered.
    mutating func removeFirst() {
        guard first() != nil else { return }
        byteCount -= lines[turn].removeFirst()
        count -= 1
        turn = (turn + 1) % lines.count
    }

    /// The line of events: not a valid agent id.
    static let eventLine = "/event"

    private func largestLine() -> Int? {
        lines.indices.max { lines[$0].byteCount < lines[$1].byteCount }
    }

    private func lineByteCount(_ agent: String) -> Int {
        positions[agent].map { lines[$0].byteCount } ?? 0
    }

    private mutating func addLine(_ agent: String) -> Int {
        lines.append(Line(agent: agent))
        positions[agent] = lines.count - 1
        return lines.count - 1
    }

    private mutating func dropNewest(of position: Int) {
        byteCount -= lines[position].removeLast()
        count -= 1
    }

    /// One agent's records, oldest first. Taken ones leave a gap in front, closed when it is half of the storage.
    private struct Line {
        let agent: String
        private(set) var byteCount = 0
        private var records: [[UInt8]] = []
        private var start = 0

        init(agent: String) {
            self.agent = agent
        }

        var isEmpty: Bool { start == records.count }
        var first: [UInt8]? { isEmpty ? nil : records[start] }

        mutating func append(_ bytes: [UInt8]) {
            records.append(bytes)
            byteCount += bytes.count
        }

        mutating func removeFirst() -> Int {
            let removed = records[start].count
            records[start] = []
            start += 1
            if start * 2 >= records.count {
                records.removeFirst(start)
                start = 0
            }
            byteCount -= removed
            return removed
        }

        mutating func removeLast() -> Int {
            guard !isEmpty, let last = records.popLast() else { return 0 }
            byteCount -= last.count
            return last.count
        }
    }
}
