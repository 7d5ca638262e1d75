"""The policy that is shipped, on data of a test's own, in place of the lab's policy."""

import contextlib
import itertools
import json
import pathlib
import shutil

SOURCE = pathlib.Path(__file__).resolve().parents[3] / "policies"
INSIDE = ["198.18.0.0/24", "fd00:18::/64"]
"""Where the lab's servers are: for the shipped policy these are special addresses."""

_numbers = itertools.count(1)


class Shipped:
    """The shipped policy while it is in force."""

    def __init__(self, t):
        self.t = t
        self.directory = t.lab.root / "shipped" / str(next(_numbers))
        shutil.copytree(SOURCE, self.directory)

    def change(self, destinations, **others):
        """Puts data in force: what the lab's agents reach, and what else data.yaml has."""
        agents = {agent: {"reach": list(destinations)} for agent in ("local-bot", "guest-bot")}
        (self.directory / "data.yaml").write_text(json.dumps(
            {"destinations": destinations, "agents": agents, "customers": {}, "inside": INSIDE, **others}))
        self.t.appliance.configure(policy={"directory": str(self.directory), "package": "sallyport.egress"})
        self.t.appliance.reload("configuration_loaded")

    def refused(self, target, ending, rule, **options):
        """The attempt was refused by this rule of the policy."""
        reasons = (rule,) if rule in ("name_not_at_ip", "encrypted_client_hello") else ("policy", "no_name")
        record = self.t.refused(target, ending, *reasons, **options)
        self.t.expect(record is None or record.get("SALLYPORT_RULE") == rule, f"refused by another rule: {record}")
        return record


class Nothing:
    """The same where nothing enforces."""

    def __init__(self, t):
        self.t = t

    def change(self, destinations, **others):
        """There is no policy."""

    def refused(self, target, ending, rule, **options):
        """The attempt got out."""
        return self.t.refused(target, ending, **options)


@contextlib.contextmanager
def shipped(t, destinations, **others):
    """The shipped policy in force, with these groups of destinations for the lab's agents."""
    if t.unprotected:
        yield Nothing(t)
        return
    policy = Shipped(t)
    policy.change(destinations, **others)
    try:
        yield policy
    finally:
        t.appliance.configure()
        t.appliance.reload("configuration_loaded")
        shutil.rmtree(policy.directory)
