// The only file that touches memory without Swift's own checks.
//
// An `Arena` hands out 16-byte aligned blocks that never move; a `Value` points at one. Every block begins with its
// count, every accessor compares the index with that count, and nothing outside this file sees an address. A value
// must not outlive its arena: arenas of base documents and programs are owned by the policy, the arena of a query by
// its evaluator, which hands out owned copies (`RegoValue`) or values that are valid until the next query.

/// The first 16 bytes of every block.
private struct BlockHeader {
    /// Elements, pairs or bytes.
    var count: Int
    /// Slots of the hash index behind the elements, zero or a power of two; for numbers 1 where `whole` is valid.
    var slots: Int
}

/// Memory for values: blocks in chunks that grow, all released at once.
final class Arena {
    private var chunks: [(base: UnsafeMutableRawPointer, size: Int)] = []
    private var current = 0
    private var next: UnsafeMutableRawPointer
    private var end: UnsafeMutableRawPointer
    /// Bytes in full chunks and whatever was handed out since the last reset.
    private(set) var fullBytes = 0
    /// Whether a value was made since the last reset that is nested too deeply to be walked through.
    private(set) var isTooDeep = false

    /// An arena whose first chunk has `capacity` bytes.
    init(capacity: Int = 16384) {
        let size = max(1024, (capacity + 15) & ~15)
        let base = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        chunks.append((base, size))
        next = base
        end = base + size
    }

    deinit {
        for chunk in chunks { chunk.base.deallocate() }
    }

    /// Bytes in use.
    @inline(__always)
    var used: Int { fullBytes + (next - chunks[current].base) }

    /// Forgets every value; chunks past the first are given back.
    func reset() {
        if chunks.count > 1 {
            for chunk in chunks.dropFirst() { chunk.base.deallocate() }
            chunks.removeSubrange(1...)
            current = 0
            fullBytes = 0
            end = chunks[0].base + chunks[0].size
        }
        next = chunks[0].base
        isTooDeep = false
    }

    /// The depth of a collection around values of at most `inner`.
    @inline(__always)
    private func deeper(_ inner: UInt16) -> UInt16 {
        let depth = inner &+ 1
        if depth > UInt16(RegoLimits.maximumValueDepth) {
            isTooDeep = true
            return UInt16(RegoLimits.maximumValueDepth)
        }
        return depth
    }

