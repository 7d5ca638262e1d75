/// One evaluation as a line of JSON in and a line of JSON out, for comparison with other engines.
package enum LineAnswer {
    /// Answers `{"modules": [...], "data": {...}, "query": "...", "input": ...}` (or `"input_term"`, a Rego term) with
    /// `{"result": [bindings]}` or `{"error": "..."}`. Errors of built-in functions end the query.
    package static func answer(_ line: [UInt8]) -> String {
        do throws(RegoErrors) {
            return RegoValue.object([(.string("result"), try evaluate(line))]).json
        } catch {
            return RegoValue.object([(.string("error"), .string(error.description))]).json
        }
    }

    private static func evaluate(_ line: [UInt8]) throws(RegoErrors) -> RegoValue {
        let request: RegoValue
        do throws(RegoError) { request = try RegoValue(json: line) } catch { throw RegoErrors([error]) }
        var limits = RegoLimits()
        limits.strictBuiltinErrors = true
        let modules = (request["modules"]?.elements ?? []).enumerated().map {
            (name: "test-\($0.offset).rego", source: $0.element.string ?? "")
        }
        var data = RegoValue.object([])
        if let given = request["data"], case .object = given { data = given }
        let query = request["query"]?.string ?? ""
        let policy = try CompiledPolicy(modules: modules, data: data, queries: [query], limits: limits)
        let entry = try policy.prepare(query: query)
        let evaluator = Evaluator(policy)
        do throws(RegoError) {
            var input = evaluator.makeEmptyInput()
            if let term = request["input_term"]?.string {
                input = evaluator.makeInput(try CompiledPolicy.constant(term))
            } else if let value = request["input"] {
                input = evaluator.makeInput(value)
            }
            let result = try evaluator.evaluate(entry, input: input, time: 1_700_000_000_000_000_000)
            return result.value ?? .array([])
        } catch {
            throw RegoErrors([error])
        }
    }
}
