#!/usr/bin/env python3
"""Decisions of the embedded Rego engine beside OPA and regorus, in one run.

usage: rego.py [--reference COMMAND] [--binary PATH] FILE.json...

Builds nothing: `swift build -c release --product rego-benchmark` first.  COMMAND (or SALLYPORT_REGO_REFERENCE) is called
with the files and prints lines like `NAME: opa 15.1 (best 14.8), net 5.0 (best 4.9) us; regorus ... us; its virtual machine
3.1 (best 3.0) us`.  Ratios are of best times: OPA net of its binding, regorus's virtual machine.  Exit status 1 where a
ratio is below what is asked for.
"""
import argparse, json, os, re, shlex, subprocess, sys

WANTED = {"rbac_small": (20, 5), "egress_host_set_hit": (10, 3.5), "egress_host_allowlist": (60, 12), "indexed_1000_rules": (3, 200),
          "opa_authz_10paths_1000tokens": (8, 8)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--reference", default=os.environ.get("SALLYPORT_REGO_REFERENCE", ""))
    parser.add_argument("--binary", default=".build/release/rego-benchmark")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    ours = {}
    for line in subprocess.run([options.binary] + options.files, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        entry = json.loads(line)
        ours[entry["name"]] = entry
    theirs = {}
    if options.reference:
        out = subprocess.run(shlex.split(options.reference) + options.files, stdout=subprocess.PIPE, text=True, check=True).stdout
        for line in out.splitlines():
            found = re.match(r"(\S+): opa .*?net [\d.]+ \(best ([\d.]+)\)(?:.*virtual machine [\d.]+ \(best ([\d.]+)\))?", line)
            if found:
                theirs[found.group(1)] = (float(found.group(2)), float(found.group(3) or 0))
    else:
        print("no reference: ratios are left out")
    low = False
    print(f"{'case':34} {'prepared':>9} {'built':>8} {'JSON':>8}   {'OPA net':>8} {'ratio':>7} {'asked':>6}   {'regorus':>8} {'ratio':>7} {'asked':>6}")
    for name, entry in ours.items():
        row = f"{name:34} {entry['microseconds']:9.3f} {entry['built']:8.3f} {entry['json']:8.3f}"
        if name in theirs:
            for value, asked in zip(theirs[name], WANTED.get(name, (0, 0))):
                ratio = value / entry["microseconds"]
                row += f"   {value:8.2f} {ratio:7.1f} {asked:6g}"
                low = low or ratio < asked
        print(row)
    scaling = subprocess.run([options.binary, "--scaling"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in scaling.splitlines():
        entry = json.loads(line)
        print(f"{entry['name']:34} {entry['microseconds']:9.3f}")
    threads = subprocess.run([options.binary, "--threads"] + options.files, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in threads.splitlines():
        entry = json.loads(line)
        print(f"{entry['name']:34} two threads lose {entry['threads_loss'] * 100:.1f} %")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
