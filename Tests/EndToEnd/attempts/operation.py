"""The operator's side: reload, bad input, the journal's absence, hostile bytes in records, and what the tools say."""

import json
import pathlib
import re
import shutil
import subprocess

from lab import hello, servers, topology
from lab.catalogue import attempt
from lab.drills import Sweep
from lab.namespaces import Gate
from lab.streams import Stream, request

from .names import A, AAAA
from .network import send_datagram

ONCE = dict(once=True, unprotected=False)


@attempt("reload", "SIGHUP puts a changed policy in force, without a restart", **ONCE)
def reload(t):
    data = t.appliance.policy_directory / "data.yaml"
    before = data.read_text()
    pid = t.appliance.daemon.pid
    target = t.target("echo", name="later.example")
    t.refused(target, t.say(target, hello.client_hello(target.name)), "policy", host="later.example")
    try:
        data.write_text(before.replace("names: [allowed.test]", "names: [allowed.test, later.example]"))
        t.appliance.reload("policy_loaded")
        target = t.target("echo", name="later.example")
        sent = hello.client_hello(target.name)
        t.passed(target, t.say(target, sent, answered=True), received=sent[:50], sent=sent)
    finally:
        data.write_text(before)
        t.appliance.reload("policy_loaded")
    target = t.target("echo", name="later.example")
    t.refused(target, t.say(target, hello.client_hello(target.name)), "policy", host="later.example")
    t.expect(t.appliance.daemon.pid == pid and t.appliance.daemon.poll() is None, "the daemon was replaced")


@attempt("reload", "a policy that does not compile leaves the last good one in force and says file, line and why", **ONCE)
def bad_policy(t):
    broken = t.appliance.policy_directory / "broken.rego"
    try:
        for what, text, line in (
            ("syntax", "package sallyport.egress\n\nallow if {\n\tinput.x ==\n}\n", 4),
            ("unsafe variable", "package sallyport.egress\n\nbroken if x == y\n", 3),
            ("unknown function", "package sallyport.egress\n\nbroken if no_such_function(1)\n", 3),
        ):
            t.title_of(what)
            broken.write_text(text)
            event = t.appliance.reload("policy_rejected", "policy_loaded")
            t.expect(event["SALLYPORT_EVENT"] == "policy_rejected", f"a broken policy was taken: {event.get('MESSAGE')}")
            message = event["MESSAGE"]
            t.expect(re.search(rf"broken\.rego:({line}|{line + 1})\b", message), f"no file and line in {message!r}")
            Sweep(t).decided()
    finally:
        broken.unlink(missing_ok=True)
        t.appliance.reload("policy_loaded")
    Sweep(t).decided()


def complaint(done, program):
    """What is wrong with an error message: None if it is one line that begins with the program's name."""
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode != 2:
        return f"exit {done.returncode}, not 2: {done.stdout[-400:]}"
    if len(lines) != 1 or not lines[0].startswith(f"{program}: "):
        return f"not one line that begins with {program}: {done.stdout[-400:]}"
    return None


@attempt("bad input", "a wrong configuration: exit 2, one line with file, line, key and what to do", **ONCE)
def bad_configuration(t):
    good = t.appliance.settings()
    base = json.dumps(good)
    cases = {
        "a misspelt key": ("agents:\n  - id: a\n    uuid: [1001]\n", r"bad\.yaml:3: agents\[0\]\.uuid.*uid"),
        "an unknown section": ("agents: [{id: a}]\nagent: 3\n", r"bad\.yaml:2: agent\b"),
        "not YAML": ("agents: [\n", r"bad\.yaml:\d"),
        "no agents": ("slice: x.slice\n", r"bad\.yaml.*agents"),
        "a mask with gaps": ("agents: [{id: a}]\nmark: { mask: 0x05000000 }\n", r"bad\.yaml:2: mark\.mask"),
        "root as an agent": ("agents: [{id: a, uid: [0]}]\n", r"bad\.yaml:1: agents\[0\]\.uid"),
        "the same agent twice": ("agents: [{id: a},\n {id: a}]\n", r"bad\.yaml:2: agents\[1\]\.id"),
        "a resolver that is no address": ("agents: [{id: a}]\nresolvers: [dns.example]\n", r"bad\.yaml:2: resolvers\[0\]"),
        "a number out of range": ("agents: [{id: a}]\nqueues: { base: 70000 }\n", r"bad\.yaml:2: queues\.base"),
    }
    path = "/etc/sallyport/bad.yaml"
    for what, (text, expected) in cases.items():
        for words in (("--check",), ()):
            t.title_of(f"{what} {' '.join(words)}")
            t.lab.agent.call(lambda: open(path, "w").write(text))
            done = t.lab.agent.command(t.appliance.binaries / "sallyportd", "--config", path, *words, check=False)
            wrong = complaint(done, "sallyportd")
            t.expect(wrong is None, wrong)
            t.expect(re.search(expected, done.stdout), f"{done.stdout!r} does not match {expected}")
    t.title_of("the good one")
    t.lab.agent.call(lambda: open(path, "w").write(base))
    done = t.lab.agent.command(t.appliance.binaries / "sallyportd", "--config", path, "--check", check=False)
    t.expect(done.returncode == 0, f"the good configuration is refused: {done.stdout}")


