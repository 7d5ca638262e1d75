// What fits nowhere else.

extension Builtins {
    static var miscellaneous: [String: BuiltinFunction] {
        [
            "opa.runtime": { machine, _ in machine.arena.object([]) },
            "trace": { _, _ in .true },
            "internal.print": { machine, arguments throws(BuiltinFailure) in
                try machine.print(arguments[0], site: arguments[1].integer)
                return .true
            },
            "rego.parse_module": { machine, arguments throws(BuiltinFailure) in
                let (name, text) = (try arguments.text(0), try arguments.bytes(1))
                try machine.charge(16 + text.count)
                do throws(RegoErrors) {
                    let module = try Parser.module(Source(name: name, bytes: text))
                    return machine.arena.make(ModuleDocument.value(module))
                } catch {
                    let isEmpty = error.errors.first?.message == "empty module"
                    throw .failed(isEmpty ? "\(name):0: rego_parse_error: empty module" : error.description)
                }
            },
            "rego.metadata.chain": { _, _ throws(BuiltinFailure) in
                throw .failed("the rego.metadata.chain function must only be called within the scope of a rule")
            },
            "rego.metadata.rule": { _, _ throws(BuiltinFailure) in
                throw .failed("the rego.metadata.rule function must only be called within the scope of a rule")
            },
            "strings.render_template": { machine, arguments throws(BuiltinFailure) in
                let text = try TextTemplate.render(try arguments.text(0), try arguments.object(1), machine)
                return machine.arena.string(text)
            },
        ]
    }
}
