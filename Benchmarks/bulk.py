#!/usr/bin/env python3
"""One large upload after a ClientHello: `server PORT`, or `client ADDRESS PORT HELLO GIGABYTES`, which prints bytes a second."""
import socket
import sys
import tempfile
import time

FIRST = 16389
"""Bytes of the record that goes ahead."""
PIECE = 1 << 26
"""Bytes of the file that is sent again and again."""


def server(port):
    listener = socket.create_server(("198.18.0.1", port))
    buffer = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"x")
        head = connection.recv(FIRST, socket.MSG_WAITALL)
        expected, total = int.from_bytes(head[-8:], "big"), 0
        while total < expected and (size := connection.recv_into(buffer)):
            total += size
        connection.sendall(total.to_bytes(8, "big"))
        connection.close()


def client(address, port, hello, gigabytes):
    deadline = time.monotonic() + 10
    while True:
        try:
            connection = socket.create_connection((address, port))
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
    connection.sendall(open(hello, "rb").read())
    connection.recv(1)
    # What follows looks like application data, as after a handshake. It ends with how many bytes come behind it: a proxy may
    # take the end of one direction for the end of both.
    size = -(-int(gigabytes * (1 << 30)) // PIECE) * PIECE
    connection.sendall(b"\x17\x03\x03\x40\x00" + bytes(FIRST - 13) + size.to_bytes(8, "big"))
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.truncate(PIECE)
        began = time.monotonic()
        sent = 0
        while sent < size:
            file.seek(0)
            sent += connection.sendfile(file)
        reply = connection.recv(8)
        took = time.monotonic() - began
    if int.from_bytes(reply, "big") != sent:
        sys.exit(f"sent {sent}, arrived {int.from_bytes(reply, 'big')}")
    print(sent / took)


if sys.argv[1] == "server":
    server(int(sys.argv[2]))
else:
    client(sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
