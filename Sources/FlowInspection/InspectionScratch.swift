public import WireProtocols

/// The room that inspectors work in: one a thread, allocated once.
public struct InspectionScratch: ~Copyable {
    /// For ClientHellos that came in several records.
    public var hello: ClientHelloScratch
    /// For Initial packets.
    public var opener = QUICInitialOpener()

    /// Takes its memory, for ClientHellos of at most so many bytes.
    public init(helloByteCount: Int = Limits.clientHelloBytes) {
        hello = ClientHelloScratch(byteCount: helloByteCount)
    }
}
