/// The version of the daemon and the command line, which belong together.
public enum SallyportVersion {
    /// Semantic version; the same as the newest heading of CHANGELOG.md.
    public static let current = "0.1.0"
}
