internal import Glibc

/// One case of OPA's compliance suite.
package struct ConformanceCase: Sendable {
    /// What the case is called.
    package let note: String
    private let query: String
    private let modules: [String]
    private let data: RegoValue
    private let input: RegoValue?
    private let inputTerm: String?
    private let wantResult: RegoValue?
    private let wantErrorCode: String?
    private let wantError: String?
    private let strictErrors: Bool
    private let sortsBindings: Bool
    private let ignoresGenerated: Bool

    /// The cases of a file's JSON.
    package static func cases(json: [UInt8]) throws(RegoError) -> [ConformanceCase] {
        let file = try RegoValue(json: json)
        return (file["cases"]?.elements ?? []).map { ConformanceCase($0) }
    }

    private init(_ value: RegoValue) {
        note = value["note"]?.string ?? ""
        query = value["query"]?.string ?? ""
        modules = (value["modules"]?.elements ?? []).compactMap(\.string)
        data = value["data"].flatMap { if case .object = $0 { $0 } else { nil } } ?? .object([])
        input = value["input"]
        inputTerm = value["input_term"]?.string
        wantResult = value["want_result"]
        wantErrorCode = value["want_error_code"]?.string
        wantError = value["want_error"]?.string
        strictErrors = value["strict_error"]?.boolean ?? false
        sortsBindings = value["sort_bindings"]?.boolean ?? false
        ignoresGenerated = value["ignore_generated_vars"]?.boolean ?? false
    }

    /// Runs the case; nil when it passes, else what differs.
    package func failure() -> String? {
        let outcome: RegoValue
        do throws(RegoErrors) {
            outcome = try evaluate()
        } catch {
            let text = error.description
            guard wantErrorCode != nil || wantError != nil else { return "unexpected error: \(text)" }
            if let wantErrorCode, !error.errors.contains(where: { $0.code == wantErrorCode }) {
                return "want code \(wantErrorCode), got \(text)"
            }
            if let wantError, !text.contains(wantError) { return "want error \(wantError), got \(text)" }
            return nil
        }
        if wantErrorCode != nil || wantError != nil {
            return "want error \(wantErrorCode ?? "") \(wantError ?? ""), got \(outcome.json)"
        }
        guard let wantResult else { return nil }
        let want = normalized(wantResult)
        let got = normalized(outcome)
        return want == got ? nil : "want \(want), got \(got)"
    }

    /// The clock: certificates of the cases are valid today.
    static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    private func evaluate() throws(RegoErrors) -> RegoValue {
        var limits = RegoLimits()
        limits.strictBuiltinErrors = strictErrors
        let named = modules.enumerated().map { (name: "test-\($0.offset).rego", source: $0.element) }
        // As OPA's own suite has it.
        let sleep = HostFunction("test.sleep", argumentCount: 1) { _ in .null }
        let policy = try CompiledPolicy(
            modules: named, data: data, queries: [query], functions: [sleep], limits: limits)
        let entry = try policy.prepare(query: query)
        let evaluator = Evaluator(policy)
        do throws(RegoError) {
            var input = evaluator.makeEmptyInput()
            if let inputTerm {
                let holder = try CompiledPolicy.constant(inputTerm)
                input = evaluator.makeInput(holder)
            } else if let value = self.input {
                input = evaluator.makeInput(value)
            }
            let result = try evaluator.evaluate(entry, input: input, time: Self.now)
            return result.value ?? .array([])
        } catch {
            throw RegoErrors([error])
        }
    }

    /// Bindings as sorted texts: sets are arrays, in an order of their own.
    private func normalized(_ value: RegoValue) -> [String] {
        (value.elements ?? []).map { binding in
            var binding = binding
            if case .object(let pairs) = binding {
                binding = .object(
                    pairs.filter { pair in
                        !ignoresGenerated || !(pair.key.string ?? "").hasPrefix("__local")
                    }.map { ($0.key, canonical(sortsBindings ? sorted($0.value) : $0.value)) })
            }
            return binding.json
        }.sorted()
    }

    private func sorted(_ value: RegoValue) -> RegoValue {
        if case .array(let elements) = value { return .set(elements) }
        return value
    }

    /// Numbers by value, sets as arrays of sorted texts.
    private func canonical(_ value: RegoValue) -> RegoValue {
        switch value {
        case .number(let text):
            let decimal = Decimal(Array(text.utf8))
            if let integer = decimal.integer { return RegoValue(integer) }
            return .number(
                (decimal.negative ? "-0." : "0.") + decimal.digits.map(String.init).joined() + "e\(decimal.exponent)")
        case .array(let elements): return .array(elements.map { canonical($0) })
        case .set(let elements):
            let arena = Arena()
            let values = elements.map { arena.make(canonical($0)) }.sorted { Value.compare($0, $1) < 0 }
            return withExtendedLifetime(arena) { .array(values.map { RegoValue($0) }) }
        case .object(let pairs):
            return .object(
                pairs.map { pair in
                    var key = pair.key
                    if key.string == nil { key = .string(key.json) }
                    return (key, canonical(pair.value))
                })
        default: return value
        }
    }
}

extension CompiledPolicy {
    /// The value of a constant Rego term, as in a query.
    package static func constant(_ term: String) throws(RegoError) -> RegoValue {
        do throws(RegoErrors) {
            let query = "x = \(term)"
            let policy = try CompiledPolicy(modules: [], queries: [query])
            let evaluator = Evaluator(policy)
            let entry = try policy.prepare(query: query)
            do throws(RegoError) {
                let result = try evaluator.evaluate(entry, input: evaluator.makeEmptyInput(), time: 0)
                return result.value?.elements?.first?["x"] ?? .null
            } catch {
                throw RegoErrors([error])
            }
        } catch {
            throw error.errors[0]
        }
    }
}
