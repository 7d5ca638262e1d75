"""Resolvers of every kind that an agent may have, and one agent that asks as much as it can."""

import socket
import struct

from lab import hello, servers, streams, topology
from lab.appliance import CGROUP_AGENT_UID
from lab.catalogue import Broken, attempt
from lab.namespaces import Actor
from lab.peers import Peer, program
from lab.resolvers import LOOPBACK, STUB, Asking, HostResolver
from lab.streams import Stream
from lab.waiting import PATIENCE, Deadline

from .fetching import astray
from .names import A, AAAA, bound, greet, reaches

WAYS = (("UDP", "ring", ""), ("TCP", "ring", "use-vc"), ("an answer that is cut, then TCP", "big", ""), ("a long answer over TCP", "big", "use-vc"))
"""How the C library asks: what it is told, and for which kind of name."""


def fetched(t, name):
    """A name is looked up as every program does, and fetched at the address of the answer."""
    target = t.target("https", name=name)
    done = t.place.command("curl", "-vsS", f"-{t.place.family}", "--max-time", "40", "--cacert", t.lab.web.authority,
                           f"https://{target.authority}/")
    if f"host={name} " in done.stdout:
        return
    said = f"curl exit {done.returncode}: {[line for line in done.stdout.splitlines() if 'fail' in line] or done.stdout[-300:]}"
    if t.unprotected:
        raise Broken(said)
    refusals = t.wait(lambda: t.lab.journal.records(target.since, VERDICT="deny", PORT=target.port), f"a record of why it was not answered; {said}")
    raise Broken(f"{said}; refused: {[r.get('MESSAGE') for r in refusals]}")


def fetched_all_ways(t, asking):
    """The same over UDP and TCP, with short and long answers; elsewhere the names are refused."""
    names = []
    for what, kind, options in WAYS:
        t.title_of(what)
        asking.over(options)
        names.append(f"{kind}-{t.lab.token()}.bound.test")
        fetched(t, names[-1])
    t.title_of("elsewhere")
    astray(t, *names)


@attempt("resolvers", "dnsmasq on this host, on the loopback and on the bridge: what it answers binds, over UDP and TCP")
def on_host(t):
    address = (LOOPBACK if t.place.hook == "output" else topology.AGENT_HOST_FOR_GUEST)[t.place.family]
    with HostResolver(t.lab, address).dnsmasq(), Asking(t, address) as asking:
        fetched_all_ways(t, asking)


@attempt("resolvers", "the stub of systemd-resolved: what it answers binds, over UDP and TCP", hooks=("output",),
         not_here="a stub on the loopback serves its own host alone")
def resolved(t):
    with HostResolver(t.lab, STUB).resolved(), Asking(t, STUB) as asking:
        fetched_all_ways(t, asking)


@attempt("resolvers", "dnsmasq on the network: what it answers binds, over UDP and TCP")
def on_network(t):
    address = t.place.at(topology.RESOLVER)
    with Peer(t) as peer:
        peer.start(program("dnsmasq"), "--conf-file=/dev/null", "--keep-in-foreground", "--pid-file", f"--port={peer.port}", "--no-resolv",
                   "--no-hosts", f"--server={topology.outside(topology.OTHER_RESOLVER, 4)}")
        for transport in ("udp", "tcp"):
            peer.lead("ip6" if t.place.family == 6 else "ip", "daddr", address, transport, "dport", 53)
        with Asking(t, address) as asking:
            fetched_all_ways(t, asking)


@attempt("resolvers", "dig over TCP alone, by TCP behind an answer that is cut, and over UDP with an answer in fragments")
def with_dig(t):
    client, kind = program("dig"), "A" if t.place.family == 4 else "AAAA"
    places = {}
    for word, *over in (("ring", "+tcp"), ("big", "+tcp"), ("big", "+notcp", "+bufsize=512"), ("wide", "+notcp", "+ignore", "+bufsize=4096")):
        t.title_of(f"{word} {' '.join(over)}")
        name = f"{word}-{t.lab.token()}.bound.test"
        done = t.place.command(client, "+short", "+time=10", "+tries=2", *over, f"@{t.place.at(topology.RESOLVER)}", kind, name)
        found = [line for line in done.stdout.split() if not line.endswith(".")]
        t.expect(len(found) >= 2, f"dig exit {done.returncode}: {done.stdout[-300:]}")
        places[name] = found[-2:]
    led(t, places)
    astray(t, *places)


@attempt("resolvers", "questions that are pipelined over one TCP connection: each answer binds, however it is cut")
def pipelined(t):
    kind = A if t.place.family == 4 else AAAA
    names = [f"{word}-{t.lab.token()}.bound.test" for word in ("ring", "big") for _ in range(10)]
    address = t.place.at(topology.RESOLVER)

    def ask():
        queries = [servers.question(name, kind, number) for number, name in enumerate(names, 1)]
        stream = Stream(address, 53)
        stream.send(b"".join(struct.pack("!H", len(q)) + q for q in queries))
        received, replies = b"", []
        while len(replies) < len(queries):
            part = stream.receive()
            if not part:
                break
            received += part
            while len(received) > 2 and len(received) >= 2 + struct.unpack("!H", received[:2])[0]:
                length = struct.unpack("!H", received[:2])[0]
                replies.append(received[2:2 + length])
                received = received[2 + length:]
        return replies

    replies = t.place.call(ask)
    t.expect(len(replies) == len(names), f"{len(replies)} of {len(names)} questions were answered")
    led(t, {name: [servers.last_address(reply, kind)] for name, reply in list(zip(names, replies))[::6]})
    astray(t, names[0])


