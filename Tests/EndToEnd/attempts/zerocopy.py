"""B83, B84: bytes that change while their packet is held, or between two transmissions."""

import ctypes
import mmap
import os
import socket

from lab import hello, streams
from lab.catalogue import attempt
from lab.namespaces import Gate
from lab.rawtcp import RawTCP
from lab.streams import Stream

CRAFTED = "a guest's packets are copied when they are forwarded; the guest crafts its retransmissions instead (below)"
_libc = ctypes.CDLL(None, use_errno=True)


class Page:
    """A memfd with a ClientHello whose name can be changed in place."""

    def __init__(self, data, name, other):
        self.descriptor = os.memfd_create("page")
        os.write(self.descriptor, data)
        self._map = mmap.mmap(self.descriptor, len(data))
        self._at, self._name, self._other, self.size = data.index(name), name, other, len(data)

    def become(self, which):
        """Writes the allowed name (False) or the other one (True) into the page."""
        self._map[self._at:self._at + len(self._name)] = self._other if which else self._name

    def sendfile(self, stream):
        """Sends the page without copying it."""
        sent = 0
        while sent < self.size:
            sent += os.sendfile(stream.socket.fileno(), self.descriptor, sent, self.size - sent)

    def splice(self, stream):
        """Sends the page through a pipe, without copying it either."""
        reading, writing = os.pipe()
        sent = 0
        while sent < self.size:
            count = os.splice(self.descriptor, writing, self.size - sent, offset_src=sent)
            moved = 0
            while moved < count:
                moved += os.splice(reading, stream.socket.fileno(), count - moved)
            sent += count
        os.close(reading)
        os.close(writing)


def names(target):
    """The allowed name of a target, and a refused one of the same length."""
    return target.name.encode(), f"{target.token}.refused.test".encode()


def toggling(t, send, rounds):
    """Sends one page again and again while a second process rewrites its name without a pause. Returns how the rounds
    ended."""
    target = t.target("echo")
    good, bad = names(target)
    data = hello.client_hello(target.name)

    def play():
        page = Page(data, good, bad)
        child = os.fork()
        if child == 0:
            while True:
                for _ in range(1000):
                    page.become(True)
                    page.become(False)
        words = []
        try:
            for _ in range(rounds):
                try:
                    stream = Stream(target.address, target.port)
                    getattr(page, send)(stream)
                    words.append("answered" if stream.receive() else "eof")
                    stream.close()
                except OSError as error:
                    words.append(streams.ending_of(error).word)
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        return words

    words = t.place.call(play, seconds=120)
    return target, bad, words


@attempt("B83", "a page that is rewritten while its packet is held: the bytes that were judged leave, or none",
         hooks=("output",), not_here=CRAFTED)
def rewritten(t):
    for send in ("sendfile", "splice"):
        t.title_of(send)
        target, bad, words = toggling(t, send, 150)
        if t.unprotected:
            t.expect(any(bad in s for s in t.lab.recorder.streams(target.port)), "unprotected, but the rewritten name never left")
            continue
        t.wait(lambda: t.records(target), "a record")
        _, kept = t.payload(target)
        leaked = [s for s in t.lab.recorder.streams(target.port) if bad in s]
        t.expect(bad not in kept and not leaked, f"a rewritten name left {max(len(leaked), kept.count(bad))} times in {len(words)} rounds")
        t.expect("timeout" not in words, f"a round was left without an answer: {words}")


@attempt("B84", "an allowed ClientHello that is lost and sent again with another name ends the flow", hooks=("output",),
         not_here=CRAFTED)
