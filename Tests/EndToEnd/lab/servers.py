"""Servers of the outside world that are ours: a recorder of bytes and a resolver. Both run in `net`.

The recorder listens on thousands of ports, so that every attempt of a test has a destination port of its own:
records, packets and journal entries are then told apart without guessing."""

import hashlib
import ipaddress
import resource
import selectors
import select
import socket
import struct
import threading

from .channel import Channel
from .namespaces import ROOT, Task
from .waiting import PATIENCE, until
from .zone import LIMIT, Zone
from . import topology, zone

QUIET = range(20000, 21800)
"""TCP ports that only record."""
ECHO = range(23000, 24600)
"""TCP ports that send back what they get."""
BANNER = range(22000, 22100)
"""TCP ports where the server speaks first, as SSH does."""
FLOOD = range(25000, 26500)
"""TCP ports that only record, for floods: no attempt has one for itself."""
PEER = range(26600, 26800)
"""TCP ports of other programs' servers, and of what is led to them; see peers.py."""
DOT = 853
"""The port of DNS over TLS and over QUIC (RFC 7858 §3.1, RFC 9250 §4.1.1): records and echoes, TCP and UDP."""
UDP = range(20000, 20800)
"""UDP ports that record and echo."""

_IP_PKTINFO = 8


def _from_there(place):
    """What has an answer leave from the address that was asked, from what recvmsg says of it (ip(7), ipv6(7))."""
    return [(level, kind, data[:16] + bytes(4) if level == socket.IPPROTO_IPV6 else bytes(4) + data[8:12] + bytes(4))
            for level, kind, data in place]


BANNER_TEXT = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"


class Recorder:
    """The byte-recording server."""

    def __init__(self, net):
        self._channel = Channel("the recorder")
        self._task = net.start(self._serve)
        self._channel.ask("ready")

    def streams(self, port):
        """What each TCP connection to a port delivered to the application, oldest first."""
        return [bytes.fromhex(s) for s in self._channel.ask("streams", port)]

    def digests(self, port):
        """The length and SHA-256 digest of what each TCP connection to a port delivered."""
        return [tuple(d) for d in self._channel.ask("digests", port)]

    def datagrams(self, port):
        """The UDP payloads that were received at a port."""
        return [bytes.fromhex(s) for s in self._channel.ask("datagrams", port)]

    def send_datagram(self, port, payload, address, to_port, source=None):
        """Sends a datagram from a UDP port of the recorder to anywhere: how an outsider, or a forged answer, knocks."""
        self._channel.ask("send", port, payload.hex(), address, to_port, source)

    def _serve(self):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        selector = selectors.EpollSelector()
        streams, datagrams, senders = {}, {}, {}

        def accept(listener):
            connection, _ = listener.accept()
            port = connection.getsockname()[1]
            connection.setblocking(False)
            kept = bytearray()
            streams.setdefault(port, []).append(kept)
            if port in BANNER:
                connection.send(BANNER_TEXT)
            selector.register(connection, selectors.EVENT_READ, lambda c: read(c, port, kept))

        def read(connection, port, kept):
            try:
                part = connection.recv(1 << 18)
            except OSError:
                part = b""
            if not part:
                selector.unregister(connection)
                connection.close()
                return
            kept.extend(part)
            if port in ECHO or port == DOT:
                try:
                    connection.send(part)
                except OSError:
                    pass

        def receive(udp):
            payload, place, _, peer = udp.recvmsg(1 << 16, 128)
            port = udp.getsockname()[1]
            datagrams.setdefault(port, []).append(payload)
            try:
                udp.sendmsg([payload], _from_there(place), 0, peer)
            except OSError:
                pass

        def command(_):
            kind, *rest = self._channel.take()
            answer = True
            if kind == "streams":
                answer = [bytes(s).hex() for s in streams.get(rest[0], [])]
            elif kind == "digests":
                answer = [(len(s), hashlib.sha256(s).hexdigest()) for s in streams.get(rest[0], [])]
            elif kind == "datagrams":
                answer = [d.hex() for d in datagrams.get(rest[0], [])]
            elif kind == "send":
                port, payload, address, to_port, source = rest
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                sender = socket.socket(family, socket.SOCK_DGRAM)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                default = topology.outside(topology.ATTACKER, 6 if ":" in address else 4)
                sender.bind((source or default, port))
                sender.sendto(bytes.fromhex(payload), (address, to_port))
                sender.close()
            self._channel.answer(answer)

        for port in [*QUIET, *ECHO, *BANNER, *FLOOD, DOT]:
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
            listener.setsockopt(socket.IPPROTO_TCP, 23, 16)  # TCP_FASTOPEN
            selector.register(listener, selectors.EVENT_READ, accept)
        for port in [*UDP, DOT]:
            for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                udp = socket.socket(family, socket.SOCK_DGRAM)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                udp.setsockopt(*((socket.IPPROTO_IP, _IP_PKTINFO, 1) if family == socket.AF_INET
                                 else (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)))
                if family == socket.AF_INET6:
                    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                udp.bind((anywhere, port))
                senders[(family, port)] = udp
                selector.register(udp, selectors.EVENT_READ, receive)
        selector.register(self._channel.child, selectors.EVENT_READ, command)
        while True:
            for key, _ in selector.select():
                key.data(key.fileobj)

    def close(self):
        """Stops it."""
        self._task.kill()


