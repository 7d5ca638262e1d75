// swift-tools-version: 6.2
// Sallyport: a transparent egress enforcement appliance for AI agents.

import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

/// Of the modules that a packet goes through: generic code is compiled for its types across them. Without it the flow table
/// and the engine look their types up at run time, a third of what a decision costs.
let packetPathSettings: [SwiftSetting] =
    swiftSettings + [.unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))]

/// A library target of ours under `Sources/<name>`.
func module(
    _ name: String, _ dependencies: [Target.Dependency] = [], settings: [SwiftSetting] = swiftSettings
) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

/// The tests of a target, under `Tests/<name>Tests`.
func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: name + "Tests", dependencies: [.byName(name: name)] + dependencies, swiftSettings: swiftSettings)
}

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioHPACK: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let heap: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let bigInt: Target.Dependency = .product(name: "BigInt", package: "BigInt")

let package = Package(
    name: "sallyport",
    products: [
        .library(name: "Rego", targets: ["Rego"]),
        // For Benchmarks/ and Fuzz/, packages of their own.
        .library(
            name: "Parsers",
            targets: ["FlowInspection", "HeaderCompression", "Flow", "WireProtocols", "PacketHeaders", "Octets"]),
        .library(name: "CLibcrypto", targets: ["CLibcrypto"]),
        .executable(name: "sallyportd", targets: ["sallyportd"]),
        .executable(name: "sallyport", targets: ["sallyport"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.1.0"),
        .package(url: "https://github.com/attaswift/BigInt", from: "6.0.1"),
    ],
    targets: [
        // C, one folder each: headers that Swift cannot import by itself, and nothing else.
        .target(name: "CNetfilter"),
        .target(name: "CNFTables", linkerSettings: [.linkedLibrary("nftables")]),
        .target(name: "CThreads"),
        .target(name: "CUnixSocket"),
        .target(name: "CConfinement"),
        .target(name: "CClock"),
        .target(name: "CLibcrypto", linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "CCurl", linkerSettings: [.linkedLibrary("curl")]),
        .target(name: "CRE2", linkerSettings: [.linkedLibrary("re2")]),
        .target(name: "CAllocationCounter", path: "Tests/CAllocationCounter"),
        .target(name: "CQUICSealer", path: "Tests/CQUICSealer", linkerSettings: [.linkedLibrary("crypto")]),

        // Files that are read and written whole.
        module("WholeFile"),

        // Bytes and packets: no Foundation, no Glibc.
        module("Octets"),
        module("PacketHeaders", ["Octets"]),
        module("WireProtocols", ["CLibcrypto", "Octets", "PacketHeaders"]),
        module("Flow", ["Octets", "PacketHeaders", "WireProtocols"], settings: packetPathSettings),
        module("HeaderCompression", [nioCore, nioHPACK]),
        module(
            "FlowInspection", ["Octets", "PacketHeaders", "WireProtocols", "Flow", "HeaderCompression"],
            settings: packetPathSettings),
        module("Identity", ["PacketHeaders"], settings: packetPathSettings),

        // Policy.
        module("JOSE", ["CLibcrypto", "Octets"]),
        module("Tokens", ["JOSE"]),
        module("CivilCalendar"),
        module("Rego", ["CivilCalendar", "CRE2", "CLibcrypto", "JOSE", bigInt, yams]),
        module("Policy", ["CivilCalendar", "CLibcrypto", "Rego", "Identity", "Octets", "PacketHeaders"]),

        // Where the stages meet.
        module(
            "Enforcement",
            ["Octets", "PacketHeaders", "WireProtocols", "Flow", "FlowInspection", "Identity", "Policy"],
            settings: packetPathSettings),

        module(
            "Sessions",
            [
                "Enforcement", "Identity", "JOSE", "Octets", "PacketHeaders", "Policy", "Rego", "Tokens", "WholeFile",
                deque, heap,
            ]),

        // What touches the world.
        module("Netlink", ["CNetfilter", "Octets", "PacketHeaders", "Identity"]),
        module("KeySets", ["CCurl", "JOSE", "Tokens", "WholeFile"]),
        module("Configuration", ["JOSE", "PacketHeaders", "Identity", "Tokens", "WholeFile", "WireProtocols", yams]),
        .target(
            name: "KernelRules",
            dependencies: ["CNFTables", "CNetfilter", "Netlink", "PacketHeaders", "Identity", "Configuration"],
            resources: [.embedInCode("sallyport.nft"), .embedInCode("sallyport-guard.nft")],
            swiftSettings: swiftSettings),
        .target(
            name: "PolicySources", dependencies: ["Policy", "Rego", yams],
            resources: [.embedInCode("input.schema.json")], swiftSettings: swiftSettings),
        module("DecisionLog", ["CivilCalendar", "CUnixSocket", "PacketHeaders", "Policy", "Identity"]),
        module(
            "Control",
            ["CUnixSocket", "DecisionLog", "Identity", "JOSE", "PacketHeaders", "Policy", nioCore, nioPosix, nioHTTP1]),
        module("Confinement", ["CConfinement"]),

        // What is enforced, looked at from outside.
        module(
            "Diagnosis",
            [
                "CClock", "Configuration", "Confinement", "Control", "DecisionLog", "Identity", "JOSE", "KernelRules",
                "Netlink", "PacketHeaders",
            ]),

        .executableTarget(
            name: "sallyportd",
            dependencies: [
                "Enforcement", "Netlink", "KernelRules", "PolicySources", "DecisionLog", "Control", "Configuration",
                "Flow", "Identity", "PacketHeaders", "Policy", "Octets", "Rego", "WholeFile", "CThreads", "CUnixSocket",
                "JOSE",
                "KeySets",
                "Sessions",
                "Tokens", "WireProtocols", argumentParser,
            ],
            swiftSettings: packetPathSettings),
        .executableTarget(
            name: "sallyport",
            dependencies: [
                "Enforcement", "Netlink", "KernelRules", "PolicySources", "DecisionLog", "Control", "Configuration",
                "Confinement", "Diagnosis", "Flow", "FlowInspection", "Identity", "PacketHeaders", "Rego", "WholeFile",
                "WireProtocols",
                argumentParser,
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "rego-conformance", dependencies: ["Rego", argumentParser], swiftSettings: swiftSettings),
        .executableTarget(
            name: "rego-benchmark", dependencies: ["Rego"], path: "Benchmarks/RegoBenchmark",
            swiftSettings: swiftSettings),

        .executableTarget(
            name: "session-benchmark",
            dependencies: ["Enforcement", "Identity", "JOSE", "PacketHeaders", "Sessions", "Tokens"],
            path: "Benchmarks/SessionBenchmark", swiftSettings: swiftSettings),

        .target(
            name: "NetworkLab", dependencies: ["CNetfilter", "PacketHeaders"], path: "Tests/NetworkLab",
            swiftSettings: swiftSettings),
        // What tests start as programs of their own.
        .executableTarget(
            name: "confinement-launcher", dependencies: ["Confinement"], path: "Tests/ConfinementLauncher",
            swiftSettings: swiftSettings),
        .executableTarget(name: "confinement-probe", path: "Tests/ConfinementProbe"),

        .target(
            name: "QUICPacketBuilding", dependencies: ["CLibcrypto", "CQUICSealer", "Octets", "WireProtocols"],
            path: "Tests/QUICPacketBuilding", swiftSettings: swiftSettings),

        tests("Octets"),
        tests("PacketHeaders", ["Octets"]),
        tests("WireProtocols", ["Octets", "PacketHeaders", "CAllocationCounter", "QUICPacketBuilding"]),
        tests("Flow", ["Octets", "PacketHeaders", "WireProtocols", "CAllocationCounter"]),
        tests("FlowInspection", ["Octets", "PacketHeaders", "WireProtocols", "Flow", "HeaderCompression"]),
        tests("Identity", ["PacketHeaders", "CAllocationCounter"]),
        tests("JOSE"),
        tests("Tokens", ["JOSE"]),
        tests("KeySets", ["JOSE", "Tokens", "WholeFile"]),
        tests("Sessions", ["Enforcement", "Identity", "JOSE", "PacketHeaders", "Policy", "Tokens"]),

        tests("Rego", ["CAllocationCounter"]),
        tests("Policy", ["Rego", "Identity", "PacketHeaders", "CAllocationCounter"]),
        tests(
            "Enforcement",
            ["Policy", "Rego", "PacketHeaders", "CAllocationCounter", "QUICPacketBuilding", "WireProtocols"]),
        tests("Netlink", ["PacketHeaders", "Identity", "CNetfilter", "CAllocationCounter", "NetworkLab"]),
        tests("Configuration", ["Identity", "JOSE", "PacketHeaders", "Tokens"]),
        tests("KernelRules", ["Netlink", "PacketHeaders", "NetworkLab"]),
        tests("PolicySources", ["Policy", "Rego", "Identity", "PacketHeaders"]),
        tests("DecisionLog", ["Identity", "PacketHeaders", "Policy"]),
        tests(
            "sallyport", [argumentParser, "Control", "DecisionLog", "Diagnosis", "Identity", "PacketHeaders", "Policy"]),
        tests("Control", ["JOSE", "DecisionLog", "Identity", "PacketHeaders", "Policy"]),
        tests("Confinement", ["confinement-launcher", "confinement-probe"]),
        tests(
            "Diagnosis",
            ["Configuration", "Control", "DecisionLog", "Identity", "JOSE", "KernelRules", "Netlink", "PacketHeaders"]),
    ],
    cxxLanguageStandard: .cxx17
)
