"""B58, B63 to B65, B70, B79: whose flows are whose customer's, and when they end."""

import json
import socket
import struct
import time

from lab import customers, hello, quic, servers, streams, topology
from lab.appliance import CGROUP_AGENT_UID
from lab.catalogue import attempt
from lab.namespaces import Actor, Gate
from lab.streams import Stream, echoed, request

from .cutting import SHORT, UPGRADE, Datagrams, ended

LOCAL_ONLY = "a guest has no socket of this host"
NAMES = ("acme", "beta", "gamma")


def name_of(t, customer):
    """A name that this customer alone may reach."""
    return f"{t.lab.token()}.{customer}.{customers.DOMAIN}"


def target_of(t, customer, kind="echo"):
    """A destination that this customer alone may reach."""
    return t.target(kind, name=name_of(t, customer))


def bound(target, session, data=None):
    """A connection whose socket was bound to a session before it connected; what the server echoed of `data`, or the word
    with which it ended."""
    try:
        stream = Stream(target.address, target.port, connect=False)
        if session is not None:
            customers.bind(session, stream.socket)
        stream.socket.connect(stream.peer)
        data = data or hello.client_hello(target.name)
        return "echoed" if echoed(stream, data) == data else "other"
    except OSError as error:
        return streams.ending_of(error).word


@attempt("customers", "three customers through one process, each by sockets of its own, reach their own destinations only",
         hooks=("output",), not_here=LOCAL_ONLY, unprotected=False)
def three_customers(t):
    issuer = t.appliance.issuer
    tokens = {name: issuer.token(name, tier="gold") for name in NAMES}
    targets = {(who, whose): target_of(t, whose) for who in (*NAMES, None) for whose in NAMES}

    def run():
        sessions = {name: customers.open_session(token) for name, token in tokens.items()}
        words = {key: bound(target, sessions.get(key[0])) for key, target in targets.items()}
        for session in sessions.values():
            customers.ask("DELETE", f"/v1/sessions/{session}")
        return sessions, words

    sessions, words = t.place.call(run)
    for (who, whose), target in targets.items():
        t.title_of(f"{who} to {whose}")
        word = words[who, whose]
        if who == whose:
            t.expect(word == "echoed", f"a customer did not reach its own destination: {word}")
            record = t.record(target, "allow", "allowed", host=target.name)
        else:
            t.expect(word in streams.REFUSED_WORDS, f"the agent saw {word}")
            record = t.record(target, "deny", "policy" if who else "no_session", host=target.name)
        t.expect(record.get("SALLYPORT_CUSTOMER") == who, f"the record names customer {record.get('SALLYPORT_CUSTOMER')}")
        t.expect(record.get("SALLYPORT_SESSION") == sessions.get(who), "the record names another session")


@attempt("B64", "a token that is expired, another's, unsigned, or signed by somebody else opens nothing, and is logged",
         hooks=("output",), families=(4,), not_here=LOCAL_ONLY, unprotected=False)
