/// A policy ready to be asked: its program and its base documents. Immutable, shared by threads.
public struct CompiledPolicy: Sendable {
    let program: Program
    let data: DataSnapshot
    /// What queries may cost.
    public let limits: RegoLimits

    /// What can be asked of a policy, by number.
    public struct EntryPoint: Hashable, Sendable {
        let group: Int32
        /// Whether the value is an array of objects of bindings (a query) rather than a document.
        public let isQuery: Bool
    }

    private let queries: [String: Int32]

    /// Compiles `modules` (names are what errors give) over `data`, an object. Queries that will be asked beside
    /// documents are compiled with them; `functions` may be called as built-in ones are. Throws everything that is wrong
    /// with the modules.
    public init(
        modules: [(name: String, source: String)], data: RegoValue = .object([]), queries: [String] = [],
        functions: [HostFunction] = [], limits: RegoLimits = RegoLimits()
    ) throws(RegoErrors) {
        var parsed: [Module] = []
        var errors: [RegoError] = []
        for (name, source) in modules {
            do throws(RegoErrors) {
                parsed.append(try Parser.module(Source(name: name, bytes: Array(source.utf8))))
            } catch {
                errors += error.errors
            }
        }
        if !errors.isEmpty { throw RegoErrors(errors) }
        let compiler = Compiler(
            parsed, hostFunctions: Dictionary(functions.map { ($0.name, $0.argumentCount) }) { $1 })
        try compiler.compile()
        var bodies: [(text: String, body: Body, names: [(local: String, name: String)])] = []
        for query in queries {
            let (body, names) = try compiler.compileQuery(try Parser.query(query))
            bodies.append((query, body, names))
        }
        let planner = Planner(compiler, queries: bodies.map(\.body), hostFunctions: functions)
        try planner.planAll()
        var numbers: [String: Int32] = [:]
        for entry in bodies { numbers[entry.text] = try planner.planQuery(entry.body, entry.names) }
        program = Program(planner)
        self.queries = numbers
        self.limits = limits
        self.data = DataSnapshot(data, program)
        self.data.computeConstants(limits)
    }

    private init(_ other: CompiledPolicy, data: RegoValue) {
        program = other.program
        queries = other.queries
        limits = other.limits
        self.data = DataSnapshot(data, other.program)
        self.data.computeConstants(limits)
    }

    /// The same policy over other base documents.
    public func replacing(data: RegoValue) -> CompiledPolicy { CompiledPolicy(self, data: data) }

    /// The document at a path (`data.sallyport.egress.decision`): a rule, a package or a part of it.
    /// Throws where no rule stands there.
    public func entryPoint(_ path: String) throws(RegoErrors) -> EntryPoint {
        guard let group = program.entryGroups[path], program.groups[Int(group)].arguments == nil else {
            throw RegoErrors([
                RegoError(code: "rego_compile_error", message: "no rule at \(path) (check the package and its rules)")
            ])
        }
        return EntryPoint(group: group, isQuery: false)
    }

    /// One of the queries that the policy was compiled with.
    public func prepare(query: String) throws(RegoErrors) -> EntryPoint {
        guard let group = queries[query] else {
            throw RegoErrors([
                RegoError(
                    code: "rego_compile_error", message: "the policy was not compiled with the query \(query)")
            ])
        }
        return EntryPoint(group: group, isQuery: true)
    }

    /// Paths of all rules and packages, sorted.
    public var entryPoints: [String] { program.entryGroups.keys.sorted() }
}
