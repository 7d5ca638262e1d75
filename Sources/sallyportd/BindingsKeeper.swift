import Enforcement
import Flow
import Glibc
import PacketHeaders
import Rego
import Synchronization
import WholeFile

/// Hands the names that lead to addresses from one run of the daemon to the next: in a file (0600) beside the control socket,
/// which does not outlive the machine's boot, as its clock does not.
final class BindingsKeeper: Sendable {
    let bindings: NameBindings
    private let path: String
    private let isStopping = Atomic<Bool>(false)

    /// Reads what an earlier run knew.
    init(_ bindings: NameBindings, directory: String) {
        self.bindings = bindings
        path = directory + "/bindings.jsonl"
        Self.read(path, into: bindings)
    }

    /// Asks the thread to end.
    func stop() { isStopping.store(true, ordering: .relaxed) }

    /// The thread's body.
    func run() {
        var written = bindings.changeCount
        var turn = 0
        while !isStopping.load(ordering: .relaxed) {
            usleep(250_000)
            turn += 1
            let now = bindings.changeCount
            guard turn % Self.writtenEvery == 0, now != written else { continue }
            written = now
            Self.write(bindings, to: path)
        }
        Self.write(bindings, to: path)
    }

    private static func write(_ bindings: NameBindings, to path: String) {
        var text = ""
        for binding in bindings.all(now: Clock.read().monotonic) {
            text +=
                RegoValue.object([
                    (.string("address"), .string(binding.address.description)),
                    (.string("agent"), .string(binding.agent)),
                    (.string("expires"), .number(String(binding.expires))),
                    (.string("latest"), .number(String(binding.latest))), (.string("name"), .string(binding.name)),
                ]).json + "\n"
        }
        // Where it cannot be written the old one stays: what it says ends by its own times.
        let descriptor = WholeFile.replace(path, Array(text.utf8))
        if descriptor >= 0 { close(descriptor) }
    }

    private static func read(_ path: String, into bindings: NameBindings) {
        guard let bytes = WholeFile.readOwn(path) else { return }
        let now = Clock.read().monotonic
        for line in bytes.split(separator: 0x0A) {
            guard let value = try? RegoValue(json: line), let agent = value["agent"]?.string,
                let name = value["name"]?.string, let address = value["address"]?.string.flatMap({ IPAddress($0) }),
                let expires = value["expires"]?.integer.flatMap({ UInt64(exactly: $0) }),
                let latest = value["latest"]?.integer.flatMap({ UInt64(exactly: $0) })
            else { continue }
            bindings.keep(
                .init(agent: agent, name: name, address: address, expires: expires, latest: latest), now: now)
        }
    }

    /// Turns from one look to the next: a crash loses what two seconds brought.
    private static let writtenEvery = 8
}
