"""Real servers of other programs, started in `net` for one test."""

import os
import pathlib
import shutil
import socket

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


class Peer:
    """A server that listens on a port of its own; every target of a test is led there, so that each keeps its own port."""

    def __init__(self, t):
        self._net, self._process = t.lab.net, None
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
        output = self.directory / "output"
        with open(output, "wb") as out:
            self._process = self._net.spawn(*(self._as_nobody(words) if nobody else words), stdout=out, stderr=out)
        until(lambda: self._process.poll() is not None or self._net.call(self._listens), f"{words[0]} to listen")
        if self._process.poll() is not None:
            raise AssertionError(f"{words[0]} ended: {output.read_text(errors='replace')[-600:]}")
        self._net.command("nft", "-f", "-", text=f"table inet peer{self.port} {{ chain lead {{ type nat hook prerouting priority -100; }}; }}")

    def _listens(self):
        try:
            socket.create_connection((topology.outside(topology.SERVER, 6), self.port), timeout=2).close()
            return True
        except OSError:
            return False

    def target(self, t, allowed=True, **options):
        """A fresh destination that this server answers."""
        target = t.target("peer", allowed, **options)
        self._net.command("nft", "add", "rule", "inet", f"peer{self.port}", "lead", "tcp", "dport", target.port,
                          "redirect", "to", f":{self.port}")
        return target
