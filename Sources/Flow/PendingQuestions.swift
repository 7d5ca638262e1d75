public import WireProtocols

/// The DNS questions of one queue thread that wait for their answers: what was asked on which flow, under which id.
///
/// Bounded for each agent (`group`): where one has asked more than that, its oldest question is forgotten, and the answer to
/// it is as if nobody had asked.
public struct PendingQuestions: ~Copyable {
    private var groups: [UInt16: Group] = [:]
    private let limit: Int

    private struct Key: Hashable {
        let flow: FlowSlot
        let id: UInt16
    }

    private struct Group {
        var questions: [Key: (question: DNSQuestion, number: Int)] = [:]
        var order: [Key?] = []
        var next = 0
    }

    /// No question; at most `limit` for each group.
    public init(limit: Int = 1024) {
        self.limit = limit
    }

    /// Takes in a question that goes on to its resolver.
    public mutating func ask(_ question: DNSQuestion, id: UInt16, flow: FlowSlot, group: UInt16) {
        let key = Key(flow: flow, id: id)
        var mine = groups.removeValue(forKey: group) ?? Group()
        let place = mine.next % limit
        if place < mine.order.count {
            if let old = mine.order[place], mine.questions[old]?.number == mine.next - limit {
                mine.questions[old] = nil
            }
            mine.order[place] = key
        } else {
            mine.order.append(key)
        }
        mine.questions[key] = (question, mine.next)
        mine.next += 1
        groups[group] = mine
    }

    /// The question that an answer is to; it waits no longer. Nil where none was asked on this flow under this id, or another
    /// one.
    public mutating func answer(_ question: DNSQuestion?, id: UInt16, flow: FlowSlot, group: UInt16) -> DNSQuestion? {
        let key = Key(flow: flow, id: id)
        guard let asked = groups[group]?.questions[key]?.question, asked == question else { return nil }
        groups[group]?.questions[key] = nil
        return asked
    }

    /// Forgets everything.
    public mutating func removeAll() {
        groups = [:]
    }
}