@attempt("bad input", "no policy directory, a policy that does not compile at the start, a missing file: exit 2, rules stay closed", **ONCE)
def bad_start(t):
    t.appliance.stop()
    broken = t.lab.root / "broken-policies"
    shutil.rmtree(broken, ignore_errors=True)
    broken.mkdir()
    (broken / "x.rego").write_text("package sallyport.egress\n\ndecision := {\n")
    try:
        for what, policy, expected in (
            ("no directory", "/nonexistent/policies", r"/nonexistent/policies"),
            ("a broken policy", str(broken), r"x\.rego:\d+"),
        ):
            t.title_of(what)
            t.appliance.configure(policy={"directory": policy, "package": "sallyport.egress"})
            done = t.lab.agent.command(t.appliance.binaries / "sallyportd", "--config", t.appliance.config, check=False, seconds=20)
            wrong = complaint(done, "sallyportd")
            t.expect(wrong is None, wrong)
            t.expect(re.search(expected, done.stdout), f"{done.stdout!r} does not match {expected}")
            sweep = Sweep(t).start()
            sweep.all_told(sweep.endings())
            sweep.nothing_passed()
        t.title_of("no file")
        done = t.lab.agent.command(t.appliance.binaries / "sallyportd", "--config", "/nonexistent.yaml", check=False)
        t.expect(complaint(done, "sallyportd") is None, complaint(done, "sallyportd"))
    finally:
        t.appliance.configure()
        t.appliance.start()
    Sweep(t).decided()


@attempt("bad input", "a second daemon: queue and control socket are in use, exit 2 with one line; the first one goes on", **ONCE)
def second_daemon(t):
    path = "/etc/sallyport/second.yaml"
    for what, changes in (
        ("queues in use", {"control": {"socket": "/run/sallyport/other.sock"}}),
        ("socket in use", {"queues": {"base": 9900, "count": 2, "length": 1024}}),
    ):
        t.title_of(what)
        t.lab.agent.call(lambda: open(path, "w").write(json.dumps(t.appliance.settings(**changes))))
        done = t.lab.agent.command(t.appliance.binaries / "sallyportd", "--config", path, check=False, seconds=20)
        wrong = complaint(done, "sallyportd")
        t.expect(wrong is None, wrong)
        Sweep(t).decided()


@attempt("journald", "gone and back: decisions go on, and what could wait is written afterwards", **ONCE)
def journald_gone(t):
    t.lab.journal.stop()
    try:
        target = t.target("echo", allowed=False)
        ending = t.say(target, hello.client_hello(target.name))
        t.expect(ending.is_refusal and t.payload(target)[0] == 0, f"without journald: {ending}")
        allowed = t.target("echo")
        sent = hello.client_hello(allowed.name)
        t.passed(allowed, t.say(allowed, sent, answered=True), received=sent[:50], sent=sent)
    finally:
        t.lab.journal.start()
    t.refused(target, ending, "policy", host=target.name)
    t.record(allowed, "allow", "allowed", host=allowed.name)
    Sweep(t).decided()


