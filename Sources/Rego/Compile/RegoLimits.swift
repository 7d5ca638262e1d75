/// What a policy may cost. Each limit ends in an error that names it, never in a trap.
public struct RegoLimits: Sendable, Hashable {
    /// Instructions of one query: one for each step of a loop, each call of a rule, and what a built-in charges for its
    /// work and its output. Default 50 million (about a second).
    public var instructions: Int
    /// Bytes of values one query may make. Default 256 MiB.
    public var memoryBytes: Int
    /// Whether an error of a built-in function ends the query (true) or makes the call undefined (false, the default).
    public var strictBuiltinErrors: Bool

    /// Limits; the defaults fit a policy of people who mean well.
    public init(
        instructions: Int = 50_000_000, memoryBytes: Int = 256 << 20, strictBuiltinErrors: Bool = false
    ) {
        self.instructions = instructions
        self.memoryBytes = memoryBytes
        self.strictBuiltinErrors = strictBuiltinErrors
    }

    /// Largest module.
    static let maximumSourceBytes = 16 << 20
    /// How often the parser may take a token of a source of that many bytes: what looks ahead reads again, and what looks
    /// ahead within it once more.
    static func scans(_ byteCount: Int) -> Int { 200_000 + 32 * byteCount }
    /// Deepest nesting of a value that is read (JSON, YAML) or made.
    static let maximumValueDepth = 512
    /// Most parts of a type that the checker handles; larger ones are `any`.
    static let typeParts = 200_000
    /// Slots of all frames that are active at once.
    static let stackSlots = 1 << 17
    /// Rules and functions that are active at once.
    static let callDepth = 4096
}
