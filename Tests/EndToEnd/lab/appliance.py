"""The appliance under test on the agent host: configuration, rules and daemon, driven as an operator drives them."""

import json
import os
import pathlib
import shutil
import signal
import socket

from .namespaces import Actor
from .waiting import PATIENCE, Deadline, TimedOut, until
from . import customers, streams, topology

UID_AGENT = 61002
"""The uid of the agent that is known by its uid."""
CGROUP_AGENT_UID = 61001
"""The uid under which the agents run that are known by their cgroup."""

LISTENED = 18080
"""The port that agents may listen on, for the server's addresses alone."""

CONFIG_DIRECTORY = "/etc/sallyport"


class Appliance:
    """sallyportd and sallyport in the lab."""

    def __init__(self, lab, binaries: pathlib.Path, policies: pathlib.Path):
        self.lab, self.agent, self.binaries = lab, lab.agent, binaries
        self.slice = f"{lab.name}.slice"
        self.daemon, self.log = None, lab.root / "sallyportd.log"
        self.policy_directory = lab.root / "policies"
        shutil.copytree(policies, self.policy_directory)
        self.issuer = customers.Issuer(lab.root / "issuer")
        self.config = pathlib.Path(CONFIG_DIRECTORY) / "sallyport.yaml"
        self.agent.command("mkdir", "-p", CONFIG_DIRECTORY, "/run/sallyport")
        self.configure()

    def cgroup(self, agent):
        """The cgroup of an agent that is started without selector, as `sallyport run` would name it."""
        return f"/{self.slice}/{self.slice.removesuffix('.slice')}-{agent.replace('-', chr(92) + 'x2d')}.slice"

    def settings(self, **changes):
        """The lab's configuration as a dictionary; JSON is YAML."""
        everything = {
            "slice": self.slice,
            "agents": [
                {"id": "local-bot", "labels": {"team": "lab"}, "cgroup": f"/{self.slice}/local-bot"},
                {"id": "other-bot", "cgroup": f"/{self.slice}/other-bot"},
                {"id": "uid-bot", "uid": [UID_AGENT]},
                {"id": "guest-bot", "interface": ["gbot"]},
                {"id": "source-bot", "source": ["198.18.6.0/24", "fd00:6::/64"]},
                {"id": "run-bot"},
            ],
            "customers": {"issuers": [{
                "issuer": customers.ISSUER, "audience": customers.AUDIENCE, "keys": str(self.issuer.keys),
                "input_claims": ["tier"]}]},
            "listen": [
                {"agent": agent, "port": LISTENED, "transport": transport, "source": [
                    f"{topology.outside(topology.SERVER, 4)}/32", f"{topology.outside(topology.SERVER, 6)}/128"]}
                for agent in ("local-bot", "guest-bot") for transport in ("tcp", "udp")
            ],
            "resolvers": [topology.outside(topology.RESOLVER, 4), topology.outside(topology.RESOLVER, 6)],
            "queues": {"base": 8800, "count": 2, "length": 4096},
            "policy": {"directory": str(self.policy_directory), "package": "sallyport.egress"},
            "limits": {"held_milliseconds": 3000},
        }
        everything.update(changes)
        return everything

    def configure(self, **changes):
        """Writes the configuration, with `changes` to its top-level keys."""
        self.write_config(json.dumps(self.settings(**changes), indent=1))

    def write_config(self, text):
        """Writes this text as the configuration."""
        self.agent.call(lambda: self.config.write_text(text))

    def command(self, *words, check=True, actor=Actor(), text=None, seconds=PATIENCE * 2):
        """Runs `sallyport WORDS...` on the agent host."""
        return self.agent.command(self.binaries / "sallyport", *words, check=check, actor=actor, text=text, seconds=seconds)

    def apply_rules(self):
        """`sallyport rules apply`."""
        return self.command("rules", "apply", "--config", self.config)

    def remove_rules(self):
        """`sallyport rules remove`."""
        return self.command("rules", "remove", "--config", self.config)

    def start(self, wait=True):
        """Starts the daemon; by default waits until it says that it is ready."""
        notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = self.lab.root / "notify"
        path.unlink(missing_ok=True)
        notifications.bind(str(path))
        out = open(self.log, "ab")
        self.daemon = self.agent.spawn(self.binaries / "sallyportd", "--config", self.config, stdout=out, stderr=out,
                                       environment={**os.environ, "NOTIFY_SOCKET": str(path)})
        self._notifications = notifications
        if wait:
            self.wait_ready()
        return self.daemon

    def wait_ready(self, word=b"READY=1", seconds=PATIENCE):
        """Waits for a notification of the daemon's."""
        deadline = Deadline(seconds)
        while True:
            if self.daemon.poll() is not None:
                raise TimedOut(f"sallyportd ended with {self.daemon.returncode}: {self.tail()}")
            if streams.readable(self._notifications, 0.05) and word in self._notifications.recv(4096):
                return
            if deadline.expired():
                raise TimedOut(f"sallyportd never said {word.decode()}: {self.tail()}")

    def tail(self):
        """The last lines that the daemon printed."""
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else ""

    def send_signal(self, number):
        """Sends the daemon a signal."""
        self.daemon.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Ends the daemon and returns its exit status."""
        if self.daemon is None:
            return None
        if self.daemon.poll() is None:
            self.daemon.send_signal(number)
        try:
            return self.daemon.wait(PATIENCE)
        except Exception:
            self.daemon.kill()
            self.daemon.wait()
            raise TimedOut(f"sallyportd did not end: {self.tail()}") from None

    def ensure_running(self):
        """Brings rules and daemon back to the ordinary state after a failure drill."""
        if self.daemon is None or self.daemon.poll() is not None:
            self.start()

    def restart(self):
        """Stops and starts the daemon."""
        self.stop()
        self.start()

    def reload(self, *outcomes):
        """SIGHUP; waits for one of these events in the journal and returns it, once what was read is in force."""
        mark = self.lab.journal.mark()
        while streams.readable(self._notifications, 0):
            self._notifications.recv(4096)
        self.send_signal(signal.SIGHUP)
        event = until(lambda: [e for o in outcomes for e in self.lab.journal.events(o, mark)], f"one of the events {outcomes}")[0]
        self.wait_ready()
        return event

    def wait_closed(self):
        """Waits until the rules themselves refuse because the daemon is away: until an attempt is refused at once."""
        until(lambda: self.alive_elements() == 0, "the daemon's sign of life to time out in the rules")

    def alive_elements(self):
        """How many elements the set has that the daemon keeps alive."""
        listing = self.agent.command("nft", "-j", "list", "set", "inet", "sallyport", "alive", check=False)
        if listing.returncode != 0:
            return None
        for item in json.loads(listing.stdout)["nftables"]:
            if "set" in item:
                return len(item["set"].get("elem", []))
        return 0

    def queued(self):
        """How many packets the kernel holds for the daemon, over all queues."""
        text = self.agent.call(lambda: pathlib.Path("/proc/net/netfilter/nfnetlink_queue").read_text())
        return sum(int(line.split()[2]) for line in text.splitlines())

    def queue_drops(self):
        """How many packets the kernel dropped because a queue was full, over all queues."""
        text = self.agent.call(lambda: pathlib.Path("/proc/net/netfilter/nfnetlink_queue").read_text())
        return sum(int(line.split()[5]) + int(line.split()[6]) for line in text.splitlines())

    def counted_overflow(self):
        """Whether the overflow of a queue was counted: in the daemon's status, or as an event in the journal."""
        if self.lab.journal.events("queue_overflow"):
            return True
        return any(queue["dropped"] or queue["undelivered"] for queue in self._status().get("queues", []))

    def problems(self):
        """What the daemon says that is wrong with itself."""
        return self._status().get("problems", ["no status"])

    def _status(self):
        status = self.command("status", "--json", "--config", self.config, check=False)
        try:
            return json.loads(status.stdout)
        except ValueError:
            return {}

    def tables(self):
        """The whole ruleset, table by table, without counters and handles."""
        names = sorted(self.agent.command("nft", "list", "tables").stdout.splitlines())
        return "".join(self.agent.command("nft", "-s", "list", *name.split()).stdout for name in names)
