import Glibc
import JOSE
import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks a running daemon. One connection a request.
public struct ControlClient: Sendable {
    /// The socket that it asks at.
    package let path: String

    /// A client of the socket at `path`.
    public init(path: String) {
        self.path = path
    }

    /// `GET /v1/status`.
    public func status() async throws(ControlError) -> StatusReport {
        try await report("/v1/status")
    }

    /// `GET /v1/agents`.
    public func agents() async throws(ControlError) -> AgentsReport {
        try await report("/v1/agents")
    }

    /// `GET /v1/flows`.
    public func flows(_ query: FlowQuery = FlowQuery()) async throws(ControlError) -> FlowsReport {
        try await report(query.target)
    }

    /// `GET /v1/names`.
    public func names(_ query: NameQuery = NameQuery()) async throws(ControlError) -> NamesReport {
        try await report(query.target)
    }

    /// `GET /v1/sessions`.
    public func sessions() async throws(ControlError) -> SessionsReport {
        try await report("/v1/sessions")
    }

    /// `POST /v1/sessions`.
    public func openSession(_ request: OpenSessionRequest) async throws(ControlError) -> SessionReport {
        try await report("/v1/sessions", method: .POST, body: request.json)
    }

    /// `POST /v1/sessions/{id}/renew`.
    public func renewSession(_ id: String, customerToken: String) async throws(ControlError) -> SessionReport {
        let body = StrictJSON.object([.init(name: "customer_token", value: .string(customerToken))])
        return try await report("/v1/sessions/\(Self.encoded(id))/renew", method: .POST, body: body)
    }

    /// `DELETE /v1/sessions/{id}`.
    public func closeSession(_ id: String) async throws(ControlError) {
        _ = try await send(.DELETE, "/v1/sessions/\(Self.encoded(id))", body: [])
    }

    /// The body of the answer to `GET target`, at most 64 MiB.
    public func get(_ target: String) async throws(ControlError) -> [UInt8] {
        try await send(.GET, target, body: [])
    }

    private func send(_ method: HTTPMethod, _ target: String, body: [UInt8]) async throws(ControlError) -> [UInt8] {
        do {
            return try await fetch(method, target, body)
        } catch let error as ControlError {
            throw error
        } catch let error as IOError {
            throw .notRunning(path: path, reason: String(cString: strerror(error.errnoCode)))
        } catch {
            throw .unexpected(path: path, reason: "\(error)")
        }
    }

    private func report<Report: Decodable>(
        _ target: String, method: HTTPMethod = .GET, body: StrictJSON? = nil
    ) async throws(ControlError) -> Report {
        let bytes = try await send(method, target, body: body.map { Array($0.description.utf8) } ?? [])
        do {
            return try ControlCoding.decode(Report.self, from: bytes)
        } catch {
            throw .unexpected(path: path, reason: "\(error)")
        }
    }

    private func fetch(_ method: HTTPMethod, _ target: String, _ body: [UInt8]) async throws -> [UInt8] {
        guard SocketAddress(path) != nil else { throw ControlError.pathTooLong(path: path) }
        let stream = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: path) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                        wrappingChannelSynchronously: channel)
                }
            }
        return try await stream.executeThenClose { inbound, outbound in
            var headers: HTTPHeaders = ["host": "localhost", "connection": "close"]
            if !body.isEmpty {
                headers.add(name: "content-type", value: "application/json")
                headers.add(name: "content-length", value: String(body.count))
            }
            var parts: [HTTPClientRequestPart] = [
                .head(HTTPRequestHead(version: .http1_1, method: method, uri: target, headers: headers))
            ]
            if !body.isEmpty { parts.append(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
            // At once: a request without a body is whole with its head, and the server may answer and close on it.
            try await outbound.write(contentsOf: parts + [.end(nil)])
            return try await receive(inbound)
        }
    }

    private func receive(_ inbound: NIOAsyncChannelInboundStream<HTTPClientResponsePart>) async throws -> [UInt8] {
        var body: [UInt8] = []
        var status = HTTPResponseStatus.ok
        var isComplete = false
        for try await part in inbound {
            switch part {
            case .head(let head): status = head.status
            case .body(let bytes): body += bytes.readableBytesView
            case .end: isComplete = true
            }
            guard body.count <= largestAnswer else {
                throw ControlError.unexpected(path: path, reason: "more than \(largestAnswer) bytes")
            }
        }
        guard isComplete else { throw ControlError.unexpected(path: path, reason: "it ended early") }
        guard (200..<300).contains(status.code) else {
            if let problem = try? ControlCoding.decode(ProblemDocument.self, from: body) {
                throw ControlError.problem(problem)
            }
            throw ControlError.unexpected(path: path, reason: "status \(status.code)")
        }
        return body
    }

    /// One more parameter of a query; nothing for nil.
    static func parameter(_ name: String, _ value: String?) -> String {
        value.map { "&\(name)=" + encoded($0) } ?? ""
    }

    private static func encoded(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain =
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || byte == 0x2D || byte == 0x2E || byte == 0x5F
            return isPlain ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}

private let largestAnswer = 64 << 20
