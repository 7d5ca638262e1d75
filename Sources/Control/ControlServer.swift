import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// Answers on the control socket, one request a connection. Operators may ask everything, an agent about its own sessions,
/// everybody else `GET /health` only.
public final class ControlServer: Sendable {
    /// The bounds of what peers may use.
    public struct Limits: Sendable {
        /// Connections at once; further ones are told to come back. Half are operators', an eighth at most are of one cgroup.
        public var connections = 256
        /// How long a peer may take to send its request, and to take each part of the answer.
        public var timeout: Duration = .seconds(10)

        /// The defaults.
        public init() {}
    }

    /// The path of the socket.
    public let path: String

    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel
    private let live: LiveConnections
    private let node: FileNode?

    private init(path: String, group: MultiThreadedEventLoopGroup, channel: any Channel, live: LiveConnections) {
        self.path = path
        self.group = group
        self.channel = channel
        self.live = live
        node = FileNode(path: path)
    }

    /// Begins to answer at `path`.
    /// - Throws: `ControlError` where the socket cannot be made, above all `.inUse`.
    public static func start(path: String, delegate: any ControlDelegate, limits: Limits = Limits())
        async throws(ControlError) -> ControlServer
    {
        let socket = try ControlSocket.listen(at: path)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let responder = ControlResponder(delegate: delegate)
        let live = LiveConnections(limit: limits.connections)
        let bootstrap = ServerBootstrap(group: group).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                let pipeline = channel.pipeline.syncOperations
                try pipeline.configureHTTPServerPipeline(
                    withPipeliningAssistance: false, withEncoderConfiguration: .init(),
                    withDecoderLimitConfiguration: decoding)
                try pipeline.addHandler(
                    ControlConnection(responder: responder, live: live, timeout: limits.timeout))
            }
        }
        do {
            let channel = try await bootstrap.withBoundSocket(socket.descriptor).get()
            return ControlServer(path: path, group: group, channel: channel, live: live)
        } catch {
            try? await group.shutdownGracefully()
            throw .system(path: path, call: "listen", reason: "\(error)")
        }
    }

    /// Ends every connection and removes the socket, unless somebody else's is there by now.
    public func stop() async {
        if let node, node == FileNode(path: path) { unlink(path) }
        // What these answer is of no use any more: all is being taken down.
        try? await channel.close()
        await live.drain()
        try? await group.shutdownGracefully()
    }

    private static let decoding: NIOHTTPDecoderLimitConfiguration = {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 4096
        limits.maxHeaderListSize = 8192
        limits.maxHeaderFieldCount = 32
        return limits
    }()
}

/// Which file a path leads to.
private struct FileNode: Equatable {
    let device: dev_t
    let inode: ino_t

    init?(path: String) {
        var facts = stat()
        guard lstat(path, &facts) == 0 else { return nil }
        device = facts.st_dev
        inode = facts.st_ino
    }
}
