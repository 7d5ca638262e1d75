"""B72: the kernel's connection table, emptied in the middle of flows, or full."""

import os
import pathlib
import re
import socket

from lab import hello, streams
from lab.catalogue import Skip, attempt
from lab.drills import Sweep
from lab.namespaces import Gate
from lab.streams import Stream, echoed, request

from . import quic
from .cutting import settled
from .machine import standing_connections
from .network import family_of

LARGEST = 1 << 20
"""Places of a connection table that the test still fills."""


class Paused:
    """A client that says something, waits while something is done to the host, and says something else."""

    def __init__(self, t, open_stream, after):
        self.t = t
        self._ready, self._go = Gate(), Gate()

        def run():
            try:
                stream = open_stream()
                self._ready.open()
                self._go.wait()
                return after(stream)
            except OSError as error:
                self._ready.open()
                return streams.ending_of(error)

        self._task = t.place.start(run)
        self._ready.wait()

    def ending(self):
        """Lets it go on; how it ended."""
        self._go.open()
        return self._task.result()


def flush(t):
    """Empties the connection table of the agent host."""
    t.lab.agent.command("conntrack", "-F")


def rest(part, enough):
    """Says the rest, and reads until `enough(received)` or the end."""
    def after(stream):
        stream.send(part)
        received = b""
        while not enough(received):
            more = stream.receive()
            if not more:
                return streams.Ending("eof", received)
            received += more
        return streams.Ending("open", received)
    return after


@attempt("B72", "the connection table is emptied before a ClientHello or in its middle: the flow is decided as without that")
def emptied_undecided(t):
    for allowed in (True, False):
        t.title_of(f"half a ClientHello, {'allowed' if allowed else 'refused'}")
        target = t.target("echo", allowed)
        data = hello.client_hello(target.name)

        def begin():
            stream = Stream(target.address, target.port)
            stream.send(data[:40])
            return stream

        paused = Paused(t, begin, rest(data[40:], lambda received: len(received) >= len(data)))
        flush(t)
        ending = paused.ending()
        if allowed:
            t.passed(target, ending, received=data, sent=data)
        else:
            t.refused(target, ending, "policy", host=target.name)
    t.title_of("nothing said yet")
    target = t.target("echo", allowed=False)
    data = hello.client_hello(target.name)
    paused = Paused(t, lambda: Stream(target.address, target.port),
                    rest(data, lambda received: len(received) >= len(data)))
    flush(t)
    t.refused(target, paused.ending(), "policy", host=target.name)


@attempt("B72", "the connection table is emptied under allowed flows: they go on, and what they say next is still decided")
def emptied_allowed(t):
    t.title_of("TLS that the kernel passes")
    target = t.target("echo")
    more = hello.second_flight()

    def speak_on(stream):
        try:
            return streams.Ending("open", b"".join(echoed(stream, more) for _ in range(3)))
        except OSError as error:
            return streams.ending_of(error)

    paused = Paused(t, lambda: settled(target), speak_on)
    flush(t)
    t.passed(target, paused.ending(), received=more)

    t.title_of("the next request")
    target = t.target("echo")
    secret = f"{target.token}.refused.test"

    def first():
        stream = Stream(target.address, target.port)
        echoed(stream, request(target.authority))
        return stream

    second = request(secret)
    paused = Paused(t, first, rest(second, lambda received: received.endswith(second)))
    flush(t)
    t.refused(target, paused.ending(), "policy", secret=secret.encode(), host=secret)

    t.title_of("the next connection of QUIC on the same addresses and ports")
    target = t.target("udp")
    identifier = os.urandom(8)
    other = f"{target.token}.refused.test"

    class Datagrams:
        def __init__(self):
            self.socket = socket.socket(family_of(target.address), socket.SOCK_DGRAM)
            self.socket.settimeout(20)
            self.socket.connect((target.address, target.port))
            self.send(quic.whole(target.name))
            self.receive()

        def send(self, data):
            self.socket.send(data)

        def receive(self):
            return self.socket.recv(1 << 16)

    paused = Paused(t, Datagrams, rest(quic.whole(other, destination=identifier), lambda received: received))
    flush(t)
    t.refused(target, paused.ending(), "policy", secret=identifier, host=other)


@attempt("B72", "a connection table without room: nothing new passes, what passed goes on, and with room again everything is decided",
         once=True, unprotected=False)
def full(t):
    places = int(pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
    if not 0 < places <= LARGEST:
        raise Skip(f"the connection table has {places} places, too many to fill")
    with standing_connections(t) as connections:
        try:
            fill(t, places)
            before = dropped(t)
            sweep = Sweep(t).start()
            t.wait(lambda: dropped(t) - before >= len(sweep.targets), "packets without a place in the table")
            t.expect(all(c.works() for c in connections), "an allowed connection did not survive")
        finally:
            flush(t)
        sweep.decided_or_told()
        t.expect(all(c.works() for c in connections), "an allowed connection did not survive the flush")
    Sweep(t).decided()


def fill(t, places):
    """Takes every place of the agent host's connection table, with entries that are not given up for others."""
    path = t.lab.root / "entries"
    with path.open("w") as entries:
        for i in range(places):
            entries.write(f"-I -p udp -s 10.{1 + (i >> 16)}.{i >> 8 & 255}.{i & 255} -d 10.200.0.1 --sport 1000 --dport 2000 -t 600 -u SEEN_REPLY,ASSURED\n")
    # It ends with the first entry for which there is no room.
    t.lab.agent.command("conntrack", "-R", path, check=False, seconds=120)
    path.unlink()
    count = int(t.lab.agent.command("cat", "/proc/sys/net/netfilter/nf_conntrack_count").stdout)
    t.expect(count >= places, f"the table has {count} of {places} entries")


def dropped(t):
    """How many packets of the agent host had no place in the table."""
    return sum(map(int, re.findall(r" drop=(\d+)", t.lab.agent.command("conntrack", "-S").stdout)))
