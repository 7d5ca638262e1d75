internal import Glibc

/// Watches evaluations of an instrumented policy (`CompileOptions.isInstrumented`): their steps, what they cover, and where
/// time goes. One thread's; it adds up what one evaluator after the other tells of the same policy.
public final class Observation {
    /// What is kept.
    public struct Parts: OptionSet, Sendable {
        /// The bits.
        public let rawValue: Int
        /// Parts by their bits.
        public init(rawValue: Int) { self.rawValue = rawValue }
        /// Each step, up to `maximumEvents` of them.
        public static let trace = Parts(rawValue: 1)
        /// Rules and expressions that were reached.
        public static let coverage = Parts(rawValue: 2)
        /// Time and counts of each line.
        public static let profile = Parts(rawValue: 4)
    }

    /// Most steps that a trace keeps.
    public static let maximumEvents = 1_000_000

    /// The steps of the evaluations since `forgetTrace`.
    public private(set) var events: [TraceEvent] = []
    /// Whether there were more steps than a trace keeps.
    public private(set) var isTruncated = false

    private let parts: Parts
    private var program: Program?
    private var sources: [CoverableSource] = []
    private var isHit: [Bool] = []
    private var profiler = Profiler()
    /// By how many calls are active: the depth of the rule there.
    private var bases: [Int] = [0]
    /// The same: the last step's depth and site.
    private var last: [(depth: Int, site: Int)] = [(0, -1)]
    /// By depth: the query's number.
    private var ids: [Int] = [0]
    private var nextID = 1

    /// An observation that keeps `parts`.
    public init(_ parts: Parts) { self.parts = parts }

    /// Begins to watch a policy; forgets what was seen of another one.
    func watch(_ policy: CompiledPolicy) {
        if program === policy.program { return }
        program = policy.program
        sources = policy.coverable
        isHit = Array(repeating: false, count: policy.program.traceSites.count)
        profiler = Profiler()
        forgetTrace()
    }

    /// Forgets the steps, not what they covered.
    public func forgetTrace() {
        events = []
        isTruncated = false
        nextID = 1
    }

    /// A query begins.
    func begin() {
        bases = [0]
        last = [(0, -1)]
        ids = [0]
    }

    // MARK: Steps

    /// A step at a site; `frame` is how many calls are active, `scope` how many bodies of the rule are around.
    func record(_ operation: TraceOperation, site number: Int, scope: Int, frame: Int, message: String) {
        guard let program else { return }
        let site = program.traceSites[number]
        if parts.contains(.coverage) { cover(operation, site, number) }
        if parts.contains(.profile), site.kind == .expression, operation == .eval || operation == .redo {
            profiler.step(site, isRedo: operation == .redo)
        }
        if parts.contains(.trace) { trace(operation, site, number, scope, frame, message, program) }
    }

    private func cover(_ operation: TraceOperation, _ site: TraceSite, _ number: Int) {
        switch (operation, site.kind) {
        case (.eval, .expression), (.exit, .rule), (.exitEarly, .rule): isHit[number] = true
        default: break
        }
    }

    private func trace(
        _ operation: TraceOperation, _ site: TraceSite, _ number: Int, _ scope: Int, _ frame: Int, _ message: String,
        _ program: Program
    ) {
        if bases.count > frame + 1 {
            bases.removeSubrange((frame + 1)...)
            last.removeSubrange((frame + 1)...)
        }
        while bases.count <= frame {
            let before = last[last.count - 1]
            bases.append(before.depth + 1)
            last.append(before)
        }
        let isIndex = operation == .index || operation == .indexEarly
        // A look-up belongs to who asks.
        let depth = isIndex ? bases[frame] - 1 : bases[frame] + scope
        while ids.count <= depth { ids.append(0) }
        if operation == .enter {
            ids[depth] = nextID
            nextID += 1
        }
        var place = site
        if isIndex {
            let asking = last[frame].site
            if asking < 0 { return }
            place = program.traceSites[asking]
        } else {
            last[frame] = (depth, number)
        }
        guard events.count < Self.maximumEvents else {
            isTruncated = true
            return
        }
        events.append(
            TraceEvent(
                operation: Self.word(operation), kind: site.kind, text: site.text, file: place.file, row: place.row,
                column: place.column, queryID: ids[depth], parentID: depth > 0 ? ids[depth - 1] : 0, depth: depth,
                message: message))
    }

    private static func word(_ operation: TraceOperation) -> TraceEvent.Operation {
        switch operation {
        case .enter: .enter
        case .exit, .exitEarly: .exit
        case .eval: .eval
        case .redo: .redo
        case .fail: .fail
        case .note: .note
        case .index, .indexEarly: .index
        }
    }

    // MARK: Reports

    /// What the evaluations reached of the policy's modules.
    public var coverage: CoverageReport {
        var hits: [String: Set<SourceSpan>] = [:]
        for (site, isHit) in zip(program?.traceSites ?? [], isHit) where isHit && !site.file.isEmpty {
            if let span = site.span { hits[site.file, default: []].insert(span) }
        }
        return CoverageReport(hits: hits, sources: sources)
    }

    /// Where time went, the most expensive line first.
    public var profile: [ProfileEntry] { profiler.entries }
}

extension Machine {
    /// Tells the observation what an instruction says.
    @inline(never)
    func observe(_ instruction: Instruction, _ base: UnsafeMutablePointer<Value>) {
        guard let observation, let operation = TraceOperation(rawValue: UInt8(truncatingIfNeeded: instruction.a)) else {
            return
        }
        var message = ""
        switch operation {
        case .note:
            let value = instruction.c >= 0 ? base[Int(instruction.c)] : program.constants[Int(~instruction.c)]
            message = value.tag == .string ? value.text : RegoWriter.text(value)
        case .index, .indexEarly:
            let count =
                instruction.c < 0
                ? Int(~instruction.c) : base[Int(instruction.c)].integer - base[Int(instruction.c) + 1].integer
            message = "(matched \(count) rule\(count == 1 ? "" : "s")\(operation == .indexEarly ? ", early exit" : ""))"
        case .exitEarly: message = "early"
        default: break
        }
        observation.record(
            operation, site: Int(instruction.b), scope: Int(instruction.d), frame: frames.count, message: message)
    }
}