def led(t, places):
    """Names are let in at these addresses of theirs."""
    targets = []
    for name, addresses in places.items():
        for address in addresses:
            targets.append(t.target("echo", name=name))
            targets[-1].address = address
    for target, ending in [(target, greet(t, target)) for target in targets]:
        reaches(t, target, ending)


class Flooder:
    """Another agent of the same host: in its own cgroup, or behind an interface and address of its own."""

    def __init__(self, t):
        local = t.place.hook == "output"
        self.agent = "other-bot" if local else "source-bot"
        self.actor = Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/other-bot") if local else None
        self.source = None if local else topology.GUEST_BY_SOURCE[t.place.family]
        self._t, self._resolver = t, t.place.at(topology.RESOLVER)

    def greet(self, target):
        """Says which name is meant."""
        return self._t.say(target, hello.client_hello(target.name), answered=True, actor=self.actor, source=self.source)

    def ask(self, names, kind=A):
        """Asks for names, some at a time, each until it is answered."""
        return self._t.place.call(lambda: self._ask(names, kind), self.actor)

    def _socket(self):
        asker = socket.socket(socket.AF_INET6 if ":" in self._resolver else socket.AF_INET, socket.SOCK_DGRAM)
        if self.source:
            asker.bind((self.source, 0))
        asker.connect((self._resolver, 53))
        return asker

    def _ask(self, names, kind):
        waiting, answered, left = {}, 0, list(enumerate(names, 1))[::-1]
        with self._socket() as asker:
            while left or waiting:
                while left and len(waiting) < 32:
                    number, name = left.pop()
                    waiting[number] = servers.question(name, kind, number)
                    asker.send(waiting[number])
                if not streams.readable(asker, 5):
                    for query in waiting.values():
                        asker.send(query)
                    continue
                reply = asker.recv(4096)
                if waiting.pop(struct.unpack_from("!H", reply)[0], None):
                    answered += 1
        return answered

    def ask_in_vain(self, token, count):
        """Asks for names that nobody answers, from several sockets, and then on each for one that is."""
        def run():
            for number in range(8):
                with self._socket() as asker:
                    for each in range(count // 8):
                        asker.send(servers.question(f"mute-{number}x{each}x{token}.bound.test", A, each + 1))
                    # The resolver may be too busy to take it in at once.
                    deadline, answered = Deadline(), False
                    while not answered:
                        asker.send(servers.question(f"last{number}.{token}.bound.test", A, 0xFFFF))
                        answered = streams.readable(asker, 0.2)
                        if deadline.expired():
                            return f"no answer on socket {number}"
            return None
        return self._t.place.call(run, self.actor)


@attempt("B26", "an agent that asks for more names than are kept loses its own oldest ones, and no other agent any", unprotected=False)
def flooded(t):
    kind = A if t.place.family == 4 else AAAA
    flooder, mine = Flooder(t), bound(t)
    t.expect(t.place.call(lambda: resolved_by(t.place.at(topology.RESOLVER), mine.name, kind)), "no answer")
    oldest = bound(t)
    flooder.ask([oldest.name], kind)
    reaches(t, oldest, flooder.greet(oldest), agent=flooder.agent)
    t.title_of("after the flood")
    # Twenty addresses each: more pairs than the 8192 that are kept.
    names = [f"many-{number}x{t.lab.token()}.bound.test" for number in range(450)]
    t.expect(flooder.ask(names) == len(names), "not every question was answered")
    reaches(t, mine, greet(t, mine))
    again = t.target("echo", name=oldest.name)
    t.refused(again, flooder.greet(again), "name_not_at_ip", host=oldest.name, agent=flooder.agent)
    t.title_of("the newest name of the one who floods")
    newest = bound(t)
    flooder.ask([newest.name], kind)
    reaches(t, newest, flooder.greet(newest), agent=flooder.agent)
    t.title_of("where another agent was led")
    same = t.target("echo", name=newest.name)
    t.refused(same, greet(t, same), "name_not_at_ip", host=newest.name)


def resolved_by(address, name, kind):
    """What a resolver answers over UDP. Runs as the agent."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((address, 53))
        asker.send(servers.question(name, kind))
        return asker.recv(4096) if streams.readable(asker, PATIENCE * 2) else b""


@attempt("B26", "questions that nobody answers push out no question of another agent", once=True, unprotected=False)
def flooded_with_questions(t):
    kind = A if t.place.family == 4 else AAAA
    flooder, token, address = Flooder(t), t.lab.token(), t.place.at(topology.RESOLVER)
    name = f"held-{token}.bound.test"
    target = t.target("echo", name=name)
    task = t.place.start(lambda: resolved_by(address, name, kind))
    t.wait(lambda: t.lab.journal.records(target.since, VERDICT="allow", STAGE="resolve", HOST=name), "a record of the question")
    wrong = flooder.ask_in_vain(token, 4000)
    t.expect(wrong is None, wrong)
    t.lab.net.call(lambda: resolved_by(address, f"free-{token}.bound.test", kind))
    reply = task.result(PATIENCE * 3)
    t.expect(reply, "the agent did not get the answer that it waited for")
    led(t, {name: [servers.last_address(reply, kind)]})
