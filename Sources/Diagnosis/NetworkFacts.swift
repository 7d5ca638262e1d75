import Glibc
import JOSE
import KernelRules
import Netlink
import PacketHeaders

/// The devices of this network, and who is in it or beside it.
struct NetworkFacts: Sendable {
    /// A bridge.
    struct Bridge: Hashable, Sendable {
        var name: String
        /// Ports that may talk to each other: those that are not isolated.
        var ports: [String]
        /// Its addresses.
        var addresses: [IPAddress] = []
    }

    /// Every bridge.
    var bridges: [Bridge] = []
    /// The bridge that a device is a port of, by the device.
    var masters: [String: String] = [:]
    /// Whether bridged packets go through the forward hook, IPv4 and IPv6 (`bridge-nf-call-iptables`, `-ip6tables`).
    var filtersBridges = false
    /// Processes of container engines that are in our own network and not confined, one a container.
    var hostContainers: [ProcessFacts] = []
    /// Devices of containers that are tied to a device of the host below its hooks: process, device and kind.
    var passingDevices: [(process: ProcessFacts, device: String, kind: String)] = []
    /// Listed interfaces that are not there.
    var missingInterfaces: [String] = []
    /// What runs at a device before or behind the hooks, by the device.
    var programs: [String: [String]] = [:]
    /// What could not be looked at, and why.
    var unread: [String] = []
}

extension NetworkFacts {
    /// Asks ip(8) and tc(8); `interfaces` are those of the configuration.
    static func read(interfaces: [String], _ table: ProcessTable, _ confined: ConfinedSet) -> NetworkFacts {
        var facts = NetworkFacts()
        // Not `/sys/class/net`: that is the network of whoever mounted it.
        if let text = run(["ip", "-j", "-d", "link"]), let links = try? StrictJSON(parsing: Array(text.utf8)) {
            facts.read(links, addresses: interfaceAddresses())
        } else {
            facts.unread.append("devices: ip(8) cannot be run (apt-get install iproute2)")
        }
        facts.filtersBridges = ["iptables", "ip6tables"].allSatisfy {
            TextFile.read("/proc/sys/net/bridge/bridge-nf-call-\($0)")?.first == "1"
        }
        facts.missingInterfaces = interfaces.filter { if_nametoindex($0) == 0 }
        for interface in interfaces where !facts.missingInterfaces.contains(interface) {
            facts.readFilters(at: interface)
        }
        facts.readContainers(table, confined)
        return facts
    }

    /// Containers whose devices are looked at; the rest is said to be unread.
    private static let containerLimit = 64

    /// Takes bridges, their ports and XDP programs from what `ip -j -d link` prints.
    mutating func read(_ links: StrictJSON, addresses: [String: [IPAddress]]) {
        guard case .array(let devices) = links else { return }
        for device in devices {
            guard let name = device["ifname"]?.string else { continue }
            if device["linkinfo"]?["info_kind"]?.string == "bridge" {
                bridges.append(Bridge(name: name, ports: [], addresses: addresses[name] ?? []))
            }
            if device["xdp"] != nil { programs[name, default: []].append("XDP") }
        }
        for device in devices {
            guard let name = device["ifname"]?.string, let master = device["master"]?.string,
                let index = bridges.firstIndex(where: { $0.name == master })
            else { continue }
            masters[name] = master
            if device["linkinfo"]?["info_slave_data"]?["isolated"] != .boolean(true) {
                bridges[index].ports.append(name)
            }
        }
    }

    private mutating func readFilters(at interface: String) {
        for direction in ["ingress", "egress"] {
            guard let filters = Self.run(["tc", "filter", "show", "dev", interface, direction]) else {
                unread.append("filters of \(interface): tc(8) cannot be run (apt-get install iproute2)")
                break
            }
            if !filters.allSatisfy(\.isWhitespace) {
                programs[interface, default: []].append("a filter of tc at \(direction)")
            }
        }
    }

    private mutating func readContainers(_ table: ProcessTable, _ confined: ConfinedSet) {
        var seen: Set<String> = []
        var networks: Set<UInt64> = []
        for process in table.processes {
            guard let container = Self.container(of: process.cgroup), let network = process.network else { continue }
            if network == table.ownNetwork {
                if !confined.holds(process), seen.insert(container).inserted { hostContainers.append(process) }
            } else if networks.insert(network).inserted {
                guard networks.count <= Self.containerLimit else { continue }
                readDevices(of: process)
            }
        }
        if networks.count > Self.containerLimit {
            unread.append("\(networks.count - Self.containerLimit) networks of containers: there are too many")
        }
    }

    private mutating func readDevices(of process: ProcessFacts) {
        guard let text = Self.run(["nsenter", "-t", String(process.pid), "-n", "ip", "-j", "-d", "link"]),
            case .array(let links)? = try? StrictJSON(parsing: Array(text.utf8))
        else { return unread.append("devices of process \(process.pid): ip(8) cannot be run in its network") }
        for link in links {
            guard let kind = link["linkinfo"]?["info_kind"]?.string, Self.passingKinds.contains(kind) else { continue }
            passingDevices.append((process, link["ifname"]?.string ?? "?", kind))
        }
    }

    /// What `arguments` print; nil where they fail.
    private static func run(_ arguments: [String]) -> String? {
        guard let outcome = try? Command.run(arguments), outcome.status == 0 else { return nil }
        return outcome.output
    }

    /// The part of a cgroup's path that names a container of one of the engines; nil for what is none.
    static func container(of cgroup: String) -> String? {
        var isPod = false
        for part in cgroup.split(separator: "/") {
            if isPod || containerPrefixes.contains(where: { part.hasPrefix($0) }) { return String(part) }
            // cgroupfs instead of systemd: `/docker/ID`.
            isPod = part == "docker" || part == "lxc" || part == "libpod_parent"
        }
        return nil
    }

    private static let containerPrefixes = [
        "docker-", "libpod-", "cri-containerd-", "crio-", "nerdctl-", "lxc.payload.",
    ]
    private static let passingKinds: Set<String> = ["macvlan", "macvtap", "ipvlan", "ipvtap"]

    /// The addresses of each interface (getifaddrs(3)).
    private static func interfaceAddresses() -> [String: [IPAddress]] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [:] }
        defer { freeifaddrs(first) }
        var found: [String: [IPAddress]] = [:]
        var next = first
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr else { continue }
            var text = [CChar](repeating: 0, count: 64)
            let size =
                address.pointee.sa_family == sa_family_t(AF_INET6)
                ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
            guard getnameinfo(address, socklen_t(size), &text, 64, nil, 0, NI_NUMERICHOST) == 0 else { continue }
            let plain = text.prefix { $0 != 0 && $0 != 0x25 }.map { UInt8(bitPattern: $0) }
            guard let parsed = IPAddress(String(decoding: plain, as: UTF8.self)) else { continue }
            found[String(cString: entry.ifa_name), default: []].append(parsed)
        }
        return found
    }
}
