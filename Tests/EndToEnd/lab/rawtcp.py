"""A small TCP in Python for an attacker that owns its machine: any segment, any order, any lie (RFC 9293).

It runs in the guest, where the kernel's own resets for its ports are dropped (topology.py). The honest part is as plain
as can be: it acknowledges what arrives in order, and sends again what was not acknowledged, as it was first sent."""

import errno
import ipaddress
import os
import random
import socket
import struct

from . import streams
from .waiting import PATIENCE, Deadline

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
_SO_MARK, _IPV6_HDRINCL = 36, 36
_RAW_MARK = 0x77
_RESEND_AFTER = 0.3
"""Seconds without an acknowledgement after which segments are sent again."""


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source, destination, protocol, payload, ttl=64, identifier=None):
    """An IPv4 or IPv6 packet without options."""
    if ":" in destination:
        return (struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl) + socket.inet_pton(socket.AF_INET6, source)
                + socket.inet_pton(socket.AF_INET6, destination) + payload)
    identifier = random.getrandbits(16) if identifier is None else identifier
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identifier, 0x4000, ttl, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(destination)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def dissect(packet):
    """Protocol, source and destination (as texts) and payload of an IP packet without extension headers. A length of 0 is
    that of a batch of segments: all that is there."""
    if packet[0] >> 4 == 4:
        start, end = (packet[0] & 15) * 4, struct.unpack_from("!H", packet, 2)[0] or len(packet)
        protocol, addresses = packet[9], (packet[12:16], packet[16:20])
    else:
        length = struct.unpack_from("!H", packet, 4)[0]
        start, end = 40, 40 + length if length else len(packet)
        protocol, addresses = packet[6], (packet[8:24], packet[24:40])
    return protocol, *(str(ipaddress.ip_address(a)) for a in addresses), packet[start:end]


def pseudo_header(source, destination, protocol, length):
    """What transport checksums cover beside the segment (RFC 9293 §3.1, RFC 8200 §8.1)."""
    if ":" in destination:
        return (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
                + struct.pack("!II", length, protocol))
    return socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, protocol, length)


