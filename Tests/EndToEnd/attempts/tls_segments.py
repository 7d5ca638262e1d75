"""B1 to B6, B8 to B10: how a ClientHello travels."""

import socket

from lab import hello, rawtcp, streams, topology
from lab.catalogue import attempt
from lab.rawtcp import RawTCP
from lab.streams import Stream, http_over_tls
from lab.waiting import Deadline

LOCAL_ORDER = "a local agent's kernel sends every byte once and in order; only a guest crafts segments"
LOCAL_BYTES = "a local agent's kernel sends what the socket was given; B83 and B84 change it there"
MSG_FASTOPEN = 0x20000000
MD5_OPTION = b"\x01\x01\x13\x12" + bytes(16)


def opener(t, target, **options):
    """How a stream to a target is opened at the test's place: the kernel's own, or crafted by the guest."""
    if t.place.hook == "output":
        return lambda: Stream(target.address, target.port)
    return lambda: RawTCP(t.place.source, target.address, target.port, **options)


def in_pieces(places, reverse=False):
    """A way to send a ClientHello: cut at these places, in order or the other way round."""
    def send(stream, data):
        edges = [0, *(p for p in places(data) if 0 < p < len(data)), len(data)]
        pieces = [(a, data[a:b]) for a, b in zip(edges, edges[1:])]
        for offset, piece in reversed(pieces) if reverse else pieces:
            if isinstance(stream, RawTCP):
                stream.segment(offset, piece)
            else:
                stream.send(piece)
        if isinstance(stream, RawTCP):
            stream.settle()
    return send


