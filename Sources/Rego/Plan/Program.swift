/// What an instruction does. `a`...`d` are named in each case; an operand is a slot of the frame or, below zero, the
/// complement of a constant's number; `d` is where to go on failure unless said otherwise.
enum Opcode: UInt8 {
    /// Slot `a` becomes operand `b`.
    case move
    /// Slot `a` becomes undefined.
    case clear
    /// Slot `a` becomes input path `b`.
    case input
    /// Slot `a` becomes base document path `b`.
    case data
    /// Slot `a` becomes operand `b` at key `c`.
    case lookup
    /// Slot `a` becomes the value of group `b` with the arguments at pool `c`.
    case call
    /// The same for a group or built-in that a `with` may replace: callee `b`.
    case callReplaceable
    /// Slot `a` becomes the result of call site `b` with the arguments at pool `c`.
    case builtin
    /// Goes to `d`.
    case jump
    /// Fails where operand `b` is false or undefined.
    case test
    /// Goes to `d` where slot `b` is defined.
    case jumpDefined
    /// Fails where operands `b` and `c` differ.
    case equal
    /// Fails unless operands `b` and `c` compare as `a` says.
    case compare
    /// Slot `a` becomes whether operands `b` and `c` compare as `d` says.
    case compareValue
    /// Fails unless `b` is an array of `a` elements.
    case arrayOf
    /// Fails unless `b` is an object of `a` keys.
    case objectOf
    /// Begins to iterate operand `b` in slots `a` and `a + 1`.
    case iterate
    /// The next key to slot `b` and value to slot `c` (where they are not negative); at the end goes to `d`.
    case next
    /// Begins to collect; slot `a` remembers where.
    case begin
    /// Collects operand `b`.
    case push
    /// Collects operands `b` and `c`.
    case pushPair
    /// Slot `a` becomes an array of what was collected since slot `b`.
    case endArray
    case endSet
    /// The same as an object; two values of one key are a conflict, of rule `c` or (below zero) of a comprehension.
    case endObject
    /// The same from `[kind, key..., value]`, nested objects and sets.
    case endTree
    /// Slot `a` becomes an array of the `b` operands at pool `c`.
    case makeArray
    case makeSet
    case makeObject
    /// Slot `a` becomes operand `b`, by rule `c`; another value is a conflict.
    case result
    /// Returns slot 0.
    case `return`
    /// Replaces what `b` specifications from `c` on say.
    case withBegin
    case withEnd
    /// Slot `a` becomes the child of tree node `b` at key `c`.
    case dispatch
    /// Slot `a` becomes object `b` and what base document path `c` has besides.
    case mergeBase
    /// Slot `a` becomes objects `b` and `c` merged.
    case mergeTree
    /// Slots `a`, `a + 1` iterate the rules of index `b` that may match; nothing fails.
    case indexBegin
    /// Goes to the next rule of the iteration at `a`; at the end to `d`.
    case indexNext
    /// Begins to iterate in slots `a` and `a + 1` those elements that data index `b` finds for operand `c`.
    case iterateMatching
    /// Slot `a` becomes whether data index `b` has operand `c` among its members.
    case member
    /// Tells the observation of operation `a` at trace site `b` and depth `d`; `c` is an operand or slot of the operation.
    /// Instrumented programs alone have it.
    case observe
}

/// One step of a program.
struct Instruction {
    var op: Opcode
    var a: Int32 = 0
    var b: Int32 = 0
    var c: Int32 = 0
    var d: Int32 = 0
}

/// How `compare` compares.
enum Comparison: Int32 {
    case equal
    case notEqual
    case less
    case lessOrEqual
    case greater
    case greaterOrEqual

    @inline(__always)
    func holds(_ a: Value, _ b: Value) -> Bool {
        switch self {
        case .equal: Value.equal(a, b)
        case .notEqual: !Value.equal(a, b)
        case .less: Value.compare(a, b) < 0
        case .lessOrEqual: Value.compare(a, b) <= 0
        case .greater: Value.compare(a, b) > 0
        case .greaterOrEqual: Value.compare(a, b) >= 0
        }
    }
}

