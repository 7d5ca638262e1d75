public import Octets

/// Room to put a ClientHello together that came in several records: 64 KiB, one a thread, used for one message at a time.
public struct ClientHelloScratch: ~Copyable {
    private let storage: UnsafeMutableRawBufferPointer

    /// Takes its memory; the only allocation.
    public init(byteCount: Int = Limits.clientHelloBytes) {
        storage = .allocate(byteCount: byteCount, alignment: 16)
    }

    deinit {
        storage.deallocate()
    }

    /// The ClientHello that `scanner` found in `stream`, from its handshake type on: a part of `stream` where it lies in one
    /// record, else put together here. Valid until the next call.
    ///
    /// Throws `.truncated` where the scanner has not reported `.hello` for this stream.
    @_lifetime(&self, copy stream)
    public mutating func message(found scanner: ClientHelloScanner, in stream: RawSpan) throws(WireError) -> RawSpan {
        let total = Int(scanner.handshakeByteCount)
        let first = Int(scanner.firstRecord)
        guard total >= 4, scanner.end <= stream.byteCount, total <= storage.count else { throw .truncated(needed: 1) }
        if scanner.isInOneRecord {
            return stream.extracting(first + 5..<first + 5 + total)
        }
        var offset = first
        var count = 0
        while offset < scanner.end {
            let length = Int(stream.byte(at: offset + 3)) << 8 | Int(stream.byte(at: offset + 4))
            stream.extracting(offset + 5..<offset + 5 + length).withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(rebasing: storage[count..<count + length]).copyMemory(from: bytes)
            }
            count += length
            offset += 5 + length
        }
        let whole = RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: storage[0..<total]))
        return _overrideLifetime(whole, mutating: &self)
    }
}
