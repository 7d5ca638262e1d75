// Collections that a program puts together.

extension Machine {
    /// Adds a value to those that are being collected.
    @inline(__always)
    func collect(_ value: Value) {
        if collectedCount == collectedCapacity { growCollected() }
        collected[collectedCount] = value
        collectedCount &+= 1
    }

    /// Makes room for more collected values.
    @inline(never)
    func growCollected() {
        // The next check of the budget finds it.
        if collectedCount * 16 > limits.memoryBytes { budget = min(budget, -1) }
        let larger = UnsafeMutablePointer<Value>.allocate(capacity: collectedCapacity * 2)
        larger.update(from: collected, count: collectedCount)
        collected.deallocate()
        collected = larger
        collectedCapacity *= 2
    }

    /// A collection of an instruction's operands.
    func make(
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

    /// The collection of what was collected since `start`.
    func endCollection(_ instruction: Instruction, from start: Int) throws(RegoError) -> Value {
        let count = collectedCount - start
        budget &-= count
        try checkLimits()
        collectedCount = start
        let value = try collection(instruction, from: start, count)
        if arena.isTooDeep { try checkLimits() }
        return value
    }

    /// The same, limits unchecked.
    func collection(
        _ instruction: Instruction, from start: Int, _ count: Int
    ) throws(RegoError) -> Value {
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

    /// Two values of one key: of a rule's object, or below zero of a comprehension's.
    func objectConflict(_ rule: Int32) -> RegoError {
        let place = rule >= 0 ? program.places[Int(rule)] : nil
        return RegoError(
            code: "eval_conflict_error", message: "object keys must be unique", file: place?.file ?? "",
            row: place?.row ?? 0, column: place?.column ?? 0)
    }
}
