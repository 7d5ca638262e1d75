"""B21, B42, B43, B47, B48, B53, B54: what TCP flows speak beside TLS and HTTP/1, and one inside the other; DNS questions.

The peers are servers that send back what they get, and the resolver: only the agent's side of a flow is read."""

import socket
import struct

from lab import hello, servers, streams, topology
from lab.catalogue import attempt
from lab.streams import Stream, request

from .network import send_datagram


def forbidden(target):
    """The refused name that belongs to a target."""
    return f"{target.token}.refused.test"


def frame(kind, flags=0, stream=0, payload=b""):
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without compression."""
    return b"".join([b"\0"] + [bytes([len(text)]) + text.encode() for text in (name, value)])


def block(authority, path="/pkg.Service/Call"):
    """The header block of a request."""
    return b"".join(literal(*f) for f in ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority)))


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4)


def stream(authority, number, pieces=1):
    """A request of HTTP/2 with its header block in `pieces` frames, and a byte of DATA."""
    content = block(authority)
    size = -(-len(content) // pieces)
    parts = [content[i:i + size] for i in range(0, len(content), size)]
    frames = [frame(1 if i == 0 else 9, 4 if i == len(parts) - 1 else 0, number, part) for i, part in enumerate(parts)]
    return b"".join(frames) + frame(0, 1, number, b"x")


def in_turn(t, target, *parts):
    """Sends parts, each after the one before came back; an ending with all that came back."""
    def run():
        received = b""
        try:
            connection = Stream(target.address, target.port)
            for count, part in enumerate(parts, 1):
                connection.send(part)
                while len(received) < sum(map(len, parts[:count])):
                    got = connection.receive()
                    if not got:
                        return streams.Ending("eof", received)
                    received += got
            return streams.Ending("open", received)
        except OSError as error:
            return streams.ending_of(error, received)
    return t.place.call(run)


def decided(t, what, parts, reasons=("policy",), layers=None, whole=False):
    """`parts(name)`, sent in turn, pass for an allowed name; for another one the last part is refused, which carries the name
    in one piece unless `whole` says that nothing at all may arrive."""
    for allowed in (True, False):
        t.title_of(f"{what}, {'allowed' if allowed else 'refused'}")
        target = t.target("echo")
        name = target.name if allowed else forbidden(target)
        all_parts = parts(name)
        ending = in_turn(t, target, *all_parts)
        if allowed:
            t.passed(target, ending, received=all_parts[-1], sent=b"".join(all_parts))
            if layers and not t.unprotected:
                t.wait(lambda: any(r.get("SALLYPORT_PROTOCOL_LAYERS") == layers and r.get("SALLYPORT_HOST") == name
                                   for r in t.records(target, "allow")), f"a record with the layers {layers}")
        else:
            t.refused(target, ending, *reasons, secret=None if whole else name.encode(), host=name)


# HTTP/2 and upgrades

@attempt("B42", "HTTP/2 by prior knowledge: nothing leaves before the first stream, and each stream is decided")
def http2(t):
    decided(t, "the first stream", lambda name: [PREFACE + stream(name, 1)])
    target = t.target("echo", allowed=False)
    t.refused(target, t.say(target, PREFACE, stream(target.name, 1)), "policy", host=target.name)
    target = t.target("echo")
    name = forbidden(target)
    ending = in_turn(t, target, PREFACE + stream(target.name, 1), stream(target.name, 3), stream(name, 5))
    t.refused(target, ending, "policy", secret=name.encode(), host=name)


@attempt("B42", "a header block in CONTINUATION frames, cut anywhere: decided on the whole")
def continuation(t):
    decided(t, "CONTINUATION", lambda name: [PREFACE + stream(name, 1, pieces=7)], whole=True)
    target = t.target("echo", allowed=False)
    data = PREFACE + stream(target.name, 1, pieces=3)
    cuts = [data[i:i + 11] for i in range(0, len(data), 11)]
    t.refused(target, t.say(target, *cuts), "policy", host=target.name)


@attempt("B42", "HTTP/2 by upgrade: each stream behind it is decided")
def upgraded(t):
    def parts(name, first):
        fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        return [request(first, headers=fields), PREFACE, stream(name, 3)]
    for allowed in (True, False):
        target = t.target("echo")
        name = target.name if allowed else forbidden(target)
        sent = parts(name, target.name)
        ending = in_turn(t, target, *sent)
        if allowed:
            t.passed(target, ending, received=sent[-1], sent=b"".join(sent))
        else:
            t.refused(target, ending, "policy", secret=name.encode(), host=name)


@attempt("B43", "a WebSocket passes if its request was allowed")
def web_socket(t):
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    frames = [b"\x81\x85\1\2\3\4" + b"hello", b"\x82\xfe\x10\x00\1\2\3\4" + bytes(4096)]
    target = t.target("echo")
    sent = [request(target.name, headers=fields), *frames]
    t.passed(target, in_turn(t, target, *sent), received=frames[-1], sent=b"".join(sent))
    target = t.target("echo", allowed=False)
    t.refused(target, t.say(target, request(target.name, headers=fields)), "policy", host=target.name)


@attempt("B43", "a server that stays with HTTP gets no request unread behind an upgrade")
def no_web_socket(t):
    fields = ("Connection: Upgrade", "Upgrade: websocket")
    for what, before in (("a request", b""), ("a bare line feed", b"\n"), ("two bytes", b"\1\2"), ("an unmasked frame", b"\x81\x01\n")):
        t.title_of(what)
        target = t.target("echo")
        secret = forbidden(target).encode()
        ending = in_turn(t, target, request(target.name, headers=fields), before + request(secret.decode()))
        t.refused(target, ending, "policy", "parse_error", "unknown_protocol", secret=secret)


@attempt("B21", "CONNECT is decided by its target, and the stream inside by what it says")
def connect(t):
    def parts(name):
        return [request(f"{name}:443", f"{name}:443", "CONNECT")]
    decided(t, "the target", parts)
    for inside in ("tls", "http"):
        t.title_of(inside)
        target = t.target("echo")
        head = request(f"{target.name}:443", f"{target.name}:443", "CONNECT")
        same, other = target.name, forbidden(target)
        make = hello.client_hello if inside == "tls" else request
        sent = [head, make(same)]
        t.passed(target, in_turn(t, target, *sent), received=sent[-1], sent=b"".join(sent))
        target = t.target("echo")
        other = f"other.{target.name}"
        head = request(f"{target.name}:443", f"{target.name}:443", "CONNECT")
        t.refused(target, in_turn(t, target, head, make(other)), "parse_error", secret=other.encode(), host=other)
    target = t.target("echo")
    head = request(f"{target.name}:443", f"{target.name}:443", "CONNECT")
    t.refused(target, in_turn(t, target, head, b"no protocol that anybody knows\r\n"), "policy", "unknown_protocol", secret=b"anybody")


# DNS

def ask(t, address, *messages, tcp=True, cut=None):
    """Sends framed messages over one TCP connection (the resolver answers the first), or one datagram."""
    if not tcp:
        return t.place.call(lambda: send_datagram(address, 53, messages[0], 20))
    data = b"".join(struct.pack("!H", len(m)) + m for m in messages)
    parts = [data] if cut is None else [data[:cut], data[cut:]]
    return t.place.call(lambda: streams.converse(lambda: Stream(address, 53), *parts, enough=lambda got: len(got) > 14))


def question_refused(t, address, label, ending, transport, reason):
    """A question did not get out, the client was told, and one record says why."""
    _, _, kept = t.lab.wire.payload(address, 53, transport)
    if t.unprotected:
        t.expect(label in kept.lower(), f"unprotected, but the question did not arrive: {ending}")
        return
    t.expect(label not in kept.lower(), f"the question arrived: {ending}")
    t.expect(ending.is_refusal, f"the client was not told: {ending}")
    t.wait(lambda: [r for r in t.lab.journal.records(0, ADDRESS=address, PORT=53, VERDICT="deny", TRANSPORT=transport)
                    if label.decode() in r.get("SALLYPORT_QUESTION", "").lower() and r.get("SALLYPORT_REASON") == reason],
           f"a record of the question with the reason {reason}")


@attempt("B47", "DNS over TCP: each question is decided, with its length cut and pipelined")
def dns_tcp(t):
    address = t.place.at(topology.RESOLVER)
    for cut in (1, 2, 9):
        t.title_of(f"cut at {cut}")
        query = servers.question(f"{t.lab.token()}.allowed.test")
        ending = ask(t, address, query, cut=cut)
        t.expect(ending.received[2:4] == query[:2], f"no answer: {ending}")
        label = t.lab.token()
        ending = ask(t, address, servers.question(f"{label}.refused.test"), cut=cut)
        question_refused(t, address, label.encode().lower(), ending, "tcp", "policy")
    t.title_of("pipelined")
    label = t.lab.token()
    ending = ask(t, address, servers.question(f"{t.lab.token()}.allowed.test"), servers.question(f"{label}.refused.test"))
    question_refused(t, address, label.encode().lower(), ending, "tcp", "policy")


@attempt("B48", "two questions, compression loops, junk behind a message, a class of its own and a tunnel are refused; mixed case is the same name")
def dns_oddities(t):
    address = t.place.at(topology.RESOLVER)
    mixed = servers.question(f"{t.lab.token()}.aLLowed.TesT")
    for tcp in (False, True):
        ending = ask(t, address, mixed, tcp=tcp)
        t.expect(mixed[:2] in ending.received[:4], f"no answer to a name in mixed case: {ending}")
    tail = struct.pack("!HH", 1, 1)
    for tcp in (False, True):
        for what in ("two questions", "a loop", "a tunnel", "junk", "junk in EDNS", "class CH", "a response", "TXT"):
            t.title_of(f"{what}, {'TCP' if tcp else 'UDP'}")
            label = t.lab.token().encode()
            plain = servers.question(f"{label.decode()}.allowed.test")
            message, reason = {
                "two questions": (plain[:4] + b"\0\2" + plain[6:] + plain[12:], "parse_error"),
                "a loop": (plain[:12] + bytes([len(label)]) + label + b"\xc0\x0c" + tail, "parse_error"),
                "a tunnel": (b"tunnel " + label + bytes(40), "parse_error"),
                "junk": (plain + b"junk", "parse_error"),
                "junk in EDNS": (plain[:10] + b"\0\1" + plain[12:] + b"\0\0\x29\x10\0\0\0\0\0\0\5\0\x0c\0\x09x", "parse_error"),
                "class CH": (plain[:-1] + b"\3", "unknown_protocol"),
                "a response": (plain[:2] + b"\x81\x80" + plain[4:], "unknown_protocol"),
                "TXT": (plain[:-3] + b"\x10" + plain[-2:], "policy"),
            }[what]
            ending = ask(t, address, message, tcp=tcp)
            if what in ("a loop", "a tunnel", "two questions") or (tcp and what == "a response"):
                # What no question can be read from has a record without one.
                _, _, kept = t.lab.wire.payload(address, 53, "tcp" if tcp else "udp")
                t.expect((label in kept) == t.unprotected, f"the question {'did not arrive' if t.unprotected else 'arrived'}: {ending}")
                t.expect(t.unprotected or ending.is_refusal, f"the client was not told: {ending}")
                continue
            if tcp and what.startswith("junk"):
                _, _, kept = t.lab.wire.payload(address, 53, "tcp")
                t.expect((label in kept) == t.unprotected, f"the question {'did not arrive' if t.unprotected else 'arrived'}: {ending}")
                continue
            question_refused(t, address, label.lower(), ending, "tcp" if tcp else "udp", reason)


@attempt("B48", "a refused question harms no other one from the same socket")
def dns_same_socket(t):
    address = t.place.at(topology.RESOLVER)
    good, bad = servers.question(f"{t.lab.token()}.allowed.test"), servers.question(f"{t.lab.token()}.refused.test", identifier=0x7777)

    def run():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((address, 53))
            answers = []
            for query in (good, bad, good):
                try:
                    sender.send(query)
                    if not streams.readable(sender, 20):
                        answers.append(b"silence")
                        continue
                    answer = streams.Ending("open", sender.recv(2000))
                    answers.append(b"refused" if answer.is_refusal else answer.received[:2])
                except OSError as error:
                    answers.append(streams.ending_of(error).word.encode())
            return answers
    answers = t.place.call(run)
    if t.unprotected:
        t.expect(answers == [good[:2], bad[:2], good[:2]], f"the answers were {answers}")
        return
    t.expect(answers[0] == good[:2] and answers[2] == good[:2], f"an allowed question was not answered: {answers}")
    t.expect(answers[1].decode() in streams.REFUSED_WORDS, f"the refused question ended with {answers[1]}")


# Databases, mail and the rest

SSL_REQUEST, GSS_REQUEST = struct.pack("!II", 8, 80877103), struct.pack("!II", 8, 80877104)


def startup(user, database):
    """A PostgreSQL StartupMessage."""
    pairs = b"".join(text.encode() + b"\0" for text in ("user", user, "database", database)) + b"\0"
    return struct.pack("!II", len(pairs) + 8, 196608) + pairs


@attempt("B53", "PostgreSQL: after SSLRequest and GSSENCRequest the name is decided, and direct TLS too")
def postgres(t):
    decided(t, "SSLRequest", lambda name: [SSL_REQUEST, hello.client_hello(name)], layers="postgres,tls")
    decided(t, "GSSENCRequest, then SSLRequest", lambda name: [GSS_REQUEST, SSL_REQUEST, hello.client_hello(name)])
    decided(t, "direct TLS", lambda name: [hello.client_hello(name)])


@attempt("B53", "PostgreSQL: a login in the clear is decided with its user and database")
def postgres_login(t):
    target = t.target("echo")
    data = startup("app", "orders")
    t.passed(target, t.say(target, data, answered=True), received=data, sent=data)
    if not t.unprotected:
        record = t.record(target, "allow", "allowed")
        found = tuple(record.get(f"SALLYPORT_{f}") for f in ("PROTOCOL", "DATABASE", "DATABASE_USER"))
        t.expect(found == ("postgres", "orders", "app"), f"the record says {found}")
    target = t.target("echo")
    data = startup("app", "forbidden")
    t.refused(target, t.say(target, data), "policy")
    target = t.target("echo")
    t.refused(target, t.say(target, startup("app", "orders").replace(b"database", b"user\0a\0d")), "parse_error")


@attempt("B54", "SMTP, IMAP and LDAP: after STARTTLS the name is decided")
def starttls(t):
    name = b"1.3.6.1.4.1.1466.20037"
    ldap = bytes([0x30, len(name) + 7, 2, 1, 1, 0x77, len(name) + 2, 0x80, len(name)]) + name
    for kind, commands in (
        ("smtp", [b"EHLO agent\r\n", b"STARTTLS\r\n"]), ("imap", [b"a CAPABILITY\r\n", b"b STARTTLS\r\n"]), ("ldap", [ldap]),
    ):
        decided(t, kind, lambda host: [*commands, hello.client_hello(host)], layers=f"{kind},tls")


def mysql_login(user, schema):
    """A HandshakeResponse41."""
    body = struct.pack("<IIB", 0x8208, 1 << 24, 45) + bytes(23) + user + b"\0\0" + schema + b"\0"
    return len(body).to_bytes(3, "little") + b"\1" + body


def mysql_encryption():
    """The request for TLS: a HandshakeResponse41 that ends before the user."""
    body = struct.pack("<IIB", 0x8A00, 1 << 24, 45) + bytes(23)
    return len(body).to_bytes(3, "little") + b"\1" + body


@attempt("B54", "MySQL: the login, or the name after the request for TLS, is decided")
def mysql(t):
    decided(t, "TLS", lambda name: [mysql_encryption(), hello.client_hello(name)], layers="mysql,tls")
    target = t.target("echo")
    data = mysql_login(b"app", b"orders")
    t.passed(target, t.say(target, data, answered=True), received=data, sent=data)
    if not t.unprotected:
        record = t.record(target, "allow", "allowed")
        t.expect(record.get("SALLYPORT_DATABASE") == "orders", f"the record says {record.get('SALLYPORT_DATABASE')}")


@attempt("B54", "SSH, Redis, MongoDB and MQTT name nobody: refused, unless policy allows the address")
def unnamed(t):
    flows = {
        "ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n", "redis": b"*1\r\n$4\r\nPING\r\n",
        "mongodb": struct.pack("<iiii", 26, 1, 0, 2013) + bytes(10), "mqtt": b"\x10\x0c\0\4MQTT\5\2\0\x3c\0\0",
        "bittorrent": b"\x13BitTorrent protocol" + bytes(48), "unknown": b"what is this\r\n",
    }
    for name, data in flows.items():
        t.title_of(name)
        target = t.target("echo")
        record = t.refused(target, t.say(target, data), "unknown_protocol" if name == "unknown" else "policy")
        if record:
            t.expect(record.get("SALLYPORT_PROTOCOL") == name, f"the record says {record.get('SALLYPORT_PROTOCOL')}")
        target = t.target("echo", last=topology.DIRECT)
        t.passed(target, in_turn(t, target, data, b"and more"), received=b"and more", sent=data + b"and more")


@attempt("B54", "SOCKS: what the proxy is asked for is decided, and the stream inside")
def socks(t):
    def parts(name):
        return [b"\5\1\0", b"\5\1\0\3" + bytes([len(name)]) + name.encode() + b"\x01\xbb"]
    decided(t, "the target", parts)
    target = t.target("echo")
    other = f"other.{target.name}"
    t.refused(target, in_turn(t, target, *parts(target.name), hello.client_hello(other)), "parse_error", secret=other.encode())
