// swift-tools-version: 6.2
// Fuzzers, a package of their own: they are built with instrumentation that nothing else has. See scripts/fuzz.

import PackageDescription

let swiftSettings: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "sallyport", path: "..")],
    targets: [
        .target(name: "CFuzzer"),
        .executableTarget(
            name: "fuzz-inspection", dependencies: ["CFuzzer", .product(name: "Parsers", package: "sallyport")],
            swiftSettings: swiftSettings),
    ]
)
