"""What outlives the daemon: sessions, and the flows that the kernel passes."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time

from lab import customers, hello, streams, topology
from lab.catalogue import attempt
from lab.namespaces import Gate
from lab.streams import Stream, echoed

from .customers import LOCAL_ONLY, settling, target_of
from .cutting import ended


def settled(target, session=None):
    """A TLS connection of a session that the kernel passes by itself."""
    stream = Stream(target.address, target.port, connect=False)
    if session:
        customers.bind(session, stream.socket)
    stream.socket.connect(stream.peer)
    for part in settling(target.name):
        echoed(stream, part)
    return stream


@attempt("restart", "kill -9 among many sessions and flows: none is lost, none is another's, and closed ones end",
         hooks=("output",), not_here=LOCAL_ONLY, unprotected=False)
def killed(t):
    issuer = t.appliance.issuer
    names = ("acme", "beta", "gamma")
    # The drill at another size: SPE_SESSIONS and SPE_FLOWS (a customer's).
    idle, each_has = int(os.environ.get("SPE_SESSIONS", "100")), int(os.environ.get("SPE_FLOWS", "6"))
    tokens = {name: issuer.token(name, stop=t.place.family) for name in names}
    flows = {name: target_of(t, name) for name in names}
    bare = t.target("echo")
    after = {name: target_of(t, name) for name in names}
    opened, killed_, back = Gate(), Gate(), Gate()

    def run():
        sessions = {name: customers.open_session(tokens[name]) for name in names}
        more = [customers.open_session(tokens["acme"], ports=str(20000 + number)) for number in range(idle)]
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        made = {name: [settled(flows[name], sessions[name]) for _ in range(each_has)] for name in names}
        plain = settled(bare)
        spare = {name: Stream(after[name].address, after[name].port, connect=False) for name in names}
        for name in names:
            customers.bind(sessions[name], spare[name].socket)
        opened.open()
        killed_.wait(300)
        # While the daemon is away the kernel passes what it passed.
        for streams_ in [*made.values(), [plain]]:
            for stream in streams_:
                echoed(stream, hello.second_flight())
        back.wait(300)
        known = {each["id"] for each in customers.ask("GET", "/v1/sessions")["sessions"]}
        lost = len([each for each in [*sessions.values(), *more] if each not in known])
        still = sum(1 for streams_ in made.values() for stream in streams_ if echoed(stream, b"x" * 2000))
        words = {}
        for name in names:
            try:
                spare[name].socket.connect(spare[name].peer)
                echoed(spare[name], hello.client_hello(after[name].name))
                words[name] = "echoed"
            except OSError as error:
                words[name] = streams.ending_of(error).word
        customers.ask("DELETE", f"/v1/sessions/{sessions['acme']}")
        cut = [ended(stream).word for stream in made["acme"]]
        others = sum(1 for name in ("beta", "gamma") for stream in made[name] if echoed(stream, b"y" * 2000))
        alive = bool(echoed(plain, b"z" * 100))
        for each in [sessions["beta"], sessions["gamma"], *more]:
            customers.ask("DELETE", f"/v1/sessions/{each}")
        return lost, still, words, cut, others, alive

    task = t.place.start(run)
    opened.wait(300)
    t.appliance.stop(signal.SIGKILL)
    killed_.open()
    t.appliance.start()
    back.open()
    lost, still, words, cut, others, alive = task.result(600)
    t.expect(lost == 0, f"{lost} sessions were lost")
    t.expect(still == 3 * each_has, f"{still} of {3 * each_has} flows went on")
    t.expect(words == {name: "echoed" for name in names}, f"sockets that were bound before: {words}")
    t.title_of("a session that is closed afterwards")
    t.expect(all(word in streams.REFUSED_WORDS for word in cut), f"its flows ended with {cut}")
    record = t.record(flows["acme"], "deny", "session_closed")
    t.expect(record.get("SALLYPORT_CUSTOMER") == "acme", "another customer's record")
    t.wait(lambda: sum(int(r.get("SALLYPORT_REPEATS", 1)) for r in t.records(flows["acme"], "deny")) == each_has,
           "a record of each flow that was cut")
    t.title_of("others")
    t.expect(others == 2 * each_has and alive, f"{others} of {2 * each_has} flows of other customers went on, the agent's own: {alive}")


@attempt("restart", "what ended while the daemon was away is cut when it comes back", hooks=("output",),
         not_here=LOCAL_ONLY, unprotected=False)
def ended_meanwhile(t):
    issuer = t.appliance.issuer
    target, kept = target_of(t, "acme"), target_of(t, "beta")
    opened, back = Gate(), Gate()
    tokens = {"acme": issuer.token("acme", 3, once=t.place.family), "beta": issuer.token("beta", once=t.place.family)}

    def run():
        first = settled(target, customers.open_session(tokens["acme"]))
        session = customers.open_session(tokens["beta"])
        second = settled(kept, session)
        opened.open()
        cut = ended(first)
        back.wait()
        whole = echoed(second, b"x" * 2000) == b"x" * 2000
        customers.ask("DELETE", f"/v1/sessions/{session}")
        return cut.word, whole

    task = t.place.start(run)
    opened.wait()
    t.appliance.stop(signal.SIGKILL)
    # Until its token has ended, which the daemon does not see.
    end = time.time() + 3
    t.wait(lambda: time.time() > end, "the token to expire")
    t.appliance.start()
    back.open()
    word, whole = task.result(60)
    t.expect(word in streams.REFUSED_WORDS, f"the flow ended with {word}")
    t.record(target, "deny", "token_expired")
    t.expect(whole, "a flow of another customer did not go on")


@attempt("restart", "after an orderly stop, what flows were allowed for is still known: a policy that withdraws it cuts them",
         unprotected=False)
def explained(t):
    data = t.appliance.policy_directory / "data.yaml"
    before = data.read_text()
    name = f"{t.lab.token()}.example"
    target, other = t.target("echo", name=name), t.target("echo")
    opened, withdrawn = Gate(), Gate()

    def run():
        stream, kept = settled(target), settled(other)
        opened.open()
        withdrawn.wait()
        return ended(stream).word, echoed(kept, b"x" * 2000) == b"x" * 2000

    try:
        data.write_text(before.replace("names: [allowed.test]", f"names: [allowed.test, {name}]"))
        t.appliance.reload("policy_loaded")
        task = t.place.start(run)
        opened.wait()
        t.appliance.restart()
    finally:
        data.write_text(before)
        t.appliance.reload("policy_loaded")
    record = t.record(target, "deny", "policy_changed", host=name)
    withdrawn.open()
    word, whole = task.result()
    t.clean(record)
    t.expect(word in streams.REFUSED_WORDS, f"the flow ended with {word}")
    t.expect(whole and not t.records(other, "deny"), "a flow that is still allowed did not go on")


@attempt("restart", "after a crash under another policy, a flow of which it is not known what it was allowed for is cut",
         unprotected=False)
def unexplained(t):
    data = t.appliance.policy_directory / "data.yaml"
    before = data.read_text()
    target = t.target("echo")
    opened, back = Gate(), Gate()

    def run():
        stream = settled(target)
        opened.open()
        back.wait()
        return ended(stream).word

    task = t.place.start(run)
    opened.wait()
    try:
        t.appliance.stop(signal.SIGKILL)
        data.write_text(before + "\nother: true\n")
        t.appliance.start()
    finally:
        data.write_text(before)
    t.record(target, "deny", "policy_changed")
    back.open()
    word = task.result()
    t.expect(word in streams.REFUSED_WORDS, f"the flow ended with {word}")
    t.appliance.reload("policy_loaded")



@contextlib.contextmanager
def foreign_guard(t):
    """While it lasts another program owns a table by the name of the daemon's own, and no rule in it; the daemon says so, and
    takes the name when it is free."""
    mark = t.lab.journal.mark()
    owner = t.lab.agent.spawn("/usr/bin/python3", "-c", OWNER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        t.expect(owner.stdout.readline().strip() == b"0", "the other program's table was not taken")
        yield
        t.expect(t.lab.journal.events("rules_failed", mark), "no event says that nothing holds agents while the rules are out")
        problem = [line for line in t.appliance.problems() if "sallyport_guard" in line]
        t.expect(problem and "Operation not permitted" in problem[0], f"status does not say so: {problem}")
    finally:
        owner.stdin.close()
        owner.wait()
    t.wait(lambda: not t.appliance.problems() and "flags owner" in t.appliance.tables(), "the daemon's own table")


OWNER = """
import ctypes, sys
nftables = ctypes.CDLL("libnftables.so.1")
nftables.nft_ctx_new.restype = ctypes.c_void_p
context = ctypes.c_void_p(nftables.nft_ctx_new(0))
script = b"table inet sallyport_guard {\\n flags owner\\n}\\n"
print(nftables.nft_run_cmd_from_buffer(context, script), flush=True)
sys.stdin.read()
"""


@attempt("B69", "flows that began before enforcement, or while the rules were gone, are decided or cut", unprotected=False)
def began_before(t):
    is_local = t.place.hook == "output"
    for what in ("before the daemon starts", "while the rules were deleted and nothing held it"):
        t.title_of(what)
        used, fresh, barred = t.target("echo"), t.target("echo"), t.target("echo", last=topology.BLOCKED)
        spoken = t.target("udp")
        opened, back = Gate(), Gate()

        def run():
            streams_ = [Stream(target.address, target.port) for target in (used, fresh, barred)]
            echoed(streams_[0], b"early")
            datagrams = socket.socket(socket.AF_INET6 if ":" in spoken.address else socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.connect((spoken.address, spoken.port))
            datagrams.send(b"early")
            opened.open()
            back.wait()
            words = {}
            # A local flow ends by itself; a guest's with its next packet.
            for name, stream in (("used", streams_[0]), ("barred", streams_[2])):
                try:
                    if not is_local:
                        stream.send(b"more")
                    words[name] = ended(stream).word
                except OSError as error:
                    words[name] = streams.ending_of(error).word
            try:
                words["fresh"] = "echoed" if echoed(streams_[1], hello.client_hello(fresh.name)) else ""
            except OSError as error:
                words["fresh"] = streams.ending_of(error).word
            try:
                for _ in range(3):
                    datagrams.send(b"more")
            except OSError:
                pass  # told at once
            return words

        t.appliance.stop()
        if what.startswith("before"):
            t.lab.agent.command("nft", "delete", "table", "inet", "sallyport")
            task = t.place.start(run)
            opened.wait()
            t.appliance.start()
            back.open()
            words = task.result()
        else:
            with foreign_guard(t):
                t.appliance.start()
                mark = t.lab.journal.mark()
                t.appliance.send_signal(signal.SIGSTOP)
                t.lab.agent.command("nft", "delete", "table", "inet", "sallyport")
                task = t.place.start(run)
                try:
                    opened.wait()
                finally:
                    t.appliance.send_signal(signal.SIGCONT)
                t.wait(lambda: t.lab.journal.events("rules_restored", mark), "the rules to be back")
                back.open()
                words = task.result()
        t.expect(words["used"] in streams.REFUSED_WORDS, f"a flow that had said something: {words}")
        t.expect(words["barred"] in streams.REFUSED_WORDS, f"a flow to a blocked address: {words}")
        t.record(used, "deny", "preexisting")
        t.record(barred, "deny", "policy" if is_local else "preexisting")
        if is_local:
            t.expect(words["fresh"] == "echoed", f"a flow that had said nothing yet: {words}; records: "
                     f"{[r.get('MESSAGE') for r in t.records(fresh)]}")
            t.record(fresh, "allow", "allowed", host=fresh.name)
        else:
            t.expect(words["fresh"] in streams.REFUSED_WORDS, f"a guest's flow that had said nothing yet: {words}")
        for target in (used, spoken):
            t.expect(t.payload(target)[0] == len(b"early"), f"{t.payload(target)} bytes arrived at {target.transport}")
        t.expect(t.payload(barred)[0] == 0, "bytes arrived at a blocked address")
