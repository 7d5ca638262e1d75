import Octets
import PacketHeaders
import Testing

@testable import FlowInspection

@Suite struct CaptureInspectorTests {
    typealias Segment = CaptureBuilder.Segment

    static let hello = Conversation.hello("real.example")
    static let fake = Conversation.hello("fake.example")

    /// The reports of a connection whose client's segments are written by `body`.
    static func connection(timestamp: UInt32? = nil, _ body: (inout CaptureBuilder) -> Void) -> [FlowReport] {
        var capture = CaptureBuilder()
        capture.shakeHands(timestamp: timestamp)
        body(&capture)
        return capture.reports
    }

    @Test("segments out of order, repeated and across the end of numbers come to the same")
    func order() {
        let first = Array(Self.hello[..<40])
        let second = Array(Self.hello[40..<70])
        let third = Array(Self.hello[70...])
        let reports = Self.connection {
            $0.add(Segment(sequence: 1071), third)
            $0.add(Segment(sequence: 1041), second)
            $0.add(Segment(sequence: 1041), second)
            $0.add(Segment(sequence: 1001), first)
        }
        #expect(reports.map(\.hosts) == [["real.example"]])
        var wrapped = CaptureBuilder()
        wrapped.add(Segment(flags: .syn, sequence: .max - 20))
        wrapped.add(Segment(sequence: .max - 19), first)
        wrapped.add(Segment(sequence: 20), second + third)
        #expect(wrapped.reports.map(\.hosts) == [["real.example"]])
    }

    @Test("what no receiver takes is left out")
    func ignored() {
        let cases: [[(inout CaptureBuilder) -> Void]] = [
            [{ $0.add(Segment(sequence: 1001, hasWrongChecksum: true), Self.fake) }],
            [{ $0.add(Segment(flags: .psh, sequence: 1001), Self.fake) }],
            [{ $0.add(Segment(flags: [], sequence: 1001), Self.fake) }],
            [{ $0.add(Segment(flags: [.syn, .ack], sequence: 1001), Self.fake) }],
            [{ $0.add(Segment(flags: .syn, sequence: 9000), Self.fake) }],
            [{ $0.add(Segment(flags: [.rst, .ack], sequence: 1001)) }],
            [{ $0.add(Segment(sequence: 501), [UInt8](repeating: 9, count: 500)) }],
        ]
        for (index, steps) in cases.enumerated() {
            let reports = Self.connection { capture in
                for step in steps { step(&capture) }
                capture.add(Segment(sequence: 1001), Self.hello)
            }
            #expect(reports.map(\.hosts) == [["real.example"]], "case \(index)")
            #expect(reports.map(\.error) == [nil], "case \(index)")
        }
    }

    @Test("old timestamps are dropped, as PAWS does")
    func timestamps() {
        let reports = Self.connection(timestamp: 1000) {
            $0.add(Segment(sequence: 1001, timestamp: 10), Self.fake)
            $0.add(Segment(sequence: 1001, timestamp: 1001), Self.hello)
        }
        #expect(reports.map(\.hosts) == [["real.example"]])
    }

    @Test("bytes that differ, and urgent data, end the flow")
    func refused() {
        let conflict = Self.connection {
            $0.add(Segment(sequence: 1011), Array(Self.fake[10...]))
            $0.add(Segment(sequence: 1001), Self.hello)
        }
        #expect(conflict.map(\.error) == ["a byte came twice with different values"])
        #expect(conflict.map(\.hosts) == [[]])
        let judged = Self.connection {
            $0.add(Segment(sequence: 1001), Self.hello)
            $0.add(Segment(sequence: 1001), Self.fake)
        }
        #expect(judged.map(\.error) == ["a byte came twice with different values"])
        let urgent = Self.connection { $0.add(Segment(flags: [.ack, .urg], sequence: 1001), Self.hello) }
        #expect(urgent.first?.error == "urgent data, which servers read in different ways")
    }

    @Test("a capture whose card makes the checksums is read all the same")
    func offload() {
        let segments = Self.connection { $0.add(Segment(sequence: 1001, hasWrongChecksum: true), Self.hello) }
        #expect(segments.map(\.hosts) == [["real.example"]])
        var all = CaptureBuilder()
        all.add(Segment(flags: .syn, sequence: 1000, hasWrongChecksum: true))
        all.add(Segment(sequence: 1001, hasWrongChecksum: true), Self.hello)
        #expect(all.reports.map(\.hosts) == [["real.example"]])
    }

