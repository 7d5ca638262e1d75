internal import BigInt

/// Parts of certificates and requests as values, in Go's shape.
enum CertificateParts {
    /// Fields that are null unless an extension sets them.
    static let emptyLists = [
        "AuthorityKeyId", "CRLDistributionPoints", "DNSNames", "EmailAddresses", "ExcludedDNSDomains",
        "ExcludedEmailAddresses", "ExcludedIPRanges", "ExcludedURIDomains", "ExtKeyUsage", "Extensions",
        "ExtraExtensions", "IPAddresses", "IssuingCertificateURL", "OCSPServer", "PermittedDNSDomains",
        "PermittedEmailAddresses", "PermittedIPRanges", "PermittedURIDomains", "Policies", "PolicyIdentifiers",
        "PolicyMappings", "SubjectKeyId", "URIs", "UnhandledCriticalExtensions", "UnknownExtKeyUsage",
    ]

    /// Extended key usages in the order of Go's numbers.
    static let usages: [[Int]] = [
        [2, 5, 29, 37, 0], [1, 3, 6, 1, 5, 5, 7, 3, 1], [1, 3, 6, 1, 5, 5, 7, 3, 2], [1, 3, 6, 1, 5, 5, 7, 3, 3],
        [1, 3, 6, 1, 5, 5, 7, 3, 4], [1, 3, 6, 1, 5, 5, 7, 3, 5], [1, 3, 6, 1, 5, 5, 7, 3, 6],
        [1, 3, 6, 1, 5, 5, 7, 3, 7], [1, 3, 6, 1, 5, 5, 7, 3, 8], [1, 3, 6, 1, 5, 5, 7, 3, 9],
        [1, 3, 6, 1, 4, 1, 311, 10, 3, 3], [2, 16, 840, 1, 113730, 4, 1], [1, 3, 6, 1, 4, 1, 311, 2, 1, 22],
        [1, 3, 6, 1, 4, 1, 311, 61, 1, 1],
    ]

    static func object(_ fields: [String: RegoValue]) -> RegoValue {
        .object(
            fields.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { (.string($0.key), $0.value) })
    }

    /// Null where there is nothing.
    static func list(_ values: [RegoValue]) -> RegoValue { values.isEmpty ? .null : .array(values) }

    static func base64(_ bytes: ArraySlice<UInt8>) -> RegoValue {
        .string(String(decoding: Base64.encode(Array(bytes), url: false, padded: true), as: UTF8.self))
    }

    static func identifier(_ numbers: [Int]) -> RegoValue { .array(numbers.map { RegoValue($0) }) }

    private static let digests: [([Int], Int)] = [
        ([1, 2, 840, 113549, 1, 1, 4], 2), ([1, 2, 840, 113549, 1, 1, 5], 3), ([1, 3, 14, 3, 2, 29], 3),
        ([1, 2, 840, 113549, 1, 1, 11], 4), ([1, 2, 840, 113549, 1, 1, 12], 5), ([1, 2, 840, 113549, 1, 1, 13], 6),
        ([1, 2, 840, 10040, 4, 3], 7), ([2, 16, 840, 1, 101, 3, 4, 3, 2], 8), ([1, 2, 840, 10045, 4, 1], 9),
        ([1, 2, 840, 10045, 4, 3, 2], 10), ([1, 2, 840, 10045, 4, 3, 3], 11), ([1, 2, 840, 10045, 4, 3, 4], 12),
        ([1, 3, 101, 112], 16),
    ]

    /// Go's number of a signature algorithm; 0 for others.
    static func signatureAlgorithm(_ element: DERReader.Element) throws(DERFailure) -> Int {
        var reader = element.inner
        let identifier = try reader.next(0x06).identifier
        if identifier == [1, 2, 840, 113549, 1, 1, 10] {
            // PSS: by its digest.
            guard var parameters = try reader.optional(0x30)?.inner, var hash = try parameters.optional(0xA0)?.inner,
                var algorithm = try hash.optional(0x30)?.inner
            else { return 0 }
            let digest = try algorithm.next(0x06).identifier
            guard digest.starts(with: [2, 16, 840, 1, 101, 3, 4, 2]), let last = digest.last, (1...3).contains(last)
            else {
                return 0
            }
            return 12 + last
        }
        return digests.first { $0.0 == identifier }?.1 ?? 0
    }

