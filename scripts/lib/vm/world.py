"""The sink and the name server of the virtual machine test's world."""

import os
import selectors
import socket

COUNT = "/run/world/sink"
received = 0


def count(size):
    """Adds to the bytes that the sink has had."""
    global received
    received += size
    with open(COUNT + ".new", "w", encoding="ascii") as file:
        file.write(f"{received}\n")
    os.rename(COUNT + ".new", COUNT)


def answer(query):
    """Every name is at 198.18.10.1 and has nothing but an address (RFC 1035 section 4.1)."""
    end = query.index(b"\x00", 12) + 5
    question = query[12:end]
    is_address = question[-4:] == b"\x00\x01\x00\x01"
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + socket.inet_aton("198.18.10.1")
    counts = b"\x00\x01" + (b"\x00\x01" if is_address else b"\x00\x00") + b"\x00\x00\x00\x00"
    return query[:2] + b"\x81\x80" + counts + question + (record if is_address else b"")


selector = selectors.DefaultSelector()


def accept(listener):
    connection, _ = listener.accept()
    selector.register(connection, selectors.EVENT_READ, read)


def read(connection):
    try:
        data = connection.recv(65536)
    except OSError:
        data = b""
    if data:
        count(len(data))
    else:
        selector.unregister(connection)
        connection.close()


def swallow(sink):
    count(len(sink.recv(65536)))


def resolve(server):
    query, client = server.recvfrom(4096)
    server.sendto(answer(query), client)


listener = socket.create_server(("198.18.10.2", 443), backlog=64)
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind(("198.18.10.2", 53))
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("198.18.10.1", 53))
selector.register(listener, selectors.EVENT_READ, accept)
selector.register(sink, selectors.EVENT_READ, swallow)
selector.register(names, selectors.EVENT_READ, resolve)
count(0)
while True:
    for key, _ in selector.select():
        key.data(key.fileobj)
