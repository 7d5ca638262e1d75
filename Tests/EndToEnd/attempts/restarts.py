"""What outlives the daemon: sessions, and the flows that the kernel passes."""

import os
import resource
import signal
import time

from lab import customers, hello, streams
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

