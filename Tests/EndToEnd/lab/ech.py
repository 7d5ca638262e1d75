"""Encrypted ClientHello made by hand (RFC 9849): the extension as GREASE, and a real one, sealed for a server's key by HPKE (RFC 9180) with
DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM. By the libcrypto that Python itself uses."""

import ctypes
import ctypes.util
import hashlib
import hmac
import os
import struct

from . import hello
from .quic import _encrypt

EXTENSION = 0xFE0D
_KEM, _KDF, _AEAD = 0x0020, 0x0001, 0x0001
_X25519 = 1034
_crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for _name in ("EVP_PKEY_new_raw_private_key", "EVP_PKEY_new_raw_public_key", "EVP_PKEY_CTX_new"):
    getattr(_crypto, _name).restype = ctypes.c_void_p


class Key:
    """An X25519 key pair."""

    def __init__(self):
        self._key = ctypes.c_void_p(_crypto.EVP_PKEY_new_raw_private_key(
            _X25519, None, os.urandom(32), ctypes.c_size_t(32)))
        out, length = ctypes.create_string_buffer(32), ctypes.c_size_t(32)
        assert _crypto.EVP_PKEY_get_raw_public_key(self._key, out, ctypes.byref(length)) == 1
        self.public = out.raw

    def shared(self, peer):
        """The secret that both sides derive."""
        other = ctypes.c_void_p(_crypto.EVP_PKEY_new_raw_public_key(_X25519, None, peer, ctypes.c_size_t(32)))
        context = ctypes.c_void_p(_crypto.EVP_PKEY_CTX_new(self._key, None))
        out, length = ctypes.create_string_buffer(32), ctypes.c_size_t(32)
        assert _crypto.EVP_PKEY_derive_init(context) == 1 and _crypto.EVP_PKEY_derive_set_peer(context, other) == 1
        assert _crypto.EVP_PKEY_derive(context, out, ctypes.byref(length)) == 1
        _crypto.EVP_PKEY_CTX_free(context)
        _crypto.EVP_PKEY_free(other)
        return out.raw


def config(key, public_name, identifier=7):
    """An ECHConfig: the key that a server publishes, and the outer name that goes with it."""
    contents = (bytes([identifier]) + struct.pack("!H", _KEM) + hello.vector(2, key.public)
                + hello.vector(2, struct.pack("!HH", _KDF, _AEAD)) + b"\0" + hello.vector(1, public_name.encode()) + hello.vector(2, b""))
    return struct.pack("!H", EXTENSION) + hello.vector(2, contents)


def _extract(salt, secret):
    return hmac.new(salt, secret, hashlib.sha256).digest()


def _labelled(suite, label, secret):
    return b"HPKE-v1" + suite + label + secret


def _expand(suite, key, label, info, length):
    data = struct.pack("!H", length) + _labelled(suite, label, info)
    return hmac.new(key, data + b"\1", hashlib.sha256).digest()[:length]


def _keys(shared, ephemeral, public, info):
    """Key and nonce of the first message that goes to a key (RFC 9180 §4.1, §5.1)."""
    kem = b"KEM" + struct.pack("!H", _KEM)
    suite = b"HPKE" + struct.pack("!HHH", _KEM, _KDF, _AEAD)
    secret = _expand(kem, _extract(b"", _labelled(kem, b"eae_prk", shared)), b"shared_secret", ephemeral + public, 32)
    context = (b"\0" + _extract(b"", _labelled(suite, b"psk_id_hash", b"")) + _extract(b"", _labelled(suite, b"info_hash", info)))
    exporter = _extract(secret, _labelled(suite, b"secret", b""))
    return _expand(suite, exporter, b"key", context, 16), _expand(suite, exporter, b"base_nonce", context, 12)


def _extension(identifier, ephemeral, payload):
    return hello.extension(EXTENSION, b"\0" + struct.pack("!HHB", _KDF, _AEAD, identifier) + hello.vector(2, ephemeral) + hello.vector(2, payload))


def grease(size=144):
    """The extension as an ordinary client sends it without any key (RFC 9849 §6.2): nothing is in it."""
    return _extension(os.urandom(1)[0], os.urandom(32), os.urandom(size + 16))


def inner_mark():
    """The extension by which an inner ClientHello says what it is."""
    return hello.extension(EXTENSION, b"\1")


def real(key, outer, inner):
    """A ClientHello message that names `outer` and carries another one, sealed for `key`, that names `inner` (RFC 9849 §6.1)."""
    session, random = os.urandom(32), os.urandom(32)
    hidden = hello.handshake(inner, extra=[inner_mark()], session=b"")[4:]
    hidden += bytes(-len(hidden) % 32)
    ephemeral = Key()
    info = b"tls ech\0" + config(key, outer)
    sealing, nonce = _keys(ephemeral.shared(key.public), ephemeral.public, key.public, info)
    make = lambda payload: hello.handshake(outer, extra=[_extension(7, ephemeral.public, payload)], session=session, random=random)
    # What is sealed is bound to the outer message with nothing in the payload's place. `ordinary` makes a new share each time.
    blank = make(bytes(len(hidden) + 16))
    payload = _encrypt("EVP_aes_128_gcm", sealing, nonce, hidden, blank[4:])
    assert blank.count(bytes(len(payload))) == 1
    return blank.replace(bytes(len(payload)), payload)


def opened(key, message, outer):
    """What a server with this key reads in a ClientHello message that names `outer`: the inner ClientHello, or None."""
    start = message.find(struct.pack("!H", EXTENSION))
    while start >= 0:
        body = message[start + 4:start + 4 + struct.unpack_from("!H", message, start + 2)[0]]
        if body[:5] == b"\0" + struct.pack("!HH", _KDF, _AEAD):
            ephemeral, payload = body[8:40], body[42:]
            sealing, nonce = _keys(key.shared(ephemeral), ephemeral, key.public, b"tls ech\0" + config(key, outer))
            # GCM is a stream cipher: sealing again what is sealed gives the text, and the text's own seal must be the same.
            text = _encrypt("EVP_aes_128_gcm", sealing, nonce, payload[:-16], b"")[:-16]
            blank = message[4:].replace(payload, bytes(len(payload)))
            if _encrypt("EVP_aes_128_gcm", sealing, nonce, text, blank) == payload:
                return text
        start = message.find(struct.pack("!H", EXTENSION), start + 1)
    return None
