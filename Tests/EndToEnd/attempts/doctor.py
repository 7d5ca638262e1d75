"""`sallyport doctor`: silent where all is well, and for each hole that is made for real, the hole.

The build machine's clock is nobody's, so the lab is one without customers here: nothing depends on it. Uids are this run's
own: other labs on the machine have agents too."""

import contextlib
import json
import os
import pathlib
import signal
import socket

from lab.catalogue import Broken, attempt
from lab.namespaces import CAP_NET_RAW, Actor, Gate
from lab.waiting import TimedOut, until

ONCE = dict(once=True, unprotected=False)
UID = 620_000_000 + os.getpid()
"""The uid of the agent that is known by its uid; one more is that of an agent in a cgroup, two more that of run-bot."""


class Doctor:
    """Asks the doctor, and compares what it says before and while something is wrong."""

    def __init__(self, t):
        self.t = t
        self.cgroup = f"/{t.appliance.slice}/local-bot"
        self.agent = Actor(UID + 1, self.cgroup)

    def look(self):
        """The findings; exit status and counts go with them."""
        done = self.t.appliance.command("doctor", "--json", "--config", self.t.appliance.config, check=False)
        self.t.expect(done.returncode in (0, 1), f"exit {done.returncode}: {done.stdout}")
        report = json.loads(done.stdout)
        counts = {state: sum(f["state"] == state for f in report["findings"]) for state in ("ok", "hole", "unknown")}
        self.t.expect(
            (report["ok"], report["holes"], report["unknown"]) == (counts["ok"], counts["hole"], counts["unknown"]), f"counts: {report}")
        self.t.expect((done.returncode == 1) == (report["holes"] > 0), f"exit {done.returncode} with {report['holes']} holes")
        return report["findings"]

    def well(self):
        """Nothing is wrong but what is so in the lab: its journal is in memory, and no systemd runs it."""
        def wrong():
            return [f for f in self.look() if f["state"] != "ok" and f["check"] != "boot"
                    and not (f["check"] == "journal" and "in memory only" in f["detail"])]
        try:
            until(lambda: not wrong(), "doctor to find nothing")
        except TimedOut:
            raise Broken(f"where all is well: {wrong()}") from None
        return self.look()

    def finds(self, check, *words, state="hole"):
        """The finding of this check whose texts have these words; waits, since some holes take a moment."""
        def found():
            return [f for f in self.look() if f["check"] == check and f["state"] == state
                    and all(w in f["subject"] + " " + f["detail"] for w in words)]
        finding = until(found, f"doctor to say {state} {check} {words}")[0]
        self.t.expect(finding["why"] and finding["remedy"], f"no reason or remedy: {finding}")
        return finding

    @contextlib.contextmanager
    def running(self, function=lambda: None, actor=None):
        """A process on the host that takes `function`'s steps and then stays."""
        ready, gate = Gate(), Gate()

        def stay():
            kept = function()
            ready.open()
            gate.wait(60)
            return kept is None

        task = self.t.lab.agent.start(stay, actor or self.agent)
        try:
            ready.wait()
            yield task.pid
        finally:
            gate.open()
            task.result()


@contextlib.contextmanager
def doctor(t, **changes):
    """A doctor on a lab without customers."""
    t.appliance.stop()
    agents = [{**a, "uid": [UID]} if a["id"] == "uid-bot" else a for a in t.appliance.settings()["agents"]]
    settings = t.appliance.settings(agents=agents, **changes)
    del settings["customers"]
    t.appliance.write_config(json.dumps(settings))
    t.appliance.apply_rules()
    t.appliance.start()
    try:
        yield Doctor(t)
    finally:
        t.appliance.stop()
        t.appliance.configure()
        t.appliance.apply_rules()
        t.appliance.start()


