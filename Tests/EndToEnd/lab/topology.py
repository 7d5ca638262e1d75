"""The network of the lab.

    guest                 agent (the host under test)          hop                      net ("the internet")
    vbot 198.18.5.2  ──── gbot 198.18.5.1
         fd00:5::2             fd00:5::1
    vsrc 198.18.6.2  ──── gsrc 198.18.6.1     uplink ───────── inner     outer ──────── wire
         fd00:6::2             fd00:6::1      198.18.1.2       198.18.1.1 198.18.0.254   198.18.0.1 ... .77
                                              fd00:1::2        fd00:1::1  fd00:18::fe    fd00:18::1 ... ::77

`guest` stands for a container or virtual machine behind the agent host: interface gbot is listed as an agent's, the
addresses behind gsrc are listed as another one's. `hop` is a router that can lose packets on purpose and lets a low TTL
expire. Everything of the outside world lives in `net`, on several addresses."""

import ipaddress

from .namespaces import Host

SERVER, DIRECT, RESOLVER, OTHER_RESOLVER, BLOCKED, ATTACKER = 1, 7, 53, 54, 55, 66
"""Last part of the addresses in `net`: names are served at SERVER; DIRECT is allowed by address without a name;
RESOLVER is configured, OTHER_RESOLVER is not; BLOCKED is refused at the first packet; ATTACKER is nobody's."""

METADATA, METADATA6 = "169.254.169.254", "fd00:ec2::254"
PRIVATE, LISTED = {4: "10.66.0.1", 6: "fd00:66::1"}, {4: "192.168.66.1", 6: "fd00:67::1"}
"""Special addresses that `net` has too: the metadata services of clouds, and two of a private network's."""


def translated(address):
    """The IPv6 address by which a translator leads to an IPv4 address (NAT64, RFC 6052 §2.1)."""
    return str(ipaddress.ip_address("64:ff9b::") + int(ipaddress.IPv4Address(address)))


RING = tuple(range(70, 78))
"""Last parts of the addresses among which names of the zone rotate; the lab's policy has nobody connect to one that no answer
of his own leads to."""
ANSWERED = RING[:6]
"""Those of them that answers name at all."""

_ADDRESSES = (SERVER, DIRECT, RESOLVER, OTHER_RESOLVER, BLOCKED, ATTACKER, *RING)


def outside(last, family):
    """An address in `net`."""
    return f"198.18.0.{last}" if family == 4 else f"fd00:18::{last}"


_SPECIAL = (METADATA, METADATA6, *PRIVATE.values(), *LISTED.values(), translated(METADATA),
            *(translated(outside(last, 4)) for last in _ADDRESSES))

GUEST = {4: "198.18.5.2", 6: "fd00:5::2"}
GUEST_BY_SOURCE = {4: "198.18.6.2", 6: "fd00:6::2"}
AGENT_HOST = {4: "198.18.1.2", 6: "fd00:1::2"}
AGENT_HOST_FOR_GUEST = {4: "198.18.5.1", 6: "fd00:5::1"}

_SYSCTLS = """
net.ipv4.ip_forward=1
net.ipv6.conf.all.forwarding=1
net.ipv6.conf.all.accept_dad=0
net.ipv6.conf.default.accept_dad=0
net.ipv4.conf.all.rp_filter=0
net.ipv4.conf.default.rp_filter=0
net.ipv4.tcp_fastopen=0x607
net.ipv4.icmp_ratelimit=0
net.ipv6.icmp.ratelimit=0
net.core.somaxconn=4096
net.ipv4.tcp_max_syn_backlog=4096
net.ipv4.tcp_syncookies=0
net.ipv4.tcp_invalid_ratelimit=0
net.ipv4.tcp_no_metrics_save=1
"""


