"""B46, B49, B50: DNS as a way out: to other servers, inside questions, and inside TLS and QUIC."""

import re
import struct

from lab import hello, quic as packets, servers, streams, topology
from lab.catalogue import attempt
from lab.shipped import shipped

from . import quic
from .layers import ask, question_refused
from .names import A, AAAA, look_up
from .network import send_datagram

NULL, TXT, MX, SRV, ANY = 10, 16, 15, 33, 255
DOT = servers.DOT


@attempt("B46", "a question to any other server is refused, UDP and TCP")
def other_resolver(t):
    for tcp, last in ((False, topology.OTHER_RESOLVER), (True, topology.ATTACKER)):
        t.title_of("TCP" if tcp else "UDP")
        address = t.place.at(last)
        label = t.lab.token()
        ending = ask(t, address, servers.question(f"{label}.allowed.test"), tcp=tcp)
        transport = "tcp" if tcp else "udp"
        _, _, kept = t.lab.wire.payload(address, 53, transport)
        if t.unprotected:
            t.expect(label.encode() in kept, f"unprotected, but the question did not arrive: {ending}")
            continue
        t.expect(label.encode() not in kept, f"the question arrived at a server that is not configured: {ending}")
        t.expect(ending.is_refusal, f"the client was not told: {ending}")
        t.wait(lambda: t.lab.journal.records(0, ADDRESS=address, PORT=53, VERDICT="deny", TRANSPORT=transport), "a record")


@attempt("B46", "DNS at other ports is refused, UDP and TCP; at the resolver's own address too")
def other_port(t):
    with t.together() as later:
        for last in (topology.SERVER, topology.RESOLVER, topology.DIRECT):
            for tcp in (False, True):
                t.title_of(f"{'TCP' if tcp else 'UDP'} to {t.place.at(last)}")
                target = t.target("echo" if tcp else "udp", last=last)
                query = servers.question(target.name)
                if tcp:
                    ending = t.say(target, struct.pack("!H", len(query)) + query)
                else:
                    ending = t.place.call(lambda: send_datagram(target.address, target.port, query, 20))
                later.refused(target, ending, "unknown_protocol", "policy")


@attempt("B46", "what is no DNS does not leave for the resolver")
def no_question(t):
    address = t.place.at(topology.RESOLVER)
    label = t.lab.token()
    data = hello.client_hello(f"{label}.allowed.test")
    mark = t.lab.journal.mark() if t.lab.journal else 0
    # A resolver waits for the rest of what it takes for a long message.
    ending = t.place.call(lambda: streams.converse(
        lambda: streams.Stream(address, 53), data, enough=lambda received: received or t.unprotected))
    _, _, kept = t.lab.wire.payload(address, 53, "tcp")
    if t.unprotected:
        t.expect(label.encode() in kept, f"unprotected, but it did not arrive: {ending}")
        return
    t.expect(label.encode() not in kept and ending.is_refusal, f"it arrived, or nobody was told: {ending}")
    t.wait(lambda: t.lab.journal.records(mark, ADDRESS=address, PORT=53, VERDICT="deny", TRANSPORT="tcp"), "a record")


class Question:
    """A question of the agent's under the shipped policy."""

    def __init__(self, t, name, kind, tcp=False):
        self.t, self.name, self.transport = t, name, "tcp" if tcp else "udp"
        self.address = t.place.at(topology.RESOLVER)
        self.mark = t.lab.journal.mark() if t.lab.journal else 0
        self.variant = t.variant
        self.ending = ask(t, self.address, servers.question(name, kind), tcp=tcp)
        if self.ending.word == "silence":
            # As a resolver library does: a datagram may be lost.
            self.ending = ask(t, self.address, servers.question(name, kind), tcp=tcp)

    def answered(self):
        """It was answered."""
        self.t.expect(self.ending.received and not self.ending.is_refusal, f"no answer to {self.name}: {self.ending}")

    def refused(self, rule):
        """It was refused by this rule; returns the record."""
        if self.t.unprotected:
            self.answered()
            return None
        self.t.title_of(self.variant)
        label = self.name.split(".")[0]
        question_refused(self.t, self.address, label.encode(), self.ending, self.transport, "policy")
        record = [r for r in self.t.lab.journal.records(self.mark, VERDICT="deny", PORT=53, TRANSPORT=self.transport)
                  if r.get("SALLYPORT_QUESTION", "").startswith(label)][0]
        self.t.expect(record.get("SALLYPORT_RULE") == rule, f"refused by another rule: {record}")
        return record


@attempt("B49", "tunnels in questions under an allowed suffix: refused by type and by the shape of their labels under the shipped policy")
def tunnel(t):
    groups = {"web": {"hosts": {"*.allowed.test": None}}}
    address_kind = A if t.place.family == 4 else AAAA
    base32, hexadecimal = "mzxw6ytboi4dknb5gq3tmobzhe2dcnjrgu", "0f1e2d3c4b5a69788796a5b4c3d2e1f0zy"
    kinds = {"TXT": TXT, "NULL": NULL, "MX": MX, "SRV": SRV, "ANY": ANY, "a private type": 65399}
    shapes = {"a label of 63": lambda: f"{t.lab.token()}{'a' * 63}"[:63], "base32": lambda: t.lab.token() + base32,
              "hexadecimal": lambda: t.lab.token() + hexadecimal, "base32 further down": lambda: f"{t.lab.token()}.{base32}"}
    asked = []
    with shipped(t, groups, questions={"names_per_minute": 100000}):
        for tcp in (False, True):
            over = "TCP" if tcp else "UDP"

            def put(what, name, kind, rule):
                t.title_of(f"{over}, {what}")
                asked.append((Question(t, name, kind, tcp), rule))

            for word in ("", "-station-national-information"):
                put("an ordinary name", f"{t.lab.token()}{word}.allowed.test", address_kind, None)
            for what, kind in kinds.items():
                put(what, f"{t.lab.token()}.allowed.test", kind, "question-type")
            for what, make in shapes.items():
                put(what, f"{make()}.allowed.test", address_kind, "question-shape")
            put("a suffix that is not listed", f"{t.lab.token()}.refused.test", address_kind, "question")
        for question, rule in asked:
            if rule is None:
                question.answered()
            else:
                question.refused(rule)


