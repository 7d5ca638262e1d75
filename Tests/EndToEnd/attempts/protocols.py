"""B55, B56, B80: what is neither TCP nor UDP, multicast, MPTCP, and batches of datagrams."""

import os
import socket
import struct

from lab import hello, quic as packets, rawtcp, streams, topology
from lab.catalogue import Skip, attempt
from lab.namespaces import Actor, Gate
from lab.streams import Stream, echoed
from lab.waiting import Deadline

from . import quic
from .network import SECRET, family_of

IP_HDRINCL, IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 3, 262, 284, 1
JOIN, FALLBACK = 1, 1
"""The subtype of the option that joins a connection (RFC 8684 §3.2), and the kernel's flag that a connection is plain TCP
(`MPTCP_INFO_FLAG_FALLBACK`, linux/mptcp.h)."""


def protocols(family):
    """Numbers of protocols beside TCP and UDP (IANA), and how a packet of each begins."""
    echo = (1, b"\x08\0\0\0\0\1\0\1") if family == 4 else (58, b"\x80\0\0\0\0\1\0\1")
    inside = rawtcp.ip_packet("198.18.1.2", topology.outside(topology.ATTACKER, 4), 17, struct.pack("!HHHH", 1, 20000, 8, 0))
    return {
        "ICMP echo": echo, "GRE": (47, b"\0\0\x08\0"), "ESP": (50, struct.pack("!II", 1, 1)), "AH": (51, bytes([59, 1, 0, 0]) + bytes(8)),
        "IPv4 inside IP": (4, inside), "IPv6 inside IP": (41, struct.pack("!IHBB", 6 << 28, 0, 59, 64) + bytes(32)),
        "DCCP": (33, bytes(16)), "SCTP": (132, bytes(12)), "UDP-Lite": (136, b"\xfd\xe8\xfd\xe8\0\0\0\0"),
        "L2TP": (115, bytes(4)), "an unassigned one": (200, b""), "one for experiments": (253, b""),
    }


@attempt("B55", "ICMP, GRE, ESP, tunnels, SCTP, UDP-Lite and protocols that nobody knows carry nothing out")
def other_protocols(t):
    actor = Actor(0, t.place.actor.cgroup)  # raw sockets need it; a hardened agent has none (B61)
    address = t.place.at(topology.ATTACKER)
    every = protocols(t.place.family)
    before = {number: t.lab.wire.other(number) for number, _ in every.values()}

    def send():
        for number, head in every.values():
            with socket.socket(family_of(address), socket.SOCK_RAW, number) as raw:
                try:
                    raw.sendto(head + SECRET, (address, 0))
                except OSError:
                    pass  # told at once
    t.place.call(send, actor)
    for what, (number, _) in every.items():
        t.title_of(what)
        arrived = t.lab.wire.other(number) - before[number]
        t.expect(arrived >= 1 if t.unprotected else arrived == 0, f"{arrived} packets of protocol {number} arrived")


@attempt("B55", "an ordinary program's ping is refused, and it is told")
def ping(t):
    address = t.place.at(topology.SERVER)
    number = 1 if t.place.family == 4 else 58
    t.place.host.command("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
    before = t.lab.wire.other(number)

    def send():
        with socket.socket(family_of(address), socket.SOCK_DGRAM, number) as sender:
            try:
                sender.connect((address, 0))
                sender.send((b"\x08" if number == 1 else b"\x80") + b"\0\0\0\0\0\0\1" + SECRET)
                return streams.Ending("open" if streams.readable(sender, 20) and sender.recv(2000) else "silence")
            except OSError as error:
                return streams.ending_of(error)
    ending = t.place.call(send)
    if t.unprotected:
        t.expect(ending.word == "open", f"no answer: {ending}")
        return
    t.expect(ending.is_refusal, f"the program was not told: {ending}")
    t.expect(t.lab.wire.other(number) == before, "the echo request arrived")


@attempt("B55", "datagrams to multicast and broadcast addresses do not leave the agent")
def multicast(t):
    six, is_local = t.place.family == 6, t.place.hook == "output"
    near, interface = (t.lab.hop, "inner") if is_local else (t.lab.agent, "gbot")
    mine = "uplink" if is_local else "vbot"
    groups = ["ff02::fb", "ff05::1234", "ff0e::5678"] if six else ["224.0.0.251", "239.1.2.3", "255.255.255.255"]
    ready, sent = Gate(), Gate()

    def listen():
        listener = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        index = socket.if_nametoindex(interface)
        for group in groups:
            if six:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index))
            elif not group.startswith("255"):
                listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + bytes(4) + struct.pack("=I", index))
        listener.bind(("", 5353))
        ready.open()
        sent.wait()
        heard = []
        while streams.readable(listener, 0):
            heard.append(listener.recv(2000))
        return heard

    task = near.start(listen)
    ready.wait()

    def send():
        words = []
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            index = socket.if_nametoindex(mine)
            if six:
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            else:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + struct.pack("=I", index))
            for group in groups:
                try:
                    sender.sendto(SECRET, (group, 5353, 0, index) if six else (group, 5353))
                    words.append("sent")
                except OSError as error:
                    words.append(streams.ending_of(error).word)
        return words
    t.place.call(send)
    # What was sent has been dealt with: no queue holds it, and an honest packet has gone the same way.
    if not t.unprotected:
        t.wait(lambda: t.appliance.queued() == 0, "the daemon to have decided")
    t.lab.wire.settle()
    sent.open()
    heard = task.result()
    t.expect(len(heard) == (len(groups) if t.unprotected else 0), f"{len(heard)} of {len(groups)} datagrams were heard")


