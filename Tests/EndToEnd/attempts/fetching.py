"""B22: what agents fetch all day by names that their own answers led them to, whatever answers."""

import json
import pathlib
import signal

from lab import topology
from lab.catalogue import attempt
from lab.fetchers import Fetcher
from lab.lab import FAMILIES, HOOKS

from .names import greet

BINDINGS = pathlib.Path("/run/sallyport/bindings.jsonl")
"""Where the daemon keeps what answers said."""


def ring(t):
    """A name behind three aliases, whose addresses rotate and may not be kept."""
    return f"ring-{t.lab.token()}.bound.test"


def kept(t):
    """The bindings that the daemon would know after a crash: agent, name and address."""
    def read():
        return {(b["agent"], b["name"], b["address"]) for b in map(json.loads, BINDINGS.read_text().splitlines())}
    return t.lab.agent.call(read) if t.lab.agent.call(BINDINGS.exists) else set()


def astray(t, *names):
    """The control: under the same names, addresses that were in no answer are refused, at the first packet or by the name."""
    targets = [t.target("https", last=last, name=name) for name in names for last in (topology.RING[-1], topology.SERVER)]
    for target, ending in [(target, greet(t, target)) for target in targets]:
        t.refused(target, ending, "name_not_at_ip")


@attempt("B22", "not one false refusal: rotating answers behind aliases, not to be kept, with pools and caches, over restarts", once=True)
def not_one(t):
    fetchers = [Fetcher(t, t.lab.place(hook, family), [ring(t) for _ in range(4)]) for hook in HOOKS for family in FAMILIES]
    expected = 0

    def phase(title):
        """What was asked for so far was answered, all of it."""
        lines = [line for each in fetchers for line in each.told()]
        fetched = sum(each.fetched for each in fetchers)
        t.expect(not lines and fetched == expected * len(fetchers),
                 "\n".join([f"{fetched} of {expected * len(fetchers)} fetches were answered", *lines[:40]]))
        t.title_of(title)

    def batch(count, *words):
        nonlocal expected
        expected += count
        for each in fetchers:
            each.begin(*words[:1], *([each.names] if words[0] == "fresh" else []), *words[1:])
        for each in fetchers:
            each.finish()

    def others(curl, node, schemes):
        nonlocal expected
        expected += curl
        there = []
        for each in fetchers:
            each.curl(curl)
            there.append(each.node(node, schemes))
        expected += node if all(there) else 0

    try:
        t.title_of("ordinary")
        batch(44, "fresh", 44, 8)
        others(12, 10, ("https", "http"))
        phase("without a resolver")
        t.lab.resolver.close()
        batch(12, "cached", 12)
        batch(4, "pooled", "https")
        batch(4, "pooled", "http")
        phase("with a new resolver")
        t.lab.resolver.start()
        batch(8, "fresh", 8)
        if not t.unprotected:
            phase("the daemon is killed")
            wanted = {(each.place.agent_id, name, address) for each in fetchers for name, places in each.known().items() for address in places}
            t.wait(lambda: wanted <= kept(t), "the daemon to have written down what answers said")
            t.appliance.stop(signal.SIGKILL)
            # What was allowed goes on.
            batch(4, "pooled", "https")
            t.appliance.start()
        phase("afterwards")
        batch(12, "cached", 12)
        batch(4, "pooled", "https")
        batch(6, "fresh", 6)
        others(8, 5, ("https",))
        phase("control")
        for each in fetchers:
            t.place = each.place
            t.title_of(f"control, {each.place}")
            astray(t, each.names[0])
    finally:
        t.lab.resolver.start()
        for each in fetchers:
            each.close()
