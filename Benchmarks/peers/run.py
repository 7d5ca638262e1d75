#!/usr/bin/python3
"""Sallyport beside what a user would install instead, on the same probes and the same load, in one run.

Needs root, network namespaces, a release build, the C floor with its load generator (SALLYPORT_FLOOR, default
../shared/tools/floor beside the project) and the peers' configurations (SALLYPORT_PEERS, default ../shared/tools/peers). The peers
are those of Debian 12: haproxy, squid-openssl, opensnitch. Everything happens in namespaces made here.

    Benchmarks/peers/run.py [--rounds 5] [--flows 20000] [--only correctness,flows,latency,bulk,memory] [--peers haproxy,squid]

What is measured, and how, says README.md beside this file. Prints Markdown, or JSON with --json."""
import argparse
import os
import pathlib
import shutil
import signal
import sys

if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
    # Agents run under other uids: they need an interpreter that everybody may read.
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Behind the standard library: Benchmarks has a module `inspect` of its own.
sys.path += [str(ROOT / "Tests" / "EndToEnd"), str(HERE.parent)]
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

import correctness  # noqa: E402
import speed  # noqa: E402
import subjects  # noqa: E402
import table  # noqa: E402

NEEDS = {
    "nft": "nftables", "iptables": "iptables", "ip": "iproute2", "ss": "iproute2", "nsenter": "util-linux", "nginx": "nginx-light",
    "openssl": "openssl", "git": "git", "journalctl": "systemd", "conntrack": "conntrack", "gcc": "gcc",
}
PARTS = ("correctness", "flows", "latency", "bulk", "memory")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / ".build-static" / "release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flows", type=int, default=20000, help="new flows of one measurement; a slow subject gets fewer")
    parser.add_argument("--live", type=int, default=1000, help="flows that stand while memory is measured")
    parser.add_argument("--bulk-gigabytes", type=float, default=4)
    parser.add_argument("--only", default=",".join(PARTS), help="parts: " + ",".join(PARTS))
    parser.add_argument("--peers", default=",".join(peer.key for peer in subjects.PEERS), help="which of the peers")
    parser.add_argument("--probe", help="only rows whose title contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts, peers = options.only.split(","), options.peers.split(",")
    unknown = [word for word in parts if word not in PARTS] + [
        word for word in peers if word not in ("", *(peer.key for peer in subjects.PEERS))]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    if os.geteuid() != 0:
        sys.exit("root is needed for namespaces, rules and cgroups")
    binaries = options.binaries.resolve()
    if not (binaries / "sallyportd").exists():
        sys.exit(f"no sallyportd in {binaries} (swift build -c release --static-swift-stdlib --scratch-path .build-static)")
    absent = sorted({package for program, package in NEEDS.items() if shutil.which(program) is None})
    if absent:
        sys.exit(f"packages are missing (apt-get install {' '.join(absent)})")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    tell = lambda text: print(text, file=sys.stderr, flush=True)
    result = {"environment": table.environment(binaries)}
    if "correctness" in parts:
        result["correctness"] = correctness.measure(binaries, ("none", "sallyport", *peers), options.probe, tell)
    measured = [part for part in PARTS if part in parts and part != "correctness"]
    if measured:
        result["speed"] = speed.measure(binaries, peers, measured, options, tell)
    print(table.as_json(result) if options.json else table.as_markdown(result))


if __name__ == "__main__":
    main()
