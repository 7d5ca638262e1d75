"""Programs of others that are refused: each ends by itself and shows its user why, in the words of its protocol.

What they print stands in `lab/programs.py`, for docs/refusals.md too. Every client has one record and so made one attempt: it
did not try again. None is given a time to end in; all end long before their own patience does."""

import re

from lab import hello, streams, topology
from lab.catalogue import Skip, attempt
from lab.programs import CLIENTS, SCRIPTS, SENTENCE, Server, destination
from lab.streams import Stream, request, response_is_whole

from .layers import SSL_REQUEST, mysql_encryption, mysql_login, startup

DECISION = re.compile(r"(?:decision |\"decision_id\":\")([0-9a-f-]{36})")
"""A decision's id in what a client prints."""

KINDS = {
    "tls": "HTTPS", "http": "HTTP", "h2c": "HTTP/2 without TLS", "quic": "HTTP/3", "name": "a name", "mysql": "a login",
    "postgres": "a login", "postgres-tls": "a login over TLS", "smtp": "mail", "starttls": "mail over TLS", "unnamed": "an address",
}
"""What the clients ask for, in words."""


def refused(t, client):
    """Runs a client and checks how it ends. Returns what it printed."""
    target, server = destination(t, client)
    done = t.place.command(*client.words(t.lab, t.place, target))
    t.expect(client.code in (None, done.returncode), f"exit {done.returncode}, not {client.code}: {done.stdout[-400:]}")
    for sign in client.signs:
        t.expect(sign in done.stdout, f"{sign!r} is not in what it prints: {done.stdout[-600:]}")
    if client.asks == "name":
        t.wait(lambda: t.lab.journal.records(target.since, VERDICT="deny", STAGE="resolve", HOST=target.name), "a record of the question")
        for transport in ("udp", "tcp"):
            _, _, kept = t.lab.wire.payload(t.place.at(topology.RESOLVER), 53, transport)
            t.expect(target.token.encode() not in kept, "the question arrived")
    else:
        named = client.asks in ("tls", "http", "h2c", "quic", "postgres-tls", "starttls")
        secret = target.name.encode() if client.asks in ("postgres-tls", "starttls") else None
        # Some try again, and identical refusals are folded only while they are near each other.
        record = t.refused(target, None, "policy", secret=secret, host=target.name if named else None, told=False, exactly=None)
        shown = DECISION.search(done.stdout)
        t.expect(shown is None or shown[1] == record["SALLYPORT_DECISION_ID"], f"another decision is shown: {done.stdout[-400:]}")
    if server is not None:
        word, came = server.ending()
        t.expect(word == "reset", f"the server's side ended with {word} after {came!r}")
    return done.stdout


def _register(client, places):
    for hook, family in places:
        @attempt("clients", f"{client.name} is refused {KINDS[client.asks]} and says so ({hook} IPv{family})", hooks=(hook,),
                 families=(family,), once=True, unprotected=False)
        def show(t):
            refused(t, client)


# What a client shows is the same everywhere: each is tried at two places of the four, and where it takes long to start at one.
for _number, _client in enumerate(CLIENTS):
    _places = [[("output", 4), ("forward", 6)], [("forward", 4), ("output", 6)]][_number % 2]
    _register(_client, _places[:1] if _client.heavy else _places)


@attempt("clients", "the id in what a client prints leads to the decision: sallyport explain", once=True, unprotected=False)
def explained(t):
    found, kinds = 0, set()
    for client in CLIENTS:
        # One of a kind is enough.
        if not any("ecision" in sign or SENTENCE in sign for sign in client.signs) or client.asks in kinds:
            continue
        kinds.add(client.asks)
        t.title_of(f"{client.name}, {KINDS[client.asks]}")
        try:
            shown = DECISION.search(refused(t, client))
        except Skip:
            continue
        t.expect(shown, "it prints no id")
        done = t.appliance.command("explain", shown[1], "--config", t.appliance.config, check=False)
        t.expect(done.returncode == 0 and "lab.default" in done.stdout and "not on the lab's list" in done.stdout,
                 f"explain: exit {done.returncode}: {done.stdout[-600:]}")
        found += 1
    t.expect(found > 0, "no client prints an id")


