#!/usr/bin/env python3
"""One large upload after a ClientHello: `server PORT`, or `client ADDRESS PORT HELLO GIGABYTES`, which prints bytes a second."""
import os
import socket
import sys
import time


def server(port):
    listener = socket.create_server(("198.18.0.1", port))
    buffer = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"x")
        total = 0
        while size := connection.recv_into(buffer):
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
    # What follows looks like application data, as after a handshake.
    connection.sendall(b"\x17\x03\x03\x40\x00" + bytes(16384))
    size = int(gigabytes * (1 << 30))
    with open("/dev/shm/sallyport-bulk", "wb") as file:
        file.truncate(1 << 28)
    began = time.monotonic()
    with open("/dev/shm/sallyport-bulk", "rb") as file:
        sent = 0
        while sent < size:
            file.seek(0)
            sent += connection.sendfile(file)
    connection.shutdown(socket.SHUT_WR)
    reply = connection.recv(8)
    took = time.monotonic() - began
    os.unlink("/dev/shm/sallyport-bulk")
    if int.from_bytes(reply, "big") != sent + 16389:
        sys.exit(f"sent {sent}, arrived {int.from_bytes(reply, 'big')}")
    print(sent / took)


if sys.argv[1] == "server":
    server(int(sys.argv[2]))
else:
    client(sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
