"""Speed and memory of each subject between the two hosts of Benchmarks/pair.py, all in turn within each round."""
import pathlib
import statistics
import subprocess

import subjects
from pair import AGENT, SERVER, Failed, Pair, inside, run, server_name

AGENT_UID = 61001


class Enforced(subjects.Nothing):
    """Sallyport, its records discarded as the peers' logs are."""

    name, key = "Sallyport", "sallyport"

    def __init__(self, ground, pair):
        super().__init__(ground)
        self.pair = pair

    def begin(self):
        """Rules, then the daemon."""
        self.pair.rules("apply")
        self.process = self.pair.daemon("discard")

    def end(self):
        """The daemon, then the rules."""
        if self.process in self.pair.processes:
            self.pair.stop(self.process)
        self.pair.rules("remove")


class Floor(Enforced):
    """The C program that accepts everything, behind Sallyport's rules."""

    name, key = "C floor", "floor"

    def begin(self):
        """Rules, then the program."""
        self.pair.rules("apply")
        self.process = self.pair.floor()


class Tracked(subjects.Nothing):
    """Connection tracking and nothing else: what every rule that goes by a flow's state costs."""

    name, key = "tracking alone", "tracking"

    def begin(self):
        """A rule that asks for the state."""
        self.ground.run("nft", "add table inet tracking; "
                        + "; ".join(f"add chain inet tracking {hook} {{ type filter hook {hook} priority 0; }}; "
                                    f"add rule inet tracking {hook} ct state established accept" for hook in ("input", "output")))

    def end(self):
        """Takes it away."""
        self.ground.run("nft", "flush", "ruleset")


def ground(pair):
    """The agent's host of the pair. The load goes to 443, and beside it to the ports of bulk.py and live.py."""
    def checked(*words):
        try:
            return run(*inside(AGENT, *map(str, words)))
        except subprocess.CalledProcessError as error:
            raise Failed(f"{words[0]}: {error.stderr.strip()[-300:]}") from None
    return subjects.Ground(
        run=checked, spawn=lambda *words: pair.start(inside(AGENT, *map(str, words))), folder=pathlib.Path(pair.folder),
        agent=AGENT_UID, servers=(SERVER,), resolvers=(), names=(server_name(open(pair.hello, "rb").read()),),
        tls=("443", "8443", "20000:20007"), http=("80",), families=(4,))


def measure(binaries, peers, parts, options, tell):
    """Name to figure to median; beside it what did not work."""
    pair = Pair(str(binaries), AGENT_UID)
    try:
        pair.up()
        # The clients use nearly every port there is; a proxy could not listen where one of theirs still lingers.
        run(*inside(AGENT, "sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=3128-3130"))
        place = ground(pair)
        chosen = [subjects.Nothing(place), Tracked(place), Floor(place, pair), Enforced(place, pair)]
        chosen += [peer(place) for peer in subjects.PEERS if peer.key in peers]
        values, failed = {subject.name: {} for subject in chosen}, {}
        for number in range(options.rounds):
            for subject in [s for s in chosen if (s.name, "begin") not in failed]:
                figures = _round(pair, subject, parts, options, failed)
                tell(f"round {number + 1}: {subject.name}: " + ", ".join(f"{k} {v:.1f}" for k, v in figures.items()))
                for figure, value in figures.items():
                    values[subject.name].setdefault(figure, []).append(value)
        return {"medians": {name: {figure: statistics.median(each) for figure, each in figures.items()}
                            for name, figures in values.items()},
                "rounds": options.rounds, "notes": [f"{name}: {part}: {why}" for (name, part), why in failed.items()]}
    finally:
        pair.down()


def _round(pair, subject, parts, options, failed):
    """All that is measured of one subject in one round. What did not work once is left out from then on."""
    measurements = {"flows": _new_flows, "latency": _lone, "bulk": _bulk, "memory": _memory}
    figures = {}
    try:
        subject.begin()
        for part in [part for part in parts if (subject.name, part) not in failed]:
            try:
                figures.update(measurements[part](pair, subject, options))
            except Failed as failure:
                failed[subject.name, part] = str(failure)
    except Failed as failure:
        failed[subject.name, "begin"] = " ".join([str(failure), *pair.said().strip().splitlines()[-1:]])
    finally:
        subject.end()
    return figures


def _new_flows(pair, _, options):
    return {"flows": _flows(pair, options.flows, 64)["flows_per_s"]}


def _lone(pair, _, options):
    found = _flows(pair, max(options.flows // 10, 500), 1)
    return {"p50": found["p50_us"], "p99": found["p99_us"]}


def _bulk(pair, _, options):
    return {"bulk": pair.bulk(options.bulk_gigabytes) * 8 / 1e9}


def _memory(pair, subject, options):
    if subject.process is None:
        return {}
    with pair.standing(options.live) as established:
        if int(established or 0) < options.live * 0.9:
            raise Failed(f"only {established or 'no'} of {options.live} flows stand")
        return {"memory": subject.resident()}


def _flows(pair, count, concurrency):
    """A warm-up, then the measurement; at most some ten seconds of it."""
    warm = pair.flows(max(count // 10, 100), concurrency)
    return pair.flows(int(max(200, min(count, warm["flows_per_s"] * 10))), concurrency)
