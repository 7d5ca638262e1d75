"""B11 to B15: what a ClientHello says."""

import ssl

from lab import hello, streams, topology
from lab.catalogue import attempt
from lab.streams import Stream


def sni(body):
    """A server_name extension with this body, however wrong."""
    return hello.extension(0, body)


def with_extensions(*extensions):
    """A ClientHello in one record with these before the ordinary extensions."""
    return hello.record(hello.handshake(extensions=[*extensions, *hello.ordinary()]))


@attempt("B11", "ambiguous or broken server names are refused")
def ambiguous_names(t):
    def variants(name, other):
        entry = b"\0" + hello.vector(2, name.encode())
        return {
            "two server_name extensions": with_extensions(hello.server_name(name), hello.server_name(other)),
            "two server_name extensions, the other way round": with_extensions(hello.server_name(other), hello.server_name(name)),
            "two names in the list": with_extensions(hello.server_name(name, other)),
            "the same name twice": with_extensions(hello.server_name(name, name)),
            "bytes behind the list": with_extensions(sni(hello.vector(2, entry) + b"\0")),
            "bytes inside the list": with_extensions(sni(hello.vector(2, entry + b"\0"))),
            "a name of no bytes": with_extensions(hello.server_name("")),
            "an empty list": with_extensions(sni(hello.vector(2, b""))),
            "an empty extension": with_extensions(sni(b"")),
            "129 extensions": with_extensions(
                hello.server_name(name), *(hello.extension(0x4000 + i, b"") for i in range(123))),
            "bytes behind the extensions": hello.record(_lengthened(hello.handshake(name))),
        }

    for what in variants("a", "b"):
        target = t.target("echo")
        data = variants(target.name, f"{target.token}.refused.test")[what]
        t.title_of(what)
        t.refused(target, t.say(target, data), "parse_error")


def _lengthened(handshake):
    """The same handshake message with two bytes behind its extensions."""
    return b"\x01" + (len(handshake) - 4 + 2).to_bytes(3, "big") + handshake[4:] + b"\0\0"


@attempt("B12", "upper case and a trailing dot are the same name")
def normalised(t):
    for spell in (str.upper, lambda n: n + ".", str.title):
        for allowed in (True, False):
            target = t.target("echo", allowed)
            data = hello.client_hello(spell(target.name))
            ending = t.say(target, data, answered=True)
            if allowed:
                t.passed(target, ending, received=data[:100], sent=data)
                if not t.unprotected:
                    t.record(target, "allow", "allowed", host=target.name)
            else:
                t.refused(target, ending, "policy", host=target.name)


@attempt("B12", "what is no host name is refused, and its record is one clean line")
def hostile_names(t):
    names = {
        "an empty label": b"x..allowed.test", "only a dot": b".", "a leading dot": b".allowed.test",
        "NUL": b"refused.test\0.allowed.test", "a newline": b"x\nSALLYPORT_VERDICT=allow\n.allowed.test",
        "a colon": b"allowed.test:443", "a slash": b"refused.test/.allowed.test", "a space": b"refused.test .allowed.test",
        "256 bytes": b"a." * 122 + b".allowed.test"[1:], "a label of 64 bytes": b"a" * 64 + b".allowed.test",
        "an IPv4 literal": b"198.18.0.1", "an IPv6 literal": b"fd00:18::1", "bytes above 127": "ällowed.test".encode(),
        "an escape": b"\x1b[2Jallowed.test",
    }
    for what, name in names.items():
        t.title_of(what)
        target = t.target("echo")
        record = t.refused(target, t.say(target, hello.client_hello(name)), "parse_error", "no_name", "policy")
        if record:
            t.clean(record)


@attempt("B13", "a ClientHello without server name is refused (no_name)")
def nameless(t):
    target = t.target("echo")
    t.refused(target, t.say(target, hello.client_hello(None)), "no_name")


@attempt("B13", "a ClientHello without server name passes where policy allows the address")
def nameless_allowed(t):
    target = t.target("echo", last=topology.DIRECT)
    data = hello.client_hello(None)
    t.passed(target, t.say(target, data, answered=True), received=data[:100], sent=data)
    if not t.unprotected:
        t.record(target, "allow", "allowed")


@attempt("B14", "what is no TLS, or not only TLS, is refused")
def not_tls(t):
    name = "x.allowed.test"
    sslv2 = b"\x01\x00\x02" + b"\x00\x06\x00\x00\x00\x10" + bytes.fromhex("010080020080") + bytes(16)
    variants = {
        "a line of text": (b"hello there, this is no TLS\r\n", {"unknown_protocol"}),
        "bytes without sense": (bytes(range(128, 250)) * 2, {"unknown_protocol", "parse_error"}),
        "an SSLv2 hello": ((0x8000 | len(sslv2)).to_bytes(2, "big") + sslv2, {"unknown_protocol", "parse_error"}),
        "an alert first": (hello.record(b"\x01\x00", kind=21) + hello.client_hello(name), {"parse_error"}),
        "ChangeCipherSpec first": (hello.record(b"\x01", kind=20) + hello.client_hello(name), {"parse_error"}),
        "application data first": (hello.record(bytes(40), kind=23) + hello.client_hello(name), {"parse_error"}),
        "an empty handshake record first": (hello.record(b"") + hello.client_hello(name), {"parse_error"}),
        "an alert inside the ClientHello": (_interrupted(name), {"parse_error"}),
        "a ServerHello": (b"\x16\x03\x03" + hello.vector(2, b"\x02" + hello.handshake(name)[1:]), {"parse_error"}),
        "HTTP/2 without TLS": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), {"parse_error"}),
    }
    for what, (data, reasons) in variants.items():
        t.title_of(what)
        target = t.target("echo")
        t.refused(target, t.say(target, data), *reasons)


def _interrupted(name):
    message = hello.handshake(name)
    return hello.record(message[:60]) + hello.record(b"\x01\x00", kind=21) + hello.record(message[60:])


@attempt("B14", "SSH is refused: the server's banner is read, but nothing is said to it")
def ssh(t):
    target = t.target("banner")

    def talk():
        received = b""
        try:
            stream = Stream(target.address, target.port)
            received = stream.receive()
            stream.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            if t.unprotected:
                return streams.Ending("open", received)
            while True:
                part = stream.receive()
                if not part:
                    return streams.Ending("eof", received)
                received += part
        except OSError as error:
            return streams.ending_of(error, received)

    t.refused(target, t.place.call(talk), "policy")


@attempt("B15", "after a HelloRetryRequest a ClientHello with another name is refused")
def another_name(t):
    target = t.target("retry")
    refused = f"{target.token}.refused.test".encode()

    def talk():
        try:
            stream = Stream(target.address, target.port)
            tls = streams.TLS(stream, target.name, t.lab.web.authority)
            stream.send(tls.first_flight())
            second = tls.next_flight()
            if target.name.encode() not in second:
                raise AssertionError("the server sent no HelloRetryRequest")
            stream.send(second.replace(target.name.encode(), refused))
            return streams.ending_with(stream)
        except OSError as error:
            return streams.ending_of(error)

    t.refused(target, t.place.call(talk), "parse_error", "policy", secret=refused)


@attempt("B15", "a HelloRetryRequest answered with the same name passes")
def retried(t):
    target = t.target("retry")
    ending = t.place.call(lambda: streams.http_over_tls(
        lambda: Stream(target.address, target.port), target.name, lambda stream, data: stream.send(data),
        t.lab.web.authority, maximum=ssl.TLSVersion.TLSv1_3))
    t.passed(target, ending, received=f"sni={target.name}".encode())
