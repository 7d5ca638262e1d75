"""B37 to B41, B44, B45: cleartext HTTP/1."""

from lab import hello, streams, topology
from lab.catalogue import Target, attempt
from lab.rawtcp import RawTCP
from lab.streams import Stream, request, response_is_whole


def forbidden(target):
    """The refused name that belongs to a target."""
    return f"{target.token}.refused.test"


def answers(count):
    """Whether so many responses have begun."""
    return lambda received: received.count(b"HTTP/1.1 200") >= count and received.endswith(b"\n")


@attempt("B37", "keep-alive: the second request, to another host, is refused and the first one answered")
def keep_alive(t):
    for second_allowed in (True, False):
        target = t.target("http")
        other = t.lab.token() + ".allowed.test" if second_allowed else forbidden(target)

        requests = [request(host, f"/{host}") for host in (target.name, other)]
        ending = t.place.call(lambda: streams.requests_in_turn(lambda: Stream(target.address, target.port), *requests))
        t.expect(f"uri=/{target.name}".encode() in ending.received, f"the first request was not answered: {ending}")
        if second_allowed:
            t.passed(target, ending, received=f"uri=/{other}".encode())
        else:
            t.refused(target, ending, "policy", secret=other.encode(), host=other)


@attempt("B38", "pipelined requests, in one segment or cut inside a header: each is decided")
def pipelined(t):
    def cuts(data):
        middle = data.rindex(b"Host:") + 8
        return {"in one segment": [data], "cut in the second Host": [data[:middle], data[middle:]],
                "cut between": [data[:data.index(b"\r\n\r\n") + 4], data[data.index(b"\r\n\r\n") + 4:]],
                "three in a row": [data[:20], data[20:middle], data[middle:]]}

    for way in cuts(b"Host:\r\n\r\nHost:       "):
        for second_allowed in (True, False):
            t.title_of(f"{way}, second {'allowed' if second_allowed else 'refused'}")
            target = t.target("http")
            other = t.lab.token() + ".allowed.test" if second_allowed else forbidden(target)
            parts = cuts(request(target.name, "/one") + request(other, "/two"))[way]
            ending = t.place.call(lambda: streams.converse(
                lambda: Stream(target.address, target.port), *parts, enough=answers(2)))
            if second_allowed:
                t.passed(target, ending, received=b"uri=/two")
            else:
                t.refused(target, ending, "policy", secret=other.encode(), host=other)


@attempt("B39", "Host fields that servers read differently are refused")
def odd_hosts(t):
    def variants(good, bad):
        line = lambda *hosts: b"GET / HTTP/1.1\r\n" + b"".join(h.encode("latin-1") for h in hosts) + b"\r\n"
        return {
            "two Hosts": line(f"Host: {good}\r\n", f"Host: {bad}\r\n"),
            "two Hosts, the other way round": line(f"Host: {bad}\r\n", f"Host: {good}\r\n"),
            "the same Host twice": line(f"Host: {good}\r\n", f"Host: {good}\r\n"),
            "obs-fold": line(f"Host:\r\n {good}\r\n"),
            "obs-fold behind the name": line(f"Host: {good}\r\n .{bad}\r\n"),
            "space before the colon": line(f"Host : {good}\r\n"),
            "tab before the colon": line(f"Host\t: {good}\r\n"),
            "a bare LF behind Host": line(f"Host: {good}\nX-Other: {bad}\r\n"),
            "bare LF everywhere": f"GET / HTTP/1.1\nHost: {good}\n\n".encode(),
            "a bare CR in Host": line(f"Host: {good}\r{bad}\r\n"),
            "NUL in Host": line(f"Host: {bad}\0{good}\r\n"),
            "a space in Host": line(f"Host: {bad} {good}\r\n"),
            "two names with a comma": line(f"Host: {good},{bad}\r\n"),
            "user information": line(f"Host: {bad}@{good}\r\n"),
            "a path in Host": line(f"Host: {bad}/{good}\r\n"),
            "a field without colon": line(f"Host: {good}\r\n", "nonsense\r\n"),
            "leading space before Host": line(f" Host: {bad}\r\n", f"Host: {good}\r\n"),
            "HTTP/0.9": b"GET /\r\n",
            "HTTP/1.1 with two spaces": f"GET  / HTTP/1.1\r\nHost: {good}\r\n\r\n".encode(),
        }

    for what in variants("a", "b"):
        t.title_of(what)
        target = t.target("echo")
        data = variants(target.name, forbidden(target))[what]
        t.refused(target, t.say(target, data), "parse_error", "unknown_protocol")


