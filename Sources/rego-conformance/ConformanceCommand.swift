// rego-conformance: runs a directory of OPA's compliance cases (JSON) against the embedded engine.

import ArgumentParser
import Foundation
import Rego

@main
struct ConformanceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rego-conformance",
        abstract: "Run a directory of OPA compliance cases and print what passed.")

    @Argument(help: "Directory of folders of case files (*.json).")
    var directory: String?

    @Flag(help: "Answer queries, a JSON object a line, from standard input instead (for differential tests).")
    var lines = false

    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    @Option(help: "Run only folders whose name contains this.")
    var only: String?

    @Option(help: "Compare errors of modules with OPA's: a JSON array of {note, module, error}.")
    var moduleErrors: String?

    @Option(help: "The same, with the old syntax: every module must be refused.")
    var parseErrors: String?

    @Flag(help: "With --module-errors: list what differs.")
    var differences = false

    /// Folders that are left out, with the reason.
    static let leftOut: [(name: String, reason: String)] = [
        ("graphql", "GraphQL is not part of an embedded engine"),
        ("providers-aws", "signing of AWS requests is not part of an embedded engine"),
        ("netlookupipaddr", "no name look-ups while a policy runs"),
        ("invalidkeyerror", "depends on a private key"),
        ("cryptoparsersaprivatekeys", "private keys"),
        ("cryptox509parsersaprivatekey", "private keys"),
        ("cryptox509parsekeypair", "private keys"),
    ]

    private func reason(_ folder: String) -> String? {
        Self.leftOut.first { $0.name == folder || ($0.name == "graphql" && folder.hasPrefix("graphql")) }?.reason
    }

    mutating func run() throws {
        if lines {
            while let line = readLine() {
                print(LineAnswer.answer(Array(line.utf8)))
                fflush(nil)
            }
            return
        }
        var isGood = true
        if let moduleErrors {
            let (agreement, place, text) = try scoreErrors(moduleErrors).percentages
            if agreement < 99.5 || place < 98 || text < 90 { isGood = false }
        }
        if let parseErrors, try scoreErrors(parseErrors).percentages.agreement < 100 { isGood = false }
        if let directory { try runCases(directory) }
        if !isGood { throw ExitCode(1) }
    }

    private func scoreErrors(_ file: String) throws -> ModuleErrorScore {
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw ValidationError("\(file): cannot be read")
        }
        var score = ModuleErrorScore()
        for item in try ModuleErrorScore.items(json: Array(bytes)) { score.add(item) }
        if differences { for text in score.differences { print(text + "\n----") } }
        print(score.summary)
        return score
    }

    private func runCases(_ directory: String) throws {
        let manager = FileManager.default
        let folders = try manager.contentsOfDirectory(atPath: directory).sorted()
        var passed = 0
        var failed: [(folder: String, note: String, reason: String)] = []
        var perFolder: [(name: String, passed: Int, failed: Int)] = []
        var left: [(name: String, reason: String)] = []
        for folder in folders {
            if let only, !folder.contains(only) { continue }
            if let reason = reason(folder) {
                left.append((folder, reason))
                continue
            }
            let path = directory + "/" + folder
            var isDirectory: ObjCBool = false
            guard manager.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue else { continue }
            var counts = (passed: 0, failed: 0)
            for file in try manager.contentsOfDirectory(atPath: path).sorted() where file.hasSuffix(".json") {
                guard let bytes = manager.contents(atPath: path + "/" + file) else { continue }
                for item in try ConformanceCase.cases(json: Array(bytes)) {
                    if let reason = item.failure() {
                        counts.failed += 1
                        failed.append((folder, item.note, reason))
                    } else {
                        counts.passed += 1
                    }
                }
            }
            passed += counts.passed
            perFolder.append((folder, counts.passed, counts.failed))
        }
        if json {
            printJSON(passed, failed, perFolder, left)
        } else {
            for folder in perFolder {
                print(
                    "\(folder.name): \(folder.passed) passed" + (folder.failed > 0 ? ", \(folder.failed) failed" : ""))
            }
            for failure in failed { print("FAIL \(failure.folder): \(failure.note): \(failure.reason)") }
            for folder in left { print("left out: \(folder.name): \(folder.reason)") }
            print("\(passed) passed, \(failed.count) failed")
        }
        if !failed.isEmpty { throw ExitCode(1) }
    }

    private func printJSON(
        _ passed: Int, _ failed: [(folder: String, note: String, reason: String)],
        _ folders: [(name: String, passed: Int, failed: Int)], _ left: [(name: String, reason: String)]
    ) {
        func text(_ value: String) -> RegoValue { .string(value) }
        let report = RegoValue.object([
            (text("passed"), RegoValue(passed)), (text("failed"), RegoValue(failed.count)),
            (
                text("folders"),
                .object(
                    folders.map {
                        (
                            text($0.name),
                            .object([(text("passed"), RegoValue($0.passed)), (text("failed"), RegoValue($0.failed))])
                        )
                    })
            ),
            (
                text("failures"),
                .array(
                    failed.map {
                        .object([
                            (text("folder"), text($0.folder)), (text("note"), text($0.note)),
                            (text("reason"), text($0.reason)),
                        ])
                    })
            ),
            (text("left_out"), .object(left.map { (text($0.name), text($0.reason)) })),
        ])
        print(report.prettyJSON)
    }
}