class Resolver:
    """A DNS server, UDP and TCP, that answers A and AAAA of every name under `.test` with the lab's server; see `answer`."""

    def __init__(self, net):
        self._net, self._tasks = net, []
        self.start()

    def start(self):
        """Starts it at all its addresses unless it runs, and waits until it answers there. It outlives the test that does so."""
        if self._tasks:
            return
        addresses = [topology.outside(last, family) for family in (4, 6)
                     for last in (topology.RESOLVER, topology.OTHER_RESOLVER, topology.ATTACKER)]
        addresses = self._net.call(lambda: [address for address in addresses if is_own(address)])
        self._tasks = [Task(self._net, lambda address=address: self._serve(address), ROOT) for address in addresses]
        until(lambda: self._net.call(lambda: all(answers(address) for address in addresses)), "the resolver to answer")

    @staticmethod
    def _serve(address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        tcp = socket.create_server((address, 53), family=family)
        names = Zone()
        while True:
            for ready in select.select([udp, tcp], [], [])[0]:
                if ready is udp:
                    query, peer = udp.recvfrom(4096)
                    try:
                        for reply, whom in names.datagrams(query, peer, lambda asked: answer(asked, names)):
                            udp.sendto(reply, whom)
                    except (IndexError, OSError, struct.error):
                        pass  # no question that can be read
                    continue
                threading.Thread(target=Resolver._converse, args=(tcp.accept()[0], names), daemon=True).start()

    @staticmethod
    def _converse(connection, names):
        """Answers on one connection, as long as it asks."""
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        try:
            while True:
                length = struct.unpack("!H", stream.read(2))[0]
                reply = answer(stream.read(length), names)
                reply = struct.pack("!H", len(reply)) + reply
                # A long one comes as some servers write it: its length, its head, the rest.
                for part in (reply[:2], reply[2:40], reply[40:]) if len(reply) > LIMIT else (reply,):
                    connection.sendall(part)
        except (IndexError, OSError, struct.error):
            connection.close()

    def close(self):
        """Stops it."""
        for task in self._tasks:
            task.kill()
        self._tasks = []


def is_own(address):
    """Whether the host has an address: not every network of servers has all of them."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as own:
        try:
            own.bind((address, 0))
            return True
        except OSError:
            return False


def answers(address):
    """Whether a resolver answers at an address."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.2)
        asker.connect((address, 53))
        try:
            asker.send(question("allowed.test"))
            return bool(asker.recv(512))
        except OSError:
            return False


def question(name, kind=1, identifier=0x1234):
    """A DNS query for one name; `kind` 1 is A, 28 is AAAA."""
    return struct.pack("!HHHHHH", identifier, 0x0100, 1, 0, 0, 0) + encoded(name) + struct.pack("!HH", kind, 1)


def leading_to(address, token):
    """A label whose name the resolver answers with this address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return f"at-{socket.inet_pton(family, address).hex()}-{token}"


def place_of(label, kind):
    """The address that a name with this first label leads to, of the family that is asked for; empty where it is of the other."""
    family = 4 if kind == 1 else 6
    special, _, rest = label.partition(b"-")
    if special == b"at":
        packed = bytes.fromhex(rest.split(b"-")[0].decode())
        return packed if len(packed) == (4 if family == 4 else 16) else b""
    return ipaddress.ip_address(topology.outside(topology.SERVER, family)).packed


def owner_of(address):
    """The name that the PTR record of an address gives it."""
    return f"{ipaddress.ip_address(address).packed.hex()}.bound.test"


def encoded(name):
    """A name as DNS carries it, without compression."""
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def pointer(labels):
    """The PTR record of whoever owns the address in `labels`, and behind it, where nobody asked for it, the address of that
    name."""
    if len(labels) == 6:
        address = ".".join(label.decode() for label in reversed(labels[:4]))
    else:
        address = str(ipaddress.ip_address(bytes.fromhex("".join(label.decode() for label in reversed(labels[:32])))))
    owner, packed = encoded(owner_of(address)), ipaddress.ip_address(address).packed
    kind = 1 if len(packed) == 4 else 28
    return (b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 60, len(owner)) + owner
            + owner + struct.pack("!HHIH", kind, 1, 60, len(packed)) + packed)


def last_address(reply, kind):
    """The address in the last record of an answer; `kind` 1 is A, 28 is AAAA."""
    return socket.inet_ntop(socket.AF_INET, reply[-4:]) if kind == 1 else socket.inet_ntop(socket.AF_INET6, reply[-16:])


def alias(label):
    """A record by which the name that was asked for stands for another one: LABEL.elsewhere.test."""
    target = bytes([len(label)]) + label + b"\x09elsewhere\x04test\0"
    return target, b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 0, len(target)) + target


def service(addresses):
    """An HTTPS record: HTTP/2, where it is, and keys of Encrypted ClientHello."""
    keys = struct.pack("!HHH", 68, 0xFE0D, 64) + bytes(range(64))
    hints = b"".join(socket.inet_pton(socket.AF_INET, a) for a in addresses)
    data = b"\0\x01\0" + b"".join(struct.pack("!HH", key, len(value)) + value for key, value in (
        (1, b"\x02h2"), (4, hints), (5, keys)))
    return b"\xc0\x0c" + struct.pack("!HHIH", 65, 1, 60, len(data)) + data


def answer(query, names):
    """The lab's answer to a query: the server's address for names under `.test`, NXDOMAIN for the rest.

    The first label says more, up to its first hyphen: `chain` has the name stand for another one, at once no longer to be
    kept, `keys` is answered to HTTPS with keys of Encrypted ClientHello, `forged` gets an answer under another id,
    `other` one about another name; `at-HEX-...` leads to the address HEX, see `leading_to`. Whoever owns an address says
    what its PTR record is: here that it is ADDRESS.bound.test, see `owner_of`. For what else it says there are `names`, the
    server's `Zone`."""
    position, labels = 12, []
    while position < len(query) and query[position]:
        labels.append(query[position + 1:position + 1 + query[position]])
        position += 1 + query[position]
    kind = struct.unpack_from("!H", query, position + 1)[0]
    asked = query[12:position + 5]
    if kind == 12:
        return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 1) + asked + pointer(labels)
    known = bool(labels) and labels[-1].lower() == b"test"
    records = b""
    if known and kind in (1, 28):
        packed = place_of(labels[0], kind)
        if packed:
            records = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(packed)) + packed
    flags = 0x8180 if known else 0x8183
    special = labels[0].split(b"-")[0].lower() if labels else b""
    if known and special in zone.LABELS:
        records, count = names.answers(labels[0], kind)
        return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + asked + records
    count = 1 if records else 0
    if special == b"chain" and records:
        target, first = alias(labels[0][-20:])
        records = first + target + struct.pack("!HHIH", kind, 1, 0, len(packed)) + packed
        count = 2
    elif special == b"keys" and kind == 65:
        records, count = service([topology.outside(topology.SERVER, 4)]), 1
    elif special == b"forged":
        query = bytes([query[0] ^ 0x55]) + query[1:]
    elif special == b"other":
        asked = asked.replace(b"other-", b"anoth-")
    if special in (b"chain", b"keys"):
        return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + asked + records
    return query[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0) + asked + records
