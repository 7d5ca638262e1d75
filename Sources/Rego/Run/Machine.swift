/// What a query, or a snapshot of data, remembers of a group: its value and the rule that gave it, valid in one epoch.
struct Memo {
    /// The epoch of what holds in every query.
    static let always = UInt32.max

    var value: Value
    var epoch: UInt32
    var rule: Int32
}

/// Runs programs. One for each thread: it holds the stack, the arena of the query and what the query remembers.
final class Machine {
    let program: Program
    private(set) var data: DataSnapshot
    let arena: Arena
    var limits: RegoLimits
    /// Nanoseconds since the Unix epoch, the same for the whole query.
    var clock: Int = 0
    /// Whether the query asked for the clock or for random values.
    var readClock = false
    var readRandom = false
    /// Instructions that are left.
    var budget = 0
    /// Values that built-ins remember for the query (`rand.intn`, `uuid.rfc4122`).
    var remembered: [String: Value] = [:]
    var caches: BuiltinCaches

    let stack: UnsafeMutablePointer<Value>
    var frames: [Frame] = []
    var memo: UnsafeMutableBufferPointer<Memo>
    var inputs: UnsafeMutableBufferPointer<Memo>
    /// The query in which each input path was read last.
    var inputReads: UnsafeMutableBufferPointer<UInt32>
    var epoch: UInt32 = 0
    var lastEpoch: UInt32 = 0
    var query: UInt32 = 0
    var collected: UnsafeMutablePointer<Value>
    var collectedCount = 0
    var collectedCapacity = 1024
    var inputRoot = Value.undefined
    var dataRoot = Value.undefined
    var dataIsReplaced = false
    var withStack: [WithState] = []
    var replacedPaths: [[Value]] = []
    var mocks: [(name: String, callee: Callee)] = []
    /// Replacements below this place are out of force: inside a replacement nothing is replaced.
    var mockFloor = 0
    var mockValues: [Value] = []
    var places: [Int32] = []
    /// What instrumented programs tell their steps; nil where nobody looks.
    var observation: Observation?
    /// Where `print` goes.
    var printSink: Evaluator.PrintSink?

    struct Frame {
        var base: Int32
        var returnTo: Int32
        var group: Int32
        var decided: Int32
        /// The call of a replacement: `with`s end when it returns.
        var endsWith = false
    }

    struct WithState {
        var epoch: UInt32
        var input: Value
        var data: Value
        var dataIsReplaced: Bool
        var replacedPaths: Int
        var mocks: Int
        var mockFloor: Int
        var mockValues: Int
    }

    init(program: Program, data: DataSnapshot, limits: RegoLimits, caches: BuiltinCaches = BuiltinCaches()) {
        self.program = program
        self.data = data
        self.limits = limits
        self.caches = caches
        arena = Arena(capacity: 1 << 16)
        stack = UnsafeMutablePointer<Value>.allocate(capacity: RegoLimits.stackSlots)
        let none = Memo(value: .undefined, epoch: 0, rule: -1)
        memo = .allocate(capacity: max(1, program.groups.count))
        memo.initialize(repeating: none)
        inputs = .allocate(capacity: max(1, program.inputPaths.count))
        inputs.initialize(repeating: none)
        inputReads = .allocate(capacity: max(1, program.inputPaths.count))
        inputReads.initialize(repeating: 0)
        collected = .allocate(capacity: collectedCapacity)
        frames.reserveCapacity(64)
    }

    deinit {
        stack.deallocate()
        memo.deallocate()
        inputs.deallocate()
        inputReads.deallocate()
        collected.deallocate()
    }

    /// Whether a value lives longer than the query: in the program or the base documents.
    func isFrozen(_ value: Value) -> Bool { !arena.contains(value) }

    /// Takes other base documents from the next query on.
    func use(_ data: DataSnapshot) {
        self.data = data
        caches.forgetAddresses()
    }

    // MARK: One query

    /// Makes room for the next query: all values of the last one are gone.
    func reset() {
        arena.reset()
        remembered.removeAll(keepingCapacity: true)
        readClock = false
        readRandom = false
    }

    /// Runs a group on an input; the result is valid until `reset`. Undefined where the group is.
    func run(_ group: Int32, input: Value) throws(RegoError) -> Value {
        query &+= 1
        lastEpoch &+= 1
        if query == 0 || lastEpoch > UInt32.max - 1_000_000 { forgetAll() }
        epoch = lastEpoch
        inputRoot = input
        dataRoot = data.root
        dataIsReplaced = false
        withStack.removeAll(keepingCapacity: true)
        replacedPaths.removeAll(keepingCapacity: true)
        mocks.removeAll(keepingCapacity: true)
        mockFloor = 0
        mockValues.removeAll(keepingCapacity: true)
        frames.removeAll(keepingCapacity: true)
        collectedCount = 0
        budget = limits.instructions
        observation?.begin()
        let value = try execute(group)
        if arena.isTooDeep { try checkLimits() }
        return value
    }

    /// Begins the count of queries anew: nothing that is remembered is valid any more.
    func forgetAll() {
        let none = Memo(value: .undefined, epoch: 0, rule: -1)
        for index in memo.indices { memo[index] = none }
        for index in inputs.indices { inputs[index] = none }
        for index in inputReads.indices { inputReads[index] = 0 }
        query = 1
        lastEpoch = 1
    }

    /// The rule that gave a group its value in the last query, or nil.
    func decided(_ group: Int32) -> RulePlace? {
        let entry = memo[Int(group)]
        guard entry.epoch == epoch, entry.rule >= 0 else { return nil }
        return program.places[Int(entry.rule)]
    }

    /// The number of the place of the rule that gave a group its value in the last query, or -1.
    func decidedRule(_ group: Int32) -> Int32 {
        let entry = memo[Int(group)]
        return entry.epoch == epoch ? entry.rule : -1
    }

    /// The input paths that the last query read.
    var inputPathsRead: [[Value]] {
        (0..<program.inputPaths.count).filter { inputReads[$0] == query }.map { Array(program.inputPaths[$0]) }
    }

    /// Takes `amount` instructions off the budget.
    @inline(__always)
    func charge(_ amount: Int) throws(BuiltinFailure) {
        budget -= amount
        if budget < 0 { throw .limit("instruction limit of \(limits.instructions) reached") }
        if arena.used > limits.memoryBytes { throw .limit("memory limit of \(limits.memoryBytes) bytes reached") }
    }

    /// The error of a limit.
    func limitReached(_ what: String) -> RegoError {
        RegoError(
            code: "rego_limit_error",
            message: what + " (simplify the policy, or raise the limit if it is what you mean)")
    }

    /// Throws where a limit of the query is passed.
    func checkLimits() throws(RegoError) {
        if arena.used + collectedCount * 16 > limits.memoryBytes {
            throw limitReached("memory limit of \(limits.memoryBytes) bytes reached")
        }
        if arena.isTooDeep {
            throw limitReached("a value is nested deeper than \(RegoLimits.maximumValueDepth)")
        }
        if budget < 0 { throw limitReached("instruction limit of \(limits.instructions) reached") }
        if lastEpoch > UInt32.max - 1000 { throw limitReached("too many withs in one query") }
    }
}