def bad_tokens(t):
    issuer = t.appliance.issuer
    stranger = customers.Issuer(t.lab.root / t.lab.token())
    public = stranger._openssl("ec", "-in", issuer.key, "-pubout")
    good = issuer.token("acme")
    head, payload, signature = good.split(".")
    twice = customers.encoded(b'{"alg":"ES256","alg":"none","kid":"lab-1"}')
    bad = {
        "expired": (issuer.token("acme", -5), "expired"),
        "wrong audience": (issuer.token("acme", aud="somebody"), "aud"),
        "no audience": (issuer.token("acme", aud=None), "aud"),
        "another issuer": (issuer.token("acme", iss="https://other.test"), "iss"),
        "not yet": (issuer.token("acme", nbf=int(time.time()) + 100), "nbf"),
        "issued in the future": (issuer.token("acme", iat=int(time.time()) + 100), "iat"),
        "no end": (issuer.token("acme", exp=None), "exp"),
        "too long": (issuer.token("acme", 90_000), "longest_lifetime_seconds"),
        "alg none": (issuer.token("acme", header={"alg": "none"}), "alg none"),
        "HS256 with the public key": (issuer.token("acme", header={"alg": "HS256"}, secret=public), "HS256"),
        "another's key": (stranger.token("acme"), "signature"),
        "unknown kid": (issuer.token("acme", header={"kid": "lab-9"}), "kid"),
        "unknown crit": (issuer.token("acme", header={"crit": ["exp"]}), "crit"),
        "a changed payload": (f"{head}.{customers.encoded(b'{}')}.{signature}", ""),
        "a header that says two things": (f"{twice}.{payload}.{signature}", "twice"),
        "no customer": (issuer.token(None), "sub"),
        "a customer that is no text": (issuer.token(7), "sub"),
        "encrypted": (good + ".a.b", "JWE"),
        "no token": ("x", "parts"),
        "long": (good + "A" * 20_000, "longer"),
    }
    for what, (token, sign) in bad.items():
        t.title_of(what)
        mark = t.lab.journal.mark()
        status, detail = t.place.call(lambda: customers.refused("POST", "/v1/sessions", {"customer_token": token}))
        t.expect(status in (400, 403) and sign in detail, f"answered {status}: {detail}")
        t.wait(lambda: t.lab.journal.records(mark, EVENT="session_refused", AGENT="local-bot"), "an event that says so")
        t.expect(len(token) < 20 or token not in str(t.lab.journal.records(mark)), "the journal holds a token")


@attempt("B64", "another agent's session and token are of no use, nor is a forged cookie",
         hooks=("output",), not_here=LOCAL_ONLY, unprotected=False)
def another_agent(t):
    issuer = t.appliance.issuer
    other = Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/other-bot")
    tokens = {name: issuer.token("acme", nonce=name) for name in ("mine", "theirs")}
    target = target_of(t, "acme")
    ready, forged = Gate(), Gate()

    def victim():
        stream = Stream(target.address, target.port, connect=False)
        t.lab.root.joinpath("forged").write_text(str(customers.cookie(stream.socket)))
        ready.open()
        forged.wait()
        try:
            stream.socket.connect(stream.peer)
            echoed(stream, hello.client_hello(target.name))
            return "echoed"
        except OSError as error:
            return streams.ending_of(error).word

    t.lab.root.joinpath("forged").touch()
    t.lab.root.joinpath("forged").chmod(0o666)
    mine = t.place.call(lambda: customers.open_session(tokens["mine"]))
    task = t.place.start(victim)
    ready.wait()
    cookie = int(t.lab.root.joinpath("forged").read_text())

    def thief():
        own = customers.open_session(tokens["theirs"])
        return {
            "forged": customers.refused("POST", f"/v1/sessions/{own}/sockets", {"cookie": cookie})[0],
            "bind": customers.refused("POST", f"/v1/sessions/{mine}/sockets", {"cookie": cookie})[0],
            "close": customers.refused("DELETE", f"/v1/sessions/{mine}")[0],
            "look": customers.refused("GET", f"/v1/sessions/{mine}")[0],
            "renew": customers.refused("POST", f"/v1/sessions/{mine}/renew", {"customer_token": tokens["theirs"]})[0],
            "list": own in (ids := [each["id"] for each in customers.ask("GET", "/v1/sessions")["sessions"]]) and mine not in ids,
            "token": customers.refused("POST", "/v1/sessions", {"customer_token": tokens["mine"]})[0],
            "agent": customers.refused("POST", "/v1/sessions", {"customer_token": tokens["theirs"], "agent": "local-bot"})[0],
            "status": customers.refused("GET", "/v1/status")[0],
            "cgroup": customers.refused("POST", "/v1/sessions", {
                "customer_token": tokens["theirs"], "binding": {"cgroup": f"/{t.lab.name}.slice/local-bot"}})[0],
        }

    said = t.place.call(thief, actor=other)
    forged.open()
    word = task.result()
    expected = {"bind": 404, "close": 404, "look": 404, "renew": 404, "token": 403, "agent": 403, "status": 403, "cgroup": 403}
    for what, status in expected.items():
        t.title_of(what)
        t.expect(said[what] == status, f"answered {said[what]}, not {status}")
    t.title_of("list")
    t.expect(said["list"], "the list shows another agent's session")
    t.title_of("the victim's flow")
    t.expect(word in streams.REFUSED_WORDS, f"a socket that a thief has bound is a customer's: {word}")
    record = t.record(target, "deny", "no_session", host=target.name)
    t.expect(record.get("SALLYPORT_CUSTOMER") is None, "the record names the thief's customer")
    for text in tokens.values():
        t.expect(text not in str(t.lab.journal.records()), "the journal holds a token")


