"""The catalogue of tests and what a test may say.

A test is a function with `@attempt(number, promise)`; it runs once for each place where it makes sense (local and
forwarded, IPv4 and IPv6) and gets a `Test`. It makes `Target`s (a destination port and a name of its own), runs clients
against them, and then says `refused` or `passed`."""

import contextlib
import dataclasses
import hashlib
import traceback

from .lab import FAMILIES, HOOKS
from .namespaces import Failed
from .streams import Stream, converse
from .waiting import TimedOut, until
from . import servers, topology, web

ATTEMPTS = []
"""All tests, in the order in which their modules are imported."""


class Skip(Exception):
    """A test that cannot run here; its text says why."""


class Broken(AssertionError):
    """A promise was broken."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One test of the catalogue."""

    number: str
    promise: str
    function: object
    hooks: tuple
    families: tuple
    once: bool
    unprotected: bool
    not_here: dict

    def places(self, lab, hook=None, family=None):
        """Where it runs; a test of the whole machine runs in one place."""
        if self.once:
            there = hook in (None, self.hooks[0]) and family in (None, self.families[0])
            return [lab.place(self.hooks[0], self.families[0])] if there else []
        return [lab.place(h, f) for h in HOOKS for f in FAMILIES if hook in (None, h) and family in (None, f)]


def attempt(number, promise, hooks=HOOKS, families=FAMILIES, once=False, unprotected=True, not_here=None):
    """Registers a test. `once`: about the machine, not about a place. `unprotected`: whether it says something where
    nothing enforces. `not_here`: why it is skipped at the hooks that are left out."""
    def register(function):
        reasons = {h: not_here or "makes no sense at this hook" for h in HOOKS if h not in hooks}
        ATTEMPTS.append(Attempt(number, promise, function, tuple(hooks), tuple(families), once, unprotected, reasons))
        return function
    return register


@dataclasses.dataclass
class Target:
    """A destination that one attempt alone uses."""

    address: str
    port: int
    name: str
    token: str
    transport: str
    since: int

    @property
    def authority(self):
        """Host and port as a Host header carries them."""
        return f"{self.name}:{self.port}"


@dataclasses.dataclass
class _Later:
    """What must still hold of a refused target when all tests are done."""

    title: str
    target: Target
    secret: bytes
    whole: bool
    exactly: int | None


