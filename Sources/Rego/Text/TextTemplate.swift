/// Go's `text/template` over JSON, as OPA hands its values to it: numbers are texts of the kind `json.Number`, null and a
/// missing key are nothing, which is written `<undefined>`.
struct TextTemplate {
    /// What an operand stands for.
    enum Item {
        case nothing
        case flag(Bool)
        case integer(Int)
        case float(Double)
        case text(String)
        /// A number, array or object of the data.
        case json(Value)

        init(_ value: Value) {
            switch value.tag {
            case .undefined, .null: self = .nothing
            case .true: self = .flag(true)
            case .false: self = .flag(false)
            case .string: self = .text(value.text)
            default: self = .json(value)
            }
        }

        /// Whether `if` takes it for true.
        var isTrue: Bool {
            switch self {
            case .nothing: false
            case .flag(let flag): flag
            case .integer(let number): number != 0
            case .float(let number): number != 0
            case .text(let text): !text.isEmpty
            // A json.Number is a text, and no number is an empty one.
            case .json(let value): value.isComposite ? value.count > 0 : true
            }
        }
    }

    private enum Ending {
        case end
        case breakLoop
        case continueLoop
    }

    private typealias Node = TextTemplateTree.Node

    private let tree: TextTemplateTree
    private let machine: Machine
    private var variables: [(name: String, item: Item)] = []
    private var out = ""
    private var depth = 0

    /// Writes `text` with `data`. Throws where it is no template, or asks for what is not there.
    static func render(_ text: String, _ data: Value, _ machine: Machine) throws(BuiltinFailure) -> String {
        var template = TextTemplate(tree: try TextTemplateParser.parse(text), machine: machine)
        template.variables = [("$", Item(data))]
        _ = try template.write(template.tree.nodes, Item(data))
        return template.out
    }

    private init(tree: TextTemplateTree, machine: Machine) {
        self.tree = tree
        self.machine = machine
    }

    // MARK: Nodes

    private mutating func write(_ nodes: [Node], _ dot: Item) throws(BuiltinFailure) -> Ending {
        guard depth < 64 else { throw failure("exceeded maximum template depth") }
        depth += 1
        let outer = variables.count
        defer {
            depth -= 1
            variables.removeSubrange(outer...)
        }
        for node in nodes {
            let before = out.utf8.count
            let ending = try write(node, dot)
            try machine.charge(1 + (out.utf8.count - before) / 16)
            if ending != .end { return ending }
        }
        return .end
    }

