/// What fuzz targets call: nothing here may trap, hang or take memory without bound, whatever the bytes.
@_spi(Fuzzing)
public enum RegoFuzzing {
    /// Splits the bytes into tokens.
    public static func scan(_ bytes: [UInt8]) {
        var scanner = Scanner(Source(name: "fuzz.rego", bytes: bytes), keywords: Token.keywords)
        // Each token takes at least one byte.
        for _ in 0...bytes.count where scanner.scan().token == .eof { return }
    }

    /// Parses and compiles the bytes as a module.
    public static func parse(_ bytes: [UInt8]) {
        _ = try? CompiledPolicy(modules: [("fuzz.rego", String(decoding: bytes, as: UTF8.self))])
    }

    /// Reads the bytes up to the first zero as JSON and evaluates the module behind it with that input and as data.
    public static func evaluate(_ bytes: [UInt8]) {
        let halves = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2 else { return }
        let input = (try? RegoValue(json: halves[0])) ?? .null
        var data = RegoValue.object([])
        if case .object = input { data = input }
        let limits = RegoLimits(instructions: 200_000, memoryBytes: 32 << 20)
        let source = String(decoding: halves[1], as: UTF8.self)
        guard let policy = try? CompiledPolicy(modules: [("fuzz.rego", source)], data: data, limits: limits) else {
            return
        }
        let evaluator = Evaluator(policy)
        for path in policy.entryPoints.prefix(16) {
            guard let entry = try? policy.entryPoint(path) else { continue }
            let result = try? evaluator.evaluate(
                entry, input: evaluator.makeInput(input), time: 1_700_000_000_000_000_000)
            _ = result?.json
        }
    }
}
