"""Programs that fetch as agents do all day: a Python program with a pool of connections and a cache of addresses, curl, and
Node with its own pool. What goes wrong is told as `Failure`s; what went right is counted."""

import dataclasses
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import traceback

from . import streams
from .channel import Channel
from .waiting import PATIENCE, Deadline, TimedOut, until

SLOW = 6 * PATIENCE
"""Seconds for a batch of fetches on a slow machine."""


@dataclasses.dataclass
class Failure:
    """A fetch that was not answered: of which URL, at which address, and what the program saw."""

    url: str
    address: str
    saw: str


class _Kept:
    """A connection that stays, to one address of a name."""

    def __init__(self, pool, scheme, name, port, address):
        self.scheme, self.name, self.port, self.address = scheme, name, port, address
        plain = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        self._connection = plain(name, port, timeout=PATIENCE)
        sock = socket.create_connection((address, port), timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sock = pool.context.wrap_socket(sock, server_hostname=name) if scheme == "https" else sock

    def get(self, path):
        """What the server said; None if that is right."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        text = response.read().decode()
        whole = response.status == 200 and f"host={self.name} " in text and f"uri={path} " in text
        return None if whole else f"{response.status}: {text[:80]!r}"

    def close(self):
        """Closes it."""
        self._connection.close()


class _Pool:
    """The Python program, in its own process: it is asked for a batch at a time and answers how that went."""

    def __init__(self, authority, family, ports):
        self.context = ssl.create_default_context(cafile=authority)
        self._family = socket.AF_INET if family == 4 else socket.AF_INET6
        self._ports, self._count = ports, 0
        self._known, self._kept = {}, []

    def serve(self, channel):
        """Answers batches as long as there are some."""
        while True:
            kind, *rest = channel.take()
            try:
                channel.answer(getattr(self, kind)(*rest))
            except Exception as error:  # the parent is waiting
                channel.answer((0, [(kind, "", traceback.format_exc())]))
                raise error

    def known(self):
        """Every name with the addresses that it was led to."""
        return self._known

    def fresh(self, names, count, keep=0):
        """Looks names up and opens a connection to one of the addresses of the answer; the last `keep` connections stay."""
        def one(number, scheme):
            name = names[number % len(names)]
            found = [i[4][0] for i in socket.getaddrinfo(name, None, self._family, socket.SOCK_STREAM)]
            known = self._known.setdefault(name, [])
            known += [address for address in found if address not in known]
            return name, found[number % len(found)]
        return self._batch(count, one, keep)

    def cached(self, count):
        """Opens a connection to an address of some earlier answer, and asks no resolver."""
        def one(number, scheme):
            names = sorted(self._known)
            name = names[number % len(names)]
            return name, self._known[name][(number // len(names)) % len(self._known[name])]
        return self._batch(count, one, 0)

    def pooled(self, scheme):
        """Another request on each connection of this scheme that stayed; returns their number and the failures."""
        failures, kept = [], [k for k in self._kept if k.scheme == scheme]
        for each in kept:
            self._count += 1
            self._try(failures, scheme, each.name, each.address, lambda path, each=each: each.get(path))
        return len(kept), failures

    def _batch(self, count, choose, keep):
        failures = []
        for number in range(count):
            self._count += 1
            scheme = ("https", "http")[number % 2]
            name, address = None, None
            try:
                name, address = choose(number // 2, scheme)
            except OSError as error:
                failures.append((f"{scheme}: look-up {number}", "", repr(error)))
                continue

            def get(path):
                connection = _Kept(self, scheme, name, self._ports[scheme], address)
                wrong = connection.get(path)
                if number >= count - keep:
                    self._kept.append(connection)
                else:
                    connection.close()
                return wrong
            self._try(failures, scheme, name, address, get)
        return count, failures

    def _try(self, failures, scheme, name, address, get):
        path = f"/{self._count}"
        try:
            wrong = get(path)
        except (OSError, http.client.HTTPException) as error:
            wrong = repr(error)
        if wrong:
            failures.append((f"{scheme}://{name}:{self._ports[scheme]}{path}", address, wrong))


class Fetcher:
    """All the programs of one agent, at one place."""

    def __init__(self, t, place, names):
        self.place, self.names, self.fetched, self.failures = place, names, 0, []
        self._lab, self._count = t.lab, 0
        self.mark = t.lab.journal.mark() if t.lab.journal else 0
        self.ports = {"https": t.lab.port("https"), "http": t.lab.port("http")}
        self._channel = Channel(f"the fetcher at {place}")
        pool = _Pool(t.lab.web.authority, place.family, self.ports)
        self._task = place.start(lambda: pool.serve(self._channel))
        self._node, self._unread = None, b""

    def begin(self, *batch):
        """Asks the Python program for a batch; `finish` waits for it."""
        self._channel.begin(*batch)

    def finish(self):
        """Counts a batch of the Python program that was begun."""
        try:
            count, failures = self._channel.finish(SLOW)
        except TimedOut:
            self._task.result()  # says why it ended
            raise
        self.fetched += count - len(failures)
        self.failures += [Failure(*f) for f in failures]

    def known(self):
        """Every name with the addresses that the Python program was led to."""
        return self._channel.ask("known")

    def _urls(self, count, schemes):
        for number in range(count):
            self._count += 1
            scheme = schemes[number % len(schemes)]
            name = self.names[number // len(schemes) % len(self.names)]
            yield f"{scheme}://{name}:{self.ports[scheme]}/c{self._count}"

    def curl(self, count):
        """Fetches with one process of curl, which has a pool and a cache of its own."""
        urls = list(self._urls(count, ("https", "http")))
        done = self.place.command("curl", "-sS", f"-{self.place.family}", "--max-time", SLOW, "--cacert", self._lab.web.authority,
                                  "-w", "%{remote_ip} %{url_effective}\n", *urls, seconds=SLOW)
        for url in urls:
            path = url[url.rindex("/"):]
            self._took(url, "", None if f"uri={path} " in done.stdout else f"curl exit {done.returncode}: {done.stdout[-400:]}")

    def node(self, count, schemes):
        """Fetches with Node, all at once; its process and its connections stay. Returns whether there is a Node."""
        if self._node is None:
            if shutil.which("node", path="/usr/bin:/usr/local/bin") is None:
                return False
            environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nonexistent", "NODE_EXTRA_CA_CERTS": str(self._lab.web.authority)}
            self._node = self.place.host.spawn("node", "-e", _NODE, str(self.place.family), actor=self.place.actor, environment=environment,
                                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        urls = list(self._urls(count, schemes))
        self._node.stdin.write(json.dumps(urls).encode() + b"\n")
        self._node.stdin.flush()
        for url, wrong in zip(urls, json.loads(self._line())):
            self._took(url, "", wrong)
        return True

    def _line(self):
        deadline = Deadline(SLOW)
        while b"\n" not in self._unread:
            if not streams.readable(self._node.stdout, deadline.left()):
                raise TimedOut("no answer from Node")
            part = os.read(self._node.stdout.fileno(), 1 << 16)
            if not part:
                raise TimedOut(f"Node ended with {self._node.wait()}")
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _took(self, url, address, wrong):
        if wrong:
            self.failures.append(Failure(url, address, wrong))
        else:
            self.fetched += 1

    def close(self):
        """Ends the programs."""
        self._task.kill()
        if self._node is not None:
            self._node.kill()
            self._node.wait()

    def told(self):
        """The first failures, each with the records of refusals that may be about it."""
        lines = []
        for failure in self.failures[:4]:
            lines.append(f"{self.place}: {failure.url} at {failure.address or 'an address of its choice'}: {failure.saw}")
            if self._lab.journal is None:
                continue
            for record in self._refusals(failure):
                fields = {k.removeprefix("SALLYPORT_"): v for k, v in sorted(record.items()) if k.startswith("SALLYPORT_")}
                lines.append(f"    record: {json.dumps(fields)}")
        return lines

    def _refusals(self, failure):
        """The records of refusals that may be about a failure, once there are any; they come a little later."""
        name = failure.url.split("/")[2].rpartition(":")[0] if "//" in failure.url else ""
        ports = {*map(str, self.ports.values()), "53"}

        def found():
            return [r for r in self._lab.journal.records(self.mark, VERDICT="deny", AGENT=self.place.agent_id, PORT=ports)
                    if r.get("SALLYPORT_HOST", name) == name and r.get("SALLYPORT_ADDRESS") in (failure.address or r.get("SALLYPORT_ADDRESS"))]
        try:
            return until(found, "a record", 2)
        except TimedOut:
            return []


_NODE = r"""
const dns = require('dns'), lookUp = dns.lookup, family = Number(process.argv[1]);
dns.lookup = (name, options, done) => typeof options === 'function'
  ? lookUp(name, { family }, options) : lookUp(name, { ...options, family }, done);
require('net').setDefaultAutoSelectFamily?.(false);
require('readline').createInterface({ input: process.stdin }).on('line', async line => {
  console.log(JSON.stringify(await Promise.all(JSON.parse(line).map(async url => {
    try {
      const response = await fetch(url), text = await response.text();
      return response.status === 200 && text.includes(`uri=${new URL(url).pathname} `) ? null : `${response.status}: ${text}`;
    } catch (error) { return `${error}: ${error.cause}`; }
  }))));
});
"""
