"""Programs of others as agents run them, and what each prints when a flow of its is refused in its protocol's own words.

`CLIENTS` is read by the tests (attempts/clients.py) and by Benchmarks/refusals.py, which prints the table of docs/refusals.md."""

import dataclasses
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys

from . import topology
from .catalogue import Skip
from .namespaces import Gate
from .peers import http3, program
from .waiting import PATIENCE

SENTENCE = "refused by Sallyport: not on the lab's list"
"""What every refusal with a text says, before the decision's id."""
PROBLEM = ('"type":"urn:sallyport:refused"', '"decision_id":"', SENTENCE)
"""Parts of a problem document."""


@dataclasses.dataclass(frozen=True)
class Client:
    """One client and how it is refused."""

    name: str
    asks: str
    """What it wants: tls, http, h2c, quic, name, postgres, postgres-tls, mysql, smtp, starttls, or unnamed (a protocol that
    names nobody)."""
    words: object
    """A function of lab, place and target that gives the words of its command line. Raises `Skip` where it is not installed."""
    signs: tuple
    """Texts that are all in what it prints."""
    code: int | None = None
    """Its exit status; None where it does not matter."""
    heavy: bool = False
    """Whether it takes long to start."""


class Server:
    """A server in `net` on a port of its own, for one connection. It says the first of `lines` at once and each other one in
    answer to something; then it only listens. `ending` is what became of the connection: `reset`, or `eof`, and what came."""

    def __init__(self, t, *lines):
        self.port, self._lines, self._gate = t.lab.port("peer"), lines, Gate()
        self._task = t.lab.net.start(self._serve)
        self._gate.wait()

    def _serve(self):
        with socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
            self._gate.open()
            listener.settimeout(PATIENCE)
            connection = listener.accept()[0]
        connection.settimeout(PATIENCE)
        came, lines = b"", list(self._lines)
        try:
            if lines:
                connection.sendall(lines.pop(0))
            while more := connection.recv(1 << 16):
                came += more
                if lines:
                    connection.sendall(lines.pop(0))
            return "eof", came
        except TimeoutError:
            return "silence", came
        except OSError as error:
            return ("reset" if isinstance(error, ConnectionResetError) else str(error)), came

    def ending(self):
        """How the connection ended, and what came before."""
        return self._task.result()


def mysql_greeting():
    """A HandshakeV10 without TLS of a server that wants a native password."""
    capabilities = 0x000FA28D
    body = b"\x0a8.0.0-lab\0" + struct.pack("<I", 7) + b"abcdefgh\0" + struct.pack("<H", capabilities & 0xFFFF)
    body += b"\x2d\2\0" + struct.pack("<H", capabilities >> 16) + b"\x15" + bytes(10) + b"ijklmnopqrst\0mysql_native_password\0"
    return len(body).to_bytes(3, "little") + b"\0" + body


SCRIPTS = {
    "mysql": [mysql_greeting()], "smtp": [b"220 mail.lab.test ESMTP\r\n"], "postgres-tls": [b"", b"S"],
    "starttls": [b"220 mail.lab.test ESMTP\r\n", b"250-mail.lab.test\r\n250 STARTTLS\r\n", b"220 go ahead\r\n"],
}
"""What the servers of some protocols say first."""


BY_ADDRESS = ("mysql", "postgres", "smtp", "unnamed")
"""What is refused for something else than the name."""


def destination(t, client):
    """A fresh target at which a client is refused, and the server that it needs there, or None. Its name is known to the agent's
    host, unless the name is what is refused."""
    last = topology.ATTACKER if client.asks in ("smtp", "unnamed") else topology.SERVER
    target = t.target("udp" if client.asks == "quic" else "quiet", allowed=client.asks in BY_ADDRESS, last=last)
    server = None
    if client.asks in SCRIPTS:
        server = Server(t, *SCRIPTS[client.asks])
        target = dataclasses.replace(target, port=server.port)
    if client.asks != "name":
        def add():
            with open("/etc/hosts", "a", encoding="ascii") as hosts:
                hosts.write(f"{target.address} {target.name}\n")
        t.place.host.call(add)
    return target, server