def rewritten_retransmission(t):
    target = t.target("quiet")
    good, bad = names(target)
    data = hello.client_hello(target.name)
    lost = Gate()
    family = "ip6 daddr" if t.place.family == 6 else "ip daddr"

    def play():
        page = Page(data, good, bad)
        try:
            stream = Stream(target.address, target.port)
            page.sendfile(stream)
            lost.wait()
            page.become(True)
            if t.unprotected:
                return streams.Ending("open")
            return streams.ending_with(stream)
        except OSError as error:
            return streams.ending_of(error)

    t.lab.topology.lose(f"{family} {target.address} tcp dport {target.port} meta length > 100 counter drop")
    try:
        task = t.place.start(play)
        t.wait(lambda: t.lab.topology.lost() >= 1, "the ClientHello to be lost on its way")
        lost.open()
        if t.unprotected:
            # The loss ends once the page has been rewritten; what the server then reads is another name.
            ending = task.result()
    finally:
        t.lab.topology.stop_losing()
    if t.unprotected:
        return
    ending = task.result()
    t.refused(target, ending, "reassembly", secret=bad)


def chunks(target):
    """A request's head, a chunk of its body, and what would end that body and begin a request to another host instead."""
    head = f"POST / HTTP/1.1\r\nHost: {target.name}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    other = f"0\r\n\r\nGET /{target.token} HTTP/1.1\r\nHost: {target.token}.refused.test\r\n\r\n".encode()
    content = len(other) - len("00\r\n\r\n")
    return head, f"{content:02x}\r\n".encode() + b"x" * content + b"\r\n", other


@attempt("B84", "a chunk that is lost and sent again with another size ends the flow")
def other_chunk(t):
    target = t.target("quiet")
    head, chunk, other = chunks(target)
    family = "ip6 daddr" if t.place.family == 6 else "ip daddr"
    lost = Gate()

    def local():
        page = Page(chunk, chunk, other)
        stream = Stream(target.address, target.port)
        stream.send(head)
        ready.open()
        losing.wait()
        page.sendfile(stream)
        lost.wait()
        page.become(True)
        return streams.Ending("open") if t.unprotected else streams.ending_with(stream)

    def crafted():
        raw = RawTCP(t.place.source, target.address, target.port)
        raw.send(head)
        ready.open()
        losing.wait()
        raw.segment(len(head), chunk, fake=True)
        lost.wait()
        raw.segment(len(head), other)
        if t.unprotected:
            raw.settle()
            return streams.Ending("open")
        return raw.wait_end()

    def play():
        try:
            return local() if t.place.hook == "output" else crafted()
        except OSError as error:
            return streams.ending_of(error)

    ready, losing = Gate(), Gate()
    task = t.place.start(play)
    ready.wait()
    t.wait(lambda: head in t.payload(target)[1], "the request's head to arrive")
    t.lab.topology.lose(f"{family} {target.address} tcp dport {target.port} meta length > 85 counter drop")
    losing.open()
    try:
        t.wait(lambda: t.lab.topology.lost() >= 1, "the chunk to be lost on its way")
        lost.open()
        if t.place.hook == "output":
            ending = task.result()
    finally:
        t.lab.topology.stop_losing()
    if t.place.hook == "forward":
        ending = task.result()
    t.refused(target, ending, "reassembly", secret=other)


@attempt("B84", "a crafted retransmission that differs from what was judged ends the flow", hooks=("forward",),
         not_here="a local agent changes the page instead (above)")
def crafted_retransmission(t):
    target = t.target("quiet")
    good, bad = names(target)
    data = hello.client_hello(target.name)
    family = "ip6 daddr" if t.place.family == 6 else "ip daddr"
    dead = Gate()

    def play():
        try:
            raw = RawTCP(t.place.source, target.address, target.port)
            raw.segment(0, data, fake=True)
            dead.wait()
            raw.segment(0, data.replace(good, bad))
            if t.unprotected:
                raw.settle()
                return streams.Ending("open")
            return raw.wait_end()
        except OSError as error:
            return streams.ending_of(error)

    t.lab.topology.lose(f"{family} {target.address} tcp dport {target.port} meta length > 100 counter drop")
    try:
        task = t.place.start(play)
        t.wait(lambda: t.lab.topology.lost() >= 1, "the ClientHello to be lost on its way")
    finally:
        t.lab.topology.stop_losing()
    dead.open()
    t.refused(target, task.result(), "reassembly", secret=bad)
