internal import JOSE

// X.509 certificates and requests, as Go's `crypto/x509` gives them out.

extension Builtins {
    static var certificates: [String: BuiltinFunction] {
        [
            "crypto.x509.parse_certificates": { machine, arguments throws(BuiltinFailure) in
                let certificates = try parse(machine, arguments.bytes(0))
                return machine.arena.array(certificates.map { machine.arena.make($0.value) })
            },
            "crypto.x509.parse_and_verify_certificates": { machine, arguments throws(BuiltinFailure) in
                try verify(machine, arguments.bytes(0), Options(), withStrings: true)
            },
            "crypto.x509.parse_and_verify_certificates_with_options": { machine, arguments throws(BuiltinFailure) in
                let text = try arguments.bytes(0)
                return try verify(machine, text, options(arguments.object(1)), withStrings: false)
            },
            "crypto.x509.parse_certificate_request": { machine, arguments throws(BuiltinFailure) in
                var bytes = try arguments.bytes(0)
                try machine.charge(100 + bytes.count)
                if !bytes.starts(with: Array("-----BEGIN CERTIFICATE REQUEST-----".utf8)) { bytes = try base64(bytes) }
                if let block = PEMBlock.all(bytes).first {
                    guard block.type == "CERTIFICATE REQUEST" else {
                        throw .failed("invalid PEM-encoded certificate signing request")
                    }
                    bytes = block.bytes
                }
                do throws(DERFailure) {
                    return machine.arena.make(try CertificateRequest(bytes).value)
                } catch {
                    throw .failed(error.message)
                }
            },
        ]
    }

    private static func base64(_ text: [UInt8]) throws(BuiltinFailure) -> [UInt8] {
        guard let bytes = Base64.decode(text, url: false, padding: .required) else {
            let isDigit: (UInt8) -> Bool = {
                Base64.decode([$0, 0x41, 0x41, 0x41], url: false, padding: .required) != nil
            }
            // Go names the start of the group of four that is incomplete, or the byte that is no digit.
            let good = text.prefix { isDigit($0) }.count
            let place = good == text.count ? good - good % 4 : good
            throw .failed("illegal base64 data at input byte \(place)")
        }
        return bytes
    }

    private static func parse(_ machine: Machine, _ text: [UInt8]) throws(BuiltinFailure) -> [Certificate] {
        try machine.charge(100 + text.count)
        var bytes = text
        let mark = Array("-----BEGIN".utf8)
        if !bytes.starts(with: mark) { bytes = try base64(bytes) }
        var certificates: [Certificate] = []
        do throws(DERFailure) {
            if bytes.starts(with: mark) {
                for block in PEMBlock.all(bytes) {
                    guard block.type == "CERTIFICATE" else {
                        throw DERFailure(message: "PEM block type is '\(block.type)', expected CERTIFICATE")
                    }
                    certificates.append(try Certificate(block.bytes))
                }
            } else {
                var rest = bytes[...]
                while !rest.isEmpty {
                    var reader = DERReader(rest)
                    guard let element = try? reader.next() else {
                        throw DERFailure(message: "x509: malformed certificate")
                    }
                    certificates.append(try Certificate(Array(element.whole)))
                    rest = reader.rest
                }
            }
        } catch {
            throw .failed(error.message)
        }
        return certificates
    }

    private struct Options {
        var host: String?
        /// Seconds since the epoch.
        var time: Int?
        var usages = [1]
    }

    private static let usageNames = [
        "KeyUsageAny", "KeyUsageServerAuth", "KeyUsageClientAuth", "KeyUsageCodeSigning", "KeyUsageEmailProtection",
        "KeyUsageIPSECEndSystem", "KeyUsageIPSECTunnel", "KeyUsageIPSECUser", "KeyUsageTimeStamping",
        "KeyUsageOCSPSigning", "KeyUsageMicrosoftServerGatedCrypto", "KeyUsageNetscapeServerGatedCrypto",
        "KeyUsageMicrosoftCommercialCodeSigning", "KeyUsageMicrosoftKernelCodeSigning",
    ]

