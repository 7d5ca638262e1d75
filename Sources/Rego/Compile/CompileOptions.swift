/// How modules are compiled. What is not asked for leaves no trace in the program: there is nothing to switch off when a
/// policy runs.
public struct CompileOptions: Sendable {
    /// Whether unused assignments, arguments and imports are errors.
    public var isStrict = false
    /// What `input` may hold: references to what it cannot have, and comparisons that cannot hold, are errors.
    public var inputSchema: RegoSchema?
    /// The schemas that annotations may name: `schema.input` is `schemas["input"]`, `schema.corp.users` is
    /// `schemas["corp.users"]`. Nil leaves `schemas` of annotations unread.
    public var schemas: [String: RegoSchema]?
    /// Whether calls of `print` stay, for `Evaluator.printSink`. Otherwise they are erased with their arguments.
    public var keepsPrints = false
    /// Whether the program tells `Evaluator.observation` of each rule and expression. It is slower for that.
    public var isInstrumented = false

    /// The options of a policy in force: nothing is asked for.
    public init() {}
}

/// A question to a policy, as `opa eval` takes one.
public struct RegoQuery: Sendable {
    /// The query: one or more expressions.
    public let text: String
    /// The package whose rules the query names without their path; nil for none. Such as `sallyport.egress`.
    public let package: String?
    /// Documents that the query names by their last part, such as `data.users` or `input.user as who`.
    public let imports: [String]

    /// A query from its parts.
    public init(_ text: String, package: String? = nil, imports: [String] = []) {
        self.text = text
        self.package = package
        self.imports = imports
    }

    /// The parsed query, and what its package and imports name.
    func parse() throws(RegoErrors) -> (body: Body, package: [Term], imports: [Import]) {
        let body = try Parser.query(text)
        if package == nil, imports.isEmpty { return (body, [], []) }
        let header = "package \(package ?? "query")\n" + imports.map { "import \($0)\n" }.joined()
        let module = try Parser.module(Source(name: "", bytes: Array(header.utf8)))
        return (body, package == nil ? [] : module.package, module.imports)
    }
}
