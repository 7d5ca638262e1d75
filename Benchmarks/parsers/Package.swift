// swift-tools-version: 6.2
// How long the parsers take: cpu swift run -c release --package-path Benchmarks/parsers

import PackageDescription

let package = Package(
    name: "parsers",
    dependencies: [.package(name: "sallyport", path: "../..")],
    targets: [
        .target(name: "CQUICSealer", path: "Sources/CQUICSealer", linkerSettings: [.linkedLibrary("crypto")]),
        .executableTarget(
            name: "parsers",
            dependencies: [
                "CQUICSealer", .product(name: "Parsers", package: "sallyport"),
                .product(name: "CLibcrypto", package: "sallyport"),
            ],
            swiftSettings: [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]),
    ]
)
