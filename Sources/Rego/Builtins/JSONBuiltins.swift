// Documents: paths, patches, filters, YAML, walking.

extension Builtins {
    static var documents: [String: BuiltinFunction] {
        [
            "walk": { machine, arguments throws(BuiltinFailure) in
                var found: [Value] = []
                try walk(machine, arguments[0], [], &found)
                return machine.arena.array(found)
            },
            "json.marshal_with_options": { machine, arguments throws(BuiltinFailure) in
                let options = try arguments.object(1)
                var indent = "\t"
                var prefix = ""
                var pretty = options.count > 0
                for (key, value) in options.pairs {
                    switch key.text {
                    case "pretty":
                        guard value.isBoolean else {
                            throw .type("key \"pretty\" failed cast to boolean")
                        }
                        pretty = value.tag == .true
                    case "indent":
                        guard value.tag == .string else { throw .type("key \"indent\" failed cast to string") }
                        indent = value.text
                    case "prefix":
                        guard value.tag == .string else { throw .type("key \"prefix\" failed cast to string") }
                        prefix = value.text
                    default: throw .type("object contained unknown key \"\(key.text)\"")
                    }
                }
                try machine.charge(1 + arguments[0].count)
                if !pretty { return machine.arena.string(JSONWriter.bytes(arguments[0], html: true)) }
                let text = JSONWriter.pretty(arguments[0], indent: indent, prefix: prefix, html: true)
                return machine.arena.string(prefix + text)
            },
            "json.remove": { machine, arguments throws(BuiltinFailure) in
                let object = try arguments.object(0)
                let tree = PathTree()
                for path in try paths(machine, arguments, 1) { tree.insert(path) }
                return try remove(machine, object, tree)
            },
            "json.filter": { machine, arguments throws(BuiltinFailure) in
                let object = try arguments.object(0)
                let tree = PathTree()
                for path in try paths(machine, arguments, 1) { tree.insert(path) }
                return try filter(machine, object, tree)
            },
            "json.verify_schema": { machine, arguments throws(BuiltinFailure) in
                do throws(JSONSchema.Failure) {
                    _ = try JSONSchema.read(try schemaDocument(machine, arguments[0]), machine)
                    return machine.arena.array([.true, .null])
                } catch {
                    return machine.arena.array([.false, machine.arena.string("jsonschema: " + error.message)])
                }
            },
            "json.match_schema": { machine, arguments throws(BuiltinFailure) in
                let schema: JSONSchema
                let document: Value
                try machine.charge(16 + arguments[1].count)
                do throws(JSONSchema.Failure) {
                    document = try schemaDocument(machine, arguments[0])
                    schema = try JSONSchema.read(try schemaDocument(machine, arguments[1]), machine)
                } catch {
                    throw .failed(error.message)
                }
                let arena = machine.arena
                let problems = try JSONSchemaValidation.problems(document, schema, machine).map { problem in
                    arena.object([
                        (arena.string("desc"), arena.string(problem.description)),
                        (arena.string("error"), arena.string(problem.field + ": " + problem.description)),
                        (arena.string("field"), arena.string(problem.field)),
                        (arena.string("type"), arena.string(problem.type)),
                    ])
                }
                return arena.array([Value(problems.isEmpty), arena.array(problems)])
            },
            "json.patch": { machine, arguments throws(BuiltinFailure) in try JSONPatch.apply(machine, arguments) },
            "yaml.marshal": { machine, arguments throws(BuiltinFailure) in
                try machine.charge(1 + arguments[0].count)
                return machine.arena.string(YAMLWriter.text(arguments[0]))
            },
            "yaml.unmarshal": { machine, arguments throws(BuiltinFailure) in
                let text = try arguments.text(0)
                try machine.charge(1 + text.utf8.count / 2)
                do throws(YAMLReader.Failure) {
                    return machine.arena.make(try YAMLReader.read(text))
                } catch {
                    throw .failed("yaml: line 1: did not find expected node content: \(error.message)")
                }
            },
            "yaml.is_valid": { machine, arguments throws(BuiltinFailure) in
                guard arguments[0].tag == .string else { return .false }
                try machine.charge(1 + arguments[0].count / 2)
                return (try? YAMLReader.read(arguments[0].text)) == nil ? .false : .true
            },
        ]
    }