@attempt("records", "hostile bytes in names and requests: one clean record, nothing of it in the journal's own lines")
def hostile_bytes(t):
    if t.unprotected:
        return
    forged = b"\nSALLYPORT_FORGED=yes\nSALLYPORT_VERDICT=allow\n"
    cases = {
        "newline in a server name": hello.client_hello(b"refused.test" + forged),
        "NUL in a server name": hello.client_hello(b"refused.test\0" + forged),
        "60 KB of server name": hello.client_hello(b"x" * 60000),
        "newline in a path": b"GET /a" + forged + b" HTTP/1.1\r\nHost: refused.test\r\n\r\n",
        "escape sequences in a path": b"GET /\x1b]0;owned\x07\x1b[2J HTTP/1.1\r\nHost: refused.test\r\n\r\n",
        "bytes above 127 in a path": b"GET /\xff\xfe\xc3\x28 HTTP/1.1\r\nHost: refused.test\r\n\r\n",
        "newline in Host": b"GET / HTTP/1.1\r\nHost: refused.test" + forged + b"\r\n\r\n",
        "300 KB of Host": b"GET / HTTP/1.1\r\nHost: " + b"x" * 300_000 + b"\r\n\r\n",
        "300 KB of path": b"GET /" + b"y" * 300_000 + b" HTTP/1.1\r\nHost: refused.test\r\n\r\n",
        "a long path of a refused host": b"GET /" + b"z" * 30_000 + b" HTTP/1.1\r\nHost: refused.test\r\n\r\n",
        "a percent and a quote": b"GET /%0aSALLYPORT_FORGED=yes%22 HTTP/1.1\r\nHost: refused.test\r\n\r\n",
    }
    for what, data in cases.items():
        t.title_of(what)
        target = t.target("echo")
        record = t.refused(target, t.say(target, data), "policy", "parse_error", "reassembly", "held_too_long", "unknown_protocol", "no_name")
        t.clean(record)
        t.expect("SALLYPORT_FORGED" not in record, "a forged field is in the record")
    t.title_of("strings of the journal")
    found = subprocess.run(["strings", "-n", "6"], input=t.lab.journal.files(), stdout=subprocess.PIPE, check=True).stdout
    forged_lines = [line for line in found.splitlines() if line.startswith(b"SALLYPORT_FORGED")]
    t.expect(not forged_lines, f"a forged field stands in the journal: {forged_lines[:3]}")
    t.expect(b"x" * 5000 not in found and b"y" * 5000 not in found, "a name of 300 KB stands in the journal")


@attempt("records", "a refusal that is repeated is folded into one record with a count", **ONCE)
def folded(t):
    target = t.target("echo", allowed=False)
    for _ in range(40):
        ending = t.say(target, hello.client_hello(target.name))
        t.expect(ending.is_refusal, f"not refused: {ending}")
    counted = lambda: sum(int(r.get("SALLYPORT_REPEATS", 1)) for r in t.records(target, "deny"))
    t.wait(lambda: counted() >= 40, "all 40 refusals to be counted")
    t.expect(counted() == 40, f"{counted()} refusals were counted, not 40")
    t.expect(len(t.records(target, "deny")) <= 4, f"{len(t.records(target, 'deny'))} records were written")


@attempt("tools", "status, flows, decisions and explain say what happened", **ONCE)
def tools(t):
    ask = lambda *words, check=False: t.appliance.command(*words, "--config", t.appliance.config, check=check)
    done = ask("status")
    t.expect(done.returncode == 0, f"status: exit {done.returncode}: {done.stdout}")
    status = json.loads(ask("status", "--json").stdout)
    t.expect(len(status["queues"]) == 4, f"queues: {status['queues']}")
    target = t.target("echo", allowed=False)
    record = t.refused(target, t.say(target, hello.client_hello(target.name)), "policy", host=target.name)
    identifier = record["SALLYPORT_DECISION_ID"]
    lines = [json.loads(line) for line in ask("decisions", "--json", "--denied").stdout.splitlines() if line.startswith("{")]
    mine = [line for line in lines if line.get("decision_id") == identifier]
    t.expect(len(mine) == 1 and mine[0]["host"] == target.name and mine[0]["verdict"] == "deny", f"decisions: {mine}")
    explained = ask("explain", identifier)
    t.expect(explained.returncode == 0 and target.name in explained.stdout and "lab.default" in explained.stdout,
             f"explain: exit {explained.returncode}: {explained.stdout[-600:]}")
    t.expect(ask("explain", "no-such-decision").returncode in (1, 2), "explain of nothing")

    def stay():
        stream = Stream(allowed.address, allowed.port)
        stream.send(request(allowed.name))
        stream.receive()
        gate.wait()

    gate, allowed = Gate(), t.target("http")
    listed = lambda *words: json.loads(ask(*words, "--json").stdout)
    task = t.place.start(stay)
    try:
        find = lambda: [flow for flow in listed("flows", "--agent", t.place.agent_id)["flows"]
                        if flow["port"] == allowed.port and flow["address"] == allowed.address]
        t.wait(lambda: find() and find()[0].get("host"), "the flow to be listed with its host")
        flow = find()[0]
        told = {name: flow.get(name) for name in ("state", "agent", "host", "protocol", "is_inbound")}
        t.expect(told == {"state": "requests", "agent": t.place.agent_id, "host": allowed.name, "protocol": "http",
                          "is_inbound": False}, f"flows: {flow}")
        agent = next(each for each in listed("agents")["agents"] if each["id"] == t.place.agent_id)
        t.expect(min(agent[name] for name in ("live_flows", "allowed", "refused")) > 0, f"agents: {agent}")
        reasons = listed("status")["flows"]
        t.expect(reasons["refused_by_reason"].get("policy", 0) > 0
                 and sum(reasons["refused_by_reason"].values()) <= reasons["refused"], f"status: {reasons}")
        query = servers.question(allowed.name, A if t.place.family == 4 else AAAA)
        t.place.call(lambda: send_datagram(t.place.at(topology.RESOLVER), 53, query, 20))
        names = listed("names", allowed.name, "--agent", t.place.agent_id)["names"]
        t.expect([each["name"] for each in names if each["agent"] == t.place.agent_id], f"names: {names}")
    finally:
        gate.open()
        task.result()


