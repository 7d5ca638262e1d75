internal import BigInt

// Amounts with units, semantic versions, UUIDs, random numbers, graphs, URIs.

extension Builtins {
    static var units: [String: BuiltinFunction] {
        [
            "units.parse": { machine, arguments throws(BuiltinFailure) in
                let text = unquoted(try arguments.text(0))
                if text.contains(" ") { throw .failed("spaces not allowed in resource strings") }
                let (amount, unit) = splitAmount(text)
                if amount.isEmpty { throw .failed("no amount provided") }
                var key = unit
                // Case matters for milli and mega only.
                if key.count > 1 || !(key == "m" || key == "M") { key = key.lowercased() }
                guard let factor = unitFactors[key] else { throw .failed("unit \(unit) not recognized") }
                return try scaled(machine, amount, factor, "could not parse amount to a number")
            },
            "units.parse_bytes": { machine, arguments throws(BuiltinFailure) in
                let text = unquoted(try arguments.text(0)).lowercased()
                if text.contains(" ") { throw .failed("spaces not allowed in resource strings") }
                let (amount, unit) = splitAmount(text)
                if amount.isEmpty { throw .failed("no byte amount provided") }
                guard let factor = byteFactors[unit] else { throw .failed("byte unit \(unit) not recognized") }
                return try scaled(machine, amount, factor, "could not parse byte amount to a number", whole: true)
            },
            "semver.is_valid": { _, arguments in
                Value(arguments[0].tag == .string && SemanticVersion(arguments[0].text) != nil)
            },
            "semver.compare": { _, arguments throws(BuiltinFailure) in
                var versions: [SemanticVersion] = []
                _ = (try arguments.string(0), try arguments.string(1))
                for index in 0...1 {
                    let text = try arguments.text(index)
                    guard let version = SemanticVersion(text) else {
                        throw .failed("operand \(index + 1): string \"\(text)\" is not a valid SemVer")
                    }
                    versions.append(version)
                }
                return Value(SemanticVersion.compare(versions[0], versions[1]))
            },
            "uuid.rfc4122": { machine, arguments throws(BuiltinFailure) in
                machine.readRandom = true
                let key = "uuid." + (try arguments.text(0))
                if let known = machine.remembered[key] { return known }
                var generator = SystemRandomNumberGenerator()
                var bytes = (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }
                bytes[6] = bytes[6] & 0x0F | 0x40
                bytes[8] = bytes[8] & 0x3F | 0x80
                let value = machine.arena.string(UUIDText.text(bytes))
                machine.remembered[key] = value
                return value
            },
            "uuid.parse": { machine, arguments throws(BuiltinFailure) in
                guard let bytes = UUIDText.bytes(try arguments.text(0)) else { return .undefined }
                return UUIDText.description(bytes, machine.arena)
            },
            "rand.intn": { machine, arguments throws(BuiltinFailure) in
                machine.readRandom = true
                let key = "rand." + (try arguments.text(0)) + "." + RegoWriter.text(arguments[1])
                let bound = abs(try arguments.integer(1))
                if bound == 0 { return Value(0) }
                if let known = machine.remembered[key] { return known }
                let value = Value(Int.random(in: 0..<bound))
                machine.remembered[key] = value
                return value
            },
            "graph.reachable": { machine, arguments throws(BuiltinFailure) in
                let graph = try arguments.object(0)
                var queue = try nodes(arguments, 1)
                var found: [Value] = []
                var reached = machine.arena.set([])
                while let node = queue.popLast() {
                    try machine.charge(1)
                    let edges = graph.lookup(node)
                    if edges.isUndefined || found.contains(where: { Value.equal($0, node) }) { continue }
                    found.append(node)
                    try machine.charge(found.count / 8 + edges.count)
                    queue += edges.elements
                }
                reached = machine.arena.set(found)
                return reached
            },
            "graph.reachable_paths": { machine, arguments throws(BuiltinFailure) in
                let graph = try arguments.object(0)
                var paths: [Value] = []
                // Paths that end before a node that is not in the graph, at one without edges, or where a cycle closes.
                var queue = try nodes(arguments, 1).map { [$0] }
                while let path = queue.popLast() {
                    try machine.charge(path.count + 1)
                    guard let last = path.last else { continue }
                    let edges = graph.lookup(last)
                    if edges.isUndefined {
                        if path.count > 1 { paths.append(machine.arena.array(Array(path.dropLast()))) }
                        continue
                    }
                    let neighbours = edges.tag == .object ? [] : edges.elements
                    if neighbours.isEmpty { paths.append(machine.arena.array(path)) }
                    var closes = false
                    for next in neighbours {
                        if path.contains(where: { Value.equal($0, next) }) {
                            closes = true
                        } else {
                            queue.append(path + [next])
                        }
                    }
                    if closes { paths.append(machine.arena.array(path)) }
                }
                return machine.arena.set(paths)
            },
            "uri.is_valid": { _, arguments in
                Value(arguments[0].tag == .string && arguments[0].count > 0 && ParsedURI(arguments[0].bytes) != nil)
            },
            "uri.parse": { machine, arguments throws(BuiltinFailure) in
                guard let uri = ParsedURI(try arguments.bytes(0)) else { throw .failed("invalid URI") }
                return uri.value(machine.arena)
            },
        ]
    }

