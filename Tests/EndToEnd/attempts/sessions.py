"""Sessions as an operator, an integration and an agent's developer use them."""

import os
import pathlib
import shutil
import socket
import ssl
import threading

from lab import customers, hello, streams
from lab.appliance import CGROUP_AGENT_UID
from lab.catalogue import Skip, attempt
from lab.namespaces import Actor, Gate
from lab.streams import Stream, echoed
from lab.waiting import until

from .customers import LOCAL_ONLY, target_of

ONCE = {"hooks": ("output",), "families": (4,), "not_here": LOCAL_ONLY, "unprotected": False}


@attempt("customers", "sallyport run --customer-token: one command, one customer; its session ends with it",
         hooks=("output",), families=(4,), not_here=LOCAL_ONLY, unprotected=False)
def run_command(t):
    target, other, later = target_of(t, "acme"), target_of(t, "beta"), target_of(t, "acme")
    token = t.appliance.issuer.token("acme")
    program = ("import os, socket, sys\n"
               "for name, port, data in [a.split(',') for a in sys.argv[2:]]:\n"
               "    s = socket.create_connection((sys.argv[1], int(port)), 20)\n"
               "    try:\n"
               "        s.sendall(bytes.fromhex(data)); print(name, 'reached' if len(s.recv(100)) > 7 else 'refused')\n"
               "    except OSError as e: print(name, 'refused')\n"
               "print('session', os.environ['SALLYPORT_SESSION'])\n"
               "print('in', sys.stdin.read())\n")
    words = [f"{name},{each.port},{hello.client_hello(each.name).hex()}" for name, each in (("own", target), ("other", other))]
    command = ("run", "--agent", "run-bot", "--user", "nobody", "--config", t.appliance.config,
               "--customer-token", "-", "--", "/usr/bin/python3", "-c", program, target.address)
    done = t.appliance.command(*command, *words, text=token + "\nthe rest", check=False)
    t.expect(done.returncode == 0, f"exit {done.returncode}: {done.stdout[-400:]}")
    for line in ("own reached", "other refused", "in the rest"):
        t.expect(line in done.stdout, f"no line {line!r}: {done.stdout[-400:]}")
    record = t.record(target, "allow", "allowed", host=target.name, agent="run-bot")
    session = record.get("SALLYPORT_SESSION")
    t.expect(session and f"session {session}" in done.stdout, "the command was not told its session")
    t.wait(lambda: t.lab.journal.records(0, EVENT="session_ended", SESSION=session), "the session to end")
    t.title_of("the same token again")
    word = f"own,{later.port},{hello.client_hello(later.name).hex()}"
    done = t.appliance.command(*command, word, text=token + "\n", check=False)
    t.expect("own reached" in done.stdout, f"exit {done.returncode}: {done.stdout[-400:]}")
    t.title_of("a bad token")
    done = t.appliance.command(*command, text=t.appliance.issuer.token("acme", -5) + "\n", check=False)
    t.expect(done.returncode != 0 and "expired" in done.stdout and "session" in done.stdout, f"{done.returncode}: {done.stdout}")

@attempt("customers", "the manual's examples in Python and Node bind a socket of their own", hooks=("output",),
         not_here=LOCAL_ONLY, unprotected=False)
def examples(t):
    manual = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "customers.md").read_text(encoding="utf-8")
    programs = {language: manual.split(f"```{language}\n")[1].split("```")[0] for language in ("python", "javascript")}
    for language, program in (("python", "/usr/bin/python3"), ("javascript", shutil.which("node"))):
        t.title_of(language)
        if program is None:
            raise Skip("nodejs is not installed")
        script = t.lab.root / f"example.{language}"
        script.write_text(programs[language])
        own, other = target_of(t, "acme", "http"), target_of(t, "beta", "http")
        for target, statuses in ((own, ("200", "404")), (other, ("403",))):
            token = t.appliance.issuer.token("acme", port=target.port)
            done = t.place.command(program, script, token, target.name, target.address, str(target.port))
            t.expect(done.returncode == 0 and done.stdout.strip() in statuses, f"exit {done.returncode}: {done.stdout[-300:]}")
            is_own = target is own
            record = t.record(target, "allow" if is_own else "deny", "allowed" if is_own else "policy", host=target.name)
            t.expect(record.get("SALLYPORT_CUSTOMER") == "acme", f"no customer: {done.stdout[-300:]}")

@attempt("customers", "POST /v1/decide says what policy would say, by the same policy and with a record",
         hooks=("output",), families=(4,), not_here=LOCAL_ONLY, unprotected=False)
