public import Policy
import Rego

/// A policy directory, compiled.
public struct LoadedPolicy: Sendable {
    /// The engine: what is put in force.
    public let engine: EmbeddedPolicyEngine
    /// What it was made from.
    public let directory: PolicyDirectory

    /// Reads and compiles the directory at `path`, without its tests. Throws every problem that can be found: files that
    /// cannot be read, data that is wrong, modules that do not compile, no `decision` in `package`.
    public static func load(_ path: String, package: String = "sallyport.egress") throws(PolicyLoadError)
        -> LoadedPolicy
    {
        try compile(PolicyDirectory.read(path), package: package)
    }

    /// Compiles a directory that was read, without its tests.
    public static func compile(_ directory: PolicyDirectory, package: String) throws(PolicyLoadError) -> LoadedPolicy {
        let data = try DataDocument(directory)
        let policy = try compile(
            directory.modules, of: directory, data: data.value, limits: EmbeddedPolicyEngine.limits)
        let revision = PolicyRevision.digest(of: (directory.modules + directory.data).map { ($0.name, $0.bytes) })
        do throws(RegoErrors) {
            let engine = try EmbeddedPolicyEngine(policy, package: package, revision: revision)
            return LoadedPolicy(engine: engine, directory: directory)
        } catch {
            throw PolicyLoadError(error, in: directory)
        }
    }

    /// Compiles `modules` of a directory over `data`.
    static func compile(
        _ modules: [PolicyDirectory.File], of directory: PolicyDirectory, data: RegoValue, limits: RegoLimits
    ) throws(PolicyLoadError) -> CompiledPolicy {
        var sources: [(name: String, source: String)] = []
        for file in modules {
            guard let text = String(validating: file.bytes, as: UTF8.self) else {
                throw PolicyLoadError(directory.path(of: file), "not UTF-8 text (save it as UTF-8)")
            }
            sources.append((directory.path(of: file), text))
        }
        do throws(RegoErrors) {
            return try CompiledPolicy(modules: sources, data: data, limits: limits)
        } catch {
            throw PolicyLoadError(error, in: directory)
        }
    }
}

extension PolicyLoadError {
    /// What the compiler said. What it says twice of one line, once in more words, is said once.
    init(_ errors: RegoErrors, in directory: PolicyDirectory) {
        let problems = errors.errors.map { error in
            PolicyProblem(
                file: error.file.isEmpty ? directory.path : error.file, line: error.row > 0 ? error.row : nil,
                message: error.message)
        }
        var distinct: [PolicyProblem] = []
        for (index, problem) in problems.enumerated() {
            let isSaidBetter = problems.enumerated().contains { other in
                other.element.file == problem.file && other.element.line == problem.line
                    && other.element.message.hasPrefix(problem.message)
                    && (other.element.message != problem.message || other.offset < index)
            }
            if !isSaidBetter { distinct.append(problem) }
        }
        self.init(distinct)
    }
}

extension PolicyStore {
    /// Loads the directory and puts it in force; returns the revision. Throws what is wrong with it, and then the policy
    /// that was in force stays.
    @discardableResult
    public func reload(_ path: String, package: String) throws(PolicyLoadError) -> String {
        let loaded = try LoadedPolicy.load(path, package: package)
        publish(loaded.engine)
        return loaded.engine.revision
    }
}
