"""B70: flows that are allowed no longer are cut, whatever they are doing, and others go on."""

import socket

from lab import hello, quic, streams
from lab.catalogue import attempt
from lab.namespaces import Gate
from lab.streams import Stream, echoed, request
from lab.waiting import Deadline

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
SHORT = b"\x41" + bytes(60)
"""What looks like a protected QUIC packet."""


def settled(target):
    """A TLS connection that the kernel passes by itself."""
    stream = Stream(target.address, target.port)
    for part in (hello.client_hello(target.name), *[hello.second_flight()] * 6):
        echoed(stream, part)
    return stream


def speaking(target, *parts):
    """A connection on which these parts were said and echoed."""
    stream = Stream(target.address, target.port)
    for part in parts:
        echoed(stream, part)
    return stream


class Datagrams:
    """A connected UDP socket with the same face as a stream."""

    def __init__(self, target):
        self.socket = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.prepare()
        self.socket.connect((target.address, target.port))
        self.send(quic.initial(quic.crypto(hello.handshake(target.name))))
        self.receive()

    def prepare(self):
        """What is to be done with the socket before it connects."""

    def send(self, data):
        self.socket.send(data)

    def receive(self):
        return self.socket.recv(1 << 16)


def ended(stream, part=None):
    """How a flow ends on which nothing is said any more, or `part` again and again."""
    try:
        deadline = Deadline(20)
        while not deadline.expired():
            if part is not None:
                stream.send(part)
            if not stream.receive():
                return streams.Ending("eof")
        return streams.Ending("timeout")
    except OSError as error:
        return streams.ending_of(error)


@attempt("B70", "a policy change cuts an idle connection, a running transfer, HTTP, a WebSocket and QUIC; others go on",
         unprotected=False)
def policy_change(t):
    data = t.appliance.policy_directory / "data.yaml"
    before = data.read_text()
    name = "withdrawn.example"
    kinds = {"idle": "echo", "transfer": "echo", "keep-alive": "echo", "websocket": "echo", "quic": "udp"}
    targets = {what: t.target(kind, name=name) for what, kind in kinds.items()}
    other = t.target("echo")
    opened, withdrawn = Gate(), Gate()
    more = bytes(range(256)) * 4096

    def run():
        flows = {
            "idle": settled(targets["idle"]),
            "transfer": settled(targets["transfer"]),
            "keep-alive": speaking(targets["keep-alive"], request(name)),
            "websocket": speaking(targets["websocket"], request(name, headers=UPGRADE), b"\x81\x85\1\2\3\4hello"),
            "quic": Datagrams(targets["quic"]),
        }
        kept = settled(other)
        opened.open()
        # The transfer runs while policy changes.
        endings = {"transfer": ended(flows["transfer"], bytes(1 << 15))}
        withdrawn.wait()
        for what in ("idle", "keep-alive", "websocket"):
            endings[what] = ended(flows[what])
        endings["quic"] = ended(flows["quic"], SHORT)
        whole = all(echoed(kept, more[start:start + 8192]) == more[start:start + 8192] for start in range(0, len(more), 8192))
        kept.close()
        return {what: (ending.word, ending.is_refusal) for what, ending in endings.items()}, whole

    try:
        data.write_text(before.replace("names: [allowed.test]", f"names: [allowed.test, {name}]"))
        t.appliance.reload("policy_loaded")
        task = t.place.start(run)
        opened.wait()
    finally:
        data.write_text(before)
        t.appliance.reload("policy_loaded")
    for what, target in targets.items():
        t.title_of(what)
        record = t.record(target, "deny", "policy_changed", host=name)
        t.clean(record)
    withdrawn.open()
    endings, whole = task.result()
    for what, target in targets.items():
        t.title_of(what)
        t.expect(endings[what][1], f"the agent was not told, it saw {endings[what][0]}")
        t.expect(len(t.records(target, "deny")) == 1, f"{len(t.records(target, 'deny'))} records of one cut")
    t.title_of("another flow")
    t.expect(whole, "a flow that is still allowed lost bytes")
    t.expect(not t.records(other, "deny"), "a flow that is still allowed was refused")
