"""Ordinary programs on ordinary ways: what is allowed works unharmed, what is refused fails at once and understandably."""

import os
import shutil

from lab import hello, streams
from lab.catalogue import Skip, attempt
from lab.streams import Stream

EMPTY_HOME = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


def bracket(address):
    """An address as a URL carries it."""
    return f"[{address}]" if ":" in address else address


def curl(t, target, scheme, path, *options):
    """curl to a target, its name resolved by hand. Returns the finished process, its output as text."""
    return t.place.command(
        "curl", "-sS", "--max-time", "40", "--cacert", t.lab.web.authority, "--resolve",
        f"{target.name}:{target.port}:{bracket(target.address)}", *options, f"{scheme}://{target.authority}{path}")


def told(done, codes):
    """The ending that a program's exit status stands for."""
    return streams.Ending("reset" if done.returncode in codes else f"exit {done.returncode}", done.stdout.encode(), done.stdout[-300:])


REFUSED_BY_CURL = (7, 35, 52, 56)
"""curl: could not connect, TLS connection reset, empty reply, failure receiving (reset)."""


@attempt("curl", "allowed names are answered and refused ones refused: TLS 1.2, TLS 1.3 and HTTP")
def with_curl(t):
    for kind, scheme, options, word in (
        ("https", "https", ("--tlsv1.3",), "TLSv1.3"), ("https", "https", ("--tls-max", "1.2"), "TLSv1.2"),
        ("https12", "https", (), "TLSv1.2"), ("http", "http", (), "uri=/"), ("https", "https", ("--http1.1",), "uri=/"),
        ("retry", "https", (), "TLSv1.3"),
    ):
        for allowed in (True, False):
            t.title_of(f"{kind} {' '.join(options)}")
            target = t.target(kind, allowed)
            done = curl(t, target, scheme, "/", *options)
            if allowed:
                t.expect(done.returncode == 0 and word in done.stdout, f"curl exit {done.returncode}: {done.stdout[-300:]}")
                if not t.unprotected:
                    t.record(target, "allow", "allowed", host=target.name)
            else:
                t.refused(target, told(done, REFUSED_BY_CURL), "policy", host=target.name)


@attempt("curl", "a name that the configured resolver resolves")
def resolved(t):
    for allowed in (True, False):
        target = t.target("https", allowed)
        done = t.place.command("curl", "-sS", f"-{t.place.family}", "--max-time", "40", "--cacert", t.lab.web.authority,
                               f"https://{target.authority}/named")
        if allowed:
            t.expect(done.returncode == 0 and "uri=/named" in done.stdout, f"curl exit {done.returncode}: {done.stdout[-300:]}")
        elif not t.unprotected:
            t.expect(done.returncode == 6, f"curl exit {done.returncode}: the name should not have been resolved")
            t.wait(lambda: t.lab.journal.records(target.since, VERDICT="deny", STAGE="resolve", HOST=target.name), "a record of the question")
        else:
            t.refused(target, told(done, REFUSED_BY_CURL), "policy", host=target.name)


@attempt("curl", "keep-alive: several requests over one connection")
def kept_alive(t):
    for scheme, kind in (("https", "https"), ("http", "http")):
        target = t.target(kind)
        base = f"{scheme}://{target.authority}"
        done = t.place.command(
            "curl", "-sS", "-v", "--max-time", "40", "--cacert", t.lab.web.authority, "--resolve",
            f"{target.name}:{target.port}:{bracket(target.address)}", *(f"{base}/{i}" for i in range(5)))
        t.expect(done.returncode == 0 and all(f"uri=/{i}" in done.stdout for i in range(5)), f"curl: {done.stdout[-300:]}")
        t.expect(done.stdout.count("Re-using existing connection") == 4, "the connection was not kept")


PYTHON = r"""
import http.client, ssl, sys
scheme, address, port, name, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
class Resolved(http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection):
    def connect(self):
        import socket
        self.sock = socket.create_connection((address, int(port)), timeout=20)
        if scheme == "https": self.sock = context.wrap_socket(self.sock, server_hostname=name)
connection = Resolved(name, int(port))
try:
    for path in ("/one", "/two"):
        connection.request("GET", path)
        response = connection.getresponse()
        print(response.read().decode())
        if response.status == 403: sys.exit(1)
except (ConnectionError, ssl.SSLError) as error:
    print(type(error).__name__, error); sys.exit(7 if isinstance(error, ConnectionError) else 1)
"""

NODE = r"""
const [scheme, address, port, name, authority] = process.argv.slice(1);
const https = require(scheme), fs = require('fs');
const request = https.get({host: address, port, path: '/one', servername: name, ca: fs.readFileSync(authority),
    headers: {Host: name + ':' + port}}, (response) => { response.pipe(process.stdout); });
request.on('error', (error) => { console.log(error.code, error.message); process.exit(['ECONNRESET', 'ECONNREFUSED'].includes(error.code) ? 7 : 1); });
"""


@attempt("python", "http.client over TLS and in the clear")
def with_python(t):
    _program(t, "/usr/bin/python3", "-c", PYTHON)


@attempt("node", "https.get and http.get")
def with_node(t):
    if shutil.which("node") is None:
        raise Skip("no node (apt-get install nodejs)")
    _program(t, "node", "-e", NODE)