@attempt("doctor", "where all is well, with agents running or not, no hole but the lab's own; every check is told", **ONCE)
def well(t):
    with doctor(t) as ask:
        checks = {f["check"] for f in ask.well()}
        t.expect(len(checks) == 27, f"{len(checks)} checks: {sorted(checks)}")
        line = f"doctor-bot:x:{UID + 2}:{UID + 2}::/nonexistent:/bin/sh\n"
        t.lab.agent.call(lambda: open("/etc/passwd", "a").write(line))
        ready = t.lab.root / "ready"
        ready.unlink(missing_ok=True)
        agent = t.lab.agent.spawn(
            t.appliance.binaries / "sallyport", "run", "--config", t.appliance.config, "--agent", "run-bot", "--user", "doctor-bot", "--",
            "/usr/bin/python3", "-c", "import socket, sys; s = socket.socket(); print('ready', flush=True); sys.stdin.read()",
            stdin=-1, stdout=open(ready, "wb"))
        try:
            until(lambda: ready.read_text() == "ready\n", "the agent to run")
            ask.well()
        finally:
            agent.stdin.close()
            agent.wait(20)
        done = t.appliance.command("doctor", "--config", t.appliance.config, check=False)
        lines = done.stdout.splitlines()
        t.expect(lines[-1].endswith(" ok, 1 holes, 1 unknown"), f"text: {done.stdout}")
        left = t.lab.agent.call(lambda: os.path.exists(f"/sys/fs/cgroup/{t.appliance.slice}/doctor-probe"))
        t.expect(not left, "the probe's cgroup is still there")


@attempt("doctor", "cannot look: not root, no configuration, from inside the slice: exit 2 and one line", **ONCE)
def cannot(t):
    with doctor(t) as ask:
        for what, config, actor, expected in (
            ("not root", t.appliance.config, Actor(65534), "not root"),
            ("no configuration", "/nonexistent.yaml", Actor(), "/nonexistent.yaml"),
            ("confined itself", t.appliance.config, Actor(0, ask.cgroup), "confined itself"),
        ):
            t.title_of(what)
            done = t.appliance.command("doctor", "--config", config, check=False, actor=actor)
            lines = done.stdout.splitlines()
            t.expect(done.returncode == 2 and len(lines) == 1 and lines[0].startswith("sallyport: doctor: ") and expected in lines[0],
                     f"exit {done.returncode}: {done.stdout}")


@attempt("doctor", "a daemon that is stopped, killed or gone with its rules", **ONCE)
def daemon_away(t):
    with doctor(t) as ask:
        t.title_of("a stopped daemon")
        t.appliance.send_signal(signal.SIGSTOP)
        try:
            ask.finds("daemon", "does not answer")
            t.title_of("its rules deleted")
            t.lab.agent.command("nft", "delete", "table", "inet", "sallyport")
            finding = ask.finds("rules", "not loaded")
            t.expect(finding["remedy"] == "sallyport rules apply", f"remedy: {finding}")
            t.expect(all(f["state"] == "ok" for f in ask.look() if f["check"] == "flow_refused"), "nothing holds while they are gone")
        finally:
            t.appliance.send_signal(signal.SIGCONT)
        t.appliance.apply_rules()
        until(lambda: t.appliance.command("status", "--config", t.appliance.config, check=False).returncode == 0, "the daemon to decide")
        ask.well()
        t.title_of("a killed daemon")
        t.appliance.stop(signal.SIGKILL)
        ask.finds("queues", "nobody attends")
        ask.finds("flow_decided", state="unknown")
        t.expect(all(f["state"] == "ok" for f in ask.look() if f["check"] == "flow_refused"), "the rules refuse by themselves")
        t.title_of("no rules either")
        t.lab.agent.command("nft", "delete", "table", "inet", "sallyport")
        ask.finds("flow_refused", "arrived")
        ask.finds("ipv6", "arrive")
        t.appliance.apply_rules()


@attempt("doctor", "rules of others that undo a verdict, and those that do not", **ONCE)
def other_rules(t):
    nft = lambda *words: t.lab.agent.command("nft", *words)
    with doctor(t) as ask:
        harmless = (
            ("raw", "prerouting", -100, "udp dport 99 notrack"), ("filter", "output", -150, "meta mark set meta mark | 0x1"),
            ("filter", "output", 0, "meta mark set 0x7"), ("filter", "output", 0, "ct mark set ct mark & 0xffffff00 | 0x2"),
            ("filter", "output", -200, "accept"), ("nat", "prerouting", -100, "tcp dport 9 dnat to 198.18.0.9"),
            ("filter", "forward", 0, "tcp dport 9 drop"),
        )
        harmful = (
            ("filter", "output", -300, "udp dport 99 notrack", "notrack"),
            ("filter", "output", -150, "meta mark set 0x1", "packet mark"),
            ("filter", "forward", 0, "ct mark set meta mark", "connection mark"),
            ("nat", "output", -100, "tcp dport 9 dnat to 198.18.0.9", "destination"),
            ("filter", "prerouting", -300, "dup to 198.18.0.9", "copies"),
        )
        for kind, hook, priority, rule, *word in [*harmless, *harmful]:
            t.title_of(f"{hook} {priority}: {rule}")
            nft("add", "table", "ip", "other")
            nft("add", "chain", "ip", "other", "c", f"{{ type {kind if kind != 'raw' else 'filter'} hook {hook} priority {priority}; }}")
            nft("add", "chain", "ip", "other", "sub")
            nft("add", "rule", "ip", "other", "sub", rule)
            nft("add", "rule", "ip", "other", "c", "jump", "sub")
            try:
                if not word:
                    ask.well()
                    continue
                finding = ask.finds("other_tables", "ip other c", *word)
                for command in finding["remedy"].split("; "):
                    t.lab.agent.command("sh", "-c", command)
                ask.well()
            finally:
                nft("delete", "table", "ip", "other")


