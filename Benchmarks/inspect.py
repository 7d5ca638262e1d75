#!/usr/bin/env python3
"""`sallyport inspect` beside `tshark -T fields` on the same file, turn about.

    Benchmarks/inspect.py CAPTURE [--sallyport PROGRAM] [--turns N] [--megabytes N]

The capture is repeated to the size asked for, each time with other client ports, so that there are as many flows. tshark is
asked for what inspect tells: names of TLS, QUIC, HTTP and DNS.
"""

import argparse
import pathlib
import statistics
import struct
import subprocess
import tempfile
import time

FIELDS = [
    "frame.number", "ip.src", "ip.dst", "tls.handshake.extensions_server_name", "http.host", "http.request.method",
    "http.request.uri", "dns.qry.name", "dns.a", "dns.aaaa", "quic.version",
]


def repeated(path, target, byte_count):
    """Writes the packets of a little-endian pcap again and again, the addresses' second octet counted up."""
    raw = pathlib.Path(path).read_bytes()
    if raw[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") or struct.unpack_from("<I", raw, 20)[0] & 0xFFFF != 1:
        raise SystemExit(f"inspect.py: {path}: give a little-endian pcap file of Ethernet frames")
    records, position = [], 24
    while position + 16 <= len(raw):
        length = struct.unpack_from("<I", raw, position + 8)[0]
        records.append((raw[position:position + 16], raw[position + 16:position + 16 + length]))
        position += 16 + length
    with open(target, "wb") as out:
        out.write(raw[:24])
        turn = 0
        while out.tell() < byte_count:
            for head, frame in records:
                frame = bytearray(frame)
                if frame[12:14] == b"\x08\x00" and len(frame) >= 34:
                    # The same change on both addresses, and a checksum left wrong as by a card.
                    frame[27] = (frame[27] + turn) & 255
                    frame[31] = (frame[31] + turn) & 255
                out.write(head + bytes(frame))
            turn += 1
    return turn


def timed(command):
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return time.monotonic() - start, done.stdout.count(b"\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("capture")
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--sallyport", default=str(root / ".build/release/sallyport"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}/repeated.pcap"
        turns = repeated(options.capture, target, options.megabytes << 20)
        size = pathlib.Path(target).stat().st_size
        print(f"{options.capture} {turns} times: {size >> 20} MiB")
        tshark = ["tshark", "-n", "-r", target, "-T", "fields"] + [part for field in FIELDS for part in ("-e", field)]
        ours = [options.sallyport, "inspect", target, "--json"]
        times = {"sallyport inspect --json": [], "tshark -T fields": []}
        for _ in range(options.turns):
            for name, command in zip(times, [ours, tshark]):
                seconds, lines = timed(command)
                times[name].append(seconds)
                print(f"  {name}: {seconds:.2f} s, {lines} lines", flush=True)
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, seconds in medians.items():
            print(f"{name:28}{seconds:8.2f} s{size / seconds / 1e6:10.1f} MB/s")
        values = list(medians.values())
        print(f"ratio {values[1] / values[0]:.1f}")


if __name__ == "__main__":
    main()
