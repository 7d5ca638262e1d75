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
import os
import re
import signal
import statistics
import sys

from pair import ROOT, Failed, Pair, log_socket


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
    values = {}
    for _ in range(options.rounds):
        for name, begin, end in [s for s in subjects(lab, False) if s[0] in ("no rules", "sallyport")]:
            process = begin()
            values.setdefault(name, []).append(lab.bulk(options.bulk_gigabytes))
            end(process)
    return {name: statistics.median(each) for name, each in values.items()}


def live(lab, options):
    """Resident memory of the daemon, in MiB, with established flows."""
    lab.rules("apply")
    process = lab.daemon("discard")
    with lab.standing(options.live) as established:
        status = open(f"/proc/{process.pid}/status").read()
    resident = {key: int(re.search(key + r":\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "VmHWM")}
    lab.stop(process)
    lab.rules("remove")
    return {"established": established, "resident MiB": resident["VmRSS"], "peak MiB": resident["VmHWM"]}


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
    lab = Pair(os.path.abspath(options.binaries))
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
    except Failed as failure:
        sys.exit(str(failure))
    finally:
        lab.down()


if __name__ == "__main__":
    main()
