// Input, data, and what `with` puts in their place.

extension Machine {
    /// Reads an input path and remembers that it was read.
    func readInput(_ number: Int32) -> Value {
        inputReads[Int(number)] = query
        var value = inputRoot
        for key in program.inputPaths[Int(number)] { value = value.lookup(key) }
        inputs[Int(number)] = Memo(value: value, epoch: epoch, rule: -1)
        return value
    }

    /// A base document where a `with` replaced some.
    func resolveData(_ number: Int32) -> Value {
        var value = dataRoot
        for key in program.dataPaths[Int(number)] { value = Documents.step(value, key) }
        return value
    }

    /// What a `with` put in place of a group's path; nil where none did.
    func replacement(_ group: Int) -> Value? {
        let path = program.groups[group].path
        for replaced in replacedPaths where replaced.count <= path.count {
            if zip(replaced, path).allSatisfy({ Value.equal($0, $1) }) {
                var value = dataRoot
                for key in path { value = value.lookup(key) }
                return value
            }
        }
        return nil
    }

    /// Who is called, and whether that is a replacement.
    func callee(_ number: Int32) -> (callee: Callee, isReplaced: Bool) {
        let name = program.calleeNames[Int(number)]
        var index = mocks.count - 1
        while index >= mockFloor {
            if mocks[index].name == name { return (mocks[index].callee, true) }
            index -= 1
        }
        return (program.callees[Int(number)], false)
    }

    /// Puts an instruction's replacements in place.
    func beginWith(
        _ instruction: Instruction, _ base: UnsafeMutablePointer<Value>, _ constants: UnsafePointer<Value>
    ) throws(RegoError) {
        func operand(_ number: Int32) -> Value { number >= 0 ? base[Int(number)] : constants[Int(~number)] }
        pushWith()
        for offset in 0..<Int(instruction.b) {
            let specification = program.withs[Int(instruction.c) + offset]
            let path = specification.path.map { operand($0) }
            switch specification.target {
            case .input: inputRoot = try put(operand(specification.value), at: path[...], into: inputRoot)
            case .data:
                dataRoot = try put(operand(specification.value), at: path[...], into: dataRoot)
                dataIsReplaced = true
                replacedPaths.append(path)
            case .function(let name, let replacement):
                if let replacement {
                    mocks.append((name, replacement))
                } else {
                    mockValues.append(operand(specification.value))
                    mocks.append((name, .value(Int32(mockValues.count - 1))))
                }
            }
        }
        lastEpoch &+= 1
        epoch = lastEpoch
        try checkLimits()
    }

    /// Remembers what is in force.
    func pushWith() {
        withStack.append(
            WithState(
                epoch: epoch, input: inputRoot, data: dataRoot, dataIsReplaced: dataIsReplaced,
                replacedPaths: replacedPaths.count, mocks: mocks.count, mockFloor: mockFloor,
                mockValues: mockValues.count))
    }

    /// Puts back what was in force before the last `with`.
    func endWith() {
        guard let state = withStack.popLast() else { return }
        epoch = state.epoch
        inputRoot = state.input
        dataRoot = state.data
        dataIsReplaced = state.dataIsReplaced
        replacedPaths.removeSubrange(state.replacedPaths...)
        mocks.removeSubrange(state.mocks...)
        mockFloor = state.mockFloor
        mockValues.removeSubrange(state.mockValues...)
    }

    /// A copy of `document` with `value` at `path`.
    func put(_ value: Value, at path: ArraySlice<Value>, into document: Value) throws(RegoError) -> Value {
        guard let key = path.first else { return value }
        // What is no object gives way to one.
        let document = document.tag == .object ? document : .undefined
        budget &-= document.count
        let inner = try put(value, at: path.dropFirst(), into: document.lookup(key))
        var pairs: [(key: Value, value: Value)] = []
        for index in 0..<document.count where !Value.equal(document.key(index), key) {
            pairs.append((document.key(index), document.element(index)))
        }
        pairs.append((key, inner))
        return arena.object(pairs)
    }
}
