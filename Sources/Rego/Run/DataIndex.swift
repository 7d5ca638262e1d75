/// What a program looks up in a base document by more than its keys.
struct DataIndexSpecification {
    /// How elements are found.
    enum Kind: Hashable {
        /// Those equal to a value.
        case member
        /// Strings that a text ends in.
        case suffix
        /// Strings that a text begins with.
        case prefix
        /// CIDR blocks that hold an address or a block.
        case block
    }

    /// The number of the document's path.
    var path: Int32
    var kind: Kind
}

/// Finds elements of a base document without looking at all of them. Made when the document is loaded; immutable, and
/// nothing in it counts references (`FrozenRows`).
struct DataIndex {
    /// The document.
    let document: Value
    /// For `member`: its elements as a set.
    let members: Value
    private let kind: DataIndexSpecification.Kind
    /// Hash to the first element with it, open addressing; -1 is free.
    private let table: FrozenArray<Int32>
    private let hashes: FrozenArray<UInt64>
    /// For each element the next one with the same hash, or -1.
    private let following: FrozenArray<Int32>
    /// Lengths of strings, or lengths of prefixes of blocks, that there are: one bit each.
    private let lengths: FrozenArray<UInt64>
    private let longest: Int

    init(_ document: Value, _ kind: DataIndexSpecification.Kind, _ arena: Arena) {
        self.document = document
        self.kind = kind
        members = kind == .member && document.isComposite ? arena.set(document.elements) : .undefined
        var content = Content()
        if kind != .member { content.fill(document, kind) }
        table = FrozenArray(content.table)
        hashes = FrozenArray(content.hashes)
        following = FrozenArray(content.following)
        lengths = FrozenArray(content.lengths)
        longest = content.longest
    }

    /// The owner's to call, once nobody reads any longer.
    func deallocate() {
        table.deallocate()
        hashes.deallocate()
        following.deallocate()
        lengths.deallocate()
    }

    /// The tables while they are made.
    private struct Content {
        var table: [Int32] = []
        var hashes: [UInt64] = []
        var following: [Int32] = []
        var lengths: [UInt64] = []
        var longest = 0

        mutating func fill(_ document: Value, _ kind: DataIndexSpecification.Kind) {
            let count = document.isComposite ? document.count : 0
            var size = 16
            while size < count * 2 { size *= 2 }
            table = [Int32](repeating: -1, count: size)
            hashes = [UInt64](repeating: 0, count: count)
            following = [Int32](repeating: -1, count: count)
            lengths = [UInt64](repeating: 0, count: 5)
            // From the last on, so that chains ascend.
            for index in stride(from: count - 1, through: 0, by: -1) {
                let element = document.element(index)
                guard element.tag == .string else { continue }
                if kind == .block {
                    guard let block = AddressRange(block: element.bytes) else { continue }
                    let key = block.bytes.count == 4 ? block.prefix : 64 + block.prefix
                    note(key)
                    insert(index, DataIndex.hash(block.bytes, block.prefix))
                } else {
                    note(element.count)
                    insert(index, element.withBytes { DataIndex.hash($0, backwards: kind == .suffix) })
                }
            }
        }

        private mutating func note(_ length: Int) {
            longest = max(longest, length)
            while lengths.count <= length >> 6 { lengths.append(0) }
            lengths[length >> 6] |= 1 << UInt64(length & 63)
        }

        private mutating func insert(_ index: Int, _ hash: UInt64) {
            hashes[index] = hash
            let mask = table.count - 1
            var slot = Int(truncatingIfNeeded: hash >> 16) & mask
            while table[slot] >= 0 {
                if hashes[Int(table[slot])] == hash {
                    following[index] = table[slot]
                    break
                }
                slot = (slot + 1) & mask
            }
            table[slot] = Int32(index)
        }
    }

    @inline(__always)
    private func has(_ length: Int) -> Bool {
        length >> 6 < lengths.count && lengths[length >> 6] & (1 << UInt64(length & 63)) != 0
    }

    /// The first element with a hash, or -1.
    @inline(__always)
    private func first(_ hash: UInt64) -> Int32 {
        let mask = table.count - 1
        var slot = Int(truncatingIfNeeded: hash >> 16) & mask
        while table[slot] >= 0 {
            if hashes[Int(table[slot])] == hash { return table[slot] }
            slot = (slot + 1) & mask
        }
        return -1
    }

    private static let seed: UInt64 = 0x243F_6A88_85A3_08D3

    @inline(__always)
    private static func step(_ state: UInt64, _ byte: UInt8) -> UInt64 {
        let product = (state ^ UInt64(byte)) &* 0x9FB2_1C65_1E98_DF25
        return product ^ (product >> 29)
    }

    private static func hash(_ bytes: UnsafeBufferPointer<UInt8>, backwards: Bool) -> UInt64 {
        var state = seed
        for index in bytes.indices { state = step(state, bytes[backwards ? bytes.count - 1 - index : index]) }
        return state
    }

    private static func hash(_ address: [UInt8], _ prefix: Int) -> UInt64 {
        var state = seed
        for byte in address { state = step(state, byte) }
        return step(step(state, UInt8(truncatingIfNeeded: prefix)), UInt8(truncatingIfNeeded: address.count))
    }

    /// The places of elements that may match `subject`, ascending. Hashes may agree by chance: callers test again.
    func candidates(_ subject: Value, into places: inout [Int32]) {
        places.removeAll(keepingCapacity: true)
        if table.count == 0 { return }
        switch kind {
        case .member: return
        case .suffix, .prefix:
            let backwards = kind == .suffix
            subject.withBytes { bytes in
                var state = Self.seed
                if has(0) { add(first(state), &places) }
                let count = min(bytes.count, longest)
                var length = 0
                while length < count {
                    state = Self.step(state, bytes[backwards ? bytes.count &- 1 &- length : length])
                    length &+= 1
                    if has(length) { add(first(state), &places) }
                }
            }
        case .block:
            let bytes = subject.bytes
            var limit = Int.max
            var address = AddressRange.plainAddress(bytes)
            if address == nil, let block = AddressRange(block: bytes) {
                address = block.bytes
                limit = block.prefix
            }
            guard let address else { return }
            let start = address.count == 4 ? 0 : 64
            for prefix in 0...min(address.count * 8, limit) where has(start + prefix) {
                add(first(Self.hash(AddressRange.masked(address, prefix), prefix)), &places)
            }
        }
        if places.count > 1 { places.sort() }
    }

    @inline(__always)
    private func add(_ start: Int32, _ places: inout [Int32]) {
        var place = start
        while place >= 0 {
            places.append(place)
            place = following[Int(place)]
        }
    }
}
