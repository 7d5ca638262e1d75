#!/usr/bin/python3
"""Sessions opened a second with ES256 beside what libcrypto alone verifies, and what naming a flow's session costs.

usage: sessions.py [--binary PATH] [--count N] [--rounds N]

Builds nothing: `swift build -c release --product session-benchmark` first. Rounds alternate with `openssl speed ecdsap256`,
all on one processor; medians are printed. Wanted: 10,000 sessions a second, and less than 20 us a flow among 10,000
sessions."""

import argparse
import base64
import json
import pathlib
import re
import statistics
import subprocess
import tempfile


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_key(directory):
    """A private JWK of P-256, by openssl."""
    pem = directory / "key.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pem], check=True)
    der = subprocess.run(["openssl", "ec", "-in", pem, "-outform", "DER"], check=True, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL).stdout
    # RFC 5915: version, the private key (32 bytes), the curve, the public point.
    private, point = der[7:39], der[-64:]
    path = directory / "key.json"
    path.write_text(json.dumps({"kty": "EC", "crv": "P-256", "kid": "1", "x": encoded(point[:32]), "y": encoded(point[32:]),
                                "d": encoded(private)}))
    return path


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--binary", default=".build/release/session-benchmark")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as name:
        directory = pathlib.Path(name)
        key = make_key(directory)
        for _ in range(options.rounds):
            said = subprocess.run(["taskset", "-c", "0", options.binary, key, str(options.count), directory], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
            for line in said.splitlines():
                entry = json.loads(line)
                found.setdefault(entry["name"], []).append(entry["value"])
            (directory / "sessions.jsonl").unlink()
            speed = subprocess.run(["taskset", "-c", "0", "openssl", "speed", "-seconds", "1", "ecdsap256"], check=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            found.setdefault("openssl_verifications_per_second", []).append(
                float(re.search(r"nistp256\).*?([\d.]+)\s*$", speed, re.MULTILINE).group(1)))
    for name, values in found.items():
        print(f"{name:48} {statistics.median(values):12,.1f}")


if __name__ == "__main__":
    main()
