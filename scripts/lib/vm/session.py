"""One TLS connection that stays open: asks once, and once more for every line of standard input."""

import socket
import ssl
import sys

address, host = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
connection = context.wrap_socket(socket.create_connection((address, 443), timeout=60), server_hostname=host)


def ask():
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = b""
    while b"hello" not in answer:
        data = connection.recv(4096)
        if not data:
            raise ConnectionError("closed")
        answer += data
    print(answer.decode().splitlines()[-1], flush=True)


ask()
for _ in sys.stdin:
    ask()
