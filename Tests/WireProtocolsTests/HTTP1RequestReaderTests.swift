import Octets
import Testing

@testable import WireProtocols

@Suite struct HTTP1RequestReaderTests {
    /// Every request of a stream as `METHOD authority path`, and how the stream ends.
    static func read(_ stream: [UInt8]) throws(WireError) -> [String] {
        var reader = HTTP1RequestReader()
        var result: [String] = []
        var position = 0
        while true {
            let rest = stream.span.bytes.extracting(position..<stream.count)
            switch try reader.next(rest) {
            case .needMore: return reader.isIdle ? result : result + ["..."]
            case .head(let head):
                result.append(
                    "\(head.method(in: rest)) \(head.authority(in: rest)?.description ?? "-") \(head.path(in: rest))")
                position += head.byteCount
            case .body(let byteCount, _): position += byteCount
            case .tunnel: return result + ["tunnel"]
            }
        }
    }

    static func read(_ text: String) throws(WireError) -> [String] { try read(Array(text.utf8)) }

    @Test("reads pipelined requests with their bodies")
    func pipelined() throws {
        let text = """
            POST /a?b=c HTTP/1.1\r\nHost: One.example.:8080\r\nContent-Length: 3\r\n\r\nabc\
            POST /d HTTP/1.1\r\nhost:\ttwo.example\t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            GET http://three.example HTTP/1.1\r\nHost: three.example:80\r\n\r\n
            """
        #expect(try Self.read(text) == ["POST one.example:8080 /a", "POST two.example /d", "GET three.example /"])
    }
}
