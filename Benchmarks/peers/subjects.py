"""What is compared: Sallyport, the peers as Debian 12 has them, and nothing at all. A subject enforces on a `Ground`, which is
the agent's host in one of the labs.

The peers' configurations are not part of the project: SALLYPORT_PEERS names their folder. Names, addresses and paths in them
are replaced by those of the lab; beside that, squid gets what lets it start and stop here."""
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

from pair import ROOT, Failed

CONFIGURATIONS = pathlib.Path(os.environ.get("SALLYPORT_PEERS", os.path.join(ROOT, "..", "shared", "tools", "peers")))
TLS_PORT, HTTP_PORT = 3130, 3129


@dataclasses.dataclass
class Ground:
    """The agent's host. `run(*words)` runs a program on it to its end, `spawn(*words)` starts one that goes on. `agent` is the
    uid of its agents, `guests` the interface behind which others are. What goes to `tls` and `http`, ports and ranges of
    them, stands for ports 443 and 80. `names` are allowed at the `servers`, and all below `suffix`."""

    run: object
    spawn: object
    folder: pathlib.Path
    agent: int
    servers: tuple
    resolvers: tuple
    names: tuple
    tls: tuple
    http: tuple
    suffix: str = ""
    guests: str = ""
    families: tuple = (4, 6)


class Nothing:
    """No enforcement."""

    name, key, program = "no enforcement", "none", None
    families = (4, 6)

    def __init__(self, ground):
        self.ground, self.process = ground, None

    @classmethod
    def why_not(cls):
        """Why it cannot run here, or None."""
        if cls.program and not shutil.which(cls.program, path=_PATH):
            return f"{cls.program} is not installed"
        if cls.program and not CONFIGURATIONS.is_dir():
            return f"no configurations in {CONFIGURATIONS} (set SALLYPORT_PEERS)"
        return None

    @classmethod
    def version(cls):
        """What it says of itself."""
        return ""

    def begin(self):
        """Enforcement begins; returns when it does."""

    def end(self):
        """Enforcement ends, and leaves nothing behind."""

    def kill(self):
        """What an operator never does, and the kernel does when memory runs out."""

    def flush(self):
        """What other firewall software does when it starts."""
        self.ground.run("nft", "flush", "ruleset")

    def resident(self):
        """Resident memory in MiB, of all its processes."""
        return sum(_resident(pid) for pid in _tree(self.process.pid)) if self.process else 0.0


class Daemon(Nothing):
    """A program that enforces as long as it runs."""

    def begin(self):
        """Writes the configuration, starts the program and captures the agents' traffic."""
        why_not = self.why_not()
        if why_not:
            raise Failed(why_not)
        self.place = self.ground.folder / self.key
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(mode=0o777)
        self.place.chmod(0o777)
        self.process = self.ground.spawn(*self.configure())
        self._until(self.is_ready, "is not ready")
        self.capture()

    def end(self):
        """Ends the program and takes every rule away."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.ground.run("nft", "flush", "ruleset")

    def kill(self):
        """`kill -9`."""
        self.process.kill()
        self.process.wait()

    def configure(self):
        """Writes what the program reads; returns the words that start it."""
        raise NotImplementedError

    def is_ready(self):
        """Whether it serves."""
        listening = self.ground.run("ss", "-Hltn")
        return all(f":{port} " in listening for port in (TLS_PORT, HTTP_PORT))

    def capture(self):
        """Leads the agents' traffic to it."""

    def adapted(self, name, *changes):
        """A configuration with changes (old text, new text), each of which must be needed."""
        text = (CONFIGURATIONS / name).read_text()
        for old, new in changes:
            if old not in text:
                raise Failed(f"{CONFIGURATIONS / name} has no {old!r} to adapt")
            text = text.replace(old, new)
        path = self.place / name
        path.write_text(text)
        return path

    def _until(self, condition, what, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} {what} after {seconds} s")
            time.sleep(0.02)


class Proxy(Daemon):
    """A transparent proxy: the kernel redirects the agents' TLS and HTTP to it. Beside it stands the firewall that an operator
    would put there: DNS to the resolvers, and nothing else."""

    def capture(self):
        """Redirects and rejects, IPv4 and IPv6, by the agents' uid and by the guests' interface."""
        for family in self.ground.families:
            self.ground.run("sh", "-ec", "\n".join(self._rules(family)))

    def _rules(self, family):
        ground, tables, here = self.ground, *(("iptables", "127.0.0.1") if family == 4 else ("ip6tables", "::1"))
        whose = [("OUTPUT", "OUTPUT", f"-m owner --uid-owner {ground.agent}")]
        if ground.guests:
            whose.append(("PREROUTING", "FORWARD", f"-i {ground.guests}"))
        for nat, chain, match in whose:
            for ports, to in ((ground.tls, TLS_PORT), (ground.http, HTTP_PORT)) if family in self.families else ():
                for port in ports:
                    yield f"{tables} -w -t nat -A {nat} {match} -p tcp --dport {port} -j REDIRECT --to-ports {to}"
            for port in (TLS_PORT, HTTP_PORT) if chain == "OUTPUT" else ():
                yield f"{tables} -w -A {chain} {match} -d {here} -p tcp --dport {port} -j ACCEPT"
            for resolver in (r for r in ground.resolvers if (":" in r) == (family == 6)):
                for transport in ("udp", "tcp"):
                    yield f"{tables} -w -A {chain} {match} -d {resolver} -p {transport} --dport 53 -j ACCEPT"
            yield f"{tables} -w -A {chain} {match} -p tcp -j REJECT --reject-with tcp-reset"
            yield f"{tables} -w -A {chain} {match} -j REJECT"