@attempt("doctor", "the same of iptables, in its own words", **ONCE)
def iptables_rules(t):
    with doctor(t) as ask:
        run = lambda *words: t.lab.agent.command("iptables-nft", *words)
        for table, rule, word in (
            ("raw", "OUTPUT -p udp --dport 99 -j CT --notrack", "notrack"), ("mangle", "OUTPUT -j CONNMARK --set-mark 7", "connection mark"),
            ("mangle", "OUTPUT -j MARK --set-mark 7", "packet mark"), ("mangle", "POSTROUTING -j NFQUEUE --queue-num 8801", "queues"),
            ("nat", "OUTPUT -p tcp --dport 9 -j DNAT --to-destination 198.18.0.9", "destination"),
        ):
            t.title_of(rule)
            run("-t", table, "-A", *rule.split())
            try:
                finding = ask.finds("other_tables", f"ip {table}", word)
                for command in finding["remedy"].split("; "):
                    t.lab.agent.command("sh", "-c", command)
                ask.well()
            finally:
                run("-t", table, "-F")
        run("-t", "mangle", "-A", "OUTPUT", "-j", "MARK", "--set-xmark", "0x1/0xff")
        ask.well()
        run("-t", "mangle", "-F")


@attempt("B81", "doctor finds an agent that is uid 0, or may make packets, or makes them", **ONCE)
def privileges(t):
    with doctor(t) as ask:
        t.title_of("uid 0")
        with ask.running(actor=Actor(0, ask.cgroup)) as pid:
            for check in ("root", "capabilities", "cgroup_escape"):
                finding = ask.finds(check, f"process {pid} ", "local-bot")
            t.expect(finding["subject"].endswith("agent local-bot)"), f"subject: {finding}")
        t.title_of("CAP_NET_RAW and a packet socket")
        capable = Actor(UID + 1, ask.cgroup, (CAP_NET_RAW,))
        with ask.running(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), capable) as pid:
            ask.finds("capabilities", f"process {pid} ", "CAP_NET_RAW")
            ask.finds("packet_sockets", f"process {pid} ", "packet socket")
        t.title_of("a raw socket, and no filter")
        with ask.running(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 59), capable) as pid:
            ask.finds("packet_sockets", f"process {pid} ", "raw socket")
            if "AF_VSOCK" in pathlib.Path("/proc/net/protocols").read_text():
                ask.finds("vsock", f"process {pid} ")
        ask.well()


@attempt("B65", "doctor finds a socket that was made in another cgroup", **ONCE)
def handed(t):
    with doctor(t) as ask:
        def keep():
            listener = socket.create_server(("127.0.0.1", 0))
            client = socket.create_connection(listener.getsockname())
            ask.agent.assume()
            return listener, client

        def listen():
            listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
            ask.agent.assume()
            return listener

        def bind():
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.bind(("127.0.0.1", 0))
            ask.agent.assume()
            return datagrams

        for what, make in (("connected", keep), ("listening", listen), ("datagrams", bind)):
            t.title_of(what)
            with ask.running(make, Actor()) as pid:
                ask.finds("held_sockets", f"process {pid} ", "made in")
        t.title_of("its own")
        with ask.running(lambda: socket.create_server(("127.0.0.1", 0))) as pid:
            told = [f for f in ask.look() if f["check"] == "held_sockets"]
            t.expect([f["state"] for f in told] == ["ok"], f"{told}")
        ask.well()


