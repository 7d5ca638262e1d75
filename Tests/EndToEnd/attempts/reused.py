"""The host's own flows beside those of agents: from an address and port that an agent has used, while connection tracking
still knows them; and under an address that a guest writes although it is not the guest's."""

import os
import random
import socket
import struct

from lab import hello, rawtcp, servers, streams, topology
from lab.catalogue import attempt
from lab.namespaces import Gate
from lab.resolvers import LOOPBACK, Asking, HostResolver
from lab.streams import Stream

from . import quic
from .network import family_of

LEAVE_NOTHING = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""A connection that ends with a reset: no socket of it stays behind, and its port is free at once."""


def over_udp(address, port, payloads, source):
    """Datagrams one after the other, each answered or not, from a port of this host; the port, and how the last one ended."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sender:
        sender.bind(("", source))
        sender.connect((address, port))
        source, ending = sender.getsockname()[1], None
        for payload in payloads:
            try:
                sender.send(payload)
                answered = streams.readable(sender, streams.PATIENCE)
                ending = streams.Ending("open", sender.recv(1 << 16)) if answered else streams.Ending("silence")
            except OSError as error:
                ending = streams.ending_of(error)
        return source, ending


def over_tcp(address, port, payloads, source):
    """The same in one connection; how it ended when the first answer was there."""
    # A port that is asked for may have been used; any other one must not have been.
    options = [LEAVE_NOTHING] + ([(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)] if source else [])
    stream = Stream(address, port, options=options, connect=False)
    stream.socket.bind(("", source))
    source = stream.socket.getsockname()[1]

    def connected():
        stream.socket.connect(stream.peer)
        return stream

    ending = streams.converse(connected, *payloads, enough=lambda received: received)
    stream.close()
    return source, ending


@attempt("host", "from an address and port that an agent has used the host's own programs reach what they like", hooks=("output",),
         unprotected=False)
def reused(t):
    def both(what, say, address, port, theirs, refused):
        """The agent says something, and then the host something that no agent may, from the same port."""
        t.title_of(what)
        source, ending = t.place.call(lambda: say(address, port, theirs, 0))
        t.expect(ending.is_refusal == refused, f"the agent's: {ending}")
        query = servers.question(f"{t.lab.token()}.refused.test")
        mine = struct.pack("!H", len(query)) + query if say is over_tcp else query
        _, ending = t.lab.agent.call(lambda: say(address, port, [mine], source))
        t.expect(ending.word == "open" and query[12:] in ending.received, f"the host's: {ending}")

    def questions(address):
        for domain in ("allowed", "refused"):
            query = servers.question(f"{t.lab.token()}.{domain}.test")
            refused = domain == "refused"
            both(f"a question to {address}, {domain}", over_udp, address, 53, [query], refused)
            both(f"a question over TCP to {address}, {domain}", over_tcp, address, 53, [struct.pack("!H", len(query)) + query], refused)

    questions(t.place.at(topology.RESOLVER))
    loopback = LOOPBACK[t.place.family]
    with HostResolver(t.lab, loopback).dnsmasq(), Asking(t, loopback):
        questions(loopback)
    allowed, forbidden = (quic.whole(f"{t.lab.token()}.{domain}.test") for domain in ("allowed", "refused"))
    for what, datagrams in (("QUIC, allowed", [allowed]), ("QUIC, refused", [forbidden]), ("QUIC, allowed and then refused", [allowed, forbidden])):
        target = t.target("udp")
        both(what, over_udp, target.address, target.port, datagrams, datagrams[-1] is forbidden)
    for permitted in (True, False):
        target = t.target("echo", permitted)
        both(f"TLS, {'allowed' if permitted else 'refused'}", over_tcp, target.address, target.port, [hello.client_hello(target.name)], not permitted)


@attempt("host", "a guest that writes somebody else's address ends nobody's connection to the host", hooks=("forward",),
         unprotected=False)
def spoofed(t):
    host, outsider = topology.AGENT_HOST[t.place.family], t.place.at(topology.SERVER)
    port = random.randrange(20_000, 30_000)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        is_stream = kind == socket.SOCK_STREAM
        t.title_of("TCP" if is_stream else "UDP")
        ready, begun, forged = Gate(), Gate(), Gate()
        hear, told = os.pipe()

        def serve():
            with socket.socket(family_of(host), kind) as service:
                service.bind((host, port))
                if is_stream:
                    service.listen()
                ready.open()
                connection = service.accept()[0] if is_stream else service
                for _ in range(2):
                    payload, peer = connection.recvfrom(100)
                    connection.send(payload) if is_stream else connection.sendto(payload, peer)

        def talk():
            with socket.socket(family_of(host), kind) as client:
                client.settimeout(streams.PATIENCE)
                client.bind((outsider, 0))
                client.connect((host, port))
                os.write(told, struct.pack("!H", client.getsockname()[1]))
                answers = []
                for word in (b"before", b"after"):
                    client.send(word)
                    answers.append(client.recv(100))
                    if word == b"before":
                        begun.open()
                        forged.wait()
                return answers

        def forge():
            if is_stream:
                segment, protocol = rawtcp.tcp_segment(outsider, host, source, port, 7, 0, rawtcp.SYN), 6
            else:
                head = struct.pack("!HHHH", source, port, 8, 0)
                segment, protocol = head[:6] + struct.pack("!H", rawtcp.checksum(
                    rawtcp.pseudo_header(outsider, host, 17, 8) + head)), 17
            rawtcp.PacketSocket().send(rawtcp.ip_packet(outsider, host, protocol, segment), host)

        server = t.lab.agent.start(serve)
        ready.wait()
        client = t.lab.net.start(talk)
        begun.wait()
        source = struct.unpack("!H", os.read(hear, 2))[0]
        t.lab.guest.call(forge)
        # What follows it on the way comes after it.
        t.say(t.target("echo", False), hello.client_hello("x.refused.test"))
        forged.open()
        t.expect(client.result() == [b"before", b"after"], "the connection did not go on")
        server.result()
