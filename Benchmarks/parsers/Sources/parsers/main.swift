// Times the parsers on messages of usual sizes, one thread, the median of many turns, in nanoseconds a message.
//
// What is measured of a ClientHello is what the packet path does before it needs text: records found, the message parsed, the
// server name checked. A QUIC Initial packet is compared with the calls into libcrypto that it cannot do without.

import CLibcrypto
import CQUICSealer
import FlowInspection
import Glibc
import Octets
import WireProtocols

func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Nanoseconds of one call: the median of 31 turns of `count` calls.
func measure(_ count: Int, _ body: () -> Void) -> Double {
    var turns: [Double] = []
    for _ in 0..<31 {
        let start = now()
        for _ in 0..<count { body() }
        turns.append(Double(now() - start) / Double(count))
    }
    return turns.sorted()[15]
}

func report(_ name: String, _ nanoseconds: Double, _ note: String = "") {
    let text = String(Int(nanoseconds.rounded()))
    print(name + String(repeating: " ", count: max(1, 44 - name.count - text.count)) + text + " ns" + note)
}

func vector(_ content: [UInt8]) -> [UInt8] { [UInt8(content.count >> 8), UInt8(content.count & 255)] + content }

/// A ClientHello as browsers send it, padded or with a key share to come to `byteCount` bytes of records.
func hello(_ byteCount: Int) -> [UInt8] {
    var extensions: [[UInt8]] = []
    extensions.append([0x2A, 0x2A, 0, 0])
    let name = Array("www.some-host.example.com".utf8)
    extensions.append([0, 0] + vector(vector([0] + vector(name))))
    for type: UInt8 in [23, 18, 35] { extensions.append([0, type, 0, 0]) }
    extensions.append([0, 16] + vector(vector([2] + Array("h2".utf8) + [8] + Array("http/1.1".utf8))))
    extensions.append([0, 10] + vector(vector([0x2A, 0x2A, 0, 29, 0, 23, 0, 24])))
    extensions.append([0, 13] + vector(vector([4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1])))
    extensions.append([0, 43] + vector([6, 0x2A, 0x2A, 3, 4, 3, 3]))
    extensions.append([0, 45, 0, 2, 1, 1])
    extensions.append([0, 11, 0, 2, 1, 0])
    extensions.append([0, 27, 0, 3, 2, 0, 2])
    let suites: [UInt8] = [
        0x2A, 0x2A, 0x13, 1, 0x13, 2, 0x13, 3, 0xC0, 0x2B, 0xC0, 0x2F, 0xC0, 0x2C, 0xC0, 0x30, 0xCC, 0xA9, 0xCC, 0xA8,
        0xC0, 0x13, 0xC0, 0x14, 0, 0x9C, 0, 0x9D, 0, 0x2F, 0, 0x35,
    ]
    func stream() -> [UInt8] {
        var body: [UInt8] = [3, 3]
        body += [UInt8](repeating: 7, count: 32)
        body += [32] + [UInt8](repeating: 9, count: 32)
        body += vector(suites) + [1, 0] + vector(Array(extensions.joined()))
        return [22, 3, 1] + vector([1, 0] + vector(body))
    }
    let missing = byteCount - stream().count - 4
    if missing >= 0 { extensions.append([0, 51] + vector([UInt8](repeating: 5, count: missing))) }
    return stream()
}

for byteCount in [517, 1800] {
    let stream = hello(byteCount)
    var scratch = ClientHelloScratch()
    let time = measure(20_000) {
        var scanner = ClientHelloScanner()
        guard case .hello? = try? scanner.scan(stream.span.bytes),
            let message = try? scratch.message(found: scanner, in: stream.span.bytes),
            let hello = try? ClientHello(parsing: message), !hello.extensions.isEmpty
        else { fatalError("the ClientHello does not parse") }
    }
    report("ClientHello of \(stream.count) bytes", time)
    let summary = measure(5_000) {
        var scanner = ClientHelloScanner()
        _ = try? scanner.scan(stream.span.bytes)
        guard let message = try? scratch.message(found: scanner, in: stream.span.bytes),
            (try? ClientHelloSummary(parsing: message)) != nil
        else { fatalError("the ClientHello does not parse") }
    }
    report("  the same with names and JA4 as text", summary)
}

