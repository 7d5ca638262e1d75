/// Turns checked rules into a program: variables become slots, each expression a run of instructions whose failure
/// goes to the innermost loop that is still open. Whether a variable is bound is known here, so that equality becomes
/// assignment, comparison or taking apart, and nothing is left to unify when a policy runs.
final class Planner {
    let compiler: Compiler
    let arena = Arena(capacity: 1 << 16)
    var code: [Instruction] = []
    var constants: [Value] = []
    var pool: [Int32] = []
    var groups: [Group] = []
    var functions: [BuiltinFunction] = []
    var inputPaths: [[Value]] = [[]]
    var dataPaths: [[Value]] = [[]]
    var sites: [CallSite] = []
    var places: [RulePlace] = []
    var callees: [Callee] = []
    /// The name of each callee.
    var calleeNames: [String] = []
    var withs: [WithSpecification] = []
    var nodes: [DispatchNode] = []
    var indexes: [RuleIndex] = []
    var dataIndexes: [DataIndexSpecification] = []
    var entryGroups: [String: Int32] = [:]
    var testRules: [(path: String, place: RulePlace)] = []
    private var constantNumbers: [RuleTree.Symbol: Int32] = [:]
    private var inputNumbers: [String: Int32] = [:]
    private var dataNumbers: [String: Int32] = [:]
    private var nodeNumbers: [ObjectIdentifier: Int32] = [:]
    private var pending: [(group: Int32, work: Work)] = []

    /// What the code of a group is made from.
    enum Work {
        case rules(RuleTree)
        case document(RuleTree)
        case query(Compiler.Query)
    }
    /// What the modules' comments say of them.
    lazy var annotations = Annotations(compiler.modules)
    /// How many references negations have given a name.
    var hoistedCount = 0
    /// The rule at work.
    var currentRule: Rule?
    private let hostFunctions: [String: BuiltinFunction]
    let options: CompileOptions
    /// What instrumentation tells of, by number.
    var traceSites: [TraceSite] = []
    /// How many bodies inside of each other the code is in.
    var scopeDepth: Int32 = 0
    /// What is shown for expressions that the planner put in place of others.
    var shown: [ObjectIdentifier: Expression] = [:]
    /// What `with`s in the policy replace: paths below `data` as text, and names of functions.
    let replacements: Replacements

    // The group at work.
    var env: [String: Int32] = [:]
    var fail: Label = 0
    private var slotCount: Int32 = 1
    /// The most slots that were in use at once in the group that is planned.
    private var slotPeak: Int32 = 1
    private var labels: [Int32] = []
    private var fixups: [(instruction: Int, label: Label)] = []

    /// A place in the code that may not be known yet.
    typealias Label = Int

    init(_ compiler: Compiler, queries: [Body], hostFunctions: [HostFunction], options: CompileOptions) {
        self.compiler = compiler
        self.options = options
        self.hostFunctions = Dictionary(hostFunctions.map { ($0.name, $0.builtin) }) { $1 }
        replacements = Replacements(compiler, queries)
    }

    /// The code of a built-in or host function; nil where it is not available here.
    func function(_ name: String) -> BuiltinFunction? { hostFunctions[name] ?? Builtins.function(name) }

    // MARK: Emitting

    func label() -> Label {
        labels.append(-1)
        return labels.count - 1
    }

    func place(_ label: Label) { labels[label] = Int32(code.count) }

    func emit(_ op: Opcode, a: Int32 = 0, b: Int32 = 0, c: Int32 = 0) {
        code.append(Instruction(op: op, a: a, b: b, c: c))
    }

    /// An instruction that goes to `target` (by default to the open failure label).
    func emitJumping(_ op: Opcode, a: Int32 = 0, b: Int32 = 0, c: Int32 = 0, to target: Label? = nil) {
        fixups.append((code.count, target ?? fail))
        code.append(Instruction(op: op, a: a, b: b, c: c))
    }

    func slot() -> Int32 {
        defer { slotCount += 1 }
        return slotCount
    }

    func slotPair() -> Int32 {
        defer { slotCount += 2 }
        return slotCount
    }

