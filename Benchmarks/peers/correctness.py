"""The rows of the comparison, for each subject in the end-to-end lab: four hosts, a recorder, nginx, a resolver, a sniffer."""
import pathlib

import probes
import subjects
from lab import servers, topology, web
from lab.appliance import CGROUP_AGENT_UID
from lab.lab import Lab

HERE = pathlib.Path(__file__).resolve().parent


class Sallyport(subjects.Nothing):
    """Sallyport in the lab."""

    name, key = "Sallyport", "sallyport"

    def __init__(self, ground, lab):
        super().__init__(ground)
        self.appliance = lab.appliance

    def begin(self):
        """Rules, then the daemon."""
        self.appliance.apply_rules()
        self.process = self.appliance.start()

    def end(self):
        """The daemon, then the rules."""
        self.appliance.stop()
        self.appliance.remove_rules()

    def kill(self):
        """`kill -9`."""
        self.process.kill()
        self.process.wait()


def ground(lab):
    """The lab's agent host. Each attempt has a port of its own; those where TLS is spoken stand for 443, the others for 80."""
    span = lambda ports: f"{ports[0]}:{ports[-1]}"
    outside = lambda last: tuple(topology.outside(last, family) for family in (4, 6))
    return subjects.Ground(
        run=lambda *words: lab.agent.command(*words).stdout, spawn=lambda *words: lab.agent.spawn(*words, stdout=out(lab), stderr=out(lab)),
        folder=lab.root, agent=CGROUP_AGENT_UID, guests="gbot", servers=outside(topology.SERVER),
        resolvers=outside(topology.RESOLVER), names=("allowed.test",), suffix=".allowed.test",
        tls=("443", *map(span, (servers.QUIET, servers.ECHO, servers.BANNER, web.HTTPS, web.RETRY))),
        http=("80", span(web.HTTP)))


def out(lab):
    """Where the subjects say what they say."""
    return open(lab.root / "subjects.out", "ab")


def said(lab):
    """The last of that."""
    path = lab.root / "subjects.out"
    return path.read_text(errors="replace").strip().splitlines()[-1:] if path.exists() else []


def measure(binaries, keys, only, tell):
    """For each subject its rows, title to what was wrong; and notes on those that did not run to the end."""
    lab = Lab("spp", binaries, HERE / "policy")
    try:
        place = ground(lab)
        found = {"rows": {}, "notes": {}}
        for subject in (Sallyport(place, lab), *(peer(place) for peer in subjects.PEERS), subjects.Nothing(place)):
            if subject.key in keys:
                rows = found["rows"][subject.name] = {}
                try:
                    _measure(lab, subject, only, rows, tell)
                except Exception as error:  # the others can still be measured
                    found["notes"][subject.name] = " ".join([str(error), *said(lab)])
                    tell(f"{subject.name}: {found['notes'][subject.name]}")
        return found
    finally:
        lab.close()


def _measure(lab, subject, only, rows, tell):
    chosen = [row for row in probes.PROBES if not only or only in row.title]
    later = []

    def row_of(row):
        rows[row.title] = probes.run(lab, subject, row, later)
        tell(f"{subject.name}: {row.title}: {rows[row.title] or 'right'}")

    try:
        subject.begin()
        for row in (row for row in chosen if not row.breaks):
            row_of(row)
        for title, trial, target, secret in later:
            if not rows[title] and trial.leaked(target, secret):
                rows[title] = "refused bytes at the server, later"
                tell(f"{subject.name}: {title}: {rows[title]}")
        # Where enforcement goes away for a moment, what a client has still to send may leave.
        for row in (row for row in chosen if row.breaks):
            row_of(row)
    finally:
        subject.end()