class Test:
    """What a test function gets."""

    def __init__(self, lab, attempt, place, laters):
        self.lab, self.attempt, self.place = lab, attempt, place
        self._laters, self.variant = laters, None
        self.title = f"{attempt.number} {attempt.promise}" + ("" if attempt.once else f" ({place})")

    def title_of(self, variant):
        """Says which of its variants a test is at; a failure names it."""
        self.variant = variant

    @property
    def unprotected(self):
        """Whether nothing enforces anything here."""
        return self.lab.unprotected

    @property
    def appliance(self):
        """The appliance under test."""
        return self.lab.appliance

    def target(self, kind="quiet", allowed=True, last=topology.SERVER, name=None):
        """A fresh destination. `kind`: quiet, echo, banner, https, https12, http, retry or udp; see servers.py, web.py."""
        token = self.lab.token()
        domain = web.ALLOWED if allowed else web.REFUSED
        mark = self.lab.journal.mark() if self.lab.journal else 0
        return Target(self.place.at(last), self.lab.port(kind), name or f"{token}.{domain}", token,
                      "udp" if kind == "udp" else "tcp", mark)

    def say(self, target, *parts, answered=False, actor=None, **options):
        """Opens a socket to a target as the agent, sends `parts` one call each, and reads until the connection ends; with
        `answered` (and where nothing enforces) until something came back."""
        enough = (lambda received: received) if answered or self.unprotected else (lambda received: False)
        return self.place.call(
            lambda: converse(lambda: Stream(target.address, target.port, **options), *parts, enough=enough), actor)

    def expect(self, condition, what):
        """Breaks the test with `what` when the condition does not hold."""
        if not condition:
            raise Broken(what)

    def wait(self, condition, what):
        """Waits for a condition."""
        return until(condition, what)

    def payload(self, target):
        """The payload bytes that arrived at a target: their number and the first of them."""
        count, _, kept = self.lab.wire.payload(target.address, target.port, target.transport)
        return count, kept

    def refused(self, target, ending, *reasons, secret=None, host=None, agent=None, exactly=1, told=True):
        """The attempt was refused: not one payload byte arrived (or, with `secret`, those bytes did not), the client was
        told at once, and one record says why. Where nothing enforces: the bytes did arrive."""
        count, kept = self.payload(target)
        if self.unprotected:
            self.expect(count > 0 if secret is None else secret in kept,
                        f"unprotected, but the attempt did not get out: {ending}, {count} bytes arrived")
            if secret is not None and target.transport == "tcp" and target.port in (*servers.QUIET, *servers.ECHO):
                until(lambda: any(secret in s for s in self.lab.recorder.streams(target.port)),
                      "the server's application to read what the attempt smuggles")
            return None
        if secret is None:
            self.expect(count == 0, f"{count} payload bytes reached the destination: {kept[:80]!r}; the client saw {ending}")
        else:
            self.expect(secret not in kept, f"{secret!r} reached the destination; the client saw {ending}")
        if told:
            self.expect(ending is not None and ending.is_refusal, f"the client was not told at once, it saw {ending}")
        record = self.record(target, "deny", *reasons, host=host, agent=agent)
        self._laters.append(_Later(self.title + (f" [{self.variant}]" if self.variant else ""), target, secret, secret is None, exactly))
        return record

    def passed(self, target, ending, received=None, sent=None):
        """The attempt passed: the client saw no error, `received` is in what it got, and the application at the other
        end got exactly `sent`."""
        self.expect(not ending.is_refusal and ending.word not in ("timeout", "tls"), f"should have passed, but the client saw {ending}")
        if received is not None:
            self.expect(received in ending.received, f"{received!r} is not in the answer {ending.received[:200]!r}")
        if sent is not None:
            whole = [(len(sent), hashlib.sha256(sent).hexdigest())]
            try:
                until(lambda: self.lab.recorder.digests(target.port) == whole, "all bytes to arrive", 10)
            except TimedOut:
                got = self.lab.recorder.streams(target.port)
                raise Broken(f"the server got {[s[:80] for s in got]!r} ({[len(s) for s in got]} bytes), "
                             f"not the {len(sent)} bytes that were sent") from None

    @contextlib.contextmanager
    def together(self):
        """Several attempts are made first, and what is to be said of them (`refused`, `passed`, `record`) is looked at
        afterwards: a record takes its time, and so it is waited for once."""
        later = _Together(self)
        yield later
        later.check()

    def record(self, target, verdict, *reasons, host=None, agent=None):
        """The journal record of a target; waits for it, and checks reason, host and agent."""
        found = lambda: self.records(target, verdict)
        try:
            record = until(found, f"a record that says {verdict} for {target.address} port {target.port}", 60)[0]
        except TimedOut as missing:
            others = [(r.get("SALLYPORT_VERDICT"), r.get("SALLYPORT_REASON"), r.get("SALLYPORT_PORT"))
                      for r in self.lab.journal.records(target.since)]
            raise Broken(f"{missing}; records since: {others[-5:]}") from None
        if reasons:
            self.expect(record.get("SALLYPORT_REASON") in reasons,
                        f"the record says {record.get('SALLYPORT_REASON')!r}, not {' or '.join(reasons)}: {record.get('MESSAGE')}")
        if host is not None:
            self.expect(record.get("SALLYPORT_HOST") == host, f"the record names host {record.get('SALLYPORT_HOST')!r}, not {host!r}")
        wanted = self.place.agent_id if agent is None else agent
        if wanted:
            self.expect(record.get("SALLYPORT_AGENT") == wanted, f"the record names agent {record.get('SALLYPORT_AGENT')!r}, not {wanted!r}")
        return record

    def clean(self, record):
        """A record is one clean record: every field is printable text of a sane length, on one line."""
        for field, value in record.items():
            if field == "MESSAGE" or field.startswith("SALLYPORT_"):
                self.expect(value.isprintable() and not value.startswith("BINARY:"), f"{field} carries raw bytes: {value[:120]!r}")
                self.expect(len(value) <= 4096, f"{field} has {len(value)} characters")

    def records(self, target, verdict=None):
        """All records of a target so far."""
        fields = {"ADDRESS": target.address, "PORT": target.port, "TRANSPORT": target.transport}
        if verdict:
            fields["VERDICT"] = verdict
        return self.lab.journal.records(target.since, **fields)


