import Glibc
import PacketHeaders
import WholeFile
import WireProtocols

/// Reads `dns:` and `bindings:`.
enum NamesReader {
    /// `bindings:` The entries that are right; everything wrong is reported.
    static func bindings(_ reader: YAMLReader) -> [Configuration.NameBinding] {
        reader.list(of: "bindings").compactMap { element in
            let values = element.mapping(["host", "addresses"])
            guard element.isMapping else { return nil }
            for key in ["host", "addresses"] where values[key] == nil {
                element.report("the key \(key) is missing (a binding says which name leads to which addresses)")
            }
            guard let hostReader = values["host"], let text = hostReader.text("a host name"),
                let addressReader = values["addresses"]
            else { return nil }
            let addresses = Configuration.addresses(addressReader)
            if addressReader.isEmptyList { addressReader.report("an empty list leads nowhere (list addresses)") }
            do throws(HostNameError) {
                let host = try HostName(validating: text)
                return addresses.isEmpty ? nil : .init(host: host.description, addresses: addresses)
            } catch {
                hostReader.report("\(text.quoted) is no host name: \(error.reason) (such as db.example.com)")
                return nil
            }
        }
    }

    /// `dns:` Returns the bindings of its hosts file.
    static func settings(_ reader: YAMLReader, _ settings: inout Configuration.NameSettings)
        -> [Configuration.NameBinding]
    {
        guard reader.isMapping else {
            switch reader.scalar("off, or a mapping of settings") {
            case "off", "false": settings.isWatched = false
            case .some(let other): reader.report("\(other.quoted) is neither off nor a mapping of settings")
            case nil: break
            }
            return []
        }
        let values = reader.mapping(["floor_seconds", "grace_seconds", "hosts_file"])
        if let value = values["floor_seconds"]?.integer(0...86_400) { settings.floorSeconds = UInt32(value) }
        if let value = values["grace_seconds"]?.integer(0...86_400) { settings.graceSeconds = UInt32(value) }
        guard let file = values["hosts_file"], let path = file.path() else { return [] }
        settings.hostsFile = path
        guard let bytes = WholeFile.read(path, followsLinks: true) else {
            file.report("\(path) cannot be read: \(String(cString: strerror(errno))) (check the path)")
            return []
        }
        return hosts(String(decoding: bytes, as: UTF8.self))
    }

    /// The bindings of a hosts file (hosts(5)): an address and its names a line, `#` begins a comment. As the C library does,
    /// lines that are none are passed over.
    static func hosts(_ text: String) -> [Configuration.NameBinding] {
        text.split(whereSeparator: \.isNewline).flatMap { line -> [Configuration.NameBinding] in
            let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
            guard let first = words.first, let address = IPAddress(String(first)) else { return [] }
            return words.dropFirst().compactMap { word in
                (try? HostName(validating: word)).map { .init(host: $0.description, addresses: [address]) }
            }
        }
    }
}
