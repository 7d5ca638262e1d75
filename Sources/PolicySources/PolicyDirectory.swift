import Glibc

/// The files of a policy directory, as Open Policy Agent lays out a bundle: `*.rego` anywhere, `data.yaml`, `data.yml` and
/// `data.json` whose directory says where their content stands in `data`. `*_test.rego` are tests and never in force. Names
/// that begin with a dot are skipped, other files are no policy.
public struct PolicyDirectory: Equatable, Sendable {
    /// One file.
    public struct File: Equatable, Sendable {
        /// The path below the directory, such as `partners/data.yaml`.
        public let name: String
        /// The content.
        public let bytes: [UInt8]

        /// A file from its parts.
        public init(name: String, bytes: [UInt8]) {
            self.name = name
            self.bytes = bytes
        }
    }

    /// The directory, as it was named by whoever asked.
    public let path: String
    /// `*.rego` but tests, by name.
    public let modules: [File]
    /// `*_test.rego`, by name.
    public let tests: [File]
    /// Data files, by name.
    public let data: [File]

    /// A directory that was never on disk.
    public init(path: String, files: [File]) {
        let sorted = files.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        self.path = path
        modules = sorted.filter { Self.kind(of: $0.name) == .module }
        tests = sorted.filter { Self.kind(of: $0.name) == .test }
        data = sorted.filter { Self.kind(of: $0.name) == .data }
    }

    /// Reads the directory. Throws every file that cannot be read, and where there is no policy at all.
    public static func read(_ path: String) throws(PolicyLoadError) -> PolicyDirectory {
        var reader = DirectoryReader(root: path) { kind(of: $0) != nil }
        reader.readAll()
        guard reader.problems.isEmpty else { throw PolicyLoadError(reader.problems) }
        let directory = PolicyDirectory(path: path, files: reader.files)
        guard !directory.modules.isEmpty else {
            throw PolicyLoadError(path, "no policy in it: no file ends in .rego but tests (put your policy there)")
        }
        return directory
    }

    /// How a file of this directory is named in errors.
    public func path(of file: File) -> String {
        "\(path)/\(file.name)"
    }

    private enum Kind {
        case module
        case test
        case data
    }

    /// What a file is by its name; nil for what is no part of a policy.
    private static func kind(of name: String) -> Kind? {
        if name.hasSuffix("_test.rego") { return .test }
        if name.hasSuffix(".rego") { return .module }
        let last = name.split(separator: "/").last.map(String.init) ?? name
        return ["data.json", "data.yaml", "data.yml"].contains(last) ? .data : nil
    }
}

/// Walks one directory.
struct DirectoryReader {
    private let root: String
    /// Whether a file of this name below the directory is read.
    private let takes: (String) -> Bool
    private(set) var files: [PolicyDirectory.File] = []
    private(set) var problems: [PolicyProblem] = []
    private var byteCount = 0

    /// No policy is larger; keeps a wrong path from filling memory.
    private static let maximumFileBytes = 32 << 20
    private static let maximumBytes = 128 << 20
    private static let maximumFiles = 10_000
    /// Ends loops of symbolic links.
    private static let maximumDepth = 32

    init(root: String, takes: @escaping (String) -> Bool) {
        self.root = root
        self.takes = takes
    }

    /// Reads everything.
    mutating func readAll() { read(directory: "", depth: 0) }

    private mutating func read(directory name: String, depth: Int) {
        let path = name.isEmpty ? root : "\(root)/\(name)"
        guard depth <= Self.maximumDepth else {
            return report(path, "more than \(Self.maximumDepth) directories deep (is a symbolic link a loop?)")
        }
        guard let stream = opendir(path) else { return report(path, "cannot be read", errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { report(path, "cannot be read", errno) }
                break
            }
            let entryName = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !entryName.hasPrefix(".") { names.append(entryName) }
        }
        for entryName in names.sorted() {
            let inner = name.isEmpty ? entryName : "\(name)/\(entryName)"
            var status = stat()
            guard stat("\(root)/\(inner)", &status) == 0 else {
                if takes(inner) { report("\(root)/\(inner)", "cannot be read", errno) }
                continue
            }
            if status.st_mode & S_IFMT == S_IFDIR {
                read(directory: inner, depth: depth + 1)
            } else if takes(inner) {
                read(file: inner)
            }
            guard files.count <= Self.maximumFiles, byteCount <= Self.maximumBytes else {
                return report(
                    root,
                    "more than \(Self.maximumFiles) files or \(Self.maximumBytes >> 20) MiB (is this the right directory?)"
                )
            }
        }
    }

    /// Reads one file below the directory.
    mutating func read(file name: String) {
        let path = "\(root)/\(name)"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return report(path, "cannot be read", errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return report(path, "cannot be read", errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            return report(path, "not an ordinary file (remove or rename it)")
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return report(path, "cannot be read", errno) }
            guard count > 0 else { break }
            bytes += chunk[..<count]
            guard bytes.count <= Self.maximumFileBytes else {
                return report(path, "larger than \(Self.maximumFileBytes >> 20) MiB (is this the right file?)")
            }
        }
        byteCount += bytes.count
        files.append(.init(name: name, bytes: bytes))
    }

    private mutating func report(_ path: String, _ message: String) {
        problems.append(PolicyProblem(file: path, line: nil, message: message))
    }

    private mutating func report(_ path: String, _ what: String, _ code: Int32) {
        let remedy =
            switch code {
            case ENOENT: "create it, or correct policy.directory in the configuration"
            case EACCES, EPERM: "make it readable for the daemon"
            case ENOTDIR: "name the directory that it is in"
            default: "check the path"
            }
        report(path, "\(what): \(String(cString: strerror(code))) (\(remedy))")
    }
}
