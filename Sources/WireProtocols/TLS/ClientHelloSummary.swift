public import Octets
import PacketHeaders

extension ClientHello {
    /// The host in server_name, normalised; nil without the extension. RFC 6066 §3 allows names only, but clients do send
    /// addresses, and an address is no name that policy could mistake. Throws `.malformed` for what is neither.
    public func host(in message: RawSpan) throws(WireError) -> Host? {
        guard let serverName else { return nil }
        let bytes = message.extracting(serverName)
        do {
            return .name(try HostName(validating: bytes))
        } catch .addressLiteral {
            guard let address = IPAddress(bytes.text) else {
                throw .malformed("number that may be read as an address", offset: serverName.lowerBound)
            }
            return .address(address)
        } catch {
            throw .malformed(error.reason, offset: serverName.lowerBound)
        }
    }

    /// The highest version offered, GREASE left out: of supported_versions where it is there, else `legacyVersion`.
    public func highestVersion(in message: RawSpan) -> TLSVersion {
        guard let supportedVersions else { return legacyVersion }
        var highest: UInt16 = 0
        for index in stride(from: supportedVersions.lowerBound, to: supportedVersions.upperBound, by: 2) {
            let version = message.uint16(at: index)
            // Drafts of TLS 1.3 have numbers of their own (0x7F..) that are above every final one.
            if !version.isGREASE, version <= TLSVersion.tls13.rawValue, version > highest { highest = version }
        }
        return TLSVersion(rawValue: highest == 0 ? legacyVersion.rawValue : highest)
    }

    /// The ALPN names in their order, GREASE included; nil without the extension.
    public func applicationProtocolNames(in message: RawSpan) -> [String]? {
        guard let applicationProtocols else { return nil }
        var names: [String] = []
        var offset = applicationProtocols.lowerBound
        while offset < applicationProtocols.upperBound {
            let length = Int(message.byte(at: offset))
            names.append(message.extracting(offset + 1..<offset + 1 + length).text)
            offset += 1 + length
        }
        return names
    }

    /// The extension types in their order, GREASE included.
    public func extensionTypes(in message: RawSpan) -> [UInt16] {
        var types: [UInt16] = []
        types.reserveCapacity(24)
        var offset = extensions.lowerBound
        while offset < extensions.upperBound {
            types.append(message.uint16(at: offset))
            offset += 4 + Int(message.uint16(at: offset + 2))
        }
        return types
    }
}

/// The facts of one ClientHello as text, for policy and records.
public struct ClientHelloSummary: Hashable, Sendable {
    /// The host of server_name; nil without the extension.
    public let host: Host?
    /// The highest version offered.
    public let version: TLSVersion
    /// The ALPN names offered, in order; nil without the extension.
    public let applicationProtocols: [String]?
    /// Whether encrypted_client_hello is there, GREASE included, or the encrypted_server_name of older drafts.
    public let hasEncryptedClientHello: Bool
    /// Whether early_data is offered.
    public let offersEarlyData: Bool
    /// The JA4 fingerprint.
    public let ja4: String

    /// Parses a handshake message and spells its facts out. Throws `.malformed` also for a name that is none.
    public init(parsing message: RawSpan, overQUIC: Bool = false) throws(WireError) {
        let hello = try ClientHello(parsing: message)
        host = try hello.host(in: message)
        version = hello.highestVersion(in: message)
        applicationProtocols = hello.applicationProtocolNames(in: message)
        hasEncryptedClientHello = hello.hasEncryptedClientHello || hello.hasEncryptedServerName
        offersEarlyData = hello.offersEarlyData
        ja4 = hello.ja4(in: message, overQUIC: overQUIC)
    }
}

extension RawSpan {
    func uint16(at offset: Int) -> UInt16 {
        UInt16(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
}
