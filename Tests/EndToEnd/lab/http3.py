"""HTTP/3 by aioquic: a server, and a client that makes one GET and tells when it failed. Run as a program from the directory of
aioquic's packages (peers.py copies it there); the lab itself does not import it."""

import argparse
import asyncio
import sys
import time

from aioquic.asyncio import serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated

PATIENCE = 20.0
"""Seconds after which a client gives up a server that says nothing."""


class Server(QuicConnectionProtocol):
    """Answers every request with 200 and a text that repeats its authority and path."""

    _http = None

    def quic_event_received(self, event):
        """An event of the QUIC connection."""
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        for each in self._http.handle_event(event) if self._http else ():
            if isinstance(each, HeadersReceived):
                asked = dict(each.headers)
                self._http.send_headers(each.stream_id, [(b":status", b"200"), (b"content-type", b"text/plain")])
                text = b"http/3 answers for " + asked[b":authority"] + asked[b":path"] + b"\n"
                self._http.send_data(each.stream_id, text, end_stream=True)
        self.transmit()


class Client(QuicConnectionProtocol):
    """Makes one request; `answer` becomes status and body."""

    def __init__(self, quic, authority, path):
        super().__init__(quic)
        self._asked = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", authority.encode()), (b":path", path.encode())]
        self._http, self._status, self._body = None, "", b""
        self.answer = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        """An event of the QUIC connection."""
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
            self._http.send_headers(self._quic.get_next_available_stream_id(), self._asked, end_stream=True)
            self.transmit()
        elif isinstance(event, ConnectionTerminated):
            self._fail(f"the connection ended: {event.error_code:#x} {event.reason_phrase}")
        for each in self._http.handle_event(event) if self._http else ():
            if isinstance(each, HeadersReceived):
                self._status = dict(each.headers)[b":status"].decode()
            elif isinstance(each, DataReceived):
                self._body += each.data
            if getattr(each, "stream_ended", False) and not self.answer.done():
                self.answer.set_result((self._status, self._body.decode()))

    def error_received(self, error):
        """What the network says about a datagram: an ICMP error."""
        self._fail(f"the network refused: {error}")

    def _fail(self, what):
        if not self.answer.done():
            print(f"ended {time.time():.6f}")
            self.answer.set_exception(ConnectionError(what))


async def listen(address, port, certificate, key):
    """Serves at one address until it is killed: with several it might answer from another one."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(certificate, key)
    await serve(address, port, configuration=configuration, create_protocol=Server)
    await asyncio.Event().wait()


async def get(address, port, name, authority, path):
    """One GET from a connected socket, which hears of a refusal. Returns status and body."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, server_name=name, cafile=authority, idle_timeout=PATIENCE)
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Client(QuicConnection(configuration=configuration), f"{name}:{port}", path), remote_addr=(address, port))
    client.connect(transport.get_extra_info("peername"))
    try:
        return await asyncio.wait_for(client.answer, PATIENCE)
    finally:
        client.close()
        await client.wait_closed()
        transport.close()


def main():
    parser = argparse.ArgumentParser(description="HTTP/3 by aioquic.")
    words = parser.add_subparsers(dest="word", required=True)
    server, client = words.add_parser("serve"), words.add_parser("get")
    server.add_argument("address")
    server.add_argument("port", type=int)
    server.add_argument("certificate")
    server.add_argument("key")
    client.add_argument("address")
    client.add_argument("port", type=int)
    client.add_argument("name")
    client.add_argument("authority", help="the certificate of the authority")
    client.add_argument("path")
    given = vars(parser.parse_args())
    if given.pop("word") == "serve":
        asyncio.run(listen(**given))
        return 0
    try:
        status, body = asyncio.run(get(**given))
    except (OSError, asyncio.TimeoutError) as error:
        print(f"failed: {error or 'no answer'}")
        return 1
    print(f"status {status}\n{body}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
