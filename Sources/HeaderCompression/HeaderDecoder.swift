// HeaderCompression: HPACK (RFC 7541) by NIOHPACK, behind one type.
//
// The only module below the world's edge that imports NIO, so that no other needs to. A decoder is a value that belongs to one
// connection; it keeps the dynamic table and nothing else. No I/O, no event loop.

import NIOCore
import NIOHPACK

/// Why a header block could not be decoded. What follows on its connection cannot be decoded either.
public enum HeaderDecodingError: Error, Equatable, Sendable {
    /// The block breaks a rule of RFC 7541.
    case malformed
}

/// Decodes the header blocks of one direction of one HTTP/2 connection, in their order.
public struct HeaderDecoder: Sendable {
    private var decoder: HPACKDecoder

    /// A decoder at the beginning of a connection.
    ///
    /// - Parameters:
    ///   - maximumTableByteCount: the largest dynamic table that the encoder may choose. It begins with 4096 and says when it
    ///     changes; what the receiver's SETTINGS allow it is not known here.
    ///   - maximumListByteCount: bounds the decoded fields of one block.
    public init(maximumTableByteCount: Int = 65_536, maximumListByteCount: Int = 65_536) {
        decoder = HPACKDecoder(
            allocator: ByteBufferAllocator(), maxDynamicTableSize: HPACKDecoder.maxDynamicTableSize,
            maxHeaderListSize: maximumListByteCount)
        decoder.maxDynamicTableLength = maximumTableByteCount
    }

    /// The fields of a whole block, in their order.
    public mutating func decode(_ block: [UInt8]) throws(HeaderDecodingError) -> [(name: String, value: String)] {
        var buffer = ByteBuffer(bytes: block)
        do {
            return try decoder.decodeHeaders(from: &buffer).map { (name: $0.name, value: $0.value) }
        } catch {
            throw .malformed
        }
    }
}
