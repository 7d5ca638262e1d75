"""Resolvers of other programs on the agent host, and agents that are told to ask them."""

import os
import pathlib
import shutil

from . import servers, topology
from .catalogue import Broken, Skip
from .peers import NOBODY, program
from .waiting import TimedOut, until

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
STUB = "127.0.0.53"
"""Where systemd-resolved listens."""

RESOLVED = "~/.cache/sallyport-peers/systemd-resolved"
"""Where the package systemd-resolved is unpacked, unless SALLYPORT_RESOLVED names another directory: installing it would
change by whom this machine's own names are resolved."""

_CONFIGURATION = """[Resolve]
DNS={upstream}
DNSSEC=no
LLMNR=no
MulticastDNS=no
"""


class HostResolver:
    """A resolver on the agent host, a plain process of it, that asks the lab's resolver."""

    def __init__(self, lab, *addresses):
        self._lab, self._addresses, self._process = lab, addresses, None
        self._out = lab.root / "host-resolver.out"

    def dnsmasq(self):
        """Starts dnsmasq at these addresses."""
        return self._start(
            program("dnsmasq"), "--conf-file=/dev/null", "--keep-in-foreground", "--pid-file", f"--user={NOBODY}", "--no-resolv",
            "--no-hosts", "--bind-interfaces", *(f"--listen-address={address}" for address in self._addresses),
            f"--server={topology.outside(topology.RESOLVER, 4)}")

    def resolved(self):
        """Starts systemd-resolved, without D-Bus."""
        home = pathlib.Path(os.environ.get("SALLYPORT_RESOLVED") or RESOLVED).expanduser()
        places = [directory / "lib/systemd/systemd-resolved" for directory in (home, pathlib.Path("/"))]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise Skip(f"no systemd-resolved (apt-get download systemd-resolved; dpkg -x systemd-resolved_*.deb {home})")
        upstream = topology.outside(topology.RESOLVER, 4)
        self._lab.agent.call(lambda: _settle(_CONFIGURATION.format(upstream=upstream)))
        # It has no journal to write to here.
        return self._start(found, environment={**os.environ, "SYSTEMD_LOG_TARGET": "console", "SYSTEMD_LOG_LEVEL": "debug"})

    def _start(self, *words, environment=None):
        with self._out.open("wb") as out:
            self._process = self._lab.agent.spawn(*words, environment=environment, stdout=out, stderr=out)

        def answers():
            if self._process.poll() is not None:
                raise Broken(f"{words[0]} ended: {self._said()}")
            return self._lab.agent.call(lambda: all(map(servers.answers, self._addresses)))

        try:
            until(answers, f"{words[0]} to answer")
        except TimedOut as late:
            raise Broken(f"{late}; it said: {self._said()}") from None
        return self

    def _said(self):
        """The last that it printed."""
        return self._out.read_text(errors="replace")[-1500:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()


class Asking:
    """While it lasts the agents at a test's place ask this resolver, which the appliance knows."""

    FILE = pathlib.Path("/etc/resolv.conf")

    def __init__(self, t, address):
        self._t, self._address = t, address
        self._host = t.place.host
        self._before = self._host.call(self.FILE.read_text)

    def __enter__(self):
        self.over("")
        if not self._t.unprotected:
            self._configure(resolvers=[*self._t.appliance.settings()["resolvers"], self._address])
        return self

    def over(self, options):
        """Says how they ask, in the words of resolv.conf(5)."""
        text = f"nameserver {self._address}\n" + (f"options {options}\n" if options else "")
        self._host.call(lambda: self.FILE.write_text(text))

    def __exit__(self, *_):
        self._host.call(lambda: self.FILE.write_text(self._before))
        if not self._t.unprotected:
            self._configure()

    def _configure(self, **changes):
        self._t.appliance.configure(**changes)
        self._t.appliance.reload("policy_loaded")


def _settle(configuration):
    """What systemd-resolved wants to find. Runs on the agent host, whose /etc and /run are its own."""
    uid = 61053
    for path, line in (("/etc/passwd", f"systemd-resolve:x:{uid}:{uid}::/:/usr/sbin/nologin\n"), ("/etc/group", f"systemd-resolve:x:{uid}:\n")):
        if "systemd-resolve:" not in pathlib.Path(path).read_text():
            with open(path, "a", encoding="ascii") as out:
                out.write(line)
    pathlib.Path("/etc/systemd/resolved.conf").write_text(configuration)
    directory = pathlib.Path("/run/systemd/resolve")
    directory.mkdir(parents=True, exist_ok=True)
    shutil.chown(directory, "systemd-resolve", "systemd-resolve")
