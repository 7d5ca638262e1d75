"""The rows of the comparison: one function each. What they send is that of the end-to-end tests (Tests/EndToEnd/attempts)."""

import dataclasses
import time

from lab import hello, quic, servers, streams, topology
from lab.rawtcp import RawTCP
from lab.streams import Stream, request

from attempts import names, network
from attempts import quic as datagrams
from attempts.tls_messages import with_extensions
from attempts.tls_segments import crafted, handshake, in_pieces, inside, overlap_first, overlap_last, two_hellos
from trial import AT_ONCE, PATIENCE, Trial

PROBES = []
"""All rows, in order."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """One row."""

    title: str
    function: object
    hook: str
    families: tuple
    breaks: bool


def probe(title, hook="output", families=(), breaks=False):
    """Registers a row. `families`: those of the subject unless given. `breaks`: the subject has to begin anew afterwards."""
    def register(function):
        PROBES.append(Probe(title, function, hook, families, breaks))
        return function
    return register


def run(lab, subject, row, later):
    """What was wrong in one row, as text; empty where all was right. `later` takes what must still hold in the end."""
    seen = {}
    for family in row.families or subject.families:
        trial = Trial(lab, row.hook, family, subject)
        try:
            row.function(trial)
        except Exception as error:  # a probe that broke says nothing about the subject, so it is not right either
            lines = str(error).strip().splitlines()
            trial.note(f"the probe failed: {type(error).__name__} {lines[-1] if lines else ''}")
        seen[family] = "; ".join(trial.wrong)
        later += [(row.title, trial, target, secret) for target, secret in trial.refused]
        if row.breaks:
            subject.end()
            subject.begin()
    if len(set(seen.values())) == 1:
        return next(iter(seen.values()))
    return "; ".join(f"IPv{family}: {text or 'right'}" for family, text in seen.items())


def forbidden(target):
    """The refused name that belongs to a target."""
    return f"{target.token}.refused.test"


def raw(t, target, send):
    """A connection of the guest's own TCP, which `send(connection, …)` speaks; ends with what came back."""
    def play(data):
        def talk():
            received = b""
            try:
                connection = RawTCP(t.place.source, target.address, target.port)
                send(connection, data)
                while len(received) < len(data):
                    part = connection.receive()
                    if not part:
                        return streams.Ending("eof", received)
                    received += part
                connection.close()
                return streams.Ending("open", received)
            except OSError as error:
                return streams.ending_of(error, received)
        return t.place.call(talk)
    return play


# TLS

@probe("HTTPS, an ordinary client")
def ordinary(t):
    for allowed in (True, False):
        target = t.target("https", allowed)
        ending = handshake(t, target, lambda stream, data: stream.send(data))
        if allowed:
            t.delivers(target, ending, answer=f"sni={target.name}".encode())
        else:
            t.keeps(target)


@probe("HTTPS over IPv6", families=(6,))
def over_six(t):
    ordinary(t)


@probe("ClientHello split inside the name")
def split(t):
    def send(target, data):
        cut = data.index(target.name.encode()) + len(target.name) // 2
        return t.send(target, data[:cut], data[cut:], enough=lambda got: len(got) >= len(data))
    t.decides(hello.client_hello, send)


@probe("ClientHello segments in reverse order", hook="forward")
def reversed_segments(t):
    t.decides(hello.client_hello, lambda target, data: raw(t, target, in_pieces(inside(target.name), reverse=True))(data))


@probe("overlapping segments that differ", hook="forward")
def overlapping(t):
    for way in (overlap_first, overlap_last):
        target = t.target("quiet")
        good, bad, secret = two_hellos(target)
        cut = good.index(target.token.encode()) - 4
        crafted(t, target, lambda connection: way(connection, good, bad, cut))
        t.keeps(target, secret)


@probe("ClientHello in TLS records of 100 bytes")
def small_records(t):
    t.decides(lambda name: hello.in_records(hello.client_hello(name), 100), t.send)


@probe("post-quantum ClientHello over two segments")
def post_quantum(t):
    t.decides(hello.post_quantum, lambda target, data: t.send(
        target, data[:1400], data[1400:], enough=lambda got: len(got) >= len(data)))