def tcp_segment(source, destination, source_port, port, sequence, acknowledgement, flags, payload=b"", options=b"",
                window=65000, urgent=0, wrong_checksum=False):
    """A TCP segment with its checksum."""
    options += b"\1" * (-len(options) % 4)
    head = struct.pack("!HHIIBBHHH", source_port, port, sequence & 0xFFFFFFFF, acknowledgement & 0xFFFFFFFF,
                       (5 + len(options) // 4) << 4, flags, window, 0, urgent) + options
    total = checksum(pseudo_header(source, destination, 6, len(head) + len(payload)) + head + payload)
    if wrong_checksum:
        total ^= 0x5555
    return head[:16] + struct.pack("!H", total) + head[18:] + payload


class PacketSocket:
    """Sends whole IP packets of either family, bypassing the guest's own filter."""

    def __init__(self):
        self._four = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._six.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
        for each in (self._four, self._six):
            each.setsockopt(socket.SOL_SOCKET, _SO_MARK, _RAW_MARK)

    def send(self, packet, destination):
        """Sends one packet."""
        (self._six if ":" in destination else self._four).sendto(packet, (destination, 0))


class RawTCP:
    """One connection. `segment` sends what it is told; the rest is an honest peer."""

    def __init__(self, source, address, port, mss=1400, timestamps=False, options=b""):
        self.prepare(source, address, port, mss, timestamps)
        self.syn_options = options
        self._connect()

    def prepare(self, source, address, port, mss=1400, timestamps=False):
        """Everything but the handshake."""
        self.source, self.address, self.port = source, address, port
        self.source_port = random.randrange(50000, 60000)
        self.out = PacketSocket()
        self._in = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self._in.bind(("vbot", 3))
        self.mss, self.timestamps, self.syn_options = mss, timestamps, b""
        self.start = random.getrandbits(32)
        self.clock = 1_000_000
        self.received, self.ending = bytearray(), None
        self._next, self._peer_time, self._acked, self._peer_start = None, 0, 0, None
        self._real, self._read = [], 0

    @property
    def is_open(self):
        """Whether the server has answered the SYN."""
        return self._next is not None

    @property
    def acked(self):
        """How many bytes of the stream the server has acknowledged."""
        return max(0, self._acked - 1)

    def send_syn(self, payload=b""):
        """Sends a SYN, with data if that is the attack."""
        self._emit(self.start, 0, SYN, payload, struct.pack("!BBH", 2, 4, self.mss) + self.syn_options + self._time_option(0))

    def _connect(self):
        deadline = Deadline()
        while self._next is None and self.ending is None:
            self.send_syn()
            self.pump(lambda: self.is_open, 1.0)
            if deadline.expired():
                self.ending = streams.Ending("timeout", detail="no SYN-ACK")
        self._raise_if_ended()
        self._emit(self.start + 1, self._next, ACK, options=self._time_option(0))

    def _time_option(self, age):
        if not self.timestamps:
            return b""
        self.clock += 1
        return b"\1\1" + struct.pack("!BBII", 8, 10, (self.clock - age) & 0xFFFFFFFF, self._peer_time)

    def _emit(self, sequence, acknowledgement, flags, payload=b"", options=b"", ttl=64, **lies):
        segment = tcp_segment(self.source, self.address, self.source_port, self.port, sequence, acknowledgement, flags,
                              payload, options, **lies)
        self.out.send(ip_packet(self.source, self.address, 6, segment, ttl), self.address)

    def segment(self, offset, payload, flags=PSH | ACK, fake=False, ttl=64, shift=0, options=b"", age=0, **lies):
        """Sends one segment of the stream at `offset`. A `fake` one is not sent again. `shift` falsifies its sequence
        number, `age` makes its timestamp old, `lies` go to `tcp_segment`."""
        make = lambda: self._emit(self.start + 1 + offset + shift, self._next, flags, payload,
                                  options + self._time_option(age), ttl, **lies)
        make()
        if not fake:
            self._real.append((offset, payload, make))

    def send(self, data):
        """Sends a part of the stream, in order, in segments of the maximum size, until the server acknowledged it."""
        offset = max((o + len(p) for o, p, _ in self._real), default=0)
        for position in range(0, len(data), self.mss - 20):
            self.segment(offset + position, data[position:position + self.mss - 20])
        self.settle()

    def settle(self):
        """Sends again what is not acknowledged until all of it is; raises the error of a connection that ended."""
        end = max((o + len(p) for o, p, _ in self._real), default=0)
        deadline = Deadline()
        while self.acked < end:
            self.pump(lambda: self.acked >= end, _RESEND_AFTER)
            self._raise_if_ended()
            if deadline.expired():
                raise TimeoutError(errno.ETIMEDOUT, f"{self.acked} of {end} bytes acknowledged")
            if self.acked < end:
                for offset, payload, make in self._real:
                    if offset + len(payload) > self.acked:
                        make()

    def receive(self, limit=1 << 16):
        """The next bytes of the server's stream; b"" at its end."""
        deadline = Deadline()
        while self._read == len(self.received):
            if self.ending and self.ending.word == "eof":
                return b""
            self._raise_if_ended()
            if deadline.expired():
                raise TimeoutError(errno.ETIMEDOUT, "nothing received")
            self.pump(lambda: self._read < len(self.received), 0.1)
        part = bytes(self.received[self._read:self._read + limit])
        self._read += len(part)
        return part

    def wait_end(self):
        """Waits until the connection ended; returns the `Ending` (`timeout` if it did not)."""
        self.pump(lambda: self.ending is not None, PATIENCE)
        return self.ending or streams.Ending("timeout", bytes(self.received))

    def close(self):
        """Resets the connection, as an attacker that is done would, and lets the sockets go."""
        if self._next is not None and (self.ending is None or self.ending.word == "eof"):
            end = max((o + len(p) for o, p, _ in self._real), default=0)
            self._emit(self.start + 1 + end, self._next, RST | ACK)
        self._in.close()

    def pump(self, condition, seconds):
        """Takes in packets until `condition()`, the end of the connection, or the time is over."""
        deadline = Deadline(seconds)
        while not condition() and (self.ending is None or self.ending.word == "eof"):
            if not streams.readable(self._in, deadline.left()):
                return
            packet, where = self._in.recvfrom(1 << 17)
            if where[2] != 4:  # PACKET_OUTGOING
                self._take(packet)

    def _raise_if_ended(self):
        if self.ending and self.ending.word != "eof":
            number = {"reset": errno.ECONNRESET, "refused": errno.ECONNREFUSED, "unreachable": errno.EHOSTUNREACH}.get(
                self.ending.word, errno.ETIMEDOUT)
            raise OSError(number, os.strerror(number))

    def _take(self, packet):
        protocol, peer, _, segment = dissect(packet)
        if protocol in (1, 58):
            self._take_icmp(protocol, segment)
        elif protocol == 6 and peer == str(ipaddress.ip_address(self.address)) and len(segment) >= 20:
            source, port = struct.unpack_from("!HH", segment)
            if (source, port) == (self.port, self.source_port):
                self._take_segment(segment)

    def _take_icmp(self, protocol, message):
        unreachable = (protocol, message[0]) in ((1, 3), (58, 1))
        inner = message[8:]
        if not unreachable or len(inner) < 24:
            return
        start = (inner[0] & 15) * 4 if inner[0] >> 4 == 4 else 40
        if inner[start:start + 4] == struct.pack("!HH", self.source_port, self.port):
            self.ending = streams.Ending("unreachable", bytes(self.received))

    def _take_segment(self, segment):
        sequence, acknowledgement = struct.unpack_from("!II", segment, 4)
        flags, start = segment[13], (segment[12] >> 4) * 4
        payload = segment[start:]
        if flags & RST:
            # As RFC 9293 §3.5.2 says, only a reset that answers what was sent or is in sequence counts.
            in_synsent = self._next is None and flags & ACK and acknowledgement == (self.start + 1) & 0xFFFFFFFF
            if in_synsent or (self._next is not None and sequence == self._next):
                self.ending = streams.Ending("refused" if self._next is None else "reset", bytes(self.received))
            return
        self._read_time(segment[20:start])
        if flags & SYN:
            if flags & ACK:
                self._peer_start = sequence
                if self._next is None:
                    self._next = (sequence + 1) & 0xFFFFFFFF
                else:
                    self._emit(self.start + self._acked, self._next, ACK, options=self._time_option(0))
        if flags & ACK:
            advance = (acknowledgement - self.start) & 0xFFFFFFFF
            if advance < 1 << 31:
                self._acked = max(self._acked, advance)
        if self._next is None or not (payload or flags & FIN):
            return
        offset = (self._next - sequence) & 0xFFFFFFFF
        if offset <= len(payload):
            self.received += payload[offset:]
            self._next = (sequence + len(payload)) & 0xFFFFFFFF
            if flags & FIN and self.ending is None:
                self._next = (self._next + 1) & 0xFFFFFFFF
                self.ending = streams.Ending("eof", bytes(self.received))
        self._emit(self.start + 1 + self.acked, self._next, ACK, options=self._time_option(0))

    def _read_time(self, options):
        position = 0
        while position < len(options) and options[position] != 0:
            if options[position] == 1:
                position += 1
                continue
            if position + 1 >= len(options) or options[position + 1] < 2:
                return
            if options[position] == 8 and len(options) >= position + 10:
                self._peer_time = struct.unpack_from("!I", options, position + 2)[0]
            position += options[position + 1]


def split_handshake(interface, address, port):
    """A server that answers the SYN with a SYN of its own, and the SYN-ACK that comes then with an ACK: what RFC 9293 §3.5
    calls a simultaneous open. Answers the first bytes with one byte and returns them. Runs on the server's host, where the
    kernel must not reset the connection."""
    out = PacketSocket()
    seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    seen.bind((interface, 3))
    seen.settimeout(PATIENCE)
    mine = random.getrandbits(32)
    while True:
        packet, where = seen.recvfrom(1 << 17)
        if where[2] == 4:  # PACKET_OUTGOING
            continue
        protocol, client, server, segment = dissect(packet)
        if protocol != 6 or server != address:
            continue
        client_port, to, sequence = struct.unpack_from("!HHI", segment)
        flags, payload = segment[13], segment[(segment[12] >> 4) * 4:]
        if to != port:
            continue

        def send(number, acknowledgement, flags, data=b""):
            answer = tcp_segment(address, client, port, client_port, number, acknowledgement, flags, data,
                                 struct.pack("!BBH", 2, 4, 1400) if flags & SYN else b"")
            out.send(ip_packet(address, client, 6, answer), client)

        if flags & RST:
            return None
        if flags & (SYN | ACK) == SYN:
            send(mine, 0, SYN)
        elif flags & SYN:
            send(mine + 1, sequence + 1, ACK)
        elif payload:
            send(mine + 1, sequence + len(payload), PSH | ACK, b"!")
            return payload
