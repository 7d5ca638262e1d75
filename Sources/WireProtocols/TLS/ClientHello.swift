public import Octets

/// What a ClientHello says (RFC 8446 §4.1.2): offsets into the message, nothing copied. Every accessor takes the bytes that
/// it was parsed from.
///
///     struct {
///         ProtocolVersion legacy_version;
///         Random random;
///         opaque legacy_session_id<0..32>;
///         CipherSuite cipher_suites<2..2^16-2>;
///         opaque legacy_compression_methods<1..2^8-1>;
///         Extension extensions<8..2^16-1>;
///     } ClientHello;
///
/// Strict: every length inside another is exact, an extension type occurs once, server_name holds one name, and nothing
/// trails. The name's own rules are `HostName`'s.
public struct ClientHello: Hashable, Sendable, BitwiseCopyable {
    /// `legacy_version`.
    public let legacyVersion: TLSVersion
    /// The cipher suites, two bytes each.
    public let cipherSuites: ByteRange
    /// All extensions, behind their common length; empty where there are none.
    public let extensions: ByteRange
    /// The host name of server_name as it is on the wire; nil without the extension.
    public private(set) var serverName: ByteRange?
    /// The list of application_layer_protocol_negotiation behind its length; nil without the extension.
    public private(set) var applicationProtocols: ByteRange?
    /// The list of supported_versions; nil without the extension.
    public private(set) var supportedVersions: ByteRange?
    /// The list of signature_algorithms; nil without the extension.
    public private(set) var signatureAlgorithms: ByteRange?
    /// Whether encrypted_client_hello is there, be it GREASE or not.
    public private(set) var hasEncryptedClientHello = false
    /// Whether encrypted_server_name of the older drafts is there.
    public private(set) var hasEncryptedServerName = false
    /// Whether early_data is offered: application data may then come before the server has spoken.
    public private(set) var offersEarlyData = false

    /// Reads a whole handshake message, from its type on. Throws `.truncated` where the span ends before the message's
    /// declared end, else `.malformed`.
    public init(parsing message: RawSpan) throws(WireError) {
        var outer = ByteReader(message)
        guard try outer.readUInt8() == 1 else {
            throw .malformed("handshake message other than ClientHello", offset: 0)
        }
        let length = try outer.readUInt24()
        var body = try outer.readSlice(length)
        try outer.expectEnd("handshake bytes behind the ClientHello")
        do throws(WireError) {
            legacyVersion = TLSVersion(rawValue: try body.readUInt16())
            guard legacyVersion.rawValue >> 8 == 3 else { throw .malformed("ClientHello version", offset: 4) }
            try body.skip(32)
            let sessionByteCount = Int(try body.readUInt8())
            guard sessionByteCount <= 32 else { throw body.malformed("session id longer than 32 bytes") }
            try body.skip(sessionByteCount)
            let suites = try body.readVector(UInt16.self, minimum: 2)
            guard suites.byteCount % 2 == 0 else { throw body.malformed("odd length of cipher suites") }
            cipherSuites = suites
            _ = try body.readVector(UInt8.self, minimum: 1)
            guard !body.isAtEnd else {
                extensions = ByteRange(body.offset..<body.offset)
                return
            }
            extensions = try body.readVector(UInt16.self, minimum: 0)
            try body.expectEnd("bytes behind the extensions")
        } catch {
            throw body.sealed(error, "field longer than the ClientHello")
        }
        try readExtensions(message)
    }

    private mutating func readExtensions(_ message: RawSpan) throws(WireError) {
        var reader = ByteReader(message.extracting(extensions), base: extensions.lowerBound)
        var seen = SeenExtensions()
        do throws(WireError) {
            while !reader.isAtEnd {
                let start = reader.offset
                let type = try reader.readUInt16()
                try seen.insert(type, at: start)
                let length = Int(try reader.readUInt16())
                var content = try reader.readSlice(length)
                do throws(WireError) {
                    try read(type, &content)
                } catch {
                    throw content.sealed(error, "field longer than its extension")
                }
            }
        } catch {
            throw reader.sealed(error, "extension longer than the ClientHello")
        }
    }

