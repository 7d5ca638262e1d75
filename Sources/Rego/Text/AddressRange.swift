/// An IP address or a CIDR block, as Go's `net` reads them.
struct AddressRange: Hashable {
    /// 4 or 16 bytes.
    let bytes: [UInt8]
    /// Leading bits that count.
    let prefix: Int

    init(bytes: [UInt8], prefix: Int) {
        self.bytes = bytes
        self.prefix = prefix
    }

    private static let mappedPrefix: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]

    /// An address without a prefix.
    static func address(_ text: [UInt8]) -> [UInt8]? {
        if text.contains(UInt8(ascii: ":")) { return version6(text) }
        return version4(text)
    }

    /// An address without a prefix; one of IPv4 that is written as IPv6 is one of IPv4.
    static func plainAddress(_ text: [UInt8]) -> [UInt8]? { address(text).map { plain($0) } }

    /// The four bytes of an IPv4 address in IPv6's notation; other addresses as they are.
    static func plain(_ address: [UInt8]) -> [UInt8] {
        address.count == 16 && address.starts(with: mappedPrefix) ? Array(address.dropFirst(12)) : address
    }

    /// Sixteen bytes.
    static func mapped(_ address: [UInt8]) -> [UInt8] { address.count == 4 ? mappedPrefix + address : address }

    /// A block; the address is masked. Nil for text that is none.
    init?(block text: [UInt8]) {
        guard let slash = text.firstIndex(of: UInt8(ascii: "/")), let address = Self.address(Array(text[..<slash]))
        else {
            return nil
        }
        let digits = text[(slash + 1)...]
        guard !digits.isEmpty, digits.count <= 9, digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
            let prefix = Int(String(decoding: digits, as: UTF8.self)), prefix <= address.count * 8
        else { return nil }
        let masked = Self.masked(address, prefix)
        // An IPv4 block written as IPv6 is one of IPv4.
        if prefix >= 96, masked.starts(with: Self.mappedPrefix) {
            self.init(bytes: Array(masked.dropFirst(12)), prefix: prefix - 96)
        } else {
            self.init(bytes: masked, prefix: prefix)
        }
    }

    static func masked(_ bytes: [UInt8], _ prefix: Int) -> [UInt8] {
        var result = bytes
        for index in result.indices {
            let kept = max(0, min(8, prefix - index * 8))
            result[index] &= kept == 0 ? 0 : UInt8(truncatingIfNeeded: 0xFF << (8 - kept))
        }
        return result
    }

    /// Whether an address of the same version lies inside.
    func contains(_ address: [UInt8]) -> Bool {
        address.count == bytes.count && Self.masked(address, prefix) == bytes
    }

    /// The last address inside.
    var last: [UInt8] {
        var result = bytes
        for index in result.indices {
            let kept = max(0, min(8, prefix - index * 8))
            result[index] |= kept == 8 ? 0 : UInt8(truncatingIfNeeded: 0xFF >> kept)
        }
        return result
    }

    private static func version4(_ text: [UInt8]) -> [UInt8]? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard !part.isEmpty, part.count <= 3, part.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
                part.count == 1 || part.first != 0x30, let value = UInt8(String(decoding: part, as: UTF8.self))
            else { return nil }
            bytes.append(value)
        }
        return bytes
    }

    private static func version6(_ text: [UInt8]) -> [UInt8]? {
        var head: [UInt8] = []
        var tail: [UInt8] = []
        var seenGap = false
        var index = 0
        if text.starts(with: Array("::".utf8)) {
            seenGap = true
            index = 2
        }
        while index < text.count {
            var end = index
            while end < text.count, text[end] != UInt8(ascii: ":") { end += 1 }
            let part = text[index..<end]
            let count = head.count + tail.count
            if part.contains(UInt8(ascii: ".")) {
                guard end == text.count, count <= 12, let four = version4(Array(part)) else { return nil }
                if seenGap { tail += four } else { head += four }
                index = end
                break
            }
            guard !part.isEmpty, part.count <= 4, count <= 14,
                let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16), part.first != UInt8(ascii: "+")
            else { return nil }
            let pair = [UInt8(value >> 8), UInt8(value & 255)]
            if seenGap { tail += pair } else { head += pair }
            index = end
            if index == text.count { break }
            index += 1
            if index < text.count, text[index] == UInt8(ascii: ":") {
                if seenGap { return nil }
                seenGap = true
                index += 1
            } else if index == text.count {
                return nil
            }
        }
        let count = head.count + tail.count
        if seenGap ? count > 14 : count != 16 { return nil }
        return head + [UInt8](repeating: 0, count: 16 - count) + tail
    }

    /// The address in Go's notation.
    static func text(_ bytes: [UInt8]) -> String {
        if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        var best = 0..<0
        var index = 0
        while index < 8 {
            var end = index
            while end < 8, groups[end] == 0 { end += 1 }
            if end - index > best.count, end - index > 1 { best = index..<end }
            index = max(end, index + 1)
        }
        var text = ""
        index = 0
        while index < 8 {
            if index == best.lowerBound, !best.isEmpty {
                text += "::"
                index = best.upperBound
                continue
            }
            if index > 0, !text.hasSuffix("::") { text += ":" }
            text += String(groups[index], radix: 16)
            index += 1
        }
        return text
    }

    /// The next address; wraps around.
    static func increment(_ bytes: inout [UInt8]) {
        for index in bytes.indices.reversed() {
            bytes[index] &+= 1
            if bytes[index] != 0 { return }
        }
    }

    /// A run of addresses of 16 bytes each, and how a run that nothing was merged with is written.
    struct Run {
        var first: [UInt8]
        var last: [UInt8]
        var text: String?
    }

    /// The texts of the fewest blocks that cover the same addresses; blocks that touch no other stay as written.
    static func merged(_ runs: [Run]) -> [String] {
        let sorted = runs.sorted { a, b in
            a.last == b.last ? a.first.lexicographicallyPrecedes(b.first) : a.last.lexicographicallyPrecedes(b.last)
        }
        var joined: [Run] = []
        for run in sorted.reversed() {
            guard let next = joined.last else {
                joined.append(run)
                continue
            }
            var before = next.first
            decrement(&before)
            if run.last.lexicographicallyPrecedes(before) {
                joined.append(run)
            } else {
                let first = run.first.lexicographicallyPrecedes(next.first) ? run.first : next.first
                joined[joined.count - 1] = Run(first: first, last: next.last, text: nil)
            }
        }
        return joined.flatMap { run -> [String] in
            if let text = run.text { return [text] }
            return blocks(run.first, run.last).map { block in
                let bytes = plain(block.bytes)
                if bytes.count == 4, block.prefix >= 96 { return text(bytes) + "/" + String(block.prefix - 96) }
                return block.text
            }
        }
    }

    /// The address before; the first of its version stays.
    private static func decrement(_ bytes: inout [UInt8]) {
        let version4 = bytes.starts(with: mappedPrefix)
        let start = version4 ? 12 : 0
        if bytes[start...].allSatisfy({ $0 == 0 }) { return }
        for index in bytes.indices.reversed() {
            bytes[index] &-= 1
            if bytes[index] != 0xFF { return }
        }
    }

    /// The blocks of a run of addresses, largest first where they fit.
    private static func blocks(_ first: [UInt8], _ last: [UInt8]) -> [AddressRange] {
        var result: [AddressRange] = []
        var current = first
        while !last.lexicographicallyPrecedes(current) {
            var prefix = current.count * 8
            while prefix > 0 {
                let wider = AddressRange(bytes: masked(current, prefix - 1), prefix: prefix - 1)
                if wider.bytes != current || last.lexicographicallyPrecedes(wider.last) { break }
                prefix -= 1
            }
            let block = AddressRange(bytes: current, prefix: prefix)
            result.append(block)
            current = block.last
            increment(&current)
            if current.allSatisfy({ $0 == 0 }) { break }
        }
        return result
    }

    /// `address/prefix`.
    var text: String { Self.text(bytes) + "/" + String(prefix) }
}