    /// A document or schema for `json.match_schema`: JSON text, or an object or array as JSON has them.
    private static func schemaDocument(_ machine: Machine, _ value: Value) throws(JSONSchema.Failure) -> Value {
        let bytes: [UInt8]
        switch value.tag {
        case .string: bytes = value.bytes
        case .object, .array: bytes = JSONWriter.bytes(value)
        default: throw JSONSchema.Failure(message: "wrong type, expected string or object")
        }
        do throws(RegoError) {
            return try JSONReader.read(bytes, machine.arena)
        } catch {
            throw JSONSchema.Failure(message: "invalid JSON string")
        }
    }

    private static func walk(
        _ machine: Machine, _ value: Value, _ path: [Value], _ found: inout [Value]
    ) throws(BuiltinFailure) {
        try machine.charge(1 + path.count)
        guard path.count <= RegoLimits.maximumValueDepth else { throw .limit("the value is nested too deeply") }
        found.append(machine.arena.array([machine.arena.array(path), value]))
        guard value.isComposite else { return }
        for index in 0..<value.count {
            try walk(machine, value.element(index), path + [value.key(index)], &found)
        }
    }

    /// Paths as arrays of keys, from strings (`a/b`, `~1` is `/`) or arrays.
    private static func paths(
        _ machine: Machine, _ arguments: Arguments, _ index: Int
    ) throws(BuiltinFailure) -> [[Value]] {
        let value = arguments[index]
        guard value.tag == .array || value.tag == .set else { throw .operand(index, value, "set", "array") }
        var result: [[Value]] = []
        for element in value.elements {
            guard let path = JSONPatch.path(element, machine.arena) else {
                throw .type(
                    "operand \(index + 1) must be one of {set, array} containing string paths or array of path segments "
                        + "but got \(element.typeName)")
            }
            result.append(path)
        }
        return result
    }

    /// Paths that share their beginnings; elements of arrays are named by the text of their index.
    private final class PathTree {
        private var keys: [Value] = []
        private var children: [PathTree] = []
        var isEnd = false

        func insert(_ path: [Value]) {
            if path.isEmpty { return }
            var node = self
            for key in path {
                if node.isEnd { return }
                if let child = node.child(key) {
                    node = child
                } else {
                    node.keys.append(key)
                    node.children.append(PathTree())
                    node = node.children[node.children.count - 1]
                }
            }
            node.isEnd = true
        }

        func child(_ key: Value) -> PathTree? {
            for (index, known) in keys.enumerated() where Value.equal(known, key) { return children[index] }
            return nil
        }
    }

    private static func remove(
        _ machine: Machine, _ value: Value, _ tree: PathTree
    ) throws(BuiltinFailure) -> Value {
        guard value.isComposite else { return value }
        try machine.charge(1 + value.count)
        var pairs: [(key: Value, value: Value)] = []
        for index in 0..<value.count {
            let key = value.key(index)
            let name = value.tag == .array ? machine.arena.string(String(index)) : key
            guard let child = tree.child(name) else {
                pairs.append((key, value.element(index)))
                continue
            }
            if child.isEnd { continue }
            pairs.append((key, try remove(machine, value.element(index), child)))
        }
        switch value.tag {
        case .object: return machine.arena.object(pairs)
        case .array: return machine.arena.array(pairs.map(\.value))
        default: return machine.arena.set(pairs.map(\.value))
        }
    }

