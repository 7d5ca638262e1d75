"""B66, B67, B68, B71, B73, B74: the life of the machine. Each drill looks from all four places at once, and an
administrator's SSH goes on through all of it (B73)."""

import contextlib
import re
import select
import signal
import socket

from lab import hello, topology
from lab.appliance import LISTENED
from lab.catalogue import attempt
from lab.drills import Administrator, Connection, Sweep
from lab.namespaces import Gate
from lab.streams import Stream, echoed
from lab.waiting import PATIENCE

from .cutting import settled
from .network import Listener

ONCE = dict(once=True, unprotected=False)


@contextlib.contextmanager
def administrator(t):
    """An administrator for the length of a drill."""
    person = Administrator(t.lab)
    try:
        yield person
    finally:
        person.close()


@contextlib.contextmanager
def standing_connections(t):
    """An allowed connection from each place, opened before the failure."""
    opened = [Connection(t, t.lab.place(h, f)) for h in ("output", "forward") for f in (4, 6)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def without_daemon(t, person, connections, begun):
    """With the daemon away: of the attempts that have begun and of later ones, when the rules have noticed, nothing passes;
    the later ones are told at once."""
    t.expect(person.works(), "SSH to the host is disturbed")
    t.appliance.wait_closed()
    later = Sweep(t).start()
    later.all_told(later.endings())
    for sweep in (begun, later):
        sweep.nothing_passed()
    t.expect(person.works(), "SSH to the host is disturbed")
    for connection in connections:
        t.expect(connection.works(), "an allowed connection did not survive")
    return later


@attempt("B66", "kill -9: nothing undecided passes, agents are told, allowed flows and SSH go on", **ONCE)
def killed(t):
    with administrator(t) as person, standing_connections(t) as connections:
        t.appliance.stop(signal.SIGKILL)
        at_once = Sweep(t).start()
        later = without_daemon(t, person, connections, at_once)
        at_once.all_told(at_once.endings())
        t.appliance.start()
        Sweep(t).decided()
        for sweep in (at_once, later):
            sweep.nothing_passed()
        t.expect(all(c.works() for c in connections), "an allowed connection did not survive the restart")


@attempt("B66", "SIGSTOP: nothing undecided passes, and what was held is decided or refused afterwards", **ONCE)
def stopped(t):
    with administrator(t) as person, standing_connections(t) as connections:
        t.appliance.send_signal(signal.SIGSTOP)
        try:
            # A local SYN stays in the queue of a process that stands still: TCP does not send it again meanwhile.
            held = Sweep(t).start()
            t.wait(lambda: t.appliance.queued() >= 2, "packets in the queues")
            without_daemon(t, person, connections, held)
        finally:
            t.appliance.send_signal(signal.SIGCONT)
        t.wait(lambda: t.appliance.alive_elements(), "the daemon to be alive again in the rules")
        held.decided_or_told()
        Sweep(t).decided()


@attempt("B66", "out of memory: a daemon that may not allocate ends, and nothing undecided passes", **ONCE)
def out_of_memory(t):
    with administrator(t) as person:
        # The kernel's own way: SIGKILL to the process that the OOM killer chose. What it leaves behind is the same.
        import pathlib
        pid = t.appliance.daemon.pid
        score = pathlib.Path(f"/proc/{pid}/oom_score_adj")
        t.expect(score.exists(), "the daemon is gone")
        score.write_text("1000")
        sweep = Sweep(t)
        t.appliance.send_signal(signal.SIGSTOP)
        sweep.start()
        t.wait(lambda: t.appliance.queued() > 0, "packets that the daemon holds")
        t.appliance.stop(signal.SIGKILL)
        sweep.all_told(sweep.endings())
        sweep.nothing_passed()
        t.expect(person.works(), "SSH to the host is disturbed")
        t.appliance.start()
        sweep.nothing_passed()


@attempt("B67", "rules without a daemon, as at boot: nothing passes, agents are told at once", **ONCE)
def boot(t):
    t.appliance.stop()
    t.appliance.remove_rules()
    t.appliance.apply_rules()
    with administrator(t) as person:
        sweep = Sweep(t).start()
        sweep.all_told(sweep.endings())
        sweep.nothing_passed()
        t.expect(person.works(), "SSH to the host is disturbed")
    t.appliance.start()
    Sweep(t).decided()


@attempt("B68", "a flood that overflows the queue: nothing undecided passes, and it is counted", **ONCE)
def overflow(t):
    t.appliance.stop()
    t.appliance.remove_rules()
    t.appliance.configure(queues={"base": 8800, "count": 2, "length": 64})
    t.appliance.apply_rules()
    t.appliance.start()
    try:
        with administrator(t) as person:
            targets = [t.target("udp", last=topology.ATTACKER) for _ in range(4)]
            places = [t.lab.place(h, f) for h in ("output", "forward") for f in (4, 6)]
            for target, place in zip(targets, places):
                target.address = place.at(topology.ATTACKER)
            t.appliance.send_signal(signal.SIGSTOP)
            try:
                floods = [place.start(lambda target=target: _flood(target, 600)) for target, place in zip(targets, places)]
                for flood in floods:
                    flood.result()
                dropped = t.appliance.queue_drops()
                t.expect(dropped > 0, "the queue did not overflow")
                t.expect(person.works(), "SSH to the host is disturbed")
            finally:
                t.appliance.send_signal(signal.SIGCONT)
            for target in targets:
                count, kept = t.payload(target)
                t.expect(count == 0, f"{count} bytes passed through a full queue")
            t.wait(lambda: t.appliance.counted_overflow(), "the overflow to be counted (status) or logged")
            Sweep(t).decided()
    finally:
        t.appliance.stop()
        t.appliance.remove_rules()
        t.appliance.configure()
        t.appliance.apply_rules()
        t.appliance.start()


def _flood(target, count):
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    for _ in range(count):
        # A socket each: every datagram is a flow of its own and reaches the queue.
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(b"flood", (target.address, target.port))
            except OSError:
                pass


@attempt("B71", "nft flush ruleset and a deleted table: the rules are back at once, and the journal says so", **ONCE)
def flushed(t):
    for words in (("flush", "ruleset"), ("delete", "table", "inet", "sallyport")):
        t.title_of("nft " + " ".join(words))
        before = t.appliance.tables()
        mark = t.lab.journal.mark()
        with administrator(t) as person:
            t.lab.agent.command("nft", *words)
            t.wait(lambda: _same_rules(t.appliance.tables(), before), "the rules to be back")
            t.expect(person.works(), "SSH to the host is disturbed")
        t.wait(lambda: t.lab.journal.events("rules_tampered", mark), "a journal record of the tampering")
        Sweep(t).decided()


@attempt("B71", "while the rules are deleted nothing opens, also towards an agent, and nothing undecided is said; allowed flows go on",
         unprotected=False)
def held(t):
    allowed, begun, opened, spoken = t.target("echo"), t.target("echo"), t.target("echo"), t.target("udp")
    ready, gone, knocked, looked, back = Gate(), Gate(), Gate(), Gate(), Gate()

    def knock():
        outsider = Stream(t.place.source, LISTENED + 1, source=t.place.at(topology.SERVER), connect=False)
        outsider.socket.setblocking(False)
        outsider.socket.connect_ex(outsider.peer)
        knocked.open()
        back.wait()

    def run():
        kept, undecided = settled(allowed), Stream(begun.address, begun.port)
        late = Stream(opened.address, opened.port, connect=False)
        datagrams = socket.socket(late.socket.family, socket.SOCK_DGRAM)
        datagrams.connect((spoken.address, spoken.port))
        ready.open()
        gone.wait()
        undecided.send(hello.client_hello(begun.name))
        late.socket.setblocking(False)
        late.socket.connect_ex(late.peer)
        with contextlib.suppress(PermissionError):  # a local sender is told
            datagrams.send(b"said while nobody asked")
        knocked.wait()
        # What was sent before this would have arrived before it.
        went_on = echoed(kept, b"x" * 2000) == b"x" * 2000
        is_open = bool(select.select([], [late.socket], [], 0)[1])
        looked.open()
        back.wait()
        late.socket.setblocking(True)
        select.select([], [late.socket], [], PATIENCE)
        heard = [undecided.receive(), echoed(late, hello.client_hello(opened.name))]
        return went_on, is_open, all(heard)

    listener, task = Listener(t.place, LISTENED + 1), t.place.start(run)
    ready.wait()
    mark = t.lab.journal.mark()
    t.appliance.send_signal(signal.SIGSTOP)
    try:
        t.lab.agent.command("nft", "flush", "ruleset")
        t.lab.net.start(knock)
        gone.open()
        looked.wait()
        arrived = [t.payload(target)[0] for target in (begun, opened, spoken)]
        nobody = t.lab.agent.command("nft", "delete", "table", "inet", "sallyport_guard", check=False)
    finally:
        t.appliance.send_signal(signal.SIGCONT)
    t.wait(lambda: t.lab.journal.events("rules_restored", mark), "the rules to be back")
    back.open()
    went_on, is_open, heard = task.result()
    t.expect(went_on, "a flow that is allowed did not go on")
    t.expect(not is_open, "a connection was opened")
    t.expect(not listener.seen(), "an outsider has connected to the agent")
    t.expect(not any(arrived), f"bytes arrived: {arrived}")
    t.expect(nobody.returncode != 0 and "not permitted" in nobody.stdout, f"the guard can be deleted: {nobody.stdout}")
    t.expect(heard, "what was held did not go on")
    for target in (begun, opened):
        t.record(target, "allow", "allowed", host=target.name)


def _same_rules(now, before):
    """Whether our table is whole again. Dynamic set elements are left out."""
    strip = lambda text: re.sub(r"elements = \{[^}]*\}", "", text)
    return strip(now) == strip(before)


@attempt("B73", "SSH to the host works through every failure, also for a host in the middle of an overload", **ONCE)
def administration(t):
    with administrator(t) as person:
        def still(what):
            t.title_of(what)
            t.expect(person.works(), f"SSH is disturbed: {what}")

        still("in the ordinary state")
        t.appliance.send_signal(signal.SIGSTOP)
        still("daemon stopped")
        t.appliance.wait_closed()
        still("daemon stopped for long")
        t.appliance.send_signal(signal.SIGCONT)
        t.appliance.stop(signal.SIGKILL)
        still("daemon killed")
        t.lab.agent.command("nft", "delete", "table", "inet", "sallyport")
        still("rules gone")
        t.appliance.apply_rules()
        still("rules without daemon")
        t.appliance.start()
        floods = [t.lab.place(h, 4).start(lambda: _flood(t.target("udp", last=topology.ATTACKER), 3000)) for h in ("output", "forward")]
        still("agents flood")
        for flood in floods:
            flood.result()
        still("after the flood")


@attempt("B74", "rules remove: what others put into the ruleset and the sysctls is as it was", **ONCE)
def removed(t):
    t.appliance.stop()
    t.appliance.remove_rules()
    sysctls = ("net.netfilter.nf_conntrack_checksum", "net.netfilter.nf_conntrack_tcp_be_liberal", "net.netfilter.nf_conntrack_acct")
    t.lab.agent.command("nft", "-f", "-", text="""
        table inet filter { chain input { type filter hook input priority 0; policy accept; tcp dport 12345 counter drop; }; }
        table ip nat { chain postrouting { type nat hook postrouting priority 100; oifname "nowhere" masquerade; }; }
        table inet others { set mine { type ipv4_addr; elements = { 192.0.2.1 }; }; }""")
    t.lab.agent.command("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1", "net.netfilter.nf_conntrack_checksum=0")
    state = lambda: (t.appliance.tables(), t.lab.agent.command("sysctl", *sysctls).stdout)
    before = state()
    try:
        t.appliance.apply_rules()
        t.appliance.start()
        Sweep(t).decided()
        t.expect(state() != before, "applying changed nothing")
        t.appliance.stop()
        t.appliance.remove_rules()
        after = state()
        t.expect(after == before, f"not as it was:\n{before}\n--- now ---\n{after}")
        again = t.appliance.command("rules", "remove", "--config", t.appliance.config, check=False)
        t.expect(again.returncode == 0, f"removing twice fails: {again.stdout}")
    finally:
        t.lab.agent.command("nft", "delete", "table", "inet", "filter", check=False)
        t.lab.agent.command("nft", "delete", "table", "ip", "nat", check=False)
        t.lab.agent.command("nft", "delete", "table", "inet", "others", check=False)
        t.lab.agent.command("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=0", "net.netfilter.nf_conntrack_checksum=1")
        t.appliance.apply_rules()
        t.appliance.start()
