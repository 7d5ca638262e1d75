import Control
import DecisionLog
import Glibc
import Identity
import PacketHeaders
import Policy

/// Runs the built `sallyport` as an operator does.
enum Program {
    /// What a run left behind.
    struct Result {
        let status: Int32
        let output: String
        let complaint: String
    }

    /// Runs it with `arguments`, words as the shell reads them, on a thread of its own.
    static func run(_ arguments: String) async throws -> Result {
        try await blocking {
            let directory = try temporaryDirectory()
            defer { _ = try? shell("rm -rf \(directory)") }
            let (status, output) = try shell("exec 2>\(directory)/complaint\n\(path) \(arguments)")
            return Result(status: status, output: output, complaint: try shell("cat \(directory)/complaint").output)
        }
    }

    /// Beside the tests' own executable.
    static let path: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let own = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let beside = own.split(separator: "/").dropLast().joined(separator: "/")
        return "/" + beside + "/sallyport"
    }()
}

/// Runs `body`, which may block, on a thread of its own: a server in this process needs the threads of Swift concurrency.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        let start = Unmanaged.passRetained(ThreadStart { continuation.resume(with: Result(catching: body)) })
        var identifier = pthread_t()
        pthread_create(
            &identifier, nil,
            { pointer in
                if let pointer { Unmanaged<ThreadStart>.fromOpaque(pointer).takeRetainedValue().body() }
                return nil
            }, start.toOpaque())
        pthread_detach(identifier)
    }
}

private final class ThreadStart {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

/// Runs a shell command; its standard output and its exit status.
func shell(_ command: String) throws -> (status: Int32, output: String) {
    guard let stream = popen(command, "re") else { throw TestFailure("popen") }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&chunk, 1, chunk.count, stream)
        guard count > 0 else { break }
        output += chunk[..<count]
    }
    return (pclose(stream) >> 8, String(decoding: output, as: UTF8.self))
}

func temporaryDirectory() throws -> String {
    var template = Array("/tmp/sallyport-cli-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(String(cString: strerror(errno)))") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func decision(
    _ number: UInt64, allow: Bool, agent: String = "bot", host: String = "api.example.com", second: UInt64 = 0
) -> DecisionRecord {
    let address = IPAddress(v4: 0xC612_0001)
    var input = PolicyInput(
        time: (1_700_000_000 + second) * 1_000_000_000, stage: .hello,
        agent: Agent(id: agent, labels: [:], selectors: []),
        address: address, port: 443, transport: .tcp)
    input.host = host
    input.hostSource = .sni
    input.names = ["cdn.example.net", host]
    input.addressMatchesHost = true
    input.uid = 1001
    input.protocol = ProtocolFacts(name: "tls")
    input.protocol?.alpn = ["h2", "http/1.1"]
    return DecisionRecord(
        id: DecisionID(nanoseconds: input.time, random: number), input: input,
        decision: PolicyDecision(
            allow: allow, reason: allow ? .allowed : .policy, policyReason: allow ? nil : "not on the list", rule: "web"
        ),
        flow: FiveTuple(
            source: IPAddress(v4: 0xC612_0002), sourcePort: 40_000, destination: address, destinationPort: 443,
            transport: .tcp), policyRevision: "0123456789ab", latencyMicroseconds: 87)
}
