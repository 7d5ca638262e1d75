"""Name and place: an allowed name counts where the agent's own DNS answers lead."""

import struct

from lab import hello, servers, topology
from lab.catalogue import attempt
from lab.streams import request

from .layers import ask

A, AAAA, HTTPS = 1, 28, 65


def look_up(t, name, kind=None, tcp=False, last=topology.RESOLVER):
    """Asks a resolver as the agent; returns how that ended."""
    kind = kind or (A if t.place.family == 4 else AAAA)
    return ask(t, t.place.at(last), servers.question(name, kind), tcp=tcp)


def bound(t, prefix="", **options):
    """A destination whose name is allowed where it leads."""
    token = t.lab.token()
    return t.target("echo", name=f"{prefix}{token}.bound.test", **options)


def greet(t, target, host=None):
    """Says which name is meant, in a ClientHello."""
    return t.say(target, hello.client_hello(host or target.name), answered=True)


def reaches(t, target, ending, received=b"\x16\x03", agent=None):
    """The attempt passed, and the record says so."""
    t.passed(target, ending, received=received)
    if not t.unprotected:
        t.record(target, "allow", "allowed", agent=agent)


@attempt("B16", "an allowed name counts where the agent was led to by its own answers, and nowhere else")
def name_elsewhere(t):
    t.title_of("never looked up")
    target = bound(t)
    t.refused(target, greet(t, target), "name_not_at_ip", host=target.name)
    t.title_of("looked up")
    target = bound(t)
    t.expect(look_up(t, target.name).received, "no answer")
    reaches(t, target, greet(t, target))
    t.title_of("at the attacker's address")
    target = bound(t, last=topology.ATTACKER)
    t.expect(look_up(t, target.name).received, "no answer")
    t.refused(target, greet(t, target), "name_not_at_ip", host=target.name)


@attempt("B17", "the same with the Host of a request")
def host_elsewhere(t):
    for last, is_led in ((topology.SERVER, True), (topology.ATTACKER, False)):
        target = bound(t, last=last)
        t.expect(look_up(t, target.name).received, "no answer")
        ending = t.say(target, request(target.authority), answered=True)
        if is_led:
            reaches(t, target, ending, b"GET /")
        else:
            t.refused(target, ending, "name_not_at_ip", host=target.name)


@attempt("B22", "a chain of aliases and answers that may not be kept lead there too, over UDP and TCP")
def chain(t):
    for tcp in (False, True):
        t.title_of("TCP" if tcp else "UDP")
        target = bound(t, "chain-")
        t.expect(b"elsewhere" in look_up(t, target.name, tcp=tcp).received, "no alias in the answer")
        for _ in range(3):
            reaches(t, target, greet(t, target))


@attempt("B25", "another name that leads to the same address lets nobody in under an allowed one")
def widened(t):
    target = bound(t)
    t.expect(look_up(t, f"{t.lab.token()}.allowed.test").received, "no answer")
    t.expect(look_up(t, f"chain-{t.lab.token()}.bound.test").received, "no answer")
    t.refused(target, greet(t, target), "name_not_at_ip", host=target.name)


@attempt("B29", "an answer with keys of Encrypted ClientHello arrives without them; the addresses in it count")
def keys(t):
    keys = bytes(range(16))
    target = bound(t, "keys-")
    ending = look_up(t, target.name, HTTPS)
    if t.unprotected:
        t.expect(keys in ending.received, f"no keys in the answer: {ending}")
        return
    t.expect(len(ending.received) > 12 and keys not in ending.received, f"the keys arrived: {ending}")
    t.expect(struct.unpack_from("!HH", ending.received, 4) == (1, 0), f"not a plain empty answer: {ending.received!r}")
    if t.place.family == 4:
        reaches(t, target, greet(t, target))
    t.title_of("TCP")
    ending = look_up(t, f"keys-{t.lab.token()}.bound.test", HTTPS, tcp=True)
    t.expect(keys not in ending.received and ending.is_refusal, f"the keys arrived: {ending}")
    t.wait(lambda: t.lab.journal.records(0, VERDICT="deny", REASON="encrypted_client_hello", PORT=53), "a record of the answer")