def _directory(lab):
    """A copy of the programs that agents can read."""
    copy = lab.root / "programs"
    if not copy.exists():
        shutil.copytree(pathlib.Path(__file__).parent.parent / "programs", copy)
        subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return copy


def _url(target, scheme="https"):
    return f"{scheme}://{target.authority}/path"


def _python(library, scheme, *size):
    def words(lab, place, target):
        module = {"getaddrinfo": "socket"}.get(library, library)
        if subprocess.run([sys.executable, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode != 0:
            raise Skip(f"no {library} for {sys.executable} (apt-get install python3-{library})")
        return [sys.executable, "-B", _directory(lab) / "ask.py", library, _url(target, scheme), lab.web.authority, *size]
    return words


def _node(library, scheme, *size):
    def words(lab, place, target):
        return [program("node"), _directory(lab) / "ask.js", library, _url(target, scheme), lab.web.authority, *size]
    return words


def _java(scheme):
    def words(lab, place, target):
        java, compiler, directory = program("java"), program("javac"), _directory(lab)
        if not (directory / "Ask.class").exists():
            subprocess.run([compiler, "-d", directory, directory / "Ask.java"], check=True)
        return [java, "-cp", directory, "Ask", _url(target, scheme)]
    return words


def _go(scheme):
    def words(lab, place, target):
        compiler, directory = program("go"), _directory(lab)
        if not (directory / "ask").exists():
            subprocess.run([compiler, "build", "-o", directory / "ask", directory / "ask.go"], check=True, env={
                **os.environ, "GOCACHE": str(directory / "cache"), "GO111MODULE": "off", "GOFLAGS": ""})
        return [directory / "ask", _url(target, scheme)]
    return words


UV = "~/.cache/sallyport-peers/uv"
"""Where uv's package is, unless SALLYPORT_UV names another directory: Debian 12 has none."""


def _uv(lab, place, target):
    copy = _directory(lab) / "uv"
    home = pathlib.Path(os.environ.get("SALLYPORT_UV") or UV).expanduser()
    if not copy.exists():
        if not (home / "bin" / "uv").exists():
            raise Skip(f"no uv ({sys.executable} -m pip install --target {home} uv)")
        shutil.copy(home / "bin" / "uv", copy)
        copy.chmod(0o755)
    return [
        "env", "UV_HTTP_RETRIES=0", copy, "--no-cache", "--no-config", "pip", "install", "--dry-run", "--python", sys.executable,
            "--target", _scratch(lab), "--index-url", f"https://{target.authority}/simple", "nothing"]


def _pip(lab, place, target):
    if subprocess.run([sys.executable, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip(f"no pip for {sys.executable} (apt-get install python3-pip)")
    return [sys.executable, "-B", "-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--retries", "0", "--cert",
            lab.web.authority, "--dest", _scratch(lab), "--index-url", f"https://{target.authority}/simple", "nothing"]


def _scratch(lab):
    """A directory in which agents may write."""
    path = lab.root / "scratch"
    path.mkdir(exist_ok=True)
    path.chmod(0o1777)
    return path


def _words(name, *words):
    """A program of Debian's: `{authority}` and the like stand for the target's parts, `{ca}` for the authority's certificate."""
    def make(lab, place, target):
        values = {"name": target.name, "address": target.address, "port": target.port, "authority": target.authority,
                  "ca": lab.web.authority, "resolver": place.at(topology.RESOLVER), "scratch": _scratch(lab)}
        return [program(name), *(str(word).format(**values) for word in words)]
    return make


def _ssh(lab, place, target):
    if uid := place.actor.uid:
        # ssh wants a user to be somebody; the file is the lab's own.
        place.host.command("sh", "-c", f"grep -q :{uid}: /etc/passwd || echo agent:x:{uid}:{uid}::/nonexistent:/bin/sh >> /etc/passwd")
    return [program("ssh"), "-F", "none", "-p", target.port, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", f"agent@{target.name}", "true"]


def _aioquic(lab, place, target):
    return [*http3(lab), "get", target.address, target.port, target.name, lab.web.authority, "/hello"]


def _psql(encryption):
    return _words("psql", "-c", "select 1", "host={name} port={port} user=app dbname=forbidden connect_timeout=20 gssencmode=disable "
                  f"sslmode={encryption}")


def _swaks(lab, place, target):
    client = program("swaks")
    if place.family == 6 and subprocess.run(["perl", "-MIO::Socket::INET6", "-e", "1"], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("swaks speaks no IPv6 here (apt-get install libio-socket-inet6-perl)")
    return [client, "--server", target.address, "--port", target.port, "--from", "agent@lab.test", "--to", "somebody@lab.test"]


_DENIED = "alert access denied"
_PYTHON_DENIED = "[SSL: TLSV1_ALERT_ACCESS_DENIED]"
_MAIL = ("--mail-from", "agent@lab.test", "--mail-rcpt", "somebody@lab.test", "-T", "/etc/hostname")

CLIENTS = (
    Client("curl", "tls", _words("curl", "-sS", "--cacert", "{ca}", "https://{authority}/"), ("curl: (35) ", _DENIED), 35),
    Client("wget", "tls", _words("wget", "-O-", "--ca-certificate={ca}", "https://{authority}/"),
           ("received alert [49]: Access was denied",), 4),
    Client("git", "tls", _words("git", "-c", "http.sslCAInfo={ca}", "ls-remote", "https://{authority}/a.git"), ("Access was denied",), 128),
    Client("pip", "tls", _pip, (_PYTHON_DENIED,), 1, heavy=True),
    Client("uv (rustls)", "tls", _uv, ("AccessDenied",), 2),
    Client("npm", "tls", _words(
        "npm", "view", "--fetch-retries=0", "--no-update-notifier", "--cache={scratch}", "--registry=https://{authority}/", "nothing"),
           ("ERR_SSL_TLSV1_ALERT_ACCESS_DENIED",), 1, heavy=True),
    Client("Python http.client", "tls", _python("http.client", "https"), ("ssl.SSLError: " + _PYTHON_DENIED,)),
    Client("Python urllib", "tls", _python("urllib", "https"), ("urllib.error.URLError: <urlopen error " + _PYTHON_DENIED,)),
    Client("Python requests", "tls", _python("requests", "https"), ("requests.exceptions.SSLError: ", _PYTHON_DENIED)),
    Client("Python httpx", "tls", _python("httpx", "https"), ("httpx.ConnectError: " + _PYTHON_DENIED,)),
    Client("Python aiohttp", "tls", _python("aiohttp", "https"), ("ClientConnectorSSLError: ", _PYTHON_DENIED)),
    Client("Node fetch", "tls", _node("fetch", "https"), ("TypeError: fetch failed", "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED")),
    Client("Node https", "tls", _node("https", "https"), ("EPROTO", _DENIED)),
    Client("Java HttpClient", "tls", _java("https"), ("SSLHandshakeException: ", "Received fatal alert: access_denied"), heavy=True),
    Client("Go net/http", "tls", _go("https"), ("remote error: tls: access denied",)),
    Client("curl", "http", _words("curl", "-sS", "http://{authority}/"), PROBLEM, 0),
    Client("curl --fail", "http", _words("curl", "-sSf", "http://{authority}/"), ("curl: (22) The requested URL returned error: 403",), 22),
    Client("wget", "http", _words("wget", "-O-", "http://{authority}/"), ("ERROR 403: Forbidden",), 8),
    Client("git", "http", _words("git", "ls-remote", "http://{authority}/a.git"), ("The requested URL returned error: 403",), 128),
    Client("Python http.client", "http", _python("http.client", "http"), ("403 ", *PROBLEM)),
    Client("Python urllib", "http", _python("urllib", "http"), ("HTTP Error 403: Forbidden", *PROBLEM)),
    Client("Python requests", "http", _python("requests", "http"), ("403 ", *PROBLEM)),
    Client("Python httpx", "http", _python("httpx", "http"), ("403 ", *PROBLEM)),
    Client("Python aiohttp", "http", _python("aiohttp", "http"), ("403 ", *PROBLEM)),
    Client("Node fetch", "http", _node("fetch", "http"), ("403 ", *PROBLEM)),
    Client("Node http", "http", _node("http", "http"), ("403 ", *PROBLEM)),
    Client("Java HttpClient", "http", _java("http"), ("403 ", *PROBLEM), heavy=True),
    Client("Go net/http", "http", _go("http"), ("403 ", *PROBLEM)),
    Client("aioquic", "quic", _aioquic, ("0x131", SENTENCE, "(decision "), 1),
    Client("psql sslmode=disable", "postgres", _psql("disable"), ("FATAL:  " + SENTENCE, "(decision "), 2),
    Client("psql sslmode=require", "postgres-tls", _psql("require"), ("SSL error: tlsv1 " + _DENIED,), 2),
    Client("psql sslmode=prefer", "postgres-tls", _psql("prefer"), ("SSL error: tlsv1 " + _DENIED,), 2),
    Client("mariadb", "mysql", _words(
        "mariadb", "--no-defaults", "--skip-ssl", "--protocol=tcp", "-h", "{name}", "-P", "{port}", "-u", "app", "-e", "select 1",
        "forbidden"), ("ERROR 1045 (28000): " + SENTENCE, "(decision "), 1),
    Client("swaks", "smtp", _swaks, ("550 5.7.1 " + SENTENCE, "(decision ")),
    Client("curl", "smtp", _words("curl", "-sS", "smtp://{authority}", *_MAIL), ("curl: (56) response reading failed",), 56),
    Client("Python smtplib", "smtp", _python("smtplib", "smtp"), ("smtplib.SMTPServerDisconnected: Connection unexpectedly closed",)),
    Client("curl", "starttls", _words("curl", "-sS", "--ssl-reqd", "--cacert", "{ca}", "smtp://{authority}", *_MAIL), (_DENIED,), 35),
    Client("curl", "h2c", _words("curl", "-sS", "--http2-prior-knowledge", "http://{authority}/"), PROBLEM, 0),
    Client("redis-cli", "unnamed", _words("redis-cli", "-h", "{address}", "-p", "{port}", "ping"), ("Error: Connection reset by peer",)),
    Client("ssh", "unnamed", _ssh, ("Connection reset by peer",), 255),
    Client("dig", "name", _words("dig", "@{resolver}", "{name}"), ("status: REFUSED", "; EDE: 15 (Blocked): (" + SENTENCE), 0),
    Client("dig +tcp", "name", _words("dig", "+tcp", "@{resolver}", "{name}"), ("status: REFUSED", "; EDE: 15 (Blocked): (" + SENTENCE), 0),
    Client("nslookup", "name", _words("nslookup", "{name}", "{resolver}"), ("** server can't find ", ": REFUSED"), 1),
    Client("host", "name", _words("host", "{name}", "{resolver}"), ("not found: 5(REFUSED)",), 1),
    Client("getent", "name", _words("getent", "ahosts", "{name}"), (), 2),
    Client("Python getaddrinfo", "name", _python("getaddrinfo", "https"),
           ("socket.gaierror: [Errno -3] Temporary failure in name resolution",)),
    Client("curl", "name", _words("curl", "-sS", "https://{authority}/"), ("curl: (6) Could not resolve host: ",), 6),
    Client("wget", "name", _words("wget", "-O-", "https://{authority}/"), ("Temporary failure in name resolution",), 4),
    Client("Node fetch", "name", _node("fetch", "https"), ("EAI_AGAIN",)),
    Client("Java HttpClient", "name", _java("https"), ("java.net.ConnectException",), heavy=True),
    Client("Go net/http", "name", _go("https"), ("server misbehaving",)),
)
