public import Octets

extension WireError {
    /// The error as a sentence's end.
    public var text: String {
        switch self {
        case .truncated: "a message ends before its declared length"
        case .malformed(let reason, let offset): "\(reason) (byte \(offset))"
        }
    }
}
