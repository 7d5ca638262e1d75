"""B1 to B5, B8 to B10: how a ClientHello travels."""

import socket

from lab import hello, streams
from lab.catalogue import attempt
from lab.rawtcp import RawTCP
from lab.streams import Stream, converse, http_over_tls

LOCAL_ORDER = "a local agent's kernel sends every byte once and in order; only a guest crafts segments"
MSG_FASTOPEN = 0x20000000


def cuts(data, name, pieces):
    """`data` in two or three pieces, one cut inside the server name."""
    inside = data.index(name.encode()) + len(name) // 2
    places = [inside] if pieces == 2 else [9, inside]
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)])]


def opener(t, target, **options):
    """How a stream to a target is opened at the test's place: the kernel's own, or crafted by the guest."""
    if t.place.hook == "output":
        return lambda: Stream(target.address, target.port)
    return lambda: RawTCP(t.place.source, target.address, target.port, **options)


@attempt("B1", "a ClientHello in two or three segments, cut inside the name: decided by its name")
def split(t):
    def in_pieces(name, pieces):
        def send(stream, data):
            offset = 0
            for piece in cuts(data, name, pieces):
                if isinstance(stream, RawTCP):
                    stream.segment(offset, piece)
                else:
                    stream.send(piece)
                offset += len(piece)
            if isinstance(stream, RawTCP):
                stream.settle()
        return send

    for pieces in (2, 3):
        for allowed in (True, False):
            target = t.target("https", allowed)
            ending = t.place.call(lambda: http_over_tls(
                opener(t, target), target.name, in_pieces(target.name, pieces), t.lab.web.authority))
            if allowed:
                t.passed(target, ending, received=f"sni={target.name}".encode())
            else:
                t.refused(target, ending, "policy", host=target.name)
