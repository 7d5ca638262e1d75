import ArgumentParser
import Configuration
import Control
import Glibc

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
    func ask<Answer>(_ ask: (ControlClient) async throws(ControlError) -> Answer) async throws -> Answer {
        let client = try client()
        do throws(ControlError) {
            return try await ask(client)
        } catch {
            switch error {
            case .pathTooLong: throw CommandFailure.badInput(error.description)
            case .inUse, .notASocket, .system, .notRunning, .problem, .unexpected:
                throw CommandFailure.no(error.description)
            }
        }
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