def inside(name):
    """Where the server name is cut."""
    return lambda data: [data.index(name.encode()) + len(name) // 2]


def handshake(t, target, send_hello, alpn=None, **options):
    """A whole HTTPS request to a target, its ClientHello sent by `send_hello`."""
    return t.place.call(lambda: http_over_tls(
        opener(t, target, **options), target.name, send_hello, t.lab.web.authority, alpn=alpn))


def decided_by_name(t, target, allowed, ending):
    """Allowed names get their answer, refused ones get nothing out."""
    if allowed:
        t.passed(target, ending, received=f"sni={target.name}".encode())
    else:
        t.refused(target, ending, "policy", host=target.name)


@attempt("B1", "a ClientHello in two or three segments, cut inside the name: decided by its name")
def split(t):
    for allowed in (True, False):
        for places in (lambda n: inside(n), lambda n: lambda data: [9, *inside(n)(data)], lambda n: lambda data: [1, 5]):
            target = t.target("https", allowed)
            decided_by_name(t, target, allowed, handshake(t, target, in_pieces(places(target.name))))


@attempt("B2", "the segments of a ClientHello in reverse order: decided by its name", hooks=("forward",), not_here=LOCAL_ORDER)
def reversed_segments(t):
    for allowed in (True, False):
        for places in (lambda n: inside(n), lambda n: lambda data: [9, *inside(n)(data), len(data) - 3]):
            target = t.target("https", allowed)
            decided_by_name(t, target, allowed, handshake(t, target, in_pieces(places(target.name), reverse=True)))


def two_hellos(target):
    """Two ClientHellos of the same length that differ in their name only: allowed and refused."""
    allowed, refused = f"{target.token}.allowed.test", f"{target.token}.refused.test"
    one = hello.client_hello(allowed)
    return one, one.replace(allowed.encode(), refused.encode()), refused.encode()


def crafted(t, target, play, **options):
    """Opens a crafted connection, lets `play` send, and returns how the connection ended."""
    def run():
        try:
            raw = RawTCP(t.place.source, target.address, target.port, **options)
            play(raw)
            if t.unprotected:
                raw.pump(lambda: False, 0.2)
                raw.close()
                return streams.Ending("open", bytes(raw.received))
            return raw.wait_end()
        except OSError as error:
            return streams.ending_of(error)
    return t.place.call(run)


def overlap_first(raw, good, bad, cut):
    """Segments of two messages from `cut` on, the bad one first; then what is before."""
    raw.segment(cut, bad[cut:], fake=True)
    raw.segment(cut, good[cut:])
    raw.segment(0, good[:cut])


def overlap_last(raw, good, bad, cut):
    """The same with the bad one last."""
    raw.segment(cut, good[cut:], fake=True)
    raw.segment(cut, bad[cut:])
    raw.segment(0, good[:cut])


@attempt("B3", "overlapping segments with different bytes are refused", hooks=("forward",), not_here=LOCAL_BYTES)
def overlaps(t):
    def partly(raw, good, bad, cut):
        raw.segment(0, good[:cut + 40], fake=True)
        raw.segment(cut, bad[cut:])
        raw.segment(0, good[:cut])

    for way in (overlap_first, overlap_last, partly):
        target = t.target("quiet", allowed=False)
        good, bad, secret = two_hellos(target)
        cut = good.index(target.token.encode()) - 4
        t.refused(target, crafted(t, target, lambda raw: way(raw, good, bad, cut)), "reassembly")


FAKES = {
    "low TTL": dict(ttl=2),
    "wrong checksum": dict(wrong_checksum=True),
    "sequence far ahead": dict(shift=200_000),
    "sequence far behind": dict(shift=-100_000),
    "MD5 option": dict(options=MD5_OPTION),
    "old timestamp": dict(age=1 << 30),
}


@attempt("B4", "a fake ClientHello with an allowed name before the real one changes nothing", hooks=("forward",),
         not_here=LOCAL_BYTES)
def fake_allowed_first(t):
    for what, lie in FAKES.items():
        t.title_of(what)
        target = t.target("quiet", allowed=False)
        good, bad, secret = two_hellos(target)

        def play(raw):
            raw.segment(0, good, fake=True, **lie)
            raw.segment(0, bad)
            raw.settle()

        if not t.unprotected:
            # The server's answers are kept back, or one to a fake that reaches it after all (its TTL is set anew) might come
            # before the real one is looked at.
            t.lab.topology.lose(f"{'ip6' if t.place.family == 6 else 'ip'} saddr {target.address} tcp sport {target.port} "
                                "tcp flags & (syn | ack) == ack counter drop")
        try:
            ending = crafted(t, target, play, timestamps=what == "old timestamp")
        finally:
            t.lab.topology.stop_losing()
        # Such a fake is judged like anything else; what differs from it then ends the flow.
        t.refused(target, ending, "policy", "reassembly", secret=secret)


@attempt("B4", "what differs from bytes that the server has already does not leave", hooks=("forward",), not_here=LOCAL_BYTES)
def after_acknowledgement(t):
    target = t.target("quiet")
    good, bad, secret = two_hellos(target)

    def play():
        raw = RawTCP(t.place.source, target.address, target.port)
        raw.send(good)
        raw.segment(0, bad, fake=True)
        raw.send(b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x01\x00")
        raw.close()
        return streams.Ending("open", b"")

    ending = t.place.call(play)
    _, kept = t.payload(target)
    if t.unprotected:
        t.expect(secret in kept, "unprotected, but the other name did not leave")
        return
    t.passed(target, ending)
    t.expect(secret not in kept, "a ClientHello with another name left the host")


@attempt("B4", "a fake ClientHello with a refused name before an allowed one changes nothing", hooks=("forward",),
         not_here=LOCAL_BYTES)
def fake_refused_first(t):
    for what, lie in FAKES.items():
        if what in ("low TTL", "old timestamp"):
            continue  # whether these reach the server is the server's and the network's affair: they are judged
        target = t.target("echo")
        good, bad, secret = two_hellos(target)

        def play():
            raw = RawTCP(t.place.source, target.address, target.port)
            raw.segment(0, bad, fake=True, **lie)
            raw.send(good)
            answer = raw.receive()
            raw.close()
            return streams.Ending("open", answer)

        t.passed(target, t.place.call(play), received=good, sent=good)


@attempt("B5", "data in the SYN is not sent before the decision")
def fast_open(t):
    def talk(target, data):
        def run():
            family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
            sender = socket.socket(family, socket.SOCK_STREAM)
            sender.settimeout(20)
            try:
                sender.sendto(data, MSG_FASTOPEN, (target.address, target.port))
                return streams.Ending("open", sender.recv(1 << 16))
            except OSError as error:
                return streams.ending_of(error)
        return t.place.call(run)

    for allowed in (True, False):
        target = t.target("echo", allowed)
        data = hello.client_hello(target.name)
        ending = talk(target, data)
        in_syn = t.lab.wire.in_syn(target.address, target.port)
        if t.unprotected:
            t.expect(in_syn == len(data), f"unprotected, but only {in_syn} bytes left in the SYN")
            continue
        t.expect(in_syn == 0, f"{in_syn} bytes left in the SYN")
        if allowed:
            t.passed(target, ending, received=data, sent=data)
        else:
            t.refused(target, ending, "policy", host=target.name)


@attempt("B5", "a crafted SYN with data carries nothing out", hooks=("forward",), not_here=LOCAL_BYTES)
def crafted_syn(t):
    target = t.target("quiet", allowed=False)
    data = hello.client_hello(target.name)

    def run():
        raw = RawTCP.__new__(RawTCP)
        raw.prepare(t.place.source, target.address, target.port)
        raw.send_syn(data)
        raw.pump(lambda: raw.is_open, 0.5)
        raw.close()
    t.place.call(run)
    in_syn = t.lab.wire.in_syn(target.address, target.port)
    t.expect(in_syn == len(data) if t.unprotected else in_syn == 0, f"{in_syn} bytes left in the SYN")


@attempt("B8", "a ClientHello in TLS records of 1 to 100 bytes: decided by its name")
def small_records(t):
    for size in (1, 7, 100):
        for allowed in (True, False):
            target = t.target("https", allowed)

            def send(stream, data):
                stream.send(hello.in_records(data, size))

            decided_by_name(t, target, allowed, handshake(t, target, send))


@attempt("B9", "a post-quantum ClientHello over several segments: decided by its name")
def post_quantum(t):
    for allowed in (True, False):
        target = t.target("echo", allowed)
        data = hello.post_quantum(target.name)
        ending = t.place.call(lambda: streams.converse(
            opener(t, target), data, enough=lambda got: len(got) >= len(data)))
        if allowed:
            t.passed(target, ending, received=data, sent=data)
        else:
            t.refused(target, ending, "policy", host=target.name)


@attempt("B9", "a handshake whose ClientHello fills several segments: decided by its name")
def large_hello(t):
    protocols = ["http/1.1"] + [f"padding-{i:03}-{'x' * 40}" for i in range(60)]
    for allowed in (True, False):
        target = t.target("https", allowed)
        decided_by_name(t, target, allowed, handshake(t, target, lambda stream, data: stream.send(data), alpn=protocols))


@attempt("B10", "a ClientHello that never ends, byte by byte: nothing arrives, refused within the time cap")
def endless(t):
    target = t.target("quiet", last=topology.ATTACKER)
    # The handshake message says 16000 bytes and stops short of them; an allowed name stands in front.
    message = hello.handshake(target.name)
    data = hello.record(b"\x01" + (16000).to_bytes(3, "big") + message[4:] + bytes(4000))

    def dribble():
        try:
            stream = Stream(target.address, target.port)
            deadline, sent = Deadline(), 0
            while not deadline.expired():
                if sent < len(data) and not (t.unprotected and sent > 300):
                    stream.send(data[sent:sent + 1])
                    sent += 1
                elif t.unprotected:
                    return streams.Ending("open")
                if streams.readable(stream.socket, 0.002):
                    return streams.Ending("eof", stream.receive())
            return streams.Ending("timeout")
        except OSError as error:
            return streams.ending_of(error)

    t.refused(target, t.place.call(dribble), "held_too_long", "reassembly")


@attempt("B6", "a handshake that the server splits in two carries nothing out")
def split(t):
    target = t.target("peer", allowed=False)
    table = f"split{target.port}"
    t.lab.net.command("nft", "-f", "-", text=f"""
        table inet {table} {{ chain output {{ type filter hook output priority 0; policy accept;
            tcp sport {target.port} tcp flags & rst == rst drop
        }}; }}""")
    try:
        server = t.lab.net.start(lambda: rawtcp.split_handshake("wire", target.address, target.port))
        data = hello.client_hello(target.name)
        ending = t.say(target, data, options=((socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1),))
        if t.unprotected:
            t.expect(server.result() == data, "the split handshake did not come about")
            return
        # The server's SYN is a connection of its own towards the agent, and refused as one; the client's never opens.
        count, kept = t.payload(target)
        t.expect(count == 0, f"{count} payload bytes reached the server: {kept[:80]!r}; the client saw {ending}")
        t.expect(ending.word not in ("open", "eof"), f"the connection opened: {ending}")
        t.wait(lambda: t.lab.journal.records(target.since, VERDICT="deny"), "a record of the refusal")
    finally:
        t.lab.net.command("nft", "delete", "table", "inet", table)