@probe("two server_name extensions")
def two_names(t):
    for one, other in ((0, 1), (1, 0)):
        target = t.target("echo")
        both = (target.name, forbidden(target))
        data = with_extensions(hello.server_name(both[one]), hello.server_name(both[other]))
        t.send(target, data)
        t.keeps(target)


@probe("NUL in the name")
def nul(t):
    for name in (b"refused.test\0.allowed.test", b"allowed.test\0.refused.test"):
        target = t.target("echo")
        t.send(target, hello.client_hello(name))
        t.keeps(target)


@probe("no server name")
def nameless(t):
    target = t.target("echo")
    t.send(target, hello.client_hello(None))
    t.keeps(target)


@probe("another name after HelloRetryRequest")
def another_name(t):
    target = t.target("retry")
    refused = forbidden(target).encode()

    def talk():
        try:
            stream = Stream(target.address, target.port)
            tls = streams.TLS(stream, target.name, t.lab.web.authority)
            stream.send(tls.first_flight())
            stream.send(tls.next_flight().replace(target.name.encode(), refused))
            return streams.Ending("open", stream.receive())
        except OSError as error:
            return streams.ending_of(error)

    t.place.call(talk)
    t.keeps(target, refused)


# Name and place

@probe("allowed name at an attacker's address, TLS")
def elsewhere_tls(t):
    target = t.target("echo", last=topology.ATTACKER)
    t.send(target, hello.client_hello(target.name))
    t.keeps(target)


@probe("allowed name at an attacker's address, HTTP")
def elsewhere_http(t):
    target = t.website(last=topology.ATTACKER)
    t.send(target, request(target.authority))
    t.keeps(target)


@probe("straight to an address, no name")
def straight(t):
    for what, kind, data in (
            ("TLS", "echo", lambda target: hello.client_hello(None)),
            ("HTTP", "http", lambda target: request(f"[{target.address}]" if ":" in target.address else target.address)),
            ("bytes", "echo", lambda target: b"hello there, this is no TLS\r\n")):
        t.title_of(what)
        target = t.target(kind, allowed=False, last=topology.ATTACKER)
        t.send(target, data(target))
        t.keeps(target)


# HTTP

@probe("an allowed HTTP request, byte for byte")
def unchanged(t):
    target = t.website()
    data = request(None, "/A%2fb?x=1", headers=[f"hOST:  {target.authority}", "user-agent: probe", "X-Empty:", "ACCEPT:  */*"])
    t.delivers(target, t.send(target, data, enough=streams.response_is_whole), sent=data, answer=b"200 OK")


@probe("second request of a connection to another Host")
def keep_alive(t):
    target = t.website()
    secret = forbidden(target).encode()
    requests = [request(target.authority, "/first"), request(f"{secret.decode()}:{target.port}", "/second")]
    ending = t.place.call(lambda: streams.requests_in_turn(lambda: Stream(target.address, target.port), *requests))
    t.delivers(target, ending, answer=b"uri=/first")
    t.keeps(target, secret)


def hidden(t, variants):
    """HTTP messages that name an allowed host and hide a refused one; `variants(good, bad)` gives them."""
    for number in range(len(variants("a", "b"))):
        target = t.website()
        data = variants(target.authority, f"{forbidden(target)}:{target.port}")[number]
        t.send(target, data, enough=lambda got: b"\r\n\r\n" in got)
        t.keeps(target, forbidden(target).encode())


@probe("two Hosts")
def two_hosts(t):
    hidden(t, lambda good, bad: [
        request(None, headers=[f"Host: {one}", f"Host: {other}"]) for one, other in ((good, bad), (bad, good))])


@probe("absolute form against Host")
def absolute(t):
    hidden(t, lambda good, bad: [request(good, f"http://{bad}/"), request(bad, f"http://{good}/")])