    private static func options(_ object: Value) throws(BuiltinFailure) -> Options {
        var result = Options()
        for (key, value) in object.pairs where key.tag == .string {
            switch key.text {
            case "DNSName":
                guard value.tag == .string else { throw .failed("'DNSName' should be a string") }
                result.host = value.text.isEmpty ? nil : value.text
            case "CurrentTime":
                guard value.isNumber else { throw .failed("'CurrentTime' should be a number") }
                guard let time = Decimal(value).integer else {
                    throw .failed("'CurrentTime' should be a valid int64 number")
                }
                result.time = time / 1_000_000_000
            case "MaxConstraintComparisons":
                guard value.isNumber else { throw .failed("'MaxConstraintComparisons' should be a number") }
            case "KeyUsages":
                guard value.tag == .array || value.tag == .set else {
                    throw .failed("'KeyUsages' should be an Array or Set")
                }
                let names = value.elements.filter { $0.tag == .string }.map(\.text)
                let unknown = names.filter { !usageNames.contains($0) }
                if !unknown.isEmpty {
                    throw .failed("invalid entries for 'KeyUsages' found: [\(unknown.joined(separator: " "))]")
                }
                let usages = names.compactMap { usageNames.firstIndex(of: $0) }
                if !usages.isEmpty { result.usages = usages }
            default: throw .failed("invalid key option")
            }
        }
        return result
    }

    private static func verify(
        _ machine: Machine, _ text: [UInt8], _ options: Options, withStrings: Bool
    ) throws(BuiltinFailure) -> Value {
        let refused = machine.arena.array([.false, machine.arena.array([])])
        guard let certificates = try? parse(machine, text), certificates.count >= 2 else { return refused }
        try machine.charge(2000 * certificates.count)
        var time = options.time
        if time == nil {
            machine.readClock = true
            time = machine.clock / 1_000_000_000
        }
        guard
            let order = CertificateChain.verify(
                certificates.map(\.bytes), time: Int64(time ?? 0), host: options.host),
            isAllowed(order.map { certificates[$0] }, options.usages)
        else { return refused }
        let values = order.map { machine.arena.make(certificates[$0].value(withStrings: withStrings)) }
        return machine.arena.array([.true, machine.arena.array(values)])
    }

    /// Whether a chain, from its leaf on, may be used for one of `usages` (0 stands for any).
    private static func isAllowed(_ chain: [Certificate], _ usages: [Int]) -> Bool {
        if usages.contains(0) { return true }
        return usages.contains { usage in
            chain.allSatisfy { certificate in
                let (known, unknown) = (certificate.extendedUsages, certificate.unknownUsages)
                return (known.isEmpty && unknown.isEmpty) || known.contains(0) || known.contains(usage)
            }
        }
    }
}

/// A block of PEM (RFC 7468).
struct PEMBlock {
    let type: String
    let bytes: [UInt8]

    /// All well-formed blocks in order.
    static func all(_ text: [UInt8]) -> [PEMBlock] {
        var blocks: [PEMBlock] = []
        var type: String?
        var body: [UInt8] = []
        for line in text.split(separator: 0x0A, omittingEmptySubsequences: true) {
            var line = String(decoding: line, as: UTF8.self)
            while let last = line.unicodeScalars.last, last == "\r" || last == " " || last == "\t" {
                line.unicodeScalars.removeLast()
            }
            if line.hasPrefix("-----BEGIN "), line.hasSuffix("-----") {
                type = String(line.dropFirst(11).dropLast(5))
                body = []
            } else if line.hasPrefix("-----END "), line.hasSuffix("-----") {
                if let type, type == line.dropFirst(9).dropLast(5),
                    let bytes = Base64.decode(body, url: false, padding: .required)
                {
                    blocks.append(PEMBlock(type: type, bytes: bytes))
                }
                type = nil
            } else if type != nil, !line.contains(":") {
                body += Array(line.utf8)
            }
        }
        return blocks
    }
}
