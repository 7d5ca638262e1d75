/// Base documents, frozen: shared by all threads, replaced as a whole.
final class DataSnapshot: @unchecked Sendable {
    /// Keeps the program's keys alive.
    private let program: Program
    private let arena: Arena
    /// The whole document.
    let root: Value
    /// The value of each of the program's base document paths.
    let resolved: UnsafeMutableBufferPointer<Value>
    /// Values of groups that depend on data alone; those of the epoch `Memo.always` are known.
    let computed: UnsafeMutableBufferPointer<Memo>
    /// The program's indexes over base documents.
    let indexes: FrozenArray<DataIndex>

    init(_ value: RegoValue, _ program: Program) {
        self.program = program
        arena = Arena(capacity: 1 << 16)
        root = arena.make(value)
        resolved = .allocate(capacity: max(1, program.dataPaths.count))
        for (index, path) in program.dataPaths.enumerated() {
            var value = root
            for key in path { value = Documents.step(value, key) }
            resolved.initializeElement(at: index, to: value)
        }
        let (arena, resolved) = (arena, resolved)
        computed = .allocate(capacity: max(1, program.groups.count))
        computed.initialize(repeating: Memo(value: .undefined, epoch: 0, rule: -1))
        indexes = FrozenArray(program.dataIndexes.map { DataIndex(resolved[Int($0.path)], $0.kind, arena) })
    }

    deinit {
        resolved.deallocate()
        computed.deallocate()
        for number in 0..<indexes.count { indexes[number].deallocate() }
        indexes.deallocate()
    }

    /// Instructions that computing all constant rules may take, and bytes that their values may.
    private static let constantInstructions = 5_000_000
    private static let constantBytes = 64 << 20

    /// Computes the rules that depend on data alone, once, before any query. Those that fail or take too much are left
    /// to the queries that ask for them.
    func computeConstants(_ limits: RegoLimits) {
        if program.constantGroups.isEmpty { return }
        var limits = limits
        limits.instructions = min(limits.instructions, Self.constantInstructions)
        limits.memoryBytes = min(limits.memoryBytes, Self.constantBytes)
        let machine = Machine(program: program, data: self, limits: limits)
        let before = arena.used
        for number in program.constantGroups {
            machine.reset()
            guard let value = try? machine.run(number, input: .undefined) else { continue }
            limits.instructions = max(0, machine.budget)
            machine.limits = limits
            let rule = machine.decidedRule(number)
            // What lies in the data or the program stays where it is.
            let kept = machine.isFrozen(value) ? value : arena.copy(value)
            computed[Int(number)] = Memo(value: kept, epoch: Memo.always, rule: rule)
            if arena.used - before > Self.constantBytes { return }
        }
    }
}
