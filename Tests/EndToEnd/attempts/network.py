"""B77, B78, B82, DNS to the resolver, and UDP that is nothing known."""

import os
import socket
import struct

from lab import hello, rawtcp, servers, streams, topology
from lab.appliance import CGROUP_AGENT_UID, LISTENED
from lab.catalogue import attempt
from lab.drills import Sweep
from lab.lab import other_local_actors
from lab.namespaces import Actor, Gate
from lab.streams import Stream, request
from lab.waiting import until

SECRET = b"carried out"


def family_of(address):
    """The address family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def send_datagram(address, port, payload, answer_within=None):
    """One datagram from a connected socket. Returns how it ended: `open` with the answer, an error, or `silence`."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sender:
        try:
            sender.connect((address, port))
            sender.send(payload)
            if answer_within is None:
                return streams.Ending("sent")
            if not streams.readable(sender, answer_within):
                return streams.Ending("silence")
            return streams.Ending("open", sender.recv(1 << 16))
        except OSError as error:
            return streams.ending_of(error)


@attempt("DNS", "questions to the configured resolver are answered, UDP and TCP")
def resolver(t):
    for kind in (1, 28):
        query = servers.question(f"{t.lab.token()}.allowed.test", kind)
        ending = t.place.call(lambda: send_datagram(t.place.at(topology.RESOLVER), 53, query, 20))
        t.expect(ending.received[:2] == query[:2], f"no answer over UDP: {ending}")
    query = servers.question(f"{t.lab.token()}.allowed.test")
    framed = struct.pack("!H", len(query)) + query
    ending = t.place.call(lambda: streams.converse(
        lambda: Stream(t.place.at(topology.RESOLVER), 53), framed, enough=lambda got: len(got) > 14))
    t.expect(ending.received[2:4] == query[:2], f"no answer over TCP: {ending}")


@attempt("UDP", "datagrams to anywhere else are refused, and the program is told")
def other_udp(t):
    target = t.target("udp")
    ending = t.place.call(lambda: send_datagram(target.address, target.port, SECRET, 20))
    t.refused(target, ending, "unknown_protocol", "policy")


@attempt("UDP", "a batch of datagrams (GSO) is refused as a whole")
def udp_batch(t):
    target = t.target("udp")

    def send():
        with socket.socket(family_of(target.address), socket.SOCK_DGRAM) as sender:
            try:
                sender.setsockopt(socket.IPPROTO_UDP, 103, 100)  # UDP_SEGMENT
                sender.connect((target.address, target.port))
                sender.send(SECRET.ljust(100) * 5)
                return streams.Ending("open" if streams.readable(sender, 20) and sender.recv(2000) else "silence")
            except OSError as error:
                return streams.ending_of(error)

    t.refused(target, t.place.call(send), "unknown_protocol", "policy", exactly=None)


@attempt("blocked", "an address that policy blocks is refused at the first packet")
def blocked(t):
    target = t.target("echo", last=topology.BLOCKED)
    ending = t.say(target, hello.client_hello(target.name))
    record = t.refused(target, ending, "policy")
    if record:
        t.expect(ending.word in ("refused", "unreachable"), f"the connection was established first: {ending}")
        t.expect(t.lab.wire.seen(target.address, target.port) == 0, "the SYN arrived")
        t.expect(record.get("SALLYPORT_STAGE") == "connect", f"stage {record.get('SALLYPORT_STAGE')}")


class Listener:
    """An agent that listens on a TCP or UDP port and answers at will."""

    def __init__(self, place, port, datagrams=False):
        self._ready, self._stop = Gate(), Gate()
        self._task = place.start(lambda: self._serve(place.source, port, datagrams))
        self._ready.wait()

    def _serve(self, address, port, datagrams):
        if datagrams:
            service = socket.socket(family_of(address), socket.SOCK_DGRAM)
            service.bind((address, port))
        else:
            service = socket.create_server((address, port), family=family_of(address))
        self._ready.open()
        seen = 0
        while service in streams.readable_any([service, self._stop.descriptor], 60):
            seen += 1
            try:
                if datagrams:
                    payload, peer = service.recvfrom(4096)
                    service.sendto(SECRET + payload, peer)
                else:
                    connection, _ = service.accept()
                    connection.sendall(SECRET)
                    connection.close()
            except OSError:
                pass  # refused: that is what is wanted
        return seen

    def seen(self):
        """How many connections or datagrams the agent got."""
        self._stop.open()
        return self._task.result()


def knock(t, port, last):
    """An outsider connects to the agent at a port, from one of the outside addresses."""
    return t.lab.net.call(lambda: streams.converse(
        lambda: Stream(t.place.source, port, source=t.place.at(last)), enough=lambda got: got))