    private static func filter(
        _ machine: Machine, _ value: Value, _ tree: PathTree
    ) throws(BuiltinFailure) -> Value {
        if tree.isEnd || !value.isComposite { return value }
        try machine.charge(1 + value.count)
        var pairs: [(key: Value, value: Value)] = []
        for index in 0..<value.count {
            let key = value.key(index)
            let name = value.tag == .array ? machine.arena.string(String(index)) : key
            guard let child = tree.child(name) else { continue }
            pairs.append((key, try filter(machine, value.element(index), child)))
        }
        switch value.tag {
        case .object: return machine.arena.object(pairs)
        case .array: return machine.arena.array(pairs.map(\.value))
        default: return machine.arena.set(pairs.map(\.value))
        }
    }
}

/// JSON Patch (RFC 6902) on Rego values: paths may be arrays of any keys, sets are addressed by their members.
enum JSONPatch {
    /// The keys of a path; nil where it is none.
    static func path(_ value: Value, _ arena: Arena) -> [Value]? {
        if value.tag == .array { return value.elements }
        guard value.tag == .string else { return nil }
        var text = value.bytes[...]
        while text.first == UInt8(ascii: "/") { text = text.dropFirst() }
        if text.isEmpty { return value.count == 0 ? [] : [arena.string("")] }
        return text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { part in
            var out: [UInt8] = []
            var index = part.startIndex
            while index < part.endIndex {
                if part[index] == UInt8(ascii: "~"), index + 1 < part.endIndex,
                    part[index + 1] == UInt8(ascii: "0") || part[index + 1] == UInt8(ascii: "1")
                {
                    out.append(part[index + 1] == UInt8(ascii: "0") ? UInt8(ascii: "~") : UInt8(ascii: "/"))
                    index += 2
                } else {
                    out.append(part[index])
                    index += 1
                }
            }
            return arena.string(out)
        }
    }

    static func index(_ key: Value) -> Int? {
        if key.tag == .int { return key.integer }
        guard key.tag == .string else { return nil }
        let bytes = key.bytes
        guard let index = Decimal.canonicalInteger(bytes), index >= 0 else { return nil }
        return index
    }

    static func place(of key: Value, in object: Value) -> Int { object.place(of: key) }

    static func apply(_ machine: Machine, _ arguments: Arguments) throws(BuiltinFailure) -> Value {
        var document = arguments[0]
        let patches = try arguments.array(1)
        for patch in patches.elements {
            guard patch.tag == .object else {
                throw .type("must be an array of JSON-Patch objects, but at least one element is not an object")
            }
            func field(_ name: String) -> Value { patch.lookup(machine.arena.string(name)) }
            let op = field("op")
            guard op.isDefined else { throw .failed("missing 'op' attribute") }
            guard op.tag == .string else { throw .failed("attribute 'op' must be a string") }
            guard ["add", "remove", "replace", "move", "copy", "test"].contains(op.text) else {
                throw .failed("unrecognized op '\(op.text)'")
            }
            guard field("path").isDefined else { throw .failed("missing 'path' attribute") }
            guard let path = path(field("path"), machine.arena) else {
                throw .type(
                    "operand 2 must be one of {set, array} containing string paths or array of path segments but got "
                        + field("path").typeName)
            }
            try machine.charge(4)
            switch op.text {
            case "add":
                guard field("value").isDefined else { throw .failed("missing 'value' attribute") }
                guard let changed = try change(machine, document, path[...], .add(field("value"))) else {
                    throw missing(field("path"))
                }
                document = changed
            case "remove":
                guard let changed = try change(machine, document, path[...], .remove) else {
                    throw missing(field("path"))
                }
                document = changed
            case "replace":
                guard field("value").isDefined else { throw .failed("missing 'value' attribute") }
                guard get(document, path[...]).isDefined,
                    let changed = try change(machine, document, path[...], .replace(field("value")))
                else { throw missing(field("path")) }
                document = changed
            case "move", "copy":
                guard let from = JSONPatch.path(field("from"), machine.arena) else {
                    throw .failed("missing 'from' attribute")
                }
                let value = get(document, from[...])
                if value.isUndefined { throw missing(field("from")) }
                if op.text == "move" {
                    guard let removed = try change(machine, document, from[...], .remove) else {
                        throw missing(field("from"))
                    }
                    document = removed
                }
                guard let changed = try change(machine, document, path[...], .add(value)) else {
                    throw missing(field("path"))
                }
                document = changed
            case "test":
                guard field("value").isDefined else { throw .failed("missing 'value' attribute") }
                let value = get(document, path[...])
                if value.isUndefined { throw missing(field("path")) }
                if !Value.equal(value, field("value")) {
                    throw .failed(
                        "value from EditTree != patch value.\n\nExpected: \(RegoWriter.text(field("value")))\n\n"
                            + "Found: \(RegoWriter.text(value))")
                }
            default: throw .failed("unrecognized op '\(op.text)'")
            }
        }
        return document
    }

