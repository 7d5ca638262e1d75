import Glibc
import Identity
import PacketHeaders
import WholeFile
import Yams

extension Configuration {
    /// The configuration in the file at `path`. Throws every problem of the file at once.
    public static func load(path: String = defaultPath, host: Host = .current) throws(ConfigurationError)
        -> Configuration
    {
        let text: String
        switch ConfigurationFile.read(path) {
        case .success(let bytes):
            guard let decoded = String(validating: bytes, as: UTF8.self) else {
                throw ConfigurationError([
                    .init(file: path, line: nil, key: "", message: "not UTF-8 text (save it as UTF-8)")
                ])
            }
            text = decoded
        case .failure(let problem):
            throw ConfigurationError([problem])
        }
        return try parse(text, file: path, host: host)
    }

    /// The configuration in `text`; `file` names it in errors. Throws every problem at once.
    public static func parse(_ text: String, file: String, host: Host = .current) throws(ConfigurationError)
        -> Configuration
    {
        let list = ProblemList(file: file)
        var configuration = Configuration()
        configuration.queues.count = min(host.processorCount, 4)
        switch root(of: text, list) {
        case .some(let node):
            configuration.read(YAMLReader(root: node, list: list), host: host)
        case .none where list.problems.isEmpty:
            list.add(line: nil, key: "", "the file is empty (it needs at least the key agents)")
        case .none:
            break
        }
        guard list.problems.isEmpty else { throw ConfigurationError(list.sorted) }
        return configuration
    }

    private static func root(of text: String, _ list: ProblemList) -> Node? {
        do {
            return try compose(yaml: text, .default, .default, .utf8)
        } catch let error as YamlError {
            let (line, message) = describe(error)
            list.add(line: line, key: "", message)
        } catch {
            list.add(line: nil, key: "", "not readable as YAML: \(error)")
        }
        return nil
    }

    private static func describe(_ error: YamlError) -> (line: Int?, message: String) {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            (mark.line, "not valid YAML: \(problem), at column \(mark.column)")
        case .reader(let problem, _, _, _):
            (nil, "not valid YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            (
                context.mark.line,
                "the key \(duplicates.joined(separator: ", ")) is given twice in one mapping (remove one)"
            )
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            (nil, "not readable as YAML: \(error)")
        }
    }

    private mutating func read(_ root: YAMLReader, host: Host) {
        let values = root.mapping([
            "slice", "agents", "customers", "agent_tokens", "listen", "resolvers", "dns", "bindings", "queues", "mark",
            "policy", "limits", "log", "control", "deny",
        ])
        if let reader = values["slice"], let name = reader.text("the name of a systemd slice") {
            if SystemdName.isSlice(name) {
                slice = name
            } else {
                reader.report("\(name.quoted) is not the name of a systemd slice (such as sallyport.slice)")
            }
        }
        if let reader = values["agents"] {
            agents = AgentsReader.read(reader, slice: slice, host: host)
        } else if root.isMapping {
            root.report(
                "the key agents is missing (list the agents, or write agents: [] to confine without knowing any)")
        }
        if let reader = values["customers"] { customers = CustomersReader.customers(reader) }
        if let reader = values["agent_tokens"] { agentTokens = CustomersReader.agentTokens(reader) }
        if let reader = values["listen"] { listen = ListenReader.read(reader, agents: agents) }
        if let reader = values["resolvers"] { resolvers = Self.addresses(reader) }
        if let reader = values["bindings"] { bindings = NamesReader.bindings(reader) }
        if let reader = values["dns"] { bindings += NamesReader.settings(reader, &dns) }
        if let reader = values["queues"] { queues.read(reader) }
        if let reader = values["mark"] { mark.read(reader) }
        if let reader = values["policy"] { policy.read(reader) }
        if let reader = values["limits"] { limits.read(reader) }
        if let reader = values["log"] { log.read(reader) }
        if let reader = values["control"] {
            if let socket = reader.mapping(["socket"])["socket"]?.path(limit: unixPathLimit) { control.socket = socket }
        }
        if let mode = values["deny"]?.choice(DenyMode.self) { deny = mode }
    }

    static func addresses(_ reader: YAMLReader) -> [IPAddress] {
        var seen: [IPAddress] = []
        for element in reader.oneOrMore(of: "addresses") {
            guard let text = element.scalar("an address") else { continue }
            guard let address = IPAddress(text) else {
                element.report("\(text.quoted) is not an IPv4 or IPv6 address")
                continue
            }
            if seen.contains(address) {
                element.report("\(address) is listed twice (remove one)")
            } else {
                seen.append(address)
            }
        }
        return seen
    }
}

/// `sun_path` holds 108 bytes with its NUL (unix(7)).
let unixPathLimit = 107

/// The bytes of a configuration file.
private enum ConfigurationFile {
    /// Larger files are no configurations; keeps a wrong path from filling memory.
    static let limit = 1 << 20

    static func read(_ path: String) -> Result<[UInt8], ConfigurationProblem> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .failure(problem(path, "cannot be opened", errno)) }
        defer { close(descriptor) }
        guard let bytes = WholeFile.read(descriptor, limit: limit) else {
            return .failure(problem(path, "cannot be read", errno))
        }
        guard bytes.count <= limit else {
            return .failure(
                .init(file: path, line: nil, key: "", message: "larger than \(limit) bytes (is this the right file?)"))
        }
        return .success(bytes)
    }

    private static func problem(_ path: String, _ what: String, _ code: Int32) -> ConfigurationProblem {
        let remedy =
            switch code {
            case ENOENT: "create it, or name another with --config"
            case EACCES, EPERM: "run as root, or correct its permissions"
            case EISDIR: "name the file in it"
            default: "check the path"
            }
        return .init(file: path, line: nil, key: "", message: "\(what): \(String(cString: strerror(code))) (\(remedy))")
    }
}

extension ConfigurationProblem: Error {}