class _Together:
    """Has the face of a `Test` as far as endings and records go; keeps what is said for `check`."""

    def __init__(self, test):
        self._test, self._said = test, []
        self.unprotected = test.unprotected

    def check(self):
        """Looks at everything that was said, as if it were said now."""
        for variant, method, words, options in self._said:
            self._test.title_of(variant)
            method(*words, **options)

    def _keep(self, method, words, options):
        self._said.append((self._test.variant, method, words, options))

    def refused(self, *words, **options):
        """See `Test.refused`."""
        self._keep(self._test.refused, words, options)

    def passed(self, *words, **options):
        """See `Test.passed`."""
        self._keep(self._test.passed, words, options)

    def record(self, *words, **options):
        """See `Test.record`."""
        if not self.unprotected:
            self._keep(self._test.record, words, options)

    def then(self, function, *words):
        """Something else to be looked at afterwards."""
        self._keep(function, words, {})


def check_laters(lab, laters):
    """What must hold when everything is over: refused bytes never arrived later, and refusals have one record each.
    Returns the broken promises as texts."""
    broken = []
    for later in laters:
        count, _, kept = lab.wire.payload(later.target.address, later.target.port, later.target.transport)
        if (later.whole and count) or (later.secret is not None and later.secret in kept):
            broken.append(f"{later.title}: bytes arrived after the refusal: {kept[:60]!r}")
        records = lab.journal.records(later.target.since, ADDRESS=later.target.address, PORT=later.target.port,
                                      TRANSPORT=later.target.transport, VERDICT="deny")
        if later.exactly is not None and len(records) != later.exactly:
            broken.append(f"{later.title}: {len(records)} refusal records for port {later.target.port}, not {later.exactly}: "
                          f"{[(r.get('SALLYPORT_REASON'), r.get('MESSAGE')) for r in records][:4]}")
    return broken


def _told(error):
    """A failure in few words: a broken promise by its text, an error of a client by where it was raised."""
    if isinstance(error, (Broken, TimedOut)):
        return str(error)
    lines = (str(error) if isinstance(error, Failed) else traceback.format_exc()).rstrip().splitlines()
    return "\n".join(lines[-7:])


class Runner:
    """Runs tests and keeps count."""

    def __init__(self, lab, quiet=False):
        self.lab, self.quiet = lab, quiet
        self.passed, self.failed, self.skipped = [], [], []
        self._laters = []

    def run(self, attempts, hook=None, family=None):
        """Runs these tests at all their places."""
        for each in attempts:
            for place in each.places(self.lab, hook, family):
                self._run(each, place)
        if not self.lab.unprotected and self._laters:
            broken = check_laters(self.lab, self._laters)
            for text in broken:
                self._report("FAIL", "afterwards " + text, None)
                self.failed.append(text)
            if not broken:
                self._report("pass", f"afterwards: {len(self._laters)} refused destinations still got nothing, one record each", None)
                self.passed.append("afterwards")

    def _run(self, each, place):
        test = Test(self.lab, each, place, self._laters)
        before = [(host, len(host.tasks)) for host in self.lab.topology.hosts]
        try:
            if not each.once and place.hook in each.not_here:
                raise Skip(each.not_here[place.hook])
            if not each.once and place.family not in each.families:
                raise Skip(f"makes no sense over IPv{place.family}")
            if self.lab.unprotected and not each.unprotected:
                raise Skip("says nothing where nothing enforces")
            each.function(test)
        except Skip as reason:
            self.skipped.append(test.title)
            self._report("skip", test.title, reason)
        except Exception as error:
            title = test.title + (f" [{test.variant}]" if test.variant else "")
            self.failed.append(title)
            self._report("FAIL", title, _told(error))
            self._recover(test)
        else:
            self.passed.append(test.title)
            self._report("pass", test.title, None)
        finally:
            for host, count in before:
                host.kill_tasks(count)
                del host.tasks[count:]

    def _recover(self, test):
        """After a failure the next test still begins in an ordinary state."""
        appliance = self.lab.appliance
        self.lab.topology.stop_losing()
        if appliance is None:
            return
        try:
            appliance.configure()
            if appliance.daemon is not None:
                appliance.stop(9)
            appliance.apply_rules()
            appliance.start()
        except Exception as error:
            self._report("note", f"after {test.title}: the appliance did not come back", error)

    def _report(self, word, title, detail):
        print(f"{word}  {title}" + (f": {detail}" if detail and word in ("skip", "note") else ""), flush=True)
        if detail and word == "FAIL":
            for line in str(detail).rstrip().splitlines():
                print(f"        {line}", flush=True)