@attempt("B59", "doctor finds a process of the agent's user outside of its cgroup; by uid it is confined wherever it is", **ONCE)
def outside(t):
    with doctor(t) as ask:
        with ask.running() as inside, ask.running(actor=Actor(UID + 1)) as away:
            finding = ask.finds("agents_outside", f"process {away} ", f"uid {UID + 1}")
            t.expect(f"process {inside} " not in finding["subject"], f"the wrong one: {finding}")
        with ask.running(actor=Actor(UID)):
            finding = [f for f in ask.look() if f["check"] == "agents_outside"][0]
            t.expect(finding["state"] == "ok" and f"uid {UID} is confined" in finding["detail"], f"{finding}")


@attempt("B51", "doctor finds sockets of resolvers that an agent reaches, and of container engines", **ONCE)
@attempt("B60", "doctor finds sockets of container engines that an agent reaches, and of resolvers", **ONCE)
def services(t):
    def listen(path, mode):
        def make():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # of a real one that a test before has run
            server = socket.socket(socket.AF_UNIX)
            server.bind(path)
            os.chmod(path, mode)
            server.listen()
            return server
        return make

    with doctor(t) as ask:
        for check, path in (
            ("engine_sockets", "/run/docker.sock"), ("engine_sockets", "/run/podman/podman.sock"),
            ("resolvers", "/run/systemd/resolve/io.systemd.Resolve"), ("resolvers", "/run/nscd/socket"),
        ):
            for mode in (0o666, 0o660):
                t.title_of(f"{path} {mode:o}")
                with ask.running(listen(path, mode), Actor()), ask.running() as pid:
                    if mode == 0o666:
                        ask.finds(check, f"process {pid} ", path)
                    else:
                        told = [f for f in ask.look() if f["check"] == check]
                        t.expect([f["state"] for f in told] == ["ok"], f"root's alone, but: {told}")
                t.lab.agent.call(lambda: os.unlink(path))
        ask.well()


@attempt("doctor", "containers: two ports of a listed bridge, and a listed port of a bridge", **ONCE)
def bridges(t):
    ip = lambda *words: t.lab.agent.command("ip", "link", *words)
    t.appliance.stop()
    changed = [{**a, "interface": [*a["interface"], "dbr0"]} if a["id"] == "guest-bot" else a for a in t.appliance.settings()["agents"]]
    try:
        ip("add", "dbr0", "type", "bridge")
        for port in ("dp0", "dp1"):
            ip("add", port, "type", "veth", "peer", "name", port + "x")
            ip("set", port, "master", "dbr0")
        t.lab.agent.command("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
        settings = t.appliance.settings(agents=changed)
        del settings["customers"]
        t.appliance.write_config(json.dumps(settings))
        t.appliance.apply_rules()
        t.appliance.start()
        ask = Doctor(t)
        finding = ask.finds("containers", "bridge dbr0", "dp0, dp1")
        t.lab.agent.command("sh", "-c", finding["remedy"].replace("modprobe br_netfilter; ", ""))
        t.expect(not [f for f in ask.look() if f["check"] == "containers" and f["state"] == "hole"], "the remedy does not help")
        t.title_of("a port")
        settings["agents"] = [{**a, "interface": ["dp0"]} if a["id"] == "guest-bot" else a for a in settings["agents"]]
        t.appliance.write_config(json.dumps(settings))
        ask.finds("containers", "interface dp0", "port of dbr0")
        ask.finds("configuration", "other agents")
    finally:
        for device in ("dp0", "dp1", "dbr0"):
            t.lab.agent.command("ip", "link", "del", device, check=False)
        t.appliance.stop()
        t.appliance.configure()
        t.appliance.apply_rules()
        t.appliance.start()


@attempt("doctor", "dns: off, a journal that is away, a clock that nothing keeps: what is lost is said", **ONCE)
def given_up(t):
    with doctor(t, dns=False) as ask:
        t.title_of("dns: off")
        ask.finds("names", "dns: off", "Encrypted ClientHello")
    t.title_of("the clock")
    status = t.appliance.command("doctor", "--json", "--config", t.appliance.config, check=False)
    clock = [f for f in json.loads(status.stdout)["findings"] if f["check"] == "clock"]
    t.expect(len(clock) == 1 and clock[0]["state"] == ("ok" if clock[0]["detail"] == "synchronised" else "hole"), f"{clock}")
    t.title_of("the journal")
    with doctor(t) as ask:
        t.lab.journal.stop()
        try:
            ask.finds("journal", "nobody takes records")
        finally:
            t.lab.journal.start()
        ask.well()
