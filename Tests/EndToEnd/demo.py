#!/usr/bin/python3
"""The demonstration: an agent on one host, the web on another, and Sallyport between them. Called by scripts/demo.

    agent host 198.18.1.2 (sallyportd, journald, the agent demo-bot) ──── net 198.18.0.1 (nginx: HTTPS and HTTP; a resolver)

Announces what each try of the agent will come to, tries it with curl, and shows beside it what happened and which journal
record says so. Ends with status 1 if anything differs from what was announced."""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import tempfile

if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3") and not os.environ.get("SPE_PYTHON"):
    os.environ["SPE_PYTHON"] = "1"
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

from lab.appliance import Appliance  # noqa: E402
from lab.journal import Journal  # noqa: E402
from lab.lab import remove_cgroups  # noqa: E402
from lab.namespaces import Host  # noqa: E402
from lab.servers import Resolver  # noqa: E402
from lab.topology import OTHER_RESOLVER, RESOLVER, SERVER, outside  # noqa: E402
from lab.waiting import TimedOut, until  # noqa: E402
from lab.web import Web  # noqa: E402

AGENT = "demo-bot"
USER = "nobody"

POLICY = """package sallyport.egress

# The demonstration's policy: one name and what is below it.
default decision := {"allow": false, "rule": "demo.default", "reason": "demo-bot may reach allowed.test alone"}

decision := {"allow": true, "rule": "demo.connect"} if input.stage == "connect"

# What it may not reach it may ask for: its refusals then show.
decision := {"allow": true, "rule": "demo.resolve"} if input.stage == "resolve"

decision := {"allow": true, "rule": "demo.names"} if {
	input.stage in {"hello", "request"}
	reachable
}

reachable if input.destination.host == "allowed.test"

reachable if endswith(input.destination.host, ".allowed.test")
"""

DATAGRAM = """
import socket, sys
sender = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sender.settimeout(20)
sender.connect((sys.argv[1], int(sys.argv[2])))
try:
    # A question for allowed.test, type A.
    sender.send(bytes.fromhex("000001000001000000000000") + b"\\7allowed\\4test\\0" + bytes.fromhex("00010001"))
    if sender.recv(512)[3] & 15 == 5:
        sys.exit("the answer is REFUSED")
except TimeoutError:
    sys.exit("silence")
except OSError as error:
    print(error)
    sys.exit(7)
"""
PASSES = {0}
REFUSED = {7, 22, 35, 52, 56}
"""How curl ends: no connection, a status of 400 or more, an alert, a connection that was closed or reset."""