@probe("smuggling by Content-Length and Transfer-Encoding")
def smuggled(t):
    def variants(good, bad):
        inner = request(bad, "/smuggled")
        post = lambda *fields: request(good, method="POST", headers=fields)
        length, chunked = f"Content-Length: {len(inner)}", "Transfer-Encoding: chunked"
        return [post("Content-Length: 5", chunked) + b"0\r\n\r\n" + inner, post("Content-Length: 0", length) + inner,
                post("Transfer-Encoding: xchunked", "Content-Length: 0") + inner]
    hidden(t, variants)


@probe("CONNECT to a refused name")
def connect(t):
    hidden(t, lambda good, bad: [request(bad, bad, "CONNECT"), request(good, bad, "CONNECT")])


@probe("SSH on port 443")
def ssh(t):
    target = t.target("banner", allowed=False)

    def talk():
        received = b""
        try:
            stream = Stream(target.address, target.port)
            if streams.readable(stream.socket, 1):
                received = stream.receive()
            stream.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            return streams.Ending("open", received + stream.receive())
        except OSError as error:
            return streams.ending_of(error, received)

    t.place.call(talk)
    t.keeps(target)


# UDP

@probe("QUIC, allowed name")
def quic_allowed(t):
    target = t.target("udp")
    data = datagrams.whole(target.name)
    t.delivers(target, datagrams.send(t, target, data), sent=data)


@probe("QUIC, refused name")
def quic_refused(t):
    target = t.target("udp", allowed=False)
    datagrams.send(t, target, datagrams.whole(target.name))
    t.keeps(target)


@probe("DNS to another server")
def other_resolver(t):
    name = f"{t.lab.token()}.allowed.test"
    names.look_up(t, name, last=topology.OTHER_RESOLVER)
    names.look_up(t, name, tcp=True, last=topology.OTHER_RESOLVER)
    for transport in ("udp", "tcp"):
        t.title_of(transport.upper())
        _, _, kept = t.lab.wire.payload(t.place.at(topology.OTHER_RESOLVER), 53, transport)
        if name.split(".")[0].encode() in kept:
            t.note("the question at the server")


@probe("UDP to anywhere else")
def other_udp(t):
    target = t.target("udp", allowed=False, last=topology.ATTACKER)
    t.place.call(lambda: network.send_datagram(target.address, target.port, b"carried out", PATIENCE))
    t.keeps(target)


# How, and for how long

@probe("a refused program knows within a second")
def at_once(t):
    for what, kind, last, data in (
            ("TLS", "echo", topology.SERVER, lambda target: hello.client_hello(target.name)),
            ("HTTP", "http", topology.SERVER, lambda target: request(target.authority)),
            ("elsewhere", "echo", topology.ATTACKER, lambda target: hello.client_hello(target.name))):
        t.title_of(what)
        target = t.target(kind, allowed=False, last=last)
        ending, seconds = t.hears(target, data(target))
        if t.payload(target)[0]:
            t.note("not refused")
        elif seconds > AT_ONCE:
            t.note(f"{'silence, ' if ending.word == 'timeout' else ''}{seconds:.0f} s")


@probe("a refused name in the second after `nft flush ruleset`", breaks=True)
def flushed(t):
    t.subject.flush()
    began, last = time.monotonic(), None
    while time.monotonic() < began + 1:
        if refused_names(t):
            last = time.monotonic()
        time.sleep(0.02)  # a port serves once, and there are so many
    if last:
        t.note("refused bytes at the server " + ("all the time" if last > began + 0.9 else f"for up to {last - began:.2f} s"))


@probe("a refused name a second after `nft flush ruleset`", breaks=True)
def flushed_before(t):
    t.subject.flush()
    time.sleep(1)
    if refused_names(t, 3):
        t.note("refused bytes at the server")


@probe("a refused name after `kill -9`", breaks=True)
def killed(t):
    t.subject.kill()
    if refused_names(t, 3):
        t.note("refused bytes at the server")


def refused_names(t, turns=1):
    """Refused names, one after another, at an allowed address and at another one; whether one got out."""
    targets = [t.target("echo", allowed=False, last=last) for last in (topology.SERVER, topology.ATTACKER) for _ in range(turns)]
    for target in targets:
        t.send(target, hello.client_hello(target.name))
    return any(t.payload(target)[0] for target in targets)
