import Flow
import FlowInspection
import PacketHeaders
import Policy
import WireProtocols

/// A packet that the kernel holds for us, with our copy of its bytes.
struct HeldPacket {
    /// The packet.
    let reference: PacketReference
    /// The whole packet, checksums complete.
    let bytes: [UInt8]
    /// The stream offset behind its last payload byte.
    let end: Int
}

/// What is kept for a TCP flow while its payload is being read.
struct Inspection: PacketHolding {
    /// The client's bytes in order.
    var stream: StreamReassembler
    /// What they say.
    var inspector: StreamInspector
    /// The resolver's bytes in order, of a flow to one that has asked.
    var answers: StreamReassembler?
    /// Packets that wait for the rest of a message.
    var held: [HeldPacket] = []
    /// Bytes from the stream's start that were read and wait for a decision: HTTP/2 before its first request.
    var readByteCount = 0
    /// Whether policy has allowed what is spoken now, the innermost protocol of the flow.
    var isAllowed = false
    /// What the server's stream had come to, as the client acknowledged it, when the last request went on; nil before the first.
    var lastRequestAt: SequenceNumber?
    /// Where a tunnel through a proxy ends, once one was asked for.
    var tunnel: Tunnel?
    /// The stream offset behind the last byte that went to the queue for segments.
    var requeuedEnd = 0
    /// Whether nothing that follows is read; only the acknowledgment is awaited.
    var isFinished = false

    /// A tunnel by CONNECT or SOCKS.
    struct Tunnel {
        let host: Host
        let source: HostSource
    }
}

/// What is kept for a UDP flow that is no DNS: its QUIC connections.
struct DatagramInspection: PacketHolding {
    /// What its datagrams say.
    var inspector: DatagramInspector
    /// Datagrams that wait for the rest of a ClientHello.
    var held: [HeldPacket] = []
}

/// Keeps packets that the kernel holds.
protocol PacketHolding {
    var held: [HeldPacket] { get set }
}

/// The inspections of one engine and transport, at most `capacity` at once.
struct InspectionPool<Inspection: PacketHolding> {
    private var inspections: [Inspection?] = []
    private var free: [Int32] = []
    private let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        inspections.reserveCapacity(capacity)
        free.reserveCapacity(capacity)
    }

    /// How many are in use.
    var count: Int { inspections.count - free.count }

    /// A place for a new inspection; nil where the pool is exhausted.
    mutating func acquire(_ inspection: Inspection) -> Int32? {
        if let index = free.popLast() {
            inspections[Int(index)] = inspection
            return index
        }
        guard inspections.count < capacity else { return nil }
        inspections.append(inspection)
        return Int32(inspections.count - 1)
    }

    /// Takes an inspection out to work on it; `put` brings it back.
    mutating func take(_ index: Int32) -> Inspection? {
        guard index >= 0 else { return nil }
        let inspection = inspections[Int(index)].take()
        return inspection
    }

    /// Brings an inspection back.
    mutating func put(_ index: Int32, _ inspection: consuming Inspection) {
        inspections[Int(index)] = inspection
    }

    /// How many packets are held for a flow.
    func heldCount(_ index: Int32) -> Int {
        index >= 0 ? inspections[Int(index)]?.held.count ?? 0 : 0
    }

    /// The oldest packet that is held for a flow.
    func firstHeld(_ index: Int32) -> HeldPacket? {
        index >= 0 ? inspections[Int(index)]?.held.first : nil
    }

    /// Takes the packets that are held for a flow.
    mutating func takeHeld(_ index: Int32) -> [HeldPacket] {
        guard index >= 0 else { return [] }
        let held = inspections[Int(index)]?.held ?? []
        inspections[Int(index)]?.held = []
        return held
    }

    /// Keeps packets that are held for a flow.
    mutating func keep(_ held: [HeldPacket], for index: Int32) {
        guard index >= 0 else { return }
        inspections[Int(index)]?.held = held
    }

    /// Frees a place; -1 is none.
    mutating func release(_ index: Int32) {
        guard index >= 0 else { return }
        inspections[Int(index)] = nil
        free.append(index)
    }
}
