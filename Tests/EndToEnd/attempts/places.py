"""B18, B19, B20, B23, B24, B75: where a flow goes, whatever it says: plain addresses, addresses that others share, special
ones, and the other ways to write one."""

import ipaddress
import socket

from lab import hello, servers, streams, topology
from lab.catalogue import attempt
from lab.namespaces import Actor, Gate
from lab.shipped import INSIDE, shipped
from lab.streams import Stream, request

from . import quic
from .layers import PREFACE, frame, in_turn, literal, stream
from .names import look_up, reaches
from .network import family_of

PTR = 12


def somewhere(t, address, *, name=None, kind="echo", allowed=True):
    """A target at an address that is none of the lab's usual ones."""
    target = t.target(kind, allowed, name=name)
    target.address = address
    return target


def whole(address):
    """The prefix that is this one address."""
    return f"{address}/{128 if ':' in address else 32}"


def written(target):
    """A target's address as it is written where a host belongs."""
    return f"[{target.address}]" if ":" in target.address else target.address


@attempt("B18", "straight to an address: refused, whatever it is spoken in, unless policy allows the address")
def straight(t):
    ways = {
        "TLS without a name": (lambda target: hello.client_hello(None), ("no_name",)),
        "HTTP with the address as host": (lambda target: request(f"{written(target)}:{target.port}"), ("policy", "no_name")),
        "HTTP/1.0 without a host": (lambda target: request(None, version="1.0"), ("no_name",)),
        "HTTP/2 with the address as authority": (
            lambda target: PREFACE + stream(f"{written(target)}:{target.port}", 1), ("policy", "no_name")),
        "no protocol that is known": (lambda target: b"straight to an address\r\n", ("unknown_protocol",)),
    }
    with t.together() as later:
        for what, (make, reasons) in ways.items():
            for last in (topology.SERVER, topology.DIRECT):
                target = t.target("echo", last=last)
                data = make(target)
                if last == topology.SERVER:
                    t.title_of(f"{what}, refused")
                    later.refused(target, t.say(target, data), *reasons)
                else:
                    t.title_of(f"{what}, allowed by address")
                    later.passed(target, t.say(target, data, answered=True), received=data[:40], sent=data)
                    later.record(target, "allow", "allowed")
        for last in (topology.SERVER, topology.DIRECT):
            t.title_of(f"QUIC without a name, {'allowed by address' if last == topology.DIRECT else 'refused'}")
            target = t.target("udp", last=last)
            datagram = quic.whole(None)
            ending = quic.send(t, target, datagram)
            if last == topology.DIRECT:
                later.passed(target, ending, received=datagram)
            else:
                later.refused(target, ending, "no_name")


@attempt("B18", "straight to an address under the shipped policy: refused at the first packet, unless its data lists the address")
def straight_shipped(t):
    groups = {"direct": {"ports": list(servers.ECHO), "protocols": ["tls"], "addresses": {whole(t.place.at(topology.DIRECT)): None}},
              "web": {"ports": list(servers.ECHO), "hosts": {"*.bound.test": None}}}
    with shipped(t, groups) as policy:
        for last, rule in ((topology.ATTACKER, "name_not_at_ip"), (topology.DIRECT, None)):
            t.title_of(rule or "listed")
            target = t.target("echo", last=last)
            data = hello.client_hello(None)
            ending = t.say(target, data, answered=True)
            if rule is None:
                t.passed(target, ending, received=data[:40], sent=data)
            else:
                record = policy.refused(target, ending, rule)
                t.expect(not record or t.lab.wire.seen(target.address, target.port) == 0, "the SYN arrived")


@attempt("B19", "another tenant of an address that an allowed name leads to: refused by its name, in TLS, HTTP, HTTP/2 and QUIC")
def tenant(t):
    ways = {
        "TLS": ("echo", hello.client_hello, b"\x16\x03"), "HTTP": ("echo", request, b"GET /"),
        "HTTP/2": ("echo", lambda name: PREFACE + stream(name, 1), b"PRI"), "QUIC": ("udp", quic.whole, b""),
    }
    with t.together() as later:
        for what, (kind, make, start) in ways.items():
            def speak(target, name):
                return quic.send(t, target, make(name)) if kind == "udp" else t.say(target, make(name), answered=True)

            t.title_of(what)
            allowed = t.target(kind, name=f"{t.lab.token()}.bound.test")
            t.expect(look_up(t, allowed.name).received, "no answer")
            reaches(later, allowed, speak(allowed, allowed.name), start)
            other = t.target(kind, allowed=False)
            later.refused(other, speak(other, other.name), "policy", host=other.name)
            t.title_of(f"{what}, a tenant that was asked for too")
            look_up(t, other.name)  # refused, so nothing leads there
            other = t.target(kind, allowed=False, name=other.name)
            later.refused(other, speak(other, other.name), "policy", host=other.name)


