// The loop over instructions.

extension Machine {
    /// Runs instructions from a group's first one on until that group returns.
    func execute(_ group: Int32) throws(RegoError) -> Value {
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
                if budget < 0 || arena.fullBytes > limits.memoryBytes || arena.isTooDeep { try checkLimits() }
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
                let leaf = findLeaf(program.indexNodes[Int(instruction.b)], base)
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
                pc = Int(program.indexEntries[Int(limit.hash)][position])
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
            case .observe: observe(instruction, base)
            }
        }
    }

    /// Charges a call and throws where calls are nested too deeply.
    func checkStack(_ next: UnsafeMutablePointer<Value>, _ slots: Int32) throws(RegoError) {
        budget &-= 1
        if budget < 0 { try checkLimits() }
        if (next - stack) + Int(slots) + 8 > RegoLimits.stackSlots || frames.count >= RegoLimits.callDepth {
            throw limitReached("rules call each other more than \(RegoLimits.callDepth) deep")
        }
    }

    @inline(__always)
    private func input(_ path: Int32) -> Value {
        let entry = inputs[Int(path)]
        return entry.epoch == epoch ? entry.value : readInput(path)
    }

    /// The part of a text that ends at its delimiter number `position`; undefined where there are fewer.
    private func part(of text: Value, _ position: Int, _ delimiter: UInt8) -> Value {
        guard text.tag == .string else { return .undefined }
        return text.withBytes { bytes in
            var start = 0
            var found = 0
            for index in bytes.indices where bytes[index] == delimiter {
                if found == position { return arena.string(UnsafeBufferPointer(rebasing: bytes[start..<index])) }
                found += 1
                start = index + 1
            }
            return .undefined
        }
    }

    /// The rules of an index that may match the input and the arguments.
    func findLeaf(
        _ nodes: UnsafeBufferPointer<RuleIndex.Node>, _ base: UnsafeMutablePointer<Value>
    ) -> RuleIndex.Node {
        var node = nodes[0]
        while let reference = node.reference {
            let value: Value
            switch reference {
            case .input(let path): value = input(path)
            case .part(let path, let delimiter, let position):
                value = part(of: input(path), Int(position), delimiter)
            case .slot(let slot): value = base[Int(slot)]
            }
            let child = value.isUndefined ? .undefined : node.table.lookup(value)
            node = nodes[child.isUndefined ? Int(node.otherwise) : child.integer]
        }
        return node
    }

    /// The elements of a base document that an index finds for a subject: the document itself where it cannot help, an
    /// object of keys and elements otherwise; undefined where there are none.
    func matching(_ number: Int32, _ subject: Value) -> Value {
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

    /// Two values of one rule.
    func conflict(_ rule: Int32, _ group: Int32) -> RegoError {
        let place = rule >= 0 ? program.places[Int(rule)] : nil
        let isFunction = program.groups[Int(group)].arguments != nil
        return RegoError(
            code: "eval_conflict_error",
            message: isFunction
                ? "functions must not produce multiple outputs for same inputs"
                : "complete rules must not produce multiple outputs",
            file: place?.file ?? "", row: place?.row ?? 0, column: place?.column ?? 0)
    }
}
