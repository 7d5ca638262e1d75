"""What arrived at the outside world's interface, packet by packet: the truth for "no payload byte reached the destination".

A sniffer in `net` keeps every TCP and UDP payload by destination address and port. `Wire.settle` makes sure that all
that was sent before it has been seen: a beacon on the agent host sends a datagram from every processor down the same
way, and the sniffer waits for all of them."""

import ipaddress
import os
import select
import socket
import struct

from .channel import Channel
from .namespaces import Host
from .waiting import TimedOut
from . import topology

_KEPT = 1 << 16
"""Payload bytes that are kept of one destination; beyond that they are only counted."""

_BEACON_PORT = 65000
_SO_RCVBUFFORCE = 33


class Wire:
    """The sniffer and its beacon."""

    def __init__(self, net: Host, agent: Host):
        self._link, self._beacon_link = Channel("the sniffer"), Channel("the beacon")
        self._token = 0
        self._tasks = [net.start(self._sniff), agent.start(self._beacon)]
        self._link.ask("ready")

    def settle(self):
        """Returns when every packet that the agent host sent before has been seen."""
        self._token += 1
        self._beacon_link.ask(self._token)
        if not self._link.ask("settle", self._token):
            raise TimedOut("the beacon did not arrive: traffic of the unconfined host is disturbed")

    def payload(self, address, port, transport="tcp"):
        """How many payload bytes arrived at a destination, and the first of them in order of arrival."""
        self.settle()
        count, packets, kept = self._link.ask("payload", transport, address, port)
        return count, packets, bytes.fromhex(kept)

    def seen(self, address, port, transport="tcp"):
        """How many packets of any kind arrived at a destination."""
        self.settle()
        return self._link.ask("seen", transport, address, port)

    def in_syn(self, address, port):
        """How many payload bytes arrived in SYN segments at a TCP destination."""
        self.settle()
        return self._link.ask("in_syn", "tcp", address, port)

    def joining(self, address, port):
        """Whether a SYN with MPTCP's option arrived at a TCP destination."""
        self.settle()
        return self._link.ask("joining", "tcp", address, port)

    def other(self, protocol):
        """How many packets of another IP protocol number arrived."""
        self.settle()
        return self._link.ask("other", protocol)

    def _sniff(self):
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        sniffer.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 256 << 20)
        sniffer.bind(("wire", 3))
        record = _Record()
        while True:
            ready, _, _ = select.select([sniffer, self._link.child], [], [])
            if sniffer in ready:
                record.drain(sniffer)
            if self._link.child in ready:
                self._link.answer(record.answer(self._link.take(), sniffer))

    def _beacon(self):
        processors = sorted(os.sched_getaffinity(0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while True:
                token = self._beacon_link.take()[0]
                for processor in processors:
                    os.sched_setaffinity(0, [processor])
                    sender.sendto(struct.pack("!II", token, processor), (topology.outside(topology.SERVER, 4), _BEACON_PORT))
                self._beacon_link.answer(True)

    def close(self):
        """Stops both."""
        for task in self._tasks:
            task.kill()


_MPTCP = 30
"""The kind of MPTCP's option (RFC 8684 §8.1)."""


def _options(octets):
    """The kinds of the TCP options in a header, without padding (RFC 9293 §3.1)."""
    kinds, position = set(), 0
    while position < len(octets) and octets[position] != 0:
        if octets[position] == 1:
            position += 1
            continue
        if position + 1 >= len(octets) or octets[position + 1] < 2:
            break
        kinds.add(octets[position])
        position += octets[position + 1]
    return kinds


class _Record:
    """The sniffer's memory."""

    def __init__(self):
        self.flows, self.beacons, self.protocols = {}, {}, {}

    def drain(self, sniffer):
        """Takes in everything that waits."""
        while True:
            try:
                packet, where = sniffer.recvfrom(1 << 17, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if where[2] != 4:  # PACKET_OUTGOING
                self.take(packet)

    def take(self, packet):
        """Takes in one packet, from its IP header."""
        version = packet[0] >> 4
        if version == 4 and len(packet) >= 20:
            end = struct.unpack_from("!H", packet, 2)[0] or len(packet)
            protocol, start, address = packet[9], (packet[0] & 15) * 4, packet[16:20]
        elif version == 6 and len(packet) >= 40:
            length = struct.unpack_from("!H", packet, 4)[0]
            end = 40 + length if length else len(packet)
            protocol, start, address = packet[6], 40, packet[24:40]
        else:
            return
        packet = packet[:end]
        self.protocols[protocol] = self.protocols.get(protocol, 0) + 1
        if protocol == 6 and len(packet) >= start + 20:
            name, payload = "tcp", packet[start + (packet[start + 12] >> 4) * 4:]
        elif protocol == 17 and len(packet) >= start + 8:
            name, payload = "udp", packet[start + 8:]
        else:
            return
        port = struct.unpack_from("!H", packet, start + 2)[0]
        if name == "udp" and port == _BEACON_PORT and len(payload) == 8:
            token, processor = struct.unpack("!II", payload)
            self.beacons.setdefault(token, set()).add(processor)
            return
        flow = self.flows.setdefault((name, str(ipaddress.ip_address(address)), port), [0, 0, bytearray(), 0, 0, False])
        flow[3] += 1
        if name == "tcp" and packet[start + 13] & 2 and _MPTCP in _options(packet[start + 20:len(packet) - len(payload)]):
            flow[5] = True
        if payload:
            flow[0] += len(payload)
            flow[1] += 1
            if name == "tcp" and packet[start + 13] & 2:
                flow[4] += len(payload)
            if len(flow[2]) < _KEPT:
                flow[2] += payload

    def answer(self, request, sniffer):
        """The answer to one request."""
        kind = request[0]
        self.drain(sniffer)
        if kind == "settle":
            wanted = set(os.sched_getaffinity(0))
            for _ in range(4000):
                if self.beacons.get(request[1], set()) >= wanted:
                    self.beacons.clear()
                    return True
                select.select([sniffer], [], [], 0.005)
                self.drain(sniffer)
            return False
        if kind in ("payload", "seen", "in_syn", "joining"):
            flow = self.flows.get((request[1], str(ipaddress.ip_address(request[2])), request[3]), [0, 0, b"", 0, 0, False])
            return {"seen": flow[3], "in_syn": flow[4], "joining": flow[5], "payload": [flow[0], flow[1], bytes(flow[2]).hex()]}[kind]
        if kind == "other":
            return self.protocols.get(request[1], 0)
        return True
