public import Octets

/// The line with which each side of an SSH connection begins (RFC 4253 §4.2).
public struct SSHIdentification: Hashable, Sendable {
    /// The line without its end.
    public let text: String
    /// Bytes up to the line's end, lines before it included.
    public let byteCount: Int

    /// Finds the line that begins `bytes`; nil where more are needed. A server may send other lines before it, a client none.
    /// Throws `.malformed` where none can come.
    public static func read(_ bytes: RawSpan, isServer: Bool) throws(WireError) -> SSHIdentification? {
        var start = 0
        for _ in 0...(isServer ? Limits.linesBeforeIdentification : 0) {
            let line = bytes.extracting(start..<bytes.byteCount)
            var end = 0
            while end < line.byteCount, line.byte(at: end) != 0x0A {
                guard line.byte(at: end) != 0 else {
                    throw .malformed("NUL in an SSH identification", offset: start + end)
                }
                guard end < Limits.identificationBytes else {
                    throw .malformed("SSH identification too long", offset: start)
                }
                end += 1
            }
            if line.matchesPrefix("SSH-"), line.byteCount >= 4 {
                guard end < line.byteCount else { return nil }
                let trimmed = end > 0 && line.byte(at: end - 1) == 0x0D ? end - 1 : end
                return SSHIdentification(text: line.extracting(0..<trimmed).text, byteCount: start + end + 1)
            }
            guard end < line.byteCount else { return nil }
            start += end + 1
        }
        throw .malformed("no SSH identification", offset: 0)
    }
}
