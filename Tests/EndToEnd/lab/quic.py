"""QUIC Initial packets made by hand (RFC 9000 §17.2.2, RFC 9001 §5, RFC 9369): keys and protection by the libcrypto that Python
itself uses, everything else in the test's hands."""

import ctypes
import ctypes.util
import hashlib
import hmac
import os
import struct

V1, V2, DRAFT29 = 1, 0x6B3343CF, 0xFF00001D
_SALTS = {
    V1: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    V2: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
    DRAFT29: bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"),
}
_crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for _name in ("EVP_CIPHER_CTX_new", "EVP_aes_128_ecb", "EVP_aes_128_gcm"):
    getattr(_crypto, _name).restype = ctypes.c_void_p


def _encrypt(cipher, key, nonce, data, associated=None):
    """AES-128-ECB of one block, or AES-128-GCM with its tag behind it."""
    context = ctypes.c_void_p(_crypto.EVP_CIPHER_CTX_new())
    out, length = ctypes.create_string_buffer(len(data) + 32), ctypes.c_int()
    method = ctypes.c_void_p(getattr(_crypto, cipher)())
    assert _crypto.EVP_EncryptInit_ex(context, method, None, key, nonce) == 1
    if associated is not None:
        assert _crypto.EVP_EncryptUpdate(context, None, ctypes.byref(length), associated, len(associated)) == 1
    assert _crypto.EVP_EncryptUpdate(context, out, ctypes.byref(length), data, len(data)) == 1
    sealed = out.raw[:length.value]
    if associated is not None:
        assert _crypto.EVP_EncryptFinal_ex(context, out, ctypes.byref(length)) == 1
        tag = ctypes.create_string_buffer(16)
        assert _crypto.EVP_CIPHER_CTX_ctrl(context, 0x10, 16, tag) == 1
        sealed += tag.raw
    _crypto.EVP_CIPHER_CTX_free(context)
    return sealed


def _expand(secret, label, length):
    full = b"tls13 " + label
    info = struct.pack("!H", length) + bytes([len(full)]) + full + b"\0"
    return hmac.new(secret, info + b"\1", hashlib.sha256).digest()[:length]


def variable(value):
    """A number of variable length (RFC 9000 §16)."""
    return bytes([value]) if value < 64 else struct.pack("!H", 0x4000 | value)


def crypto(content, offset=0):
    """A CRYPTO frame."""
    return b"\x06" + variable(offset) + variable(len(content)) + content


def initial(frames, version=V1, destination=None, number=0, key_id=None, size=1200, token=b"", written=None):
    """A protected Initial packet, padded to `size` bytes. `key_id`: the id that the keys come from, where it is not the
    destination. `written`: a version number that is written instead of the one that the keys are of."""
    destination = os.urandom(8) if destination is None else destination
    two = version == V2
    secret = hmac.new(_SALTS[version], key_id or destination, hashlib.sha256).digest()
    client = _expand(secret, b"client in", 32)
    prefix = b"quicv2 " if two else b"quic "
    key, iv, protection = (_expand(client, prefix + n, l) for n, l in ((b"key", 16), (b"iv", 12), (b"hp", 16)))
    first = 0xC1 | (0x10 if two else 0)
    head = (bytes([first]) + struct.pack("!I", written or version) + bytes([len(destination)]) + destination + b"\0"
            + variable(len(token)) + token)
    frames += bytes(max(0, size - len(head) - 2 - 2 - 16 - len(frames)))
    head += struct.pack("!H", 0x4000 | (2 + len(frames) + 16)) + struct.pack("!H", number)
    nonce = iv[:10] + bytes(a ^ b for a, b in zip(iv[10:], struct.pack("!H", number)))
    sealed = _encrypt("EVP_aes_128_gcm", key, nonce, frames, head)
    mask = _encrypt("EVP_aes_128_ecb", protection, None, sealed[2:18])
    low = 0x0F & mask[0]
    return bytes([first ^ low]) + head[1:-2] + bytes(a ^ b for a, b in zip(head[-2:], mask[1:3])) + sealed


def long_packet(kind, destination, size=40, version=V1):
    """A long-header packet whose content nobody can read: `kind` 1 is 0-RTT, 2 Handshake."""
    return (bytes([0xC0 | kind << 4]) + struct.pack("!I", version) + bytes([len(destination)]) + destination + b"\0"
            + variable(size) + os.urandom(size))


def short_packet(destination, size=60):
    """A packet with a short header."""
    return b"\x41" + destination + os.urandom(size)
