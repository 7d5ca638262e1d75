import CAllocationCounter
import Glibc
import NetworkLab
import PacketHeaders
import Testing

@testable import Netlink

/// On the real kernel: datagrams on loopback, queued in the output hook.
@Suite("QueueSocket", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct QueueSocketTests {
    static let loopback = IPAddress(v4: 0x7F00_0001)
    static let gso = QueueParameters(number: 100, takesSegmentBatches: true, maximumLength: 1024)
    static let plain = QueueParameters(number: 101, takesSegmentBatches: false, maximumLength: 1024)

    /// Queues what `match` selects in the output hook.
    static func queue(_ match: String..., to number: UInt16) throws {
        for command in ["iptables", "ip6tables"] {
            let rule =
                [command, "-w", "-t", "mangle", "-A", "OUTPUT"] + match
                + ["-j", "NFQUEUE", "--queue-num", "\(number)"]
            let outcome = try Program.start(rule)
            guard outcome.status == 0 else { throw LabError(outcome.errors) }
        }
    }

    @Test("hands over a packet with what the kernel knows of it, and delivers it when accepted")
    func accepts() throws {
        try NetworkNamespace.alone {
            try Self.queue("-p", "udp", to: 101)
            var queues = try QueueSocket.open([Self.gso, Self.plain])
            var verdicts = queues.makeVerdictBatch()
            let server = try LabSocket(.udp, .v4)
            try server.bind(Self.loopback, 7)
            let client = try LabSocket(.udp, .v4)
            try client.set(SOL_SOCKET, SO_MARK, 0x55)
            client.send([1, 2, 3], to: Self.loopback, 7)

            try #require(try queues.receive(timeoutMilliseconds: 10_000) == 1)
            let packet = queues.packet(at: 0)
            let facts = packet.facts
            #expect(facts.queue == 101)
            #expect(facts.id == 1)
            #expect(facts.hook == 3)
            #expect(facts.family == 2)
            #expect(facts.hardwareProtocol == 0x0800)
            #expect(facts.mark == 0x55)
            #expect(facts.inputInterface == 0)
            #expect(facts.outputInterface == 1)
            #expect(facts.uid == 0)
            #expect(facts.gid == 0)
            // A queue without segment batches gets packets with complete checksums.
            #expect(!facts.checksumNotReady)
            #expect(!facts.isGSO)
            #expect(!facts.isTruncated)
            #expect(facts.originalLength == 31)
            #expect(packet.payload.byteCount == 31)
            #expect(packet.payload.unsafeLoad(fromByteOffset: 30, as: UInt8.self) == 3)

            server.makeNonblocking()
            Self.expect(server, nil)
            verdicts.accept(queue: facts.queue, id: facts.id)
            #expect(verdicts.pending == 1)
            verdicts.flush()
            Self.expect(server, [1, 2, 3])
            #expect(verdicts.counters.verdicts == 1)
            #expect(verdicts.counters.datagrams == 1)
            var expected = QueueCounters()
            expected.packets = 1
            #expect(queues.counters == expected)
        }
    }

    @Test("drops, and delivers a payload put in place of the packet's own")
    func dropsAndReplaces() throws {
        try NetworkNamespace.alone {
            try Self.queue("-p", "udp", to: 101)
            var queues = try QueueSocket.open([Self.plain])
            var verdicts = queues.makeVerdictBatch()
            let server = try LabSocket(.udp, .v4)
            try server.bind(Self.loopback, 7)
            let client = try LabSocket(.udp, .v4)
            client.send([1], to: Self.loopback, 7)
            client.send([2], to: Self.loopback, 7)
            try #require(try queues.receive(timeoutMilliseconds: 10_000) == 2)
            verdicts.drop(queue: 101, id: queues.packet(at: 0).facts.id)
            let second = queues.packet(at: 1)
            var bytes = (0..<second.payload.byteCount).map {
                second.payload.unsafeLoad(fromByteOffset: $0, as: UInt8.self)
            }
            // A longer payload, with the lengths and checksums of an IPv4 UDP datagram written anew (0: none, RFC 768).
            bytes[28] = 9
            bytes += [8, 7]
            bytes[3] += 2
            bytes[25] += 2
            bytes[26] = 0
            bytes[27] = 0
            Self.writeHeaderChecksum(&bytes)
            verdicts.accept(queue: 101, id: second.facts.id, mark: 3, payload: bytes.span.bytes)
            verdicts.flush()
            Self.expect(server, [9, 8, 7])
            server.makeNonblocking()
            Self.expect(server, nil)
        }
    }

    @Test("takes a verdict on a packet of an earlier batch, and counts one that comes too late")
    func heldPackets() throws {
        try NetworkNamespace.alone {
            try Self.queue("-p", "udp", to: 101)
            var queues = try QueueSocket.open([Self.plain])
            var verdicts = queues.makeVerdictBatch()
            let server = try LabSocket(.udp, .v4)
            try server.bind(Self.loopback, 7)
            let client = try LabSocket(.udp, .v4)
            client.send([1], to: Self.loopback, 7)
            try #require(try queues.receive(timeoutMilliseconds: 10_000) == 1)
            let held = queues.packet(at: 0).facts
            client.send([2], to: Self.loopback, 7)
            try #require(try queues.receive(timeoutMilliseconds: 10_000) == 1)
            verdicts.accept(queue: 101, id: queues.packet(at: 0).facts.id)
            verdicts.flush()
            Self.expect(server, [2])
            verdicts.accept(queue: 101, id: held.id)
            verdicts.accept(queue: 101, id: held.id)
            verdicts.flush()
            Self.expect(server, [1])
            #expect(try queues.receive(timeoutMilliseconds: 0) == 0)
            #expect(queues.counters.lateVerdicts == 1)
            #expect(queues.counters.malformedMessages == 0)
        }
    }

    @Test("an unanswered packet is dropped when the socket closes, and so is what follows")
    func failsClosed() throws {
        try NetworkNamespace.alone {
            try Self.queue("-p", "udp", to: 101)
            let server = try LabSocket(.udp, .v4)
            try server.bind(Self.loopback, 7)
            let client = try LabSocket(.udp, .v4)
            func hold() throws {
                var queues = try QueueSocket.open([Self.plain])
                client.send([1], to: Self.loopback, 7)
                try #require(try queues.receive(timeoutMilliseconds: 10_000) == 1)
            }
            try hold()
            client.send([2], to: Self.loopback, 7)
            server.makeNonblocking()
            Self.expect(server, nil)
        }
    }

    @Test("a segment batch comes whole, and requeued it comes as its segments", arguments: [AddressFamily.v4, .v6])
    func requeues(_ family: AddressFamily) throws {
        try TwoHosts.with { lab in
            let address = family == .v4 ? IPAddress(v4: 0xC612_0001) : IPAddress(v6: 0xFD00_0018_0000_0000, 1)
            try Self.queue("-p", "tcp", "-m", "length", "--length", "200:65535", to: 100)
            var queues = try QueueSocket.open([Self.gso, Self.plain])
            var verdicts = queues.makeVerdictBatch()
            let server = try lab.onServer {
                let socket = try LabSocket(.tcp, family)
                try socket.bind(address, 443, backlog: 1)
                return socket
            }
            let client = try LabSocket(.tcp, family)
            let status = client.connect(address, 443)
            #expect(status == 0)
            let connection = try server.accept()
            let sent = (0..<4000).map { UInt8(truncatingIfNeeded: $0) }
            let sentCount = client.send(sent)
            #expect(sentCount == 4000)
            try #require(try queues.receive(timeoutMilliseconds: 10_000) == 1)
            let batch = queues.packet(at: 0).facts
            #expect(batch.isGSO)
            #expect(batch.checksumNotReady)
            #expect(batch.queue == 100)
            #expect(batch.originalLength > 4000)
            verdicts.requeue(queue: 100, id: batch.id, to: 101)
            verdicts.flush()
            var segments = 0
            while segments < 3 {
                let count = try queues.receive(timeoutMilliseconds: 10_000)
                try #require(count > 0)
                for index in 0..<count {
                    let packet = queues.packet(at: index)
                    #expect(packet.facts.queue == 101)
                    #expect(!packet.facts.isGSO)
                    #expect(!packet.facts.checksumNotReady)
                    #expect(packet.payload.byteCount <= 1500)
                    // Our own copy of what was judged, not the kernel's bytes.
                    verdicts.accept(queue: 101, id: packet.facts.id, mark: nil, payload: packet.payload)
                    segments += 1
                }
                verdicts.flush()
            }
            var received: [UInt8] = []
            while received.count < 4000 {
                let more = connection.receive()
                received += try #require(more)
            }
            #expect(received == sent)
        }
    }

    @Test("a queue that is full drops, and the kernel's count of it is read")
    func overflow() throws {
        try NetworkNamespace.alone {
            try Self.queue("-p", "udp", to: 101)
            var queues = try QueueSocket.open([
                QueueParameters(number: 101, takesSegmentBatches: false, maximumLength: 2)
            ])
            let client = try LabSocket(.udp, .v4)
            for _ in 0..<5 { client.send([1], to: Self.loopback, 7) }
            #expect(try queues.receive(timeoutMilliseconds: 10_000) == 2)
            let statistics = try #require(QueueStatistics.read(queue: 101))
            #expect(statistics.length == 2)
            #expect(statistics.droppedAtQueue == 3)
        }
    }

    @Test("a receive buffer that overruns is counted, by us and by the kernel")
    func overrun() throws {
        try NetworkNamespace.alone {
            try Self.queue("-p", "udp", to: 101)
            var queues = try QueueSocket.open([Self.plain], receiveBufferBytes: 4096)
            let client = try LabSocket(.udp, .v4)
            for _ in 0..<64 { client.send([UInt8](repeating: 1, count: 1000), to: Self.loopback, 7) }
            var packets = 0
            for _ in 0..<64 { packets += try queues.receive(timeoutMilliseconds: 0) }
            #expect(queues.counters.overruns == 1)
            let statistics = try #require(QueueStatistics.read(queue: 101))
            #expect(statistics.droppedAtSocket == UInt64(64 - packets))
            #expect(packets < 64)
        }
    }

    @Test("names the program that owns a queue")
    func busy() throws {
        try NetworkNamespace.alone {
            let first = try QueueSocket.open([Self.plain])
            _ = first.fileDescriptor
            let error = try #require(throws: NetlinkError.self) {
                _ = try QueueSocket.open([Self.plain])
            }
            #expect(error.errorNumber == EBUSY)
            #expect(error.description.hasPrefix("queue 101: in use by "))
            #expect(error.description.hasSuffix("(stop that program, or choose another queues.base)"))
        }
    }

    @Test("receives, judges and answers without allocating")
    func allocatesNothing() throws {
        try NetworkNamespace.alone {
            try Self.queue("-p", "udp", to: 101)
            var queues = try QueueSocket.open([Self.plain])
            var verdicts = queues.makeVerdictBatch()
            let client = try LabSocket(.udp, .v4)
            func turn() throws -> Int {
                let count = try queues.receive(timeoutMilliseconds: 10_000)
                for index in 0..<count {
                    let packet = queues.packet(at: index)
                    verdicts.accept(queue: packet.facts.queue, id: packet.facts.id, mark: 1, payload: packet.payload)
                    verdicts.drop(queue: packet.facts.queue, id: packet.facts.id)
                }
                verdicts.flush()
                return count
            }
            for _ in 0..<64 { client.send([1], to: Self.loopback, 7) }
            #expect(try turn() == 64)
            for _ in 0..<64 { client.send([1], to: Self.loopback, 7) }
            let before = allocation_count()
            let late = try turn()
            let count = try turn()
            let after = allocation_count()
            #expect(late + count == 64)
            #expect(after - before == 0)
            #expect(queues.counters.lateVerdicts >= 64)
        }
    }

    private static func expect(
        _ socket: borrowing LabSocket, _ bytes: [UInt8]?, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let received = socket.receive()
        #expect(received == bytes, sourceLocation: sourceLocation)
    }

    private static func writeHeaderChecksum(_ bytes: inout [UInt8]) {
        bytes[10] = 0
        bytes[11] = 0
        var sum = 0
        for index in stride(from: 0, to: 20, by: 2) { sum += Int(bytes[index]) << 8 | Int(bytes[index + 1]) }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        bytes[10] = UInt8(~sum >> 8 & 0xFF)
        bytes[11] = UInt8(~sum & 0xFF)
    }
}