def _program(t, *program):
    for kind in ("https", "http"):
        for allowed in (True, False):
            t.title_of(f"{kind} {'allowed' if allowed else 'refused'}")
            target = t.target(kind, allowed)
            done = t.place.command(*program, kind, target.address, target.port, target.name, t.lab.web.authority)
            if allowed:
                t.expect(done.returncode == 0 and "uri=/one" in done.stdout, f"exit {done.returncode}: {done.stdout[-300:]}")
            else:
                t.refused(target, told(done, (7,)), "policy", host=target.name)


@attempt("openssl", "s_client over TLS 1.2 and 1.3")
def with_openssl(t):
    for version in ("-tls1_2", "-tls1_3"):
        for allowed in (True, False):
            t.title_of(version)
            target = t.target("https", allowed)
            done = t.place.command("openssl", "s_client", "-brief", version, "-CAfile", t.lab.web.authority, "-servername", target.name,
                                   "-connect", f"{bracket(target.address)}:{target.port}")
            if allowed:
                t.expect(done.returncode == 0 and "Verification: OK" in done.stdout, f"exit {done.returncode}: {done.stdout[-300:]}")
            else:
                t.refused(target, told(done, (1,)), "policy", host=target.name)


@attempt("git", "clone over HTTP and HTTPS")
def with_git(t):
    for scheme in ("https", "http"):
        for allowed in (True, False):
            t.title_of(f"{scheme} {'allowed' if allowed else 'refused'}")
            target = t.target(scheme, allowed)
            done = _clone(t, target, scheme)
            if allowed:
                t.expect(done.returncode == 0 and "a project" in done.stdout, f"exit {done.returncode}: {done.stdout[-400:]}")
            else:
                t.refused(target, told(done, (128,)), "policy", host=target.name, exactly=None)


def _clone(t, target, scheme):
    script = (f'd=$(mktemp -d) && cd "$d" && git -c http.sslCAInfo={t.lab.web.authority} -c '
              f'"http.curloptResolve={target.name}:{target.port}:{bracket(target.address)}" clone -q '
              f'{scheme}://{target.authority}/files/project.git clone; r=$?; cat clone/README 2>/dev/null; rm -rf "$d"; exit $r')
    return t.place.command("sh", "-c", script, environment=EMPTY_HOME)


@attempt("bulk", "a large download arrives unharmed, over TLS and in the clear")
def download(t):
    for kind in ("https", "http"):
        t.title_of(kind)
        target = t.target(kind)
        done = t.place.command("sh", "-c", (
            f"curl -sS --max-time 90 --cacert {t.lab.web.authority} --resolve {target.name}:{target.port}:{bracket(target.address)} "
            f"{kind}://{target.authority}/files/big | sha256sum"), seconds=120)
        t.expect(done.stdout.split()[:1] == [t.lab.web.big_digest], f"the download was harmed: {done.stdout[-300:]}")


@attempt("bulk", "a large upload arrives unharmed, over TLS and in the clear, with a length and in chunks")
def upload(t):
    for kind, options in (("https", ()), ("http", ()), ("http", ("-H", "Transfer-Encoding: chunked")), ("http", ("-H", "Expect:"))):
        t.title_of(f"{kind} {' '.join(options)}")
        target = t.target(kind)
        name = f"{target.token}"
        done = curl(t, target, kind, f"/upload/{name}", "-T", t.lab.root / "web" / "files" / "big", *options)
        t.expect(done.returncode == 0, f"curl exit {done.returncode}: {done.stdout[-300:]}")
        t.expect(t.lab.web.uploaded(name) == t.lab.web.big_digest, "the upload was harmed")
        (t.lab.root / "web" / "upload" / name).unlink()


@attempt("bulk", "a body of one byte at a time arrives whole")
def dribbled_body(t):
    target = t.target("echo")
    head = f"POST / HTTP/1.1\r\nHost: {target.name}\r\nContent-Length: 300\r\n\r\n".encode()
    body = os.urandom(300)

    def talk():
        stream = Stream(target.address, target.port)
        stream.send(head)
        for byte in body:
            stream.send(bytes([byte]))
        received = b""
        while len(received) < len(head) + len(body):
            received += stream.receive()
        stream.close()
        return streams.Ending("open", received)

    t.passed(target, t.place.call(talk), sent=head + body)


@attempt("bulk", "what an agent sends on an allowed TLS connection arrives byte for byte")
def exact(t):
    target = t.target("quiet")
    data = hello.client_hello(target.name) + hello.second_flight() + os.urandom(1 << 20)

    def talk():
        stream = Stream(target.address, target.port)
        stream.send(data)
        stream.close()
        return streams.Ending("open")

    t.passed(target, t.place.call(talk), sent=data)


@attempt("half", "a client that only listens, and one that closes at once, harm nobody")
def silent(t):
    target = t.target("banner")

    def listen():
        stream = Stream(target.address, target.port)
        received = stream.receive()
        stream.close()
        return streams.Ending("open", received)

    t.passed(target, t.place.call(listen), received=b"SSH-2.0")
    t.expect(t.payload(target)[0] == 0, "bytes were sent")
