import Octets
import Testing

@testable import FlowInspection

@Suite("ApplicationDetector")
struct ApplicationDetectorTests {
    @Test(
        "says the same of a server's greeting wherever it is cut",
        arguments: [
            "SSH-2.0-x\r\n", "first\r\nSSH-2.0-x\r\nmore", "SSH-2.0-\u{FF}\r\n", "SSH-2.0-x\r\n\u{FF}",
            "\u{FF}\r\nSSH-2.0-x\r\n",
            "220 ready\r\n", "* OK\r\n", "+OK\r\n", "hello\r\n", "S\u{1}H-2.0\r\n", "2\u{FF}",
        ])
    func cuts(text: String) {
        // One byte a character: 0xFF is no text.
        let bytes = text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
        let whole = ApplicationDetector.detectServer(bytes.span.bytes)
        var first = ApplicationDetector.Greeting.needMore
        for end in 1...bytes.count where first == .needMore {
            first = ApplicationDetector.detectServer(bytes.span.bytes.extracting(0..<end))
        }
        #expect(first == whole)
    }
}
