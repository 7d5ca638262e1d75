/// What a thread remembers from query to query: compiled patterns.
final class BuiltinCaches {
    private struct Key: Hashable {
        let bytes: [UInt8]
    }

    /// Patterns that are remembered at most; beyond that all are forgotten.
    private static let capacity = 1024
    private var expressions: [Key: Result<RegularExpression, RegularExpression.SyntaxError>] = [:]
    private var globs: [Key: GlobPattern] = [:]
    // Patterns in constants and base documents keep their address, so the last look-ups are found by it.
    private var recent: [(address: UInt64, expression: RegularExpression)?] = Array(repeating: nil, count: 64)

    private var zones: [String: ZoneTable?] = [:]

    init() {}

    /// A zone of the tz database by its name.
    func zone(_ name: String) -> ZoneTable? {
        if let known = zones[name] { return known }
        if zones.count >= Self.capacity { zones.removeAll() }
        let table = ZoneTable(name)
        zones[name] = table
        return table
    }

    /// The compiled pattern of a string value. `isFrozen` says that the value's address outlives the query.
    func expression(
        _ pattern: Value, isFrozen: Bool
    ) throws(RegularExpression.SyntaxError) -> RegularExpression {
        let slot = Int(truncatingIfNeeded: pattern.hash) & 63
        if isFrozen, let entry = recent[slot], entry.address == pattern.bits { return entry.expression }
        let expression = try expression(pattern.bytes)
        if isFrozen { recent[slot] = (pattern.bits, expression) }
        return expression
    }

    /// Forgets what was found by address.
    func forgetAddresses() { for index in recent.indices { recent[index] = nil } }

    func expression(_ bytes: [UInt8]) throws(RegularExpression.SyntaxError) -> RegularExpression {
        let key = Key(bytes: bytes)
        if let known = expressions[key] { return try known.get() }
        if expressions.count >= Self.capacity { expressions.removeAll() }
        let result: Result<RegularExpression, RegularExpression.SyntaxError>
        do throws(RegularExpression.SyntaxError) {
            result = .success(try RegularExpression(bytes))
        } catch {
            result = .failure(error)
        }
        expressions[key] = result
        return try result.get()
    }

    /// The compiled glob of a pattern and its delimiters.
    func glob(_ pattern: [UInt8], _ delimiters: [UnicodeScalar]) throws(BuiltinFailure) -> GlobPattern {
        var bytes = pattern + [0xFF]
        for delimiter in delimiters { bytes += Array(String(Character(delimiter)).utf8) }
        let key = Key(bytes: bytes)
        if let known = globs[key] { return known }
        if globs.count >= Self.capacity { globs.removeAll() }
        let glob = try GlobPattern(String(decoding: pattern, as: UTF8.self), delimiters: delimiters)
        globs[key] = glob
        return glob
    }
}