    func constant(_ value: RegoValue) -> Int32 {
        let symbol = RuleTree.Symbol(value)
        var isSet = false
        if case .set = value { isSet = true }
        if !isSet, !containsSet(value), let known = constantNumbers[symbol] { return ~known }
        constants.append(arena.make(value))
        let number = Int32(constants.count - 1)
        if !isSet, !containsSet(value) { constantNumbers[symbol] = number }
        return ~number
    }

    /// Sets and arrays have the same JSON, so constants with sets are not shared.
    private func containsSet(_ value: RegoValue) -> Bool {
        switch value {
        case .set: true
        case .array(let elements): elements.contains { containsSet($0) }
        case .object(let pairs): pairs.contains { containsSet($0.key) || containsSet($0.value) }
        default: false
        }
    }

    func pooled(_ operands: [Int32]) -> Int32 {
        pool += operands
        return Int32(pool.count - operands.count)
    }

    func inputPath(_ path: [RegoValue]) -> Int32 {
        if path.isEmpty { return 0 }
        let key = RegoValue.array(path).json
        if let known = inputNumbers[key] { return known }
        inputPaths.append(path.map { arena.make($0) })
        inputNumbers[key] = Int32(inputPaths.count - 1)
        return Int32(inputPaths.count - 1)
    }

    func dataPath(_ path: [RegoValue]) -> Int32 {
        if path.isEmpty { return 0 }
        let key = RegoValue.array(path).json
        if let known = dataNumbers[key] { return known }
        dataPaths.append(path.map { arena.make($0) })
        dataNumbers[key] = Int32(dataPaths.count - 1)
        return Int32(dataPaths.count - 1)
    }

    // MARK: Groups

    /// Plans everything: all rules, and what was asked for.
    func planAll() throws(RegoErrors) {
        try planNode(compiler.tree)
        try drain()
        testRules.sort { $0.path < $1.path }
    }

    private func planNode(_ node: RuleTree) throws(RegoErrors) {
        if !node.rules.isEmpty { _ = try group(of: node) }
        for child in node.children { try planNode(child) }
        entryGroups[node.name] = try entry(of: node)
        if case .string(let name) = node.key, let rule = node.rules.first, rule.head.arguments == nil,
            name.hasPrefix("test_") || name.hasPrefix("todo_test_")
        {
            testRules.append((node.name, places[Int(placeNumber(rule))]))
        }
    }

    private func drain() throws(RegoErrors) {
        while let next = pending.popLast() { try plan(next.group, next.work) }
    }

    /// The group that a reference to a node calls.
    private func entry(of node: RuleTree) throws(RegoErrors) -> Int32 {
        if !node.rules.isEmpty, !node.children.contains(where: { $0.hasRules }) { return try group(of: node) }
        return try document(of: node)
    }

    func newGroup(_ name: String, _ path: [RegoValue], arguments: Int?) -> Int32 {
        var group = Group()
        group.name = name
        group.path = path.map { arena.make($0) }
        group.arguments = arguments
        group.isReplaceable = replacements.covers(path)
        groups.append(group)
        return Int32(groups.count - 1)
    }

    /// Plans code whose slots are free again behind it, such as one rule of many.
    func reusingSlots(_ body: () throws(RegoErrors) -> Void) throws(RegoErrors) {
        let start = slotCount
        try body()
        slotPeak = max(slotPeak, slotCount)
        slotCount = start
    }

