internal import Glibc
internal import JOSE
internal import Tokens
internal import WholeFile

/// Fetched key sets in a file (0600), from which the daemon's next run has them while they cannot be fetched. What was fetched
/// before the machine's boot does not count: the clock by which a set grows old begins with it.
struct KeptKeySets: Sendable {
    /// A set as it was fetched.
    struct KeptSet: Hashable, Sendable {
        let text: [UInt8]
        /// `CLOCK_BOOTTIME` in nanoseconds.
        let readAt: UInt64
    }

    private let path: String

    init(path: String) {
        self.path = path
    }

    /// What an earlier run has left, by where it was fetched from. Nothing where the file is not ours, or not what we write.
    func read() -> [KeyAddress: KeptSet] {
        var sets: [KeyAddress: KeptSet] = [:]
        for line in (WholeFile.readOwn(path) ?? []).split(separator: 0x0A) {
            guard let value = try? StrictJSON(parsing: Array(line)), value["boot"]?.string == WholeFile.bootID,
                let url = value["url"]?.string, let text = value["keys"]?.string,
                let readAt = value["read_at"]?.string.flatMap({ UInt64($0) })
            else { continue }
            var address = KeyAddress(url: url)
            address.authorities = value["authorities"]?.string
            sets[address] = KeptSet(text: Array(text.utf8), readAt: readAt)
        }
        return sets
    }

    /// Replaces what is kept. Where that fails the old file stays: what it says ends by its own times.
    func write(_ sets: [KeyAddress: KeptSet]) {
        guard let boot = WholeFile.bootID, !sets.isEmpty else {
            unlink(path)
            return
        }
        var lines: [String] = []
        for (address, set) in sets {
            let members: [(String, String?)] = [
                ("authorities", address.authorities), ("boot", boot),
                ("keys", String(decoding: set.text, as: UTF8.self)), ("read_at", String(set.readAt)),
                ("url", address.url),
            ]
            lines.append(
                StrictJSON.object(
                    members.compactMap { name, value in value.map { .init(name: name, value: .string($0)) } }
                ).description)
        }
        let descriptor = WholeFile.replace(path, Array(lines.sorted().map { $0 + "\n" }.joined().utf8))
        if descriptor >= 0 { close(descriptor) }
    }
}

extension KeyAddress {
    /// What a set is kept by: from where and on whose word it was fetched, whatever the times say.
    var place: KeyAddress {
        var place = KeyAddress(url: url)
        place.authorities = authorities
        return place
    }
}
