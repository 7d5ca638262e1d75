"""Real servers of other programs, started in `net` for one test."""

import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import sys

from . import topology
from .catalogue import Skip
from .waiting import until

NOBODY = "nobody"


def program(*names):
    """Where one of these programs is; without any of them the test is skipped."""
    places = [*os.environ.get("PATH", "").split(":"), "/usr/sbin", *map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin"))]
    for name in names:
        if found := shutil.which(name, path=":".join(places)):
            return found
    raise Skip(f"no {' or '.join(names)}")


AIOQUIC = "~/.cache/sallyport-peers/aioquic"
"""Where aioquic's packages are, unless SALLYPORT_AIOQUIC names another directory: Debian 12 has none."""


def http3(lab):
    """The words that run http3.py; without aioquic the test is skipped. The packages are copied into the lab once:
    agents cannot read what is root's own."""
    copy = lab.root / "aioquic"
    home = pathlib.Path(os.environ.get("SALLYPORT_AIOQUIC") or AIOQUIC).expanduser()
    if not copy.exists():
        if home.is_dir():
            shutil.copytree(home, copy)
        else:
            copy.mkdir()
        shutil.copy(pathlib.Path(__file__).with_name("http3.py"), copy)
        subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
    words = [sys.executable, "-B", copy / "http3.py"]
    if lab.net.command(*words, "--help", check=False).returncode != 0:
        raise Skip(f"no aioquic ({sys.executable} -m pip install --target {home} aioquic==1.2.0)")
    return words


class Peer:
    """A server that listens on a port of its own; every target of a test is led there, so that each keeps its own port."""

    def __init__(self, t, transport="tcp"):
        self._net, self._process, self._transport = t.lab.net, None, transport
        self.port = t.lab.port("peer")
        self.directory = t.lab.root / f"peer-{self.port}"
        self.directory.mkdir()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._net.command("nft", "delete", "table", "inet", f"peer{self.port}", check=False)
        self._forget()

    def owned(self, path, mode=0o600):
        """A copy of a file of the lab in this server's directory, which nobody owns."""
        copy = self.directory / path.name
        shutil.copy(path, copy)
        copy.chmod(mode)
        shutil.chown(copy, NOBODY)
        return copy

    def prepare(self, *words):
        """Runs a program as nobody before the server starts."""
        shutil.chown(self.directory, NOBODY)
        self._net.command(*self._as_nobody(words), environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})

    @staticmethod
    def _as_nobody(words):
        return ["setpriv", "--reuid", NOBODY, "--regid", "nogroup", "--clear-groups", "--", *words]

    def start(self, *words, nobody=True):
        """Starts the server and waits until it answers."""
        shutil.chown(self.directory, NOBODY)
        with open(self.directory / "output", "wb") as out:
            self._process = self._net.spawn(*(self._as_nobody(words) if nobody else words), stdout=out, stderr=out)
        until(lambda: self._process.poll() is not None or self._listens(), f"{words[0]} to listen")
        if self._process.poll() is not None:
            raise AssertionError(f"{words[0]} ended: {self.output()[-600:]}")
        self._net.command("nft", "-f", "-", text=f"table inet peer{self.port} {{ chain lead {{ type nat hook prerouting priority -100; }}; }}")
        self._forget()

    def output(self):
        """What the server printed so far."""
        return (self.directory / "output").read_text(errors="replace")

    def _listens(self):
        if self._transport == "udp":
            return self._net.command("ss", "-Hlun", f"sport = :{self.port}").stdout.strip()
        return self._net.call(self._accepts)

    def _accepts(self):
        try:
            socket.create_connection((topology.outside(topology.SERVER, 6), self.port), timeout=2).close()
            return True
        except OSError:
            return False

    def _forget(self):
        """The kernel leads a UDP socket's datagrams as it did the first; a port that is used again has to be led anew."""
        self._net.command("conntrack", "-D", "-p", "udp", check=False)

    def lead(self, *matches):
        """Leads what these words of nft match to this server."""
        for family, protocol, place in ((4, "ip", "{}:{}"), (6, "ip6", "[{}]:{}")):
            if {"ip", "ip6"} - {protocol} & set(matches):
                continue  # of the other family
            where = place.format(topology.outside(topology.SERVER, family), self.port)
            self._net.command("nft", "add", "rule", "inet", f"peer{self.port}", "lead", "meta", "nfproto", f"ipv{family}", *matches,
                              "dnat", protocol, "to", where)

    def target(self, t, allowed=True, **options):
        """A fresh destination that this server answers."""
        target = dataclasses.replace(t.target("peer", allowed, **options), transport=self._transport)
        self.lead(self._transport, "dport", target.port)
        return target