/// The rules of one path, a document of the tree, or a query: what is called and remembered by number.
struct Group {
    /// The first instruction, and the one behind the last.
    var entry: Int32 = 0
    var end: Int32 = 0
    /// Whether these are a path's own rules.
    var isRule = false
    var slots: Int32 = 1
    /// Number of arguments; nil for rules that are no functions.
    var arguments: Int?
    /// The path from below `data`.
    var path: [Value] = []
    var name = ""
    /// A `with` somewhere may replace this path.
    var isReplaceable = false
}

/// A call of a built-in function in the program.
struct CallSite {
    var name: String
    var argumentCount: Int
    var file: String
    var row: Int
    var column: Int
}

/// Where a rule stands.
struct RulePlace {
    var file: String
    var row: Int
    var column: Int
    var name: String
}

/// Who is called where a `with` may replace it.
enum Callee {
    case group(Int32)
    case builtin(site: Int32)
    case value(Int32)
}

/// What one `with` replaces.
struct WithSpecification {
    enum Target {
        case input
        case data
        /// A function or built-in by its name; the replacement is a function where `replacement` is set.
        case function(String, replacement: Callee?)
    }
    var target: Target
    /// Operands of the path below the target.
    var path: [Int32]
    /// The operand of the new value; unused for replacements by functions.
    var value: Int32
}

/// A node of the rule tree for `dispatch`.
struct DispatchNode {
    /// Group of each child that has rules, by key.
    var children: [(key: Value, group: Int32)]
    /// The base document path of the node.
    var path: Int32
}

/// A compiled policy: instructions, constants and tables. Immutable once made.
final class Program: @unchecked Sendable {
    let arena: Arena
    let code: UnsafeMutableBufferPointer<Instruction>
    let constants: UnsafeMutableBufferPointer<Value>
    let pool: UnsafeMutableBufferPointer<Int32>
    let groups: UnsafeMutableBufferPointer<Group>
    let functions: UnsafeMutableBufferPointer<BuiltinFunction>
    let inputPaths: FrozenRows<Value>
    let dataPaths: [[Value]]
    let sites: [CallSite]
    let places: [RulePlace]
    let callees: [Callee]
    let calleeNames: [String]
    let withs: [WithSpecification]
    let nodes: [DispatchNode]
    /// The nodes of each rule index, and the first instructions of the rules it finds.
    let indexNodes: FrozenRows<RuleIndex.Node>
    let indexEntries: FrozenRows<Int32>
    let dataIndexes: [DataIndexSpecification]
    /// Groups that depend on base documents alone.
    let constantGroups: [Int32]
    /// The groups of paths, for entry points.
    let entryGroups: [String: Int32]
    /// Rules whose names begin with `test_` or `todo_test_`, by path.
    let testRules: [(path: String, place: RulePlace)]
    let traceSites: [TraceSite]

    init(_ planner: Planner) {
        arena = planner.arena
        code = Self.copy(planner.code)
        constants = Self.copy(planner.constants)
        pool = Self.copy(planner.pool)
        groups = Self.copy(planner.groups)
        functions = Self.copy(planner.functions)
        inputPaths = FrozenRows(planner.inputPaths)
        dataPaths = planner.dataPaths
        sites = planner.sites
        places = planner.places
        callees = planner.callees
        calleeNames = planner.calleeNames
        withs = planner.withs
        nodes = planner.nodes
        indexNodes = FrozenRows(planner.indexes.map(\.nodes))
        indexEntries = FrozenRows(planner.indexes.map(\.entries))
        dataIndexes = planner.dataIndexes
        // What is computed with the data is computed where nobody looks.
        constantGroups = planner.options.isInstrumented ? [] : Constancy(planner).groups
        entryGroups = planner.entryGroups
        testRules = planner.testRules
        traceSites = planner.traceSites
    }

    private static func copy<Element>(_ array: [Element]) -> UnsafeMutableBufferPointer<Element> {
        let buffer = UnsafeMutableBufferPointer<Element>.allocate(capacity: max(1, array.count))
        _ = buffer.initialize(from: array)
        return UnsafeMutableBufferPointer(rebasing: buffer[0..<array.count])
    }

    deinit {
        code.deallocate()
        constants.deallocate()
        pool.deallocate()
        groups.deinitialize()
        groups.deallocate()
        functions.deinitialize()
        functions.deallocate()
        inputPaths.deallocate()
        indexNodes.deallocate()
        indexEntries.deallocate()
    }
}
