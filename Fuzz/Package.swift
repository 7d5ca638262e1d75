// swift-tools-version: 6.2
// Fuzz targets: programs that feed libFuzzer's bytes to the parsers. A package of their own, since they are built with
// instrumentation that nothing else has. See scripts/fuzz.

import PackageDescription

let swiftSettings: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]

/// A fuzz target `name` under `Sources/<folder>`, over a library product of Sallyport's.
func fuzzer(_ name: String, _ folder: String, _ product: String) -> Target {
    .executableTarget(
        name: name, dependencies: ["CFuzzer", .product(name: product, package: "sallyport")],
        path: "Sources/" + folder, swiftSettings: swiftSettings,
        // gold ends with an internal error on the sanitizer's sections; lld is part of the toolchain.
        linkerSettings: [.unsafeFlags(["-use-ld=lld"])])
}

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "sallyport", path: "..")],
    targets: [
        .target(name: "CFuzzer"),
        fuzzer("fuzz-inspection", "fuzz-inspection", "Parsers"),
        fuzzer("rego-scan", "RegoScan", "Rego"),
        fuzzer("rego-parse", "RegoParse", "Rego"),
        fuzzer("rego-evaluate", "RegoEvaluate", "Rego"),
    ]
)