@attempt("B39", "spellings of Host that all servers read alike are decided by the name")
def spelled_hosts(t):
    for what, form in {
        "hoSt": "hoSt: {}", "no space": "Host:{}", "spaces around": "Host:   {}  ", "upper case": "HOST: {}",
        "with the port": "Host: {}:80", "a trailing dot": "Host: {}.",
    }.items():
        for allowed in (True, False):
            t.title_of(what)
            target = t.target("http", allowed)
            data = f"GET /odd HTTP/1.1\r\n{form.format(target.name)}\r\n\r\n".encode()
            ending = t.place.call(lambda: streams.converse(
                lambda: Stream(target.address, target.port), data, enough=response_is_whole))
            if allowed:
                t.passed(target, ending, received=b"uri=/odd")
            else:
                t.refused(target, ending, "policy", host=target.name)


@attempt("B39", "tabs around the name hide nothing")
def tabs(t):
    target = t.target("echo", allowed=False)
    t.refused(target, t.say(target, f"GET / HTTP/1.1\r\nHost: \t {target.name} \t\r\n\r\n".encode()), "policy", "parse_error")


@attempt("B40", "an absolute target that differs from Host is refused, an equal one is decided by its name")
def absolute(t):
    for what, uri, host, reasons in (
        ("differs", "bad", "good", ("parse_error",)), ("differs the other way", "good", "bad", ("parse_error",)),
        ("equal, refused", "bad", "bad", ("policy",)), ("equal, allowed", "good", "good", ()),
        ("https", "https", "good", ("parse_error", "policy")),
    ):
        t.title_of(what)
        target = t.target("http")
        names = {"good": target.name, "bad": forbidden(target), "https": forbidden(target)}
        scheme = "https" if uri == "https" else "http"
        data = request(names[host], f"{scheme}://{names[uri]}/absolute")
        ending = t.place.call(lambda: streams.converse(
            lambda: Stream(target.address, target.port), data, enough=lambda got: b"\r\n\r\n" in got))
        if reasons:
            t.refused(target, ending, *reasons)
        else:
            t.passed(target, ending, received=b"200 OK")


@attempt("B40", "HTTP/1.0 without Host is decided by the address")
def without_host(t):
    data = request(None, "/old", version="1.0")
    target = t.target("http")
    t.refused(target, t.say(target, data), "no_name")
    target = t.target("http", last=topology.DIRECT)
    t.passed(target, t.say(target, data, answered=True), received=b"200 OK")
    target = t.target("http")
    t.refused(target, t.say(target, request(None, "/new")), "no_name", "parse_error")


