import Testing

@testable import WireProtocols

extension RefusalMessageTests {
    /// Frames of HTTP/2 (RFC 9113 §4.1); nil where the bytes are no whole frames.
    static func frames(_ bytes: [UInt8]) -> [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])]? {
        var rest = bytes[...]
        var frames: [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] = []
        while !rest.isEmpty {
            guard rest.count >= 9 else { return nil }
            let header = Array(rest.prefix(9))
            let length = header[..<3].reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(9)
            guard rest.count >= length else { return nil }
            frames.append(
                (header[3], header[4], header[5...].reduce(0) { $0 << 8 | UInt32($1) }, Array(rest.prefix(length))))
            rest = rest.dropFirst(length)
        }
        return frames
    }

    @Test("HTTP/2: SETTINGS, the response on its stream, which it ends, and GOAWAY", arguments: hostile + [text])
    func http2(text: RefusalText) throws {
        let body = try #require(Self.httpParts(RefusalMessage.http(text, isHead: false))).body
        for isHead in [false, true] {
            let said = RefusalMessage.http2(text, stream: 0x0102_0305, isHead: isHead)
            let frames = try #require(Self.frames(said))
            #expect(frames.map(\.type) == (isHead ? [4, 1, 7] : [4, 1, 0, 7]))
            // END_HEADERS is 4, END_STREAM 1.
            #expect(frames.map(\.flags) == (isHead ? [0, 5, 0] : [0, 4, 1, 0]))
            #expect(frames.map(\.stream) == (isHead ? [0, 0x0102_0305, 0] : [0, 0x0102_0305, 0x0102_0305, 0]))
            #expect(frames[0].payload.isEmpty)
            // RFC 7541 §6.2.2: :status, content-length and content-type by their places in the static table.
            let length = "\(body.utf8.count)"
            #expect(
                frames[1].payload == [8, 3] + Array("403".utf8) + [15, 13, UInt8(length.utf8.count)]
                    + Array(length.utf8) + [15, 16, 24] + Array("application/problem+json".utf8))
            if !isHead { #expect(frames[2].payload == Array(body.utf8)) }
            #expect(frames.last?.payload == [1, 2, 3, 5, 0, 0, 0, 0])
        }
    }
}
