public import Octets

/// Finds a ClientHello in the records of a client's TCP stream, however it is cut into segments and records.
///
/// A plain state of a few words. Hand `scan` the contiguous bytes from the scanner's beginning, again and longer each
/// time; a record is looked at once. On `.hello`, `ClientHelloScratch.message` gives the message's bytes.
///
/// Refused as malformed (RFC 8446 §5.1, and stricter where servers disagree): an empty record, one longer than 2^14, any
/// other record before or inside the ClientHello, handshake bytes behind it in its record, an SSLv2 hello.
public struct ClientHelloScanner: Hashable, Sendable, BitwiseCopyable {
    /// Which ClientHello is looked for.
    public enum Place: Hashable, Sendable, BitwiseCopyable {
        /// The stream's first message.
        case first
        /// What follows the first one: a second ClientHello answers a HelloRetryRequest (RFC 8446 §4.1.2). The scanner then
        /// begins behind the first one.
        case second(afterEarlyData: Bool)
    }

    /// How far the stream has got.
    public enum Progress: Hashable, Sendable {
        /// The bytes so far are the beginning of something that must be waited for.
        case needMore
        /// A whole ClientHello ends at `byteCount` from the scanner's beginning.
        case hello(byteCount: Int)
        /// Only where a second ClientHello was looked for: none comes, the handshake goes on without.
        case finished
    }

    private let isSecond: Bool
    private let skipsEarlyData: Bool
    private let maximumByteCount: UInt32
    /// Where the next unseen record begins.
    private var position: UInt32 = 0
    /// Where the first record of the ClientHello begins.
    private(set) var firstRecord: UInt32 = 0
    /// Handshake bytes in whole records so far.
    private(set) var handshakeByteCount: UInt32 = 0
    /// Bytes of the ClientHello with its header, once its prefix was read; 0 before.
    private var messageByteCount: UInt32 = 0
    private var earlyDataByteCount: UInt32 = 0
    /// Records skipped before the ClientHello.
    private var skippedRecords: UInt8 = 0
    /// Whether the handshake bytes lie in one record.
    private(set) var isInOneRecord = true

    /// A scanner at the beginning of a stream, or behind its first ClientHello. `maximumByteCount` bounds the stream bytes
    /// that a ClientHello may take.
    public init(_ place: Place = .first, maximumByteCount: Int = Limits.clientHelloBytes) {
        switch place {
        case .first: (isSecond, skipsEarlyData) = (false, false)
        case .second(let afterEarlyData): (isSecond, skipsEarlyData) = (true, afterEarlyData)
        }
        self.maximumByteCount = UInt32(clamping: maximumByteCount)
    }

    /// Where the message ends once `scan` has returned `.hello`.
    var end: Int { Int(position) }

    /// Where a second ClientHello is looked for: how many bytes, from the scanner's beginning, belong to records that are
    /// none and so may go on. May lie ahead of what is there. The scanner then begins behind them.
    public mutating func takeSkipped() -> Int {
        guard handshakeByteCount == 0 else { return 0 }
        let count = Int(position)
        position = 0
        firstRecord = 0
        return count
    }

    /// Looks at what is new in `stream`, which begins where the scanner began. Throws `.malformed` only.
    public mutating func scan(_ stream: RawSpan) throws(WireError) -> Progress {
        while true {
            let start = Int(position)
            guard start < stream.byteCount else { return .needMore }
            let type = stream.byte(at: start)
            if handshakeByteCount == 0 { firstRecord = position }
            guard type == TLSContentType.handshake else {
                guard isSecond else { throw refusal(of: type, at: start) }
                guard handshakeByteCount == 0 else {
                    // Within a ClientHello nobody takes application data: what looked like one was a Finished.
                    guard type == TLSContentType.applicationData, !skipsEarlyData else {
                        throw refusal(of: type, at: start)
                    }
                    return .finished
                }
                guard let progress = try skipRecord(type, stream, start) else { continue }
                return progress
            }
            guard let length = try recordLength(stream, start, maximum: 1 << 14) else { return .needMore }
            if messageByteCount == 0, try judgePrefix(stream, before: start + 5 + length) == .other { return .finished }
            guard messageByteCount == 0 || start + 5 + length - Int(firstRecord) <= Int(maximumByteCount) else {
                throw .malformed("ClientHello longer than allowed", offset: start)
            }
            guard start + 5 + length <= stream.byteCount else { return .needMore }
            if handshakeByteCount != 0 { isInOneRecord = false }
            handshakeByteCount += UInt32(length)
            position += UInt32(5 + length)
            guard messageByteCount > 0 else { continue }
            guard handshakeByteCount <= messageByteCount else {
                throw .malformed("handshake bytes behind the ClientHello", offset: start)
            }
            if handshakeByteCount == messageByteCount { return .hello(byteCount: Int(position)) }
        }
    }