def _talk(target, *parts, waits):
    """Sends parts, each after the server said something; the first one at once unless `waits`. The ending, with what came."""
    received = b""
    try:
        connection = Stream(target.address, target.port)
        for count, part in enumerate(parts):
            if waits or count:
                received = connection.receive()
            connection.send(part)
        received = b""
        while more := connection.receive():
            received += more
        return streams.Ending("eof", received)
    except OSError as error:
        return streams.ending_of(error, received)


ALERT = bytes.fromhex("15030300020231")


@attempt("clients", "both ends of what is refused end: the client with an error in its place of the protocol, the server with a reset",
         unprotected=False)
def both_ends(t):
    flows = {
        "TLS": ([], lambda name: [hello.client_hello(name)], ALERT),
        "HTTP": ([], lambda name: [request(name)], b"HTTP/1.1 403 "),
        "PostgreSQL": ([], lambda name: [startup("app", "forbidden")], b"E"),
        "PostgreSQL over TLS": (SCRIPTS["postgres-tls"], lambda name: [SSL_REQUEST, hello.client_hello(name)], ALERT),
        "MySQL": (SCRIPTS["mysql"], lambda name: [mysql_login(b"app", b"forbidden")], None),
        "MySQL over TLS": (SCRIPTS["mysql"], lambda name: [mysql_encryption(), hello.client_hello(name)], ALERT),
        "SMTP": (SCRIPTS["smtp"], lambda name: [b"EHLO agent\r\n"], b"550 5.7.1 " + SENTENCE.encode()),
        "SMTP over TLS": (SCRIPTS["starttls"], lambda name: [b"EHLO agent\r\n", b"STARTTLS\r\n", hello.client_hello(name)], ALERT),
        "Redis": ([], lambda name: [b"*1\r\n$4\r\nPING\r\n"], b""),
    }
    for what, (script, parts, words) in flows.items():
        t.title_of(what)
        # What goes on before the last part is allowed at one address, and the mail and Redis that are refused at another.
        last = topology.ATTACKER if what in ("SMTP", "Redis") else topology.SERVER
        lines = [*script, b"\0"] if what == "MySQL over TLS" else script
        server = Server(t, *lines)
        target = t.target("peer", allowed=False, last=last)
        target.port = server.port
        sent = parts(target.name)
        # A MySQL server says nothing to the request for TLS: both go out at once.
        said = [b"".join(sent)] if what == "MySQL over TLS" else sent
        ending = t.place.call(lambda: _talk(target, *said, waits=bool(script) and script[0] != b""))
        if what == "MySQL":
            # ERR_Packet: its length, the number behind the login's, 1045, the state and the text.
            length, rest = int.from_bytes(ending.received[:3], "little"), ending.received[3:]
            t.expect(length == len(rest) - 1 and rest.startswith(b"\2\xff\x15\x04#28000" + SENTENCE.encode()),
                     f"no error packet: {ending}")
        else:
            t.expect(ending.received.startswith(words) and ending.word in ("eof", "reset"), f"the client saw {ending}")
        word, came = server.ending()
        t.expect(word == "reset" and came == b"".join(said[:-1]), f"the server's side ended with {word} after {came!r}")


@attempt("clients", "an allowed connection to the same server goes on while others are refused beside it", unprotected=False)
def beside(t):
    target = t.target("http")
    other = f"{target.token}.refused.test"

    def run():
        stream, seen = Stream(target.address, target.port), []
        for data in (None, hello.client_hello(other), request(other), SSL_REQUEST + hello.client_hello(other)):
            if data is not None:
                seen.append(streams.converse(lambda: Stream(target.address, target.port), data))
            stream.send(request(target.authority))
            answer = b""
            while not response_is_whole(answer):
                answer += stream.receive()
            seen.append(answer)
        return seen

    first, *seen = t.place.call(run)
    answers = [first, *seen[1::2]]
    # The Date may be another one.
    t.expect(all(answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(first.partition(b"\r\n\r\n")[2]) for answer in answers),
             f"the allowed connection was answered {answers}")
    t.expect(all(ending.is_refusal for ending in seen[::2]), f"the others ended with {seen[::2]}")
    t.refused(target, None, "policy", secret=other.encode(), told=False, exactly=None)