@attempt("B77", "an outsider who connects to a listening agent is refused at once, unless listed")
def inbound(t):
    for what, port, last, listed in (
        ("listed", LISTENED, topology.SERVER, True), ("another source", LISTENED, topology.ATTACKER, False),
        ("another port", LISTENED + 1, topology.SERVER, False),
    ):
        t.title_of(what)
        mark = t.lab.journal.mark() if t.lab.journal else 0
        listener = Listener(t.place, port)
        ending = knock(t, port, last)
        listener.seen()
        if listed or t.unprotected:
            t.expect(ending.received == SECRET, f"the outsider should have been answered: {ending}")
            if not t.unprotected:
                t.wait(lambda: t.lab.journal.records(mark, VERDICT="allow", PORT=port), "a record of what was listed")
        else:
            t.expect(not ending.received, f"the agent answered: {ending}")
            t.expect(ending.is_refusal, f"the outsider was not told at once: {ending}")
            # Before the agent has answered, the rules refuse without asking; the daemon's own refusals are recorded.
            t.expect(not t.lab.journal.records(mark, VERDICT="allow"), "an allowing record")


@attempt("B77", "an outsider's datagram to a listening agent: the answer does not leave, unless listed")
def inbound_udp(t):
    for what, port, last, listed in (
        ("listed", LISTENED, topology.SERVER, True), ("another source", LISTENED, topology.ATTACKER, False),
        ("another port", LISTENED + 1, topology.SERVER, False),
    ):
        t.title_of(what)
        target = t.target("udp", last=last)
        listener = Listener(t.place, port, datagrams=True)
        t.lab.recorder.send_datagram(target.port, b"knock", t.place.source, port, source=t.place.at(last))
        answered = lambda: t.payload(target)[0] > 0
        if listed or t.unprotected:
            t.wait(answered, "the agent's answer")
            listener.seen()
        else:
            # A second datagram, of a listed flow, shows that the first one has had its turn.
            other = t.target("udp")
            second = Listener(t.place, LISTENED, datagrams=True) if port != LISTENED else listener
            t.lab.recorder.send_datagram(other.port, b"knock", t.place.source, LISTENED, source=t.place.at(topology.SERVER))
            t.wait(lambda: t.payload(other)[0] > 0, "the listed answer")
            listener.seen()
            if second is not listener:
                second.seen()
            t.expect(not answered(), f"the agent's answer left: {t.payload(target)[1]!r}")


@attempt("listener", "at loopback an agent reaches what it listens at itself, and not what others do", hooks=("output",), unprotected=False)
def own_listener(t):
    loopback = {4: "127.0.0.1", 6: "::1"}[t.place.family]
    others = other_local_actors(t.lab)
    asked = request("own-listener.test")
    for whose, actor, port in (("its own", t.place.actor, 7710), ("the host's", Actor(), 7711),
                               ("another agent's", others["other-bot"], 7712)):
        t.title_of(whose)
        mark = t.lab.journal.mark()
        listening, ended = Gate(), Gate()

        def serve():
            service = socket.create_server((loopback, port), family=family_of(loopback))
            listening.open()
            heard = b""
            while service in streams.readable_any([service, ended.descriptor], 60):
                connection, _ = service.accept()
                try:
                    connection.settimeout(20)
                    heard += connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                except OSError:
                    pass  # refused: that is what is wanted
                connection.close()
            return heard

        task = t.lab.agent.start(serve, actor)
        listening.wait()
        ending = t.place.call(lambda: streams.converse(
            lambda: Stream(loopback, port), asked, enough=streams.response_is_whole))
        ended.open()
        heard = task.result()
        if whose == "its own":
            t.expect(ending.received.endswith(b"ok") and heard == asked, f"its own listener: {ending}, which heard {heard!r}")
            t.wait(lambda: t.lab.journal.records(mark, VERDICT="allow", PORT=port, RULE="lab.own-listener"), "a record of what was allowed")
        else:
            t.expect(ending.is_refusal and not heard, f"{whose} listener: {ending}, which heard {heard!r}")
            record = t.wait(lambda: t.lab.journal.records(mark, VERDICT="deny", PORT=port), "a record of the refusal")[0]
            t.expect(record["SALLYPORT_AGENT"] == "local-bot" and record["SALLYPORT_REASON"] == "policy", f"the record says {record}")


@attempt("B78", "a forged reply that turns conntrack's direction around: each query is still decided")
def turned_around(t):
    target = t.target("udp", last=topology.ATTACKER)
    bound, turned = Gate(), Gate()
    port = 46000 + target.port % 1000

    def ask():
        sender = socket.socket(family_of(target.address), socket.SOCK_DGRAM)
        sender.bind((t.place.source, port))
        words = []

        def send(payload):
            try:
                sender.sendto(payload, (target.address, target.port))
                words.append("sent")
            except OSError as error:
                words.append(streams.ending_of(error).word)

        send(SECRET)
        bound.open()
        turned.wait()
        for _ in range(5):
            send(SECRET)
            sender.connect((target.address, target.port))
            try:
                sender.send(SECRET)
            except OSError:
                pass
        return words

    task = t.place.start(ask)
    bound.wait()
    for _ in range(2):  # the forged reply, from the very address and port that was asked
        t.lab.recorder.send_datagram(target.port, b"forged", t.place.source, port, source=target.address)
    t.lab.wire.settle()
    turned.open()
    task.result()
    count, kept = t.payload(target)
    if t.unprotected:
        t.expect(count > 0, "unprotected, but nothing arrived")
        return
    t.expect(count == 0, f"{count} payload bytes arrived: {kept[:60]!r}")
    t.wait(lambda: t.records(target, "deny"), "a record of the refusal")


