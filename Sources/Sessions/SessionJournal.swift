public import Enforcement
internal import Glibc
public import Identity
internal import Octets
public import Policy
internal import WholeFile

/// Why the journal cannot be used.
public struct SessionJournalError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What, why, what to do.
    public let description: String
}

/// What is remembered of sessions over a restart of the daemon: a file of JSON lines, 0600, on a file system that does not
/// outlive the machine's boot (cgroups and sockets do not either). Tokens are in it by their digest only.
///
/// Each change is appended before its request is answered; a line that a crash cut short belongs to a request that was never
/// answered, and is left out. The file is written anew when most of it is history.
public struct SessionJournal: ~Copyable {
    private let path: String
    private let boot: String
    private var descriptor: Int32
    private var length = 0
    private var lengthWhenNew = 0

    /// Opens the journal and tells the registry, which must be empty, what it remembers. A file of an earlier boot is begun
    /// anew.
    public init(_ path: String, into registry: inout SessionRegistry) throws(SessionJournalError) {
        self.path = path
        boot = WholeFile.bootID ?? ""
        descriptor = -1
        guard !boot.isEmpty else { throw Self.failure("/proc/sys/kernel/random/boot_id", "cannot be read") }
        if access(path, F_OK) == 0 {
            guard let bytes = WholeFile.read(path) else { throw Self.failure(path, "cannot be read") }
            try registry.replay(bytes, boot: boot, path: path)
        }
        try rewrite(registry)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Remembers a session as it is now.
    public mutating func note(_ session: OpenSession) throws(SessionJournalError) {
        try append([SessionLine(session: session)])
    }

    /// Remembers one more binding.
    public mutating func note(_ binding: SessionBinding, of session: OpenSession) throws(SessionJournalError) {
        try append([SessionLine(bound: binding, to: session.number)])
    }

    /// Remembers that sessions have ended. `isUsedUp` says that their tokens may not be used again.
    public mutating func note(ended: [OpenSession], _ reason: Reason, isUsedUp: Bool) throws(SessionJournalError) {
        var lines: [SessionLine] = []
        for session in ended {
            lines.append(SessionLine(ended: session.number, reason))
            guard isUsedUp else { continue }
            for (digest, until) in session.tokens {
                lines.append(SessionLine(used: digest, agent: session.agent, until: until))
            }
        }
        try append(lines)
    }

    /// Writes the file anew where most of it is history. The old one stays where that fails.
    public mutating func tidy(_ registry: borrowing SessionRegistry) {
        guard length > max(4 * lengthWhenNew, smallestHistory) else { return }
        try? rewrite(registry)
    }

    /// Writes the file anew.
    public mutating func rewrite(_ registry: borrowing SessionRegistry) throws(SessionJournalError) {
        var bytes: [UInt8] = []
        do {
            var head = SessionLine()
            head.head = SessionLine.Head(boot: boot, last: registry.lastNumber)
            bytes += try head.bytes
            for line in registry.lines { bytes += try line.bytes }
        } catch {
            throw SessionJournalError(description: "\(path): cannot be encoded: \(error)")
        }
        let file = WholeFile.replace(path, bytes)
        guard file >= 0 else { throw Self.failure(path, "cannot be written") }
        if descriptor >= 0 { close(descriptor) }
        descriptor = file
        length = bytes.count
        lengthWhenNew = bytes.count
    }

    private mutating func append(_ lines: [SessionLine]) throws(SessionJournalError) {
        var bytes: [UInt8] = []
        do {
            for line in lines { bytes += try line.bytes }
        } catch {
            throw SessionJournalError(description: "\(path): cannot be encoded: \(error)")
        }
        guard WholeFile.write(bytes, to: descriptor) else {
            let error = Self.failure(path, "cannot be written")
            // A part of a line would spoil the next one.
            ftruncate(descriptor, length)
            lseek(descriptor, off_t(length), SEEK_SET)
            throw error
        }
        length += bytes.count
    }

    private static func failure(_ path: String, _ what: String) -> SessionJournalError {
        SessionJournalError(
            description:
                "\(path): \(what): \(String(cString: strerror(errno))) (sessions could not outlive a restart: make "
                + "room, or correct the rights of the directory)")
    }
}

extension SessionRegistry {
    /// The lines that say what there is.
    fileprivate var lines: [SessionLine] {
        var lines: [SessionLine] = []
        for session in ended.values.joined() {
            lines.append(SessionLine(session: session))
            lines.append(SessionLine(ended: session.number, .sessionClosed))
        }
        for session in sessions.values { lines.append(SessionLine(session: session)) }
        for (digest, agent, until) in uses.closed {
            lines.append(SessionLine(used: digest, agent: agent, until: until))
        }
        return lines
    }

    /// What the queue threads must know before their first packet, behind a restart.
    public var allChanges: [SessionChange] {
        func begun(_ session: OpenSession) -> [SessionChange] {
            [.opened(session.number, session.customer)]
                + session.bindings.map { .bound(session.number, session.scope, $0) }
        }
        // What ended was bound before what took its place.
        return ended.values.joined().flatMap { begun($0) + [.ended($0.number, .sessionClosed)] }
            + sessions.values.sorted { $0.number.rawValue < $1.number.rawValue }.flatMap(begun)
    }

    /// Takes in the lines of a journal. Lines of another boot say nothing.
    fileprivate mutating func replay(_ bytes: [UInt8], boot: String, path: String) throws(SessionJournalError) {
        var number = 0
        // The last line may have been cut short.
        for text in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).dropLast() {
            number += 1
            let line: SessionLine
            do {
                line = try SessionLine(bytes: text)
            } catch {
                throw SessionJournalError(
                    description:
                        "\(path):\(number): no line of this journal: remove the file (its sessions must be opened "
                        + "again)")
            }
            if number == 1 {
                guard let head = line.head, head.format == 1, head.boot == boot else { return }
                lastNumber = head.last
            }
            take(line)
        }
    }

    private mutating func take(_ line: SessionLine) {
        if let session = line.session?.value {
            if sessions[session.number] == nil { insert(session) } else { replace(session) }
            lastNumber = max(lastNumber, session.number.rawValue)
        }
        if let bound = line.bound, let binding = bound.binding.value { addBinding(binding, to: bound.number) }
        if let ended = line.ended, let session = sessions[SessionNumber(rawValue: ended.number)] {
            _ = end(session, Reason(rawValue: ended.reason) ?? .sessionClosed)
        }
        if let used = line.used, let digest = Hex.decode(used.digest) {
            uses.note(digest, agent: used.agent, until: used.until)
            uses.close(digest)
        }
    }
}

private let smallestHistory = 1 << 20