@attempt("B20", "an allowed server name with another authority in the clear is refused: fields of one request, and stream by stream")
def other_authority(t):
    def http2(*fields):
        content = b"".join(literal(*f) for f in fields)
        return PREFACE + frame(1, 4, 1, content) + frame(0, 1, 1, b"x")

    def head(authority):
        return ((":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", authority))

    def upgrade(first, name):
        fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        return [request(first, headers=fields), PREFACE + stream(name, 3)]

    ways = {
        "the authority of the first stream": lambda good, bad: [PREFACE + stream(bad, 1)],
        "host beside :authority": lambda good, bad: [http2(*head(good), ("host", bad))],
        "two :authority": lambda good, bad: [http2(*head(good), (":authority", bad))],
        "the target of a request": lambda good, bad: [request(good, f"http://{bad}/")],
        "Host behind an allowed target": lambda good, bad: [request(bad, f"http://{good}/")],
        "Host inside a tunnel": lambda good, bad: [request(f"{good}:80", f"{good}:80", "CONNECT"), request(bad)],
        "HTTP/2 inside a tunnel": lambda good, bad: [request(f"{good}:80", f"{good}:80", "CONNECT"), PREFACE + stream(bad, 1)],
        "HTTP/2 behind an upgrade": upgrade,
    }
    with t.together() as later:
        for what, make in ways.items():
            t.title_of(what)
            target = t.target("echo")
            bad = f"{target.token}.refused.test"
            later.refused(target, in_turn(t, target, *make(target.name, bad)), "policy", "parse_error", secret=bad.encode())


@attempt("B20", "what TLS encrypts is not seen: another Host behind an allowed server name passes, and the record names the server name")
def fronted(t):
    target = t.target("https")
    authority, hidden = t.lab.web.authority, f"{target.token}.refused.test"

    def talk():
        try:
            connection = Stream(target.address, target.port)
            tls = streams.TLS(connection, target.name, authority)
            connection.send(tls.first_flight())
            tls.finish()
            return streams.Ending("open", tls.exchange(request(hidden), streams.response_is_whole))
        except OSError as error:
            return streams.ending_of(error)

    t.passed(target, t.place.call(talk), received=f"host={hidden} sni={target.name}".encode())
    if not t.unprotected:
        t.record(target, "allow", "allowed", host=target.name)
        t.expect(not [r for r in t.records(target) if hidden in str(r)], "a record knows what is encrypted")


def special_places(t):
    """Special addresses to which an allowed name may be made to lead: what they are, as the resolver answers and as a socket
    connects, and as packets and records have them."""
    if t.place.family == 4:
        return {"the metadata service": topology.METADATA, "a private address": topology.PRIVATE[4]}
    return {"the metadata service": topology.METADATA6, "a private address": topology.PRIVATE[6],
            "the metadata service behind a translator": topology.translated(topology.METADATA),
            "the metadata service, mapped": f"::ffff:{topology.METADATA}"}


@attempt("B23", "an allowed name that leads to a special address is refused under the shipped policy, unless its data lists the address")
def rebinding(t):
    listed = topology.LISTED[t.place.family]
    groups = {"web": {"ports": [*servers.ECHO, *servers.UDP], "protocols": ["tls", "http", "quic"], "hosts": {"*.bound.test": None}}}
    with shipped(t, groups, inside=[*INSIDE, whole(listed)]) as policy:
        def unreached(target, ending):
            record = policy.refused(target, ending, "special-address")
            t.expect(not record or t.lab.wire.seen(target.address, target.port, target.transport) == 0, "a packet arrived")

        with t.together() as later:
            for what, address in special_places(t).items():
                for kind in ("echo", "udp"):
                    t.title_of(f"{what}, {'QUIC' if kind == 'udp' else 'TLS'}")
                    later.then(unreached, *rebound(t, address, kind))
            t.title_of("a private address that is listed")
            reaches(later, *rebound(t, listed, "echo"))