    private static func missing(_ path: Value) -> BuiltinFailure {
        .failed("path \(RegoWriter.text(path)) does not exist in the document")
    }

    private enum Change {
        case add(Value)
        case remove
        case replace(Value)
    }

    private static func get(_ value: Value, _ path: ArraySlice<Value>) -> Value {
        var value = value
        for key in path {
            if value.tag == .array {
                guard let index = index(key) else { return .undefined }
                value = value.element(index)
            } else {
                value = value.lookup(key)
            }
            if value.isUndefined { return value }
        }
        return value
    }

    /// Nil where the path leads nowhere.
    private static func change(
        _ machine: Machine, _ value: Value, _ path: ArraySlice<Value>, _ change: Change
    ) throws(BuiltinFailure) -> Value? {
        guard let key = path.first else {
            switch change {
            case .add(let new), .replace(let new): return new
            case .remove: return nil
            }
        }
        try machine.charge(1 + value.count)
        let isLast = path.count == 1
        switch value.tag {
        case .object:
            var pairs = value.pairs
            let place = value.place(of: key)
            if !isLast {
                guard place >= 0,
                    let inner = try self.change(machine, pairs[place].value, path.dropFirst(), change)
                else { return nil }
                pairs[place].value = inner
            } else {
                switch change {
                case .add(let new): pairs.append((key, new))
                case .replace(let new):
                    guard place >= 0 else { return nil }
                    pairs[place].value = new
                case .remove:
                    guard place >= 0 else { return nil }
                    pairs.remove(at: place)
                }
            }
            return machine.arena.object(pairs)
        case .array:
            var elements = value.elements
            if isLast, case .add(let new) = change, key.tag == .string, key.text == "-" {
                return machine.arena.array(elements + [new])
            }
            guard let index = index(key), index >= 0 else { return nil }
            if !isLast {
                guard index < elements.count,
                    let inner = try self.change(machine, elements[index], path.dropFirst(), change)
                else { return nil }
                elements[index] = inner
            } else {
                switch change {
                case .add(let new):
                    guard index <= elements.count else { return nil }
                    elements.insert(new, at: index)
                case .replace(let new):
                    guard index < elements.count else { return nil }
                    elements[index] = new
                case .remove:
                    guard index < elements.count else { return nil }
                    elements.remove(at: index)
                }
            }
            return machine.arena.array(elements)
        case .set:
            var elements = value.elements
            let place = elements.firstIndex { Value.equal($0, key) }
            if !isLast {
                guard let place, let inner = try self.change(machine, elements[place], path.dropFirst(), change) else {
                    return nil
                }
                elements[place] = inner
            } else {
                switch change {
                case .add(let new):
                    guard Value.equal(new, key) else { return nil }
                    elements.append(new)
                case .replace: return nil
                case .remove:
                    guard let place else { return nil }
                    elements.remove(at: place)
                }
            }
            return machine.arena.set(elements)
        default: return nil
        }
    }
}
