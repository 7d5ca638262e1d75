import ArgumentParser
import Configuration
import Control
import Dispatch
import Glibc
import Synchronization

/// Where the configuration is. Commands that only look go on without one, with the defaults.
struct ConfigurationOptions: ParsableArguments {
    @Option(name: .customLong("config"), help: "The configuration. (default: \(Configuration.defaultPath))")
    var path: String?

    /// The configuration: the named one, or the one at the usual place, or, where that cannot be read, the defaults.
    /// - Throws: `CommandFailure` where a named one, or a readable one at the usual place, cannot be used.
    func load() throws -> Configuration {
        if path == nil, access(Configuration.defaultPath, R_OK) != 0 { return Configuration() }
        do {
            return try Configuration.load(path: path ?? Configuration.defaultPath)
        } catch {
            throw CommandFailure.badInput(error.description)
        }
    }
}

/// How the daemon is reached.
struct DaemonOptions: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOptions

    @Option(help: "The control socket. (default: control.socket of the configuration)")
    var socket: String?

    /// A client of the daemon's socket.
    func client() throws -> ControlClient {
        ControlClient(path: try socket ?? configuration.load().control.socket)
    }

    /// What `ask` gets from the daemon.
    /// - Throws: `CommandFailure`.
    func ask<Answer: Sendable>(_ ask: @escaping @Sendable (ControlClient) async throws(ControlError) -> Answer) throws
        -> Answer
    {
        let client = try client()
        do throws(ControlError) {
            return try client.wait(for: ask).get()
        } catch {
            switch error {
            case .pathTooLong: throw CommandFailure.badInput(error.description)
            case .inUse, .notASocket, .system, .notRunning, .problem, .unexpected:
                throw CommandFailure.no(error.description)
            }
        }
    }
}

/// Which entries a list of the daemon's is to have.
struct ListOptions: ParsableArguments {
    @Option(help: "Only those of this agent.")
    var agent: String?

    @Option(help: "How many at most.")
    var limit = ListLimit.usual

    func validate() throws {
        guard (1...ListLimit.largest).contains(limit) else {
            throw ValidationError("--limit: \(limit) is not from 1 to \(ListLimit.largest)")
        }
    }
}

extension ControlClient {
    /// Asks, and keeps the calling thread waiting for the answer, for at most `seconds` where they are given.
    func wait<Answer: Sendable>(
        for ask: @escaping @Sendable (ControlClient) async throws(ControlError) -> Answer, seconds: Int? = nil
    ) -> Result<Answer, ControlError> {
        let box = AnswerBox<Answer>()
        Task.detached {
            do throws(ControlError) {
                box.put(.success(try await ask(self)))
            } catch {
                box.put(.failure(error))
            }
        }
        let deadline = seconds.map { DispatchTime.now() + .seconds($0) } ?? .distantFuture
        return box.take(until: deadline) ?? .failure(.notRunning(path: path, reason: "no answer in time"))
    }
}

/// Hands one answer from a task to a waiting thread.
private final class AnswerBox<Answer: Sendable>: Sendable {
    private let answer = Mutex<Result<Answer, ControlError>?>(nil)
    private let isThere = DispatchSemaphore(value: 0)

    func put(_ value: Result<Answer, ControlError>) {
        answer.withLock { $0 = value }
        isThere.signal()
    }

    /// The answer; nil where it has not come by then.
    func take(until deadline: DispatchTime) -> Result<Answer, ControlError>? {
        _ = isThere.wait(timeout: deadline)
        return answer.withLock { $0 }
    }
}

/// The switch between text and JSON.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON.")
    var json = false
}

extension OutputOptions {
    /// Prints `report` as JSON.
    func printJSON(_ report: some Encodable) throws {
        print(String(decoding: try ControlCoding.encode(report, pretty: true), as: UTF8.self))
    }
}
