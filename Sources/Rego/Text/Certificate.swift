internal import BigInt

/// A certificate (RFC 5280) in the shape of Go's `x509.Certificate`.
struct Certificate {
    /// The DER.
    let bytes: [UInt8]
    /// What the certificate may be used for, by Go's numbers; empty where it does not say.
    private(set) var extendedUsages: [Int] = []
    private(set) var unknownUsages: [[Int]] = []
    private var fields: [String: RegoValue] = [:]
    private var uris: [String] = []

    init(_ bytes: [UInt8]) throws(DERFailure) {
        self.bytes = bytes
        do throws(DERFailure) {
            try read()
        } catch {
            throw DERFailure(
                message: error.message.hasPrefix("x509:") ? error.message : "x509: malformed certificate")
        }
    }

    /// The certificate as an object, with its URIs as strings besides.
    var value: RegoValue { value(withStrings: true) }

    /// The certificate as an object.
    func value(withStrings: Bool) -> RegoValue {
        var fields = fields
        if withStrings { fields["URIStrings"] = CertificateParts.list(uris.map { .string($0) }) }
        return CertificateParts.object(fields)
    }

    private mutating func read() throws(DERFailure) {
        var outer = DERReader(bytes[...])
        let certificate = try outer.next(0x30)
        guard outer.isAtEnd else { throw DERFailure(message: "x509: trailing data") }
        var parts = certificate.inner
        let body = try parts.next(0x30)
        let signatureAlgorithm = try parts.next(0x30)
        let signature = try parts.next(0x03)
        var reader = body.inner
        var version = 1
        if let element = try reader.optional(0xA0) {
            var inner = element.inner
            version = Int(try inner.next(0x02).integer) + 1
        }
        let serial = try reader.next(0x02)
        _ = try reader.next(0x30)
        let issuer = try reader.next(0x30)
        var validity = try reader.next(0x30).inner
        let (from, to) = (try validity.next(), try validity.next())
        let subject = try reader.next(0x30)
        let key = try reader.next(0x30)
        guard let notBefore = from.time, let notAfter = to.time else {
            throw DERFailure(message: "x509: malformed UTCTime")
        }
        for name in CertificateParts.emptyLists { fields[name] = .null }
        fields["Raw"] = CertificateParts.base64(certificate.whole)
        fields["RawTBSCertificate"] = CertificateParts.base64(body.whole)
        fields["RawSubjectPublicKeyInfo"] = CertificateParts.base64(key.whole)
        fields["RawSubject"] = CertificateParts.base64(subject.whole)
        fields["RawIssuer"] = CertificateParts.base64(issuer.whole)
        fields["Signature"] = CertificateParts.base64(signature.bits)
        fields["SignatureAlgorithm"] = RegoValue(try CertificateParts.signatureAlgorithm(signatureAlgorithm))
        (fields["PublicKey"], fields["PublicKeyAlgorithm"]) = try CertificateParts.publicKey(key)
        fields["Version"] = RegoValue(version)
        fields["SerialNumber"] = .number(String(serial.integer))
        fields["Issuer"] = try CertificateParts.name(issuer)
        fields["Subject"] = try CertificateParts.name(subject)
        fields["NotBefore"] = .string(notBefore)
        fields["NotAfter"] = .string(notAfter)
        for name in ["BasicConstraintsValid", "IsCA", "MaxPathLenZero", "PermittedDNSDomainsCritical"] {
            fields[name] = .boolean(false)
        }
        for name in ["KeyUsage", "MaxPathLen"] { fields[name] = RegoValue(0) }
        for name in ["InhibitAnyPolicy", "InhibitPolicyMapping", "RequireExplicitPolicy"] {
            fields[name] = RegoValue(0)
            fields[name + "Zero"] = .boolean(false)
        }
        _ = try reader.optional(0x81)
        _ = try reader.optional(0x82)
        if let element = try reader.optional(0xA3) {
            var inner = element.inner
            try readExtensions(try inner.next(0x30))
        }
    }

