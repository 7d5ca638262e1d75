"""`deny: explain`: a refusal in the words of the protocol, which ordinary clients show."""

import json
import os
import struct

from lab import hello, quic, servers, streams, topology
from lab.catalogue import attempt
from lab.streams import Stream, request, response_is_whole

from .journeys import curl
from .layers import ask, startup
from .network import send_datagram


class Explaining:
    """The appliance explains its refusals for a while."""

    def __init__(self, t):
        self.t = t

    def __enter__(self):
        self._configure(deny="explain")

    def __exit__(self, *_):
        self._configure()

    def _configure(self, **changes):
        self.t.appliance.configure(**changes)
        self.t.appliance.reload("configuration_loaded")


def refused_in_words(t, target, *reasons, secret=None, host=None):
    """Nothing of it arrived, and there is one record, which is returned."""
    return t.refused(target, None, *reasons, secret=secret, host=host, told=False)


@attempt("explain", "TLS: a client reports the alert access_denied", unprotected=False)
def tls(t):
    with Explaining(t):
        for kind in ("https", "https12"):
            t.title_of(kind)
            target = t.target(kind, allowed=False)
            done = curl(t, target, "https", "/")
            t.expect(done.returncode == 35 and "access denied" in done.stdout, f"curl exit {done.returncode}: {done.stdout[-300:]}")
            refused_in_words(t, target, "policy", host=target.name)
        t.title_of("in two segments")
        target = t.target("quiet", allowed=False)
        data = hello.client_hello(target.name)
        ending = t.say(target, data[:40], data[40:])
        t.expect(ending.received == bytes.fromhex("15030300020231"), f"no alert: {ending}")
        refused_in_words(t, target, "policy", host=target.name)


@attempt("explain", "HTTP: a client gets 403 and a problem document with the reason and the record's id", unprotected=False)
def http(t):
    with Explaining(t):
        target = t.target("http", allowed=False)
        done = curl(t, target, "http", "/", "-w", "\n%{http_code} %{content_type}")
        body, _, status = done.stdout.rpartition("\n")
        t.expect(done.returncode == 0 and status.startswith("403 application/problem+json"), f"curl: {done.stdout[-400:]}")
        record = refused_in_words(t, target, "policy", host=target.name)
        said = json.loads(body)
        t.expect((said["reason"], said["host"], said["policy_reason"]) == ("policy", target.name, "not on the lab's list"), f"{said}")
        t.expect(said["decision_id"] == record["SALLYPORT_DECISION_ID"], f"{said['decision_id']} is not the record's id")

        t.title_of("the second request of a connection")
        target = t.target("http")
        first, second = request(target.authority), request("second.refused.test", headers=["X-Secret: inside"])

        def in_turn():
            stream = Stream(target.address, target.port)
            stream.send(first)
            answer = b""
            while not response_is_whole(answer):
                answer += stream.receive()
            stream.send(second)
            words = b""
            while more := stream.receive():
                words += more
            return answer, words

        answer, words = t.place.call(in_turn)
        t.expect(answer.startswith(b"HTTP/1.1 200") and words.startswith(b"HTTP/1.1 403"), f"{answer[:60]!r}, then {words[:60]!r}")
        refused_in_words(t, target, "policy", secret=b"inside", host="second.refused.test")

        t.title_of("pipelined behind a request that is not answered yet")
        target = t.target("quiet")
        ending = t.say(target, first.replace(b"Host", b"X-Nothing: 1\r\nHost") + second)
        t.expect(ending.is_refusal and b"403" not in ending.received, f"words in the place of another answer: {ending}")
        refused_in_words(t, target, "policy", secret=b"inside", host="second.refused.test")


def with_edns(query):
    """The query with an OPT record."""
    return query[:10] + b"\0\1" + query[12:] + b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


@attempt("explain", "DNS: REFUSED, with Extended DNS Error 15 where the question has EDNS, over UDP and TCP", unprotected=False)
def dns(t):
    address = t.place.at(topology.RESOLVER)
    with Explaining(t):
        for tcp in (False, True):
            for edns in (False, True):
                t.title_of(f"{'TCP' if tcp else 'UDP'}, {'with' if edns else 'without'} EDNS")
                name = f"{t.lab.token()}.refused.test"
                query = servers.question(name, identifier=0x2222)
                answer = ask(t, address, with_edns(query) if edns else query, tcp=tcp).received[2 if tcp else 0:]
                t.expect(answer[:2] == b"\x22\x22" and answer[2] & 0x80 and answer[3] & 15 == 5, f"not REFUSED: {answer!r}")
                error = struct.pack("!H", 15)
                t.expect((b"not on the lab's list" in answer and error in answer[len(query):]) == edns, f"the text: {answer!r}")
                _, _, kept = t.lab.wire.payload(address, 53, "tcp" if tcp else "udp")
                t.expect(name.split(".")[0].encode() not in kept, "the question arrived")
        t.title_of("the next question of the socket")
        ending = t.place.call(lambda: send_datagram(address, 53, servers.question(f"{t.lab.token()}.allowed.test"), 20))
        t.expect(len(ending.received) > 40, f"no answer: {ending}")


@attempt("explain", "PostgreSQL: an error of the server's with the code 28000", unprotected=False)
def postgres(t):
    with Explaining(t):
        target = t.target("quiet")
        ending = t.say(target, startup("app", "forbidden"))
        t.expect(ending.received[:1] == b"E" and b"C28000\0" in ending.received and b"refused by Sallyport" in ending.received,
                 f"no error message: {ending}")
        refused_in_words(t, target, "policy")


@attempt("explain", "QUIC: a server's Initial to the client's ids, with nothing else behind it", unprotected=False)
def quic_close(t):
    with Explaining(t):
        target = t.target("udp", allowed=False)
        destination = os.urandom(8)
        datagram = quic.initial(quic.crypto(hello.handshake(target.name)), destination=destination)
        source = datagram[6 + len(destination) + 1:][:datagram[6 + len(destination)]]
        ending = t.place.call(lambda: send_datagram(target.address, target.port, datagram, 20))
        answer = ending.received
        t.expect(answer and answer[0] & 0xF0 == 0xC0 and answer[1:5] == datagram[1:5], f"no Initial: {ending}")
        ids = bytes([len(source)]) + source + bytes([len(destination)]) + destination
        t.expect(answer[5:5 + len(ids)] == ids, f"other connection ids: {answer[:40]!r}")
        refused_in_words(t, target, "policy", host=target.name)