@attempt("B80", "a batch of datagrams (GSO) with an Initial behind short headers: each Initial is decided by its own name")
def batch(t):
    for allowed in (True, False):
        t.title_of("an allowed name" if allowed else "a refused name")
        target = t.target("udp")
        identifier = os.urandom(8)
        name = target.name if allowed else f"{target.token}.refused.test"
        datagrams = [packets.short_packet(os.urandom(8), 1191), packets.short_packet(os.urandom(8), 1191), quic.whole(name, destination=identifier)]

        def run():
            with socket.socket(family_of(target.address), socket.SOCK_DGRAM) as sender:
                try:
                    sender.connect((target.address, target.port))
                    sender.settimeout(20)
                    sender.send(quic.whole(target.name))  # the connection that everything else hides behind
                    sender.recv(1 << 16)
                    sender.setsockopt(socket.IPPROTO_UDP, quic.UDP_SEGMENT, 1200)
                    sender.send(b"".join(datagrams))
                    received = []
                    deadline = Deadline(20)
                    while datagrams[-1] not in received and streams.readable(sender, deadline.left()):
                        received.append(sender.recv(1 << 16))
                        if not allowed and not t.unprotected and received[-1] not in datagrams:
                            break  # words of a refusal
                    return streams.Ending("open", received[-1] if received else b"")
                except OSError as error:
                    return streams.ending_of(error)
        ending = t.place.call(run)
        if allowed:
            t.passed(target, ending, received=datagrams[-1])
        else:
            t.refused(target, ending, "policy", secret=identifier, host=name)
    t.title_of("nothing before it")
    target = t.target("udp", allowed=False)
    datagrams = [packets.short_packet(os.urandom(8), 1191), quic.whole(target.name)]
    t.refused(target, quic.send(t, target, *datagrams, batch=1200), "policy", "unknown_protocol", exactly=None)


class Multipath:
    """A server of MPTCP in the outside world that tells its clients of another address of its own: theirs to join."""

    def __init__(self, t, port):
        self.t, self.port = t, port
        self._ready, self._stop = Gate(), Gate()
        self._announced = [t.place.at(topology.ATTACKER)]
        for host in (t.lab.net, t.place.host):
            host.command("sysctl", "-qw", "net.mptcp.enabled=1")
            host.command("ip", "mptcp", "limits", "set", "subflows", "4", "add_addr_accepted", "4")
        for address in self._announced:
            t.lab.net.command("ip", "mptcp", "endpoint", "add", address, "dev", "wire", "signal", check=False)
        self._task = t.lab.net.start(self._serve)
        self._ready.wait()

    def _serve(self):
        service = socket.socket(family_of(self.t.place.server), socket.SOCK_STREAM, IPPROTO_MPTCP)
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        service.bind(("", self.port))
        service.listen()
        self._ready.open()
        connections = []
        while True:
            for ready in streams.readable_any([service, self._stop.descriptor, *connections], 60):
                if ready is service:
                    connections.append(service.accept()[0])
                elif ready == self._stop.descriptor:
                    return True
                else:
                    try:
                        part = ready.recv(1 << 16)
                        ready.sendall(part)
                    except OSError:
                        part = b""
                    if not part:
                        connections.remove(ready)

    def close(self):
        """Ends it, and takes the announcement back."""
        self._stop.open()
        self._task.result()
        self.t.lab.net.command("ip", "mptcp", "endpoint", "flush")


@attempt("B56", "MPTCP: an allowed connection is plain TCP from its first packet on, and no subflow joins it from another address")
def multipath(t):
    if not os.path.exists("/proc/sys/net/mptcp/enabled"):
        raise Skip("the kernel has no MPTCP")
    target = t.target("peer")
    other = t.place.at(topology.ATTACKER)
    server = Multipath(t, target.port)
    spoken, looked = Gate(), Gate()

    def talk():
        connection = socket.socket(family_of(target.address), socket.SOCK_STREAM, IPPROTO_MPTCP)
        connection.settimeout(20)
        connection.connect((target.address, target.port))
        stream = Stream.__new__(Stream)
        stream.socket = connection
        for part in (hello.client_hello(target.name), *[hello.second_flight()] * 4):
            echoed(stream, part)
        try:
            is_plain = bool(struct.unpack_from("=I", connection.getsockopt(SOL_MPTCP, MPTCP_INFO, 64), 8)[0] & FALLBACK)
        except OSError:
            is_plain = True  # no such option on what is plain TCP
        spoken.open()
        looked.wait()
        return is_plain

    try:
        task = t.place.start(talk)
        spoken.wait()
        joined = lambda: t.lab.wire.seen(other, target.port)
        if t.unprotected:
            t.wait(joined, "a subflow")
        looked.open()
        is_plain = task.result()
        if t.unprotected:
            t.expect(not is_plain, "the connection is plain TCP")
            return
        t.expect(is_plain, "the connection may have subflows")
        t.expect(not joined(), "a subflow was opened")
        t.record(target, "allow", "allowed", host=target.name)
    finally:
        looked.open()
        server.close()


@attempt("B56", "a crafted SYN that joins another connection arrives without saying so, and what it carries is decided", hooks=("forward",),
         not_here="a program without raw sockets cannot send such packets")
def joining(t):
    target = t.target("quiet", last=topology.ATTACKER)
    option = struct.pack("!BBBBII", 30, 12, JOIN << 4, 1, 0x01020304, 0x05060708)

    def join():
        try:
            raw = rawtcp.RawTCP(t.place.source, target.address, target.port, options=option)
            raw.send(SECRET)
            return streams.Ending("open") if t.unprotected else raw.wait_end()
        except OSError as error:
            return streams.ending_of(error)

    ending = t.place.call(join)
    t.expect(t.lab.wire.joining(target.address, target.port) == t.unprotected, "the option did not arrive" if t.unprotected else "the option arrived")
    t.refused(target, ending, "unknown_protocol")
