"""B27, B28: Encrypted ClientHello. From outside GREASE and the real thing look the same: the outer name is the name."""

import os

from lab import ech, hello, quic as packets, servers
from lab.catalogue import attempt
from lab.shipped import shipped

from . import quic
from .names import look_up


def outcome(t, later, target, ending, data, allowed, reason="policy"):
    """The flow was decided by the outer name, and its record says that the extension was there."""
    if allowed:
        later.passed(target, ending, received=data[:100])
    else:
        later.refused(target, ending, reason, host=target.name)
    later.then(flagged, t, target, "allow" if allowed else "deny", target.name, ["allowed" if allowed else reason])


def flagged(t, target, verdict, host, reasons):
    """The record of a flow says that the extension was there, and the outer name."""
    if t.unprotected:
        return
    record = t.record(target, verdict, *reasons, host=host)
    t.expect(record.get("SALLYPORT_ENCRYPTED_CLIENT_HELLO") == "true", f"the record does not say that the name may be another: {record}")


@attempt("B27", "GREASE in the place of Encrypted ClientHello, in TLS and QUIC: decided by the name, and in the record")
def grease(t):
    with t.together() as later:
        for allowed in (True, False):
            for size in (0, 144, 400):
                t.title_of(f"{size} bytes, {'allowed' if allowed else 'refused'}")
                target = t.target("echo", allowed)
                data = hello.client_hello(target.name, extra=[ech.grease(size)])
                outcome(t, later, target, t.say(target, data, answered=True), data, allowed)
            t.title_of(f"QUIC, {'allowed' if allowed else 'refused'}")
            target = t.target("udp", allowed)
            data = packets.initial(packets.crypto(hello.handshake(target.name, extra=[ech.grease()])))
            outcome(t, later, target, quic.send(t, target, data), data, allowed)


@attempt("B27", "the same under the shipped policy: what ordinary clients send as camouflage refuses nothing")
def grease_shipped(t):
    with shipped(t, {"web": {"ports": list(servers.ECHO), "hosts": {"*.bound.test": None}}}):
        target = bound_target(t)
        data = hello.client_hello(target.name, extra=[ech.grease()])
        t.passed(target, t.say(target, data, answered=True), received=data[:100], sent=data)
        flagged(t, target, "allow", target.name, ["allowed"])


def bound_target(t, kind="echo"):
    """A target whose name was looked up."""
    target = t.target(kind, name=f"{t.lab.token()}.bound.test")
    t.expect(look_up(t, target.name).received, "no answer")
    return target


@attempt("B28", "a real Encrypted ClientHello is decided by its outer name, whatever the inner one is, and the record says that it was there")
def real(t):
    with t.together() as later:
        for over in ("TLS", "QUIC"):
            for allowed in (True, False):
                t.title_of(f"{over}, outer name {'allowed' if allowed else 'refused'}, inner one the other")
                target, key = t.target("echo" if over == "TLS" else "udp", allowed), ech.Key()
                inner = f"{target.token}.{'refused' if allowed else 'allowed'}.test"
                message = ech.real(key, target.name, inner)
                # Whoever has the key reads the other name in it, so this is no camouflage.
                t.expect(inner.encode() in (ech.opened(key, message, target.name) or b""), "the lab's own seal does not open")
                outcome(t, later, target, *speak(t, target, message), allowed)


def speak(t, target, message):
    """Says a ClientHello over TLS or QUIC; how that ended, and the bytes."""
    if target.transport == "udp":
        data = packets.initial(packets.crypto(message))
        return quic.send(t, target, data), data
    data = hello.record(message)
    return t.say(target, data, answered=True), data


@attempt("B28", "an inner ClientHello sent in the clear, and a broken extension, hide nothing and are in the record")
def in_the_clear(t):
    with t.together() as later:
        for what, extension in (("inner", ech.inner_mark()), ("no bytes", hello.extension(ech.EXTENSION, b"")),
                                ("noise", hello.extension(ech.EXTENSION, os.urandom(70))),
                                ("an older draft's", hello.extension(0xFFCE, os.urandom(90)))):
            t.title_of(what)
            target = t.target("echo", allowed=False)
            ending, data = speak(t, target, hello.handshake(target.name, extra=[extension]))
            outcome(t, later, target, ending, data, False)


@attempt("B28", "policy sees the extension and may refuse it (encrypted_client_hello)")
def by_policy(t):
    with t.together() as later:
        for kind in ("echo", "udp"):
            t.title_of(kind)
            target = t.target(kind, name=f"{t.lab.token()}.plain.test")
            later.passed(target, speak(t, target, hello.handshake(target.name))[0])
            target = t.target(kind, name=f"{t.lab.token()}.plain.test")
            ending, data = speak(t, target, ech.real(ech.Key(), target.name, f"{target.token}.refused.test"))
            outcome(t, later, target, ending, data, False, "encrypted_client_hello")


@attempt("B28", "under the shipped policy an outer name that is not listed, as CDNs publish them, is refused although the inner one is listed")
def real_shipped(t):
    groups = {"web": {"ports": [*servers.ECHO, *servers.UDP], "protocols": ["tls", "quic"], "hosts": {"*.bound.test": None}}}
    with shipped(t, groups) as policy:
        for kind in ("echo", "udp"):
            t.title_of(kind)
            target = bound_target(t, kind)
            outer = f"{target.token}.public.test"
            ending, _ = speak(t, target, ech.real(ech.Key(), outer, target.name))
            policy.refused(target, ending, "encrypted_client_hello", host=outer)
            flagged(t, target, "deny", outer, ["encrypted_client_hello"])
