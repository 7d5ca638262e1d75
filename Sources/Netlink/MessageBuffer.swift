import CNetfilter
import Glibc

/// Netlink messages under construction in memory that is allocated once.
///
/// Each message is a `nlmsghdr`, a fixed header of its family and attributes, all aligned to four bytes
/// (linux/netlink.h). A write that does not fit leaves the buffer as it was and sets `isOverflowed`; a message that
/// overflowed is never sent.
struct MessageBuffer: ~Copyable {
    private let storage: UnsafeMutableRawPointer
    /// How many bytes fit.
    let capacity: Int
    /// How many bytes are written.
    private(set) var count = 0
    /// Whether a write did not fit since the last `removeAll`.
    private(set) var isOverflowed = false

    /// An empty buffer of `capacity` bytes.
    init(capacity: Int) {
        self.capacity = capacity
        storage = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit {
        storage.deallocate()
    }

    /// The first byte; valid as long as the buffer lives.
    var start: UnsafeRawPointer { UnsafeRawPointer(storage) }

    /// Forgets everything that was written.
    mutating func removeAll() {
        count = 0
        isOverflowed = false
    }

    /// Forgets what was written behind `offset`.
    mutating func truncate(to offset: Int) {
        count = min(count, offset)
    }

    /// Begins a message; `end(message:)` closes it. Returns its offset.
    mutating func begin(type: UInt16, flags: Int32, sequence: UInt32 = 0) -> Int {
        let offset = count
        append(
            nlmsghdr(
                nlmsg_len: 0, nlmsg_type: type, nlmsg_flags: UInt16(truncatingIfNeeded: flags | NLM_F_REQUEST),
                nlmsg_seq: sequence, nlmsg_pid: 0))
        return offset
    }

    /// Begins a message of a nfnetlink subsystem (linux/netfilter/nfnetlink.h).
    mutating func begin(
        subsystem: Int32, type: UInt32, flags: Int32, family: UInt8, resource: UInt16 = 0, sequence: UInt32 = 0
    ) -> Int {
        let offset = begin(
            type: UInt16(truncatingIfNeeded: subsystem << 8) | UInt16(truncatingIfNeeded: type), flags: flags,
            sequence: sequence)
        append(nfgenmsg(nfgen_family: family, version: UInt8(NFNETLINK_V0), res_id: resource.bigEndian))
        return offset
    }

    /// Closes the message or nested attribute's message that began at `offset`: writes its length.
    mutating func end(message offset: Int) {
        guard !isOverflowed else { return }
        storage.storeBytes(of: UInt32(truncatingIfNeeded: count - offset), toByteOffset: offset, as: UInt32.self)
    }

    /// Appends a fixed structure, padded to four bytes.
    mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        let size = MemoryLayout<Value>.size
        guard reserve(size) else { return }
        storage.storeBytes(of: value, toByteOffset: count, as: Value.self)
        pad(from: count + size)
    }

    /// Appends an attribute whose payload is a fixed structure. Integers of nfnetlink are big-endian: swap before.
    mutating func append<Value: BitwiseCopyable>(attribute type: UInt32, _ value: Value) {
        let size = MemoryLayout<Value>.size
        guard reserve(Self.headerSize + size) else { return }
        writeHeader(type, payload: size)
        storage.storeBytes(of: value, toByteOffset: count + Self.headerSize, as: Value.self)
        pad(from: count + Self.headerSize + size)
    }

    /// Appends an attribute whose payload is `bytes`.
    mutating func append(attribute type: UInt32, bytes: RawSpan) {
        let size = bytes.byteCount
        guard size <= Int(UInt16.max) - Self.headerSize, reserve(Self.headerSize + size) else {
            isOverflowed = true
            return
        }
        writeHeader(type, payload: size)
        bytes.withUnsafeBytes { source in
            if let base = source.baseAddress { memcpy(storage + count + Self.headerSize, base, size) }
        }
        pad(from: count + Self.headerSize + size)
    }

    /// Appends an attribute whose payload is a C string.
    mutating func append(attribute type: UInt32, string: String) {
        let bytes = Array(string.utf8) + [0]
        append(attribute: type, bytes: bytes.span.bytes)
    }

    /// Begins an attribute that holds attributes; `end(nested:)` closes it. Returns its offset.
    mutating func begin(nested type: UInt32) -> Int {
        let offset = count
        append(nlattr(nla_len: 0, nla_type: UInt16(truncatingIfNeeded: type) | Self.nestedFlag))
        return offset
    }

    /// Closes the nested attribute that began at `offset`.
    mutating func end(nested offset: Int) {
        guard !isOverflowed else { return }
        let size = count - offset
        guard size <= Int(UInt16.max) else {
            isOverflowed = true
            return
        }
        storage.storeBytes(of: UInt16(size), toByteOffset: offset, as: UInt16.self)
    }

    private mutating func reserve(_ size: Int) -> Bool {
        // size is at most 65,539, count at most capacity: no overflow.
        guard !isOverflowed, count + (size + 3) & ~3 <= capacity else {
            isOverflowed = true
            return false
        }
        return true
    }

    private func writeHeader(_ type: UInt32, payload: Int) {
        storage.storeBytes(
            of: nlattr(nla_len: UInt16(Self.headerSize + payload), nla_type: UInt16(truncatingIfNeeded: type)),
            toByteOffset: count, as: nlattr.self)
    }

    private mutating func pad(from end: Int) {
        let aligned = (end + 3) & ~3
        for offset in end..<aligned { storage.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self) }
        count = aligned
    }

    /// `NLA_HDRLEN`.
    private static let headerSize = 4
    /// `NLA_F_NESTED`.
    private static let nestedFlag: UInt16 = 1 << 15
}
