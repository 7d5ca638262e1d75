#!/usr/bin/env python3
"""Many established flows: `server PORT COUNT` listens on COUNT ports, `client ADDRESS PORT COUNT HELLO FLOWS` opens FLOWS,
says a ClientHello and one more record on each, prints how many stand and holds them until its input ends. COUNT processes
share the flows on either side. The server ends its whole process group: start it in one of its own."""
import os
import resource
import select
import signal
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
    """A process for each port: one alone may not have so many files open."""
    for offset in range(count - 1):
        if os.fork() == 0:
            port += offset + 1
            break
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    poll = select.epoll()
    connections = {}
    listener = socket.create_server(("198.18.0.1", port), backlog=65535)
    listener.setblocking(False)
    poll.register(listener, select.EPOLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                try:
                    while True:
                        connection, _ = listener.accept()
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
    reading, writing = os.pipe()
    for offset in range(count):
        if os.fork() == 0:
            standing = []
            for _ in range(flows // count):
                connection = socket.create_connection((address, port + offset))
                connection.sendall(greeting)
                if connection.recv(1) != b"x":
                    break
                connection.sendall(SECOND_FLIGHT)
                if connection.recv(1) != b"x":
                    break
                standing.append(connection)
            os.write(writing, b"%8d" % len(standing))
            sys.stdin.read()
            os._exit(0)
    print(sum(int(os.read(reading, 8)) for _ in range(count)), flush=True)
    sys.stdin.read()


raise_limit()
if sys.argv[1] == "server":
    server(int(sys.argv[2]), int(sys.argv[3]))
else:
    client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