    private static func nodes(_ arguments: Arguments, _ index: Int) throws(BuiltinFailure) -> [Value] {
        let value = arguments[index]
        guard value.tag == .array || value.tag == .set else { throw .operand(index, value, "array", "set") }
        return value.elements
    }

    private static func unquoted(_ text: String) -> String {
        text.filter { $0 != "\"" }
    }

    private static func splitAmount(_ text: String) -> (amount: String, unit: String) {
        let scalars = Array(text.unicodeScalars)
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            if scalar.properties.numericType != nil || scalar == "." || (index == 0 && (scalar == "-" || scalar == "+"))
            {
                index += 1
                continue
            }
            // An exponent belongs to the amount where digits follow it.
            if index > 0, scalar == "e" || scalar == "E", index + 1 < scalars.count {
                var next = index + 1
                if scalars[next] == "-" || scalars[next] == "+" { next += 1 }
                if next < scalars.count, scalars[next].properties.numericType != nil {
                    index = next
                    continue
                }
            }
            break
        }
        func string(_ part: ArraySlice<UnicodeScalar>) -> String {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: part)
            return String(view)
        }
        return (string(scalars[..<index]), string(scalars[index...]))
    }

    private static func scaled(
        _ machine: Machine, _ amount: String, _ factor: (base: Int, power: Int), _ problem: String,
        whole: Bool = false
    ) throws(BuiltinFailure) -> Value {
        var text = amount
        if text.hasPrefix("+") { text.removeFirst() }
        if text.hasPrefix(".") { text = "0" + text }
        if text.hasPrefix("-.") { text = "-0" + text.dropFirst() }
        if text.hasSuffix(".") { text += "0" }
        // Leading zeros are decimal here.
        let negative = text.hasPrefix("-")
        var digits = negative ? text.dropFirst() : text[...]
        while digits.hasPrefix("0"), digits.dropFirst().first?.isNumber == true { digits = digits.dropFirst() }
        text = (negative ? "-" : "") + digits
        if let point = text.firstIndex(of: "."), text[text.index(after: point)...].hasPrefix("e") {
            text.insert("0", at: text.index(after: point))
        }
        guard isNumber(Array(text.utf8)) else { throw .failed(problem) }
        let decimal = Decimal(Array(text.utf8))
        if abs(decimal.exponent) > 10_000 { throw .failed("exponent too large") }
        // Exactly, as a fraction; what is not whole has ten decimals.
        var numerator = BigInt(decimal.digits.map { String($0) }.joined()) ?? 0
        if decimal.negative { numerator.negate() }
        var denominator = BigInt(1)
        let power = decimal.digits.isEmpty ? 0 : decimal.exponent - decimal.digits.count
        try machine.charge(1 + abs(power) / 16 + decimal.digits.count / 16)
        if power >= 0 { numerator *= BigInt(10).power(power) } else { denominator *= BigInt(10).power(-power) }
        if factor.power >= 0 {
            numerator *= BigInt(factor.base).power(factor.power)
        } else {
            denominator *= BigInt(factor.base).power(-factor.power)
        }
        if whole || numerator % denominator == 0 {
            return Numeric.integer(numerator / denominator).value(machine.arena)
        }
        let (quotient, rest) = (numerator.magnitude * BigUInt(10).power(10)).quotientAndRemainder(
            dividingBy: denominator.magnitude)
        let rounded = rest * 2 >= denominator.magnitude ? quotient + 1 : quotient
        var figures = String(rounded)
        figures = String(repeating: "0", count: max(0, 11 - figures.count)) + figures
        let point = figures.index(figures.endIndex, offsetBy: -10)
        return machine.arena.number((numerator < 0 ? "-" : "") + figures[..<point] + "." + figures[point...])
    }

    private static let unitFactors: [String: (base: Int, power: Int)] = [
        "": (1, 0), "m": (10, -3), "k": (1000, 1), "ki": (1024, 1), "M": (1000, 2), "mi": (1024, 2), "g": (1000, 3),
        "gi": (1024, 3), "t": (1000, 4), "ti": (1024, 4), "p": (1000, 5), "pi": (1024, 5), "e": (1000, 6),
        "ei": (1024, 6),
    ]

    private static let byteFactors: [String: (base: Int, power: Int)] = {
        var factors: [String: (base: Int, power: Int)] = ["": (1, 0)]
        for (index, letter) in ["k", "m", "g", "t", "p", "e"].enumerated() {
            factors[letter] = (1000, index + 1)
            factors[letter + "b"] = (1000, index + 1)
            factors[letter + "i"] = (1024, index + 1)
            factors[letter + "ib"] = (1024, index + 1)
        }
        return factors
    }()
}

