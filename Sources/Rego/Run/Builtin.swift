/// Why a built-in function gave no result.
enum BuiltinFailure: Error {
    /// An argument is of the wrong kind: OPA's `eval_type_error`.
    case type(String)
    /// Anything else: OPA's `eval_builtin_error`.
    case failed(String)
    /// A limit of the query: ends it, whatever the mode.
    case limit(String)
    /// Ends the query with a code of its own.
    case fatal(code: String, String)
}

/// The arguments of a call.
struct Arguments {
    private let base: UnsafePointer<Value>
    /// How many there are.
    let count: Int

    init(_ base: UnsafePointer<Value>, count: Int) {
        self.base = base
        self.count = count
    }

    /// The argument at `index`; undefined past the end.
    @inline(__always)
    subscript(index: Int) -> Value {
        index >= 0 && index < count ? base[index] : .undefined
    }
}

/// A built-in function: an undefined result means that the call is undefined.
typealias BuiltinFunction = @Sendable (Machine, Arguments) throws(BuiltinFailure) -> Value
