import Glibc
import Identity
import PacketHeaders
import Policy

@testable import DecisionLog

/// A decision of the agent `bot`, at `second` seconds after the epoch's 1.8 billionth.
func decision(
    allow: Bool = false, agent: String = "bot", host: String? = "api.example.com", port: UInt16 = 443,
    reason: Reason? = nil, rule: String? = "web", second: UInt64 = 0, number: UInt64 = 0
) -> DecisionRecord {
    let nanoseconds = (1_800_000_000 + second) * 1_000_000_000
    let destination = IPAddress(v4: 0xC612_0001)
    var input = PolicyInput(
        time: nanoseconds, stage: .hello, agent: Agent(id: agent, labels: [:], selectors: []), address: destination,
        port: port, transport: .tcp)
    input.host = host
    input.hostSource = host == nil ? nil : .sni
    input.protocol = ProtocolFacts(name: "tls")
    return DecisionRecord(
        id: DecisionID(nanoseconds: nanoseconds, random: number), input: input,
        decision: PolicyDecision(allow: allow, reason: reason ?? (allow ? .allowed : .policy), rule: rule),
        flow: FiveTuple(
            source: IPAddress(v4: 0xC612_0002), sourcePort: 40_000, destination: destination, destinationPort: port,
            transport: .tcp),
        policyRevision: "0123456789ab", latencyMicroseconds: 87)
}

/// The receiving end of a journal socket in a directory of its own, removed with it.
final class FakeJournal: Sendable {
    let path: String
    private let directory: String
    private let descriptor: Int32

    init() throws {
        directory = try temporaryDirectory()
        path = directory + "/socket"
        descriptor = try Self.bind(path)
    }

    deinit {
        close(descriptor)
        unlink(path)
        rmdir(directory)
    }

    /// The next datagram, waiting for it; a record that came as a memfd is read from there, which `isSealed` tells.
    func receive() throws -> (bytes: [UInt8], isSealed: Bool) {
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        var control = [UInt8](repeating: 0, count: 24)
        let (count, controlCount) = bytes.withUnsafeMutableBytes { data in
            control.withUnsafeMutableBytes { ancillary in
                var part = iovec(iov_base: data.baseAddress, iov_len: data.count)
                return withUnsafeMutablePointer(to: &part) { parts in
                    var message = msghdr()
                    message.msg_iov = parts
                    message.msg_iovlen = 1
                    message.msg_control = ancillary.baseAddress
                    message.msg_controllen = ancillary.count
                    let count = recvmsg(descriptor, &message, 0)
                    return (count, message.msg_controllen)
                }
            }
        }
        guard count >= 0 else { throw TestFailure("recvmsg: \(String(cString: strerror(errno)))") }
        guard controlCount >= 20 else { return (Array(bytes[..<count]), false) }
        let passed = control[16..<20].enumerated().reduce(Int32(0)) { $0 | Int32($1.element) << (8 * $1.offset) }
        defer { close(passed) }
        let size = pread(passed, &bytes, bytes.count, 0)
        let writeStatus = pwrite(passed, "x", 1, 0)
        return (Array(bytes[..<max(0, size)]), writeStatus < 0 && errno == EPERM)
    }

    /// The next datagram as fields, in the order in which they came.
    func receiveFields() throws -> [(name: String, value: String)] {
        try NativeProtocol.parse(receive().bytes)
    }

    static func bind(_ path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // What never comes is a failure, not a test that never ends.
        var patience = timeval(tv_sec: 300, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        guard status == 0 else { throw TestFailure("bind: \(String(cString: strerror(errno)))") }
        return descriptor
    }
}

/// A second reading of the journal's native protocol, written apart from the sink that it checks.
enum NativeProtocol {
    static func parse(_ bytes: [UInt8]) throws -> [(name: String, value: String)] {
        var rest = bytes[...]
        var fields: [(String, String)] = []
        while !rest.isEmpty {
            guard let end = rest.firstIndex(where: { $0 == 0x3D || $0 == 0x0A }) else {
                throw TestFailure("no = or newline")
            }
            let name = String(decoding: rest[..<end], as: UTF8.self)
            let isText = rest[end] == 0x3D
            rest = rest[(end + 1)...]
            var count = 0
            if isText {
                guard let newline = rest.firstIndex(of: 0x0A) else { throw TestFailure("no newline after \(name)") }
                count = newline - rest.startIndex
            } else {
                guard rest.count >= 8 else { throw TestFailure("no length after \(name)") }
                count = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
                rest = rest.dropFirst(8)
            }
            guard rest.count > count, rest[rest.startIndex + count] == 0x0A else {
                throw TestFailure("bad end of \(name)")
            }
            fields.append((name, String(decoding: rest.prefix(count), as: UTF8.self)))
            rest = rest.dropFirst(count + 1)
        }
        return fields
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func temporaryDirectory() throws -> String {
    var template = Array("/tmp/sallyport-log-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(String(cString: strerror(errno)))") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Runs `body` on a plain thread; `join` waits for it.
final class TestThread {
    private var identifier = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(body))
        pthread_create(
            &identifier, nil,
            { pointer in
                if let pointer { Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue().body() }
                return nil
            }, start.toOpaque())
    }

    func join() {
        pthread_join(identifier, nil)
    }

    private final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}

/// Runs a shell command.
func shell(_ command: String) throws -> (status: Int32, output: String) {
    guard let stream = popen("exec 2>&1\n" + command, "re") else { throw TestFailure("popen") }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&chunk, 1, chunk.count, stream)
        guard count > 0 else { break }
        output += chunk[..<count]
    }
    return (pclose(stream) >> 8, String(decoding: output, as: UTF8.self))
}
