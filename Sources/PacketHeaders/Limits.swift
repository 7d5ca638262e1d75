/// Bounds on what a packet can make the header parsers do.
enum Limits {
    /// IPv6 extension headers in one packet. RFC 8200 §4.1 lists seven kinds, and only destination options may occur twice;
    /// a longer chain is made to hide the transport header.
    static let extensionHeaders = 8
    /// Bytes of IPv6 extension headers in one packet. RFC 8504 §5.3 lets a node refuse chains beyond what it expects.
    static let extensionBytes = 512
}