    /// A public key and Go's number of its algorithm.
    static func publicKey(_ element: DERReader.Element) throws(DERFailure) -> (RegoValue, RegoValue) {
        var reader = element.inner
        var algorithm = try reader.next(0x30).inner
        let identifier = try algorithm.next(0x06).identifier
        let bits = try reader.next(0x03).bits
        func number(_ bytes: ArraySlice<UInt8>) -> RegoValue { .number(String(BigUInt(bigEndian: bytes))) }
        switch identifier {
        case [1, 2, 840, 113549, 1, 1, 1]:
            var outer = DERReader(bits)
            var key = try outer.next(0x30).inner
            let modulus = try key.next(0x02).integer
            let exponent = try key.next(0x02).integer
            return (object(["N": .number(String(modulus)), "E": .number(String(exponent))]), RegoValue(1))
        case [1, 2, 840, 10045, 2, 1]:
            guard bits.first == 4 else { throw DERFailure(message: "x509: failed to unmarshal elliptic curve point") }
            let half = (bits.count - 1) / 2
            let point = bits.dropFirst()
            return (
                object(["Curve": .object([]), "X": number(point.prefix(half)), "Y": number(point.dropFirst(half))]),
                RegoValue(3)
            )
        case [1, 3, 101, 112]: return (base64(bits), RegoValue(4))
        default: return (.null, RegoValue(identifier == [1, 2, 840, 10040, 4, 1] ? 2 : 0))
        }
    }

    private static let lists: [(type: Int, name: String)] = [
        (6, "Country"), (10, "Organization"), (11, "OrganizationalUnit"), (7, "Locality"), (8, "Province"),
        (9, "StreetAddress"), (17, "PostalCode"),
    ]

    /// A distinguished name.
    static func name(_ element: DERReader.Element) throws(DERFailure) -> RegoValue {
        var fields: [String: RegoValue] = [
            "CommonName": .string(""), "SerialNumber": .string(""), "Names": .null, "ExtraNames": .null,
        ]
        for list in lists { fields[list.name] = .null }
        var names: [RegoValue] = []
        var sets = element.inner
        while !sets.isAtEnd {
            var set = try sets.next(0x31).inner
            while !set.isAtEnd {
                var pair = try set.next(0x30).inner
                let type = try pair.next(0x06).identifier
                let value = RegoValue.string(try pair.next().text)
                names.append(object(["Type": identifier(type), "Value": value]))
                guard type.count == 4, type.starts(with: [2, 5, 4]) else { continue }
                if type[3] == 3 { fields["CommonName"] = value }
                if type[3] == 5 { fields["SerialNumber"] = value }
                if let list = lists.first(where: { $0.type == type[3] }) {
                    fields[list.name] = .array((fields[list.name]?.elements ?? []) + [value])
                }
            }
        }
        fields["Names"] = list(names)
        return object(fields)
    }

    /// A URI in the shape of Go's `url.URL`.
    static func uri(_ text: String) -> RegoValue {
        func string(_ text: some StringProtocol) -> RegoValue { .string(String(text)) }
        var rest = text[...]
        var fragment = ""[...]
        if let hash = rest.firstIndex(of: "#") {
            fragment = rest[rest.index(after: hash)...]
            rest = rest[..<hash]
        }
        var scheme = ""[...]
        if let colon = rest.firstIndex(of: ":") {
            scheme = rest[..<colon]
            rest = rest[rest.index(after: colon)...]
        }
        var query = ""[...]
        var forced = false
        if let mark = rest.firstIndex(of: "?") {
            query = rest[rest.index(after: mark)...]
            forced = query.isEmpty
            rest = rest[..<mark]
        }
        var (host, opaque) = (""[...], ""[...])
        if rest.hasPrefix("//") {
            let authority = rest.dropFirst(2).prefix { $0 != "/" }
            rest = rest.dropFirst(2 + authority.count)
            host = authority
        } else if !rest.hasPrefix("/"), !scheme.isEmpty {
            (opaque, rest) = (rest, ""[...])
        }
        return object([
            "Scheme": string(scheme.lowercased()), "Opaque": string(opaque), "User": .null, "Host": string(host),
            "Path": string(rest), "RawPath": .string(""), "OmitHost": .boolean(false), "ForceQuery": .boolean(forced),
            "RawQuery": string(query), "Fragment": string(fragment), "RawFragment": .string(""),
        ])
    }
}