    private mutating func read(_ type: UInt16, _ content: inout ByteReader) throws(WireError) {
        switch type {
        case TLSExtensionType.serverName:
            serverName = try Self.readServerName(&content)
        case TLSExtensionType.applicationLayerProtocolNegotiation:
            let list = try content.readVector(UInt16.self, minimum: 2)
            try content.expectEnd("bytes behind the ALPN list")
            try Self.checkNames(content.bytes, behind: content.offset - list.byteCount, list)
            applicationProtocols = list
        case TLSExtensionType.supportedVersions:
            let list = try content.readVector(UInt8.self, minimum: 2)
            try content.expectEnd("bytes behind the supported versions")
            guard list.byteCount % 2 == 0 else { throw content.malformed("odd length of supported versions") }
            supportedVersions = list
        case TLSExtensionType.signatureAlgorithms:
            let list = try content.readVector(UInt16.self, minimum: 2)
            try content.expectEnd("bytes behind the signature algorithms")
            guard list.byteCount % 2 == 0 else { throw content.malformed("odd length of signature algorithms") }
            signatureAlgorithms = list
        case TLSExtensionType.encryptedClientHello: hasEncryptedClientHello = true
        case TLSExtensionType.encryptedServerName: hasEncryptedServerName = true
        case TLSExtensionType.earlyData: offersEarlyData = true
        default: break
        }
    }

    /// RFC 6066 §3: a list of one entry, a host name.
    private static func readServerName(_ content: inout ByteReader) throws(WireError) -> ByteRange {
        let listByteCount = Int(try content.readUInt16())
        var list = try content.readSlice(listByteCount)
        try content.expectEnd("bytes behind the server name list")
        do throws(WireError) {
            guard try list.readUInt8() == 0 else { throw list.malformed("server name of an unknown type") }
            let name = try list.readVector(UInt16.self, minimum: 1)
            try list.expectEnd("more than one server name")
            return name
        } catch {
            throw list.sealed(error, "server name longer than its list")
        }
    }

    /// RFC 7301 §3.1: names of 1...255 bytes that fill the list.
    private static func checkNames(_ content: RawSpan, behind start: Int, _ list: ByteRange) throws(WireError) {
        var names = ByteReader(
            content.extracting(content.byteCount - list.byteCount..<content.byteCount), base: start)
        do throws(WireError) {
            while !names.isAtEnd { _ = try names.readVector(UInt8.self, minimum: 1) }
        } catch {
            throw names.sealed(error, "ALPN name longer than its list")
        }
    }
}

/// The extension types of one ClientHello so far: a bit for each of the registered low ones, a short list for the rest.
private struct SeenExtensions {
    private var low: UInt64 = 0
    private var others = InlineArray<128, UInt16>(repeating: 0)
    private var otherCount = 0
    private var count = 0

    mutating func insert(_ type: UInt16, at offset: Int) throws(WireError) {
        count += 1
        guard count <= Limits.extensions else { throw .malformed("more than 128 extensions", offset: offset) }
        if type < 64 {
            guard low & 1 << UInt64(type) == 0 else { throw .malformed("extension occurs twice", offset: offset) }
            low |= 1 << UInt64(type)
            return
        }
        for index in 0..<otherCount where others[index] == type {
            throw .malformed("extension occurs twice", offset: offset)
        }
        others[otherCount] = type
        otherCount += 1
    }
}

extension ByteReader {
    /// A TLS vector (RFC 8446 §3.4) whose length has the width of `Length`: where its content lies, the cursor behind it.
    @_lifetime(self: copy self)
    mutating func readVector<Length: FixedWidthInteger>(_: Length.Type, minimum: Int) throws(WireError) -> ByteRange {
        let byteCount = Length.bitWidth == 8 ? Int(try readUInt8()) : Int(try readUInt16())
        guard byteCount >= minimum else { throw malformed("vector shorter than allowed") }
        let start = offset
        try skip(byteCount)
        return ByteRange(start..<start + byteCount)
    }
}
