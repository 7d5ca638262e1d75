import Configuration
import Glibc
import WholeFile

/// A copy of the configuration with which rules were applied last. It outlives a boot, and so do the uids, interfaces and
/// sources in it that must stay confined while the configuration itself cannot be read.
enum LastGoodConfiguration {
    /// Where the copy is.
    static let path = "/var/lib/sallyport/applied.yaml"

    /// The configuration of the copy; nil where there is none.
    static func load() -> Configuration? {
        try? Configuration.load(path: path)
    }

    /// Copies the configuration at its usual place. Best effort: without a copy, the slice alone is confined in need.
    static func remember() {
        guard let bytes = WholeFile.read(Configuration.defaultPath, followsLinks: true), bytes != WholeFile.read(path)
        else { return }
        mkdir("/var/lib/sallyport", 0o755)
        let descriptor = WholeFile.replace(path, bytes, isDurable: true)
        if descriptor >= 0 { close(descriptor) }
    }
}
