/// A function that the host adds to the built-in ones.
public struct HostFunction: Sendable {
    /// The name that policies call it by: names with dots between.
    public let name: String
    /// How many arguments it takes.
    public let argumentCount: Int
    /// Gives the result for arguments; nil where the call is undefined. What it throws counts as the error of a
    /// built-in function.
    public let body: @Sendable ([RegoValue]) throws(RegoError) -> RegoValue?

    /// A function.
    public init(
        _ name: String, argumentCount: Int, body: @escaping @Sendable ([RegoValue]) throws(RegoError) -> RegoValue?
    ) {
        self.name = name
        self.argumentCount = argumentCount
        self.body = body
    }

    /// The function as the machine calls it.
    var builtin: BuiltinFunction {
        { (machine: Machine, arguments: Arguments) throws(BuiltinFailure) -> Value in
            try machine.charge(16)
            let values = (0..<arguments.count).map { RegoValue(arguments[$0]) }
            let result: RegoValue?
            do throws(RegoError) { result = try body(values) } catch { throw .failed(error.message) }
            guard let result else { return .undefined }
            let value = machine.arena.make(result)
            try machine.charge(1 + value.count)
            return value
        }
    }
}
