"""Byte streams of the agent's side: an ordinary socket, and TLS on any stream with the ClientHello in the test's hands.

`Ending` says how a connection ended, in the words of the errno that the program saw."""

import dataclasses
import errno
import re
import select
import socket
import ssl

from .waiting import PATIENCE, Deadline

REFUSED_WORDS = ("reset", "refused", "unreachable", "forbidden")
"""Endings that tell a program at once that it was refused."""

_EXPLANATION = re.compile(
    rb"\x15\x03[\x00-\x04]\x00\x02\x02\x31\Z|access.denied|urn:sallyport:refused|refused by Sallyport"
    # DNS, over TCP behind its length: a response with REFUSED and no records but perhaps an OPT.
    rb"|\A(?:\x00.)?..[\x80-\x8f][\x05\x15\x85\x95]\x00\x01\x00\x00\x00\x00\x00[\x00\x01]"
    # QUIC: one short Initial (of version 1, 2 or a draft) to a client without a connection id, as the lab's are.
    rb"|\A(?:[\xc0-\xcf](?:\x00\x00\x00\x01|\xff\x00\x00.)|[\xd0-\xdf]\x6b\x33\x43\xcf)\x00.{20,600}\Z",
    re.DOTALL | re.IGNORECASE)
"""A refusal in the words of a protocol, as bytes or as what a program prints of it."""

_WORDS = {
    errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable", errno.EACCES: "forbidden", errno.EPERM: "forbidden", errno.ECONNABORTED: "reset",
    errno.ENOPROTOOPT: "refused", errno.EDESTADDRREQ: "reset",  # of a UDP socket that was destroyed
}


@dataclasses.dataclass
class Ending:
    """How an attempt ended (`reset`, `refused`, `unreachable`, `forbidden`, `eof`, `timeout`, `open`) and what was
    received before."""

    word: str
    received: bytes = b""
    detail: str = ""

    @property
    def is_refusal(self):
        """Whether the program learned that it was refused."""
        return self.word in REFUSED_WORDS or self.is_explained

    @property
    def is_explained(self):
        """Whether what came is a refusal in the words of its protocol."""
        return self.word != "timeout" and _EXPLANATION.search(self.received + self.detail.encode()) is not None


def ending_of(error, received=b""):
    """The ending that an `OSError` stands for."""
    if isinstance(error, ssl.SSLError):  # its errno is OpenSSL's, not the kernel's
        return Ending("tls", received, str(error))
    if isinstance(error, (TimeoutError, socket.timeout)) or error.errno == errno.ETIMEDOUT:
        return Ending("timeout", received, str(error))
    return Ending(_WORDS.get(error.errno, f"errno {errno.errorcode.get(error.errno, error.errno)}"), received, str(error))


def ending_with(stream):
    """The ending that the other end's next bytes are, or their absence."""
    received = stream.receive()
    return Ending("open" if received else "eof", received)


class Stream:
    """A TCP connection of the kernel's. `receive` returns b"" at the end of the stream; errors are `OSError`."""

    def __init__(self, address, port, nodelay=True, options=(), source=None, connect=True):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        if nodelay:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for level, option, value in options:
            self.socket.setsockopt(level, option, value)
        if source:
            self.socket.bind((source, 0))
        self.peer = (address, port)
        if connect:
            self.socket.connect(self.peer)

    def send(self, data):
        """Sends all of it, in one call."""
        self.socket.sendall(data)

    def receive(self, limit=1 << 16):
        """The next bytes; b"" at the end."""
        return self.socket.recv(limit)

    def close(self):
        """Closes the connection."""
        self.socket.close()


def echoed(stream, part):
    """Sends bytes to a server that echoes them, and takes them back."""
    stream.send(part)
    got = b""
    while len(got) < len(part):
        more = stream.receive()
        if not more:
            raise ConnectionAbortedError(errno.ECONNABORTED, "end of stream")
        got += more
    return got