    @inline(__always)
    fileprivate func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = (byteCount &+ 15) & ~15
        if end - next >= size {
            let block = next
            next += size
            return block
        }
        return grow(size)
    }

    @inline(never)
    private func grow(_ size: Int) -> UnsafeMutableRawPointer {
        fullBytes += next - chunks[current].base
        let chunk = max(size, min(chunks[current].size * 2, 1 << 22))
        let base = UnsafeMutableRawPointer.allocate(byteCount: chunk, alignment: 16)
        chunks.append((base, chunk))
        current = chunks.count - 1
        next = base + size
        end = base + chunk
        return base
    }

    /// Whether a value's block lies in this arena.
    func contains(_ value: Value) -> Bool {
        guard value.tag.rawValue >= Tag.number.rawValue else { return false }
        let address = UInt(value.bits)
        return chunks.contains { chunk in
            let base = UInt(bitPattern: chunk.base)
            return address >= base && address < base + UInt(chunk.size)
        }
    }

    // MARK: Strings and numbers

    /// A string of these UTF-8 bytes.
    func string(_ bytes: UnsafeBufferPointer<UInt8>) -> Value {
        let block = allocate(16 &+ bytes.count)
        block.storeBytes(of: BlockHeader(count: bytes.count, slots: 0), as: BlockHeader.self)
        if let base = bytes.baseAddress { (block + 16).copyMemory(from: base, byteCount: bytes.count) }
        return Value(
            tag: .string, hash: Self.hash(bytes), bits: UInt64(UInt(bitPattern: block)))
    }

    /// A string of these UTF-8 bytes.
    func string(_ bytes: [UInt8]) -> Value {
        bytes.withUnsafeBufferPointer { string($0) }
    }

    /// A string.
    func string(_ text: String) -> Value {
        var text = text
        return text.withUTF8 { string($0) }
    }

    /// A string.
    func string(_ text: Substring) -> Value {
        var text = text
        return text.withUTF8 { string($0) }
    }

    /// A number from its literal text (JSON's grammar); canonical whole numbers of 64 bits become `.int`.
    func number(_ text: [UInt8]) -> Value {
        if let integer = Decimal.canonicalInteger(text) { return Value(integer) }
        let block = allocate(16 &+ text.count)
        block.storeBytes(of: BlockHeader(count: text.count, slots: 0), as: BlockHeader.self)
        text.withUnsafeBufferPointer {
            if let base = $0.baseAddress { (block + 16).copyMemory(from: base, byteCount: text.count) }
        }
        return Value(tag: .number, hash: Decimal(text).valueHash, bits: UInt64(UInt(bitPattern: block)))
    }

    /// A number from its literal text.
    func number(_ text: String) -> Value { number(Array(text.utf8)) }

    /// The hash of a string's bytes.
    static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt32 {
        var state: UInt64 = 0x243F_6A88_85A3_08D3 ^ UInt64(truncatingIfNeeded: bytes.count)
        guard let base = bytes.baseAddress else { return Value.mix(state) }
        let raw = UnsafeRawPointer(base)
        var offset = 0
        while offset &+ 8 <= bytes.count {
            let word = raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            state = (state ^ word) &* 0x9FB2_1C65_1E98_DF25
            state ^= state >> 32
            offset &+= 8
        }
        var rest: UInt64 = 0
        while offset < bytes.count {
            rest = rest << 8 | UInt64(bytes[offset])
            offset &+= 1
        }
        state = (state ^ rest) &* 0x9FB2_1C65_1E98_DF25
        state ^= state >> 29
        return Value.mix(state)
    }

    // MARK: Collections

    /// An array of these elements.
    func array(_ elements: UnsafeBufferPointer<Value>) -> Value {
        let block = allocate(16 &+ elements.count &* 16)
        block.storeBytes(of: BlockHeader(count: elements.count, slots: 0), as: BlockHeader.self)
        let target = (block + 16).assumingMemoryBound(to: Value.self)
        var hash: UInt32 = 0x1B87_3593
        var depth: UInt16 = 0
        for index in 0..<elements.count {
            let element = elements[index]
            target[index] = element
            depth = max(depth, element.depth)
            hash = (hash &* 31) ^ element.hash
        }
        return Value(tag: .array, hash: hash, bits: UInt64(UInt(bitPattern: block)), depth: deeper(depth))
    }

    /// An array of these elements.
    func array(_ elements: [Value]) -> Value {
        elements.withUnsafeBufferPointer { array($0) }
    }

    /// A set of these elements, in any order, with repetitions; reorders `elements`.
    func set(_ elements: UnsafeMutableBufferPointer<Value>) -> Value {
        sort(elements)
        var count = 0
        for index in 0..<elements.count {
            if count > 0, Value.equal(elements[count - 1], elements[index]) { continue }
            elements[count] = elements[index]
            count += 1
        }
        let slots = count > 8 ? Self.slots(for: count) : 0
        let block = allocate(16 &+ count &* 16 &+ slots &* 4)
        block.storeBytes(of: BlockHeader(count: count, slots: slots), as: BlockHeader.self)
        let target = (block + 16).assumingMemoryBound(to: Value.self)
        var hash: UInt32 = 0x5BD1_E995
        var depth: UInt16 = 0
        for index in 0..<count {
            depth = max(depth, elements[index].depth)
            target[index] = elements[index]
            hash = (hash &* 31) ^ elements[index].hash
        }
        if slots > 0 { Self.fillIndex(block + 16 + count &* 16, slots, target, count) }
        return Value(tag: .set, hash: hash, bits: UInt64(UInt(bitPattern: block)), depth: deeper(depth))
    }

    /// A set of these elements, in any order.
    func set(_ elements: [Value]) -> Value {
        var elements = elements
        return elements.withUnsafeMutableBufferPointer { set($0) }
    }

    /// An object of `pairs` (key, value, key, value, ...), in any order; reorders them. `conflict` is set where one
    /// key has two different values; the first one stays. With `lastWins` a later pair replaces an earlier one.
    func object(pairs: UnsafeMutableBufferPointer<Value>, lastWins: Bool = false, conflict: inout Bool) -> Value {
        let total = pairs.count / 2
        sortPairs(pairs, total)
        var count = 0
        for index in 0..<total {
            if count > 0, Value.equal(pairs[2 * count - 2], pairs[2 * index]) {
                if lastWins {
                    pairs[2 * count - 1] = pairs[2 * index + 1]
                } else if !Value.equal(pairs[2 * count - 1], pairs[2 * index + 1]) {
                    conflict = true
                }
                continue
            }
            pairs[2 * count] = pairs[2 * index]
            pairs[2 * count + 1] = pairs[2 * index + 1]
            count += 1
        }
        let slots = count > 8 ? Self.slots(for: count) : 0
        let block = allocate(16 &+ count &* 32 &+ slots &* 4)
        block.storeBytes(of: BlockHeader(count: count, slots: slots), as: BlockHeader.self)
        let keys = (block + 16).assumingMemoryBound(to: Value.self)
        let values = keys + count
        var hash: UInt32 = 0x2F0B_4C47
        var depth: UInt16 = 0
        for index in 0..<count {
            depth = max(depth, max(pairs[2 * index].depth, pairs[2 * index + 1].depth))
            keys[index] = pairs[2 * index]
            values[index] = pairs[2 * index + 1]
            hash = (hash &* 31) ^ (keys[index].hash &* 17) ^ values[index].hash
        }
        if slots > 0 { Self.fillIndex(block + 16 + count &* 32, slots, keys, count) }
        return Value(tag: .object, hash: hash, bits: UInt64(UInt(bitPattern: block)), depth: deeper(depth))
    }

    /// An object of these pairs; a later pair replaces an earlier one with the same key.
    func object(_ pairs: [(key: Value, value: Value)]) -> Value {
        var flat: [Value] = []
        flat.reserveCapacity(pairs.count * 2)
        for pair in pairs {
            flat.append(pair.key)
            flat.append(pair.value)
        }
        var conflict = false
        return flat.withUnsafeMutableBufferPointer { object(pairs: $0, lastWins: true, conflict: &conflict) }
    }

    private static func slots(for count: Int) -> Int {
        var slots = 16
        while slots < count &* 2 { slots &*= 2 }
        return slots
    }

    private static func fillIndex(
        _ table: UnsafeMutableRawPointer, _ slots: Int, _ keys: UnsafeMutablePointer<Value>, _ count: Int
    ) {
        let table = table.assumingMemoryBound(to: UInt32.self)
        for slot in 0..<slots { table[slot] = UInt32.max }
        for index in 0..<count {
            var slot = Int(keys[index].hash) & (slots - 1)
            while table[slot] != UInt32.max { slot = (slot &+ 1) & (slots - 1) }
            table[slot] = UInt32(truncatingIfNeeded: index)
        }
    }

    private func sort(_ elements: UnsafeMutableBufferPointer<Value>) {
        if elements.count <= 16 {
            var index = 1
            while index < elements.count {
                let element = elements[index]
                var place = index
                while place > 0, Value.compare(elements[place - 1], element) > 0 {
                    elements[place] = elements[place - 1]
                    place -= 1
                }
                elements[place] = element
                index += 1
            }
            return
        }
        var all = elements
        all.sort { Value.compare($0, $1) < 0 }
    }

    private func sortPairs(_ pairs: UnsafeMutableBufferPointer<Value>, _ total: Int) {
        if total <= 12 {
            var index = 1
            while index < total {
                let key = pairs[2 * index]
                let value = pairs[2 * index + 1]
                var place = index
                while place > 0, Value.compare(pairs[2 * place - 2], key) > 0 {
                    pairs[2 * place] = pairs[2 * place - 2]
                    pairs[2 * place + 1] = pairs[2 * place - 1]
                    place -= 1
                }
                pairs[2 * place] = key
                pairs[2 * place + 1] = value
                index += 1
            }
            return
        }
        var order = Array(0..<total)
        order.sort { a, b in
            let order = Value.compare(pairs[2 * a], pairs[2 * b])
            return order == 0 ? a < b : order < 0
        }
        let copy = Array(pairs)
        for (place, source) in order.enumerated() {
            pairs[2 * place] = copy[2 * source]
            pairs[2 * place + 1] = copy[2 * source + 1]
        }
    }

    // MARK: Copies

    /// A copy of `value` in this arena.
    func copy(_ value: Value) -> Value {
        switch value.tag {
        case .undefined, .null, .true, .false, .int: return value
        case .string: return value.withBytes { string($0) }
        case .number: return value.withBytes { number(Array($0)) }
        case .array: return array((0..<value.count).map { copy(value.element($0)) })
        case .set: return set((0..<value.count).map { copy(value.element($0)) })
        case .object:
            return object((0..<value.count).map { (copy(value.key($0)), copy(value.element($0))) })
        }
    }
}

