import Flow
import Policy

/// What policy allowed a flow for: the facts that are not the flow's own. By them it is decided anew.
final class FlowFacts {
    let stage: DecisionStage
    let host: String?
    let hostSource: HostSource?
    let `protocol`: ProtocolFacts?
    let request: RequestFacts?
    let database: DatabaseFacts?
    let names: [String]?
    let addressMatchesHost: Bool?

    init(_ input: PolicyInput) {
        stage = input.stage
        host = input.host
        hostSource = input.hostSource
        self.protocol = input.protocol
        request = input.request
        database = input.database
        names = input.names
        addressMatchesHost = input.addressMatchesHost
    }

    /// Whether they are the facts of `input`.
    func agree(with input: PolicyInput) -> Bool {
        stage == input.stage && host == input.host && hostSource == input.hostSource
            && self.protocol == input.protocol && request == input.request && database == input.database
            && names == input.names && addressMatchesHost == input.addressMatchesHost
    }

    /// Puts them into an input that has the flow's own.
    func complete(_ input: inout PolicyInput) {
        input.stage = stage
        input.host = host
        input.hostSource = hostSource
        input.protocol = self.protocol
        input.request = request
        input.database = database
        // As they were then: an answer's time may be over while the flow goes on.
        input.names = names
        input.addressMatchesHost = addressMatchesHost
    }
}

/// The facts of every flow of a table, by its slot. Flows that were allowed for the same share one object.
struct FlowFactsStore {
    private var facts: [FlowFacts?]
    /// The objects that were met last, by a hash of their host.
    private var recent: [FlowFacts?]

    init(capacity: Int) {
        facts = Array(repeating: nil, count: capacity)
        recent = Array(repeating: nil, count: Self.recentCount)
    }

    /// The facts of a flow; nil where nothing but its beginning was allowed.
    subscript(slot: FlowSlot) -> FlowFacts? { facts[slot.position] }

    /// Keeps what was allowed.
    mutating func keep(_ input: PolicyInput, for slot: FlowSlot) {
        if let known = facts[slot.position], known.agree(with: input) { return }
        let place = (input.host ?? input.protocol?.name ?? "").utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF }
        if let known = recent[place % Self.recentCount], known.agree(with: input) {
            facts[slot.position] = known
            return
        }
        let fresh = FlowFacts(input)
        facts[slot.position] = fresh
        // A request's fields are its own: nobody shares them.
        if input.request == nil { recent[place % Self.recentCount] = fresh }
    }

    /// Forgets a flow's facts.
    mutating func forget(_ slot: FlowSlot) {
        if facts[slot.position] != nil { facts[slot.position] = nil }
    }

    private static var recentCount: Int { 1024 }
}