@attempt("B64", "what was closed stays closed: its flows are cut, its sockets refused, its token opens nothing",
         hooks=("output",), not_here=LOCAL_ONLY, unprotected=False)
def closed(t):
    token = t.appliance.issuer.token("acme")
    target, late = target_of(t, "acme"), target_of(t, "acme")

    def run():
        session = customers.open_session(token)
        stream = Stream(target.address, target.port, connect=False)
        second = Stream(late.address, late.port, connect=False)
        for each in (stream, second):
            customers.bind(session, each.socket)
        stream.socket.connect(stream.peer)
        for part in settling(target.name):
            echoed(stream, part)
        customers.ask("DELETE", f"/v1/sessions/{session}")
        cut = ended(stream)
        try:
            second.socket.connect(second.peer)
            echoed(second, hello.client_hello(late.name))
            after = "echoed"
        except OSError as error:
            after = streams.ending_of(error).word
        return cut.word, after, [customers.refused(*each)[0] for each in (
            ("POST", "/v1/sessions", {"customer_token": token}),
            ("POST", f"/v1/sessions/{session}/sockets", {"cookie": 1}),
            ("POST", f"/v1/sessions/{session}/renew", {"customer_token": token}),
            ("DELETE", f"/v1/sessions/{session}"))]

    cut, after, statuses = t.place.call(run)
    t.expect(cut in streams.REFUSED_WORDS, f"the flow ended with {cut}")
    t.record(target, "deny", "session_closed", host=target.name)
    t.title_of("a socket that connects afterwards")
    t.expect(after in streams.REFUSED_WORDS, f"the agent saw {after}")
    t.record(late, "deny", "session_closed")
    t.title_of("requests")
    t.expect(statuses == [403, 410, 410, 410], f"answered {statuses}")


def settling(name):
    """What is said until the kernel passes a TLS connection by itself."""
    return (hello.client_hello(name), *[hello.second_flight()] * 6)


@attempt("B70", "a token's end cuts an idle connection, a running transfer, HTTP, a WebSocket, QUIC and DNS over TCP; others go on",
         unprotected=False)