/// A version of semver.org 2.0.0.
struct SemanticVersion {
    private let numbers: [Int]
    private let preRelease: String

    /// Reads a version; a leading `v` and leading zeros are let pass, as OPA does.
    init?(_ text: String) {
        var rest = text.hasPrefix("v") ? text.dropFirst() : text[...]
        var after: [Substring] = []
        for mark in ["+", "-"] as [Character] {
            let halves = rest.split(separator: mark, maxSplits: 1, omittingEmptySubsequences: false)
            rest = halves.first ?? ""
            let part = halves.count > 1 ? halves[1] : ""
            if !part.isEmpty, !Self.isIdentifiers(part) { return nil }
            after.append(part)
        }
        let fields = rest.split(separator: ".", omittingEmptySubsequences: false)
        guard fields.count == 3 else { return nil }
        var numbers: [Int] = []
        for field in fields {
            guard let number = Int(field) else { return nil }
            numbers.append(number)
        }
        self.numbers = numbers
        preRelease = String(after[1])
    }

    private static func isIdentifiers(_ text: Substring) -> Bool {
        text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty
                && part.utf8.allSatisfy { byte in
                    (byte >= 0x30 && byte <= 0x39) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == 0x2D
                }
        }
    }

    static func compare(_ a: SemanticVersion, _ b: SemanticVersion) -> Int {
        for (x, y) in zip(a.numbers, b.numbers) where x != y { return x < y ? -1 : 1 }
        if a.preRelease.isEmpty || b.preRelease.isEmpty {
            return a.preRelease.isEmpty ? (b.preRelease.isEmpty ? 0 : 1) : -1
        }
        let x = a.preRelease.split(separator: ".")
        let y = b.preRelease.split(separator: ".")
        func number(_ part: Substring) -> Int? {
            guard part.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
            return Int(part) ?? Int.max
        }
        for (p, q) in zip(x, y) where p != q {
            switch (number(p), number(q)) {
            case (let m?, let n?): if m != n { return m < n ? -1 : 1 }
            case (_?, nil): return -1
            case (nil, _?): return 1
            default: return Array(p.utf8).lexicographicallyPrecedes(Array(q.utf8)) ? -1 : 1
            }
        }
        return x.count == y.count ? 0 : x.count < y.count ? -1 : 1
    }
}

/// UUIDs (RFC 9562) as text.
enum UUIDText {
    static func text(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var out: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { out.append(0x2D) }
            out += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        return String(decoding: out, as: UTF8.self)
    }

    static func bytes(_ text: String) -> [UInt8]? {
        var body = text[...]
        if body.lowercased().hasPrefix("urn:uuid:") { body = body.dropFirst(9) }
        if body.utf8.count == 38 { body = body.dropFirst().dropLast() }
        let bytes = Array(body.utf8)
        if bytes.count == 32 { return Base64.hex(bytes) }
        guard bytes.count == 36, [8, 13, 18, 23].allSatisfy({ bytes[$0] == 0x2D }) else { return nil }
        return Base64.hex(bytes.enumerated().filter { ![8, 13, 18, 23].contains($0.offset) }.map(\.element))
    }

    /// What `uuid.parse` says of one.
    static func description(_ bytes: [UInt8], _ arena: Arena) -> Value {
        let version = Int(bytes[6] >> 4)
        var pairs: [(key: Value, value: Value)] = [(arena.string("version"), Value(version))]
        let variant: String
        switch bytes[8] {
        case 0x80..<0xC0: variant = "RFC4122"
        case 0xC0..<0xE0: variant = "Microsoft"
        case 0xE0...: variant = "Future"
        default: variant = "Reserved"
        }
        pairs.append((arena.string("variant"), arena.string(variant)))
        func number(_ range: ClosedRange<Int>) -> Int { range.reduce(0) { $0 << 8 | Int(bytes[$1]) } }
        if version == 1 || version == 2 {
            let low = number(0...3)
            let middle = number(4...5)
            let high = number(6...7) & 0x0FFF
            let ticks = high << 48 | middle << 32 | low
            pairs.append((arena.string("time"), Value((ticks - 0x01B2_1DD2_1381_4000) * 100)))
            pairs.append((arena.string("clocksequence"), Value(number(8...9) & 0x3FFF)))
            let digits = Array("0123456789abcdef".utf8)
            let node = bytes[10...].map {
                String(decoding: [digits[Int($0 >> 4)], digits[Int($0 & 15)]], as: UTF8.self)
            }
            pairs.append((arena.string("nodeid"), arena.string(node.joined(separator: "-"))))
            let first = bytes[10]
            let scope =
                first & 3 == 3
                ? "local:multicast"
                : first & 3 == 2
                    ? "local:unicast"
                    : first & 1 == 1
                        ? "global:multicast" : "global:unicast"
            pairs.append((arena.string("macvariables"), arena.string(scope)))
            if version == 2 {
                pairs.append((arena.string("id"), Value(number(0...3))))
                let domain =
                    bytes[9] == 0 ? "Person" : bytes[9] == 1 ? "Group" : bytes[9] == 2 ? "Org" : "Domain\(bytes[9])"
                pairs.append((arena.string("domain"), arena.string(domain)))
            }
        }
        return arena.object(pairs)
    }
}

