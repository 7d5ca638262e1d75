import ArgumentParser
import Configuration
import DecisionLog
import Glibc
import Identity

/// Which journal is read, and who is believed in it.
struct JournalOptions: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOptions

    @Option(help: "Read this journal namespace. (default: the one that log.socket of the configuration belongs to)")
    var namespace: String?

    @Option(help: "Read the journal files in this directory.")
    var directory: String?

    @Option(help: "Read this journal file.")
    var file: String?

    func validate() throws {
        if [namespace, directory, file].compactMap({ $0 }).count > 1 {
            throw ValidationError("--namespace, --directory and --file: only one of them makes sense")
        }
    }

    /// A reader of the chosen journal that believes no confined writer.
    func reader() throws -> JournalReader {
        let settings = try configuration.load()
        var source = JournalSource()
        source.directory = directory
        source.file = file
        source.namespace = namespace
        let isElsewhere = directory != nil || file != nil
        if !isElsewhere, namespace == nil { source.namespace = Self.namespace(ofSocket: settings.log.socket) }
        var cgroups = [SystemdName.path(ofSlice: settings.slice)]
        var units: [String] = []
        for selector in settings.agents.flatMap({ $0.selectors }) {
            switch selector {
            case .cgroup(let path): cgroups.append(path)
            case .unit(let name): units.append(name)
            case .uid, .interface, .source: break
            }
        }
        let isSystemdHost = access("/run/systemd/system", F_OK) == 0
        return JournalReader(
            source: source,
            trust: JournalTrust(
                confinedCgroups: cgroups, confinedUnits: units,
                requiresCgroup: isSystemdHost && !isElsewhere && source.namespace == nil))
    }

    /// The namespace whose socket is at `path`: `/run/systemd/journal.NAME/socket`; nil for the host's own.
    static func namespace(ofSocket path: String) -> String? {
        let prefix = "/run/systemd/journal."
        let suffix = "/socket"
        guard path.hasPrefix(prefix), path.hasSuffix(suffix) else { return nil }
        let name = path.dropFirst(prefix.count).dropLast(suffix.count)
        return name.isEmpty || name.contains("/") ? nil : String(name)
    }
}

extension JournalReader {
    /// `read`, with its errors as the command's.
    func readOrFail(_ query: JournalQuery, _ body: (JournalEntry) -> Bool) throws {
        do throws(JournalError) {
            try read(query, consumer: query.follow ? STDOUT_FILENO : nil, body)
        } catch {
            switch error {
            case .failed(_, _, let complaint) where complaint.contains("parse timestamp"):
                throw CommandFailure.badInput("--since: \(complaint) (see systemd.time(7))")
            case .failed, .cannotRun, .unreadable: throw CommandFailure.no(error.description)
            }
        }
    }
}
