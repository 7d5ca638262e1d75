"""One probe at one place against one subject, and what was seen: the server's side is the truth."""
import hashlib
import time

from lab import catalogue, streams, topology
from lab.lab import Place
from lab.streams import Ending, Stream
from lab.waiting import TimedOut, until

from attempts.names import look_up

PATIENCE = 6
"""Seconds after which a client that still waits is ended."""
AT_ONCE = 1.0
"""Seconds within which a refused program has to know."""


class HastyPlace(Place):
    """A place whose clients do not wait for ever: a subject may drop in silence."""

    def call(self, function, actor=None, seconds=PATIENCE):
        """What the function returns; `timeout` where it did not return in time."""
        try:
            return super().call(function, actor, seconds)
        except TimedOut:
            return Ending("timeout")


class Trial(catalogue.Test):
    """What a probe gets. It makes targets and says what has to hold of them; `wrong` collects what did not, `refused` what
    has to hold for good."""

    def __init__(self, lab, hook, family, subject):
        self.lab, self.place, self.subject = lab, HastyPlace(lab, hook, family), subject
        self.variant, self.wrong, self.refused = None, [], []

    unprotected = False

    def note(self, text):
        """Something was wrong."""
        text = f"{self.variant}: {text}" if self.variant else text
        if text not in self.wrong:
            self.wrong.append(text)

    def target(self, kind="quiet", allowed=True, last=topology.SERVER, name=None):
        """A fresh destination. An allowed name is looked up first, as every honest client does."""
        target = super().target(kind, allowed, last, name)
        if allowed:
            look_up(self, target.name)
        return target

    def website(self, **options):
        """A fresh destination for HTTP/1; the allowed name is the same for all."""
        return self.target("http", name="allowed.test", **options)

    def send(self, target, *parts, enough=None):
        """Sends `parts` one call each and waits for an answer as long as the first part, or for the end."""
        enough = enough or (lambda got: len(got) >= len(parts[0]))
        return self.place.call(lambda: streams.converse(lambda: Stream(target.address, target.port), *parts, enough=enough))

    def hears(self, target, *parts):
        """Sends `parts`; the ending, and the seconds after which the program had it."""
        def run():
            began = time.monotonic()
            ending = streams.converse(lambda: Stream(target.address, target.port), *parts, enough=lambda got: got)
            return ending, time.monotonic() - began
        found = self.place.call(run)
        return found if isinstance(found, tuple) else (found, float(PATIENCE))

    def keeps(self, target, secret=None):
        """The flow is refused: no payload byte, or not those of `secret`, reached the server."""
        self.refused.append((target, secret))
        if self.leaked(target, secret):
            self.note("the refused name at the server" if secret else "refused bytes at the server")

    def leaked(self, target, secret=None):
        """Whether anything, or `secret`, reached the server."""
        count, kept = self.payload(target)
        return count > 0 if secret is None else secret in kept

    def delivers(self, target, ending, sent=None, answer=None):
        """The flow is allowed: the server got exactly `sent`, or the program its `answer`."""
        if answer is not None and answer not in ending.received:
            self.note(f"allowed, but refused ({_told(ending)})")
            return
        if sent is None:
            return
        try:
            until(lambda: self._arrived(target, sent), "all bytes to arrive", 1)
        except TimedOut:
            _, kept = self.payload(target)
            self.note("allowed, but the server got other bytes" if kept else f"allowed, but refused ({_told(ending)})")

    def _arrived(self, target, sent):
        if target.transport == "udp":
            return self.lab.recorder.datagrams(target.port) == [sent]
        if self.lab.recorder.digests(target.port):
            return self.lab.recorder.digests(target.port) == [(len(sent), hashlib.sha256(sent).hexdigest())]
        return self.payload(target)[1] == sent

    def decides(self, make, send):
        """What `make(name)` gives goes through `send(target, data)`: an allowed name passes unchanged, another one does not."""
        for allowed in (True, False):
            target = self.target("echo", allowed)
            data = make(target.name)
            ending = send(target, data)
            if allowed:
                self.delivers(target, ending, sent=data)
            else:
                self.keeps(target)


def _told(ending):
    if ending.word == "timeout":
        return "silence"
    return ending.word if not ending.received else f"{ending.word} after {ending.received[:24]!r}"