def asked(t):
    token = t.appliance.issuer.token("acme")
    own, other = f"{t.lab.token()}.acme.{customers.DOMAIN}", f"{t.lab.token()}.beta.{customers.DOMAIN}"

    def ask(**body):
        return customers.ask("POST", "/v1/decide", body)

    said = t.place.call(lambda: [
        ask(url=f"https://{own}/v1?q=1", method="POST", customer_token=token, data={"purpose": "report"}),
        ask(url=f"http://{other}:8080/", customer_token=token), ask(url=f"https://{own}/"),
        customers.refused("POST", "/v1/decide", {"url": "ftp://x/"})[0],
        customers.refused("POST", "/v1/decide", {"url": f"https://{own}/", "agent": "other-bot"})[0]])
    t.expect([each if isinstance(each, int) else (each["allow"], each["reason"]) for each in said] == [
        (True, "allowed"), (False, "policy"), (False, "no_session"), 400, 403], f"answered {said}")
    for answer, host, customer in ((said[0], own, "acme"), (said[1], other, "acme"), (said[2], own, None)):
        record = t.wait(lambda: t.lab.journal.records(0, DECISION_ID=answer["decision_id"]), "a record")[0]
        t.clean(record)
        t.expect(record.get("SALLYPORT_DIRECTION") == "asked" and record.get("SALLYPORT_HOST") == host
                 and record.get("SALLYPORT_CUSTOMER") == customer and "SALLYPORT_ADDRESS" not in record,
                 f"the record says {record.get('MESSAGE')}")
    operator = t.lab.agent.call(lambda: ask(url=f"https://{own}/", customer_token=token, agent="local-bot"))
    t.expect(operator["allow"], f"an operator is answered {operator}")
    done = t.appliance.command("explain", said[1]["decision_id"], "--config", t.appliance.config,
                               "--directory", "/run/log/journal", check=False)
    t.expect(other in done.stdout and said[1]["decision_id"] in done.stdout, f"explain: {done.stdout[-300:]}")


@attempt("customers", "a process gets a cgroup and a customer of its own; what it opened before stays the agent's", **ONCE)
def process(t):
    own, early = target_of(t, "acme"), target_of(t, "acme")
    token = t.appliance.issuer.token("acme")
    other = Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/other-bot")

    def say(stream, target):
        try:
            stream.socket.connect(stream.peer)
            data = hello.client_hello(target.name)
            return "echoed" if echoed(stream, data) == data else "other"
        except OSError as error:
            return streams.ending_of(error).word

    def run():
        before = Stream(early.address, early.port, connect=False)
        stranger = customers.refused("POST", "/v1/sessions", {"customer_token": token, "binding": {"pid": 1}})[0]
        session = customers.open_session(token, pid=os.getpid())
        where = pathlib.Path("/proc/self/cgroup").read_text()
        after = Stream(own.address, own.port, connect=False)
        return session, stranger, where, say(after, own), say(before, early)

    session, stranger, where, after, before = t.place.call(run)
    t.expect(stranger == 403, f"another's process was answered {stranger}")
    t.expect(f"/session-{session[:16]}" in where, f"the process is in {where}")
    t.expect(after == "echoed", f"a socket of afterwards: {after}")
    t.record(own, "allow", "allowed")
    t.title_of("a socket of before")
    t.expect(before in streams.REFUSED_WORDS, f"the agent saw {before}")
    t.record(early, "deny", "no_session")
    t.title_of("another agent's process")
    status = t.place.call(lambda: customers.refused(
        "POST", "/v1/sessions", {"customer_token": t.appliance.issuer.token("acme", n=9), "binding": {"pid": os.getppid()}})[0],
        actor=other)
    t.expect(status in (403, 404), f"answered {status}")
    t.title_of("its end")
    t.wait(lambda: t.lab.journal.records(0, EVENT="session_ended", SESSION=session), "the session to end with its process")
    gone = f"/sys/fs/cgroup{t.place.actor.cgroup}/session-{session[:16]}"
    t.wait(lambda: not t.lab.agent.call(lambda: os.path.exists(gone)), "the cgroup to be removed")


class KeyServer:
    """Serves an issuer's key set over HTTPS on the agent host's loopback; runs in that host."""

    def __init__(self, lab, keys, port):
        self.task = lab.agent.start(lambda: self._serve(lab, keys, port))
        until(lambda: lab.agent.call(lambda: not socket.socket().connect_ex(("127.0.0.1", port))), "the keys' server to listen")

    @staticmethod
    def _serve(lab, keys, port):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(lab.root / "keys.pem", lab.root / "keys.key")
        listener = socket.create_server(("127.0.0.1", port))

        def answer(connection):
            try:
                with context.wrap_socket(connection, server_side=True) as stream:
                    request = stream.recv(4096).decode()
                    body = keys.read_bytes()
                    status = "200 OK" if "GET /keys " in request else "302 Found\r\nLocation: /keys"
                    stream.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            except OSError:
                pass

        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


@attempt("customers", "keys behind an https: address are fetched, rotated by kid, kept through an outage, and from nobody else",
         **ONCE)
