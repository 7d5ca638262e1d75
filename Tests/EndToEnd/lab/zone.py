"""The lab's zone with many faces: what the names under `.test` stand for whose first label says so, up to its first hyphen.

    ring    three aliases, then two of the addresses of the ring, others at each answer, none of which may be kept
    big     the same behind aliases so long that no UDP answer of 512 bytes holds them
    wide    thirty addresses where nobody is, then as ring: more than one packet holds
    many    twenty addresses where nobody is
    mute    no answer
    held    as ring, but not until somebody asks for `free-` and the same rest of the label"""

import socket
import struct

from . import topology

LABELS = (b"ring", b"big", b"wide", b"many", b"mute", b"held", b"free")
"""The first words that say so."""

LIMIT = 512
"""Bytes of an answer over UDP to a question without EDNS (RFC 1035 section 4.2.1)."""

A, AAAA = 1, 28


class Zone:
    """The answers of one server process: they rotate, and some wait."""

    def __init__(self):
        self._turn = 0
        self._held = {}

    def answers(self, label, kind):
        """The records for a name with this first label, and their number."""
        word = label.split(b"-")[0]
        if kind not in (A, AAAA):
            return b"", 0
        if word == b"many":
            return _nobody(kind, 20), 20
        if word not in (b"ring", b"big", b"wide", b"held"):
            return b"", 0
        family = 4 if kind == A else 6
        self._turn += 1
        known = [topology.outside(last, family) for last in topology.ANSWERED]
        places = [known[(2 * self._turn + step) % len(known)] for step in (0, 1)]
        tail = b"\x09elsewhere\x04test\0"
        filling = bytes([60]) + b"x" * 60 if word == b"big" else b""
        names = [bytes([len(link) + len(label[-40:])]) + link + label[-40:] + 3 * filling + tail for link in (b"edge", b"pop", b"host")]
        owners = [b"\xc0\x0c", *names]
        records = b"".join(
            owner + struct.pack("!HHIH", 5, 1, 0, len(target)) + target for owner, target in zip(owners, names))
        idle = 30 if word == b"wide" else 0
        return records + _nobody(kind, idle, names[-1]) + b"".join(
            _address(names[-1], socket.inet_pton(_FAMILY[kind], place), 0) for place in places), len(names) + idle + len(places)

    def datagrams(self, query, peer, answer):
        """What a question over UDP is answered with, and what waited for it: pairs of an answer and whom it is for."""
        length = query[12] if len(query) > 12 else 0
        label = query[13:13 + length]
        word, _, rest = label.partition(b"-")
        if word == b"mute":
            return []
        if word == b"held":
            self._held[rest] = (query, peer)
            return []
        waiting = self._held.pop(rest, None) if word == b"free" else None
        return [(fit(answer(asker), asker), whom) for asker, whom in [(query, peer), *([waiting] if waiting else [])]]


def fit(reply, query):
    """An answer as it goes over UDP: one that is longer than the question lets it be says so and has no records (RFC 2181
    section 9). A question with EDNS has an answer with EDNS (RFC 6891)."""
    end = query.index(b"\0", 12) + 5
    limit, options = LIMIT, b""
    if query[end:end + 3] == b"\0\0\x29":
        limit = max(LIMIT, struct.unpack_from("!H", query, end + 3)[0])
        options = b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0)
    if len(reply) + len(options) > limit:
        flags = struct.unpack_from("!H", reply, 2)[0] | 0x0200
        reply = reply[:2] + struct.pack("!HHHHH", flags, 1, 0, 0, 0) + reply[12:end]
    additional = struct.unpack_from("!H", reply, 10)[0] + (1 if options else 0)
    return reply[:10] + struct.pack("!H", additional) + reply[12:] + options


def _address(owner, packed, life):
    return owner + struct.pack("!HHIH", A if len(packed) == 4 else AAAA, 1, life, len(packed)) + packed


def _nobody(kind, count, owner=b"\xc0\x0c"):
    places = (f"203.0.113.{last}" if kind == A else f"2001:db8::{last}" for last in range(1, count + 1))
    return b"".join(_address(owner, socket.inet_pton(_FAMILY[kind], place), 60) for place in places)


_FAMILY = {A: socket.AF_INET, AAAA: socket.AF_INET6}