extension Value {
    @inline(__always)
    private var block: UnsafeRawPointer {
        // Only called for tags whose `bits` an arena set to a block's address.
        UnsafeRawPointer(bitPattern: UInt(bits)).unsafelyUnwrapped
    }

    @inline(__always)
    private var header: BlockHeader { block.load(as: BlockHeader.self) }

    /// Elements, pairs or bytes of a string, number, array, set or object; zero for other kinds.
    @inline(__always)
    var count: Int { tag.rawValue >= Tag.number.rawValue ? header.count : 0 }

    /// The element of an array or set, the value of an object's pair, at `index`; undefined past the end.
    @inline(__always)
    func element(_ index: Int) -> Value {
        guard isComposite else { return .undefined }
        let count = header.count
        guard index >= 0, index < count else { return .undefined }
        let offset = tag == .object ? count &+ index : index
        return (block + 16).assumingMemoryBound(to: Value.self)[offset]
    }

    /// The key of an object's pair at `index`; the index of an array's element; the element itself of a set.
    @inline(__always)
    func key(_ index: Int) -> Value {
        guard isComposite, index >= 0, index < header.count else { return .undefined }
        if tag == .array { return Value(index) }
        return (block + 16).assumingMemoryBound(to: Value.self)[index]
    }

    /// The place of `key` among an object's keys or a set's elements, or -1.
    func place(of key: Value) -> Int {
        guard tag == .object || tag == .set else { return -1 }
        let header = header
        let keys = (block + 16).assumingMemoryBound(to: Value.self)
        if header.slots == 0 {
            for index in 0..<header.count where Value.equal(keys[index], key) { return index }
            return -1
        }
        let stride = tag == .object ? 32 : 16
        let table = (block + 16 + header.count &* stride).assumingMemoryBound(to: UInt32.self)
        let mask = header.slots &- 1
        var slot = Int(key.hash) & mask
        while true {
            let index = table[slot]
            if index == UInt32.max { return -1 }
            if Value.equal(keys[Int(index)], key) { return Int(index) }
            slot = (slot &+ 1) & mask
        }
    }