@attempt("B49", "many distinct names within a minute are refused by their rate under the shipped policy; few names asked often are not")
def hurried(t):
    groups = {"web": {"hosts": {"*.allowed.test": None}}}
    kind = A if t.place.family == 4 else AAAA
    address = t.place.at(topology.RESOLVER)
    if t.unprotected:
        for _ in range(40):
            Question(t, f"{t.lab.token()}.allowed.test", kind).answered()
        return
    with shipped(t, groups, questions={"names_per_minute": -1}) as policy:
        # The reason says how many it counts of this agent, with those of other tests.
        record = Question(t, f"{t.lab.token()}.allowed.test", kind).refused("question-rate")
        before = int(re.search(r"asked for (\d+) distinct", record["SALLYPORT_POLICY_REASON"])[1])
        policy.change(groups, questions={"names_per_minute": before + 20})
        t.title_of("the same name again and again")
        name = f"{t.lab.token()}.allowed.test"
        for _ in range(40):
            Question(t, name, kind).answered()
        t.title_of("other names")
        answered = 0
        while answered < before + 40:
            label = t.lab.token()
            ending = ask(t, address, servers.question(f"{label}.allowed.test", kind), tcp=False)
            if ending.is_refusal:
                break
            answered += 1
        t.expect(answered < before + 40, f"{answered} names were answered")
        t.expect(answered >= 10, f"refused after {answered} names")
        question_refused(t, address, label.encode(), ending, "udp", "policy")


def over_tls(name, protocol):
    """A ClientHello that says which protocol is spoken inside."""
    alpn = hello.extension(16, hello.vector(2, hello.vector(1, protocol)))
    return hello.handshake(extensions=[hello.server_name(name), *[e for e in hello.ordinary() if e[:2] != b"\0\x10"], alpn])


def speak(t, last, port, name, protocol, over_quic):
    """Speaks to a resolver in TLS or QUIC; a target for it, and how that ended."""
    target = t.target("udp" if over_quic else "echo", last=last, name=name)
    target.port = port or target.port
    message = over_tls(name, protocol)
    if over_quic:
        return target, quic.send(t, target, packets.initial(packets.crypto(message)))
    return target, t.say(target, hello.record(message), answered=True)


WAYS = {"DoT": (DOT, b"dot", False), "DoQ": (DOT, b"doq", True), "DoH": (None, b"h2", False), "DoH3": (None, b"h3", True)}


@attempt("B50", "DoT, DoQ, DoH and DoH3, to resolvers that are configured or not: refused by name, unless policy allows the name")
def encrypted(t):
    def told(target, protocol):
        t.wait(lambda: [r for r in t.records(target, "allow") if r.get("SALLYPORT_HOST") == target.name
                        and r.get("SALLYPORT_ALPN") == protocol.decode()], "a record with the protocol inside")

    with t.together() as later:
        for what, (port, protocol, over_quic) in WAYS.items():
            for last in (topology.RESOLVER, topology.OTHER_RESOLVER):
                t.title_of(f"{what} to {t.place.at(last)}")
                name = f"{t.lab.token()}.refused.test"
                target, ending = speak(t, last, port, name, protocol, over_quic)
                later.refused(target, ending, "policy", host=name, exactly=None)
            t.title_of(f"{what}, allowed by name")
            name = f"{t.lab.token()}.allowed.test"
            target, ending = speak(t, topology.SERVER, port, name, protocol, over_quic)
            later.passed(target, ending)
            if not t.unprotected:
                later.then(told, target, protocol)


@attempt("B50", "encrypted DNS under the shipped policy: no port, no transport and no name for it, unless a group lists them",
         unprotected=False)
def encrypted_shipped(t):
    with shipped(t, {"web": {"hosts": {"*.bound.test": None}}}) as policy:
        with t.together() as later:
            for what, (port, protocol, over_quic) in WAYS.items():
                t.title_of(what)
                name = f"{t.lab.token()}.{'refused' if what == 'DoH' else 'bound'}.test"
                last = topology.OTHER_RESOLVER if over_quic and port else topology.SERVER
                # What is refused by its name only may connect, since another name leads there.
                look_up(t, f"{t.lab.token()}.bound.test" if what == "DoH" else name)
                target, ending = speak(t, last, port or 443, name, protocol, over_quic)
                later.then(lambda target, ending, rule, secret: policy.refused(target, ending, rule, secret=secret, exactly=None),
                           target, ending, "transport" if over_quic else "port" if port else "host",
                           None if over_quic else name.encode())
        policy.change({"dot": {"ports": [DOT], "protocols": ["tls"], "hosts": {"*.bound.test": None}}})
        t.title_of("DoT, listed")
        name = f"{t.lab.token()}.bound.test"
        t.expect(look_up(t, name).received, "no answer")
        target, ending = speak(t, topology.SERVER, DOT, name, b"dot", False)
        t.passed(target, ending)
