"""B7, B30 to B36: QUIC. The server is a recorder that sends datagrams back: what arrived is seen on the wire."""

import os
import random
import socket
import struct

from lab import hello, quic, streams
from lab.catalogue import attempt
from lab.lab import other_local_actors
from lab.rawtcp import PacketSocket, checksum, ip_packet, pseudo_header
from lab.waiting import Deadline

UDP_SEGMENT = 103
FORWARD_ONLY = "a program without raw sockets cannot send such packets"


def send(t, target, *datagrams, options=(), expected=None, batch=None, source=0, actor=None):
    """Sends datagrams from one socket of the agent, or of `actor`, at any port or at `source`. Ends with an error, or with the
    last answers (`open`) once `expected` of them, by default as many as were sent, came back."""
    wanted = len(datagrams) if expected is None else expected

    def run():
        received = []
        with socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            try:
                sender.bind(("", source))
                sender.connect((target.address, target.port))
                for level, option, value in options:
                    sender.setsockopt(level, option, value)
                if batch:
                    sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, batch)
                    sender.send(b"".join(datagrams))
                else:
                    for each in datagrams:
                        sender.send(each)
                deadline = Deadline(20)
                while len(received) < wanted and streams.readable(sender, deadline.left()):
                    received.append(sender.recv(1 << 16))
                    if streams.Ending("open", received[-1]).is_explained:
                        return streams.Ending("refused", b"".join(received))
                return streams.Ending("open" if len(received) >= wanted else "silence", b"".join(received))
            except OSError as error:
                return streams.ending_of(error, b"".join(received))
    return t.place.call(run, actor)


def whole(name, **others):
    """An Initial with a whole ClientHello."""
    return quic.initial(quic.crypto(hello.handshake(name)), **others)


def decided(t, what, make, reasons=("policy",), expected=None):
    """Datagrams that `make(name)` makes pass for an allowed name and are refused for another."""
    for allowed in (True, False):
        t.title_of(f"{what}, {'allowed' if allowed else 'refused'}")
        target = t.target("udp", allowed)
        datagrams = make(target.name)
        ending = send(t, target, *datagrams, expected=expected)
        if allowed:
            t.passed(target, ending, received=datagrams[-1])
            if not t.unprotected:
                record = t.record(target, "allow", "allowed", host=target.name)
                t.expect(record.get("SALLYPORT_PROTOCOL") == "quic", f"the record says {record.get('SALLYPORT_PROTOCOL')}")
        else:
            t.refused(target, ending, *reasons, host=target.name)


@attempt("B30", "QUIC version 1, version 2 and draft 29: decided by the name")
def versions(t):
    for version in (quic.V1, quic.V2, quic.DRAFT29):
        decided(t, hex(version), lambda name: [whole(name, version=version)])


@attempt("B30", "an unknown or greased version of QUIC is refused (quic_version)")
def unknown_versions(t):
    for written in (0x0A1A2A3A, 0x51303436, 0xFF00001C):
        t.title_of(hex(written))
        target = t.target("udp")
        t.refused(target, send(t, target, whole(target.name, written=written)), "quic_version")


@attempt("B31", "CRYPTO frames out of order, over several Initials, with PING and PADDING between: decided")
def chaos(t):
    def make(name):
        message = hello.handshake(name)
        third = len(message) // 3
        parts = [quic.crypto(message[a:b], a) for a, b in ((0, third), (third, 2 * third), (2 * third, len(message)))]
        identifier = os.urandom(8)
        return [quic.initial(b"\1" + parts[2] + bytes(3) + b"\1", destination=identifier),
                quic.initial(parts[1] + b"\1" + parts[0], destination=identifier, number=1)]
    decided(t, "two datagrams", make)
    decided(t, "one datagram", lambda name: [_split(name)])


def _split(name):
    message = hello.handshake(name)
    return quic.initial(b"\1\0\0" + quic.crypto(message[60:], 60) + b"\1\0" + quic.crypto(message[:60]))


@attempt("B32", "a noise datagram before the Initial opens no hole")
def noise(t):
    for what in ("random bytes", "a short header", "an Initial with a wrong tag"):
        t.title_of(what)
        target = t.target("udp", False)
        good = whole("good.allowed.test")
        first = {"random bytes": b"\x07" + os.urandom(40), "a short header": quic.short_packet(os.urandom(8)),
                 "an Initial with a wrong tag": good[:-1] + bytes([good[-1] ^ 0xFF])}[what]
        t.refused(target, send(t, target, first, whole(target.name)), "unknown_protocol", "policy")


@attempt("B33", "0-RTT or Handshake packets before the Initial, in one datagram or before it: decided by the name")
def coalesced(t):
    def make(kind):
        def datagrams(name):
            identifier = os.urandom(8)
            return [quic.long_packet(kind, identifier) + whole(name, destination=identifier, size=1100)]
        return datagrams
    decided(t, "0-RTT", make(1))
    decided(t, "Handshake", make(2))

    def apart(name):
        identifier = os.urandom(8)
        return [quic.long_packet(1, identifier), whole(name, destination=identifier)]
    decided(t, "0-RTT apart", apart)


@attempt("B33", "a second connection on the same addresses and ports is decided by its own name")
def second_connection(t):
    target = t.target("udp")
    identifier = os.urandom(8)
    first, second = whole(target.name), whole(f"{target.token}.refused.test", destination=identifier)
    ending = send(t, target, first, second)
    t.refused(target, ending, "policy", secret=identifier, host=f"{target.token}.refused.test")


