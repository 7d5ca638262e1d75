"""Customers: an issuer with a key of its own, its tokens, and requests on the control socket."""

import base64
import hashlib
import hmac
import json
import socket
import struct
import subprocess
import time

ISSUER, AUDIENCE = "https://chat.test", "sallyport-lab"
CONTROL = "/run/sallyport/control.sock"
SO_COOKIE = 57
DOMAIN = "customers.test"
"""`NAME.CUSTOMER.customers.test` may be reached for that customer alone."""


def encoded(data):
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs with ES256, through openssl."""

    def __init__(self, directory, kid="lab-1"):
        directory.mkdir()
        self.kid, self.key = kid, directory / "key.pem"
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        self.key.chmod(0o644)
        point = self._openssl("ec", "-in", self.key, "-pubout", "-outform", "DER")[-64:]
        self.jwk = {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": encoded(point[:32]), "y": encoded(point[32:])}
        self.keys = directory / "keys.json"
        self.write([self.jwk])

    @classmethod
    def of(cls, directory, kid="lab-1"):
        """The issuer that was made in a directory before."""
        issuer = cls.__new__(cls)
        issuer.kid, issuer.key, issuer.keys = kid, directory / "key.pem", directory / "keys.json"
        return issuer

    def write(self, keys):
        """Writes the key set."""
        self.keys.write_text(json.dumps({"keys": keys}))

    @staticmethod
    def _openssl(*words, data=None):
        return subprocess.run(["openssl", *map(str, words)], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=True).stdout

    def token(self, customer, seconds=600, header=None, secret=None, **claims):
        """A token of a customer; a claim that is None is left out."""
        now = time.time()
        everything = {"iss": ISSUER, "aud": AUDIENCE, "sub": customer, "iat": int(now), "exp": now + seconds, **claims}
        payload = {name: value for name, value in everything.items() if value is not None}
        head = {"alg": "ES256", "kid": self.kid, "typ": "JWT", **(header or {})}
        text = encoded(json.dumps(head).encode()) + "." + encoded(json.dumps(payload).encode())
        if head["alg"] == "none":
            return text + "."
        if secret is not None:
            return text + "." + encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())
        return text + "." + encoded(raw(self._openssl("dgst", "-sha256", "-sign", self.key, data=text.encode())))


def raw(signature):
    """An ECDSA signature as JWS wants it, from DER."""
    numbers, rest = [], signature[2:]
    for _ in range(2):
        length = rest[1]
        numbers.append(rest[2:2 + length].lstrip(b"\0").rjust(32, b"\0"))
        rest = rest[2 + length:]
    return b"".join(numbers)


class Problem(Exception):
    """The control socket answered with a problem document."""

    def __init__(self, status, document):
        super().__init__(status, document)
        self.status, self.document = status, document


def ask(method, target, body=None, path=CONTROL):
    """One request on the control socket, as the calling process; raises `Problem`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(path)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    head, _, content = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    value = json.loads(content) if content.strip() else None
    if status >= 400:
        raise Problem(status, value)
    return value


def open_session(token, **binding):
    """Opens a session as the calling process; `agent` names one where an operator asks."""
    body = {"customer_token": token}
    for name in ("agent", "agent_token"):
        if name in binding:
            body[name] = binding.pop(name)
    if binding:
        body["binding"] = binding
    return ask("POST", "/v1/sessions", body)["id"]


def cookie(a_socket):
    """SO_COOKIE of a socket, as the API takes it."""
    return struct.unpack("Q", a_socket.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]


def bind(session, a_socket):
    """Binds a socket to a session."""
    return ask("POST", f"/v1/sessions/{session}/sockets", {"cookie": cookie(a_socket)})


def refused(*request):
    """The status and detail with which a request is refused."""
    try:
        return 200, ask(*request)
    except Problem as problem:
        return problem.status, problem.document["detail"]
