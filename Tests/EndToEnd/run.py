#!/usr/bin/python3
"""End-to-end tests of Sallyport in network namespaces: the real kernel, real servers, real clients.

Run as root:   Tests/EndToEnd/run.py                 every test, with the binaries of .build-static/release
               Tests/EndToEnd/run.py --unprotected   the same attempts where nothing enforces: each must get out,
                                                     else its test could not fail
The last line is `N passed, N failed, N skipped`; the exit status is 1 if any failed. See README.md."""

import argparse
import os
import pathlib
import shutil
import sys

if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3") and not os.environ.get("SPE_PYTHON"):
    # Agents run under other uids: they need an interpreter that everybody may read.
    os.environ["SPE_PYTHON"] = "1"
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import signal  # noqa: E402

import attempts  # noqa: E402,F401  registers the tests
from lab.catalogue import ATTEMPTS, Runner  # noqa: E402
from lab.lab import Lab  # noqa: E402

NEEDS = {
    "nft": "nftables", "ip": "iproute2", "nginx": "nginx-light", "openssl": "openssl", "curl": "curl", "git": "git",
    "journalctl": "systemd", "unshare": "util-linux", "conntrack": "conntrack",
}


def main():
    parser = argparse.ArgumentParser(description="End-to-end tests in network namespaces (root).")
    parser.add_argument("--only", help="numbers of the catalogue, with commas: B1,B37; or words of a promise")
    parser.add_argument("--family", type=int, choices=(4, 6))
    parser.add_argument("--hook", choices=("output", "forward"))
    parser.add_argument("--list", action="store_true", help="print the tests and end")
    parser.add_argument("--unprotected", action="store_true", help="without rules and daemon: every attempt must get out")
    parser.add_argument("--binaries", type=pathlib.Path, default=HERE.parent.parent / ".build-static" / "release")
    parser.add_argument("--prefix", default="spe", help="prefix of slice and directories (default: spe)")
    parser.add_argument("--keep", action="store_true", help="keep the lab's directory")
    options = parser.parse_args()
    chosen = choose(options.only)
    if options.list:
        for each in chosen:
            where = "once" if each.once else " ".join(each.hooks)
            print(f"{each.number:8} {each.promise}  [{where}]")
        return 0
    why_not = missing(options)
    if why_not:
        print(f"skip  all end-to-end tests: {why_not}")
        print(f"0 passed, 0 failed, {len(chosen)} skipped")
        return 0
    return run(chosen, options)


def choose(only):
    """The tests that `--only` names; all without it."""
    if not only:
        return ATTEMPTS
    words = [w.strip() for w in only.split(",") if w.strip()]
    numbers = {a.number for a in ATTEMPTS}
    return [a for a in ATTEMPTS if any(a.number == w or (w not in numbers and w.lower() in a.promise.lower()) for w in words)]


def missing(options):
    """Why the tests cannot run here, or None."""
    if os.geteuid() != 0:
        return "root is needed for namespaces, rules and cgroups"
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = sorted({package for program, package in NEEDS.items() if shutil.which(program) is None})
    if absent:
        return f"packages are missing (apt-get install {' '.join(absent)})"
    if not options.unprotected and not (options.binaries / "sallyportd").exists():
        return f"no sallyportd in {options.binaries} (swift build -c release --static-swift-stdlib --scratch-path .build-static)"
    return None


def run(chosen, options):
    """Makes the lab, runs the tests in it and takes it down."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lab = Lab(options.prefix, None if options.unprotected else options.binaries.resolve(), HERE / "policies", options.keep)
    runner = Runner(lab)
    try:
        if lab.appliance is not None:
            lab.appliance.apply_rules()
            lab.appliance.start()
        runner.run(chosen, options.hook, options.family)
    finally:
        lab.close()
    for title in runner.failed:
        print(f"failed: {title}")
    print(f"{len(runner.passed)} passed, {len(runner.failed)} failed, {len(runner.skipped)} skipped")
    return 1 if runner.failed or not (runner.passed or runner.skipped) else 0


if __name__ == "__main__":
    sys.exit(main())