@attempt("B29", "the canary name of encrypted DNS does not exist for agents, and nobody is asked for it")
def canary(t):
    address, label = t.place.at(topology.RESOLVER), b"use-application-dns"
    for tcp in (False, True):
        transport = "tcp" if tcp else "udp"
        t.title_of(transport)
        ending = look_up(t, "use-application-dns.net", tcp=tcp)
        answer = ending.received[2:] if tcp else ending.received
        _, _, kept = t.lab.wire.payload(address, 53, transport)
        t.expect((label in kept) == t.unprotected, f"the question {'did not arrive' if t.unprotected else 'arrived'}: {ending}")
        t.expect(len(answer) > 12 and answer[3] & 15 == 3, f"no NXDOMAIN: {ending}")


@attempt("B52", "an answer under another id, about another name or of another server leads nowhere", unprotected=False)
def forged(t):
    for prefix in ("forged-", "other-"):
        t.title_of(prefix)
        target = bound(t, prefix)
        query = servers.question(target.name, A if t.place.family == 4 else AAAA)
        ending = t.place.call(lambda: silent(t.place.at(topology.RESOLVER), query))
        t.expect(not ending, f"the agent got the answer {ending!r}")
        t.refused(target, greet(t, target), "name_not_at_ip", host=target.name)


def silent(address, query):
    """What comes back to a question within a while in which an honest answer comes many times. Runs as the agent."""
    import socket
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2)
        asker.connect((address, 53))
        asker.send(query)
        # An honest question behind it: once that is answered, the forged answer had its time.
        asker.send(servers.question("honest.bound.test", identifier=0x4242))
        while True:
            received = asker.recv(4096)
            if received[:2] == b"\x42\x42":
                return b""
            return received


@attempt("names", "what was answered is known after the daemon was restarted", unprotected=False)
def restarted(t):
    target = bound(t)
    t.expect(look_up(t, target.name).received, "no answer")
    t.appliance.restart()
    reaches(t, target, greet(t, target))


@attempt("names", "bindings of the configuration and of a hosts file count as answers do; without watching no name is bound", once=True,
         unprotected=False)
def configured(t):
    hosts = t.lab.root / "hosts"
    every = [t.lab.place(hook, family) for hook in ("output", "forward") for family in (4, 6)]
    everywhere = [topology.outside(topology.SERVER, family) for family in (4, 6)]
    fixed, listed, added = (f"{t.lab.token()}.bound.test" for _ in range(3))

    def configure(**changes):
        t.appliance.configure(**changes)
        t.appliance.reload("policy_loaded")

    def here(*expected):
        """At each place: whether a name is let in at an address."""
        endings = []
        for place in every:
            t.place = place
            for name, last, is_led in expected:
                target = t.target("echo", name=name, last=last)
                endings.append((place, target, greet(t, target), is_led))
        for place, target, ending, is_led in endings:
            t.place = place
            t.title_of(f"{target.name} at {target.address}, {place}")
            if is_led:
                reaches(t, target, ending)
            else:
                t.refused(target, ending, "name_not_at_ip", host=target.name)

    hosts.write_text("# a comment\n" + "".join(f"{address} {listed.upper()} alias\n\n" for address in everywhere))
    try:
        configure(bindings=[{"host": fixed, "addresses": everywhere}], dns={"hosts_file": str(hosts)})
        here((fixed, topology.SERVER, True), (listed, topology.SERVER, True), (added, topology.SERVER, False),
             (fixed, topology.ATTACKER, False), (listed, topology.ATTACKER, False))
        # Another content of the file, as it is when the configuration is read again.
        hosts.write_text("".join(f"{address} {added}\n" for address in everywhere))
        t.appliance.reload("policy_loaded")
        here((fixed, topology.SERVER, True), (listed, topology.SERVER, False), (added, topology.SERVER, True))
        configure(dns=False)
        for t.place in every:
            t.title_of(f"not watched, {t.place}")
            blind = bound(t)
            t.expect(look_up(t, blind.name).received, "no answer")
            # The lab's policy wants the name to lead there, and nothing says so.
            t.refused(blind, greet(t, blind), "policy", host=blind.name)
    finally:
        configure()
