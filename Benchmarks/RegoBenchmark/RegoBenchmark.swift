// Measures decisions of the embedded Rego engine: best of many turns, each of many decisions.
//
//     rego-benchmark FILE.json...     one line of JSON a file: microseconds a decision
//     rego-benchmark --threads        the loss of two threads at once
//     rego-benchmark --scaling        host look-ups from 100 to 1,000,000 hosts, rule look-ups from 10 to 10,000 rules
//
// Files hold `module`, `data`, `query` (a document), `input` and `name`.

import Foundation
import Rego
import Synchronization

/// Nanoseconds of a monotonic clock.
func nanoseconds() -> Int {
    Int(DispatchTime.now().uptimeNanoseconds)
}

/// The best of many turns, in microseconds a call.
func best(seconds: Double = 1.0, _ body: () throws -> Void) rethrows -> Double {
    for _ in 0..<200 { try body() }
    var count = 1
    // Turns of a fifth of a millisecond, long beside the clock.
    while true {
        let start = nanoseconds()
        for _ in 0..<count { try body() }
        if nanoseconds() - start > 200_000 || count > 1 << 20 { break }
        count *= 2
    }
    var best = Double.infinity
    let end = nanoseconds() + Int(seconds * 1e9)
    while nanoseconds() < end {
        let start = nanoseconds()
        for _ in 0..<count { try body() }
        best = min(best, Double(nanoseconds() - start) / Double(count) / 1000)
    }
    return best
}

struct Case {
    let name: String
    let policy: CompiledPolicy
    let entry: CompiledPolicy.EntryPoint
    let input: RegoValue

    init(_ name: String, module: String, data: RegoValue, query: String, input: RegoValue) throws {
        self.name = name
        policy = try CompiledPolicy(modules: [("p.rego", module)], data: data)
        entry = try policy.entryPoint(query)
        self.input = input
    }

    init(file: String) throws {
        let value = try RegoValue(json: [UInt8](Data(contentsOf: URL(fileURLWithPath: file))))
        try self.init(
            value["name"]?.string ?? file, module: value["module"]?.string ?? "", data: value["data"] ?? .object([]),
            query: value["query"]?.string ?? "", input: value["input"] ?? .object([]))
    }

    /// Microseconds a decision: with the input built once, built each time, and read from JSON each time.
    func measure(seconds: Double = 1.0) throws -> (prepared: Double, built: Double, json: Double) {
        let evaluator = Evaluator(policy)
        let prepared = PreparedInput(input)
        let text = Array(input.json.utf8)
        let first = try best(seconds: seconds) { _ = try evaluator.evaluate(entry, input: prepared, time: 0).boolean }
        let second = try best(seconds: seconds / 2) {
            _ = try evaluator.evaluate(entry, input: evaluator.makeInput(input), time: 0).boolean
        }
        let third = try best(seconds: seconds / 2) {
            _ = try evaluator.evaluate(entry, input: evaluator.makeInput(json: text), time: 0).boolean
        }
        return (first, second, third)
    }
}

func measureFiles(_ files: [String]) throws {
    for file in files {
        let item = try Case(file: file)
        let times = try item.measure()
        print(
            "{\"name\":\"\(item.name)\",\"microseconds\":\(times.prepared),\"built\":\(times.built),\"json\":\(times.json)}"
        )
    }
}

/// What is lost a thread where two work at once instead of one, at best: `work` is called on each thread and makes what
/// does 256 or so turns a call and says how many.
func threadLoss(_ work: @Sendable () -> () -> Int) -> Double {
    func rate(_ threads: Int) -> Double {
        let total = Atomic<Int>(0)
        let seconds = 0.5
        let end = nanoseconds() + Int(seconds * 1e9)
        DispatchQueue.concurrentPerform(iterations: threads) { _ in
            let turns = work()
            var count = 0
            while nanoseconds() < end { count += turns() }
            total.add(count, ordering: .relaxed)
        }
        return Double(total.load(ordering: .relaxed)) / seconds
    }
    return (0..<5).map { _ in
        let one = rate(1)
        return 1 - rate(2) / (2 * one)
    }.min() ?? 0
}