/// A URI as Go's `net/url` takes it apart.
struct ParsedURI {
    private var parts: [(String, [UInt8])] = []

    /// Whether it begins with a scheme.
    var hasScheme: Bool { parts.contains { $0.0 == "scheme" } }

    init?(_ text: [UInt8]) {
        if text.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return nil }
        var rest = text[...]
        var fragment: [UInt8] = []
        if let hash = rest.firstIndex(of: UInt8(ascii: "#")) {
            guard let decoded = Self.unescape(rest[(hash + 1)...]) else { return nil }
            fragment = decoded
            rest = rest[..<hash]
        }
        var scheme: [UInt8] = []
        for (index, byte) in rest.enumerated() {
            if byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A { continue }
            if (byte >= 0x30 && byte <= 0x39) || [0x2B, 0x2D, 0x2E].contains(byte) {
                if index == 0 { break }
                continue
            }
            if byte == UInt8(ascii: ":") {
                if index == 0 { return nil }
                scheme = rest.prefix(index).map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }
                rest = rest.dropFirst(index + 1)
            }
            break
        }
        var query: [UInt8] = []
        if let mark = rest.firstIndex(of: UInt8(ascii: "?")) {
            query = Array(rest[(mark + 1)...])
            rest = rest[..<mark]
        }
        if !scheme.isEmpty { parts.append(("scheme", scheme)) }
        var isOpaque = false
        if rest.first != UInt8(ascii: "/") {
            if !scheme.isEmpty, !rest.isEmpty { isOpaque = true }
            if scheme.isEmpty {
                let segment = rest.prefix { $0 != UInt8(ascii: "/") }
                if segment.contains(UInt8(ascii: ":")) { return nil }
            }
        }
        if !isOpaque {
            if rest.starts(with: [0x2F, 0x2F]) {
                let authority = rest.dropFirst(2).prefix { $0 != UInt8(ascii: "/") }
                rest = rest.dropFirst(2 + authority.count)
                guard takeAuthority(authority) else { return nil }
            }
            guard let path = Self.unescape(rest) else { return nil }
            if !path.isEmpty {
                parts.append(("path", path))
                parts.append(("raw_path", Array(rest)))
            }
        }
        if !query.isEmpty { parts.append(("raw_query", query)) }
        if !fragment.isEmpty { parts.append(("fragment", fragment)) }
    }

    private mutating func takeAuthority(_ authority: ArraySlice<UInt8>) -> Bool {
        var host = authority
        if let at = host.lastIndex(of: UInt8(ascii: "@")) { host = host[(at + 1)...] }
        var port: ArraySlice<UInt8>?
        var name = host
        if host.first == UInt8(ascii: "[") {
            guard let close = host.firstIndex(of: UInt8(ascii: "]")) else { return false }
            name = host[(host.startIndex + 1)..<close]
            let after = host[(close + 1)...]
            if after.first == UInt8(ascii: ":") { port = after.dropFirst() } else if !after.isEmpty { return false }
        } else if let colon = host.lastIndex(of: UInt8(ascii: ":")) {
            port = host[(colon + 1)...]
            name = host[..<colon]
        }
        if let port {
            guard port.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return false }
        }
        if name.contains(where: { $0 == 0x20 || $0 == UInt8(ascii: "<") || $0 == UInt8(ascii: ">") }) { return false }
        guard let decoded = Self.unescape(name) else { return false }
        if !decoded.isEmpty { parts.append(("hostname", decoded)) }
        if let port, !port.isEmpty { parts.append(("port", Array(port))) }
        return true
    }

    private static func unescape(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        URLQuery.unescape(text.flatMap { $0 == UInt8(ascii: "+") ? Array("%2B".utf8) : [$0] })
    }

    func value(_ arena: Arena) -> Value {
        arena.object(parts.map { (arena.string($0.0), arena.string(Utf8.repaired($0.1))) })
    }
}
