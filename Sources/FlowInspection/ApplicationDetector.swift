import Octets
import WireProtocols

/// Recognises a protocol by the first bytes of a stream.
enum ApplicationDetector {
    enum Detection: Hashable {
        case found(ApplicationProtocol)
        case unknown
        case needMore
    }

    /// What a client's first bytes are, where the server has said nothing that tells.
    ///
    /// The candidates are asked in a fixed order, and while one of them cannot tell yet the later ones wait: so the answer does
    /// not depend on how the bytes were cut.
    static func detectClient(_ bytes: RawSpan) -> Detection {
        guard bytes.byteCount > 0 else { return .needMore }
        switch ProtocolDetector.detect(bytes) {
        case .tls: return .found(.tls)
        case .http1: return .found(.http)
        case .http2: return .found(.h2c)
        case .needMore: return .needMore
        case .unknown: break
        }
        for (application, match) in [
            (ApplicationProtocol.ssh, isSSH(bytes)), (.postgres, PostgreSQLClientReader.matches(bytes)),
            (.socks, SOCKSClientReader.matches(bytes)), (.ldap, LDAPClientReader.matches(bytes)),
            (.smtp, beginsWith(bytes, ["ehlo ", "helo ", "lhlo "])), (.mysql, MySQLClientReader.matches(bytes)),
            (.imap, isIMAP(bytes)),
        ] {
            guard let match else { return .needMore }
            if match { return .found(application) }
        }
        let known = KnownBeginning.recognise(bytes)
        switch known.found {
        case .redis: return .found(.redis)
        case .mongodb: return .found(.mongodb)
        case .mqtt: return .found(.mqtt)
        case .bittorrent: return .found(.bittorrent)
        case nil: if known.mayBecome { return .needMore }
        }
        // Last, since it has the fewest fixed bits.
        guard let isDNS = DNSStreamReader.matches(bytes) else { return .needMore }
        return isDNS ? .found(.dns) : .unknown
    }

    /// What a server says before its client does.
    enum Greeting: Hashable {
        case ssh(SSHIdentification)
        case mysql(version: String)
        /// `220`: SMTP or FTP.
        case ready
        case imap
        case pop3
        case other
        case needMore
    }

    /// What a server's first bytes are; of text no more than a greeting's worth is looked at.
    static func detectServer(_ bytes: RawSpan) -> Greeting {
        guard bytes.byteCount > 0 else { return .needMore }
        guard let version = MySQLClientReader.greeting(bytes) else { return .needMore }
        if !version.isEmpty { return .mysql(version: version) }
        for (text, greeting) in [("220", Greeting.ready), ("* ok", .imap), ("* preauth", .imap), ("+ok", .pop3)] {
            guard let match = beginsWith(bytes, [text]) else { return .needMore }
            if match { return greeting }
        }
        // Lines may come before an SSH identification.
        let beginning = bytes.extracting(0..<min(bytes.byteCount, greetingByteCount))
        // A byte that is no text ends the matter wherever the bytes are cut: also within a line that is whole by now.
        let textEnd = (0..<beginning.byteCount).first { !(0x09..<0x7F).contains(beginning.byte(at: $0)) }
        if let identification = try? SSHIdentification.read(beginning, isServer: true),
            identification.byteCount <= textEnd ?? beginning.byteCount
        {
            return .ssh(identification)
        }
        return textEnd == nil && bytes.byteCount < greetingByteCount ? .needMore : .other
    }

    /// Whether a server's first bytes are an HTTP/1 answer (RFC 9112 §4); nil where more are needed.
    static func isAnswer(_ bytes: RawSpan) -> Bool? { beginsWith(bytes, ["http/"]) }

    /// Whether a server's first bytes are a greeting or an error of a protocol that is no HTTP; nil where more are needed.
    static func isAnswerOfAnother(_ bytes: RawSpan) -> Bool? {
        guard bytes.byteCount >= 6 else { return nil }
        if isAnswer(bytes) == true { return false }
        // PostgreSQL's ErrorResponse: its length, then the severity; before version 3 a text.
        if bytes.byte(at: 0) == UInt8(ascii: "E") {
            if bytes.byte(at: 1) == 0, bytes.byte(at: 2) == 0, bytes.byte(at: 5) == UInt8(ascii: "S") { return true }
            if beginsWith(bytes, ["efatal:", "einvalid length of startup packet", "eunsupported frontend protocol"])
                == true
            {
                return true
            }
        }
        return switch detectServer(bytes) {
        case .ssh, .mysql, .ready, .imap, .pop3: true
        case .other: false
        case .needMore: bytes.byteCount < greetingByteCount ? nil : false
        }
    }

    /// Bytes by which a greeting shows what it is.
    private static let greetingByteCount = 4096

    /// What the client of a server that said `220` speaks.
    static func detectReadyClient(_ bytes: RawSpan) -> Detection {
        guard bytes.byteCount >= 4 else { return .needMore }
        if beginsWith(bytes, ["ehlo", "helo", "lhlo", "mail", "rcpt", "starttls", "noop", "quit", "rset", "help"])
            == true
        {
            return .found(.smtp)
        }
        return beginsWith(bytes, ["user", "auth", "feat", "opts", "syst", "host", "clnt", "pbsz", "prot"]) == true
            ? .found(.ftp) : .unknown
    }

    private static func isSSH(_ bytes: RawSpan) -> Bool? { beginsWith(bytes, ["ssh-"]) }

    /// A tag, and a command that comes before authentication (RFC 9051 §6.1, §6.2).
    private static func isIMAP(_ bytes: RawSpan) -> Bool? {
        var end = 0
        while end < min(bytes.byteCount, 16), bytes.byte(at: end) != 0x20 {
            let byte = bytes.byte(at: end)
            guard (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF) || byte == 0x2E else {
                return false
            }
            end += 1
        }
        guard end < bytes.byteCount else { return end < 16 ? nil : false }
        guard end > 0 else { return false }
        return beginsWith(
            bytes.extracting(end + 1..<bytes.byteCount),
            ["capability\r\n", "starttls\r\n", "login ", "authenticate ", "id ("])
    }

    /// Whether `bytes` begin with one of the texts, in any case; nil where they may yet.
    private static func beginsWith(_ bytes: RawSpan, _ texts: [String]) -> Bool? {
        var mayBecome = false
        for text in texts {
            var index = 0
            for byte in text.utf8 {
                guard index < bytes.byteCount else { break }
                let other = bytes.byte(at: index)
                guard ((0x41...0x5A).contains(other) ? other | 0x20 : other) == byte else { break }
                index += 1
            }
            if index == text.utf8.count { return true }
            if index == bytes.byteCount { mayBecome = true }
        }
        return mayBecome ? nil : false
    }
}