@attempt("B34", "every datagram of a batch (GSO) is read: two connections in one batch are two decisions")
def batch(t):
    for allowed in (True, False):
        target = t.target("udp", True)
        other = target.name if allowed else f"{target.token}.refused.test"
        identifier = os.urandom(8)
        datagrams = [whole(target.name), whole(other, destination=identifier)]
        ending = send(t, target, *datagrams, batch=1200)
        if allowed:
            t.passed(target, ending, received=datagrams[-1])
        else:
            t.refused(target, ending, "policy", secret=identifier, host=other, told=False)  # the first one was answered


@attempt("B35", "a changed destination id and an answer to Retry are decided, and the keys stay those of the first id")
def changed(t):
    target = t.target("udp")
    first, second, third = os.urandom(8), os.urandom(8), os.urandom(8)
    name = target.name
    again = quic.crypto(hello.handshake(name))
    datagrams = [quic.initial(again, destination=first), quic.initial(again, destination=second, key_id=first, number=1),
                 whole(name, destination=third, token=os.urandom(32), number=2), quic.short_packet(third)]
    t.passed(target, send(t, target, *datagrams), received=datagrams[-1])
    target = t.target("udp")
    other = f"{target.token}.refused.test"
    datagrams = [whole(target.name, destination=first), whole(other, destination=third, token=os.urandom(32))]
    t.refused(target, send(t, target, *datagrams), "policy", secret=third, host=other)


@attempt("B35", "a connection that moves to another port begins anew, and is refused")
def migration(t):
    target = t.target("udp")
    t.refused(target, send(t, target, quic.short_packet(os.urandom(8))), "unknown_protocol", "held_too_long")


@attempt("B79", "what looks like the rest of another agent's connection, and comes from its port, is its sender's", hooks=("output",))
def taken_port(t):
    target, rest = t.target("udp"), quic.short_packet(os.urandom(16))
    source = random.randrange(20_000, 30_000)  # no port that the kernel would choose
    first, forbidden = whole(target.name), whole("other.refused.test")
    t.passed(target, send(t, target, first, source=source), received=first)
    # Refused in order: once the second one is, the first one has been judged.
    ending = send(t, target, rest, forbidden, source=source, actor=other_local_actors(t.lab)["other-bot"])
    t.refused(target, ending, "unknown_protocol", "policy", secret=rest, agent="other-bot")


@attempt("B36", "QUIC is recognised on any port, and decided by policy")
def other_ports(t):
    decided(t, "an odd port", lambda name: [whole(name)])
    target = t.target("udp")
    t.refused(target, send(t, target, quic.initial(quic.crypto(hello.handshake(None)))), "no_name")


def arrives(t, target, expected):
    """Whether the recorder's application got the datagram: the sniffer sees fragments only."""
    if expected:
        t.wait(lambda: t.lab.recorder.datagrams(target.port), "the datagram to arrive")
        return
    t.lab.wire.settle()
    t.expect(not t.lab.recorder.datagrams(target.port), "the datagram arrived")


@attempt("B7", "a datagram larger than the link is decided on the whole")
def fragments(t):
    for allowed in (True, False):
        target = t.target("udp", allowed)
        datagram = whole(target.name, size=3000)
        discover = (socket.IPPROTO_IPV6, 23, 0) if ":" in target.address else (socket.IPPROTO_IP, 10, 0)
        ending = send(t, target, datagram, options=(discover,))
        if allowed:
            t.passed(target, ending, received=datagram)
        elif not t.unprotected:
            t.refused(target, ending, "policy", host=target.name)
        arrives(t, target, allowed or t.unprotected)


@attempt("B7", "crafted fragments and destination options: decided on the whole, or refused", hooks=("forward",),
         not_here=FORWARD_ONLY)
def crafted(t):
    for what in ("fragments in reverse", "destination options"):
        t.title_of(what)
        six = ":" in t.place.source
        if what == "destination options" and not six:
            continue
        target = t.target("udp", False)
        datagram = whole(target.name)

        def run():
            out = PacketSocket()
            head = struct.pack("!HHHH", 51000, target.port, 8 + len(datagram), 0)
            total = checksum(pseudo_header(t.place.source, target.address, 17, 8 + len(datagram)) + head + datagram)
            segment = head[:6] + struct.pack("!H", total or 0xFFFF) + datagram
            if what == "destination options":
                out.send(ip_packet(t.place.source, target.address, 60, bytes([17, 0, 1, 4, 0, 0, 0, 0]) + segment), target.address)
                return
            for start, end, more in ((600, len(segment), 0), (0, 600, 1)):
                piece = segment[start:end]
                if six:
                    extension = struct.pack("!BBHI", 17, 0, start | more, 0x51525354)
                    out.send(ip_packet(t.place.source, target.address, 44, extension + piece), target.address)
                    continue
                packet = bytearray(ip_packet(t.place.source, target.address, 17, piece, identifier=0x5152))
                packet[6:8] = struct.pack("!H", more << 13 | start // 8)
                packet[10:12] = b"\0\0"
                packet[10:12] = struct.pack("!H", checksum(bytes(packet[:20])))
                out.send(bytes(packet), target.address)
        t.place.call(run)
        if not t.unprotected:
            t.refused(target, None, "policy", host=target.name, told=False)
        arrives(t, target, t.unprotected)