class Demo:
    """Two hosts, real servers, a real journal, and the appliance."""

    def __init__(self):
        self.closers = []
        self.name = f"spd{os.getpid()}"
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}."))
        self.root.chmod(0o755)

    def build(self, binaries):
        """Makes it all; `close` takes down what there is, also after a failure in here."""
        self.agent, self.net = self._host("agent"), self._host("net")
        self._connect()
        self._mounts()
        resolver = Resolver(self.net)
        self.closers.append(resolver.close)
        self.web = Web(self.net, self.root)
        self.journal = Journal(self.agent, self.root)
        policies = self.root / "policy"
        policies.mkdir()
        (policies / "demo.rego").write_text(POLICY)
        self.appliance = Appliance(self, binaries, policies)
        self.closers.append(self._stop)
        self.appliance.configure(agents=[{"id": AGENT}], listen=[])
        self.appliance.apply_rules()
        self.appliance.start()

    def _host(self, name):
        host = Host(name)
        self.closers.append(host.close)
        host.command("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        host.command("ip", "link", "set", "lo", "up")
        return host

    def _connect(self):
        self.agent.command("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire", "netns", self.net.pid)
        for host, link, addresses in (
            (self.agent, "uplink", ("198.18.1.2/16", "fd00:18::1:2/64")),
            (self.net, "wire", tuple(f"{outside(a, 4)}/16" for a in (SERVER, RESOLVER, OTHER_RESOLVER))
             + tuple(f"{outside(a, 6)}/64" for a in (SERVER, RESOLVER, OTHER_RESOLVER))),
        ):
            host.command("ip", "link", "set", link, "up")
            for address in addresses:
                host.command("ip", "addr", "add", address, "dev", link, *(["nodad"] if ":" in address else []))

    def _mounts(self):
        self.agent.command("sh", "-c", f"""
            set -e
            mkdir -p {self.root}/etc
            mount -t tmpfs -o mode=755 none {self.root}/etc
            mkdir {self.root}/etc/upper {self.root}/etc/work
            mount -t overlay -o lowerdir=/etc,upperdir={self.root}/etc/upper,workdir={self.root}/etc/work none /etc
            mount -t tmpfs -o mode=755 none /run
            umount -R /sys/fs/cgroup
            mount -t cgroup2 none /sys/fs/cgroup
            rm -f /etc/resolv.conf
            echo nameserver {outside(RESOLVER, 4)} > /etc/resolv.conf
            echo 'hosts: files dns' > /etc/nsswitch.conf
            mkdir -p /sys/fs/cgroup/{self.name}.slice""")
        self.closers.append(lambda: self.agent.call(lambda: remove_cgroups(f"{self.name}.slice")))

    def _stop(self):
        if self.appliance.daemon is not None and self.appliance.daemon.poll() is None:
            self.appliance.daemon.kill()
            self.appliance.daemon.wait()

    def run(self, *command):
        """A command as the agent, confined by `sallyport run`."""
        return self.appliance.command(
            "run", "--config", self.appliance.config, "--agent", AGENT, "--user", USER, "--", *command, check=False, seconds=60)

    def curl(self, *words):
        """curl as the agent; a status of 400 or more is a failure, also of a request behind `--next`."""
        options = ["-sS", "--fail-with-body"]
        words = [word for part in words for word in ([part, *options] if part == "--next" else [part])]
        return self.run("curl", *options, "--max-time", "20", "--cacert", self.web.authority, *words)

    def datagram(self, address, port):
        """A datagram from a connected socket as the agent: exit 0 with an answer, 7 where the kernel said that it is refused."""
        return self.run("python3", "-c", DATAGRAM, address, str(port))

    def close(self):
        """Takes everything down."""
        while self.closers:
            try:
                self.closers.pop()()
            except Exception as error:
                print(f"demo: while closing: {error}")
        shutil.rmtree(self.root, ignore_errors=True)


class Table:
    """What was tried, announced, what happened, and which record says so."""

    def __init__(self, demo):
        self.demo, self.rows, self.differs = demo, [], False

    def attempt(self, what, words, announced, *record, **fields):
        """One try with curl; see `judge`."""
        self.judge(what, lambda: self.demo.curl(*words), announced, *record, **fields)

    def judge(self, what, tried, announced, verdict=None, reason=None, host=None, port=None):
        """One try. `announced` is `answered` or `refused`; the record must say `verdict`, `reason` and host."""
        mark = self.demo.journal.mark()
        done = tried()
        if done.returncode in PASSES:
            happened = "answered"
        elif done.returncode in REFUSED or "refused" in done.stdout.lower():
            happened = "refused"
        else:
            happened = f"exit {done.returncode}"
        record = "-"
        if verdict:
            fields = {"VERDICT": verdict, "AGENT": AGENT}
            fields.update({k: v for k, v in (("REASON", reason), ("HOST", host), ("PORT", port)) if v})
            try:
                found = until(lambda: self.demo.journal.records(mark, **fields), "a record", 10)[-1]
                record = f"{found['SALLYPORT_DECISION_ID']} {verdict} {found['SALLYPORT_REASON']} ({found.get('SALLYPORT_RULE', 'enforcement')})"
            except TimedOut:
                seen = [(r.get("SALLYPORT_VERDICT"), r.get("SALLYPORT_REASON"), r.get("SALLYPORT_HOST")) for r in self.demo.journal.records(mark)]
                record = f"NO SUCH RECORD ({verdict} {reason}); there are {seen}"
        fine = happened == announced and "NO SUCH" not in record
        self.differs = self.differs or not fine
        self.rows.append((what, announced, happened + ("" if fine else "  <-- differs"), record))
        print(f"  {'ok ' if fine else 'NO '} {what}: {happened}" + ("" if fine else f"\n      it said: {done.stdout.strip()[-300:]}"), flush=True)

    def note(self, what, announced, happened):
        """One observation that is no try of the agent."""
        self.differs = self.differs or announced != happened
        self.rows.append((what, announced, happened, "-"))
        print(f"  {'ok ' if announced == happened else 'NO '} {what}: {happened}", flush=True)

    def show(self):
        """Prints the table."""
        head = ("tried", "announced", "happened", "journal record: decision id, verdict, reason (rule)")
        widths = [max(len(row[i]) for row in [head, *self.rows]) for i in range(4)]
        line = lambda row: "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        print()
        print(line(head))
        print(line(tuple("-" * width for width in widths)))
        for row in self.rows:
            print(line(row))


def play(demo):
    """The tries, one after the other."""
    table = Table(demo)
    six, other = outside(SERVER, 6), outside(OTHER_RESOLVER, 4)
    print("What an agent tries:", flush=True)
    table.attempt("https://allowed.test/", ["https://allowed.test/"], "answered", "allow", "allowed", "allowed.test", 443)
    table.attempt("the same over IPv6", ["-6", "https://allowed.test/"], "answered", "allow", "allowed", "allowed.test", 443)
    table.attempt("http://api.allowed.test/", ["http://api.allowed.test/"], "answered", "allow", "allowed", "api.allowed.test", 80)
    table.attempt("https://refused.test/", ["https://refused.test/"], "refused", "deny", "policy", "refused.test", 443)
    table.attempt("the same over IPv6", ["-6", "https://refused.test/"], "refused", "deny", "policy", "refused.test", 443)
    table.attempt("http://www.refused.test/", ["http://www.refused.test/"], "refused", "deny", "policy", "www.refused.test", 80)
    table.attempt("HTTPS at an odd port", ["https://refused.test:30001/"], "refused", "deny", "policy", "refused.test", 30001)
    table.attempt("a second request to another host", ["http://allowed.test/", "--next", "-H", "Host: refused.test", "http://allowed.test/"],
                  "refused", "deny", "policy", "refused.test", 80)
    table.attempt("an address without a name", ["-k", f"https://[{six}]/"], "refused", "deny", "no_name", None, 443)
    table.attempt("what is neither TLS nor HTTP", ["gopher://allowed.test:80/_say%20something%20else"], "refused", "deny", "unknown_protocol", None, 80)
    table.judge("UDP to another name server", lambda: demo.datagram(other, 53), "refused", "deny", "unknown_protocol", None, 53)
    print("The daemon is killed (kill -9):", flush=True)
    demo.appliance.stop(signal.SIGKILL)
    demo.appliance.wait_closed()
    table.attempt("https://allowed.test/ without a daemon", ["--resolve", f"allowed.test:443:{outside(SERVER, 4)}", "https://allowed.test/"], "refused")
    done = demo.agent.command("curl", "-sS", "--max-time", "20", "--cacert", demo.web.authority, "https://refused.test/", check=False)
    table.note("the host itself, which is not confined", "answered", "answered" if done.returncode == 0 else f"curl exit {done.returncode}")
    demo.appliance.start()
    table.attempt("https://allowed.test/ with the daemon back", ["https://allowed.test/"], "answered", "allow", "allowed", "allowed.test", 443)
    table.show()
    explained = [row for row in table.rows if " deny policy" in row[3]]
    if explained:
        identifier = explained[0][3].split()[0]
        done = demo.appliance.command("explain", identifier, "--config", demo.appliance.config, check=False)
        print(f"\n$ sallyport explain {identifier}\n{done.stdout.rstrip()}")
        table.differs = table.differs or done.returncode != 0
    return table


def main():
    parser = argparse.ArgumentParser(description="The demonstration; scripts/demo prepares it.")
    parser.add_argument("--binaries", type=pathlib.Path, default=HERE.parent.parent / ".build-static" / "release")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    demo = Demo()
    try:
        demo.build(options.binaries.resolve())
        table = play(demo)
    finally:
        demo.close()
    print("\neverything as announced" if not table.differs else "\nNOT as announced: see the lines marked above")
    return 1 if table.differs else 0


if __name__ == "__main__":
    sys.exit(main())
