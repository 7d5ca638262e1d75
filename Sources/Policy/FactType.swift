import PacketHeaders
import Rego

/// How a fact is spelt as a Rego value, for reading it back.
struct FactType<Fact> {
    /// For errors: `a text`.
    let name: String
    /// The fact; nil where the value is no spelling of one.
    let parse: (RegoValue) -> Fact?
}

extension FactType<String> {
    static var text: FactType { FactType(name: "a text", parse: \.string) }
}

extension FactType<Bool> {
    static var boolean: FactType { FactType(name: "true or false", parse: \.boolean) }
}

extension FactType<[String]> {
    static var list: FactType {
        FactType(name: "a list of texts") { value in
            guard case .array(let elements) = value else { return nil }
            let texts = elements.compactMap(\.string)
            return texts.count == elements.count ? texts : nil
        }
    }
}

extension FactType<[String: String]> {
    static var table: FactType {
        FactType(name: "an object of texts") { value in
            guard let pairs = value.pairs else { return nil }
            var table: [String: String] = [:]
            for pair in pairs {
                guard let key = pair.key.string, let text = pair.value.string else { return nil }
                table[key] = text
            }
            return table
        }
    }
}

extension FactType<InputObject> {
    static var object: FactType {
        FactType(name: "an object") { value in value.pairs.map { _ in InputObject(value) } }
    }
}

extension FactType<UInt64> {
    static var time: FactType {
        FactType(name: "a time such as 2026-01-01T00:00:00Z") { $0.string.flatMap(Timestamp.nanoseconds) }
    }
}

extension FactType<UInt16> {
    static var port: FactType {
        FactType(name: "a number from 0 to 65535") { $0.integer.flatMap { UInt16(exactly: $0) } }
    }
}

extension FactType<IPAddress> {
    static var address: FactType {
        FactType(name: "an IPv4 or IPv6 address") { $0.string.flatMap { IPAddress($0) } }
    }
}

extension FactType<TransportProtocol> {
    static var transport: FactType {
        FactType(name: "tcp or udp") { value in
            switch value.string {
            case "tcp": .tcp
            case "udp": .udp
            default: nil
            }
        }
    }
}

extension FactType<DecisionStage> {
    static var stage: FactType {
        FactType(name: "connect, resolve, hello or request") { $0.string.flatMap { DecisionStage(rawValue: $0) } }
    }
}

extension FactType<HostSource> {
    static var hostSource: FactType {
        FactType(name: "a source such as sni or http_host") { $0.string.flatMap { HostSource(rawValue: $0) } }
    }
}

extension RegoValue {
    /// The pairs of an object.
    var pairs: [(key: RegoValue, value: RegoValue)]? {
        guard case .object(let pairs) = self else { return nil }
        return pairs
    }

    /// An object of texts.
    init(_ table: [String: String]) {
        self = .object(
            table.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                .map { (.string($0.key), .string($0.value)) })
    }
}

extension FactType<UInt32> {
    /// Two digits behind the point at most.
    static var hundredths: FactType {
        FactType(name: "a number with at most two decimals") { value in
            guard case .number(let text) = value else { return nil }
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard let whole = parts.first.flatMap({ UInt32($0) }), whole <= 1000, parts.count <= 2 else { return nil }
            guard parts.count == 2 else { return whole * 100 }
            guard (1...2).contains(parts[1].utf8.count), let rest = UInt32(parts[1]) else { return nil }
            return whole * 100 + (parts[1].utf8.count == 1 ? rest * 10 : rest)
        }
    }

    /// A uid or a count.
    static var word: FactType {
        FactType(name: "a number from 0 to 4294967295") { $0.integer.flatMap { UInt32(exactly: $0) } }
    }
}

extension InputFact {
    /// A number from its hundredfold, without zeros at the end.
    private static func decimal(hundredths number: UInt32) -> String {
        let (whole, rest) = number.quotientAndRemainder(dividingBy: 100)
        if rest == 0 { return String(whole) }
        return rest % 10 == 0 ? "\(whole).\(rest / 10)" : "\(whole).\(rest < 10 ? "0" : "")\(rest)"
    }

    /// The fact as a policy sees it.
    var value: RegoValue {
        switch self {
        case .time(let nanoseconds): .string(Timestamp.text(nanoseconds: nanoseconds))
        case .stage(let stage): .string(stage.rawValue)
        case .hostSource(let source): .string(source.rawValue)
        case .transport(let transport): .string(transport.description)
        case .address(let address): .string(address.description)
        case .number(let number): .number(String(number))
        case .hundredths(let number): .number(Self.decimal(hundredths: number))
        case .flag(let flag): .boolean(flag)
        case .text(let text): .string(text)
        case .list(let texts): .array(texts.map { .string($0) })
        case .table(let table): RegoValue(table)
        case .object(let object): object.value
        }
    }
}
