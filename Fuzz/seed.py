#!/usr/bin/env python3
"""Writes corpora for the fuzzers from capture files: Fuzz/seed.py OUT CAPTURE...

For each capture the payloads of UDP datagrams and the first bytes of each direction of TCP, in the form that each target of
fuzz-inspection takes. Nothing of it is kept in the repository.
"""

import hashlib
import pathlib
import struct
import sys


def packets(raw):
    """Frames of a pcap of either byte order, or of pcapng's enhanced packet blocks, with their link type."""
    if raw[:4] == b"\x0a\x0d\x0d\x0a":
        order = "<" if raw[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
        position, link = 0, 1
        while position + 12 <= len(raw):
            kind, length = struct.unpack_from(order + "II", raw, position)
            if length < 12:
                return
            if kind == 1:
                link = struct.unpack_from(order + "H", raw, position + 8)[0]
            elif kind == 6:
                size = struct.unpack_from(order + "I", raw, position + 20)[0]
                yield link, raw[position + 28:position + 28 + size]
            position += length
        return
    order = "<" if raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    if len(raw) < 24:
        return
    link = struct.unpack_from(order + "I", raw, 20)[0] & 0xFFFF
    position = 24
    while position + 16 <= len(raw):
        size = struct.unpack_from(order + "I", raw, position + 8)[0]
        yield link, raw[position + 16:position + 16 + size]
        position += 16 + size


def transport(link, frame):
    """The protocol, both ends and the payload of an IPv4 or IPv6 packet without extensions; nil for others."""
    offset = {1: 14, 101: 0, 113: 16, 0: 4, 276: 20, 12: 0, 228: 0, 229: 0}.get(link)
    if offset is None:
        return None
    if link == 1 and frame[12:14] == b"\x81\x00":
        offset += 4
    ip = frame[offset:]
    if not ip:
        return None
    if ip[0] >> 4 == 4 and len(ip) >= 20:
        kind, body, ends = ip[9], ip[(ip[0] & 15) * 4:struct.unpack_from(">H", ip, 2)[0] or None], ip[12:20]
    elif ip[0] >> 4 == 6 and len(ip) >= 40:
        kind, body, ends = ip[6], ip[40:40 + struct.unpack_from(">H", ip, 4)[0]], ip[8:40]
    else:
        return None
    if kind == 17 and len(body) >= 8:
        return "udp", ends + body[:4], body[8:]
    if kind == 6 and len(body) >= 20:
        return "tcp", ends + body[:4], body[(body[12] >> 4) * 4:]
    return None


def main():
    out = pathlib.Path(sys.argv[1])

    def write(target, content):
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        content = bytes(content)[:16384]
        if content:
            (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)

    for path in sys.argv[2:]:
        raw = pathlib.Path(path).read_bytes()
        if len(raw) <= 32768:
            write("capture", raw)
        streams, flows = {}, {}
        for link, frame in packets(raw):
            found = transport(link, frame)
            if not found:
                continue
            kind, ends, payload = found
            if kind == "udp":
                flows.setdefault(ends, bytearray()).extend(
                    bytes([min(len(payload), 2047) >> 3, min(len(payload), 2047) & 7]) + payload[:2047])
                write("dns", payload[:512])
                if payload[:1] and payload[0] & 0x80:
                    write("quic", payload)
            elif payload:
                streams.setdefault(ends, bytearray()).extend(payload[:4096])
        for content in list(flows.values())[:50]:
            write("datagrams", content[:8192])
        for content in list(streams.values())[:50]:
            head = content[:4096]
            write("stream", b"\xff\xff" + head)
            write("stream", b"\x00\x00" + head)
            write("http1", head)
            write("hello", head)
            if head.startswith(b"PRI * HTTP/2.0"):
                write("http2", head[24:])
    print(f"seeds: {sum(1 for _ in out.rglob('*') if _.is_file())} in {out}")


if __name__ == "__main__":
    main()