def expiry(t):
    issuer = t.appliance.issuer
    name = name_of(t, "acme")
    kinds = {"idle": "echo", "transfer": "echo", "keep-alive": "echo", "websocket": "echo", "quic": "udp"}
    targets = {what: t.target(kind, name=name) for what, kind in kinds.items()}
    mark = t.lab.journal.mark()
    resolver = t.place.at(topology.RESOLVER)
    other = target_of(t, "beta")
    more = bytes(range(256)) * 4096
    is_local = t.place.hook == "output"
    # The token's life begins before the flows are there.
    tokens = {"acme": issuer.token("acme", 8), "beta": issuer.token("beta")}
    if not is_local:
        source = topology.GUEST[t.place.family]
        ours = t.lab.agent.call(lambda: customers.open_session(tokens["acme"], agent="guest-bot", source=source))

    def stream_to(target, session):
        stream = Stream(target.address, target.port, connect=False)
        if session:
            customers.bind(session, stream.socket)
        stream.socket.connect(stream.peer)
        return stream

    def run():
        session = customers.open_session(tokens["acme"]) if is_local else None
        flows = {}
        for what, parts in {
            "idle": settling(name),
            "transfer": settling(name),
            "keep-alive": (request(name),),
            "websocket": (request(name, headers=UPGRADE), b"\x81\x85\1\2\3\4hello"),
        }.items():
            flows[what] = stream_to(targets[what], session)
            for part in parts:
                echoed(flows[what], part)
        flows["quic"] = BoundDatagrams(targets["quic"], session)
        question = type("Question", (), {"address": resolver, "name": name})
        flows["dns"] = dns_flow(question, session)
        kept = None
        if is_local:
            kept = stream_to(other, customers.open_session(tokens["beta"]))
            for part in settling(other.name):
                echoed(kept, part)
        endings = {"transfer": ended(flows["transfer"], bytes(1 << 15))}
        for what in ("idle", "keep-alive", "websocket", "dns"):
            endings[what] = ended(flows[what])
        endings["quic"] = ended(flows["quic"], SHORT)
        whole = kept is None or all(
            echoed(kept, more[start:start + 8192]) == more[start:start + 8192] for start in range(0, len(more), 8192))
        return {what: (ending.word, ending.is_refusal) for what, ending in endings.items()}, whole

    endings, whole = t.place.start(run).result(90)
    for what, target in targets.items():
        t.title_of(what)
        record = t.record(target, "deny", "token_expired", host=name)
        t.clean(record)
        t.expect(record.get("SALLYPORT_CUSTOMER") == "acme", f"the record names {record.get('SALLYPORT_CUSTOMER')}")
        t.expect(endings[what][1], f"the agent was not told, it saw {endings[what][0]}")
        t.expect(len(t.records(target, "deny")) == 1, f"{len(t.records(target, 'deny'))} records of one cut")
    t.title_of("dns")
    t.expect(endings["dns"][1], f"the agent was not told, it saw {endings['dns'][0]}")
    t.wait(lambda: t.lab.journal.records(mark, VERDICT="deny", REASON="token_expired", ADDRESS=resolver, PORT=53), "a record")
    t.title_of("another customer")
    t.expect(whole, "a flow of another customer lost bytes")
    t.title_of("the event")
    t.expect(t.lab.journal.records(mark, EVENT="session_ended", REASON="token_expired", CUSTOMER="acme"), "no event")


class BoundDatagrams(Datagrams):
    """QUIC on a socket that was bound to a session first."""

    def __init__(self, target, session):
        self.session = session
        super().__init__(target)

    def prepare(self):
        if self.session:
            customers.bind(self.session, self.socket)


def dns_flow(target, session):
    """A DNS connection of a session, on which one question was answered."""
    stream = Stream(target.address, 53, connect=False)
    if session:
        customers.bind(session, stream.socket)
    stream.socket.connect(stream.peer)
    query = servers.question(target.name)
    stream.send(struct.pack("!H", len(query)) + query)
    if not stream.receive():
        raise ConnectionError("no answer")
    return stream


@attempt("customers", "another token of the same customer goes on with a session; another customer's does not",
         hooks=("output",), not_here=LOCAL_ONLY, unprotected=False)
def renewal(t):
    issuer = t.appliance.issuer
    target, after = target_of(t, "acme"), target_of(t, "acme")
    first, second, theirs = issuer.token("acme", 4), issuer.token("acme", 600), issuer.token("beta")
    end = time.time() + 4

    def run():
        session = customers.open_session(first)
        stream = Stream(target.address, target.port, connect=False)
        customers.bind(session, stream.socket)
        stream.socket.connect(stream.peer)
        echoed(stream, hello.client_hello(target.name))
        wrong = customers.refused("POST", f"/v1/sessions/{session}/renew", {"customer_token": theirs})[0]
        right = customers.refused("POST", f"/v1/sessions/{session}/renew", {"customer_token": second})[0]
        # Beyond the first token's end the flow says something every now and then.
        while time.time() < end + 0.5:
            echoed(stream, hello.second_flight())
        word = bound(after, session)
        customers.ask("DELETE", f"/v1/sessions/{session}")
        return wrong, right, word

    wrong, right, word = t.place.call(run)
    t.expect(wrong == 403, f"another customer's token was answered {wrong}")
    t.expect(right == 200, f"the second token was answered {right}")
    t.expect(word == "echoed", f"the session did not go on: {word}")
    reasons = [r.get("SALLYPORT_REASON") for r in t.records(target, "deny")]
    t.expect(reasons in ([], ["session_closed"]), f"the flow was refused: {reasons}")


