import CLibcrypto
import Octets

extension ClientHello {
    /// The JA4 fingerprint over TCP (github.com/FoxIO-LLC/ja4, `technical_details/JA4.md`), 36 characters:
    /// `t13d1516h2_8daaf6152771_b186095e22b6`.
    ///
    /// - `t`, the highest version offered, `d` with server_name or `i`, the numbers of cipher suites and extensions (two
    ///   digits, at most 99), the first and last character of the first ALPN name;
    /// - 12 digits of the SHA-256 of the sorted cipher suites;
    /// - 12 digits of the SHA-256 of the sorted extensions, server_name and ALPN left out, `_`, and the signature algorithms
    ///   as they come.
    ///
    /// GREASE is left out everywhere.
    public func ja4(in message: RawSpan) -> String {
        let suites = cipherSuiteNumbers(in: message).filter { !$0.isGREASE }
        let types = extensionTypes(in: message).filter { !$0.isGREASE }
        var algorithms: [UInt16] = []
        if let signatureAlgorithms {
            for offset in stride(from: signatureAlgorithms.lowerBound, to: signatureAlgorithms.upperBound, by: 2) {
                let algorithm = message.uint16(at: offset)
                if !algorithm.isGREASE { algorithms.append(algorithm) }
            }
        }
        var text: [UInt8] = [UInt8(ascii: "t")]
        text += Self.versionDigits(highestVersion(in: message))
        text.append(serverName == nil ? UInt8(ascii: "i") : UInt8(ascii: "d"))
        text += Self.twoDigits(suites.count) + Self.twoDigits(types.count) + applicationProtocolDigits(in: message)
        text.append(UInt8(ascii: "_"))
        text += Self.digest(Self.list(suites.sorted()))
        text.append(UInt8(ascii: "_"))
        let named = types.filter {
            $0 != TLSExtensionType.serverName && $0 != TLSExtensionType.applicationLayerProtocolNegotiation
        }
        var extensionText = Self.list(named.sorted())
        if !algorithms.isEmpty { extensionText += [UInt8(ascii: "_")] + Self.list(algorithms) }
        text += Self.digest(types.isEmpty ? [] : extensionText)
        return String(decoding: text, as: UTF8.self)
    }

    private static func versionDigits(_ version: TLSVersion) -> [UInt8] {
        switch version {
        case .tls13: Array("13".utf8)
        case .tls12: Array("12".utf8)
        case .tls11: Array("11".utf8)
        case .tls10: Array("10".utf8)
        case .ssl3: Array("s3".utf8)
        default: Array("00".utf8)
        }
    }

    private static func twoDigits(_ number: Int) -> [UInt8] {
        let value = UInt8(min(number, 99))
        return [0x30 + value / 10, 0x30 + value % 10]
    }

    /// First and last character of the first name; of its hexadecimal text where either is no letter or digit; `00` for none.
    private func applicationProtocolDigits(in message: RawSpan) -> [UInt8] {
        guard let applicationProtocols, !applicationProtocols.isEmpty else { return Array("00".utf8) }
        let start = applicationProtocols.lowerBound + 1
        let length = Int(message.byte(at: start - 1))
        let first = message.byte(at: start)
        let last = message.byte(at: start + length - 1)
        if first.isLetter || first.isDigit, last.isLetter || last.isDigit { return [first, last] }
        let digits = Array(Hex.encode([first, last]).utf8)
        return [digits[0], digits[3]]
    }

    /// Four digits each, joined by commas.
    private static func list(_ numbers: [UInt16]) -> [UInt8] {
        var text: [UInt8] = []
        for number in numbers {
            if !text.isEmpty { text.append(UInt8(ascii: ",")) }
            text += Hex.encode([UInt8(number >> 8), UInt8(number & 0xFF)]).utf8
        }
        return text
    }

    /// The first twelve digits of the SHA-256; zeros for nothing.
    private static func digest(_ bytes: [UInt8]) -> [UInt8] {
        guard !bytes.isEmpty else { return Array("000000000000".utf8) }
        var value = [UInt8](repeating: 0, count: 32)
        sallyport_sha256(bytes, bytes.count, &value)
        return Array(Hex.encode(value[..<6]).utf8)
    }
}
