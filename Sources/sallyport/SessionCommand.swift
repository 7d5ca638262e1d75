import ArgumentParser
import Confinement
import Control
import Glibc
import PacketHeaders

/// `sallyport session`: customers' sessions.
struct SessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session", abstract: "Opens, renews, lists and closes customers' sessions.",
        discussion: """
            A session ties a customer's token to flows of an agent. Root and the group sallyport see every session; a \
            process of an agent its own.
            """,
        subcommands: [Open.self, Renew.self, List.self, Close.self])

    /// `sallyport session open`.
    struct Open: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Opens a session by a customer's token and prints its id.",
            discussion: """
                One of --cgroup, --cookie, --ports, --source and --pid says which flows are the customer's. Without one the \
                session waits for sockets: POST /v1/sessions/ID/sockets.
                """)

        @OptionGroup var daemon: DaemonOptions
        @OptionGroup var output: OutputOptions

        @Option(help: ArgumentHelp("The agent; a process of an agent need not name its own.", valueName: "ID"))
        var agent: String?

        @Option(help: ArgumentHelp("The customer's token; - for a line of standard input.", valueName: "FILE"))
        var customerToken: String

        @Option(help: ArgumentHelp("The agent's token, where the configuration wants one.", valueName: "FILE"))
        var agentToken: String?

        @Option(
            help: ArgumentHelp(
                "A cgroup below the agent's, from the root of the hierarchy; self for the caller's own.",
                valueName: "PATH"))
        var cgroup: String?

        @Option(help: ArgumentHelp("One socket of the agent, by its SO_COOKIE.", valueName: "COOKIE"))
        var cookie: UInt64?

        @Option(help: ArgumentHelp("Local ports, such as 40000-40099.", valueName: "RANGE"))
        var ports: String?

        @Option(help: ArgumentHelp("A local address.", valueName: "ADDRESS"))
        var source: String?

        @Option(help: ArgumentHelp("A process of the agent; it gets a cgroup of its own.", valueName: "PID"))
        var pid: Int32?

        func run() throws {
            var request = OpenSessionRequest(customerToken: try TokenFile.read(customerToken))
            request.agent = agent
            request.agentToken = try agentToken.map(TokenFile.read)
            request.binding = try binding()
            let asked = request
            let session = try daemon.ask { client throws(ControlError) in try await client.openSession(asked) }
            if output.json { try output.printJSON(session) } else { print(session.id) }
        }

        private static func ownCgroup() throws -> String {
            do throws(ConfinementError) {
                return try CgroupHierarchy.current().pathOfProcess()
            } catch {
                throw CommandFailure.badInput("session open: --cgroup self: \(error)")
            }
        }

        private func binding() throws -> BindingRequest? {
            var found: [BindingRequest] = []
            if let cgroup { found.append(.cgroup(try cgroup == "self" ? Self.ownCgroup() : cgroup)) }
            if let cookie { found.append(.socket(cookie)) }
            if let ports {
                guard let range = BindingRequest.ports(ports) else {
                    throw CommandFailure.badInput(
                        "session open: --ports \(ports): no range of ports (such as 40000-40099)")
                }
                found.append(.ports(range))
            }
            if let source {
                guard let address = IPAddress(source) else {
                    throw CommandFailure.badInput("session open: --source \(source): no address")
                }
                found.append(.source(address))
            }
            if let pid { found.append(.pid(pid)) }
            guard found.count <= 1 else {
                throw CommandFailure.badInput(
                    "session open: more than one of --cgroup, --cookie, --ports, --source and --pid (a session begins with one "
                        + "binding)")
            }
            return found.first
        }
    }

    /// `sallyport session renew`.
    struct Renew: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Goes on with a session by another token of the same customer.")

        @OptionGroup var daemon: DaemonOptions
        @OptionGroup var output: OutputOptions

        @Option(help: ArgumentHelp("The new token; - for a line of standard input.", valueName: "FILE"))
        var customerToken: String

        @Argument(help: "The session's id.")
        var id: String

        func run() throws {
            let (id, token) = (id, try TokenFile.read(customerToken))
            let session = try daemon.ask { client throws(ControlError) in
                try await client.renewSession(id, customerToken: token)
            }
            if output.json { try output.printJSON(session) } else { print("until \(session.expires)") }
        }
    }

    /// `sallyport session list`.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the open sessions.")

        @OptionGroup var daemon: DaemonOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let report = try daemon.ask { client throws(ControlError) in try await client.sessions() }
            guard !output.json else { return try output.printJSON(report) }
            var table = TextTable(["SESSION", "AGENT", "CUSTOMER", "EXPIRES", "BOUND TO"])
            for session in report.sessions {
                let shown = session.bindings.prefix(3).map(\.description).joined(separator: ", ")
                let more = session.bindings.count > 3 ? " and \(session.bindings.count - 3) more" : ""
                table.append(
                    [session.id, session.agent, session.customer, session.expires, shown + more].map {
                        TextTable.Cell($0)
                    })
            }
            table.lines.forEach { print($0) }
        }
    }

    /// `sallyport session close`.
    struct Close: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Closes sessions: their flows are cut, and their tokens open no other one.")

        @OptionGroup var daemon: DaemonOptions

        @Argument(help: "The sessions' ids.")
        var ids: [String]

        func run() throws {
            for id in ids {
                try daemon.ask { client throws(ControlError) in try await client.closeSession(id) }
            }
        }
    }
}

/// Why a file gives no token.
struct TokenFileError: Error {
    /// What and why.
    let text: String
    /// What to do.
    static let remedy = "name a file with one token"
}

/// A token in a file, or in the first line of standard input.
enum TokenFile {
    /// Reads it for a command that ends where it cannot.
    static func read(_ name: String) throws -> String {
        do throws(TokenFileError) {
            return try load(name)
        } catch {
            throw CommandFailure.badInput("\(error.text) (\(TokenFileError.remedy))")
        }
    }

    /// Reads it.
    static func load(_ name: String) throws(TokenFileError) -> String {
        func failure(_ what: String) -> TokenFileError {
            TokenFileError(text: "\(name): \(what): \(String(cString: strerror(errno)))")
        }
        let descriptor = name == "-" ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("cannot be opened") }
        defer { if descriptor != STDIN_FILENO { close(descriptor) } }
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        // One at a time: what follows the line is for the command that is run.
        while bytes.count <= limit {
            let count = Glibc.read(descriptor, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("cannot be read") }
            if count == 0 || byte == 0x0A { break }
            bytes.append(byte)
        }
        guard bytes.count <= limit else { throw TokenFileError(text: "\(name): longer than \(limit) bytes") }
        let blanks: Set<UInt8> = [0x20, 0x09, 0x0D]
        let text = bytes.drop { blanks.contains($0) }.reversed().drop { blanks.contains($0) }.reversed()
        guard !text.isEmpty else { throw TokenFileError(text: "\(name): empty") }
        return String(decoding: Array(text), as: UTF8.self)
    }

    private static let limit = 16_384
}
