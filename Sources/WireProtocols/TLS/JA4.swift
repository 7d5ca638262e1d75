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
    ///
    /// Over QUIC the first character is `q`.
    public func ja4(in message: RawSpan, overQUIC: Bool = false) -> String {
        let suites = numbers(at: cipherSuites, in: message)
        let algorithms = numbers(at: signatureAlgorithms ?? ByteRange(), in: message)
        var types = extensionTypes(in: message)
        types.removeAll(where: \.isGREASE)

        var text = JA4Text(capacity: 36)
        text.append(overQUIC ? "q" : "t")
        text.append(Self.versionDigits(highestVersion(in: message)))
        text.append(serverName == nil ? "i" : "d")
        text.append(twoDigits: suites.count)
        text.append(twoDigits: types.count)
        appendApplicationProtocol(to: &text, message)
        text.append("_")

        var hashed = JA4Text(capacity: 5 * max(suites.count, types.count + algorithms.count))
        hashed.append(list: suites.sorted())
        text.append(digestOf: hashed)
        text.append("_")

        hashed.removeAll()
        let isBare = types.isEmpty
        types.removeAll {
            $0 == TLSExtensionType.serverName || $0 == TLSExtensionType.applicationLayerProtocolNegotiation
        }
        hashed.append(list: types.sorted())
        if !algorithms.isEmpty {
            hashed.append("_")
            hashed.append(list: algorithms)
        }
        if isBare { hashed.removeAll() }
        text.append(digestOf: hashed)
        return text.description
    }

    /// The 16-bit numbers in a list, GREASE left out.
    private func numbers(at list: ByteRange, in message: RawSpan) -> [UInt16] {
        var result: [UInt16] = []
        result.reserveCapacity(list.byteCount / 2)
        for offset in stride(from: list.lowerBound, to: list.upperBound, by: 2) {
            let number = message.uint16(at: offset)
            if !number.isGREASE { result.append(number) }
        }
        return result
    }

    private static func versionDigits(_ version: TLSVersion) -> StaticString {
        switch version {
        case .tls13: "13"
        case .tls12: "12"
        case .tls11: "11"
        case .tls10: "10"
        case .ssl3: "s3"
        default: "00"
        }
    }

    /// First and last character of the first name; of its hexadecimal text where either is no letter or digit; `00` for none.
    private func appendApplicationProtocol(to text: inout JA4Text, _ message: RawSpan) {
        guard let applicationProtocols, !applicationProtocols.isEmpty else {
            text.append("00")
            return
        }
        let start = applicationProtocols.lowerBound + 1
        let length = Int(message.byte(at: start - 1))
        let first = message.byte(at: start)
        let last = message.byte(at: start + length - 1)
        if first.isLetter || first.isDigit, last.isLetter || last.isDigit {
            text.append(byte: first)
            text.append(byte: last)
        } else {
            text.append(digit: first >> 4)
            text.append(digit: last & 15)
        }
    }
}

/// ASCII text that grows within what was reserved for it.
private struct JA4Text: CustomStringConvertible {
    private var bytes: [UInt8] = []

    init(capacity: Int) {
        bytes.reserveCapacity(capacity)
    }

    var description: String { String(decoding: bytes, as: UTF8.self) }

    mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    mutating func append(byte: UInt8) { bytes.append(byte) }

    mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    /// One hexadecimal digit, 0...15.
    mutating func append(digit: UInt8) {
        bytes.append(Self.digit(digit))
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }

    /// Two decimal digits, at most 99.
    mutating func append(twoDigits number: Int) {
        let value = UInt8(min(number, 99))
        append(digit: value / 10)
        append(digit: value % 10)
    }

    /// Four digits each, joined by commas.
    mutating func append(list numbers: [UInt16]) {
        guard !numbers.isEmpty else { return }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 5 * numbers.count) { text in
            for (index, number) in numbers.enumerated() {
                let start = 5 * index
                for position in 0..<4 {
                    let nibble = UInt8(truncatingIfNeeded: number >> UInt16(12 - 4 * position) & 15)
                    text[start + position] = Self.digit(nibble)
                }
                text[start + 4] = UInt8(ascii: ",")
            }
            bytes.append(contentsOf: text.dropLast())
        }
    }

    /// The first twelve digits of the SHA-256; zeros for nothing.
    mutating func append(digestOf text: JA4Text) {
        guard !text.bytes.isEmpty else {
            append("000000000000")
            return
        }
        var digest: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &digest) { target in
            guard let first = target.assumingMemoryBound(to: UInt8.self).baseAddress else { return }
            sallyport_sha256(text.bytes, text.bytes.count, first)
        }
        let start = UInt64(bigEndian: digest.0)
        for index in 0..<12 { append(digit: UInt8(truncatingIfNeeded: start >> UInt64(60 - 4 * index) & 15)) }
    }
}
