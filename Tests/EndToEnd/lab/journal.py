"""A real journald on the agent host, in its own mounts, and the records that the appliance wrote to it."""

import json
import os
import pathlib
import socket
import subprocess

from .waiting import until

_CONFIGURATION = """[Journal]
Storage=volatile
RuntimeMaxUse=512M
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToConsole=no
ForwardToWall=no
"""

SOCKET = "/run/systemd/journal/socket"


class Journal:
    """journald, started by hand. `/run` and `/etc` of the agent host are its own (lab.py)."""

    def __init__(self, agent, root: pathlib.Path):
        self.agent, self.root = agent, root
        self._process, self._reader = None, None
        self._records, self._unread = [], b""
        agent.command("mkdir", "-p", "/run/systemd/journal", "/run/log/journal")
        agent.call(lambda: pathlib.Path("/etc/systemd/journald.conf").write_text(_CONFIGURATION))
        agent.call(lambda: pathlib.Path("/etc/machine-id").write_text("5a11bb7a5a11bb7a5a11bb7a5a11bb7a\n"))
        self.start()

    def start(self):
        """Starts journald and the reading of its records."""
        out = open(self.root / "journald.out", "ab")
        self._process = self.agent.spawn("/lib/systemd/systemd-journald", stdout=out, stderr=out)
        until(lambda: self.agent.call(_accepts), "journald's socket")
        self._follow()

    def stop(self):
        """Kills journald, as a crash would; the socket stays behind, with nobody there."""
        self._process.kill()
        self._process.wait()

    def _follow(self):
        if self._reader is not None:
            return
        until(lambda: self.agent.command("journalctl", "-q", "-n1", check=False).returncode == 0, "a journal to read")
        self._reader = self.agent.spawn(
            "journalctl", "-q", "-D", "/run/log/journal", "--no-pager", "--follow", "--lines=all", "--all", "-o", "json",
            "SYSLOG_IDENTIFIER=sallyport", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.set_blocking(self._reader.stdout.fileno(), False)

    def _take(self):
        while True:
            try:
                part = os.read(self._reader.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                return
            if not part:
                return
            *lines, self._unread = (self._unread + part).split(b"\n")
            for line in lines:
                self._records.append({key: _text(value) for key, value in json.loads(line).items()})

    def records(self, since=0, **fields):
        """All records of the appliance, from the `since`th on, whose SALLYPORT_ fields have these values (upper case,
        without prefix; a set means any of them)."""
        self._take()
        return [r for r in self._records[since:] if all(
            r.get(f"SALLYPORT_{k}") in v if isinstance(v, (set, frozenset)) else r.get(f"SALLYPORT_{k}") == str(v)
            for k, v in fields.items())]

    def events(self, kind, since=0):
        """The records of events of one kind (`started`, `rules_tampered`, `policy_rejected`, ...)."""
        return self.records(since, EVENT=kind)

    def mark(self):
        """How many records there are now, for `since`."""
        self._take()
        return len(self._records)

    def files(self):
        """The bytes of all journal files of the agent host."""
        return self.agent.call(lambda: b"".join(p.read_bytes() for p in pathlib.Path("/run/log/journal").rglob("*.journal")),
                               seconds=60)


def _text(value):
    """A field as text; journalctl prints a field that is not clean UTF-8 as an array of bytes, which is kept visible."""
    if isinstance(value, list) and all(isinstance(v, int) for v in value):
        return "BINARY:" + bytes(value).decode("latin-1")
    return value if isinstance(value, str) else json.dumps(value)


def _accepts():
    if not os.path.exists(SOCKET):
        return False
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        probe.connect(SOCKET)
        probe.send(b"MESSAGE=lab: journald is there\nSYSLOG_IDENTIFIER=lab\n")
        return True
    except OSError:
        return False
    finally:
        probe.close()
