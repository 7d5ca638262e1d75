import CUnixSocket
import DecisionLog
import Glibc
import NIOCore
import NIOHTTP1
import Synchronization

/// One connection of the control socket: takes one request, has it answered by a task of its own, and closes. A peer that
/// does not send its request in time, sends more than one, or is gone, ends the task.
final class ControlConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart

    private let responder: ControlResponder
    private let live: LiveConnections
    private let timeout: TimeAmount
    private var deadline: Scheduled<Void>?
    private var task: Task<Void, Never>?
    /// Who the kernel says is at the other end; nil until it was asked.
    private var peer: Result<ControlCaller, PeerRefusal>?
    private var process: PeerProcess?
    /// Under what the connection is counted; nil where it is one too many.
    private var place: ConnectionPlace?
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(responder: ControlResponder, live: LiveConnections, timeout: Duration) {
        self.responder = responder
        self.live = live
        self.timeout = TimeAmount(timeout)
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: timeout) { channel.close(promise: nil) }
        Peer.of(channel).assumeIsolated().whenSuccess { [self] peer in
            process = peer.process
            self.peer = responder.identify(peer.credentials, pidfd: peer.process?.kernelPidfd)
            place = live.enter(self.peer)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        task?.cancel()
        if let place { live.leave(place) }
        place = nil
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            guard self.head == nil else { return context.close(promise: nil) }
            self.head = head
        case .body(let bytes):
            body += bytes.readableBytesView
            let limit = head?.method == .POST ? RequestBody.largest : largestUnreadBody
            if body.count > limit { context.close(promise: nil) }
        case .end:
            guard let head, task == nil else { return context.close(promise: nil) }
            deadline?.cancel()
            begin(head, context.channel)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func begin(_ head: HTTPRequestHead, _ channel: any Channel) {
        let writer = ResponseWriter(channel: channel, timeout: timeout)
        let isAdmitted = place != nil
        let peer = peer ?? .failure(.unknown("the kernel does not say who it is"))
        let request = ControlRequest(method: head.method.rawValue, target: head.uri, body: body, process: process)
        task = live.start { [responder] in
            // An error here is the peer being gone.
            if isAdmitted {
                try? await responder.answer(request, peer: peer, to: writer)
            } else {
                try? await writer.write(
                    ProblemDocument(
                        status: 503, title: "Too many connections", detail: "ask again when others have ended"))
            }
            try? await channel.close()
        }
    }
}

/// One request as it came.
struct ControlRequest: Sendable {
    let method: String
    let target: String
    let body: [UInt8]
    /// The process that asks.
    let process: PeerProcess?
}

/// The process at the other end, whichever pid it has.
final class PeerProcess: Sendable {
    /// A pidfd.
    let descriptor: Int32
    private let isOfConnection: Bool

    /// The pidfd that the kernel gave for the connection (6.5), or one of the pid that it named.
    init(kernelPidfd: Int32) {
        descriptor = kernelPidfd
        isOfConnection = true
    }

    init?(pid: Int32) {
        descriptor = pid > 0 ? unix_pidfd_open(pid) : -1
        isOfConnection = false
        guard descriptor >= 0 else { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The pidfd, where it names the process that connected for certain.
    var kernelPidfd: Int32? { isOfConnection ? descriptor : nil }

    /// The cookie of one of its sockets, by its number in that process.
    func cookie(ofSocket number: Int32) throws(ProblemDocument) -> UInt64 {
        var cookie: UInt64 = 0
        guard unix_socket_cookie(descriptor, number, &cookie) == 0 else {
            throw RequestBody.problem("fd is no socket of the caller's: \(String(cString: strerror(errno)))")
        }
        return cookie
    }
}

/// Under what a connection is counted.
enum ConnectionPlace: Hashable {
    /// Operators, who keep half of all places to themselves.
    case operators
    /// The processes of one confined cgroup.
    case cgroup(String)
    /// Whoever may ask for nothing but the health.
    case others
}

/// The connections that there are: how many, and the tasks that answer them. No agent can take the places of operators, or
/// of other agents.
final class LiveConnections: Sendable {
    private struct State {
        var counts: [ConnectionPlace: Int] = [:]
        var guests = 0
        var tasks: [Int: Task<Void, Never>] = [:]
        var lastTask = 0
    }

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) {
        self.limit = limit
    }

    /// Counts one more; nil where there are too many, and then it is not counted.
    func enter(_ peer: Result<ControlCaller, PeerRefusal>?) -> ConnectionPlace? {
        let place: ConnectionPlace =
            switch peer {
            case .success(.operator): .operators
            case .success(.confined(let cgroup, _)): .cgroup(cgroup)
            case .failure, nil: .others
            }
        let half = max(1, limit / 2)
        return state.withLock { state in
            let count = state.counts[place, default: 0]
            guard count < (place == .operators ? half : max(1, limit / 8)) else { return nil }
            if place != .operators {
                guard state.guests < half else { return nil }
                state.guests += 1
            }
            state.counts[place] = count + 1
            return place
        }
    }

    func leave(_ place: ConnectionPlace) {
        state.withLock { state in
            if place != .operators { state.guests -= 1 }
            let count = state.counts[place, default: 0]
            state.counts[place] = count > 1 ? count - 1 : nil
        }
    }

    /// Starts a task that `drain` waits for.
    func start(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        state.withLock { state in
            state.lastTask += 1
            let number = state.lastTask
            // The task's end takes the lock too, so it is always entered before it leaves.
            let task = Task { [self] in
                await body()
                self.state.withLock { $0.tasks[number] = nil }
            }
            state.tasks[number] = task
            return task
        }
    }

    /// Ends all tasks and waits for them.
    func drain() async {
        while let task = state.withLock({ $0.tasks.values.first }) {
            task.cancel()
            await task.value
        }
    }
}

/// What the kernel says of the other end.
private struct Peer: Sendable {
    let credentials: PeerCredentials?
    let process: PeerProcess?