def rebound(t, address, kind):
    """Looks a name up that leads to an address, and speaks to it there; the target as packets have it, and how that ended."""
    token = t.lab.token()
    target = somewhere(t, address, kind=kind, name=f"{servers.leading_to(address, token)}.bound.test")
    t.expect(look_up(t, target.name).received, "no answer")
    ending = quic.send(t, target, quic.whole(target.name)) if kind == "udp" else t.say(target, hello.client_hello(target.name), answered=True)
    target.address = address.removeprefix("::ffff:")
    return target, ending


@attempt("B23", "an allowed name that leads to loopback reaches no service of the host under the shipped policy", hooks=("output",),
         not_here="a guest's loopback is its own", unprotected=False)
def rebinding_loopback(t):
    loopback = {4: ["127.0.0.1", "127.8.8.8"], 6: ["::1", "::ffff:127.9.9.9"]}[t.place.family]
    groups = {"web": {"ports": [7720], "hosts": {"*.bound.test": None}}}
    with shipped(t, groups):
        for address in loopback:
            t.title_of(address)
            name = f"{servers.leading_to(address, t.lab.token())}.bound.test"
            mark = t.lab.journal.mark()
            t.expect(look_up(t, name).received, "no answer")
            service = Service(t.lab.agent, "::" if ":" in address and "." not in address else "0.0.0.0", 7720)
            ending = t.place.call(lambda: streams.converse(lambda: Stream(address, 7720), hello.client_hello(name)))
            t.expect(service.heard() == b"" and ending.is_refusal, f"the host's service was reached: {ending}")
            record = t.wait(lambda: t.lab.journal.records(mark, VERDICT="deny", PORT=7720), "a record of the refusal")[0]
            t.expect(record.get("SALLYPORT_RULE") == "special-address", f"refused by another rule: {record}")


class Service:
    """A TCP service of a host that nobody confines; it echoes, and keeps what it hears."""

    def __init__(self, host, address, port):
        self._ready, self._stop = Gate(), Gate()
        self._task = host.start(lambda: self._serve(address, port), Actor())
        self._ready.wait()

    def _serve(self, address, port):
        family = family_of(address)
        service = socket.socket(family, socket.SOCK_STREAM)
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            service.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        service.bind((address, port))
        service.listen()
        self._ready.open()
        heard, connections = b"", []
        while True:
            for ready in streams.readable_any([service, self._stop.descriptor, *connections], 60):
                if ready is service:
                    connections.append(service.accept()[0])
                elif ready == self._stop.descriptor:
                    return heard
                else:
                    try:
                        part = ready.recv(4096)
                        ready.sendall(part)
                    except OSError:
                        part = b""
                    heard += part
                    if not part:
                        connections.remove(ready)

    def heard(self):
        """Everything that anybody said to it; ends it."""
        self._stop.open()
        return self._task.result()


@attempt("B24", "a forged PTR record, and addresses that come along unasked, bind no name to the attacker's address")
def forged_pointer(t):
    attacker = t.place.at(topology.ATTACKER)
    name = servers.owner_of(attacker)
    with t.together() as later:
        for tcp in (False, True):
            t.title_of("TCP" if tcp else "UDP")
            ending = look_up(t, ipaddress.ip_address(attacker).reverse_pointer, PTR, tcp=tcp)
            t.expect(servers.encoded(name) in ending.received, f"the forged record did not arrive: {ending}")
            for data in (hello.client_hello(name), request(name)):
                target = t.target("echo", last=topology.ATTACKER, name=name)
                later.refused(target, t.say(target, data, answered=True), "name_not_at_ip", host=name)


