"""Questions to a forked child and its answers: JSON behind a length."""

import json
import select
import socket
import struct

from .waiting import PATIENCE, TimedOut


class Channel:
    """Made before the fork; the parent calls `ask`, the child `take` and `answer`."""

    def __init__(self, whom):
        self._whom = whom
        self._parent, self.child = socket.socketpair()

    def ask(self, *question, seconds=PATIENCE):
        """The child's answer."""
        self.begin(*question)
        return self.finish(seconds, question[0])

    def begin(self, *question):
        """Asks, and leaves the answer for `finish`."""
        self._send(self._parent, question)

    def finish(self, seconds=PATIENCE, what="a question"):
        """The child's answer to what was asked."""
        if not select.select([self._parent], [], [], seconds)[0]:
            raise TimedOut(f"no answer from {self._whom} to {what!r}")
        return self._receive(self._parent)

    def take(self):
        """In the child: the next question. Blocks."""
        return self._receive(self.child)

    def answer(self, value):
        """In the child: the answer to it."""
        self._send(self.child, value)

    @staticmethod
    def _send(end, value):
        data = json.dumps(value).encode()
        end.sendall(struct.pack("!I", len(data)) + data)

    @staticmethod
    def _receive(end):
        def exactly(count):
            data = bytearray()
            while len(data) < count:
                part = end.recv(count - len(data))
                if not part:
                    raise EOFError("the other end of a channel is gone")
                data += part
            return bytes(data)
        return json.loads(exactly(struct.unpack("!I", exactly(4))[0]))
