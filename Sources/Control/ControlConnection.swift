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
    private var isCounted = false
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
        isCounted = live.enter()
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        task?.cancel()
        if isCounted { live.leave() }
        isCounted = false
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
        let isAdmitted = isCounted
        let request = ControlRequest(method: head.method.rawValue, target: head.uri, body: body)
        task = live.start { [responder] in
            // An error here is the peer being gone.
            if isAdmitted {
                let peer = await Peer.of(channel)
                try? await responder.answer(request, peer: peer.credentials, pidfd: peer.pidfd, to: writer)
                peer.close()
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
}

/// The connections that there are: how many, and the tasks that answer them.
final class LiveConnections: Sendable {
    private struct State {
        var count = 0
        var tasks: [Int: Task<Void, Never>] = [:]
        var lastTask = 0
    }

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) {
        self.limit = limit
    }

    /// Counts one more; false where there are too many, and then it is not counted.
    func enter() -> Bool {
        state.withLock { state in
            guard state.count < limit else { return false }
            state.count += 1
            return true
        }
    }

    func leave() {
        state.withLock { $0.count -= 1 }
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
private struct Peer {
    let credentials: PeerCredentials?
    let pidfd: Int32?

    static func of(_ channel: any Channel) async -> Peer {
        guard let options = channel as? any SocketOptionProvider else { return Peer(credentials: nil, pidfd: nil) }
        // `struct ucred` (unix(7)) is three 32-bit numbers, as PeerCredentials is.
        let credentials: EventLoopFuture<PeerCredentials> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
        let pidfd: EventLoopFuture<Int32> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERPIDFD))
        return Peer(credentials: try? await credentials.get(), pidfd: try? await pidfd.get())
    }

    func close() {
        if let pidfd { _ = Glibc.close(pidfd) }
    }
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