/// A whole Initial datagram of 1200 bytes.
func initial() -> [UInt8] {
    let message = Array(hello(400).dropFirst(5))
    let id: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    var payload: [UInt8] = [6, 0, 0x40 | UInt8(message.count >> 8), UInt8(message.count & 255)] + message
    var header: [UInt8] = [0xC1, 0, 0, 0, 1, 8] + id + [0, 0]
    payload += [UInt8](repeating: 0, count: 1200 - header.count - 2 - 2 - 16 - payload.count)
    let length = 2 + payload.count + 16
    header += [0x40 | UInt8(length >> 8), UInt8(length & 255), 0, 0]
    var keys = clc_quic_keys()
    clc_quic_initial_keys(salt, 0, id, id.count, 0, &keys)
    let parts = withUnsafeBytes(of: keys) { Array($0) }
    var packet = header + payload + [UInt8](repeating: 0, count: 16)
    guard
        quic_seal(
            Array(parts[0..<16]), Array(parts[16..<28]), Array(parts[28..<44]), 0, &packet, header.count, 2,
            payload.count)
            == 1
    else { fatalError("the packet cannot be sealed") }
    return packet
}

let salt: [UInt8] = [
    0x38, 0x76, 0x2C, 0xF7, 0xF5, 0x59, 0x34, 0xB3, 0x4D, 0x17, 0x9A, 0xE6, 0xA4, 0xC8, 0x0C, 0xAD, 0xCC, 0xBB, 0x7F,
    0x0A,
]
let datagram = initial()
var opener = QUICInitialOpener()
let reading = measure(2_000) {
    var reader = QUICInitialReader()
    guard let found = try? reader.read(datagram.span.bytes, opener: &opener), found.hellos.count == 1 else {
        fatalError("the packet does not open")
    }
}
let contexts = clc_quic_new()
let header = Array(datagram[..<20])
var room = [UInt8](repeating: 0, count: 1200)
// The header as it stands behind its protection: what is compared is the work, not the answer.
let alone = measure(2_000) {
    var keys = clc_quic_keys()
    var mask = [UInt8](repeating: 0, count: 5)
    datagram.withUnsafeBufferPointer { bytes in
        clc_quic_initial_keys(salt, 0, bytes.baseAddress.map { $0 + 6 }, 8, 0, &keys)
        _ = clc_quic_mask(contexts, &keys, bytes.baseAddress.map { $0 + 22 }, &mask)
        _ = clc_quic_open(
            contexts, &keys, 0, header, header.count, bytes.baseAddress.map { $0 + 20 }, bytes.count - 20, &room)
    }
}
clc_quic_free(contexts)
report("QUIC Initial packet of 1200 bytes", reading)
report("  its calls into libcrypto alone", alone, "  (\(Double(Int(reading / alone * 100)) / 100) times)")

let question: [UInt8] =
    [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3] + Array("www".utf8) + [7] + Array("example".utf8) + [3]
    + Array("com".utf8) + [0, 0, 1, 0, 1]
report(
    "DNS question",
    measure(10_000) {
        guard (try? DNSMessage(parsing: question.span.bytes)) != nil else { fatalError("the question does not parse") }
    })

let request = Array(
    "GET /v1/items?page=2 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: agent/1.0\r\nAccept: */*\r\n\r\n".utf8)
report(
    "HTTP/1 request head of \(request.count) bytes",
    measure(10_000) {
        var reader = HTTP1RequestReader()
        guard case .head? = try? reader.next(request.span.bytes) else { fatalError("the request does not parse") }
    })

var inspectionScratch = InspectionScratch()
let helloStream = hello(517)
report(
    "StreamInspector, ClientHello to facts",
    measure(3_000) {
        var inspector = StreamInspector()
        var position = 0
        while case .step(_, let byteCount, _)? = try? inspector.next(
            .client, helloStream.span.bytes.extracting(position..<helloStream.count), scratch: &inspectionScratch)
        {
            position += byteCount
        }
        guard position == helloStream.count else { fatalError("the ClientHello was not read") }
    })