@attempt("B78", "the same towards a resolver that is not configured", hooks=("output",), not_here="covered by the test above")
def turned_resolver(t):
    address = t.place.at(topology.OTHER_RESOLVER)
    label = t.lab.token().encode()
    query = servers.question(f"{label.decode()}.allowed.test")
    turned, asked = Gate(), Gate()
    port = 47000 + int(label[1:-1]) % 1000

    def ask():
        sender = socket.socket(family_of(address), socket.SOCK_DGRAM)
        sender.bind((t.place.source, port))
        asked.open()
        turned.wait()
        for _ in range(4):
            try:
                sender.sendto(query, (address, 53))
            except OSError:
                pass

    task = t.place.start(ask)
    asked.wait()

    def forge():
        with socket.socket(family_of(address), socket.SOCK_RAW, socket.IPPROTO_RAW if ":" not in address else socket.IPPROTO_RAW) as raw:
            if ":" in address:
                raw.setsockopt(socket.IPPROTO_IPV6, 36, 1)
            segment = struct.pack("!HHHH", 53, port, 8 + 6, 0) + b"forged"
            total = rawtcp.checksum(rawtcp.pseudo_header(address, t.place.source, 17, len(segment)) + segment)
            segment = segment[:6] + struct.pack("!H", total or 0xFFFF) + segment[8:]
            raw.sendto(rawtcp.ip_packet(address, t.place.source, 17, segment), (t.place.source, 0))
    t.lab.net.call(forge)
    t.lab.wire.settle()
    turned.open()
    task.result()
    _, _, kept = t.lab.wire.payload(address, 53, "udp")
    t.expect(label in kept if t.unprotected else label not in kept, f"the question {'did not arrive' if t.unprotected else 'arrived'}")


@attempt("B82", "one agent floods queue, table, look-ups and log: the others are served and recorded", once=True, unprotected=False)
def flood(t):
    guest = t.lab.place("forward", 4)
    other = Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/other-bot")
    begun, enough = [Gate() for _ in range(3)], Gate()
    address, ports = t.place.at(topology.ATTACKER), list(servers.FLOOD)

    def syns():
        out = rawtcp.PacketSocket()
        count = 0
        while not streams.readable(enough.descriptor, 0):
            segment = rawtcp.tcp_segment(guest.source, address, 50000 + count % 9999, ports[(count // 9999) % 500], count * 7919, 0, rawtcp.SYN)
            out.send(rawtcp.ip_packet(guest.source, address, 6, segment), address)
            count += 1
            if count == 20000:
                begun[0].open()
        return count

    def half_hellos():
        kept, count = [], 0
        half = hello.client_hello("x.allowed.test")[:60]
        while not streams.readable(enough.descriptor, 0):
            connection = socket.socket()
            connection.setblocking(False)
            try:
                connection.connect((address, ports[500 + count % 500]))
            except BlockingIOError:
                pass
            kept.append(connection)
            for each in kept[-8:]:
                try:
                    each.send(half)
                except OSError:
                    pass
            if len(kept) > 800:
                kept.pop(0).close()
            count += 1
            if count == 1500:
                begun[1].open()
        return count

    def refusals():
        count = 0
        while not streams.readable(enough.descriptor, 0):
            streams.converse(lambda: Stream(address, ports[1000 + count % 500]), hello.client_hello(f"n{count}.refused.test"))
            count += 1
            if count == 300:
                begun[2].open()
        return count

    floods = [guest.start(f) for f in (syns, half_hellos, refusals)]
    try:
        for gate in begun:
            gate.wait(60)
        for round_number in range(5):
            for actor, agent in ((None, "local-bot"), (other, "other-bot")):
                for allowed in (True, False):
                    t.title_of(f"{agent}, round {round_number}")
                    target = t.target("echo", allowed)
                    data = hello.client_hello(target.name)
                    ending = t.say(target, data, answered=True, actor=actor)
                    if allowed:
                        t.passed(target, ending, received=data[:100], sent=data)
                        t.record(target, "allow", "allowed", host=target.name, agent=agent)
                    else:
                        t.refused(target, ending, "policy", host=target.name, agent=agent)
    finally:
        enough.open()
        counts = [f.result(60) for f in floods]
    t.expect(all(counts), f"a flood did nothing: {counts}")
    t.title_of("afterwards")
    t.appliance.restart()  # the flood has used up the guest's share of single records
    Sweep(t).decided()