@attempt("tools", "rules render and check: what is printed is what is in force, and a changed rule is noticed", **ONCE)
def rules(t):
    ask = lambda *words: t.appliance.command("rules", *words, "--config", t.appliance.config, check=False)
    rendered = ask("render")
    t.expect(rendered.returncode == 0 and "table inet sallyport" in rendered.stdout, f"render: {rendered.stdout[:300]}")
    t.expect("bypass" not in rendered.stdout and "flush ruleset" not in rendered.stdout, "bypass or flush in the rules")
    checked = ask("check")
    t.expect(checked.returncode == 0, f"check: exit {checked.returncode}: {checked.stdout}")
    before = t.appliance.tables()
    t.expect(ask("apply").returncode == 0 and t.appliance.tables() == before, "applying twice changes the ruleset")
    Sweep(t).decided()


@attempt("policies", "the shipped policy on the lab's data: allowed and refused names, ports and requests", **ONCE)
def shipped(t):
    source = pathlib.Path(__file__).resolve().parents[3] / "policies"
    directory = t.lab.root / "shipped-policies"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory)
    groups = {
        "web": {"hosts": {"allowed.test": None, "*.allowed.test": None}},
        "reading": {"ports": [80], "protocols": ["http"], "hosts": {"reports.test": {"methods": ["GET"], "paths": ["/public/*"]}}},
    }
    (directory / "data.yaml").write_text(json.dumps({
        "destinations": groups, "agents": {a: {"reach": ["web", "reading"]} for a in ("local-bot", "guest-bot")},
        "customers": {}, "inside": ["198.18.0.0/24", "fd00:18::/64"]}))
    t.appliance.stop()
    addresses = [topology.outside(topology.SERVER, family) for family in (4, 6)]
    t.appliance.configure(
        policy={"directory": str(directory), "package": "sallyport.egress"},
        bindings=[{"host": name, "addresses": addresses} for name in ("allowed.test", "x.allowed.test", "reports.test")])
    t.appliance.start()
    try:
        for hook in ("output", "forward"):
            for family in (4, 6):
                _shipped_at(t, t.lab.place(hook, family))
    finally:
        t.appliance.stop()
        t.appliance.configure()
        t.appliance.start()


def _shipped_at(t, place):
    """The journeys of the shipped policy at one place: real ports, so curl's exit status and the record say it."""
    resolve = lambda name, port: f"{name}:{port}:{'[' + place.server + ']' if place.family == 6 else place.server}"
    for name, url, method, expected in (
        ("x.allowed.test", "https://x.allowed.test/", "GET", None), ("x.refused.test", "https://x.refused.test/", "GET", "policy"),
        ("allowed.test", "http://allowed.test/", "GET", None), ("reports.test", "http://reports.test/public/a", "GET", None),
        ("reports.test", "http://reports.test/private", "GET", "policy"), ("reports.test", "http://reports.test/public/a", "POST", "policy"),
        ("reports.test", "https://reports.test/public/a", "GET", "policy"),
    ):
        t.title_of(f"{place}: {method} {url}")
        mark = t.lab.journal.mark()
        port = 443 if url.startswith("https") else 80
        done = place.command("curl", "-sSk", "--max-time", "30", "-X", method, "--resolve", resolve(name, port), url)
        if expected is None:
            t.expect(done.returncode == 0, f"curl exit {done.returncode}: {done.stdout}")
            t.wait(lambda: t.lab.journal.records(mark, HOST=name, VERDICT="allow", AGENT=place.agent_id), "a record")
        else:
            told = done.returncode in (7, 35, 52, 56) or "urn:sallyport:refused" in done.stdout
            t.expect(told, f"curl exit {done.returncode}: {done.stdout}")
            t.wait(lambda: t.lab.journal.records(mark, HOST=name, VERDICT="deny", REASON=expected, AGENT=place.agent_id), "a record")
