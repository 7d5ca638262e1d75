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
    /// The questions that the policy was compiled with, for `Evaluator.solve`.
    let questions: [Question]
    /// What coverage counts; empty unless the policy is instrumented.
    let coverable: [CoverableSource]

    /// A compiled question: its group, and its expressions.
    struct Question: Sendable {
        let group: Int32
        let expressions: [QueryExpression]
    }

    /// Compiles `modules` (names are what errors give) over `data`, an object. Queries that will be asked beside
    /// documents are compiled with them, `questions` with the values of their expressions for `Evaluator.solve`; `functions`
    /// may be called as built-in ones are. Throws everything that is wrong with the modules.
    public init(
        modules: [(name: String, source: String)], data: RegoValue = .object([]), queries: [String] = [],
        questions: [RegoQuery] = [], functions: [HostFunction] = [], limits: RegoLimits = RegoLimits(),
        options: CompileOptions = CompileOptions()
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
        // Before the compiler rewrites them.
        coverable = options.isInstrumented ? parsed.map { CoverableSource($0) } : []
        let compiler = Compiler(
            parsed, hostFunctions: Dictionary(functions.map { ($0.name, $0.argumentCount) }) { $1 }, options: options)
        try compiler.compile()
        var compiled: [(text: String, query: Compiler.Query)] = []
        for query in queries { compiled.append((query, try compiler.compileQuery(try Parser.query(query)).query)) }
        var asked: [(query: Compiler.Query, expressions: [QueryExpression])] = []
        for question in questions {
            let (body, package, imports) = try question.parse()
            asked.append(try compiler.compileQuery(body, package: package, imports: imports, capturing: true))
        }
        let planner = Planner(
            compiler, queries: (compiled.map(\.query) + asked.map(\.query)).map(\.body),
            hostFunctions: functions, options: options)
        try planner.planAll()
        var numbers: [String: Int32] = [:]
        for (text, query) in compiled { numbers[text] = try planner.planQuery(query) }
        var answerable: [Question] = []
        for (query, expressions) in asked {
            answerable.append(Question(group: try planner.planQuery(query), expressions: expressions))
        }
        self.questions = answerable
        program = Program(planner)
        self.queries = numbers
        self.limits = limits
        self.data = DataSnapshot(data, program)
        self.data.computeConstants(limits)
    }

    private init(_ other: CompiledPolicy, data: RegoValue) {
        program = other.program
        queries = other.queries
        questions = other.questions
        coverable = other.coverable
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
