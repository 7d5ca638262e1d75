// DecisionLog: what was decided, kept for the auditor.
//
// A queue thread makes a `DecisionRecord` of every decision and pushes it into its own `RecordRing`, which never blocks.
// One `LogThread` empties the rings, folds repeats (`RecordFolder`), adds what is too slow for the packet path (the
// process), formats the record (`RecordFormat`, every hostile byte escaped by `JournalText`) and writes it to journald's
// native socket (`JournalSocket`), with a bounded `RecordSpool` between, shared fairly among agents, for the time that
// journald is slow or gone. What cannot be kept is counted, and the count is a record too. `JournalReader` reads records
// back through journalctl. `RecordFolder`, `RecordFormat` and `RecordSpool` do no I/O: time is a parameter.
//
// Imports PacketHeaders, Identity, Policy and CUnixSocket; Glibc for sockets and the clock, FoundationEssentials for
// decoding JSON in `JournalReader` only.

/// Names one decision: a UUID of version 7 (RFC 9562 §5.7), so that ids sort by the time of their decisions, as bytes and
/// as text.
public struct DecisionID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The first eight bytes: 48 bits of milliseconds since the Unix epoch, the version, 12 bits of the millisecond's
    /// fraction (RFC 9562 §6.2, method 3).
    public let high: UInt64
    /// The last eight bytes: the variant and 62 random bits.
    public let low: UInt64

    /// An id from a clock reading and random bits.
    /// - Parameters:
    ///   - nanoseconds: `CLOCK_REALTIME` in nanoseconds since the Unix epoch.
    ///   - random: 64 random bits, of which 62 are used.
    public init(nanoseconds: UInt64, random: UInt64) {
        let milliseconds = nanoseconds / 1_000_000
        // 4096 steps a millisecond; below 4096 since the remainder is below 1_000_000.
        let fraction = nanoseconds % 1_000_000 * 4096 / 1_000_000
        high = milliseconds << 16 | 0x7000 | fraction
        low = random & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    }

    /// An id from its text, hyphens optional, in either case; nil for anything but a UUID of version 7.
    public init?(_ text: some StringProtocol) {
        var halves: (UInt64, UInt64) = (0, 0)
        var digits = 0
        for byte in text.utf8 where byte != 0x2D {
            guard digits < 32, let value = Self.value(of: byte) else { return nil }
            if digits < 16 { halves.0 = halves.0 << 4 | value } else { halves.1 = halves.1 << 4 | value }
            digits += 1
        }
        guard digits == 32, halves.0 >> 12 & 0xF == 7, halves.1 >> 62 == 2 else { return nil }
        high = halves.0
        low = halves.1
    }

    /// When the decision was made: nanoseconds since the Unix epoch, exact to a quarter of a microsecond.
    public var nanoseconds: UInt64 {
        (high >> 16) * 1_000_000 + (high & 0xFFF) * 1_000_000 / 4096
    }

    /// 36 characters: lower-case digits in groups of 8, 4, 4, 4 and 12.
    public var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            var position = 0
            for index in 0..<32 {
                if index == 8 || index == 12 || index == 16 || index == 20 {
                    buffer[position] = 0x2D
                    position += 1
                }
                let half = index < 16 ? high : low
                let nibble = UInt8(truncatingIfNeeded: half >> (60 - 4 * UInt64(index & 15))) & 0xF
                buffer[position] = nibble < 10 ? 0x30 + nibble : 0x57 + nibble
                position += 1
            }
            return position
        }
    }

    /// Earlier decisions first; within a quarter of a microsecond in no particular order.
    public static func < (left: DecisionID, right: DecisionID) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }

    private static func value(of digit: UInt8) -> UInt64? {
        switch digit {
        case 0x30...0x39: UInt64(digit - 0x30)
        case 0x41...0x46: UInt64(digit - 0x37)
        case 0x61...0x66: UInt64(digit - 0x57)
        default: nil
        }
    }
}

/// Makes ids for one thread: random bits from a seed, by SplitMix64 (Steele, Lea and Flood, 2014), so that no system call
/// is on the packet path. Ids need to be different, not secret.
public struct DecisionIDSource: Sendable {
    private var state: UInt64

    /// A source from 64 random bits; two threads must have different ones.
    public init(seed: UInt64) {
        state = seed
    }

    /// The next id, for a decision made at `nanoseconds` since the Unix epoch.
    public mutating func next(nanoseconds: UInt64) -> DecisionID {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return DecisionID(nanoseconds: nanoseconds, random: mixed ^ mixed >> 31)
    }
}
