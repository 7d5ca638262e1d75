import Flow
import PacketHeaders
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

/// What is kept for a flow while its payload is being read.
struct Inspection {
    /// The client's bytes in order.
    var stream: StreamReassembler
    /// What they are.
    var application = Application.undetermined
    /// Packets that wait for the rest of a message.
    var held: [HeldPacket] = []
    /// The stream offset behind the last byte that went to the queue for segments.
    var requeuedEnd = 0
    /// The server name that was allowed; a second ClientHello must name the same.
    var host: String?
    /// Whether the second flight was seen to be no ClientHello; only the acknowledgment is awaited.
    var isFinished = false

    /// What a stream's bytes are, with the state of their parser.
    enum Application {
        /// Too few bytes to tell.
        case undetermined
        /// A ClientHello is awaited.
        case clientHello(ClientHelloScanner)
        /// The first ClientHello was allowed; a second one, or what shows that none comes, is awaited.
        case secondFlight(ClientHelloScanner)
        /// HTTP/1 requests.
        case http(HTTP1RequestReader)
    }
}

/// The inspections of one engine, at most `capacity` at once.
struct InspectionPool {
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

    /// Takes the packets that are held for a flow.
    mutating func takeHeld(_ index: Int32) -> [HeldPacket] {
        guard index >= 0 else { return [] }
        let held = inspections[Int(index)]?.held ?? []
        inspections[Int(index)]?.held = []
        return held
    }

    /// Frees a place; -1 is none.
    mutating func release(_ index: Int32) {
        guard index >= 0 else { return }
        inspections[Int(index)] = nil
        free.append(index)
    }
}