    private mutating func readExtensions(_ sequence: DERReader.Element) throws(DERFailure) {
        var list: [RegoValue] = []
        var unhandled: [RegoValue] = []
        var reader = sequence.inner
        while !reader.isAtEnd {
            let item = try CertificateExtension(try reader.next(0x30))
            list.append(item.value)
            if try !read(item), item.isCritical { unhandled.append(CertificateParts.identifier(item.identifier)) }
        }
        fields["Extensions"] = CertificateParts.list(list)
        fields["UnhandledCriticalExtensions"] = CertificateParts.list(unhandled)
    }

    /// Whether the extension is one that is understood.
    private mutating func read(_ item: CertificateExtension) throws(DERFailure) -> Bool {
        var reader = DERReader(item.content)
        if item.identifier == [1, 3, 6, 1, 5, 5, 7, 1, 1] {
            var (servers, issuers): ([RegoValue], [RegoValue]) = ([], [])
            var list = try reader.next(0x30).inner
            while !list.isAtEnd {
                var access = try list.next(0x30).inner
                let method = try access.next(0x06).identifier
                let place = try access.next()
                guard place.tag == 0x86 else { continue }
                if method.last == 1 { servers.append(.string(place.text)) }
                if method.last == 2 { issuers.append(.string(place.text)) }
            }
            fields["OCSPServer"] = CertificateParts.list(servers)
            fields["IssuingCertificateURL"] = CertificateParts.list(issuers)
            return true
        }
        guard item.identifier.count == 4, item.identifier.starts(with: [2, 5, 29]) else { return false }
        switch item.identifier[3] {
        case 14: fields["SubjectKeyId"] = CertificateParts.base64(try reader.next(0x04).content)
        case 15:
            let bits = try reader.next(0x03).bits
            var usage = 0
            for bit in 0..<9 where bit / 8 < bits.count {
                if bits[bits.startIndex + bit / 8] & (0x80 >> UInt8(bit % 8)) != 0 { usage |= 1 << bit }
            }
            fields["KeyUsage"] = RegoValue(usage)
        case 17:
            let names = try AlternativeNames(item.content)
            uris = names.uris
            fields.merge(names.fields) { $1 }
            return !names.isEmpty
        case 19:
            var list = try reader.next(0x30).inner
            let isAuthority = try list.optional(0x01).map { $0.content.first != 0 } ?? false
            let length = try list.optional(0x02).map { Int($0.integer) } ?? -1
            fields["BasicConstraintsValid"] = .boolean(true)
            fields["IsCA"] = .boolean(isAuthority)
            fields["MaxPathLen"] = RegoValue(length)
            fields["MaxPathLenZero"] = .boolean(length == 0)
        case 31:
            var points: [RegoValue] = []
            var list = try reader.next(0x30).inner
            while !list.isAtEnd {
                var point = try list.next(0x30).inner
                guard var name = try point.optional(0xA0)?.inner, var full = try name.optional(0xA0)?.inner else {
                    continue
                }
                while !full.isAtEnd {
                    let place = try full.next()
                    if place.tag == 0x86 { points.append(.string(place.text)) }
                }
            }
            fields["CRLDistributionPoints"] = CertificateParts.list(points)
        case 32:
            var (texts, identifiers): ([RegoValue], [RegoValue]) = ([], [])
            var list = try reader.next(0x30).inner
            while !list.isAtEnd {
                var policy = try list.next(0x30).inner
                let identifier = try policy.next(0x06).identifier
                texts.append(.string(identifier.map { String($0) }.joined(separator: ".")))
                identifiers.append(CertificateParts.identifier(identifier))
            }
            fields["Policies"] = CertificateParts.list(texts)
            fields["PolicyIdentifiers"] = CertificateParts.list(identifiers)
        case 35:
            var list = try reader.next(0x30).inner
            if let key = try list.optional(0x80) { fields["AuthorityKeyId"] = CertificateParts.base64(key.content) }
        case 37:
            var list = try reader.next(0x30).inner
            while !list.isAtEnd {
                let identifier = try list.next(0x06).identifier
                if let known = CertificateParts.usages.firstIndex(of: identifier) {
                    extendedUsages.append(known)
                } else {
                    unknownUsages.append(identifier)
                }
            }
            fields["ExtKeyUsage"] = CertificateParts.list(extendedUsages.map { RegoValue($0) })
            fields["UnknownExtKeyUsage"] = CertificateParts.list(unknownUsages.map { CertificateParts.identifier($0) })
        default: return false
        }
        return true
    }
}

