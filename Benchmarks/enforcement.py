#!/usr/bin/env python3
"""Speed of the enforcement path, side by side with what it is compared to, in one run.

Needs root, network namespaces, a release build of `sallyportd` and `sallyport`, and the C floor with its load generator
(SALLYPORT_FLOOR, default ../shared/tools/floor beside the project). Everything happens in two namespaces made here.

    Benchmarks/enforcement.py --binaries .build-static/release [--rounds 5] [--flows 20000] [--only flows,latency,bulk,live]

What is measured, in turn within each round, medians at the end:
  flows     new TLS flows a second, 64 at once: no rules; the batched floor behind Sallyport's own rules (so that the same
            packets are queued); Sallyport with its records discarded; Sallyport with journald taking every record
  latency   one new connection at a time, connect() to first reply byte, median microseconds: the same four
  bulk      bytes a second of one allowed flow: no rules, Sallyport
  live      resident memory of the daemon with 100,000 established, allowed flows
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOOR = os.environ.get("SALLYPORT_FLOOR", os.path.join(ROOT, "..", "shared", "tools", "floor"))
LAB = f"spb{os.getpid() % 10000}"
AGENT, NET = LAB + "a", LAB + "n"
SERVER = "198.18.0.1"
QUEUE = 9100


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


def inside(namespace, *command):
    # Not `ip netns exec`: that hides the cgroup hierarchy behind a fresh /sys.
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


class Lab:
    """Two namespaces joined by a veth pair, a work folder, and the processes started in them."""

    def __init__(self, binaries):
        self.binaries = binaries
        self.folder = tempfile.mkdtemp(prefix="sallyport-bench-")
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
        self.hello = os.path.join(FLOOR, "client-hello.bin")
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
        sys.exit("did not come up: " + open(os.path.join(self.folder, "stderr")).read()[-2000:])

    def client(self, *arguments):
        """Runs the load generator inside the agent's cgroup."""
        script = 'echo $$ > "$0" && exec "$@"'
        return run(*inside(AGENT, "sh", "-c", script, os.path.join(self.cgroup, "cgroup.procs"), *arguments))

    def flows(self, count, concurrency):
        text = self.client(os.path.join(self.folder, "flowgen"), "client", SERVER, "443", str(count), str(concurrency),
                           self.hello)
        values = {key: float(value) for key, value in re.findall(r"(\w+) ([\d.]+)", text)}
        if values.get("fail") or not values.get("ok"):
            sys.exit(f"flows failed: {text}")
        return values


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
    sys.exit("no server name in the hello of the load generator")


def subjects(lab, journal):
    """Name and a pair (begin, end) for each thing measured."""

    def sallyport(log):
        def begin():
            lab.rules("apply", log)
            return lab.daemon(log)
        return begin

    def floor():
        lab.rules("apply")
        return lab.floor()

    def end(process):
        if process:
            lab.stop(process)
            lab.rules("remove")

    result = [("no rules", lambda: None, end), ("floor", floor, end), ("sallyport", sallyport("discard"), end)]
    return result + ([("sallyport+journal", sallyport("journal"), end)] if journal else [])


def measure_connections(lab, options, journal, count, concurrency, figure):
    values = {}
    for _ in range(options.rounds):
        for name, begin, end in subjects(lab, journal):
            process = begin()
            lab.flows(max(count // 10, 100), concurrency)
            values.setdefault(name, []).append(lab.flows(count, concurrency)[figure])
            end(process)
    return {name: statistics.median(each) for name, each in values.items()}


def bulk(lab, options):
    """Bytes a second of one allowed flow, the agent sending."""
    values = {}
    helper = os.path.join(ROOT, "Benchmarks", "bulk.py")
    for _ in range(options.rounds):
        for name, begin, end in [s for s in subjects(lab, False) if s[0] in ("no rules", "sallyport")]:
            process = begin()
            server = lab.start(inside(NET, sys.executable, helper, "server", "8443"))
            text = lab.client(sys.executable, helper, "client", SERVER, "8443", lab.hello, str(options.bulk_gigabytes))
            values.setdefault(name, []).append(float(text))
            lab.stop(server)
            end(process)
    return {name: statistics.median(each) for name, each in values.items()}


def live(lab, options):
    """Resident memory of the daemon, in MiB, with established flows."""
    helper = os.path.join(ROOT, "Benchmarks", "live.py")
    lab.rules("apply")
    process = lab.daemon("discard")
    server = lab.start(inside(NET, sys.executable, helper, "server", "20000", "8"), start_new_session=True)
    child = subprocess.Popen(
        inside(AGENT, "sh", "-c", 'echo $$ > "$0" && exec "$@"', os.path.join(lab.cgroup, "cgroup.procs"), sys.executable,
               helper, "client", SERVER, "20000", "8", lab.hello, str(options.live)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = child.stdout.readline().strip()
    status = open(f"/proc/{process.pid}/status").read()
    resident = {key: int(re.search(key + r":\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "VmHWM")}
    child.stdin.close()
    child.wait()
    lab.stop(server)
    lab.stop(process)
    lab.rules("remove")
    return {"established": line, "resident MiB": resident["VmRSS"], "peak MiB": resident["VmHWM"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", default=os.path.join(ROOT, ".build-static", "release"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flows", type=int, default=20000)
    parser.add_argument("--live", type=int, default=100000)
    parser.add_argument("--bulk-gigabytes", type=float, default=4)
    parser.add_argument("--only", default="flows,latency,bulk,live")
    options = parser.parse_args()
    wanted = options.only.split(",")
    journal = os.path.exists(log_socket())
    lab = Lab(os.path.abspath(options.binaries))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        lab.up()
        if "flows" in wanted:
            result = measure_connections(lab, options, journal, options.flows, 64, "flows_per_s")
            print("new flows/s:", {k: round(v) for k, v in result.items()},
                  f"sallyport/floor {result['sallyport'] / result['floor']:.3f}", flush=True)
        if "latency" in wanted:
            result = measure_connections(lab, options, journal, max(options.flows // 10, 500), 1, "p50_us")
            print("lone connection, us:", {k: round(v, 1) for k, v in result.items()},
                  f"sallyport/floor {result['sallyport'] / result['floor']:.3f}", flush=True)
        if "bulk" in wanted:
            result = bulk(lab, options)
            print("bulk, Gbit/s:", {k: round(v * 8 / 1e9, 2) for k, v in result.items()},
                  f"ratio {result['sallyport'] / result['no rules']:.3f}", flush=True)
        if "live" in wanted:
            print("live flows:", live(lab, options), flush=True)
        if not journal:
            print("journald: not measured, no socket at", log_socket(), "(set SALLYPORT_JOURNAL_SOCKET)")
    finally:
        lab.down()


if __name__ == "__main__":
    main()
