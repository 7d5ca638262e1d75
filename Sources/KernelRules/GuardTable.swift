import CNFTables
import CNetfilter
import Glibc
import Netlink
import Synchronization

/// The table `sallyport_guard`: it holds confined senders while the table `sallyport` is gone.
///
/// It is this process's own (`NFT_TABLE_F_OWNER`, linux/netfilter/nf_tables.h, Linux 5.12): nobody else can change or delete it,
/// `nft flush ruleset` passes it over, and the kernel deletes it when the process ends. Packets that the table `sallyport` has
/// looked at pass it, so it may confine nobody whom that table does not.
public final class GuardTable: Sendable {
    /// The context keeps one netlink socket, which is the table's owner.
    private struct State: @unchecked Sendable {
        let context: OpaquePointer
        var text = ""
    }

    private let state: Mutex<State>

    /// Loads nothing yet.
    public init() {
        guard let context = nft_ctx_new(UInt32(NFT_CTX_DEFAULT)) else { fatalError("nft_ctx_new: no memory") }
        Self.closeNetlinkSocketsOnExec()
        nft_ctx_buffer_error(context)
        nft_ctx_buffer_output(context)
        state = Mutex(State(context: context))
    }

    deinit {
        state.withLock { nft_ctx_free($0.context) }
    }

    /// Makes the table what these rules need, in one transaction; where it is that already nothing is done.
    public func hold(_ rules: RuleSet) throws(KernelRulesError) {
        let text = rules.guardText
        let isUsual = try rules.hierarchy().mountPoint == RuleSet.usualMountPoint
        try state.withLock { (state) throws(KernelRulesError) in
            let isThere = try Self.isLoaded()
            if isThere, state.text == text { return }
            state.text = ""
            try Self.run(isThere ? Self.deletion + text : text, state.context, mounting: !isUsual)
            state.text = text
        }
    }

    /// Deletes the table.
    public func release() throws(KernelRulesError) {
        try state.withLock { (state) throws(KernelRulesError) in
            state.text = ""
            if try Self.isLoaded() { try Self.run(Self.deletion, state.context) }
        }
    }

    private static func isLoaded() throws(KernelRulesError) -> Bool {
        do throws(NetlinkError) {
            var tables = try NFTables.open()
            return try tables.holdsTable(name)
        } catch {
            throw KernelRulesError("\(error)")
        }
    }

    private static func run(
        _ script: String, _ context: OpaquePointer, mounting: Bool = false
    ) throws(KernelRulesError) {
        let work = Work(script: script, context: context)
        if mounting { try work.runAmongOwnMounts() } else { work.run() }
        guard work.status != 0 else { return }
        let reason = nft_ctx_get_error_buffer(context).map { String(cString: $0) } ?? ""
        throw KernelRulesError(
            "table inet \(name): not taken: \(RuleSet.firstLine(reason)) (it needs Linux 5.12 or later)")
    }

    /// One script for libnftables.
    private final class Work {
        let script: String
        let context: OpaquePointer
        var status: Int32 = 0
        var mountError: Int32 = 0

        init(script: String, context: OpaquePointer) {
            self.script = script
            self.context = context
        }

        func run() {
            status = nft_run_cmd_from_buffer(context, script)
        }

        /// libnftables looks for cgroups under /sys/fs/cgroup only: where cgroup v2 is elsewhere, it gets a thread with a mount
        /// namespace in which it is there.
        func runAmongOwnMounts() throws(KernelRulesError) {
            var thread = pthread_t()
            let error = pthread_create(
                &thread, nil,
                { pointer in
                    guard let pointer else { return nil }
                    let work = Unmanaged<Work>.fromOpaque(pointer).takeUnretainedValue()
                    if enter_private_mount_namespace() == 0,
                        mount_filesystem("cgroup2", RuleSet.usualMountPoint) == 0
                    {
                        work.run()
                    } else {
                        work.mountError = errno
                    }
                    return nil
                }, Unmanaged.passUnretained(self).toOpaque())
            guard error == 0 else { throw KernelRulesError("pthread_create: \(Command.text(error)) (raise TasksMax=)") }
            pthread_join(thread, nil)
            guard mountError == 0 else {
                throw KernelRulesError(
                    "cgroup v2 cannot be mounted at \(RuleSet.usualMountPoint), where libnftables looks for it: \(Command.text(mountError)) (boot with systemd.unified_cgroup_hierarchy=1)"
                )
            }
        }
    }

    /// libnftables opens its socket for children too; one that lives on would keep the table.
    private static func closeNetlinkSocketsOnExec() {
        guard let stream = opendir("/proc/self/fd") else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let descriptor = Int32(name) else { continue }
            var domain: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            guard getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0, domain == AF_NETLINK else {
                continue
            }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }
    }

    private static let name = KernelRulesParameters.guardTableName
    private static let deletion = "delete table inet \(name)\n"
}
