import Glibc

/// Transient scopes of systemd, by `systemd-run`.
public enum SystemdScope {
    /// Whether systemd runs this host (sd_booted(3)).
    public static var isAvailable: Bool {
        var status = stat()
        return lstat("/run/systemd/system", &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The command that moves its process into a scope of its own below `slice` and then becomes `command`, in place.
    /// The scope goes when its last process has ended, also after a failure.
    ///
    /// It is ordered after the rules, so that a slice which systemd just made anew is one that the rules know.
    public static func command(slice: String, agent: String, running command: [String]) -> [String] {
        [
            "systemd-run", "--scope", "--quiet", "--collect", "--slice=\(slice)",
            "--description=Confined agent \(agent)", "--property=Wants=sallyport-firewall.service",
            "--property=After=sallyport-firewall.service", "--",
        ] + command
    }
}