def fetched_keys(t):
    root, port = t.lab.root, 19443
    issuer = customers.Issuer(root / "remote", kid="one")
    second = customers.Issuer(root / "remote2", kid="two")
    issuer._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=keys.test", "-addext", "subjectAltName=DNS:localhost", "-keyout", root / "keys.key",
                    "-out", root / "keys.pem")
    other = {"issuer": "https://remote.test", "audience": customers.AUDIENCE, "keys": f"https://localhost:{port}/keys",
             "authorities": str(root / "keys.pem")}
    ordinary = t.appliance.settings()["customers"]["issuers"]

    def ask(made, name="https://remote.test"):
        return t.lab.agent.call(lambda: customers.refused("POST", "/v1/sessions", {
            "customer_token": made.token("acme", iss=name, jti=t.lab.token()), "agent": "local-bot"}))

    def with_keys(**changes):
        mark = t.lab.journal.mark()
        t.appliance.configure(customers={"issuers": [*ordinary, {**other, **changes}]})
        t.appliance.reload("configuration_loaded")
        return mark

    try:
        t.title_of("nobody serves them")
        mark = with_keys()
        t.wait(lambda: t.lab.journal.records(mark, EVENT="keys_rejected"), "an event that says so")
        status, detail = ask(issuer)
        t.expect(status == 403 and "keys are not there" in detail, f"answered {status}: {detail}")
        status = t.appliance.command("status", "--json", "--config", t.appliance.config, check=False)
        t.expect("localhost" in status.stdout, "the status does not say it")
        server = KeyServer(t.lab, issuer.keys, port)
        t.title_of("served")
        mark = with_keys(refresh_seconds=86_400)
        t.wait(lambda: t.lab.journal.records(mark, EVENT="keys_loaded"), "an event that says so")
        t.expect(ask(issuer)[0] == 200, "a token by a fetched key is refused")
        t.title_of("another key")
        t.expect(ask(second)[0] == 403, "a token by a key that nobody serves is taken")
        issuer.write([issuer.jwk, second.jwk])
        t.wait(lambda: ask(second)[0] == 200, "the new key to be fetched because a token names it")
        t.title_of("an outage")
        server.task.kill()
        t.expect(ask(issuer)[0] == 200, "keys are not kept while they cannot be fetched")
        t.title_of("an outage, and a restart in it")
        t.appliance.restart()
        t.expect(ask(issuer)[0] == 200, "keys are not kept over a restart while they cannot be fetched")
        t.title_of("another certificate")
        KeyServer(t.lab, issuer.keys, port + 1)
        mark = with_keys(keys=f"https://127.0.0.1:{port + 1}/keys")
        t.wait(lambda: [e for e in t.lab.journal.records(mark, EVENT="keys_rejected") if "SSL" in e["MESSAGE"]], "an event that says so")
        t.expect(ask(issuer)[0] == 403, "keys of a server with another name are taken")
        t.title_of("a redirection")
        mark = with_keys(keys=f"https://localhost:{port + 1}/elsewhere")
        t.wait(lambda: [e for e in t.lab.journal.records(mark, EVENT="keys_rejected") if "302" in e["MESSAGE"]], "an event that says so")
        t.expect(ask(issuer)[0] == 403, "a redirection is followed")
    finally:
        t.appliance.configure()
        t.appliance.reload("configuration_loaded")


@attempt("B64", "where agent tokens are required, only the agent's own opens a session", **ONCE)
def agent_tokens(t):
    agents = customers.Issuer(t.lab.root / "agents", kid="agents")
    settings = {"required": True, "issuers": [
        {"issuer": "https://agents.test", "audience": "sallyport-agents", "keys": str(agents.keys)}]}

    def token(agent, **claims):
        return agents.token(agent, **{"iss": "https://agents.test", "aud": "sallyport-agents", **claims})

    def ask(agent_token):
        body = {"customer_token": t.appliance.issuer.token("acme", jti=t.lab.token())}
        if agent_token:
            body["agent_token"] = agent_token
        return t.place.call(lambda: customers.refused("POST", "/v1/sessions", body))

    try:
        t.appliance.configure(agent_tokens=settings)
        t.appliance.reload("configuration_loaded")
        for what, given, sign in (
                ("none", None, "missing"), ("another agent's", token("other-bot"), "another agent's"),
                ("expired", token("local-bot", exp=1), "expired"),
                ("a customer's", t.appliance.issuer.token("local-bot"), "iss"),
                ("by another key", customers.Issuer(t.lab.root / t.lab.token(), kid="agents").token(
                    "local-bot", iss="https://agents.test", aud="sallyport-agents"), "signature")):
            t.title_of(what)
            mark = t.lab.journal.mark()
            status, detail = ask(given)
            t.expect(status == 403 and sign in detail, f"answered {status}: {detail}")
            t.wait(lambda: t.lab.journal.records(mark, EVENT="session_refused", AGENT="local-bot"), "an event that says so")
        t.title_of("the agent's own")
        status, answer = ask(token("local-bot"))
        t.expect(status == 200, f"answered {status}: {answer}")
        t.lab.agent.call(lambda: customers.ask("DELETE", f"/v1/sessions/{answer['id']}"))
    finally:
        t.appliance.configure()
        t.appliance.reload("configuration_loaded")


