// KernelRules: the rules that send confined traffic to the queues, and the settings that they rely on.
//
// The rules are the template `nft-rules/sallyport.nft` (compiled into the program, so that program and rules never differ),
// filled in from the configuration and loaded by nft(8) in one transaction. `GuardTable` holds agents while somebody else has taken
// them out. Where the kernel has no `nft_queue`, the queue
// chains hold the xt target NFQUEUE instead, put there by netlink. `apply`, `remove` and `check` are what the command line
// and the daemon call. Imports `Netlink` for what nft(8) cannot do.

public import Configuration
import Identity
public import PacketHeaders

/// What the rules depend on; the programs fill it from the configuration.
public struct KernelRulesParameters: Hashable, Sendable {
    /// The confined slice as a cgroup path without a leading slash, `sallyport.slice`.
    public var slice: String
    /// Further cgroups that are confined, paths without a leading slash.
    public var cgroups: [String] = []
    /// Confined uids.
    public var uids: [UInt32] = []
    /// Interfaces whose incoming traffic is confined.
    public var interfaces: [String] = []
    /// Source prefixes whose traffic is confined.
    public var sources: [IPPrefix] = []
    /// The resolvers whose answers are read.
    public var resolvers: [IPAddress] = []
    /// The four neighbouring mark bits that are ours.
    public var markMask: UInt32 = 0x0F00_0000
    /// The first queue number.
    public var queueBase: UInt16 = 8800
    /// The number of queue threads; the TCP queues come first, then as many for UDP and single segments.
    public var queueCount: UInt16 = 1
    /// Whether refused packets are answered.
    public var answersRefusals = true

    /// Parameters of a host without agents.
    public init(slice: String) {
        self.slice = slice
    }

    /// What a configuration confines. A unit needs no rule of its own: a drop-in puts it into the slice.
    public init(_ configuration: Configuration) {
        self.init(slice: configuration.slice)
        markMask = configuration.mark.mask
        queueBase = configuration.queues.base
        queueCount = UInt16(clamping: configuration.queues.count)
        answersRefusals = configuration.deny != .drop
        if configuration.watchesNames { resolvers = configuration.resolvers }
        for selector in configuration.agents.flatMap(\.selectors) {
            switch selector {
            case .cgroup(let path):
                let relative = String(path.drop { $0 == "/" })
                if relative != slice, !relative.hasPrefix(slice + "/") { cgroups.append(relative) }
            case .unit: break
            case .uid(let uid): uids.append(uid)
            case .interface(let name): interfaces.append(name)
            case .source(let prefix): sources.append(prefix)
            }
        }
    }

    /// The table that is ours.
    public static let tableName = "sallyport"
    /// The table that is the running daemon's, see `GuardTable`.
    public static let guardTableName = "sallyport_guard"

    var confinedBit: UInt32 { markMask & (~markMask &+ 1) }
    var allowedBit: UInt32 { confinedBit << 1 }
    var refusedBit: UInt32 { confinedBit << 2 }
    var injectBit: UInt32 { confinedBit << 3 }

    /// Every queue number.
    var queues: Range<UInt16> { queueBase..<queueBase + 2 * queueCount }
}

/// How packets get from the rules to the queues.
public enum QueueBackend: String, Hashable, Sendable, CaseIterable {
    /// The `queue` statement of nftables (`nft_queue`).
    case native
    /// The xt target NFQUEUE within the nftables table (`nft_compat`, `xt_NFQUEUE`).
    case xtables
}
