/// Asks a policy. One for each thread: it keeps the memory of its queries. Not shared between threads.
public final class Evaluator {
    private let machine: Machine
    /// The policy that is asked.
    public private(set) var policy: CompiledPolicy

    /// An evaluator of a policy.
    public init(_ policy: CompiledPolicy) {
        self.policy = policy
        machine = Machine(program: policy.program, data: policy.data, limits: policy.limits)
    }

    /// Takes what a `print` says: the text of its operands with spaces between, and the place of the call.
    public typealias PrintSink = (_ text: String, _ file: String, _ row: Int) -> Void

    /// Where `print` of a policy goes that was compiled with `CompileOptions.keepsPrints`; nowhere where it is nil.
    public var printSink: PrintSink? {
        get { machine.printSink }
        set { machine.printSink = newValue }
    }

    /// What watches a policy that was compiled with `CompileOptions.isInstrumented`.
    public var observation: Observation? {
        get { machine.observation }
        set {
            newValue?.watch(policy)
            machine.observation = newValue
        }
    }

    /// A rule's place.
    public struct DecidingRule: Hashable, Sendable {
        /// The module's name.
        public let file: String
        /// Line, from 1.
        public let row: Int
        /// Column, from 1.
        public let column: Int
        /// The rule's path.
        public let name: String
    }

    /// An input that was built for the next query.
    public struct Input {
        let value: Value
    }

    /// Builds the input of the next query where the machine reads it; forgets the values of the last query.
    public func makeInput(_ build: (inout InputBuilder) -> Void) -> Input {
        machine.reset()
        var builder = InputBuilder(machine.arena)
        build(&builder)
        return Input(value: builder.finish())
    }

    /// An input from a value that owns its memory.
    public func makeInput(_ value: RegoValue) -> Input {
        machine.reset()
        return Input(value: machine.arena.make(value))
    }

    /// An input from JSON text.
    public func makeInput(json: [UInt8]) throws(RegoError) -> Input {
        machine.reset()
        return Input(value: try JSONReader.read(json, machine.arena))
    }

    /// No input: `input` is undefined.
    public func makeEmptyInput() -> Input {
        machine.reset()
        return Input(value: .undefined)
    }

    /// The answer to a query; readable until the evaluator makes the next input.
    public struct Result {
        let root: Value
        private let machine: Machine
        private let group: Int32

        init(_ root: Value, _ machine: Machine, _ group: Int32) {
            self.root = root
            self.machine = machine
            self.group = group
        }

        /// Whether the document is defined.
        public var isDefined: Bool { root.isDefined }
        /// A copy of the document; nil where it is undefined.
        public var value: RegoValue? { root.isDefined ? RegoValue(root) : nil }
        /// The document as JSON without spaces; nil where it is undefined.
        public var json: String? { root.isDefined ? JSONWriter.text(root) : nil }
        /// The boolean, where the document is one.
        public var boolean: Bool? { root.tag == .true ? true : root.tag == .false ? false : nil }

        /// A part of the document, without copying.
        public subscript(key: String) -> ResultView { ResultView(root.lookup(machine.arena.string(key)), machine) }
        /// The document, without copying.
        public var view: ResultView { ResultView(root, machine) }

        /// The rule that gave the document its value; nil for packages, partial rules and queries.
        public var rule: DecidingRule? {
            machine.decided(group).map { DecidingRule(file: $0.file, row: $0.row, column: $0.column, name: $0.name) }
        }

        /// What the policy read of the input: constant paths as far as they were constant; everything below such a
        /// path counts as read. An empty path is the whole input.
        public var inputPathsRead: [[RegoValue]] { machine.inputPathsRead.map { $0.map { RegoValue($0) } } }
        /// Whether the policy read the clock.
        public var readClock: Bool { machine.readClock }
        /// Whether the policy asked for random values.
        public var readRandom: Bool { machine.readRandom }
        /// Instructions that the query took.
        public var instructions: Int { machine.limits.instructions - machine.budget }
    }

    /// A look at a part of a result.
    public struct ResultView {
        private let root: Value
        private let machine: Machine

        init(_ root: Value, _ machine: Machine) {
            self.root = root
            self.machine = machine
        }

        /// Whether there is a value.
        public var isDefined: Bool { root.isDefined }
        /// The boolean, where it is one.
        public var boolean: Bool? { root.tag == .true ? true : root.tag == .false ? false : nil }
        /// The text, where it is a string.
        public var string: String? { root.tag == .string ? root.text : nil }
        /// The whole number, where it is one of 64 bits.
        public var integer: Int? { root.isNumber ? Decimal(root).integer : nil }
        /// Whether it is an object.
        public var isObject: Bool { root.tag == .object }
        /// A copy; nil where there is no value.
        public var value: RegoValue? { root.isDefined ? RegoValue(root) : nil }
        /// A part.
        public subscript(key: String) -> ResultView { ResultView(root.lookup(machine.arena.string(key)), machine) }
    }