@attempt("customers", "a cgroup, leased ports and a leased address are a customer's; the most specific one counts",
         hooks=("output",), not_here=LOCAL_ONLY, unprotected=False)
def bindings(t):
    issuer = t.appliance.issuer
    worker = Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/local-bot/worker")
    source = topology.AGENT_HOST[t.place.family]
    ports = range(42000 + t.place.family * 10, 42004 + t.place.family * 10)
    targets = {what: target_of(t, whose) for what, whose in {
        "source": "acme", "ports": "beta", "socket": "gamma", "cgroup": "acme", "worker": "beta", "stranger": "beta"}.items()}

    def make():
        import os
        os.makedirs(f"/sys/fs/cgroup{worker.cgroup}", exist_ok=True)
    t.lab.agent.call(make)
    made = t.lab.agent.call(lambda: {
        "source": customers.open_session(issuer.token("acme", n=1), agent="local-bot", source=source),
        "ports": customers.open_session(issuer.token("beta", n=2), agent="local-bot", ports=f"{ports[0]}-{ports[-1]}"),
        "socket": customers.open_session(issuer.token("gamma", n=3), agent="local-bot"),
        "cgroup": customers.open_session(issuer.token("acme", n=4), agent="local-bot", cgroup=worker.cgroup),
        "clash": customers.refused("POST", "/v1/sessions", {
            "customer_token": issuer.token("gamma", n=5), "agent": "local-bot", "binding": {"ports": str(ports[1])}})[0],
        "whole": customers.refused("POST", "/v1/sessions", {
            "customer_token": issuer.token("gamma", n=6), "agent": "local-bot",
            "binding": {"cgroup": f"/{t.lab.name}.slice/local-bot"}})[0],
    })

    def connect(target, port=0, session=None):
        try:
            stream = Stream(target.address, target.port, connect=False)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.socket.bind((source, port))
            if session:
                customers.bind(session, stream.socket)
            stream.socket.connect(stream.peer)
            data = hello.client_hello(target.name)
            return "echoed" if echoed(stream, data) == data else "other"
        except OSError as error:
            return streams.ending_of(error).word

    words = t.place.call(lambda: {
        "source": connect(targets["source"]), "ports": connect(targets["ports"], ports[0]),
        "socket": connect(targets["socket"], ports[1], made["socket"])})
    # In its cgroup a worker is its customer whatever it binds: leases from outside say nothing of it.
    words |= t.place.call(lambda: {"cgroup": connect(targets["cgroup"]), "worker": connect(targets["worker"], ports[2])},
                          actor=worker)
    t.expect(made["clash"] == 409, f"a second lease of a port was answered {made['clash']}")
    t.expect(made["whole"] == 403, f"the agent's whole cgroup was answered {made['whole']}")
    for what in ("source", "ports", "socket", "cgroup"):
        t.title_of(what)
        t.expect(words[what] == "echoed", f"a customer did not reach its own destination: {words[what]}")
        record = t.record(targets[what], "allow", "allowed", host=targets[what].name)
        t.expect(record.get("SALLYPORT_SESSION") == made[what], "the record names another session")
    t.title_of("a worker that takes a leased port")
    t.expect(words["worker"] in streams.REFUSED_WORDS, f"the agent saw {words['worker']}")
    t.expect(t.record(targets["worker"], "deny", "policy").get("SALLYPORT_CUSTOMER") == "acme", "another customer's record")
    t.title_of("a session ends with its cgroup's last process")
    mark = t.lab.journal.mark()
    t.wait(lambda: made["cgroup"] not in listed(t), "the session to end")
    t.wait(lambda: t.lab.journal.records(0, EVENT="session_ended", SESSION=made["cgroup"]), f"an event since {mark}")
    for what in ("source", "ports", "socket"):
        t.lab.agent.call(lambda: customers.ask("DELETE", f"/v1/sessions/{made[what]}"))
    t.title_of("a lease that is free again")
    t.lab.agent.call(lambda: customers.ask("DELETE", "/v1/sessions/" + customers.open_session(
        issuer.token("gamma", n=7), agent="local-bot", ports=str(ports[0]))))


