"""Servers of the outside world that are ours: a recorder of bytes and a resolver. Both run in `net`.

The recorder listens on thousands of ports, so that every attempt of a test has a destination port of its own:
records, packets and journal entries are then told apart without guessing."""

import hashlib
import resource
import selectors
import select
import socket
import struct
import threading

from .channel import Channel
from .waiting import PATIENCE
from . import topology

QUIET = range(20000, 21600)
"""TCP ports that only record."""
ECHO = range(23000, 24600)
"""TCP ports that send back what they get."""
BANNER = range(22000, 22100)
"""TCP ports where the server speaks first, as SSH does."""
FLOOD = range(25000, 26500)
"""TCP ports that only record, for floods: no attempt has one for itself."""
PEER = range(26600, 26800)
"""TCP ports of other programs' servers, and of what is led to them; see peers.py."""
UDP = range(20000, 20800)
"""UDP ports that record and echo."""

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
            if port in ECHO:
                try:
                    connection.send(part)
                except OSError:
                    pass

        def receive(udp):
            payload, peer = udp.recvfrom(1 << 16)
            port = udp.getsockname()[1]
            datagrams.setdefault(port, []).append(payload)
            try:
                udp.sendto(payload, peer)
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

        for port in [*QUIET, *ECHO, *BANNER, *FLOOD]:
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
            listener.setsockopt(socket.IPPROTO_TCP, 23, 16)  # TCP_FASTOPEN
            selector.register(listener, selectors.EVENT_READ, accept)
        for port in UDP:
            for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                udp = socket.socket(family, socket.SOCK_DGRAM)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
    """A DNS server, UDP and TCP, that answers A and AAAA of every name under `.test` with the lab's server."""

    def __init__(self, net):
        self._tasks = [net.start(lambda address=address: self._serve(address))
                       for last in (topology.RESOLVER, topology.OTHER_RESOLVER)
                       for address in (topology.outside(last, 4), topology.outside(last, 6))]

    @staticmethod
    def _serve(address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        tcp = socket.create_server((address, 53), family=family)
        while True:
            for ready in select.select([udp, tcp], [], [])[0]:
                if ready is udp:
                    query, peer = udp.recvfrom(4096)
                    try:
                        udp.sendto(answer(query), peer)
                    except (IndexError, OSError, struct.error):
                        pass  # no question that can be read
                    continue
                threading.Thread(target=Resolver._converse, args=(tcp.accept()[0],), daemon=True).start()

    @staticmethod
    def _converse(connection):
        """Answers on one connection, as long as it asks."""
        connection.settimeout(PATIENCE)
        stream = connection.makefile("rb")
        try:
            while True:
                length = struct.unpack("!H", stream.read(2))[0]
                reply = answer(stream.read(length))
                connection.sendall(struct.pack("!H", len(reply)) + reply)
        except (IndexError, OSError, struct.error):
            connection.close()

    def close(self):
        """Stops it."""
        for task in self._tasks:
            task.kill()


def question(name, kind=1, identifier=0x1234):
    """A DNS query for one name; `kind` 1 is A, 28 is AAAA."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    return struct.pack("!HHHHHH", identifier, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def answer(query):
    """The lab's answer to a query: the server's address for names under `.test`, NXDOMAIN for the rest."""
    position, labels = 12, []
    while position < len(query) and query[position]:
        labels.append(query[position + 1:position + 1 + query[position]])
        position += 1 + query[position]
    kind = struct.unpack_from("!H", query, position + 1)[0]
    asked = query[12:position + 5]
    known = bool(labels) and labels[-1].lower() == b"test"
    records = b""
    if known and kind in (1, 28):
        family = 4 if kind == 1 else 6
        address = topology.outside(topology.SERVER, family)
        packed = socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6, address)
        records = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(packed)) + packed
    flags = 0x8180 if known else 0x8183
    return query[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0) + asked + records