    /// Evaluates an entry point. `time` is the clock of the whole query, nanoseconds since the Unix epoch. Throws
    /// conflicts, limits and, where `RegoLimits.strictBuiltinErrors` asks for them, errors of built-in functions.
    public func evaluate(_ entry: CompiledPolicy.EntryPoint, input: Input, time: Int) throws(RegoError) -> Result {
        machine.clock = time
        let root = try machine.run(entry.group, input: input.value)
        return Result(root, machine, entry.group)
    }

    /// The same for an input that may be asked about again and again.
    public func evaluate(
        _ entry: CompiledPolicy.EntryPoint, input: PreparedInput, time: Int
    ) throws(RegoError) -> Result {
        machine.reset()
        return try evaluate(entry, input: Input(value: input.value), time: time)
    }

    /// Asks another revision of the policy from now on: the same program with other data is cheap, another program
    /// takes a new evaluator.
    public func use(_ policy: CompiledPolicy) -> Bool {
        guard policy.program === self.policy.program else { return false }
        self.policy = policy
        machine.use(policy.data)
        return true
    }
}

/// An input that owns its values: built once, read by any evaluator. It must outlive the results of its queries.
public final class PreparedInput: @unchecked Sendable {
    private let arena = Arena(capacity: 1024)
    let value: Value

    /// An input of a value.
    public init(_ value: RegoValue) { self.value = arena.make(value) }
}

/// Builds the values of an input.
public struct InputBuilder {
    private let arena: Arena
    private var value = Value.undefined
    private var pairs: [(key: Value, value: Value)] = []

    init(_ arena: Arena) { self.arena = arena }

    consuming func finish() -> Value { value }

    /// The value is an object with what `build` sets.
    public mutating func object(_ build: (inout ObjectBuilder) -> Void) {
        var builder = ObjectBuilder(arena)
        build(&builder)
        value = builder.finish()
    }

    /// The value is a string.
    public mutating func string(_ text: String) { value = arena.string(text) }
    /// The value is a whole number.
    public mutating func integer(_ number: Int) { value = Value(number) }
    /// The value is a boolean.
    public mutating func boolean(_ boolean: Bool) { value = Value(boolean) }
    /// The value is null.
    public mutating func null() { value = .null }
    /// The value is an array of strings.
    public mutating func strings(_ texts: some Sequence<String>) { value = arena.array(texts.map { arena.string($0) }) }
    /// The value is an array; each element is built by a call of `build`.
    public mutating func array<Element>(
        _ elements: some Sequence<Element>, _ build: (inout InputBuilder, Element) -> Void
    ) {
        let arena = arena
        value = arena.array(
            elements.map { element in
                var builder = InputBuilder(arena)
                build(&builder, element)
                return builder.finish()
            })
    }
    /// The value is a copy of `other`.
    public mutating func value(_ other: RegoValue) { value = arena.make(other) }
}

/// Builds an object of an input. A key that is set twice keeps the last value; absent values set nothing.
public struct ObjectBuilder {
    private let arena: Arena
    private var pairs: [Value] = []

    init(_ arena: Arena) {
        self.arena = arena
        pairs.reserveCapacity(32)
    }

    consuming func finish() -> Value {
        var conflict = false
        return pairs.withUnsafeMutableBufferPointer { arena.object(pairs: $0, lastWins: true, conflict: &conflict) }
    }

    private mutating func set(_ key: StaticString, value: Value) {
        pairs.append(
            key.withUTF8Buffer { arena.string($0) })
        pairs.append(value)
    }

    /// A string.
    public mutating func set(_ key: StaticString, _ text: String?) {
        if let text { set(key, value: arena.string(text)) }
    }
    /// A whole number.
    public mutating func set(_ key: StaticString, _ number: Int?) {
        if let number { set(key, value: Value(number)) }
    }
    /// A boolean.
    public mutating func set(_ key: StaticString, _ boolean: Bool?) {
        if let boolean { set(key, value: Value(boolean)) }
    }
    /// An array of strings.
    public mutating func set(_ key: StaticString, _ texts: [String]?) {
        if let texts { set(key, value: arena.array(texts.map { arena.string($0) })) }
    }
    /// An object of strings.
    public mutating func set(_ key: StaticString, _ texts: [String: String]?) {
        if let texts {
            set(key, value: arena.object(texts.map { (arena.string($0.key), arena.string($0.value)) }))
        }
    }
    /// A value that owns its memory.
    public mutating func set(_ key: StaticString, _ value: RegoValue?) {
        if let value { set(key, value: arena.make(value)) }
    }
    /// An object that `build` fills.
    public mutating func object(_ key: StaticString, _ build: (inout ObjectBuilder) -> Void) {
        var builder = ObjectBuilder(arena)
        build(&builder)
        set(key, value: builder.finish())
    }
}