    /// Asks the kernel; on the channel's event loop the answer is there at once.
    static func of(_ channel: any Channel) -> EventLoopFuture<Peer> {
        guard let options = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(Peer(credentials: nil, process: nil))
        }
        // `struct ucred` (unix(7)) is three 32-bit numbers, as PeerCredentials is.
        let credentials: EventLoopFuture<PeerCredentials> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
        let pidfd: EventLoopFuture<Int32> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERPIDFD))
        return credentials.map { Optional($0) }.recover { _ in nil }
            .and(
                pidfd.map { PeerHandle.pidfd($0) }.recover { error in
                    // Older kernels have none. Otherwise the peer has ended, and its number may be another's by now.
                    (error as? IOError)?.errnoCode == ENOPROTOOPT ? .unsupported : .gone
                }
            )
            .map { credentials, handle in
                if case .gone = handle { return Peer(credentials: nil, process: nil) }
                var pidfd: Int32?
                if case .pidfd(let descriptor) = handle { pidfd = descriptor }
                let process =
                    pidfd.map { PeerProcess(kernelPidfd: $0) } ?? credentials.flatMap { PeerProcess(pid: $0.pid) }
                return Peer(credentials: credentials, process: process)
            }
    }
}

/// What the kernel gives of a peer's process.
private enum PeerHandle: Sendable {
    case pidfd(Int32)
    case unsupported
    case gone
}

/// Writes one answer. Each write waits until the kernel has it; a peer that does not take it in time is cut off.
struct ResponseWriter: Sendable {
    private let channel: any Channel
    private let timeout: TimeAmount

    init(channel: any Channel, timeout: TimeAmount) {
        self.channel = channel
        self.timeout = timeout
    }

    /// A whole answer in JSON.
    func write(_ value: some Encodable, status: HTTPResponseStatus) async throws {
        try await whole(try ControlCoding.encode(value), contentType: "application/json", status: status)
    }

    /// A whole answer that is a problem document.
    func write(_ problem: ProblemDocument) async throws {
        try await whole(
            try ControlCoding.encode(problem), contentType: "application/problem+json",
            status: HTTPResponseStatus(statusCode: problem.status), allow: problem.allow)
    }

    /// An answer without content.
    func writeNothing() async throws {
        try await put([.head(head(.noContent, [:])), .end(nil)])
    }

    /// The head of an answer whose length is not known; `line` and `end` follow.
    func begin(contentType: String) async throws {
        try await put([.head(head(.ok, ["content-type": contentType, "transfer-encoding": "chunked"]))])
    }

    /// A record as a line.
    func line(_ record: DecisionRecord) async throws {
        var bytes: [UInt8] = []
        RecordFormat.appendJSON(record, to: &bytes)
        bytes.append(0x0A)
        try await put([.body(.byteBuffer(ByteBuffer(bytes: bytes)))])
    }

    /// A line that says how many records are missing here.
    func line(missed count: UInt64) async throws {
        try await put([.body(.byteBuffer(ByteBuffer(string: "{\"missed\":\(count)}\n")))])
    }

    /// The end of an answer that `begin` began.
    func end() async throws {
        try await put([.end(nil)])
    }

    private func whole(
        _ bytes: [UInt8], contentType: String, status: HTTPResponseStatus, allow: String? = nil
    ) async throws {
        var headers: HTTPHeaders = ["content-type": contentType, "content-length": String(bytes.count + 1)]
        if let allow { headers.add(name: "allow", value: allow) }
        try await put([
            .head(head(status, headers)), .body(.byteBuffer(ByteBuffer(bytes: bytes + [0x0A]))), .end(nil),
        ])
    }

    private func head(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) -> HTTPResponseHead {
        var all = headers
        all.add(name: "connection", value: "close")
        all.add(name: "cache-control", value: "no-store")
        return HTTPResponseHead(version: .http1_1, status: status, headers: all)
    }

    private func put(_ parts: [HTTPServerResponsePart]) async throws {
        let deadline = channel.eventLoop.scheduleTask(in: timeout) { [channel] in channel.close(promise: nil) }
        defer { deadline.cancel() }
        for part in parts.dropLast() { channel.write(part, promise: nil) }
        if let last = parts.last { try await channel.writeAndFlush(last) }
    }
}

/// asm-generic/socket.h; Linux 6.5.
private let SO_PEERPIDFD: CInt = 77
/// Bytes of a body that nobody asked for.
private let largestUnreadBody = 4096
