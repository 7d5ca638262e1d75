#!/usr/bin/python3
"""How soon ordinary clients end that are refused with `deny: explain`, and what they print: the table of docs/refusals.md.

usage: refusals.py [--binaries DIRECTORY] [--rounds N] [--only NAME]        as root

In the lab of the end-to-end tests, at the forwarded place over IPv4. `answer` is the time from the request's packet to the
refusal's on the agent's interface, `end` that from the client's first packet to its error: where it prints when, or else to
the end of its process. Start-up is in neither. Medians, in milliseconds; a client that is not installed is left out."""

import argparse
import os
import pathlib
import re
import socket
import statistics
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "EndToEnd"
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

from lab.catalogue import Attempt, Skip, Test  # noqa: E402
from lab.lab import Lab  # noqa: E402
from lab.programs import CLIENTS, destination  # noqa: E402

SO_TIMESTAMPNS = 35


def packets(sniffer):
    """What was seen so far: time, whether it left, the server's port, flags of TCP, payload bytes."""
    while True:
        try:
            packet, control, _, where = sniffer.recvmsg(1 << 16, 256, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        at = next(struct.unpack("qq", data) for level, kind, data in control if kind == SO_TIMESTAMPNS)
        leaves, start = where[2] == 4, (packet[0] & 15) * 4
        if packet[0] >> 4 != 4 or packet[9] not in (6, 17):
            continue
        port = struct.unpack_from("!H", packet, start + (2 if leaves else 0))[0]
        is_tcp = packet[9] == 6
        head = (packet[start + 12] >> 4) * 4 if is_tcp else 8
        size = struct.unpack_from("!H", packet, 2)[0] - start - head
        yield at[0] + at[1] / 1e9, leaves, port, packet[start + 13] if is_tcp else 0, size


def watched(words, port, environment):
    """Runs a client; when its first packet left, when the request did, when it was answered and when it ended, and its output."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sniffer:
        sniffer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sniffer.bind(("vbot", 3))
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        end = time.time()
        seen = [packet for packet in packets(sniffer) if packet[2] == port]
    text = done.stdout.decode(errors="replace")
    if told := re.search(r"^ended ([\d.]+)$", text, re.MULTILINE):
        end = float(told[1])
    # What is refused is the last thing that is asked before the refusal: the end of the stream, a reset, or a datagram.
    refusal = next((p[0] for p in seen if not p[1] and (p[3] & 5 or (not p[3] and p[4]))), None)
    asked = max((p[0] for p in seen if p[1] and p[4] and refusal and p[0] < refusal), default=None)
    return seen[0][0], asked, refusal, end, text


def shown(client, target, text):
    """The line of a client's output that says why, with names of an example."""
    lines = [line.strip() for line in text.splitlines() if line and not line.startswith("ended ")]
    sign = max(client.signs, key=lambda s: ("refused by" in s, "denied" in s.lower(), len(s)), default="")
    line = next((line for line in lines if sign and sign in line), lines[-1] if lines else "nothing")
    line = line.replace(target.authority, "files.example.org").replace(target.name, "files.example.org")
    line = line.replace(target.address, "192.0.2.7").replace(f"port {target.port}", "port 443").replace("not on the lab's list", "WHY")
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", line)
    line = re.sub(r'\{"type".*', '{"type":"urn:sallyport:refused",...,"decision_id":"ID"}', line)
    line = re.sub(r"port=\d+", "port=443", line)
    line = re.sub(r"[0-9A-F]{12,}:", "", re.sub(r"0x[0-9a-f]{8,}", "0x...", line))
    return line if len(line) <= 150 else line[:147] + "..."


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--binaries", type=pathlib.Path, default=HERE.parent.parent / ".build-static" / "release")
    parser.add_argument("--prefix", default="spb")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only")
    options = parser.parse_args()
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lab = Lab(options.prefix, options.binaries.resolve(), HERE / "policies")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    try:
        lab.appliance.configure(deny="explain")
        lab.appliance.apply_rules()
        lab.appliance.start()
        print("| client | asks for | it prints | answer | end |\n| --- | --- | --- | --- | --- |")
        for client in CLIENTS:
            if options.only in (None, client.name, client.asks):
                measure(lab, client, options.rounds, environment)
    finally:
        lab.close()


def measure(lab, client, rounds, environment):
    """Prints a client's line of the table."""
    measurement = Attempt("refusals", client.name, measure, ("forward",), (4,), True, False, {})
    t = Test(lab, measurement, lab.place("forward", 4), [])
    answers, ends = [], []
    for _ in range(rounds):
        try:
            target, server = destination(t, client)
            words = [str(word) for word in client.words(lab, t.place, target)]
        except Skip as reason:
            print(f"{client.name}: {reason}", file=sys.stderr)
            return
        port = 53 if client.asks == "name" else target.port
        first, asked, refusal, end, text = t.place.call(lambda: watched(words, port, environment))
        if asked is not None:
            answers.append((refusal - asked) * 1000)
        ends.append((end - first) * 1000)
        if server is not None:
            server.ending()
    answer = f"{statistics.median(answers):.1f}" if answers else ""
    print(f"| {client.name} | {client.asks} | `{shown(client, target, text)}` | {answer} | {statistics.median(ends):.0f} |", flush=True)


if __name__ == "__main__":
    main()