class HAProxy(Proxy):
    """haproxy in TCP mode by server name, in HTTP mode by Host. It learns where a redirected connection was going over IPv4 only;
    a redirected one over IPv6 it would open to itself, so there the firewall refuses all."""

    name, key, program = "haproxy", "haproxy", "haproxy"
    families = (4,)

    @classmethod
    def version(cls):
        """The version, as haproxy says it."""
        return _first(r"version (\S+)", "haproxy", "-v")

    def configure(self):
        """haproxy.cfg with the lab's names."""
        (self.place / "allow.lst").write_text("\n".join(self.ground.names) + "\n")
        changes = [("peers/allow.lst", str(self.place / "allow.lst"))]
        if self.ground.suffix:
            changes.append((".sub.allowed.example", self.ground.suffix))
        return "haproxy", "-db", "-f", self.adapted("haproxy.cfg", *changes)


class Squid(Proxy):
    """squid that peeks at the ClientHello and splices, and verifies that a name leads to the address."""

    name, key, program = "squid", "squid", "squid"

    @classmethod
    def version(cls):
        """The version, as squid says it."""
        return _first(r"Version (\S+)", "squid", "-v")

    def configure(self):
        """squid.conf with the lab's names and resolver, and a certificate, which it wants for each of its TLS ports."""
        ground = self.ground
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=lab", "-keyout", self.place / "key.pem", "-out", self.place / "ca.pem"],
                       check=True, capture_output=True)
        with open(self.place / "ca.pem", "a") as file:
            file.write((self.place / "key.pem").read_text())
        (self.place / "ca.pem").chmod(0o644)
        names = [name for name in ground.names if not ground.suffix or not ("." + name).endswith(ground.suffix)]
        changes = [("allowed.example .sub.allowed.example", " ".join(names + ([ground.suffix] if ground.suffix else []))),
                   ("peers/ca.pem", str(self.place / "ca.pem")), ("/run/peers/", f"{self.place}/"),
                   ("peers/hosts", str(self.place / "hosts"))]
        if ground.resolvers:
            changes.append(("dns_nameservers 127.0.0.1", f"dns_nameservers {ground.resolvers[0]}"))
            (self.place / "hosts").write_text("127.0.0.1 localhost\n")
        else:
            (self.place / "hosts").write_text("".join(f"{a} {n}\n" for a in ground.servers for n in ground.names))
        path = self.adapted("squid.conf", *changes)
        with open(path, "a") as file:
            file.write("visible_hostname lab.test\npinger_enable off\nshutdown_lifetime 0 seconds\n")
        return "squid", "-N", "-f", path


class OpenSnitch(Daemon):
    """OpenSnitch without its window: it knows addresses, and no names. Its rules take in the host's own traffic only."""

    name, key, program = "OpenSnitch", "opensnitch", "opensnitchd"

    @classmethod
    def version(cls):
        """The version of the package."""
        return _first(r"(\S+)", "dpkg-query", "-W", "-f", "${Version}", "opensnitch")

    def configure(self):
        """One rule for each address that is allowed. It reads its configuration in one place only, so it gets a mount
        namespace where that is the lab's."""
        (self.place / "rules").mkdir()
        (self.place / "etc").mkdir()
        rule = json.loads((CONFIGURATIONS / "opensnitch-rule-a.json").read_text())
        for number, address in enumerate((*self.ground.servers, *self.ground.resolvers)):
            rule["name"], rule["operator"]["data"] = f"rule-{number}", address
            (self.place / "rules" / f"rule-{number}.json").write_text(json.dumps(rule))
        path = self.adapted("opensnitch-default-config.json", ("/run/peers/", f"{self.place}/"))
        shutil.copy(path, self.place / "etc" / "default-config.json")
        shutil.copy("/etc/opensnitchd/system-fw.json", self.place / "etc")
        script = 'mount --bind "$0/etc" /etc/opensnitchd && exec opensnitchd -rules-path "$0/rules"'
        return "unshare", "--mount", "--propagation", "private", "sh", "-c", script, self.place

    def is_ready(self):
        """Whether its rules queue, and it attends the queue."""
        return ("NFQUEUE" in self.ground.run("iptables", "-w", "-t", "mangle", "-S")
                and self.ground.run("cat", "/proc/net/netfilter/nfnetlink_queue").strip())


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PEERS = (HAProxy, Squid, OpenSnitch)


def _first(pattern, *words):
    """What a pattern finds in a program's output; empty without it."""
    try:
        found = re.search(pattern, subprocess.run(words, capture_output=True, text=True).stdout)
    except OSError:
        return ""
    return found[1] if found else ""


def _tree(pid):
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, pathlib.Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except OSError:
            pass
    return found


def _resident(pid):
    """Resident memory of one process in MiB."""
    try:
        found = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0
