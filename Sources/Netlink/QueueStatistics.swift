/// The kernel's own numbers for one queue of this network namespace: a line of `/proc/net/netfilter/nfnetlink_queue`.
public struct QueueStatistics: Hashable, Sendable {
    /// The NFQUEUE number.
    public let queue: UInt16
    /// The netlink port of the socket that owns the queue; usually the process id of its owner.
    public let port: UInt32
    /// How many packets wait for a verdict now.
    public let length: Int
    /// Packets dropped since the queue was bound because it was full (`QueueParameters.maximumLength`).
    public let droppedAtQueue: UInt64
    /// Packets dropped since the queue was bound because the socket's receive buffer was full.
    public let droppedAtSocket: UInt64
    /// The id of the newest packet: how many were queued.
    public let lastID: UInt64

    /// Every queue that some socket of this network namespace owns. Empty also where the kernel has no NFQUEUE.
    public static func readAll() -> [QueueStatistics] {
        guard let text = TextFile.read("/proc/thread-self/net/netfilter/nfnetlink_queue") else { return [] }
        return text.split(separator: "\n").compactMap { QueueStatistics(line: $0) }
    }

    /// The numbers of one queue; nil where nobody owns it.
    public static func read(queue: UInt16) -> QueueStatistics? {
        readAll().first { $0.queue == queue }
    }

    /// Parses `queue port length mode range droppedAtQueue droppedAtSocket lastID 1`.
    init?(line: some StringProtocol) {
        let fields = line.split(separator: " ")
        guard fields.count >= 8, let queue = UInt16(fields[0]), let port = UInt32(fields[1]),
            let length = Int(fields[2]), let atQueue = UInt64(fields[5]), let atSocket = UInt64(fields[6]),
            let lastID = UInt64(fields[7])
        else { return nil }
        self.queue = queue
        self.port = port
        self.length = length
        droppedAtQueue = atQueue
        droppedAtSocket = atSocket
        self.lastID = lastID
    }

    /// The owner in words: `process 4242 (opensnitchd)`, or the netlink port where no such process is seen.
    public var ownerDescription: String {
        guard let name = TextFile.read("/proc/\(port)/comm") else { return "netlink port \(port)" }
        return "process \(port) (\(name.split(separator: "\n").first ?? "?"))"
    }
}
