#!/usr/bin/env python3
"""Many established flows: `server PORT COUNT` listens on COUNT ports, `client ADDRESS PORT COUNT HELLO FLOWS` opens FLOWS,
says a ClientHello and one more record on each, prints how many stand and holds them until its input ends."""
import resource
import select
import socket
import sys

SECOND_FLIGHT = b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x20" + bytes(32)


def raise_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 300_000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def server(port, count):
    poll = select.epoll()
    listeners = {}
    connections = {}
    for offset in range(count):
        listener = socket.create_server(("198.18.0.1", port + offset), backlog=65535)
        listener.setblocking(False)
        listeners[listener.fileno()] = listener
        poll.register(listener, select.EPOLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in listeners:
                try:
                    while True:
                        connection, _ = listeners[descriptor].accept()
                        connection.setblocking(False)
                        connections[connection.fileno()] = connection
                        poll.register(connection, select.EPOLLIN)
                except BlockingIOError:
                    continue
            else:
                connection = connections[descriptor]
                try:
                    data = connection.recv(65536)
                except ConnectionError:
                    data = b""
                if data:
                    connection.send(b"x")
                else:
                    poll.unregister(connection)
                    connection.close()
                    del connections[descriptor]


def client(address, port, count, hello, flows):
    greeting = open(hello, "rb").read()
    standing = []
    for number in range(flows):
        connection = socket.create_connection((address, port + number % count))
        connection.sendall(greeting)
        if connection.recv(1) != b"x":
            break
        connection.sendall(SECOND_FLIGHT)
        if connection.recv(1) != b"x":
            break
        standing.append(connection)
    print(len(standing), flush=True)
    sys.stdin.read()


raise_limit()
if sys.argv[1] == "server":
    server(int(sys.argv[2]), int(sys.argv[3]))
else:
    client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