def converse(open_stream, *parts, enough=lambda received: False):
    """Sends `parts` one call each, then reads until the end or `enough(received)`; returns the `Ending`."""
    received = b""
    try:
        stream = open_stream()
        for part in parts:
            stream.send(part)
        deadline = Deadline()
        while not deadline.expired():
            if enough(received):
                stream.close()
                return Ending("open", received)
            part = stream.receive()
            if not part:
                stream.close()
                return Ending("eof", received)
            received += part
        return Ending("timeout", received)
    except OSError as error:
        return ending_of(error, received)


class TLS:
    """TLS on a stream, so that a test decides how the ClientHello travels."""

    def __init__(self, stream, name, authority=None, maximum=None, alpn=None, ciphers=None):
        context = ssl.create_default_context(cafile=authority)
        context.check_hostname = False
        if maximum:
            context.maximum_version = maximum
        if alpn:
            context.set_alpn_protocols(alpn)
        if ciphers:
            context.set_ciphers(ciphers)
        self.stream = stream
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)

    def first_flight(self):
        """The bytes of the ClientHello, not yet sent."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._out.read()

    def next_flight(self):
        """What the client wants to send next, not yet sent: after a HelloRetryRequest the second ClientHello."""
        while True:
            self._in.write(self.stream.receive())
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            data = self._out.read()
            if data:
                return data

    def finish(self):
        """The rest of the handshake, after the test sent the first flight."""
        self._drive(self._tls.do_handshake)

    def exchange(self, request, enough):
        """Sends a request and reads until `enough(received)`."""
        self._drive(lambda: self._tls.write(request))
        received = b""
        while not enough(received):
            part = self._drive(lambda: self._tls.read(1 << 16))
            if not part:
                break
            received += part
        return received

    @property
    def version(self):
        """`TLSv1.3` or `TLSv1.2`."""
        return self._tls.version()

    def _drive(self, step):
        while True:
            try:
                result = step()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                part = self.stream.receive()
                if not part:
                    self._in.write_eof()
                    raise ConnectionAbortedError(errno.ECONNABORTED, "end of stream in the middle of TLS") from None
                self._in.write(part)

    def _flush(self):
        data = self._out.read()
        if data:
            self.stream.send(data)


def response_is_whole(received):
    """Whether an HTTP/1.1 response with Content-Length has arrived."""
    head, _, body = received.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False


def http_over_tls(open_stream, name, send_hello, authority, maximum=None, alpn=None):
    """A whole HTTPS request whose ClientHello `send_hello(stream, bytes)` puts on the wire; returns the `Ending`, with the
    response as `received`."""
    try:
        stream = open_stream()
        tls = TLS(stream, name, authority, maximum, alpn)
        send_hello(stream, tls.first_flight())
        tls.finish()
        got = tls.exchange(f"GET /hello HTTP/1.1\r\nHost: {name}\r\n\r\n".encode(), response_is_whole)
        stream.close()
        return Ending("open", got, tls.version)
    except OSError as error:
        return ending_of(error)


def request(host, path="/", method="GET", headers=(), version="1.1", body=b""):
    """The bytes of an ordinary HTTP/1 request."""
    lines = [f"{method} {path} HTTP/{version}"] + ([f"Host: {host}"] if host is not None else []) + list(headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def requests_in_turn(open_stream, *requests):
    """Sends HTTP requests over one connection, each when the response to the one before it is whole; an ending with all responses."""
    received = b""
    try:
        stream = open_stream()
        for each in requests:
            stream.send(each)
            answer = b""
            while not response_is_whole(answer):
                part = stream.receive()
                if not part:
                    return Ending("eof", received + answer)
                answer += part
            received += answer
        return Ending("open", received)
    except OSError as error:
        return ending_of(error, received)


def readable(descriptor, seconds):
    """Whether something can be read within `seconds`."""
    return bool(select.select([descriptor], [], [], seconds)[0])


def readable_any(descriptors, seconds):
    """Which of these can be read, within `seconds`."""
    return select.select(descriptors, [], [], seconds)[0]