    /// What a reference with `key` finds in this value: an object's value, an array's element, a set's member.
    @inline(__always)
    func lookup(_ key: Value) -> Value {
        switch tag {
        case .object:
            let place = place(of: key)
            return place < 0 ? .undefined : element(place)
        case .array:
            if key.tag == .int { return element(key.integer) }
            if key.tag == .number, let index = Decimal(key).integer { return element(index) }
            return .undefined
        case .set:
            let place = place(of: key)
            return place < 0 ? .undefined : element(place)
        default: return .undefined
        }
    }

    /// The bytes of a string or the text of a literal number; nothing for other kinds.
    @inline(__always)
    func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) throws -> Result) rethrows -> Result {
        guard tag == .string || tag == .number else { return try body(UnsafeBufferPointer(start: nil, count: 0)) }
        return try body(
            UnsafeBufferPointer(start: (block + 16).assumingMemoryBound(to: UInt8.self), count: header.count))
    }

    /// The bytes of a string or literal number.
    var bytes: [UInt8] { withBytes { Array($0) } }

    /// A string's text, a literal number's text.
    var text: String { withBytes { String(decoding: $0, as: UTF8.self) } }

    /// Whether two strings have the same bytes.
    @inline(__always)
    func sameText(as other: Value) -> Bool {
        withBytes { a in
            other.withBytes { b in
                guard a.count == b.count else { return false }
                var index = 0
                while index < a.count {
                    if a[index] != b[index] { return false }
                    index &+= 1
                }
                return true
            }
        }
    }

    /// The order of two strings' bytes.
    func compareText(to other: Value) -> Int {
        withBytes { a in
            other.withBytes { b in
                let count = min(a.count, b.count)
                var index = 0
                while index < count {
                    if a[index] != b[index] { return a[index] < b[index] ? -1 : 1 }
                    index &+= 1
                }
                return a.count == b.count ? 0 : a.count < b.count ? -1 : 1
            }
        }
    }
}