class Topology:
    """The four hosts, connected and routed."""

    def __init__(self):
        self.hosts = []
        try:
            self.agent, self.guest, self.hop, self.net = (self._host(n) for n in ("agent", "guest", "hop", "net"))
            self._connect()
        except BaseException:
            self.close()
            raise

    def _host(self, name):
        host = Host(name)
        self.hosts.append(host)
        settings = [line for line in _SYSCTLS.split("\n") if line]
        host.command("sysctl", "-qw", *settings)
        host.command("ip", "link", "set", "lo", "up")
        return host

    def _link(self, left, left_name, right, right_name):
        left.command("ip", "link", "add", left_name, "type", "veth", "peer", "name", right_name, "netns", right.pid)
        for host, name in ((left, left_name), (right, right_name)):
            host.command("ip", "link", "set", name, "up")

    def _connect(self):
        self._link(self.guest, "vbot", self.agent, "gbot")
        self._link(self.guest, "vsrc", self.agent, "gsrc")
        self._link(self.agent, "uplink", self.hop, "inner")
        self._link(self.hop, "outer", self.net, "wire")

        def addresses(host, interface, *all_of_them):
            for address in all_of_them:
                options = ["nodad"] if ":" in address else []
                host.command("ip", "addr", "add", address, "dev", interface, *options)

        addresses(self.guest, "vbot", "198.18.5.2/24", "fd00:5::2/64")
        addresses(self.agent, "gbot", "198.18.5.1/24", "fd00:5::1/64")
        addresses(self.guest, "vsrc", "198.18.6.2/24", "fd00:6::2/64")
        addresses(self.agent, "gsrc", "198.18.6.1/24", "fd00:6::1/64")
        addresses(self.agent, "uplink", "198.18.1.2/24", "fd00:1::2/64")
        addresses(self.hop, "inner", "198.18.1.1/24", "fd00:1::1/64")
        addresses(self.hop, "outer", "198.18.0.254/24", "fd00:18::fe/64")
        addresses(self.net, "wire", *(f"{outside(a, 4)}/24" for a in _ADDRESSES))
        # The first address is the source of what the outside world sends by itself.
        addresses(self.net, "wire", *(f"{outside(a, 6)}/64" for a in reversed(_ADDRESSES)))

        def routes(host, *all_of_them):
            for route in all_of_them:
                family = "-6" if ":" in route else "-4"
                host.command("ip", family, "route", "add", *route.split())

        routes(self.guest, "default via 198.18.5.1", "default via fd00:5::1")
        for family, table in (("-4", "198.18.6.1"), ("-6", "fd00:6::1")):
            self.guest.command("ip", family, "route", "add", "default", "via", table, "table", "6")
            self.guest.command("ip", family, "rule", "add", "from", "198.18.6.2" if family == "-4" else "fd00:6::2", "table", "6")
        routes(self.agent, "default via 198.18.1.1", "default via fd00:1::1")
        for via, networks in (("198.18.1.2", ("198.18.5.0/24", "198.18.6.0/24")), ("fd00:1::2", ("fd00:5::/64", "fd00:6::/64"))):
            for network in networks:
                routes(self.hop, f"{network} via {via}")
        routes(self.net, "default via 198.18.0.254", "default via fd00:18::fe")
        for address in _SPECIAL:
            whole = f"{address}/{128 if ':' in address else 32}"
            # Deprecated: no server answers from there by itself (RFC 6724, rule 3).
            self.net.command("ip", "addr", "add", whole, "dev", "wire", *(["nodad", "preferred_lft", "0"] if ":" in address else []))
            routes(self.hop, f"{whole} dev outer")
        # A guest that crafts its own TCP must not be answered for by its kernel: only crafted resets leave.
        self.guest.command("nft", "-f", "-", text="""
            table inet crafted { chain output { type filter hook output priority 0; policy accept;
                tcp sport 50000-59999 tcp flags & rst == rst meta mark != 0x77 drop
            }; }""")
        self.hop.command("nft", "-f", "-", text="table inet losses { chain forward { type filter hook forward priority 0; policy accept; }; }")

    def lose(self, rule):
        """Adds a rule to the router that loses packets; it has to end with `counter drop`, so that `lost` can tell."""
        self.hop.command("nft", "add", "rule", "inet", "losses", "forward", *rule.split())

    def stop_losing(self):
        """Takes every loss away."""
        self.hop.command("nft", "flush", "chain", "inet", "losses", "forward")

    def lost(self):
        """How many packets the router lost since `lose`."""
        words = self.hop.command("nft", "list", "chain", "inet", "losses", "forward").stdout.split()
        return sum(int(words[i + 2]) for i, word in enumerate(words) if word == "counter")

    def close(self):
        """Takes the network down."""
        for host in reversed(self.hosts):
            host.close()
        self.hosts = []
