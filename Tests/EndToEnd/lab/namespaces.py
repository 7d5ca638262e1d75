"""Hosts of the lab: a network and a mount namespace each, held by one process, and ways to run things inside.

Two ways in: `Host.spawn` starts a program, `Host.start` runs a Python function in a forked child. Both take an `Actor`:
the uid, cgroup and capabilities with which the thing runs."""

import ctypes
import dataclasses
import os
import pickle
import select
import signal
import struct
import subprocess
import traceback

from .waiting import Deadline, TimedOut, PATIENCE

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 4, 8, 47, 2
_SYS_CAPSET = 126 if os.uname().machine == "x86_64" else 91
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13


class Failed(Exception):
    """A function that ran in a child raised; carries the child's traceback."""


@dataclasses.dataclass(frozen=True)
class Actor:
    """Who runs something: uid (0 keeps root), cgroup path under /sys/fs/cgroup, capabilities kept as ambient ones."""

    uid: int = 0
    cgroup: str | None = None
    capabilities: tuple = ()

    def assume(self):
        """Turns the calling process into this actor. Called in the child, inside the host's namespaces."""
        if self.cgroup is not None:
            with open(f"/sys/fs/cgroup/{self.cgroup.strip('/')}/cgroup.procs", "w") as procs:
                procs.write("0")
        if self.uid:
            if self.capabilities:
                _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
            if self.capabilities:
                self._keep_capabilities()
            _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # as an agent that was started by exec: it owns its /proc/self
            die_with_parent()  # a change of uid cleared it

    def _keep_capabilities(self):
        bits = sum(1 << c for c in self.capabilities)
        header = struct.pack("=Ii", 0x20080522, 0)
        data = struct.pack("=6I", bits, bits, bits, bits >> 32, bits >> 32, bits >> 32)
        if _libc.syscall(_SYS_CAPSET, header, data) != 0:
            raise OSError(ctypes.get_errno(), "capset")
        for capability in self.capabilities:
            if _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl(PR_CAP_AMBIENT)")


ROOT = Actor()


class Gate:
    """Lets one process wait for another: `open` once, `wait` anywhere (also after a fork)."""

    def __init__(self):
        self._read, self._write = os.pipe()

    @property
    def descriptor(self):
        """Readable once the gate is open."""
        return self._read

    def open(self):
        """Opens the gate for good."""
        os.write(self._write, b"x")

    def wait(self, seconds=PATIENCE):
        """Waits until the gate is open; raises `TimedOut`."""
        if not select.select([self._read], [], [], seconds)[0]:
            raise TimedOut(f"waited {seconds:g} s for the other side of a test")


class Task:
    """A function that runs in a forked child; `result` waits for what it returns or raises."""

    def __init__(self, host, function, actor):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _run_child(host, function, actor, writing)
        os.close(writing)
        self._pipe = reading
        self._status = None

    def result(self, seconds=PATIENCE * 2):
        """What the function returned. Raises `Failed` with the child's traceback, or `TimedOut`."""
        deadline = Deadline(seconds)
        received = bytearray()
        while True:
            if not select.select([self._pipe], [], [], deadline.left())[0]:
                self.kill()
                raise TimedOut(f"a client still ran after {seconds:g} s")
            part = os.read(self._pipe, 1 << 16)
            if not part:
                break
            received += part
        self._reap()
        if not received:
            raise Failed("a client ended without a word")
        worked, value = pickle.loads(bytes(received))
        if not worked:
            raise Failed(value)
        return value

    def kill(self):
        """Ends the child."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _reap(self):
        if self._status is None:
            os.close(self._pipe)
            self._status = os.waitpid(self.pid, 0)[1]


def _run_child(host, function, actor, writing):
    code = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        host.enter()
        actor.assume()
        answer = pickle.dumps((True, function()))
        code = 0
    except BaseException:  # the traceback is the answer
        answer = pickle.dumps((False, traceback.format_exc()))
    try:
        view = memoryview(answer)
        while view:
            view = view[os.write(writing, view):]
    finally:
        os._exit(code)


def die_with_parent():
    """Asks the kernel to kill this process when its parent dies, so that nothing outlives a killed test run."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Host:
    """One host: its own network, and its own view of the mounts."""

    def __init__(self, name):
        self.name = name
        self._spawned, self.tasks = [], []
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", "echo ready; exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        if self._holder.stdout.readline() != b"ready\n":
            raise Failed(f"could not make the namespaces of {name} (root and CAP_SYS_ADMIN are needed)")
        self.pid = self._holder.pid
        self._fds = [(os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag)
                     for kind, flag in (("net", _CLONE_NEWNET), ("mnt", _CLONE_NEWNS))]

    def enter(self):
        """Moves the calling (forked) process into this host."""
        here = os.getcwd()
        for descriptor, flag in self._fds:
            if _libc.setns(descriptor, flag) != 0:
                raise OSError(ctypes.get_errno(), f"setns into {self.name}")
        os.chdir(here)

    def command(self, *words, actor=ROOT, check=True, text=None, environment=None, seconds=PATIENCE * 2, merge=True):
        """Runs a program to its end; returns the `CompletedProcess`, its output as text."""
        try:
            done = subprocess.run(
                [str(w) for w in words], input=text, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge else subprocess.PIPE, env=environment,
                stdin=subprocess.DEVNULL if text is None else None, text=True, errors="replace", timeout=seconds,
                preexec_fn=lambda: self._prepare(actor))
        except subprocess.TimeoutExpired:
            raise TimedOut(f"still running after {seconds:g} s: {' '.join(map(str, words))}") from None
        if check and done.returncode != 0:
            raise Failed(f"{self.name}: {' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr or ''}")
        return done

    def spawn(self, *words, actor=ROOT, environment=None, **files):
        """Starts a program that goes on; it is killed when the lab closes."""
        process = subprocess.Popen(
            [str(w) for w in words], stdin=files.pop("stdin", subprocess.DEVNULL), env=environment,
            preexec_fn=lambda: self._prepare(actor), **files)
        self._spawned.append(process)
        return process

    def start(self, function, actor=ROOT):
        """Runs `function` in a child inside this host and returns its `Task`."""
        task = Task(self, function, actor)
        self.tasks.append(task)
        return task

    def call(self, function, actor=ROOT, seconds=PATIENCE * 2):
        """Runs `function` in a child inside this host and returns what it returns."""
        return self.start(function, actor).result(seconds)

    def _prepare(self, actor):
        die_with_parent()
        self.enter()
        actor.assume()

    def kill_tasks(self, first=0):
        """Ends the functions that still run, from the `first`th that was started on."""
        for task in self.tasks[first:]:
            task.kill()

    def close(self):
        """Kills what was spawned here and lets the namespaces go."""
        self.kill_tasks()
        for process in reversed(self._spawned):
            if process.poll() is None:
                process.kill()
            process.wait()
        for descriptor, _ in self._fds:
            os.close(descriptor)
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()