func measureThreads(_ files: [String]) throws {
    // A loop that shares nothing: what the machine itself loses.
    let machine = threadLoss {
        var state: UInt64 = 1
        return {
            for _ in 0..<4096 { state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407 }
            return state == 0 ? 0 : 4096
        }
    }
    print("{\"name\":\"calibration\",\"threads_loss\":\(machine)}")
    for file in files {
        let item = try Case(file: file)
        let loss = threadLoss {
            let evaluator = Evaluator(item.policy)
            let prepared = PreparedInput(item.input)
            return {
                for _ in 0..<256 { _ = try? evaluator.evaluate(item.entry, input: prepared, time: 0).boolean }
                return 256
            }
        }
        print("{\"name\":\"\(item.name)\",\"threads_loss\":\(loss)}")
    }
}

func hosts(_ count: Int) throws -> Case {
    let pairs = (0..<count).map { (key: RegoValue.string("host\($0).example.com"), value: RegoValue.boolean(true)) }
    return try Case(
        "hosts_\(count)", module: "package egress\ndefault allow := false\nallow if data.hosts[input.host]\n",
        data: .object([(.string("hosts"), .object(pairs))]), query: "data.egress.allow",
        input: .object([(.string("host"), .string("host\(count / 2).example.com"))]))
}

func suffixes(_ count: Int) throws -> Case {
    let list = (0..<count).map { RegoValue.string(".zone\($0).example.org") }
    return try Case(
        "suffixes_\(count)",
        module:
            "package egress\ndefault allow := false\nallow if {\n some s in data.suffixes\n endswith(input.host, s)\n}\n",
        data: .object([(.string("suffixes"), .array(list))]), query: "data.egress.allow",
        input: .object([(.string("host"), .string("a.zone\(count / 2).example.org"))]))
}

func blocks(_ count: Int) throws -> Case {
    let list = (0..<count).map { RegoValue.string("10.\($0 >> 8 & 255).\($0 & 255).\(($0 >> 16) << 4)/28") }
    return try Case(
        "blocks_\(count)",
        module:
            "package egress\ndefault allow := false\nallow if {\n some c in data.blocks\n net.cidr_contains(c, input.ip)\n}\n",
        data: .object([(.string("blocks"), .array(list))]), query: "data.egress.allow",
        input: .object([(.string("ip"), .string("10.0.\(min(count / 2, 200)).3"))]))
}

func rules(_ count: Int) throws -> Case {
    var module = "package idx\ndefault allow := false\n"
    for index in 0..<count {
        module +=
            "allow if { input.method == \"GET\"; input.path == \"/api/res\(index)\"; input.role == \"role\(index % 7)\" }\n"
    }
    return try Case(
        "rules_\(count)", module: module, data: .object([]), query: "data.idx.allow",
        input: .object([
            (.string("method"), .string("GET")), (.string("path"), .string("/api/res\(count / 2)")),
            (.string("role"), .string("role\(count / 2 % 7)")),
        ]))
}

func measureScaling() throws {
    for (make, counts) in [
        (hosts, [100, 10_000, 1_000_000]), (suffixes, [100, 10_000, 100_000]), (blocks, [100, 10_000, 100_000]),
        (rules, [10, 100, 1000, 10_000]),
    ] {
        for count in counts {
            let item = try make(count)
            print("{\"name\":\"\(item.name)\",\"microseconds\":\(try item.measure(seconds: 0.6).prepared)}")
        }
    }
}

@main
struct RegoBenchmark {
    static func main() throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "--scaling" {
            try measureScaling()
        } else if arguments.first == "--threads" {
            try measureThreads(Array(arguments.dropFirst()))
        } else {
            try measureFiles(arguments)
        }
    }
}