@attempt("B41", "bodies whose length servers read differently are refused")
def smuggled(t):
    def variants(good, inner):
        head = f"POST / HTTP/1.1\r\nHost: {good}\r\n"
        chunked = f"{len(inner):x}\r\n".encode() + inner + b"\r\n0\r\n\r\n"
        return {
            "Content-Length and Transfer-Encoding": (head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n").encode() + b"0\r\n\r\n" + inner,
            "Transfer-Encoding and Content-Length": (head + f"Transfer-Encoding: chunked\r\nContent-Length: {len(inner)}\r\n\r\n").encode() + inner,
            "two Content-Lengths": (head + f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n\r\n").encode() + inner,
            "a list of Content-Lengths": (head + f"Content-Length: {len(inner)}, 0\r\n\r\n").encode() + inner,
            "a signed Content-Length": (head + f"Content-Length: +{len(inner)}\r\n\r\n").encode() + inner,
            "a hexadecimal Content-Length": (head + f"Content-Length: 0x{len(inner):x}\r\n\r\n").encode() + inner,
            "a coding that nobody knows": (head + "Transfer-Encoding: xchunked\r\n\r\n").encode() + chunked,
            "chunked twice": (head + "Transfer-Encoding: chunked, chunked\r\n\r\n").encode() + chunked,
            "Transfer-Encoding with a vertical tab": (head + "Transfer-Encoding: \vchunked\r\n\r\n").encode() + chunked,
            "Transfer-Encoding in HTTP/1.0": head.replace("1.1", "1.0").encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
        }

    for what in variants("a", b"b"):
        t.title_of(what)
        target = t.target("echo")
        inner = request(forbidden(target), "/smuggled")
        data = variants(target.name, inner)[what]
        t.refused(target, t.say(target, data), "parse_error", secret=forbidden(target).encode())


@attempt("B41", "chunks that servers read differently are refused")
def odd_chunks(t):
    def variants(inner):
        size = f"{len(inner):x}"
        return {
            "a chunk extension with a bare LF": b"1;a\nb\r\nx\r\n0\r\n\r\n" + inner,
            "a chunk size with a sign": f"+{size}\r\n".encode() + inner + b"\r\n0\r\n\r\n",
            "a chunk size with 0x": f"0x{size}\r\n".encode() + inner + b"\r\n0\r\n\r\n",
            "a chunk size that overflows": b"10000000000000001\r\n" + inner,
            "a chunk that ends too late": b"1\r\nxy\r\n0\r\n\r\n" + inner,
            "a chunk line with a bare LF": b"1\nx\r\n0\r\n\r\n" + inner,
            "a last chunk with a bare LF": b"1\r\nx\r\n0\n\n" + inner,
        }

    for what in variants(b"b"):
        t.title_of(what)
        target = t.target("echo")
        inner = request(forbidden(target), "/smuggled")
        data = f"POST / HTTP/1.1\r\nHost: {target.name}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + variants(inner)[what]
        t.refused(target, t.say(target, data), "parse_error", secret=forbidden(target).encode())


@attempt("B41", "a request behind a body of known length is decided like any other")
def behind_a_body(t):
    def bodies(inner):
        length = f"Content-Length: {len(inner)}\r\n\r\n".encode() + inner
        chunked = f"Transfer-Encoding: chunked\r\n\r\n{len(inner):x}\r\n".encode() + inner + b"\r\n0\r\n\r\n"
        return {"Content-Length": length, "chunked": chunked}

    for what in bodies(b"b"):
        t.title_of(what)
        # A body may contain what looks like a request; it is a body and passes. What follows it is a request.
        target = t.target("http")
        body = bodies(request("inside.refused.test"))[what]
        data = f"POST /body HTTP/1.1\r\nHost: {target.name}\r\n".encode() + body
        ending = t.place.call(lambda: streams.converse(
            lambda: Stream(target.address, target.port), data + request(target.name, "/next"), enough=answers(2)))
        t.passed(target, ending, received=b"uri=/next")
        target = t.target("http")
        data = f"POST /body HTTP/1.1\r\nHost: {target.name}\r\n".encode() + body
        ending = t.place.call(lambda: streams.converse(
            lambda: Stream(target.address, target.port), data + request(forbidden(target), "/next"), enough=answers(2)))
        t.refused(target, ending, "policy", secret=forbidden(target).encode())


@attempt("B44", "a retransmission of an allowed request is no new request", hooks=("forward",),
         not_here="see the test with a lost segment")
def repeated_segment(t):
    target = t.target("http")

    def talk():
        try:
            raw = RawTCP(t.place.source, target.address, target.port)
            data = request(target.name, "/again")
            raw.send(data)
            raw.segment(0, data, fake=True)
            raw.segment(0, data[:30], fake=True)
            received = raw.receive()
            raw.send(request(target.name, "/after"))
            while b"uri=/after" not in received:
                received += raw.receive()
            raw.close()
            return streams.Ending("open", received)
        except OSError as error:
            return streams.ending_of(error)

    ending = t.place.call(talk)
    t.passed(target, ending, received=b"uri=/after")
    t.expect(ending.received.count(b"uri=/again") == 1, "the repeated request was answered twice")
    if not t.unprotected:
        t.wait(lambda: len(t.records(target, "allow")) >= 2, "the records of both requests")
        t.expect(not t.records(target, "deny"), "a repeated segment was refused")


@attempt("B44", "a request whose first transmission is lost is answered once")
def lost_segment(t):
    target = t.target("http")
    family = "ip6 daddr" if t.place.family == 6 else "ip daddr"
    t.lab.topology.lose(f"{family} {target.address} tcp dport {target.port} meta length > 100 limit rate 1/hour burst 1 packets counter drop")
    try:
        ending = t.place.call(lambda: streams.converse(
            lambda: Stream(target.address, target.port), request(target.name, "/lost", headers=["X-Padding: " + "x" * 80]), enough=response_is_whole))
        lost = t.lab.topology.lost()
    finally:
        t.lab.topology.stop_losing()
    t.expect(lost == 1, f"{lost} packets were lost, not one")
    t.passed(target, ending, received=b"uri=/lost")
    if not t.unprotected:
        t.record(target, "allow", "allowed", host=target.name)
        t.expect(len(t.records(target, "allow")) == 1, "a retransmission was decided again")


@attempt("B45", "HTTP on port 443 and TLS on port 80 are recognised by their bytes")
def other_ports(t):
    for port, is_tls in ((443, False), (80, True)):
        for allowed in (True, False):
            name = f"{t.lab.token()}.{'allowed' if allowed else 'refused'}.test"
            target = Target(t.place.server, port, name, name, "tcp", t.lab.journal.mark() if t.lab.journal else 0)
            data = hello.client_hello(name) if is_tls else request(name, "/port")
            ending = t.say(target, data, answered=True)
            if allowed:
                t.passed(target, ending, received=b"400")  # nginx expects the other one on this port
            else:
                # Many attempts share these ports, so only the name tells this one from the others.
                t.refused(target, ending, "policy", secret=name.encode(), host=name, exactly=None)
