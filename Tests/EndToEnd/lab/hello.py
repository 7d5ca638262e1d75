"""ClientHello messages made by hand: every oddity that no honest library sends (RFC 8446 §4.1.2, RFC 6066 §3)."""

import os
import struct

X25519, SECP384R1, X25519MLKEM768 = 0x001D, 0x0018, 0x11EC


def vector(width, body):
    """A TLS vector: `body` behind its length in `width` bytes."""
    return len(body).to_bytes(width, "big") + body


def extension(kind, body):
    """One extension."""
    return struct.pack("!H", kind) + vector(2, body)


def server_name(*names, kind=0):
    """The server_name extension with these entries in its list; names may be bytes."""
    entries = b"".join(bytes([kind]) + vector(2, n if isinstance(n, bytes) else n.encode()) for n in names)
    return extension(0, vector(2, entries))


def key_share(group=X25519, length=32):
    """A key_share extension with one random share."""
    return extension(51, vector(2, struct.pack("!H", group) + vector(2, os.urandom(length))))


def ordinary(groups=(X25519, SECP384R1), share=None):
    """The extensions of an ordinary TLS 1.3 client, without a server name."""
    return [
        extension(10, vector(2, b"".join(struct.pack("!H", g) for g in groups))),
        extension(13, vector(2, bytes.fromhex("040308040401050308050501080606010201"))),
        extension(16, vector(2, vector(1, b"http/1.1"))),
        extension(43, vector(1, bytes.fromhex("03040303"))),
        extension(45, vector(1, b"\x01")),
        share if share is not None else key_share(),
    ]


def handshake(name=None, extensions=None, extra=(), session=None, random=None):
    """A ClientHello handshake message. `extensions` replaces all; `extra` is put before the ordinary ones."""
    if extensions is None:
        extensions = ([server_name(name)] if name is not None else []) + list(extra) + ordinary()
    body = (b"\x03\x03" + (random or os.urandom(32)) + vector(1, os.urandom(32) if session is None else session)
            + vector(2, bytes.fromhex("130113021303c02bc02fc02cc030cca9cca8009c009d002f0035"))
            + vector(1, b"\0") + vector(2, b"".join(extensions)))
    return b"\x01" + vector(3, body)


def record(fragment, kind=22, version=0x0301):
    """One TLS record."""
    return struct.pack("!BH", kind, version) + vector(2, fragment)


def client_hello(name=None, **others):
    """A ClientHello in one record."""
    return record(handshake(name, **others))


def post_quantum(name):
    """A ClientHello as browsers send it now: an X25519MLKEM768 share of 1216 bytes beside the classic one."""
    shares = (struct.pack("!H", X25519MLKEM768) + vector(2, os.urandom(1216))
              + struct.pack("!H", X25519) + vector(2, os.urandom(32)))
    grease = extension(0x2A2A, b"")
    extensions = [grease, server_name(name), *ordinary((0x2A2A, X25519MLKEM768, X25519), extension(51, vector(2, shares))),
                  extension(0x3A3A, b"\0")]
    return record(handshake(extensions=extensions))


def in_records(hello, size):
    """The same ClientHello cut into records of `size` bytes (RFC 8446 §5.1 lets a message span records)."""
    message = hello[5:]
    return b"".join(record(message[i:i + size]) for i in range(0, len(message), size))


def second_flight():
    """What an ordinary client sends after the server's flight: ChangeCipherSpec and an encrypted record."""
    return record(b"\x01", kind=20, version=0x0303) + record(os.urandom(53), kind=23, version=0x0303)
