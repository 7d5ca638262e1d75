// Arrays, sets, objects.

extension Builtins {
    static var arrays: [String: BuiltinFunction] {
        [
            "array.concat": { machine, arguments throws(BuiltinFailure) in
                let (a, b) = (try arguments.array(0), try arguments.array(1))
                try machine.charge(a.count + b.count)
                return machine.arena.array(a.elements + b.elements)
            },
            "array.reverse": { machine, arguments throws(BuiltinFailure) in
                let array = try arguments.array(0)
                try machine.charge(array.count)
                return machine.arena.array(array.elements.reversed())
            },
            "array.slice": { machine, arguments throws(BuiltinFailure) in
                let array = try arguments.array(0)
                var start = try arguments.integer(1)
                var stop = try arguments.integer(2)
                start = max(0, start)
                stop = min(max(0, stop), array.count)
                if start >= stop { return machine.arena.array([]) }
                try machine.charge(stop - start)
                return machine.arena.array((start..<stop).map { array.element($0) })
            },
            "array.flatten": { machine, arguments throws(BuiltinFailure) in
                var result: [Value] = []
                for element in try arguments.array(0).elements {
                    if element.tag == .array { result += element.elements } else { result.append(element) }
                }
                try machine.charge(result.count)
                return machine.arena.array(result)
            },
        ]
    }

    static func difference(_ machine: Machine, _ a: Value, _ b: Value) throws(BuiltinFailure) -> Value {
        try machine.charge(a.count)
        return machine.arena.set(a.elements.filter { b.place(of: $0) < 0 })
    }

    static var sets: [String: BuiltinFunction] {
        [
            "and": { machine, arguments throws(BuiltinFailure) in
                let (a, b) = (try arguments.set(0), try arguments.set(1))
                try machine.charge(a.count)
                return machine.arena.set(a.elements.filter { b.place(of: $0) >= 0 })
            },
            "or": { machine, arguments throws(BuiltinFailure) in
                let (a, b) = (try arguments.set(0), try arguments.set(1))
                try machine.charge(a.count + b.count)
                return machine.arena.set(a.elements + b.elements)
            },
            "set_diff": { machine, arguments throws(BuiltinFailure) in
                try difference(machine, arguments.set(0), arguments.set(1))
            },
            "union": { machine, arguments throws(BuiltinFailure) in
                let sets = try arguments.set(0)
                var elements: [Value] = []
                for set in sets.elements {
                    guard set.tag == .set else { throw .element(0, sets, set, "set") }
                    try machine.charge(set.count)
                    elements += set.elements
                }
                return machine.arena.set(elements)
            },
            "intersection": { machine, arguments throws(BuiltinFailure) in
                let sets = try arguments.set(0)
                for set in sets.elements where set.tag != .set { throw .element(0, sets, set, "set") }
                guard let first = sets.elements.first else { return machine.arena.set([]) }
                try machine.charge(first.count * sets.count)
                return machine.arena.set(
                    first.elements.filter { element in
                        sets.elements.allSatisfy { $0.place(of: element) >= 0 }
                    })
            },
        ]
    }

    static var objects: [String: BuiltinFunction] {
        [
            "object.get": { machine, arguments throws(BuiltinFailure) in
                let object = try arguments.object(0)
                if arguments[1].tag == .array {
                    var value = object
                    for index in 0..<arguments[1].count {
                        value = value.lookup(arguments[1].element(index))
                        if value.isUndefined { return arguments[2] }
                    }
                    return value
                }
                let value = object.lookup(arguments[1])
                return value.isUndefined ? arguments[2] : value
            },
            "object.keys": { machine, arguments throws(BuiltinFailure) in
                let object = try arguments.object(0)
                try machine.charge(object.count)
                return machine.arena.set(object.pairs.map(\.key))
            },
            "object.remove": { machine, arguments throws(BuiltinFailure) in
                let object = try arguments.object(0)
                let keys = try keySet(machine, arguments, 1)
                try machine.charge(object.count)
                return machine.arena.object(object.pairs.filter { keys.place(of: $0.key) < 0 })
            },
            "object.filter": { machine, arguments throws(BuiltinFailure) in
                let object = try arguments.object(0)
                let keys = try keySet(machine, arguments, 1)
                try machine.charge(object.count)
                return machine.arena.object(object.pairs.filter { keys.place(of: $0.key) >= 0 })
            },
            "object.union": { machine, arguments throws(BuiltinFailure) in
                let (a, b) = (try arguments.object(0), try arguments.object(1))
                return try union(machine, a, b)
            },
            "object.union_n": { machine, arguments throws(BuiltinFailure) in
                let objects = try arguments.array(0)
                var result = machine.arena.object([])
                for object in objects.elements {
                    guard object.tag == .object else { throw .element(0, objects, object, "object") }
                    result = try union(machine, result, object)
                }
                return result
            },
            "object.subset": { machine, arguments throws(BuiltinFailure) in
                let (a, b) = (arguments[0], arguments[1])
                switch (a.tag, b.tag) {
                case (.object, .object), (.set, .set): return Value(try contains(machine, a, b))
                case (.array, .array): return Value(try containsRun(machine, a, b))
                case (.array, .set):
                    try machine.charge(a.count * b.count)
                    let all = machine.arena.set(a.elements)
                    return Value(b.elements.allSatisfy { all.place(of: $0) >= 0 })
                default:
                    throw .type(
                        "both arguments object.subset must be of the same type or array and set")
                }
            },
        ]
    }

    private static func union(_ machine: Machine, _ a: Value, _ b: Value) throws(BuiltinFailure) -> Value {
        try machine.charge(a.count + b.count)
        var pairs = a.pairs
        for (key, value) in b.pairs {
            let place = a.place(of: key)
            if place >= 0, a.element(place).tag == .object, value.tag == .object {
                pairs.append((key, try union(machine, a.element(place), value)))
            } else {
                pairs.append((key, value))
            }
        }
        return machine.arena.object(pairs)
    }

    private static func contains(_ machine: Machine, _ a: Value, _ b: Value) throws(BuiltinFailure) -> Bool {
        try machine.charge(b.count)
        if b.tag == .set { return b.elements.allSatisfy { a.place(of: $0) >= 0 } }
        for (key, value) in b.pairs {
            let other = a.lookup(key)
            if other.isUndefined { return false }
            if Value.equal(other, value) { continue }
            switch (other.tag, value.tag) {
            case (.object, .object), (.set, .set): if try !contains(machine, other, value) { return false }
            case (.array, .array): if try !containsRun(machine, other, value) { return false }
            default: return false
            }
        }
        return true
    }

    /// Whether the elements of `b` stand in `a` one behind the other.
    private static func containsRun(_ machine: Machine, _ a: Value, _ b: Value) throws(BuiltinFailure) -> Bool {
        try machine.charge(a.count * max(1, b.count))
        if b.count > a.count { return false }
        return (0...a.count - b.count).contains { start in
            (0..<b.count).allSatisfy { Value.equal(a.element(start + $0), b.element($0)) }
        }
    }

    private static func keySet(
        _ machine: Machine, _ arguments: Arguments, _ index: Int
    ) throws(BuiltinFailure) -> Value {
        let value = arguments[index]
        switch value.tag {
        case .set: return value
        case .array: return machine.arena.set(value.elements)
        case .object: return machine.arena.set(value.pairs.map(\.key))
        default: throw .operand(index, value, "object", "set", "array")
        }
    }
}