    @Test("one five-tuple used again is another flow, once its SYN is answered")
    func reuse() {
        let reports = Self.connection {
            $0.add(Segment(sequence: 1001), Self.hello)
            $0.add(Segment(flags: .syn, sequence: 70_000))
            $0.add(Segment(flags: [.syn, .ack], isFromClient: false, sequence: 9000, acknowledgment: 70_001))
            $0.add(Segment(sequence: 70_001), Conversation.hello("second.example"))
        }
        #expect(reports.map(\.hosts) == [["real.example"], ["second.example"]])
        #expect(reports.map(\.firstPacket) == [1, 4])
        let unanswered = Self.connection {
            $0.add(Segment(sequence: 1001), Array(Self.hello[..<50]))
            $0.add(Segment(flags: .syn, sequence: 70_000))
            $0.add(Segment(sequence: 1051), Array(Self.hello[50...]))
        }
        #expect(unanswered.map(\.hosts) == [["real.example"]])
    }

    @Test("without a SYN the bytes tell who is the client")
    func roles() {
        var capture = CaptureBuilder()
        capture.add(Segment(isFromClient: false, sequence: 1), Conversation.ascii("HTTP/1.1 200 OK\r\n\r\n"))
        capture.add(Segment(sequence: 500), Conversation.get("late.example"))
        #expect(capture.reports.map(\.hosts) == [["late.example"]])
        #expect(capture.reports.first?.flow.sourcePort == 40_000)
    }

    @Test("DNS questions are the client's; an answer alone tells them too")
    func dns() {
        let query = Array(Conversation.query[2...])
        let answer = Array(Conversation.answer[2...])
        var both = CaptureBuilder()
        both.add(packet: CaptureBuilder.datagram(query))
        both.add(packet: CaptureBuilder.datagram(answer, isFromClient: false))
        #expect(both.reports.map(\.hosts) == [["a.b"]])
        var alone = CaptureBuilder()
        alone.add(packet: CaptureBuilder.datagram(answer, isFromClient: false))
        #expect(alone.reports.map(\.hosts) == [["a.b"]])
        #expect(alone.reports.first?.flow.destinationPort == 53)
        var multicast = CaptureBuilder()
        multicast.add(packet: CaptureBuilder.datagram(query, port: 5353))
        #expect(multicast.reports.map(\.hosts) == [[]])
        #expect(multicast.reports.map(\.application) == [.mdns])
    }

    @Test("fragments are put together, in any order; those that overlap are not")
    func fragments() {
        let whole = CaptureBuilder.datagram(Array(Conversation.query[2...]))
        let content = Array(whole[20...])
        func piece(_ range: Range<Int>, more: Bool) -> [UInt8] {
            CaptureBuilder.packet(
                17, Array(content[range]), fragment: UInt16(range.lowerBound / 8) | (more ? 0x2000 : 0))
        }
        for pieces in [
            [piece(0..<16, more: true), piece(16..<content.count, more: false)],
            [piece(16..<content.count, more: false), piece(0..<16, more: true)],
        ] {
            var capture = CaptureBuilder()
            for packet in pieces { capture.add(packet: packet) }
            #expect(capture.reports.map(\.hosts) == [["a.b"]])
        }
        var overlapping = CaptureBuilder()
        overlapping.add(packet: piece(0..<16, more: true))
        overlapping.add(packet: piece(8..<content.count, more: false))
        overlapping.add(packet: piece(16..<content.count, more: false))
        #expect(overlapping.reports.map(\.hosts).joined().isEmpty)
    }

    @Test("a packet that the capture cut tells what is there; one that lies about its length is refused")
    func cut() {
        let packet = CaptureBuilder.datagram(Array(Conversation.query[2...]) + [0, 0, 0])
        let beginning = Array(packet.dropLast(3))
        var capture = CaptureBuilder()
        capture.add(packet: beginning, originalByteCount: packet.count)
        #expect(capture.reports.map(\.hosts) == [["a.b"]])
        #expect(capture.reports.map(\.error) == [nil])
        var lying = CaptureBuilder()
        lying.add(packet: beginning)
        #expect(lying.reports.map(\.error) == ["IP length beyond the packet's end"])
    }

    @Test("reports are JSON whose keys stand in their order")
    func json() {
        let report = Self.connection { $0.add(Segment(sequence: 1001), Self.hello) }.first
        #expect(
            report?.json == """
                {"proto":"tcp","src":"198.18.0.2","sport":40000,"dst":"198.18.0.1","dport":443,"app":"tls",\
                "hosts":["real.example"],"alpn":[],"ech":false,"ja4":"t13d010200_0f2cb44170f4_b9a491fefe05",\
                "requests":[],"questions":[],"answers":[],"error":null,"first_packet":1,"tls_version":"1.3"}
                """)
    }

    @Test("a file that ends within a packet gives the flows before it")
    func truncated() {
        var capture = CaptureBuilder()
        capture.shakeHands()
        capture.add(Segment(sequence: 1001), Self.hello)
        let file = capture.file + [1, 2, 3]
        var inspector = CaptureInspector()
        inspector.read(file.span.bytes)
        #expect(inspector.fileError != nil)
        #expect(inspector.reports.map(\.hosts) == [["real.example"]])
    }
}