    /// Plans the code of a group.
    private func plan(_ number: Int32, _ work: Work) throws(RegoErrors) {
        let saved = (env, fail, slotCount, slotPeak, labels, fixups)
        let savedDepth = scopeDepth
        scopeDepth = 0
        defer { scopeDepth = savedDepth }
        let savedRule = currentRule
        currentRule = nil
        defer { currentRule = savedRule }
        env = [:]
        slotCount = 1 + Int32(groups[Int(number)].arguments ?? 0)
        slotPeak = slotCount
        labels = []
        fixups = []
        fail = label()
        groups[Int(number)].entry = Int32(code.count)
        switch work {
        case .rules(let node): try planRules(node)
        case .document(let node): try planDocument(node)
        case .query(let query): try planSolutions(query)
        }
        groups[Int(number)].slots = max(slotPeak, slotCount)
        groups[Int(number)].end = Int32(code.count)
        if case .rules = work { groups[Int(number)].isRule = true }
        for fixup in fixups { code[fixup.instruction].d = labels[fixup.label] }
        (env, fail, slotCount, slotPeak, labels, fixups) = saved
        if groups[Int(number)].slots > 30000 {
            throw RegoErrors([
                RegoError(
                    code: "rego_limit_error",
                    message: "\(groups[Int(number)].name) needs more than 30000 variables (split it)")
            ])
        }
    }

    /// The group of a node's own rules.
    func group(of node: RuleTree) throws(RegoErrors) -> Int32 {
        if let known = node.group { return Int32(known) }
        let arguments = node.rules.first?.head.arguments?.count
        let number = newGroup(node.name, node.path, arguments: arguments)
        node.group = Int(number)
        pending.append((number, .rules(node)))
        return number
    }

    /// The group of the whole document at a node: its rules, everything below, and the base document.
    func document(of node: RuleTree) throws(RegoErrors) -> Int32 {
        if let known = node.document { return Int32(known) }
        let number = newGroup(node.name, node.path, arguments: nil)
        node.document = Int(number)
        pending.append((number, .document(node)))
        return number
    }

    private func planDocument(_ node: RuleTree) throws(RegoErrors) {
        if let rule = node.rules.first, rule.head.arguments == nil {
            // Rules with variables in their names take what is below in.
            emitJumping(.call, a: 0, b: try group(of: node))
        } else {
            let start = slot()
            emit(.begin, a: start)
            for child in node.children {
                if child.rules.first?.head.arguments != nil { continue }
                let value = slot()
                let skip = label()
                emitJumping(.call, a: value, b: try entry(of: child), to: skip)
                emit(.pushPair, b: constant(child.key), c: value)
                place(skip)
            }
            emit(.endObject, a: 0, b: start, c: -1)
        }
        emit(.mergeBase, a: 0, b: 0, c: dataPath(node.path))
        place(fail)
        emit(.return)
    }

    /// The dispatch table of a node.
    func dispatchNode(_ node: RuleTree) throws(RegoErrors) -> Int32 {
        if let known = nodeNumbers[ObjectIdentifier(node)] { return known }
        var children: [(key: Value, group: Int32)] = []
        for child in node.children where child.rules.first?.head.arguments == nil {
            children.append((arena.make(child.key), try entry(of: child)))
        }
        nodes.append(DispatchNode(children: children, path: dataPath(node.path)))
        let number = Int32(nodes.count - 1)
        nodeNumbers[ObjectIdentifier(node)] = number
        return number
    }

    /// Plans a query: an array of objects, one for each solution.
    func planQuery(_ query: Compiler.Query) throws(RegoErrors) -> Int32 {
        let number = newGroup("query", [.string("\u{0}query")], arguments: nil)
        try plan(number, .query(query))
        try drain()
        return number
    }

    private func planSolutions(_ query: Compiler.Query) throws(RegoErrors) {
        let start = slot()
        let end = fail
        emit(.begin, a: start)
        let site = traceBody(query.body)
        try planBody(query.body)
        var operands: [Int32] = []
        for (local, name) in query.names {
            if let operand = env[local] { operands += [constant(.string(name)), operand] }
        }
        let object = slot()
        emit(.makeObject, a: object, b: Int32(operands.count / 2), c: pooled(operands))
        emit(.push, b: object)
        traceSolution(site)
        emitJumping(.jump)
        place(end)
        emit(.endArray, a: 0, b: start)
        emit(.return)
    }

    func placeNumber(_ rule: Rule) -> Int32 {
        places.append(
            RulePlace(
                file: rule.location.source?.name ?? "", row: rule.location.row, column: rule.location.column,
                name: RuleGraph.name(rule)))
        return Int32(places.count - 1)
    }
}
