/// An error as the control socket tells it (RFC 9457, `application/problem+json`).
public struct ProblemDocument: Hashable, Sendable, Codable, Error, CustomStringConvertible {
    /// A URI reference for the kind of problem; `about:blank` where the status says all.
    public var type = "about:blank"
    /// The kind in a few words.
    public var title: String
    /// The HTTP status.
    public var status: Int
    /// What happened this time and what to do.
    public var detail: String
    /// The methods that are known, of a problem with the method.
    public var allow: String?

    /// A problem from its parts.
    public init(status: Int, title: String, detail: String) {
        self.status = status
        self.title = title
        self.detail = detail
    }

    /// `title: detail`.
    public var description: String { "\(title): \(detail)" }
}