def listed(t):
    """The ids of the open sessions."""
    return [each["id"] for each in json.loads(
        t.appliance.command("session", "list", "--json", "--config", t.appliance.config).stdout)["sessions"]]


@attempt("B79", "a worker that shares or takes over another one's port is never taken for it",
         hooks=("output",), not_here=LOCAL_ONLY, unprotected=False)
def taken_over(t):
    issuer = t.appliance.issuer
    workers = {name: Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/local-bot/{name}") for name in ("acme", "beta")}

    def make():
        import os
        for worker in workers.values():
            os.makedirs(f"/sys/fs/cgroup{worker.cgroup}", exist_ok=True)
    t.lab.agent.call(make)
    keep = Gate()
    port = 43000 + t.place.family * 10
    shared, rebound, tcp = target_of(t, "acme", "udp"), target_of(t, "acme", "udp"), target_of(t, "acme")
    first, second = Gate(), Gate()

    def datagrams(local):
        family = socket.AF_INET6 if t.place.family == 6 else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.settimeout(20)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("", local))
        return made

    def speak(made, target, data):
        made.connect((target.address, target.port))
        made.send(data)
        try:
            made.recv(4096)
            return "answered"
        except OSError as error:
            return streams.ending_of(error).word

    def owner():
        one, two = datagrams(port), datagrams(port + 1)
        said = [speak(each, target, quic.initial(quic.crypto(hello.handshake(target.name))))
                for each, target in ((one, shared), (two, rebound))]
        stream = Stream(tcp.address, tcp.port, connect=False)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stream.socket.bind(("", port + 2))
        stream.socket.connect(stream.peer)
        echoed(stream, hello.client_hello(tcp.name))
        two.close()
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
        first.open()
        second.wait()
        return said

    def intruder():
        first.wait()
        made = datagrams(port)
        words = {"shared": speak(made, shared, SHORT), "rebound": speak(datagrams(port + 1), rebound, SHORT)}
        try:
            stream = Stream(tcp.address, tcp.port, connect=False)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.socket.bind(("", port + 2))
            stream.socket.connect(stream.peer)
            echoed(stream, hello.client_hello(tcp.name))
            words["tcp"] = "echoed"
        except OSError as error:
            words["tcp"] = streams.ending_of(error).word
        second.open()
        return words

    tasks = [t.place.start(function, actor=workers[name]) for name, function in (("acme", lambda: (keep.wait(), owner())[1]),
                                                                               ("beta", intruder))]
    sessions = t.lab.agent.call(lambda: {
        name: customers.open_session(issuer.token(name, port=port), agent="local-bot", cgroup=worker.cgroup)
        for name, worker in workers.items()})
    keep.open()
    said, words = [task.result() for task in tasks]
    t.expect(said == ["answered"] * 2, f"the owner saw {said}")
    for what, target in {"shared": shared, "rebound": rebound, "tcp": tcp}.items():
        t.title_of(what)
        t.expect(words[what] not in ("answered", "echoed"), f"the intruder passed: {words[what]}")
        t.expect(t.payload(target)[1].count(SHORT) == 0, "the intruder's bytes arrived")
        for record in t.records(target):
            mine = record.get("SALLYPORT_CUSTOMER") in (None, "acme") if record["SALLYPORT_VERDICT"] == "allow" else True
            t.expect(mine, f"a record of the intruder allows: {record['MESSAGE']}")
    t.expect(len(sessions) == 2, "no sessions")
