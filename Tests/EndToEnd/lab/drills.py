"""What several failure drills need: an administrator whose SSH must go on working, and attempts from all places."""

import socket

from . import hello, streams, topology
from .namespaces import Gate
from .streams import Stream
from .waiting import PATIENCE, Deadline


class Administrator:
    """Somebody who administers the agent host from outside, over a port where the server speaks first as sshd does: one
    session that stays, and new ones whenever asked. The server is a plain process of the host, in no agent's cgroup."""

    PORT = 22

    def __init__(self, lab):
        self.lab = lab
        self._server = lab.agent.start(self._serve)
        self._commands, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._session = lab.net.start(lambda: self._stay(theirs))
        self._commands.settimeout(PATIENCE)
        self.works()

    def works(self):
        """Whether the standing session answers, and new ones over both families are let in."""
        self._commands.send(b"go")
        return self._commands.recv(100) == b"fine" and all(
            self.lab.net.call(lambda family=family: self._visit(topology.AGENT_HOST[family])) for family in (4, 6))

    @classmethod
    def _serve(cls):
        import selectors
        selector = selectors.DefaultSelector()
        listener = socket.create_server(("::", cls.PORT), family=socket.AF_INET6, dualstack_ipv6=True)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.sendall(b"SSH-2.0-lab\r\n")
                    selector.register(connection, selectors.EVENT_READ)
                    continue
                try:
                    data = key.fileobj.recv(4096)
                    key.fileobj.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()

    @classmethod
    def _visit(cls, address):
        deadline = Deadline()
        while not deadline.expired():
            try:
                visit = Stream(address, cls.PORT)
                if visit.receive() != b"SSH-2.0-lab\r\n":
                    return False
                visit.send(b"uptime")
                return visit.receive() == b"uptime"
            except ConnectionRefusedError:  # the server is not up yet
                continue
        return False

    @classmethod
    def _stay(cls, commands):
        session = None
        while session is None:
            try:
                session = Stream(topology.AGENT_HOST[4], cls.PORT)
                session.receive()
            except ConnectionRefusedError:
                session = None
        while True:
            commands.recv(100)
            session.send(b"uptime")
            commands.send(b"fine" if session.receive() == b"uptime" else b"broken")

    def close(self):
        """Ends both sides."""
        self._session.kill()
        self._server.kill()
        self._commands.close()


class Sweep:
    """An attempt from each place at once, with an allowed and with a refused name; the attempts run side by side."""

    def __init__(self, t, allowed=True, refused=True, kind="echo"):
        self.t = t
        self.targets = []
        for hook in ("output", "forward"):
            for family in (4, 6):
                place = t.lab.place(hook, family)
                for is_allowed in [a for a, wanted in ((True, allowed), (False, refused)) if wanted]:
                    target = t.target(kind, is_allowed)
                    target.address = place.at(topology.SERVER)
                    self.targets.append((place, target, is_allowed))

    def start(self, listening=None):
        """Starts all clients. A client ends when it is refused, answered, or when the gate `listening` opens."""
        gate = listening or Gate()
        self.tasks = [place.start(lambda target=target: self._knock(target, gate)) for place, target, _ in self.targets]
        return self

    @staticmethod
    def _knock(target, gate):
        try:
            stream = Stream(target.address, target.port)
            stream.send(hello.client_hello(target.name))
            if streams.readable_any([stream.socket, gate.descriptor], PATIENCE) == [gate.descriptor]:
                return streams.Ending("waiting")
            part = stream.receive()
            return streams.Ending("open" if part else "eof", part)
        except OSError as error:
            return streams.ending_of(error)

    def endings(self):
        """How each ended."""
        return [task.result() for task in self.tasks]

    def nothing_passed(self):
        """Breaks the test if one payload byte of any attempt arrived."""
        for place, target, allowed in self.targets:
            count, _, kept = self.t.lab.wire.payload(target.address, target.port)
            self.t.expect(count == 0, f"{place}: {count} bytes of {target.name} arrived: {kept[:60]!r}")

    def all_told(self, endings):
        """Breaks the test if a client was not told at once."""
        for (place, target, _), ending in zip(self.targets, endings):
            self.t.expect(ending.is_refusal, f"{place}: {target.name}: the client was not told, it saw {ending}")

    def decided_or_told(self):
        """Waits for what has begun: each was decided in the end, or told that it was refused."""
        for (place, target, allowed), ending in zip(self.targets, self.endings()):
            self.t.expect(ending.is_refusal or allowed and ending.received, f"{place}: {target.name} ended as {ending}")
        for place, target, allowed in self.targets:
            count = 0 if allowed else self.t.payload(target)[0]
            self.t.expect(count == 0, f"{place}: {count} bytes of {target.name} arrived")

    def decided(self):
        """Runs a sweep in the ordinary state: allowed names pass, refused ones are refused."""
        self.start()
        for (place, target, allowed), ending in zip(self.targets, self.endings()):
            if allowed:
                self.t.expect(ending.word == "open" and ending.received, f"{place}: {target.name} should have passed: {ending}")
            else:
                self.t.refused(target, ending, "policy", agent=place.agent_id)


class Connection:
    """An allowed TLS connection that stays, to see that it survives a failure."""

    def __init__(self, t, place):
        self._commands, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._commands.settimeout(PATIENCE)
        target = t.target("https")
        target.address = place.at(topology.SERVER)
        authority = t.lab.web.authority
        self._task = place.start(lambda: self._stay(target, authority, theirs))
        self.works()

    def works(self):
        """Whether another request on it is answered."""
        self._commands.send(b"go")
        return self._commands.recv(100) == b"fine"

    @staticmethod
    def _stay(target, authority, commands):
        stream = Stream(target.address, target.port)
        tls = streams.TLS(stream, target.name, authority)
        stream.send(tls.first_flight())
        tls.finish()
        while True:
            commands.recv(100)
            try:
                got = tls.exchange(streams.request(target.name), streams.response_is_whole)
                commands.send(b"fine" if b"200 OK" in got else b"broken")
            except OSError as error:
                commands.send(repr(error).encode()[:90])

    def close(self):
        """Ends it."""
        self._task.kill()
        self._commands.close()
