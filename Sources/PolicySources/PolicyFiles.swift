import Glibc
public import Rego

/// Modules and data from files and directories, as Open Policy Agent's commands take them.
public struct PolicyFiles: Sendable {
    /// Which data files of a directory count.
    public enum Layout: Sendable {
        /// Those of a policy directory: `data.json`, `data.yaml` and `data.yml`.
        case bundle
        /// All of `*.json`, `*.yaml` and `*.yml`.
        case loose
    }

    /// The modules, tests among them: the path as it was found, and the text.
    public private(set) var modules: [(name: String, source: String)] = []
    /// The base document: what data files say, below the directories that they stand in.
    public var data: RegoValue { document.value }

    private var document = DataDocument()

    /// Reads files and directories. `PREFIX:PATH` puts the data of a path below `PREFIX`, keys with dots between. Throws
    /// every file that cannot be read or whose data is wrong.
    public init(_ paths: [String], layout: Layout) throws(PolicyLoadError) {
        var problems: [PolicyProblem] = []
        for argument in paths {
            let (prefix, path) = Self.split(argument)
            var status = stat()
            guard stat(path, &status) == 0 else {
                let reason = String(cString: strerror(errno))
                problems.append(
                    PolicyProblem(file: path, line: nil, message: "cannot be read: \(reason) (check the path)"))
                continue
            }
            if status.st_mode & S_IFMT == S_IFDIR {
                let root = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
                var reader = DirectoryReader(root: root) { Self.takes($0, layout) }
                reader.readAll()
                problems += reader.problems
                let above = root == "." ? "" : root + "/"
                for file in reader.files { problems += add(file, path: above + file.name, below: prefix) }
            } else {
                let parts = path.split(separator: "/", omittingEmptySubsequences: false)
                let name = String(parts.last ?? "")
                guard Self.takes(name, .loose) else {
                    let message = "no policy and no data (name files that end in .rego, .json, .yaml or .yml)"
                    problems.append(PolicyProblem(file: path, line: nil, message: message))
                    continue
                }
                let root = parts.count == 1 ? "." : parts.dropLast().joined(separator: "/")
                var reader = DirectoryReader(root: root) { _ in true }
                reader.read(file: name)
                problems += reader.problems
                for file in reader.files { problems += add(file, path: path, below: prefix) }
            }
        }
        guard problems.isEmpty else { throw PolicyLoadError(problems) }
    }

    private mutating func add(_ file: PolicyDirectory.File, path: String, below prefix: [String]) -> [PolicyProblem] {
        if !file.name.hasSuffix(".rego") { return document.add(file, path: path, below: prefix) }
        if modules.contains(where: { $0.name == path }) { return [] }
        guard let text = String(validating: file.bytes, as: UTF8.self) else {
            return [PolicyProblem(file: path, line: nil, message: "not UTF-8 text (save it as UTF-8)")]
        }
        modules.append((path, text))
        return []
    }

    private static func takes(_ name: String, _ layout: Layout) -> Bool {
        if name.hasSuffix(".rego") { return true }
        switch layout {
        case .bundle:
            let last = name.split(separator: "/").last ?? ""
            return ["data.json", "data.yaml", "data.yml"].contains(last)
        case .loose: return [".json", ".yaml", ".yml"].contains { name.hasSuffix($0) }
        }
    }

    /// The prefix of an argument, where it has one, and its path.
    private static func split(_ argument: String) -> (prefix: [String], path: String) {
        guard access(argument, F_OK) != 0, let colon = argument.firstIndex(of: ":") else { return ([], argument) }
        let prefix = argument[..<colon].split { $0 == "." || $0 == "/" }.map(String.init)
        return (prefix, String(argument[argument.index(after: colon)...]))
    }
}

/// The JSON Schemas that a policy is checked against.
public enum PolicySchemas {
    /// What `input` holds when Sallyport asks a policy: `policies/schema/input.schema.json`.
    public static func input() throws(RegoError) -> RegoSchema {
        try RegoSchema(RegoValue(json: PackageResources.input_schema_json))
    }

    /// A schema file (the key is `input`), or those of a directory, by their path without `.json` and with dots between.
    /// Throws where one cannot be read or is no schema.
    public static func read(_ path: String) throws(PolicyLoadError) -> [String: RegoSchema] {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw PolicyLoadError(path, "cannot be read: \(String(cString: strerror(errno))) (check the path)")
        }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let root = isDirectory ? path : parts.count == 1 ? "." : parts.dropLast().joined(separator: "/")
        var reader = DirectoryReader(root: root) { $0.hasSuffix(".json") }
        if isDirectory { reader.readAll() } else { reader.read(file: String(parts.last ?? "")) }
        guard reader.problems.isEmpty else { throw PolicyLoadError(reader.problems) }
        var schemas: [String: RegoSchema] = [:]
        for file in reader.files {
            do throws(RegoError) {
                let name = file.name.dropLast(".json".count).split(separator: "/").joined(separator: ".")
                schemas[isDirectory ? name : "input"] = try RegoSchema(RegoValue(json: file.bytes))
            } catch {
                throw PolicyLoadError(isDirectory ? "\(root)/\(file.name)" : path, error.message)
            }
        }
        return schemas
    }
}
