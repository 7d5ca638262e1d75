public import Octets
import PacketHeaders

/// The IP packets of a capture file, in their order.
public enum CapturedPackets {
    /// What a file says of a packet.
    public struct Facts: Sendable {
        /// Its number in the file, from 1; what is no IP counts too.
        public let number: Int
        /// When it was captured: nanoseconds since the Unix epoch, 0 where the file does not say.
        public let time: UInt64
        /// Whether the file holds its beginning only.
        public let isCut: Bool
    }

    /// Gives `body` each packet from its IP header on; what is no IP is left out. `progress` is told now and then at which byte
    /// the reading is. Throws where the file cannot be read on.
    public static func read(
        _ file: RawSpan, progress: (Int) -> Void = { _ in }, _ body: (RawSpan, Facts) -> Void
    ) throws(WireError) {
        var reader = try CaptureReader(file)
        var number = 0
        while let captured = try reader.next() {
            number += 1
            if number & 0xFFF == 0 { progress(captured.bytes.lowerBound) }
            let frame = file.extracting(captured.bytes)
            guard let offset = captured.link.networkOffset(in: frame), offset < frame.byteCount else { continue }
            body(
                frame.extracting(offset..<frame.byteCount),
                Facts(
                    number: number, time: captured.time, isCut: captured.originalByteCount > frame.byteCount))
        }
    }
}