@attempt("B63", "the control socket tells apart who connects: an agent, somebody, an operator; nobody takes the operators' places",
         **ONCE)
def own_socket(t):
    readable = ("/v1/status", "/v1/agents", "/v1/flows", "/v1/decisions")

    def look():
        return {target: customers.refused("GET", target)[0] for target in (*readable, "/health", "/v1/sessions")}

    said = t.place.call(look)
    t.title_of("an agent")
    t.expect(said == {**dict.fromkeys(readable, 403), "/health": 200, "/v1/sessions": 200}, f"answered {said}")
    t.title_of("an agent as uid 0")
    said = t.lab.agent.call(look, Actor(0, t.place.actor.cgroup))
    t.expect(said == {**dict.fromkeys(readable, 403), "/health": 200, "/v1/sessions": 200}, f"answered {said}")
    t.title_of("somebody who is confined and no agent")
    said = t.lab.agent.call(look, Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/stranger"))
    t.expect(said == {**dict.fromkeys((*readable, "/v1/sessions"), 403), "/health": 200}, f"answered {said}")
    t.title_of("somebody")
    said = t.lab.agent.call(look, Actor(65534))
    t.expect(said == {**dict.fromkeys((*readable, "/v1/sessions"), 403), "/health": 200}, f"answered {said}")
    t.title_of("an agent that takes every place")
    taken, done = Gate(), Gate()

    def take():
        held = []
        for _ in range(600):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].connect(customers.CONTROL)
        taken.open()
        done.wait()

    task = t.place.start(take)
    taken.wait()
    status = t.lab.agent.call(lambda: customers.refused("GET", "/v1/sessions")[0])
    done.open()
    task.result()
    t.expect(status == 200, f"an operator was answered {status}")


@attempt("B65", "a socket that a worker hands to another one stays its creator's", hooks=("output",), not_here=LOCAL_ONLY,
         unprotected=False)
def handed_over(t):
    workers = {name: Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/local-bot/{name}-giver") for name in ("acme", "beta")}
    targets = {whose: target_of(t, whose) for whose in ("acme", "beta")}
    meeting = t.lab.root / f"handing{t.place.family}"
    path = str(meeting / "socket")
    listening, bound = Gate(), Gate()

    def make():
        for worker in workers.values():
            os.makedirs(f"/sys/fs/cgroup{worker.cgroup}", exist_ok=True)

    def giver():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            os.chmod(path, 0o777)
            listener.listen()
            listening.open()
            bound.wait()
            made = [Stream(target.address, target.port, connect=False).socket for target in targets.values()]
            connection = listener.accept()[0]
            socket.send_fds(connection, [b"x"], [each.fileno() for each in made])
            connection.recv(1)

    def taker():
        bound.wait()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            words = {}
            for descriptor, (whose, target) in zip(socket.recv_fds(connection, 1, 2)[1], targets.items()):
                given = socket.socket(fileno=descriptor)
                given.settimeout(20)
                data = hello.client_hello(target.name)
                try:
                    given.connect((target.address, target.port))
                    given.sendall(data)
                    ending = streams.Ending("open", given.recv(1 << 16))
                    words[whose] = "refused" if ending.is_refusal else "echoed"
                except OSError as error:
                    words[whose] = streams.ending_of(error).word
            connection.send(b"x")
            return words

    t.lab.agent.call(make)
    meeting.mkdir()
    meeting.chmod(0o777)
    tasks = [t.place.start(giver, actor=workers["acme"]), t.place.start(taker, actor=workers["beta"])]
    listening.wait()
    t.lab.agent.call(lambda: [customers.open_session(
        t.appliance.issuer.token(name, handed=t.place.family), agent="local-bot", cgroup=worker.cgroup)
        for name, worker in workers.items()])
    bound.open()
    tasks[0].result()
    words = tasks[1].result()
    t.expect(words["acme"] == "echoed", f"the creator's destination: {words['acme']}")
    t.expect(words["beta"] in streams.REFUSED_WORDS, f"the destination of who has it now: {words['beta']}")
    t.expect(t.record(targets["acme"], "allow", "allowed").get("SALLYPORT_CUSTOMER") == "acme", "another customer's record")
    t.expect(t.record(targets["beta"], "deny", "policy").get("SALLYPORT_CUSTOMER") == "acme", "another customer's record")
