// swift-tools-version: 6.2
// Fuzz targets: programs that feed libFuzzer's bytes to the parsers. See scripts/fuzz.

import PackageDescription

/// A fuzz target `name` under `Sources/<folder>`.
func fuzzer(_ name: String, _ folder: String) -> Target {
    .executableTarget(
        name: name, dependencies: ["CFuzzer", .product(name: "Rego", package: "sallyport")],
        path: "Sources/" + folder, swiftSettings: [.swiftLanguageMode(.v6)])
}

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "sallyport", path: "..")],
    targets: [
        .target(name: "CFuzzer"),
        fuzzer("rego-scan", "RegoScan"),
        fuzzer("rego-parse", "RegoParse"),
        fuzzer("rego-evaluate", "RegoEvaluate"),
    ]
)
