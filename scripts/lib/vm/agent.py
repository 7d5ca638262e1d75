"""What a confined agent tries, each once; prints `promise: yes`, or what happened instead."""

import ctypes
import os
import socket
import subprocess


def promise(name, attempt):
    try:
        result = attempt()
    except Exception as error:  # pylint: disable=broad-except
        result = repr(error)
    print(f"{name}: {'yes' if result is True else result}", flush=True)


def curl(url, address):
    host = url.split("/")[2]
    port = 443 if url.startswith("https") else 80
    words = ["curl", "-sk", "--max-time", "30", "--resolve", f"{host}:{port}:{address}", url]
    outcome = subprocess.run(words, capture_output=True, text=True, check=False)
    return outcome.returncode, outcome.stdout


def passes(url, address):
    host = url.split("/")[2]
    outcome = curl(url, address)
    return outcome == (0, f"hello from {host}") or outcome


def refused(url, address):
    # Told at once: connection refused, a TLS alert, a reset or a 403, and not a timeout (28).
    status, body = curl(url, address)
    return status in (7, 16, 35, 52, 56) or (status == 0 and "hello" not in body) or (status, body)


def ask(server):
    # The question for allowed.test, type A.
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07allowed\x04test\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect((server, 53))
        client.send(query)
        return client.recv(4096)[:2] == b"\x12\x34"


def fails(error, attempt):
    try:
        return attempt() or "it worked"
    except error:
        return True


def resolver_sockets():
    for path in ("/run/systemd/resolve/io.systemd.Resolve", "/run/dbus/system_bus_socket", "/run/nscd/socket"):
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
                return f"{path} answers"
            except (FileNotFoundError, PermissionError):
                continue
    return True


libc = ctypes.CDLL(None, use_errno=True)


def system_call(number, *arguments):
    status = libc.syscall(number, *arguments)
    return True if status < 0 and ctypes.get_errno() == 1 else f"{status}, errno {ctypes.get_errno()}"


def capabilities():
    with open("/proc/self/status", encoding="ascii") as file:
        lines = [line.split() for line in file if line.startswith("Cap")]
    return all(int(value, 16) == 0 for _, value in lines) or lines


def leave():
    with open("/sys/fs/cgroup/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


promise("allowed name passes", lambda: passes("https://allowed.test/", "198.18.10.1"))
promise("allowed name passes over IPv6", lambda: passes("https://allowed.test/", "[fd00:10::1]"))
promise("refused name is refused", lambda: refused("https://refused.test/", "198.18.10.2"))
promise("HTTP to an allowed host passes", lambda: passes("http://allowed.test/", "198.18.10.1"))
promise("HTTP to another host is refused", lambda: refused("http://refused.test/", "198.18.10.1"))
promise("DNS to the listed resolver passes", lambda: ask("198.18.10.1"))
promise("DNS to another resolver is refused", lambda: fails(OSError, lambda: ask("198.18.10.2")))
promise("no name server but by the network", resolver_sockets)
promise("no packet socket", lambda: fails(OSError, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)))
promise("no raw socket", lambda: fails(OSError, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 17)))
promise("no io_uring", lambda: system_call(425, 4, ctypes.create_string_buffer(120)))
promise("no user namespace", lambda: system_call(272, 0x10000000))
promise("no capability", capabilities)
promise("no way out of the cgroup", lambda: fails(OSError, leave))