/// A request for a certificate (RFC 2986) in the shape of Go's `x509.CertificateRequest`.
struct CertificateRequest {
    /// The request as an object.
    let value: RegoValue

    init(_ bytes: [UInt8]) throws(DERFailure) {
        var outer = DERReader(bytes[...])
        let request = try outer.next(0x30)
        guard outer.isAtEnd else { throw DERFailure(message: "asn1: syntax error: trailing data") }
        var parts = request.inner
        let body = try parts.next(0x30)
        let algorithm = try parts.next(0x30)
        let signature = try parts.next(0x03)
        var reader = body.inner
        let version = try reader.next(0x02).integer
        let subject = try reader.next(0x30)
        let key = try reader.next(0x30)
        var fields: [String: RegoValue] = [:]
        for name in [
            "Attributes", "DNSNames", "EmailAddresses", "Extensions", "ExtraExtensions", "IPAddresses", "URIs",
        ] {
            fields[name] = .null
        }
        fields["Raw"] = CertificateParts.base64(request.whole)
        fields["RawTBSCertificateRequest"] = CertificateParts.base64(body.whole)
        fields["RawSubjectPublicKeyInfo"] = CertificateParts.base64(key.whole)
        fields["RawSubject"] = CertificateParts.base64(subject.whole)
        fields["Version"] = .number(String(version))
        fields["Signature"] = CertificateParts.base64(signature.bits)
        fields["SignatureAlgorithm"] = RegoValue(try CertificateParts.signatureAlgorithm(algorithm))
        (fields["PublicKey"], fields["PublicKeyAlgorithm"]) = try CertificateParts.publicKey(key)
        fields["Subject"] = try CertificateParts.name(subject)
        if var attributes = try reader.optional(0xA0)?.inner {
            while !attributes.isAtEnd {
                var attribute = try attributes.next(0x30).inner
                guard try attribute.next(0x06).identifier == [1, 2, 840, 113549, 1, 9, 14] else { continue }
                var set = try attribute.next(0x31).inner
                var sequence = try set.next(0x30).inner
                var list: [RegoValue] = []
                while !sequence.isAtEnd {
                    let item = try CertificateExtension(try sequence.next(0x30))
                    list.append(item.value)
                    if item.identifier == [2, 5, 29, 17] {
                        fields.merge(try AlternativeNames(item.content).fields) { $1 }
                    }
                }
                fields["Extensions"] = CertificateParts.list(list)
            }
        }
        value = CertificateParts.object(fields)
    }
}

/// An extension of a certificate.
private struct CertificateExtension {
    let identifier: [Int]
    let isCritical: Bool
    let content: ArraySlice<UInt8>

    init(_ element: DERReader.Element) throws(DERFailure) {
        var reader = element.inner
        identifier = try reader.next(0x06).identifier
        isCritical = try reader.optional(0x01).map { $0.content.first != 0 } ?? false
        content = try reader.next(0x04).content
    }

    var value: RegoValue {
        CertificateParts.object([
            "Id": CertificateParts.identifier(identifier), "Critical": .boolean(isCritical),
            "Value": CertificateParts.base64(content),
        ])
    }
}

/// The other names of a certificate's subject (RFC 5280 §4.2.1.6).
private struct AlternativeNames {
    private(set) var uris: [String] = []
    private(set) var fields: [String: RegoValue] = [:]
    private(set) var isEmpty = true

    init(_ content: ArraySlice<UInt8>) throws(DERFailure) {
        var outer = DERReader(content)
        var reader = try outer.next(0x30).inner
        var (mails, names, addresses): ([RegoValue], [RegoValue], [RegoValue]) = ([], [], [])
        while !reader.isAtEnd {
            let element = try reader.next()
            switch element.tag {
            case 0x81: mails.append(.string(element.text))
            case 0x82: names.append(.string(element.text))
            case 0x86: uris.append(element.text)
            case 0x87: addresses.append(.string(AddressRange.text(Array(element.content))))
            default: continue
            }
            isEmpty = false
        }
        fields["EmailAddresses"] = CertificateParts.list(mails)
        fields["DNSNames"] = CertificateParts.list(names)
        fields["IPAddresses"] = CertificateParts.list(addresses)
        fields["URIs"] = CertificateParts.list(uris.map { CertificateParts.uri($0) })
    }
}
