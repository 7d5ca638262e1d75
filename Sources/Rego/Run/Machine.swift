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

    private let stack: UnsafeMutablePointer<Value>
    private var frames: [Frame] = []
    private var memo: UnsafeMutableBufferPointer<Memo>
    private var inputs: UnsafeMutableBufferPointer<Memo>
    /// The query in which each input path was read last.
    private var inputReads: UnsafeMutableBufferPointer<UInt32>
    private var epoch: UInt32 = 0
    private var lastEpoch: UInt32 = 0
    private var query: UInt32 = 0
    private var collected: UnsafeMutablePointer<Value>
    private var collectedCount = 0
    private var collectedCapacity = 1024
    private var inputRoot = Value.undefined
    private var dataRoot = Value.undefined
    private var dataIsReplaced = false
    private var withStack: [WithState] = []
    private var replacedPaths: [[Value]] = []
    private var mocks: [(name: String, callee: Callee)] = []
    /// Replacements below this place are out of force: inside a replacement nothing is replaced.
    private var mockFloor = 0
    private var mockValues: [Value] = []
    private var places: [Int32] = []

    private struct Frame {
        var base: Int32
        var returnTo: Int32
        var group: Int32
        var decided: Int32
        /// The call of a replacement: `with`s end when it returns.
        var endsWith = false
    }

    private struct WithState {
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
        return try execute(group)
    }

    private func forgetAll() {
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
        program.inputPaths.indices.filter { inputReads[$0] == query }.map { program.inputPaths[$0] }
    }

    /// Takes `amount` instructions off the budget.
    @inline(__always)
    func charge(_ amount: Int) throws(BuiltinFailure) {
        budget -= amount
        if budget < 0 { throw .limit("instruction limit of \(limits.instructions) reached") }
        if arena.used > limits.memoryBytes { throw .limit("memory limit of \(limits.memoryBytes) bytes reached") }
    }

    private func limitReached(_ what: String) -> RegoError {
        RegoError(
            code: "rego_limit_error",
            message: what + " (simplify the policy, or raise the limit if it is what you mean)")
    }

    private func checkLimits() throws(RegoError) {
        if arena.used + collectedCount * 16 > limits.memoryBytes {
            throw limitReached("memory limit of \(limits.memoryBytes) bytes reached")
        }
        if budget < 0 { throw limitReached("instruction limit of \(limits.instructions) reached") }
        if lastEpoch > UInt32.max - 1000 { throw limitReached("too many withs in one query") }
    }

    // MARK: The loop

    private func execute(_ group: Int32) throws(RegoError) -> Value {
        let code = UnsafePointer(program.code.baseAddress.unsafelyUnwrapped)
        let constants = UnsafePointer(program.constants.baseAddress.unsafelyUnwrapped)
        let pool = UnsafePointer(program.pool.baseAddress.unsafelyUnwrapped)
        let groups = UnsafePointer(program.groups.baseAddress.unsafelyUnwrapped)
        var base = stack
        var pc = Int(groups[Int(group)].entry)
        base[0] = .undefined
        frames.append(Frame(base: 0, returnTo: -1, group: group, decided: -1))

        @inline(__always)
        func operand(_ number: Int32) -> Value {
            number >= 0 ? base[Int(number)] : constants[Int(~number)]
        }

        while true {
            let instruction = code[pc]
            pc &+= 1
            switch instruction.op {
            case .move: base[Int(instruction.a)] = operand(instruction.b)
            case .clear: base[Int(instruction.a)] = .undefined
            case .input:
                let entry = inputs[Int(instruction.b)]
                let value = entry.epoch == epoch ? entry.value : readInput(instruction.b)
                if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
            case .data:
                let value = dataIsReplaced ? resolveData(instruction.b) : data.resolved[Int(instruction.b)]
                if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
            case .lookup:
                let value = operand(instruction.b).lookup(operand(instruction.c))
                if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
            case .call:
                let number = Int(instruction.b)
                if groups[number].isReplaceable, !replacedPaths.isEmpty, let value = replacement(number) {
                    if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
                    continue
                }
                let count = groups[number].arguments
                if count == nil {
                    var entry = memo[number]
                    if entry.epoch != epoch, !dataIsReplaced { entry = data.computed[number] }
                    if entry.epoch == epoch || entry.epoch == Memo.always {
                        if entry.value.isUndefined {
                            pc = Int(instruction.d)
                        } else {
                            base[Int(instruction.a)] = entry.value
                        }
                        continue
                    }
                }
                let frame = frames[frames.count - 1]
                let next = base + Int(groups[Int(frame.group)].slots)
                try checkStack(next, groups[number].slots)
                if let count {
                    var index = 0
                    while index < count {
                        next[index &+ 1] = operand(pool[Int(instruction.c) &+ index])
                        index &+= 1
                    }
                }
                next[0] = .undefined
                frames.append(
                    Frame(base: Int32(base - stack), returnTo: Int32(pc &- 1), group: instruction.b, decided: -1))
                base = next
                pc = Int(groups[number].entry)
            case .return:
                let value = base[0]
                let frame = frames.removeLast()
                if groups[Int(frame.group)].arguments == nil {
                    memo[Int(frame.group)] = Memo(value: value, epoch: epoch, rule: frame.decided)
                }
                if frame.endsWith { endWith() }
                if frame.returnTo < 0 { return value }
                base = stack + Int(frame.base)
                let call = code[Int(frame.returnTo)]
                if value.isUndefined {
                    pc = Int(call.d)
                } else {
                    base[Int(call.a)] = value
                    pc = Int(frame.returnTo) &+ 1
                }
            case .jump: pc = Int(instruction.d)
            case .test:
                let value = operand(instruction.b)
                if value.tag == .false || value.tag == .undefined { pc = Int(instruction.d) }
            case .jumpDefined:
                if operand(instruction.b).isDefined { pc = Int(instruction.d) }
            case .equal:
                if !Value.equal(operand(instruction.b), operand(instruction.c)) { pc = Int(instruction.d) }
            case .compare:
                let comparison = Comparison(rawValue: instruction.a) ?? .equal
                if !comparison.holds(operand(instruction.b), operand(instruction.c)) { pc = Int(instruction.d) }
            case .compareValue:
                let comparison = Comparison(rawValue: instruction.d) ?? .equal
                base[Int(instruction.a)] = Value(comparison.holds(operand(instruction.b), operand(instruction.c)))
            case .arrayOf:
                let value = operand(instruction.b)
                if value.tag != .array || value.count != Int(instruction.a) { pc = Int(instruction.d) }
            case .objectOf:
                let value = operand(instruction.b)
                if value.tag != .object || value.count != Int(instruction.a) { pc = Int(instruction.d) }
            case .iterate:
                let value = operand(instruction.b)
                if value.isComposite {
                    base[Int(instruction.a)] = value
                    base[Int(instruction.a) &+ 1] = Value(tag: .int, hash: 0, bits: 0)
                } else {
                    pc = Int(instruction.d)
                }
            case .next:
                let source = base[Int(instruction.a)]
                let index = base[Int(instruction.a) &+ 1].integer
                if index >= source.count {
                    pc = Int(instruction.d)
                    continue
                }
                if instruction.b >= 0 { base[Int(instruction.b)] = source.key(index) }
                if instruction.c >= 0 { base[Int(instruction.c)] = source.element(index) }
                base[Int(instruction.a) &+ 1] = Value(tag: .int, hash: 0, bits: UInt64(index &+ 1))
                budget &-= 1
                if budget < 0 { try checkLimits() }
            case .begin: base[Int(instruction.a)] = Value(tag: .int, hash: 0, bits: UInt64(collectedCount))
            case .push:
                collect(operand(instruction.b))
            case .pushPair:
                collect(operand(instruction.b))
                collect(operand(instruction.c))
            case .builtin:
                try callBuiltin(instruction.b, instruction, operands: pool + Int(instruction.c), base, &pc)
            case .result:
                let value = operand(instruction.b)
                let known = base[Int(instruction.a)]
                if known.isUndefined {
                    base[Int(instruction.a)] = value
                    if instruction.c >= 0 { frames[frames.count - 1].decided = instruction.c }
                } else if !Value.equal(known, value) {
                    throw conflict(instruction.c, frames[frames.count - 1].group)
                }
            case .makeArray, .makeSet, .makeObject:
                base[Int(instruction.a)] = make(instruction, base, constants, pool)
                budget &-= Int(instruction.b)
                if budget < 0 || arena.fullBytes > limits.memoryBytes { try checkLimits() }
            case .callReplaceable:
                let (callee, isReplaced) = callee(instruction.b)
                let count = Int(pool[Int(instruction.c)])
                let operands = pool + Int(instruction.c) + 1
                switch callee {
                case .value(let number):
                    base[Int(instruction.a)] = mockValues[Int(number)]
                case .builtin(let site):
                    try callBuiltin(site, instruction, operands: operands, base, &pc)
                case .group(let number):
                    let frame = frames[frames.count - 1]
                    let next = base + Int(groups[Int(frame.group)].slots)
                    try checkStack(next, groups[Int(number)].slots)
                    for index in 0..<min(count, groups[Int(number)].arguments ?? 0) {
                        next[index + 1] = operand(operands[index])
                    }
                    next[0] = .undefined
                    var called = Frame(base: Int32(base - stack), returnTo: Int32(pc - 1), group: number, decided: -1)
                    if isReplaced {
                        pushWith()
                        called.endsWith = true
                        mockFloor = mocks.count
                        lastEpoch &+= 1
                        epoch = lastEpoch
                    }
                    frames.append(called)
                    base = next
                    pc = Int(groups[Int(number)].entry)
                }
            case .endArray, .endSet, .endObject, .endTree:
                base[Int(instruction.a)] = try endCollection(instruction, from: base[Int(instruction.b)].integer)
            case .withBegin: try beginWith(instruction, base, constants)
            case .withEnd: endWith()
            case .dispatch:
                let key = operand(instruction.c)
                let node = program.nodes[Int(instruction.b)]
                if let child = node.children.first(where: { Value.equal($0.key, key) }) {
                    let number = Int(child.group)
                    if groups[number].isReplaceable, !replacedPaths.isEmpty, let value = replacement(number) {
                        if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
                        continue
                    }
                    let entry = memo[number]
                    if entry.epoch == epoch {
                        if entry.value.isUndefined {
                            pc = Int(instruction.d)
                        } else {
                            base[Int(instruction.a)] = entry.value
                        }
                        continue
                    }
                    let frame = frames[frames.count - 1]
                    let next = base + Int(groups[Int(frame.group)].slots)
                    try checkStack(next, groups[number].slots)
                    next[0] = .undefined
                    frames.append(
                        Frame(base: Int32(base - stack), returnTo: Int32(pc - 1), group: child.group, decided: -1))
                    base = next
                    pc = Int(groups[number].entry)
                } else {
                    let document = dataIsReplaced ? resolveData(node.path) : data.resolved[Int(node.path)]
                    let value = document.lookup(key)
                    if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
                }
            case .mergeBase:
                let document = dataIsReplaced ? resolveData(instruction.c) : data.resolved[Int(instruction.c)]
                base[Int(instruction.a)] = Documents.merge(operand(instruction.b), over: document, arena)
            case .mergeTree:
                guard
                    let merged = Documents.mergeDeep(
                        operand(instruction.b), operand(instruction.c), arena, depth: Int(instruction.d))
                else {
                    throw objectConflict(-1)
                }
                base[Int(instruction.a)] = merged
            case .indexBegin:
                let leaf = findLeaf(program.indexes[Int(instruction.b)], base)
                base[Int(instruction.a)] = Value(tag: .int, hash: UInt32(instruction.b), bits: UInt64(leaf.end))
                base[Int(instruction.a) &+ 1] = Value(tag: .int, hash: 0, bits: UInt64(leaf.first))
            case .indexNext:
                let limit = base[Int(instruction.a)]
                let position = base[Int(instruction.a) &+ 1].integer
                if position >= limit.integer {
                    pc = Int(instruction.d)
                    continue
                }
                base[Int(instruction.a) &+ 1] = Value(tag: .int, hash: 0, bits: UInt64(position &+ 1))
                pc = Int(program.indexes[Int(limit.hash)].entries[position])
            case .iterateMatching:
                let matching = matching(instruction.b, operand(instruction.c))
                if matching.isComposite {
                    base[Int(instruction.a)] = matching
                    base[Int(instruction.a) &+ 1] = Value(tag: .int, hash: 0, bits: 0)
                } else {
                    pc = Int(instruction.d)
                }
            case .member:
                let index = data.indexes[Int(instruction.b)]
                let element = operand(instruction.c)
                if dataIsReplaced {
                    let document = resolveData(program.dataIndexes[Int(instruction.b)].path)
                    if document.isUndefined {
                        pc = Int(instruction.d)
                    } else {
                        let found = document.isComposite && document.elements.contains { Value.equal($0, element) }
                        base[Int(instruction.a)] = Value(found)
                        budget &-= document.count
                    }
                } else if index.document.isUndefined {
                    pc = Int(instruction.d)
                } else {
                    base[Int(instruction.a)] = Value(index.members.place(of: element) >= 0)
                }
            }
        }
    }

    private func checkStack(_ next: UnsafeMutablePointer<Value>, _ slots: Int32) throws(RegoError) {
        budget &-= 1
        if budget < 0 { try checkLimits() }
        if (next - stack) + Int(slots) + 8 > RegoLimits.stackSlots || frames.count >= RegoLimits.callDepth {
            throw limitReached("rules call each other more than \(RegoLimits.callDepth) deep")
        }
    }

    private func findLeaf(_ index: RuleIndex, _ base: UnsafeMutablePointer<Value>) -> RuleIndex.Node {
        var node = index.nodes[0]
        while let reference = node.reference {
            let value: Value
            switch reference {
            case .input(let path):
                let entry = inputs[Int(path)]
                value = entry.epoch == epoch ? entry.value : readInput(path)
            case .slot(let slot): value = base[Int(slot)]
            }
            let child = value.isUndefined ? .undefined : node.table.lookup(value)
            node = index.nodes[child.isUndefined ? Int(node.otherwise) : child.integer]
        }
        return node
    }

    /// The elements of a base document that an index finds for a subject: the document itself where it cannot help, an
    /// object of keys and elements otherwise; undefined where there are none.
    private func matching(_ number: Int32, _ subject: Value) -> Value {
        let index = data.indexes[Int(number)]
        if dataIsReplaced { return resolveData(program.dataIndexes[Int(number)].path) }
        // Errors about other elements count there.
        if limits.strictBuiltinErrors { return index.document }
        guard subject.tag == .string else { return .undefined }
        index.candidates(subject, into: &places)
        if places.isEmpty { return .undefined }
        budget &-= places.count
        let start = collectedCount
        for place in places {
            collect(index.document.key(Int(place)))
            collect(index.document.element(Int(place)))
        }
        collectedCount = start
        var conflict = false
        return arena.object(
            pairs: UnsafeMutableBufferPointer(start: collected + start, count: places.count * 2), lastWins: true,
            conflict: &conflict)
    }

    private func conflict(_ rule: Int32, _ group: Int32) -> RegoError {
        let place = rule >= 0 ? program.places[Int(rule)] : nil
        let isFunction = program.groups[Int(group)].arguments != nil
        return RegoError(
            code: "eval_conflict_error",
            message: isFunction
                ? "functions must not produce multiple outputs for same inputs"
                : "complete rules must not produce multiple outputs",
            file: place?.file ?? "", row: place?.row ?? 0, column: place?.column ?? 0)
    }

    // MARK: Collections

    @inline(__always)
    private func collect(_ value: Value) {
        if collectedCount == collectedCapacity { growCollected() }
        collected[collectedCount] = value
        collectedCount &+= 1
    }

    @inline(never)
    private func growCollected() {
        // The next check of the budget finds it.
        if collectedCount * 16 > limits.memoryBytes { budget = min(budget, -1) }
        let larger = UnsafeMutablePointer<Value>.allocate(capacity: collectedCapacity * 2)
        larger.update(from: collected, count: collectedCount)
        collected.deallocate()
        collected = larger
        collectedCapacity *= 2
    }

    private func make(
        _ instruction: Instruction, _ base: UnsafeMutablePointer<Value>, _ constants: UnsafePointer<Value>,
        _ pool: UnsafePointer<Int32>
    ) -> Value {
        let start = collectedCount
        let count = instruction.op == .makeObject ? Int(instruction.b) * 2 : Int(instruction.b)
        for index in 0..<count {
            let number = pool[Int(instruction.c) + index]
            collect(number >= 0 ? base[Int(number)] : constants[Int(~number)])
        }
        collectedCount = start
        let values = UnsafeMutableBufferPointer(start: collected + start, count: count)
        switch instruction.op {
        case .makeArray: return arena.array(UnsafeBufferPointer(values))
        case .makeSet: return arena.set(values)
        default:
            var conflict = false
            return arena.object(pairs: values, lastWins: true, conflict: &conflict)
        }
    }

    private func endCollection(_ instruction: Instruction, from start: Int) throws(RegoError) -> Value {
        let count = collectedCount - start
        collectedCount = start
        budget &-= count
        try checkLimits()
        let values = UnsafeMutableBufferPointer(start: collected + start, count: count)
        switch instruction.op {
        case .endArray: return arena.array(UnsafeBufferPointer(values))
        case .endSet: return arena.set(values)
        case .endTree:
            guard let tree = Documents.tree(values, arena) else { throw objectConflict(instruction.c) }
            return tree
        default:
            var conflict = false
            let object = arena.object(pairs: values, conflict: &conflict)
            if conflict { throw objectConflict(instruction.c) }
            return object
        }
    }

    private func objectConflict(_ rule: Int32) -> RegoError {
        let place = rule >= 0 ? program.places[Int(rule)] : nil
        return RegoError(
            code: "eval_conflict_error", message: "object keys must be unique", file: place?.file ?? "",
            row: place?.row ?? 0, column: place?.column ?? 0)
    }

    // MARK: Input and data

    private func readInput(_ number: Int32) -> Value {
        inputReads[Int(number)] = query
        var value = inputRoot
        for key in program.inputPaths[Int(number)] { value = value.lookup(key) }
        inputs[Int(number)] = Memo(value: value, epoch: epoch, rule: -1)
        return value
    }

    private func resolveData(_ number: Int32) -> Value {
        var value = dataRoot
        for key in program.dataPaths[Int(number)] { value = Documents.step(value, key) }
        return value
    }

    /// What a `with` put in place of a group's path; nil where none did.
    private func replacement(_ group: Int) -> Value? {
        let path = program.groups[group].path
        for replaced in replacedPaths where replaced.count <= path.count {
            if zip(replaced, path).allSatisfy({ Value.equal($0, $1) }) {
                var value = dataRoot
                for key in path { value = value.lookup(key) }
                return value
            }
        }
        return nil
    }

    /// Who is called, and whether that is a replacement.
    private func callee(_ number: Int32) -> (callee: Callee, isReplaced: Bool) {
        let name = program.calleeNames[Int(number)]
        var index = mocks.count - 1
        while index >= mockFloor {
            if mocks[index].name == name { return (mocks[index].callee, true) }
            index -= 1
        }
        return (program.callees[Int(number)], false)
    }

    private func beginWith(
        _ instruction: Instruction, _ base: UnsafeMutablePointer<Value>, _ constants: UnsafePointer<Value>
    ) throws(RegoError) {
        func operand(_ number: Int32) -> Value { number >= 0 ? base[Int(number)] : constants[Int(~number)] }
        pushWith()
        for offset in 0..<Int(instruction.b) {
            let specification = program.withs[Int(instruction.c) + offset]
            let path = specification.path.map { operand($0) }
            switch specification.target {
            case .input: inputRoot = try put(operand(specification.value), at: path[...], into: inputRoot)
            case .data:
                dataRoot = try put(operand(specification.value), at: path[...], into: dataRoot)
                dataIsReplaced = true
                replacedPaths.append(path)
            case .function(let name, let replacement):
                if let replacement {
                    mocks.append((name, replacement))
                } else {
                    mockValues.append(operand(specification.value))
                    mocks.append((name, .value(Int32(mockValues.count - 1))))
                }
            }
        }
        lastEpoch &+= 1
        epoch = lastEpoch
        try checkLimits()
    }

    private func pushWith() {
        withStack.append(
            WithState(
                epoch: epoch, input: inputRoot, data: dataRoot, dataIsReplaced: dataIsReplaced,
                replacedPaths: replacedPaths.count, mocks: mocks.count, mockFloor: mockFloor,
                mockValues: mockValues.count))
    }

    private func endWith() {
        guard let state = withStack.popLast() else { return }
        epoch = state.epoch
        inputRoot = state.input
        dataRoot = state.data
        dataIsReplaced = state.dataIsReplaced
        replacedPaths.removeSubrange(state.replacedPaths...)
        mocks.removeSubrange(state.mocks...)
        mockFloor = state.mockFloor
        mockValues.removeSubrange(state.mockValues...)
    }

    /// A copy of `document` with `value` at `path`.
    private func put(_ value: Value, at path: ArraySlice<Value>, into document: Value) throws(RegoError) -> Value {
        guard let key = path.first else { return value }
        // What is no object gives way to one.
        let document = document.tag == .object ? document : .undefined
        budget &-= document.count
        let inner = try put(value, at: path.dropFirst(), into: document.lookup(key))
        var pairs: [(key: Value, value: Value)] = []
        for index in 0..<document.count where !Value.equal(document.key(index), key) {
            pairs.append((document.key(index), document.element(index)))
        }
        pairs.append((key, inner))
        return arena.object(pairs)
    }

    // MARK: Built-ins

    private func callBuiltin(
        _ site: Int32, _ instruction: Instruction, operands: UnsafePointer<Int32>,
        _ base: UnsafeMutablePointer<Value>, _ pc: inout Int
    ) throws(RegoError) {
        let constants = UnsafePointer(program.constants.baseAddress.unsafelyUnwrapped)
        let count = program.sites[Int(site)].argumentCount
        // Arguments go on top of the collected values, which no built-in touches.
        let start = collectedCount
        for index in 0..<count {
            let number = operands[index]
            collect(number >= 0 ? base[Int(number)] : constants[Int(~number)])
        }
        collectedCount = start
        budget &-= 1
        let value: Value
        do throws(BuiltinFailure) {
            value = try program.functions[Int(site)](
                self, Arguments(UnsafePointer(collected + start), count: count))
        } catch {
            if let error = self.error(error, program.sites[Int(site)]) { throw error }
            pc = Int(instruction.d)
            return
        }
        if budget < 0 { try checkLimits() }
        if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
    }

    private func error(_ failure: BuiltinFailure, _ site: CallSite) -> RegoError? {
        func make(_ code: String, _ message: String) -> RegoError {
            RegoError(code: code, message: message, file: site.file, row: site.row, column: site.column)
        }
        switch failure {
        case .limit(let message): return make("rego_limit_error", "\(site.name): \(message)")
        case .fatal(let code, let message): return make(code, message)
        case .type(let message):
            return limits.strictBuiltinErrors ? make("eval_type_error", "\(site.name): \(message)") : nil
        case .failed(let message):
            return limits.strictBuiltinErrors ? make("eval_builtin_error", "\(site.name): \(message)") : nil
        }
    }
}
