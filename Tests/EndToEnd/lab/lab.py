"""One lab: the hosts, the servers and the appliance, made once and shared by the tests."""

import itertools
import os
import pathlib
import shutil
import tempfile

from . import servers, topology, web
from .appliance import CGROUP_AGENT_UID, UID_AGENT, Appliance
from .journal import Journal
from .namespaces import CAP_NET_RAW, Actor, Failed
from .waiting import until
from .wire import Wire

HOOKS = ("output", "forward")
FAMILIES = (4, 6)


class Lab:
    """Everything there is. `binaries` None: no appliance (every attempt must then get out)."""

    def __init__(self, prefix, binaries, policies, keep=False):
        self.name = f"{prefix}{os.getpid()}"
        self.keep = keep
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}."))
        self.root.chmod(0o755)
        self._closers, self.appliance, self.journal = [], None, None
        try:
            self._make(binaries, policies)
        except BaseException:
            self.close()
            raise

    @property
    def unprotected(self):
        """Whether nothing enforces anything here."""
        return self.appliance is None

    def _make(self, binaries, policies):
        self.topology = topology.Topology()
        self._closers.append(self.topology.close)
        self.agent, self.guest = self.topology.agent, self.topology.guest
        self.net, self.hop = self.topology.net, self.topology.hop
        self._agent_mounts()
        self.recorder = servers.Recorder(self.net)
        self._closers.append(self.recorder.close)
        self.resolver = servers.Resolver(self.net)
        self._closers.append(self.resolver.close)
        self.web = web.Web(self.net, self.root)
        self.wire = Wire(self.net, self.agent)
        self._closers.append(self.wire.close)
        self._ports = {
            "quiet": iter(servers.QUIET), "echo": iter(servers.ECHO), "banner": iter(servers.BANNER),
            "udp": iter(servers.UDP), "peer": iter(servers.PEER), "https": iter(web.HTTPS), "http": iter(web.HTTP),
            "https12": iter(web.HTTPS_12), "retry": iter(web.RETRY),
        }
        self._tokens = itertools.count(1)
        self._make_plain_cgroups()
        if binaries is not None:
            self.journal = Journal(self.agent, self.root)
            self.appliance = Appliance(self, binaries, policies)
            self._closers.append(self._stop_appliance)

    def _agent_mounts(self):
        """The agent host's own /run and /etc, and cgroup v2 where nft and everybody else looks for it."""
        upper = self.root / "etc"
        script = f"""
            set -e
            mkdir -p {upper}
            mount -t tmpfs -o mode=755 none {upper}
            mkdir {upper}/upper {upper}/work
            mount -t overlay -o lowerdir=/etc,upperdir={upper}/upper,workdir={upper}/work none /etc
            mount -t tmpfs -o mode=755 none /run
            umount -R /sys/fs/cgroup
            mount -t cgroup2 none /sys/fs/cgroup
            rm -f /etc/resolv.conf
            for a in {topology.outside(topology.RESOLVER, 4)} {topology.outside(topology.RESOLVER, 6)}; do
                echo "nameserver $a" >> /etc/resolv.conf; done
            echo 'hosts: files dns' > /etc/nsswitch.conf
        """
        self.agent.command("sh", "-c", script)
        guest = f"""
            set -e
            mkdir -p {self.root}/guest-etc
            mount -t tmpfs -o mode=755 none {self.root}/guest-etc
            mkdir {self.root}/guest-etc/upper {self.root}/guest-etc/work
            mount -t overlay -o lowerdir=/etc,upperdir={self.root}/guest-etc/upper,workdir={self.root}/guest-etc/work none /etc
            rm -f /etc/resolv.conf
            echo "nameserver {topology.outside(topology.RESOLVER, 4)}" > /etc/resolv.conf
            echo 'hosts: files dns' > /etc/nsswitch.conf
        """
        self.guest.command("sh", "-c", guest)

    def _make_plain_cgroups(self):
        """The agents' cgroups exist without an appliance too, so that clients run the same way unprotected."""
        def make():
            for name in ("local-bot", "other-bot", "stranger"):
                os.makedirs(f"/sys/fs/cgroup/{self.name}.slice/{name}", exist_ok=True)
        self.agent.call(make)
        self._closers.append(self._remove_cgroups)

    def _remove_cgroups(self):
        self.agent.call(lambda: remove_cgroups(f"{self.name}.slice"))

    def _stop_appliance(self):
        if self.appliance.daemon is not None and self.appliance.daemon.poll() is None:
            self.appliance.daemon.kill()
            self.appliance.daemon.wait()

    def port(self, kind):
        """A destination port of this kind that no other attempt uses."""
        port = next(self._ports[kind], None)
        if port is None:
            raise Failed(f"every {kind} port has been used once: the lab needs more of them (servers.py, web.py)")
        return port

    def token(self):
        """A word that no other attempt uses."""
        return f"t{next(self._tokens)}x"

    def place(self, hook, family):
        """Where an agent is: on the host itself, or behind it."""
        return Place(self, hook, family)

    def close(self):
        """Takes everything down, whatever state it is in."""
        while self._closers:
            closer = self._closers.pop()
            try:
                closer()
            except Exception as error:  # the rest must still be taken down
                print(f"lab: while closing: {type(error).__name__}: {error}")
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)