    /// A record that is no handshake, before a second ClientHello: skipped (nil), or what it means.
    private mutating func skipRecord(_ type: UInt8, _ stream: RawSpan, _ start: Int) throws(WireError) -> Progress? {
        switch type {
        case TLSContentType.changeCipherSpec, TLSContentType.alert:
            let expected = type == TLSContentType.alert ? 2 : 1
            guard let length = try recordLength(stream, start, maximum: expected) else { return .needMore }
            guard length == expected else { throw .malformed("length of an alert or ChangeCipherSpec", offset: start) }
            guard start + 5 + length <= stream.byteCount else { return .needMore }
            guard type == TLSContentType.alert || stream.byte(at: start + 5) == 1 else {
                throw .malformed("ChangeCipherSpec other than 1", offset: start + 5)
            }
            skippedRecords += 1
            guard skippedRecords <= Limits.recordsBetweenHellos else {
                throw .malformed("records before a second ClientHello", offset: start)
            }
            position += UInt32(5 + length)
            return nil
        case TLSContentType.applicationData:
            // RFC 8446 §5.2: a ciphertext may exceed 2^14 by 256, TLS 1.2 allowed 2048.
            guard let length = try recordLength(stream, start, maximum: 1 << 14 + 2048) else { return .needMore }
            guard skipsEarlyData else { return .finished }
            // Data that the server may have accepted as well as skipped: behind this many bytes it was accepted.
            guard Int(earlyDataByteCount) + length <= Limits.earlyDataBytes else { return .finished }
            earlyDataByteCount += UInt32(length)
            position += UInt32(5 + length)
            return nil
        default:
            throw refusal(of: type, at: start)
        }
    }

    /// The length of the record at `start`; nil where its header is not whole yet.
    private func recordLength(_ stream: RawSpan, _ start: Int, maximum: Int) throws(WireError) -> Int? {
        if start + 1 < stream.byteCount, stream.byte(at: start + 1) != 3 {
            throw .malformed("TLS record version", offset: start + 1)
        }
        if start + 2 < stream.byteCount, stream.byte(at: start + 2) > 4 {
            throw .malformed("TLS record version", offset: start + 2)
        }
        guard start + 5 <= stream.byteCount else { return nil }
        let length = Int(stream.byte(at: start + 3)) << 8 | Int(stream.byte(at: start + 4))
        guard length > 0 else { throw .malformed("empty TLS record", offset: start + 3) }
        guard length <= maximum else { throw .malformed("TLS record too long", offset: start + 3) }
        return length
    }

    private enum Prefix {
        case unknown
        case clientHello
        case other
    }

    /// Reads the type, the length and the major version from the first five handshake bytes, wherever the records put them,
    /// and keeps the length once it is known. Looks no further than `end`, where the last record ends whose header was
    /// checked: what is judged must not depend on how much of the stream is there.
    ///
    /// Behind a first ClientHello an encrypted TLS 1.2 Finished is a handshake record too, and looks like a ClientHello by
    /// chance, once in some 20,000: what follows it tells. No server cares about the version that a second ClientHello claims,
    /// and one of OpenSSL's takes up to 131,396 bytes.
    private mutating func judgePrefix(_ stream: RawSpan, before end: Int) throws(WireError) -> Prefix {
        var offset = Int(firstRecord)
        var count = 0
        var messageLength: UInt32 = 0
        while count < Self.prefixByteCount, offset < end {
            let length = Int(stream.byte(at: offset + 3)) << 8 | Int(stream.byte(at: offset + 4))
            var index = offset + 5
            while count < Self.prefixByteCount, index < min(offset + 5 + length, stream.byteCount) {
                let byte = stream.byte(at: index)
                switch count {
                case 0 where byte != 1:
                    guard isSecond else { throw .malformed("handshake message other than ClientHello", offset: index) }
                    return .other
                case 1 where byte != 0:
                    guard isSecond else { throw .malformed("ClientHello longer than allowed", offset: index) }
                    guard byte <= 2 else { return .other }
                    messageLength = UInt32(byte) << 16
                case 2: messageLength |= UInt32(byte) << 8
                case 3:
                    messageLength |= UInt32(byte)
                    guard messageLength >= Self.minimumBodyByteCount else {
                        guard isSecond else { throw .malformed("ClientHello shorter than possible", offset: index) }
                        return .other
                    }
                case 4 where byte != 3 && !isSecond:
                    throw .malformed("ClientHello version", offset: index)
                default: break
                }
                count += 1
                index += 1
            }
            offset += 5 + length
        }
        guard count == Self.prefixByteCount else { return .unknown }
        messageByteCount = messageLength + 4
        return .clientHello
    }

    /// Version, random, an empty session id, one cipher suite and one compression method (RFC 5246 §7.4.1.2).
    private static let minimumBodyByteCount: UInt32 = 2 + 32 + 1 + 2 + 2 + 1 + 1

    /// Type, length and the version's high byte.
    private static let prefixByteCount = 5

    private func refusal(of type: UInt8, at offset: Int) -> WireError {
        switch type {
        case TLSContentType.alert: .malformed("alert before the end of the ClientHello", offset: offset)
        case TLSContentType.changeCipherSpec:
            .malformed("ChangeCipherSpec before the end of the ClientHello", offset: offset)
        case TLSContentType.applicationData:
            .malformed("application data before the end of the ClientHello", offset: offset)
        case 0x80...: .malformed("SSLv2 hello", offset: offset)
        default: .malformed("TLS record type", offset: offset)
        }
    }
}
