"""Two hosts for measuring: an agent's and the outside world's, network namespaces joined by a veth pair, with the load
generator's server in the latter. What the speed measurements have in common."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOOR = os.environ.get("SALLYPORT_FLOOR", os.path.join(ROOT, "..", "shared", "tools", "floor"))
BULK, LIVE = (os.path.join(ROOT, "Benchmarks", name) for name in ("bulk.py", "live.py"))
LAB = f"spb{os.getpid() % 10000}"
AGENT, NET = LAB + "a", LAB + "n"
SERVER = "198.18.0.1"
QUEUE = 9100


class Failed(Exception):
    """A measurement that did not work, and why."""


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


def inside(namespace, *command):
    # Not `ip netns exec`: that hides the cgroup hierarchy behind a fresh /sys.
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


class Pair:
    """The two hosts, a work folder, and the processes started in them. `uid`: under which the clients run; None is root."""

    def __init__(self, binaries, uid=None):
        self.binaries, self.uid = binaries, uid
        self.folder = tempfile.mkdtemp(prefix="sallyport-bench-")
        os.chmod(self.folder, 0o755)
        self.processes = []
        self.cgroup_root = next(
            line.split()[1] for line in open("/proc/self/mounts") if line.split()[2] == "cgroup2")
        self.slice = f"{LAB}.slice"
        self.cgroup = os.path.join(self.cgroup_root, self.slice, f"{LAB}-bench.slice")

    def up(self):
        run("ip", "netns", "add", AGENT)
        run("ip", "netns", "add", NET)
        run("ip", "link", "add", "va", "netns", AGENT, "type", "veth", "peer", "name", "vn", "netns", NET)
        for name, link, address in ((AGENT, "va", "198.18.0.2/24"), (NET, "vn", "198.18.0.1/24")):
            run(*inside(name, "ip", "address", "add", address, "dev", link))
            run(*inside(name, "ip", "link", "set", "lo", "up"))
            run(*inside(name, "ip", "link", "set", link, "up"))
            for setting in ("net.ipv4.ip_local_port_range=1024 65535", "net.core.somaxconn=65535",
                            "net.ipv4.tcp_max_syn_backlog=65535"):
                run(*inside(name, "sysctl", "-qw", setting))
        os.makedirs(self.cgroup, exist_ok=True)
        for program in ("flowgen", "nfq_accept"):
            libraries = ["-lmnl", "-lnetfilter_queue"] if program == "nfq_accept" else []
            run("gcc", "-O2", "-w", "-o", os.path.join(self.folder, program), os.path.join(FLOOR, program + ".c"), *libraries)
        self.hello = os.path.join(self.folder, "client-hello.bin")
        shutil.copy(os.path.join(FLOOR, "client-hello.bin"), self.hello)
        self.start(inside(NET, os.path.join(self.folder, "flowgen"), "server", "443"))
        policies = os.path.join(self.folder, "policies")
        os.mkdir(policies)
        shutil.copy(os.path.join(ROOT, "Benchmarks", "policy", "egress.rego"), policies)
        with open(os.path.join(policies, "data.json"), "w") as file:
            json.dump({"hosts": [server_name(open(self.hello, "rb").read())]
                       + [f"host{n}.example.com" for n in range(1000)]}, file)

    def start(self, command, **options):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=open(os.path.join(self.folder, "stderr"), "a"), **options)
        self.processes.append(process)
        return process

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.processes.remove(process)

    def down(self):
        for process in list(self.processes):
            self.stop(process)
        for name in (AGENT, NET):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        for folder in (self.cgroup, os.path.dirname(self.cgroup)):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def configuration(self, log, queues=1):
        path = os.path.join(self.folder, f"sallyport-{log}.yaml")
        with open(path, "w") as file:
            file.write(
                f"slice: {self.slice}\nagents:\n  - id: bench\nresolvers: []\n"
                f"queues: {{ base: {QUEUE}, count: {queues}, length: 8192 }}\n"
                f"policy: {{ directory: {self.folder}/policies }}\n"
                f"log: {{ {'discard: true' if log == 'discard' else 'socket: ' + log_socket()} }}\n"
                f"control: {{ socket: {self.folder}/control.sock }}\n")
        return path

    def rules(self, verb, log="discard"):
        run(*inside(AGENT, os.path.join(self.binaries, "sallyport"), "rules", verb, "--config", self.configuration(log)))

    def daemon(self, log):
        """Starts the daemon and waits until it attends its queues."""
        process = self.start(inside(AGENT, os.path.join(self.binaries, "sallyportd"), "--config", self.configuration(log)))
        self.await_alive(process)
        return process

    def floor(self):
        """The C program that accepts everything, behind the same rules; the heartbeat is put by hand."""
        process = self.start(inside(AGENT, os.path.join(self.folder, "nfq_accept"), str(QUEUE), "batch"))
        run(*inside(AGENT, "nft", "add element inet sallyport alive { tcp timeout 1h, udp timeout 1h }"))
        self.await_alive(process)
        return process

    def await_alive(self, process):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            elements = subprocess.run(inside(AGENT, "nft", "list", "set", "inet", "sallyport", "alive"),
                                      capture_output=True, text=True).stdout
            if "tcp" in elements.split("elements", 1)[-1] and "elements" in elements:
                return
        raise Failed("did not come up: " + self.said()[-2000:])

    def await_listening(self, *ports):
        """Waits until a server of the outside world listens on all of these."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            listening = run(*inside(NET, "ss", "-Hltn"))
            if all(f":{port} " in listening for port in ports):
                return
        raise Failed(f"nobody listens on {ports}: {self.said()[-2000:]}")

    def said(self):
        """What the started processes said on standard error."""
        return open(os.path.join(self.folder, "stderr")).read()

    def as_agent(self, *arguments):
        """The words that run a program on the agent's host, inside the agent's cgroup."""
        uid = ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups", "--"] if self.uid else []
        script = 'echo $$ > "$0" && exec "$@"'
        return inside(AGENT, "sh", "-c", script, os.path.join(self.cgroup, "cgroup.procs"), *uid, *arguments)

    def client(self, *arguments):
        """Runs the load generator as the agent."""
        done = subprocess.run(self.as_agent(*arguments), text=True, capture_output=True)
        if done.returncode:
            raise Failed(f"{os.path.basename(arguments[0])} failed: {done.stderr.strip()[-400:]}")
        return done.stdout

    def flows(self, count, concurrency):
        text = self.client(os.path.join(self.folder, "flowgen"), "client", SERVER, "443", str(count), str(concurrency),
                           self.hello)
        values = {key: float(value) for key, value in re.findall(r"(\w+) ([\d.]+)", text)}
        if values.get("fail") or not values.get("ok"):
            raise Failed(f"flows failed: {text.strip()}")
        return values

    def bulk(self, gigabytes):
        """Bytes a second of one allowed flow, the agent sending."""
        server = self.start(inside(NET, sys.executable, BULK, "server", "8443"))
        self.await_listening(8443)
        try:
            return float(self.client(sys.executable, BULK, "client", SERVER, "8443", self.hello, str(gigabytes)))
        finally:
            self.stop(server)

    @contextlib.contextmanager
    def standing(self, count):
        """Established, allowed flows, as long as the context lasts; gives how many there are."""
        server = self.start(inside(NET, sys.executable, LIVE, "server", "20000", "8"), start_new_session=True)
        self.await_listening(*range(20000, 20008))
        client = subprocess.Popen(
            self.as_agent(sys.executable, LIVE, "client", SERVER, "20000", "8", self.hello, str(count)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(os.path.join(self.folder, "stderr"), "a"), text=True)
        try:
            yield client.stdout.readline().strip()
        finally:
            client.stdin.close()
            client.wait()
            self.stop(server)


def log_socket():
    return os.environ.get("SALLYPORT_JOURNAL_SOCKET", "/run/systemd/journal/socket")


def server_name(hello):
    """The server name of a ClientHello, found by its extension header."""
    for position in range(len(hello) - 9):
        kind, length, listed, entry, size = (
            int.from_bytes(hello[position:position + 2]), int.from_bytes(hello[position + 2:position + 4]),
            int.from_bytes(hello[position + 4:position + 6]), hello[position + 6],
            int.from_bytes(hello[position + 7:position + 9]))
        if kind == 0 and entry == 0 and length == listed + 2 == size + 5 and 0 < size < 254:
            return hello[position + 9:position + 9 + size].decode()
    raise Failed("no server name in the hello of the load generator")
