import Configuration
import Glibc

/// What starts programs for a user outside of every agent's cgroup: cron(8), at(1), a user manager that lingers.
enum ScheduleReader {
    /// Each user's, by uid.
    static func read(_ host: Host = .current) -> [UInt32: [String]] {
        var found: [UInt32: [String]] = [:]
        // Both are owned by their user.
        for (directory, what) in [("/var/spool/cron/crontabs", "crontab"), ("/var/spool/cron/atjobs", "job of at")] {
            for name in ProcessReader.names(in: directory) where !name.hasPrefix(".") {
                var status = stat()
                let path = directory + "/" + name
                guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 else { continue }
                found[status.st_uid, default: []].append("\(what) \(path)")
            }
        }
        for name in ProcessReader.names(in: "/var/lib/systemd/linger") {
            if let uid = host.uid(name) {
                found[uid, default: []].append("the user manager of \(name), which lingers,")
            }
        }
        return found
    }
}
