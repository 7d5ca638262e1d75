// What sessions cost: opening them with ES256 tokens, and naming the session of a flow. Prints one JSON line a measure.
//
// usage: session-benchmark KEY.json COUNT DIRECTORY      KEY.json: a private JWK of P-256

import Enforcement
import Glibc
import Identity
import JOSE
import PacketHeaders
import Sessions
import Tokens

@main
struct SessionBenchmark {
    static func main() throws {
        let words = CommandLine.arguments
        guard words.count == 4, let count = Int(words[2]), count > 0 else {
            print("usage: session-benchmark KEY.json COUNT DIRECTORY")
            exit(2)
        }
        let key = try Key(path: words[1])
        let issuer = TokenIssuer(name: "i", audiences: ["a"], keys: .file("/none"))
        let tokens = key.tokens(count)
        try open(tokens, key.set, issuer, directory: words[3])
        attribute()
    }

    /// Tokens verified, sessions opened and remembered, one after the other on this thread.
    private static func open(
        _ tokens: [[UInt8]], _ keys: JSONWebKeySet, _ issuer: TokenIssuer, directory: String
    ) throws {
        let verifier = TokenVerifier([issuer])
        let agents = try AgentTable([Agent(id: "bot", labels: [:], selectors: [])])
        var limits = SessionLimits()
        limits.sessions = tokens.count
        limits.sessionsOfAgent = tokens.count
        var registry = SessionRegistry(limits: limits)
        var journal = try SessionJournal(directory + "/sessions.jsonl", into: &registry)
        var verifying: UInt64 = 0
        let began = now()
        for (position, token) in tokens.enumerated() {
            let start = now()
            let verified = try verifier.verify(token, now: Key.time) { (_) throws(TokenFailure) in keys }
            verifying += now() - start
            let opened = try registry.open(
                id: String(position), agent: "bot", token: verified,
                binding: .socket(SocketCookie(rawValue: UInt64(position))), caller: .operator, in: agents,
                now: SessionTime(wall: Key.time, boot: 0))
            try journal.note(opened.session)
            journal.tidy(registry)
        }
        let all = now() - began
        report("sessions_opened_per_second", Double(tokens.count) * 1e9 / Double(all))
        report("tokens_verified_per_second", Double(tokens.count) * 1e9 / Double(verifying))
    }

    /// The session of a flow among none and among 10,000 sessions, of every kind of binding.
    private static func attribute() {
        let address = IPAddress(v4: 0xC612_0102)
        for sessions in [0, 10_000] {
            var index = SessionIndex()
            for number in 0..<sessions {
                let session = SessionNumber(rawValue: UInt32(number + 1))
                let scope = SessionScope(agent: "bot")
                switch number % 4 {
                case 0: index.bind(session, scope, .socket(SocketCookie(rawValue: UInt64(number))))
                case 1:
                    index.bind(
                        session, scope,
                        .cgroup(
                            CgroupID(rawValue: UInt64(number)), path: "/sallyport.slice/sallyport-bot.slice/\(number)"))
                case 2: index.bind(session, scope, .ports(UInt16(1024 + number)...UInt16(1024 + number)))
                default: index.bind(session, scope, .source(IPAddress(v4: UInt32(number))))
                }
            }
            let rounds = 200_000
            for (kind, remainder) in [("socket", 0), ("cgroup", 1), ("ports", 2), ("source", 3)] {
                var found = 0
                let began = now()
                for round in 0..<rounds {
                    let number = round &* 4 % 10_000 + remainder
                    let owner = SocketOwner(
                        cgroup: CgroupID(rawValue: kind == "cgroup" ? UInt64(number) : 20_000_000),
                        cookie: SocketCookie(rawValue: kind == "socket" ? UInt64(number) : 20_000_000), uid: 1, inode: 1
                    )
                    let flow = FiveTuple(
                        source: kind == "source" ? IPAddress(v4: UInt32(number)) : address,
                        sourcePort: kind == "ports" ? UInt16(1024 + number) : 60_000, destination: address,
                        destinationPort: 443, transport: .tcp)
                    let path =
                        kind == "cgroup"
                        ? "/sallyport.slice/sallyport-bot.slice/1" : "/sallyport.slice/sallyport-bot.slice"
                    if case .session = index.session(of: owner, agent: "bot", path: path, flow: flow) { found += 1 }
                }
                let each = Double(now() - began) / Double(rounds)
                if sessions > 0, found != rounds { print("\(kind): only \(found) found") }
                report("attribution_\(kind)_\(sessions)_sessions_nanoseconds", each)
            }
        }
    }

    private static func report(_ name: String, _ value: Double) {
        print(#"{"name":"\#(name)","value":\#((value * 10).rounded() / 10)}"#)
    }

    private static func now() -> UInt64 {
        var time = timespec()
        // As `openssl speed` does: the time that the processor gave us.
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// A file that holds no private key of P-256.
private struct KeyError: Error {
    let path: String
}

/// A key of P-256 that signs tokens.
private struct Key {
    /// The time at which all tokens are good, in nanoseconds.
    static let time: UInt64 = 1_800_000_000_000_000_000

    let set: JSONWebKeySet
    private let signing: SigningKey

    init(path: String) throws {
        guard let file = fopen(path, "r") else { throw KeyError(path: path) }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = fread(&bytes, 1, bytes.count, file)
        let json = try StrictJSON(parsing: Array(bytes[..<count]))
        func number(_ name: String) -> [UInt8] { CompactToken.decode((json[name]?.string ?? "").utf8) ?? [] }
        set = try JSONWebKeySet(Array(bytes[..<count]))
        guard let key = SigningKey.curve("P-256", x: number("x"), y: number("y"), d: number("d")) else {
            throw KeyError(path: path)
        }
        signing = key
    }

    func tokens(_ count: Int) -> [[UInt8]] {
        (0..<count).map { number in
            let payload =
                #"{"iss":"i","aud":"a","sub":"customer\#(number)","iat":1799999990,"exp":1800000600,"jti":"\#(number)"}"#
            let text =
                CompactToken.encode(Array(#"{"alg":"ES256","kid":"1"}"#.utf8)) + "."
                + CompactToken.encode(Array(payload.utf8))
            let signature = signing.sign(Array(text.utf8), .es256) ?? []
            return Array((text + "." + CompactToken.encode(signature)).utf8)
        }
    }
}