@attempt("B75", "an IPv4-mapped address is its IPv4 address: allowed, refused and blocked as that", families=(6,))
def mapped(t):
    server, blocked = topology.outside(topology.SERVER, 4), topology.outside(topology.BLOCKED, 4)
    with t.together() as later:
        for what, address, allowed, kind in (("allowed", server, True, "echo"), ("refused", server, False, "echo"),
                                             ("blocked", blocked, True, "echo"), ("a datagram", server, False, "udp")):
            t.title_of(what)
            target = somewhere(t, f"::ffff:{address}", kind=kind, allowed=allowed)
            data = quic.whole(target.name) if kind == "udp" else hello.client_hello(target.name)
            ending = quic.send(t, target, data) if kind == "udp" else t.say(target, data, answered=True)
            target.address = address  # as packets and records have it
            if what == "allowed":
                later.passed(target, ending, received=data[:40], sent=data)
            else:
                later.refused(target, ending, "policy", host=None if what == "blocked" else target.name)


@attempt("B75", "an address behind a translator (NAT64) counts as itself: by name and by the answers that lead there, never as the IPv4 address inside",
         families=(6,))
def translated(t):
    server, direct = (topology.translated(topology.outside(last, 4)) for last in (topology.SERVER, topology.DIRECT))
    with t.together() as later:
        for allowed in (True, False):
            t.title_of("allowed" if allowed else "refused")
            target = somewhere(t, server, allowed=allowed)
            data = hello.client_hello(target.name)
            ending = t.say(target, data, answered=True)
            if allowed:
                later.passed(target, ending, received=data[:40], sent=data)
            else:
                later.refused(target, ending, "policy", host=target.name)
        t.title_of("no name, the IPv4 address inside is allowed")
        target = somewhere(t, direct)
        later.refused(target, t.say(target, hello.client_hello(None), answered=True), "no_name")
        t.title_of("answered so by the resolver")
        reaches(later, *rebound(t, server, "echo"))
        t.title_of("answered with the IPv4 address only")
        target = somewhere(t, server, name=f"{t.lab.token()}.bound.test")
        t.expect(look_up(t, target.name, kind=1).received, "no answer")
        later.refused(target, t.say(target, hello.client_hello(target.name), answered=True), "name_not_at_ip", host=target.name)


@attempt("B75", "a link-local address: no agent of the host gets there; a guest by an allowed name, and never under the shipped policy",
         families=(6,), unprotected=False)
def link_local(t):
    is_local = t.place.hook == "output"
    near, interface, mine = (t.lab.hop, "inner", "uplink") if is_local else (t.lab.agent, "gbot", "vbot")
    address = link_address(near, interface)
    service = Service(near, "::", 7730)
    word = t.lab.token()

    def connect():
        connection = Stream(address, 7730, connect=False)
        connection.socket.connect((address, 7730, 0, socket.if_nametoindex(mine)))
        return connection

    def knock(name):
        mark = t.lab.journal.mark()
        return mark, t.place.start(lambda: streams.converse(connect, hello.client_hello(name), enough=lambda received: received))

    def refused(name, **fields):
        mark, task = knock(name)
        # A flow that was allowed before is cut by the policy, too.
        t.wait(lambda: t.lab.journal.records(mark, VERDICT="deny", PORT=7730, **{"ADDRESS": address, **fields}), f"a record with {fields}")
        if is_local:
            t.expect(task.result().is_refusal, "the client was not told")
        else:
            task.kill()  # nothing that we send finds the way back to a link-local address: it waits

    if is_local:
        # The kernel tells whose a socket is by its addresses, which such a one shares with other links.
        refused(f"{word}.allowed.test", REASON="no_identity", ADDRESS=address)
        t.expect(service.heard() == b"", "something arrived")
        return
    _, task = knock(f"{word}.allowed.test")
    t.expect(task.result().received.startswith(b"\x16\x03"), "an allowed name was refused")
    refused(f"late{word}.refused.test", REASON="policy", HOST=f"late{word}.refused.test")
    with shipped(t, {"web": {"ports": [7730], "hosts": {"*.allowed.test": None}}}):
        refused(f"late{word}.allowed.test", REASON="policy", RULE="special-address")
    t.expect(b"late" not in service.heard(), "what was refused arrived")


def link_address(host, interface):
    """The link-local address of an interface."""
    for line in host.command("ip", "-6", "-o", "addr", "show", "dev", interface, "scope", "link").stdout.splitlines():
        return line.split()[3].split("/")[0]
    raise AssertionError(f"{interface} has no link-local address")
