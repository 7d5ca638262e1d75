public import Octets

/// The text protocols that turn to TLS by a command (RFC 3207, RFC 9051 §6.2.1, RFC 2595 §4, RFC 4217).
public enum LineProtocol: UInt8, Hashable, Sendable, BitwiseCopyable {
    /// `STARTTLS`.
    case smtp
    /// `tag STARTTLS`.
    case imap
    /// `STLS`.
    case pop3
    /// `AUTH TLS`.
    case ftp
}

/// Reads a client's command lines until TLS begins or can no longer begin.
///
/// A plain state. Which side is asked matters: the line that asks for TLS is followed by TLS only if the server agrees, and
/// the client's next byte shows that it did.
public struct LineProtocolReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed.
        case needMore
        /// A command of `byteCount` bytes with its line's end.
        case command(byteCount: Int)
        /// A TLS record: what follows is a ClientHello.
        case tls
        /// Content of a message or another thing that is no command: nothing that follows is read.
        case finished
    }

    /// The protocol.
    public let kind: LineProtocol
    private var isTLSNext = false
    private var commandCount: UInt16 = 0

    /// A reader of a client's stream.
    public init(_ kind: LineProtocol) {
        self.kind = kind
    }

    /// Reads on. Throws `.malformed` only.
    public mutating func next(_ bytes: RawSpan) throws(WireError) -> Event {
        guard bytes.byteCount > 0 else { return .needMore }
        if isTLSNext, bytes.byte(at: 0) == TLSContentType.handshake { return .tls }
        guard commandCount < Limits.commandsBeforeTLS else { return .finished }
        var end = 0
        while end < bytes.byteCount, bytes.byte(at: end) != 0x0A {
            guard end < Limits.commandBytes else { throw .malformed("command line too long", offset: 0) }
            guard bytes.byte(at: end) != 0 else { throw .malformed("NUL in a command line", offset: end) }
            end += 1
        }
        guard end < bytes.byteCount else { return .needMore }
        commandCount += 1
        let hasReturn = end > 0 && bytes.byte(at: end - 1) == 0x0D
        let words = Words(bytes.extracting(0..<(hasReturn ? end - 1 : end)))
        isTLSNext = asksForTLS(words)
        guard hasReturn || !isTLSNext else { throw .malformed("bare LF behind a command", offset: end) }
        if endsCommands(words) { commandCount = Limits.commandsBeforeTLS }
        return .command(byteCount: end + 1)
    }

    private func asksForTLS(_ words: Words) -> Bool {
        switch kind {
        case .smtp: words.count == 1 && words.equals(0, "starttls")
        case .imap: words.count == 2 && words.equals(1, "starttls")
        case .pop3: words.count == 1 && words.equals(0, "stls")
        case .ftp: words.count == 2 && words.equals(0, "auth") && (words.equals(1, "tls") || words.equals(1, "ssl"))
        }
    }

    /// Whether what follows may be no command.
    private func endsCommands(_ words: Words) -> Bool {
        switch kind {
        case .smtp: words.equals(0, "data") || words.equals(0, "bdat")
        case .imap: words.equals(1, "append") || words.equals(1, "idle") || words.endsInLiteral
        case .pop3, .ftp: false
        }
    }

    /// The words of a line, of which the first three are looked at.
    private struct Words: ~Escapable {
        let line: RawSpan
        private var ranges: InlineArray<3, ByteRange> = .init(repeating: ByteRange())
        private(set) var count = 0

        @_lifetime(copy line)
        init(_ line: RawSpan) {
            self.line = line
            var start = 0
            for index in 0...line.byteCount where index == line.byteCount || line.byte(at: index) == 0x20 {
                if index > start {
                    if count < 3 { ranges[count] = ByteRange(start..<index) }
                    count += 1
                }
                start = index + 1
            }
        }

        func equals(_ index: Int, _ text: StaticString) -> Bool {
            index < count && line.extracting(ranges[index]).equalsIgnoringCase(text)
        }

        /// `{123}` or `{123+}` at the end (RFC 9051 §4.3).
        var endsInLiteral: Bool { line.byteCount > 0 && line.byte(at: line.byteCount - 1) == UInt8(ascii: "}") }
    }
}
