import Glibc

@testable import Rego

/// Evaluates one document of one module.
func evaluate(
    _ module: String, data: String = "{}", input: String? = nil, path: String = "data.test.p",
    limits: RegoLimits = RegoLimits(), functions: [HostFunction] = []
) throws -> String? {
    let policy = try CompiledPolicy(
        modules: [("test.rego", module)], data: try RegoValue(json: data), functions: functions, limits: limits)
    let evaluator = Evaluator(policy)
    let entry = try policy.entryPoint(path)
    let value = try input.map { try evaluator.makeInput(json: Array($0.utf8)) } ?? evaluator.makeEmptyInput()
    return try evaluator.evaluate(entry, input: value, time: 1_700_000_000_000_000_000).json
}

/// The value of an expression as JSON; nil where it is undefined. Errors of built-in functions are thrown.
func value(of expression: String, input: String? = nil) throws -> String? {
    var limits = RegoLimits()
    limits.strictBuiltinErrors = true
    return try evaluate("package test\np := \(expression)\n", input: input, limits: limits)
}

/// The code and message of what an evaluation throws; nil where it throws nothing.
func failure(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch let error as RegoError {
        return error.code + ": " + error.message
    } catch let errors as RegoErrors {
        return errors.errors.first.map { $0.code + ": " + $0.message }
    } catch {
        return "\(error)"
    }
}

/// Random numbers that are the same in every run.
struct Chance: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    /// A number from zero to below `bound`.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// Runs `body` on a thread of its own with a stack of `bytes`.
func onStack(of bytes: Int, _ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let attributes = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 1)
    pthread_attr_init(attributes)
    pthread_attr_setstacksize(attributes, bytes)
    var thread: pthread_t = 0
    let box = Unmanaged.passRetained(Box(body))
    pthread_create(
        &thread, attributes,
        { pointer in
            guard let pointer else { return nil }
            Unmanaged<Box>.fromOpaque(pointer).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    pthread_join(thread, nil)
    pthread_attr_destroy(attributes)
    attributes.deallocate()
}
