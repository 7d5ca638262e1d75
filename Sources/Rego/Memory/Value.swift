/// What a `Value` is. The order is OPA's order of kinds, so that comparing raw values compares kinds.
enum Tag: UInt8 {
    /// No value: an unset slot, an undefined reference.
    case undefined = 0
    case null = 1
    case `false` = 2
    case `true` = 3
    /// A whole number that fits 64 bits; its text is the canonical decimal one.
    case int = 4
    /// Any other number, by its literal text.
    case number = 5
    case string = 6
    case array = 7
    case object = 8
    case set = 9
}

/// One Rego value in 16 trivial bytes: a tag, a hash and either the value itself or the address of its block in an
/// `Arena`. It owns nothing: it lives as long as the arena its block came from.
struct Value {
    /// The kind.
    let tag: Tag
    /// How deep collections are nested in this one; zero for other values.
    let depth: UInt16
    /// Equal values have equal hashes.
    let hash: UInt32
    /// The whole number, or the block's address.
    let bits: UInt64

    @inline(__always)
    init(tag: Tag, hash: UInt32, bits: UInt64, depth: UInt16 = 0) {
        self.tag = tag
        self.depth = depth
        self.hash = hash
        self.bits = bits
    }

    static let undefined = Value(tag: .undefined, hash: 0, bits: 0)
    static var null: Value { @inline(__always) get { Value(tag: .null, hash: 0x9E37_79B1, bits: 0) } }
    static var `true`: Value { @inline(__always) get { Value(tag: .true, hash: 0x85EB_CA77, bits: 0) } }
    static var `false`: Value { @inline(__always) get { Value(tag: .false, hash: 0xC2B2_AE3D, bits: 0) } }

    /// A boolean.
    @inline(__always)
    init(_ boolean: Bool) {
        self = boolean ? .true : .false
    }

    /// A whole number.
    @inline(__always)
    init(_ integer: Int) {
        let bits = UInt64(bitPattern: Int64(integer))
        self.init(tag: .int, hash: Value.mix(bits), bits: bits)
    }

    /// The hash of 64 bits.
    @inline(__always)
    static func mix(_ bits: UInt64) -> UInt32 {
        let product = (bits ^ 0x9E37_79B9_7F4A_7C15) &* 0xD6E8_FEB8_6659_FD93
        return UInt32(truncatingIfNeeded: product >> 32) ^ UInt32(truncatingIfNeeded: product)
    }

    @inline(__always) var isUndefined: Bool { tag == .undefined }
    @inline(__always) var isDefined: Bool { tag != .undefined }
    @inline(__always) var isNumber: Bool { tag == .int || tag == .number }
    @inline(__always) var isBoolean: Bool { tag == .true || tag == .false }
    @inline(__always) var isComposite: Bool { tag.rawValue >= Tag.array.rawValue }
    /// The whole number of an `.int`.
    @inline(__always) var integer: Int { Int(Int64(bitPattern: bits)) }

    /// The name that `type_name` gives the kind.
    var typeName: String {
        switch tag {
        case .undefined: "undefined"
        case .null: "null"
        case .true, .false: "boolean"
        case .int, .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        case .set: "set"
        }
    }
}

extension Value {
    /// OPA's total order: kinds first, then contents.
    static func compare(_ a: Value, _ b: Value) -> Int {
        let kindA = a.orderOfKind
        let kindB = b.orderOfKind
        if kindA != kindB { return kindA < kindB ? -1 : 1 }
        switch a.tag {
        case .undefined, .null: return 0
        case .true, .false: return Int(a.tag.rawValue) - Int(b.tag.rawValue)
        case .int, .number:
            if a.tag == .int, b.tag == .int { return a.integer < b.integer ? -1 : a.integer == b.integer ? 0 : 1 }
            return Decimal.compare(Decimal(a), Decimal(b))
        case .string: return a.compareText(to: b)
        case .array:
            if a.bits == b.bits { return 0 }
            return compareElements(a, b)
        case .set:
            if a.bits == b.bits { return 0 }
            return compareElements(a, b)
        case .object:
            if a.bits == b.bits { return 0 }
            // Keys decide before values, one after the other.
            let count = min(a.count, b.count)
            for index in 0..<count {
                let keys = compare(a.key(index), b.key(index))
                if keys != 0 { return keys }
                let values = compare(a.element(index), b.element(index))
                if values != 0 { return values }
            }
            return a.count - b.count
        }
    }

    private static func compareElements(_ a: Value, _ b: Value) -> Int {
        let count = min(a.count, b.count)
        for index in 0..<count {
            let order = compare(a.element(index), b.element(index))
            if order != 0 { return order }
        }
        return a.count - b.count
    }

    private var orderOfKind: UInt8 {
        switch tag {
        case .false: Tag.true.rawValue
        case .number: Tag.int.rawValue
        default: tag.rawValue
        }
    }

    /// Whether two values are the same to Rego.
    @inline(__always)
    static func equal(_ a: Value, _ b: Value) -> Bool {
        if a.hash != b.hash { return false }
        if a.tag == b.tag {
            if a.bits == b.bits { return true }
            switch a.tag {
            case .int: return false
            case .string: return a.sameText(as: b)
            default: return slowEqual(a, b)
            }
        }
        return slowEqual(a, b)
    }

    @inline(never)
    private static func slowEqual(_ a: Value, _ b: Value) -> Bool {
        switch (a.tag, b.tag) {
        case (.array, .array), (.set, .set):
            guard a.count == b.count else { return false }
            for index in 0..<a.count where !equal(a.element(index), b.element(index)) { return false }
            return true
        case (.object, .object):
            guard a.count == b.count else { return false }
            for index in 0..<a.count {
                if !equal(a.key(index), b.key(index)) || !equal(a.element(index), b.element(index)) { return false }
            }
            return true
        case (.int, .number), (.number, .int), (.number, .number): return compare(a, b) == 0
        default: return false
        }
    }
}
