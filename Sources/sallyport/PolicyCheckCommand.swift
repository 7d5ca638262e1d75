import ArgumentParser
import Configuration
import Glibc
import Policy
import PolicySources
import Rego

/// `sallyport policy check`.
struct PolicyCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Says whether a policy and its tests compile and define a decision.",
        discussion: """
            Every `input.` path is looked up in the schema of what Sallyport asks with (policies/schema/input.schema.json), \
            so that a misspelt one is an error and not a rule that never holds. Of one directory the decision has to be there \
            too. Exit status 0 where all is good, 1 where it is not, 2 where something cannot be read.
            """)

    @OptionGroup var policy: PolicyPaths
    @OptionGroup var schema: SchemaOptions

    @Flag(help: "Do not compare with a schema of input.")
    var noSchema = false

    @Flag(
        name: [.customShort("S"), .long],
        help: "Refuse unused variables and imports, and what else OPA's strict mode does.")
    var strict = false

    @Option(name: .shortAndLong, help: "How to print: pretty or json.")
    var format = PolicyFormat.pretty

    func run() throws {
        let files = try policy.load()
        var options = CompileOptions()
        options.isStrict = strict
        options.keepsPrints = true
        if !noSchema { options.inputSchema = try PolicySchemas.input() }
        try schema.apply(to: &options)
        do throws(RegoErrors) {
            _ = try CompiledPolicy(modules: files.modules, data: files.data, options: options)
        } catch {
            switch format {
            case .json: print(RegoValue.object([(.string("errors"), .array(error.errors.map(\.value)))]).prettyJSON)
            case .pretty: for problem in error.errors { Console.complain(Diagnostic(problem, files.modules).text) }
            }
            throw CommandFailure.no()
        }
        try checkDecision(files)
    }

    /// Checks, of one directory, that the daemon would take it.
    private func checkDecision(_ files: PolicyFiles) throws {
        let paths = try policy.resolved()
        var status = stat()
        guard paths.count == 1, stat(paths[0], &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            return report(files.modules.map(\.name), revision: nil, package: nil, paths)
        }
        let package = try policy.configuration.load().policy.package
        let directory: PolicyDirectory
        do throws(PolicyLoadError) {
            directory = try PolicyDirectory.read(paths[0])
        } catch {
            throw CommandFailure.badInput(error.description)
        }
        do throws(PolicyLoadError) {
            let loaded = try LoadedPolicy.compile(directory, package: package)
            report(files.modules.map(\.name), revision: loaded.engine.revision, package: package, paths)
        } catch {
            throw CommandFailure.no(error.description)
        }
    }

    private func report(_ modules: [String], revision: String?, package: String?, _ paths: [String]) {
        switch format {
        case .json:
            var fields: [(key: RegoValue, value: RegoValue)] = [
                (.string("modules"), .array(modules.map { .string($0) }))
            ]
            if let revision { fields.append((.string("revision"), .string(revision))) }
            if let package { fields.append((.string("package"), .string(package))) }
            print(RegoValue.object(fields).prettyJSON)
        case .pretty:
            let details = [revision.map { "revision \($0)" }, package.map { "package \($0)" }].compactMap { $0 }
            print(([paths.joined(separator: " ") + ": good"] + details).joined(separator: ", "))
        }
    }
}

/// An error of the compiler for people: its place, the source line and a mark below what is wrong.
struct Diagnostic {
    let text: String

    init(_ error: RegoError, _ modules: [(name: String, source: String)]) {
        let (row, column) = error.hint.map { ($0.row, $0.column) } ?? (error.row, error.column)
        var head = row > 0 ? "\(error.file):\(row):\(column): " : ""
        head += "\(error.code): \(error.message)"
        if let suggestion = error.hint?.suggestion { head += " (did you mean \(suggestion)?)" }
        guard row > 0, let source = modules.first(where: { $0.name == error.file })?.source else {
            text = ([head] + error.details).joined(separator: "\n")
            return
        }
        let lines = source.split(omittingEmptySubsequences: false) { $0.isNewline }
        guard row <= lines.count else {
            text = head
            return
        }
        let line = String(lines[row - 1].map { $0 == "\t" ? " " : $0 })
        let number = "\(row)"
        let margin = String(repeating: " ", count: number.count)
        let width = max(1, min(error.hint?.width ?? 1, line.count - column + 1))
        let mark = String(repeating: " ", count: max(0, column - 1)) + String(repeating: "^", count: width)
        var shown = [head, "  \(number) | \(line)", "  \(margin) | \(mark)"]
        // Of parse errors and references the details are a source line and a mark themselves.
        if error.hint == nil, error.code != "rego_parse_error" { shown += error.details.map { "  \(margin) | \($0)" } }
        text = shown.joined(separator: "\n")
    }
}
