/// Base documents, frozen: shared by all threads, replaced as a whole.
final class DataSnapshot: @unchecked Sendable {
    /// Keeps the program's keys alive.
    private let program: Program
    private let arena: Arena
    /// The whole document.
    let root: Value
    /// The value of each of the program's base document paths.
    let resolved: UnsafeMutableBufferPointer<Value>

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
    }

    deinit { resolved.deallocate() }
}
