import Foundation
import Testing

@testable import Rego

private let corpus = URL(
    fileURLWithPath: (ProcessInfo.processInfo.environment["SALLYPORT_CONFORMANCE"] ?? "../shared/conformance")
        + "/rego/cases")

/// Folders of cases that the engine leaves out.
private let leftOut: Set<String> = [
    "graphql", "providers-aws", "netlookupipaddr", "invalidkeyerror", "cryptoparsersaprivatekeys",
    "cryptox509parsersaprivatekey", "cryptox509parsekeypair",
]

private let folders = ((try? FileManager.default.contentsOfDirectory(atPath: corpus.path)) ?? [])
    .filter { !leftOut.contains($0) }.sorted()

@Suite struct ConformanceTests {
    @Test(
        .enabled(if: !folders.isEmpty, "needs OPA's compliance cases; SALLYPORT_CONFORMANCE names their directory"),
        arguments: folders.isEmpty ? [""] : folders)
    func passes(_ folder: String) throws {
        let directory = corpus.appendingPathComponent(folder)
        for file in try FileManager.default.contentsOfDirectory(atPath: directory.path) where file.hasSuffix(".json") {
            let bytes = [UInt8](try Data(contentsOf: directory.appendingPathComponent(file)))
            for item in try ConformanceCase.cases(json: bytes) { #expect(item.failure() == nil, "\(item.note)") }
        }
    }
}