def remove_cgroups(name):
    """Ends every process below a cgroup and removes it. Runs on the agent host."""
    top = pathlib.Path("/sys/fs/cgroup") / name
    if not top.exists():
        return
    (top / "cgroup.kill").write_text("1")
    until(lambda: "populated 0" in (top / "cgroup.events").read_text(), f"the processes in {name} to end")
    for directory in sorted((d for d in top.rglob("*") if d.is_dir()), key=lambda d: -len(d.parts)):
        directory.rmdir()
    top.rmdir()


class Place:
    """A hook and an address family: who the agent is there, and how things run as that agent."""

    def __init__(self, lab, hook, family):
        self.lab, self.hook, self.family = lab, hook, family
        if hook == "output":
            self.host, self.agent_id = lab.agent, "local-bot"
            self.actor = Actor(CGROUP_AGENT_UID, f"/{lab.name}.slice/local-bot")
            self.source = topology.AGENT_HOST[family]
        else:
            self.host, self.agent_id = lab.guest, "guest-bot"
            self.actor = Actor()
            self.source = topology.GUEST[family]

    def __str__(self):
        return f"{self.hook} IPv{self.family}"

    @property
    def server(self):
        """The address at which names are served."""
        return topology.outside(topology.SERVER, self.family)

    def at(self, last):
        """Another address of the outside world."""
        return topology.outside(last, self.family)

    def call(self, function, actor=None, seconds=60):
        """Runs a function as the agent; returns what it returns."""
        return self.host.call(function, actor or self.actor, seconds)

    def start(self, function, actor=None):
        """Starts a function as the agent; returns its `Task`."""
        return self.host.start(function, actor or self.actor)

    def command(self, *words, check=False, actor=None, environment=None, seconds=60):
        """Runs a program as the agent, in a clean environment."""
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **(environment or {})}
        return self.host.command(*words, actor=actor or self.actor, check=check, environment=clean, seconds=seconds)


def other_local_actors(lab):
    """The other ways to be an agent on the host: by uid, by another cgroup, and in the slice without being anyone."""
    return {
        "uid-bot": Actor(UID_AGENT),
        "other-bot": Actor(CGROUP_AGENT_UID, f"/{lab.name}.slice/other-bot"),
        None: Actor(CGROUP_AGENT_UID, f"/{lab.name}.slice/stranger"),
    }


def privileged(actor, *capabilities):
    """The same agent with capabilities that it should not have."""
    return Actor(actor.uid, actor.cgroup, capabilities or (CAP_NET_RAW,))