    private mutating func write(_ node: Node, _ dot: Item) throws(BuiltinFailure) -> Ending {
        let outer = variables.count
        switch node {
        case .text(let text): out += text
        case .output(let pipeline):
            let item = try evaluate(pipeline, dot)
            if pipeline.variables.isEmpty { out += TextTemplateFunctions.text(item) }
        case .condition(let pipeline, let body, let other):
            defer { variables.removeSubrange(outer...) }
            return try write(try evaluate(pipeline, dot).isTrue ? body : other, dot)
        case .with(let pipeline, let body, let other):
            defer { variables.removeSubrange(outer...) }
            let item = try evaluate(pipeline, dot)
            return item.isTrue ? try write(body, item) : try write(other, dot)
        case .loop(let pipeline, let body, let other):
            defer { variables.removeSubrange(outer...) }
            return try loop(pipeline, body, other, dot)
        case .template(let name, let pipeline):
            let item = try pipeline.map { argument throws(BuiltinFailure) in try evaluate(argument, dot) } ?? .nothing
            guard let body = tree.definitions[name] else { throw failure("template \"\(name)\" not defined") }
            let own = variables
            variables = [("$", item)]
            defer { variables = own }
            _ = try write(body, item)
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .end
    }

    private mutating func loop(
        _ pipeline: TextTemplateTree.Pipeline, _ body: [Node], _ other: [Node], _ dot: Item
    ) throws(BuiltinFailure) -> Ending {
        var source = pipeline
        source.variables = []
        let count: Int
        let element: (Int) -> (key: Item, value: Item)
        switch try evaluate(source, dot) {
        case .nothing: return try write(other, dot)
        case .integer(let number):
            count = max(0, number)
            element = { (.integer($0), .integer($0)) }
        case .json(let value) where value.isComposite:
            count = value.count
            let isObject = value.tag == .object
            element = { index in (isObject ? Item(value.key(index)) : .integer(index), Item(value.element(index))) }
        default: throw failure("range can't iterate over it")
        }
        guard count > 0 else { return try write(other, dot) }
        let outer = variables.count
        for index in 0..<count {
            defer { variables.removeSubrange(outer...) }
            try machine.charge(1)
            let (key, value) = element(index)
            let names = pipeline.variables
            let items = names.count > 1 ? [key, value] : [value]
            for (name, item) in zip(names, items) { try set(name, item, pipeline.assigns) }
            if try write(body, value) == .breakLoop { break }
        }
        return .end
    }

    private mutating func set(_ name: String, _ item: Item, _ assigns: Bool) throws(BuiltinFailure) {
        guard assigns else { return variables.append((name, item)) }
        guard let place = variables.lastIndex(where: { $0.name == name }) else {
            throw failure("undefined variable \"\(name)\"")
        }
        variables[place].item = item
    }

    // MARK: Pipelines

    private mutating func evaluate(
        _ pipeline: TextTemplateTree.Pipeline, _ dot: Item
    ) throws(BuiltinFailure) -> Item {
        var item: Item?
        for command in pipeline.commands { item = try evaluate(command, piped: item, dot) }
        let result = item ?? .nothing
        for name in pipeline.variables { try set(name, result, pipeline.assigns) }
        return result
    }

    private mutating func evaluate(
        _ command: [TextTemplateTree.Operand], piped: Item?, _ dot: Item
    ) throws(BuiltinFailure) -> Item {
        try machine.charge(1)
        guard case .function(let name)? = command.first else {
            guard let only = command.first, command.count == 1, piped == nil else {
                throw failure("can't give argument to non-function")
            }
            return try evaluate(only, dot)
        }
        // `and` and `or` look at no more than they need.
        if name == "and" || name == "or" {
            var last: Item?
            for operand in command.dropFirst() {
                let item = try evaluate(operand, dot)
                last = item
                if item.isTrue == (name == "or") { return item }
            }
            guard let result = piped ?? last else { throw failure("wrong number of args for \(name): want at least 1") }
            return result
        }
        var arguments: [Item] = []
        for operand in command.dropFirst() { arguments.append(try evaluate(operand, dot)) }
        if let piped { arguments.append(piped) }
        return try TextTemplateFunctions.call(name, arguments, machine)
    }

    private mutating func evaluate(_ operand: TextTemplateTree.Operand, _ dot: Item) throws(BuiltinFailure) -> Item {
        switch operand {
        case .dot: return dot
        case .nothing: return .nothing
        case .flag(let flag): return .flag(flag)
        case .integer(let number): return .integer(number)
        case .float(let number): return .float(number)
        case .text(let text): return .text(text)
        case .variable(let name):
            guard let found = variables.last(where: { $0.name == name }) else {
                throw failure("undefined variable \"\(name)\"")
            }
            return found.item
        case .function(let name): return try TextTemplateFunctions.call(name, [], machine)
        case .field(let names): return try field(dot, names)
        case .parenthesised(let pipeline): return try evaluate(pipeline, dot)
        case .chain(let base, let names): return try field(try evaluate(base, dot), names)
        }
    }

    private func field(_ item: Item, _ names: [String]) throws(BuiltinFailure) -> Item {
        var item = item
        for name in names {
            switch item {
            case .nothing: return .nothing
            case .json(let value) where value.tag == .object: item = Item(value.lookup(machine.arena.string(name)))
            default: throw failure("can't evaluate field \(name)")
            }
        }
        return item
    }

    private func failure(_ text: String) -> BuiltinFailure { .failed("template: \(text)") }
}
