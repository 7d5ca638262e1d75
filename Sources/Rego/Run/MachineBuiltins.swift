// Calls of built-in functions.

extension Machine {
    /// Calls the built-in of a call site; goes on at the instruction's `d` where it has no result.
    func callBuiltin(
        _ site: Int32, _ instruction: Instruction, operands: UnsafePointer<Int32>,
        _ base: UnsafeMutablePointer<Value>, _ pc: inout Int
    ) throws(RegoError) {
        let constants = UnsafePointer(program.constants.baseAddress.unsafelyUnwrapped)
        let count = program.sites[Int(site)].argumentCount
        // Arguments go on top of the collected values, which no built-in touches.
        let start = collectedCount
        for index in 0..<count {
            let number = operands[index]
            collect(number >= 0 ? base[Int(number)] : constants[Int(~number)])
        }
        collectedCount = start
        budget &-= 1
        let value: Value
        do throws(BuiltinFailure) {
            value = try program.functions[Int(site)](
                self, Arguments(UnsafePointer(collected + start), count: count))
        } catch {
            if let error = self.error(error, program.sites[Int(site)]) { throw error }
            pc = Int(instruction.d)
            return
        }
        if budget < 0 || arena.isTooDeep { try checkLimits() }
        if value.isUndefined { pc = Int(instruction.d) } else { base[Int(instruction.a)] = value }
    }

    /// Hands what a `print` says to the sink: a line for each combination of what its operands may be.
    func print(_ operands: Value, site number: Int) throws(BuiltinFailure) {
        guard let printSink else { return }
        let site = program.sites[number]
        var lines = [""]
        for (index, operand) in operands.elements.enumerated() {
            let texts = operand.count == 0 ? ["<undefined>"] : operand.elements.map { Self.printed($0) }
            try charge(lines.count * texts.count)
            lines = lines.flatMap { line in texts.map { index == 0 ? $0 : line + " " + $0 } }
        }
        for line in lines { printSink(line, site.file, site.row) }
    }

    private static func printed(_ value: Value) -> String {
        value.tag == .string ? value.text : RegoWriter.text(value)
    }

    /// The error that ends the query; nil where the call is undefined instead.
    func error(_ failure: BuiltinFailure, _ site: CallSite) -> RegoError? {
        func make(_ code: String, _ message: String) -> RegoError {
            RegoError(code: code, message: message, file: site.file, row: site.row, column: site.column)
        }
        switch failure {
        case .limit(let message): return make("rego_limit_error", "\(site.name): \(message)")
        case .fatal(let code, let message): return make(code, message)
        case .type(let message):
            return limits.strictBuiltinErrors ? make("eval_type_error", "\(site.name): \(message)") : nil
        case .failed(let message):
            return limits.strictBuiltinErrors ? make("eval_builtin_error", "\(site.name): \(message)") : nil
        }
    }
}
