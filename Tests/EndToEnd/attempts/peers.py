"""Real clients and real servers of other programs: what is allowed works, what is refused fails at once."""

import shutil

from lab import topology, web
from lab.catalogue import attempt
from lab.peers import Peer, http3, program
from lab.streams import Ending

from .journeys import bracket


def ended(done, *signs):
    """How a program ended: refused where it says so in one of these words."""
    text = done.stdout
    return Ending("reset" if any(sign in text for sign in signs) else f"exit {done.returncode}", text.encode(), text[-300:])


@attempt("peers", "nghttp and nghttpd: HTTP/2 without TLS is decided by :authority")
def nghttp2(t):
    client = program("nghttp")
    with Peer(t) as peer:
        peer.start(program("nghttpd"), "--no-tls", "-d", t.lab.root / "web", peer.port)
        for allowed in (True, False):
            target = peer.target(t, allowed)
            done = t.place.command(client, "-v", "--timeout=20s", "-H", f":authority: {target.authority}",
                                   f"http://{bracket(target.address)}:{target.port}/files/project.git/HEAD")
            if allowed:
                t.expect(":status: 200" in done.stdout and "refs/heads/main" in done.stdout, f"nghttp: {done.stdout[-400:]}")
                if not t.unprotected:
                    t.record(target, "allow", "allowed", host=target.name)
            else:
                t.refused(target, ended(done, "not processed"), "policy", host=target.name)


REFUSED_BY_PSQL = ("Connection reset by peer", "server closed the connection unexpectedly")


@attempt("peers", "psql and PostgreSQL: the name behind the request for TLS, or the database, is decided")
def postgresql(t):
    client = program("psql")
    with Peer(t) as peer:
        data = peer.directory / "data"
        key = peer.owned(t.lab.root / "server.key")
        certificate = peer.owned(t.lab.root / "server.pem")
        peer.prepare(program("initdb"), "-D", data, "-A", "trust", "-U", "app", "-N")
        settings = {
            "ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key, "listen_addresses": "*", "port": peer.port,
            "unix_socket_directories": peer.directory, "fsync": "off",
        }
        with open(data / "pg_hba.conf", "a", encoding="ascii") as rules:
            rules.write("host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n")
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        peer.start(program("postgres"), "-D", data, *options)

        def ask(target, database, encryption):
            return t.place.command(
                client, "-At", "-c", "select 41+1, ssl from pg_stat_ssl where pid = pg_backend_pid()",
                f"host={target.name} hostaddr={target.address} port={target.port} user=app dbname={database} "
                f"connect_timeout=20 gssencmode=disable sslmode={encryption} sslrootcert={t.lab.web.authority}")

        for allowed in (True, False):
            t.title_of("TLS")
            target = peer.target(t, allowed)
            done = ask(target, "postgres", "verify-full")
            if allowed:
                t.expect(done.returncode == 0 and "42|t" in done.stdout, f"psql: {done.stdout[-300:]}")
                if not t.unprotected:
                    t.wait(lambda: [r for r in t.records(target, "allow") if r.get("SALLYPORT_HOST") == target.name], "a record of the name")
            else:
                t.refused(target, ended(done, *REFUSED_BY_PSQL), "policy", secret=target.name.encode(), host=target.name)
        t.title_of("the database")
        target = peer.target(t)
        done = ask(target, "postgres", "disable")
        t.expect(done.returncode == 0 and "42|f" in done.stdout, f"psql: {done.stdout[-300:]}")
        if not t.unprotected:
            record = t.record(target, "allow", "allowed")
            t.expect(record.get("SALLYPORT_DATABASE") == "postgres", f"the record says {record.get('SALLYPORT_DATABASE')}")
        target = peer.target(t)
        t.refused(target, ended(ask(target, "forbidden", "disable"), *REFUSED_BY_PSQL), "policy")


@attempt("peers", "mariadb and its server: the database of the login is decided")
def mariadb(t):
    client = program("mariadb")
    with Peer(t) as peer:
        data = peer.directory / "data"
        peer.prepare(program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
                     "--skip-test-db")
        first = peer.directory / "first.sql"
        first.write_text("create database if not exists orders;\ncreate database if not exists forbidden;\n")
        peer.start(program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--port={peer.port}", "--skip-grant-tables",
                   "--skip-networking=0", "--bind-address=*", f"--socket={peer.directory}/socket", f"--init-file={first}",
                   f"--pid-file={peer.directory}/pid")
        for database, allowed in (("orders", True), ("forbidden", False)):
            target = peer.target(t)
            done = t.place.command(client, "--no-defaults", "--skip-ssl", "--connect-timeout=20", "--protocol=tcp", "-h", target.address,
                                   "-P", target.port, "-u", "app", "-N", "-e", "select 41+1", database)
            if allowed:
                t.expect(done.returncode == 0 and "42" in done.stdout, f"mariadb: {done.stdout[-300:]}")
                if not t.unprotected:
                    record = t.record(target, "allow", "allowed")
                    t.expect(record.get("SALLYPORT_DATABASE") == database, f"the record says {record.get('SALLYPORT_DATABASE')}")
            else:
                t.refused(target, ended(done, "Lost connection", "gone away"), "policy")


@attempt("peers", "OpenSSH: refused, unless policy allows the address; a session then runs to its end")
def openssh(t):
    client, keys = program("ssh"), program("ssh-keygen")
    with Peer(t) as peer:
        for name in ("host", "user"):
            t.lab.net.command(keys, "-q", "-t", "ed25519", "-N", "", "-f", peer.directory / name)
        identity = peer.directory / "identity"
        identity.write_bytes((peer.directory / "user").read_bytes())
        identity.chmod(0o600)
        if uid := t.place.actor.uid:
            shutil.chown(identity, uid)
            # ssh wants a user to be somebody; the file is the lab's own.
            t.place.host.command("sh", "-c", f"grep -q :{uid}: /etc/passwd || echo agent:x:{uid}:{uid}::/nonexistent:/bin/sh >> /etc/passwd")
        peer.directory.chmod(0o755)
        (peer.directory / "configuration").write_text(
            f"Port {peer.port}\nHostKey {peer.directory}/host\nAuthorizedKeysFile {peer.directory}/user.pub\nStrictModes no\n"
            f"PidFile {peer.directory}/pid\nPermitRootLogin yes\nUsePAM no\n")
        t.lab.net.command("mkdir", "-p", "/run/sshd")
        peer.start(program("sshd"), "-D", "-e", "-f", peer.directory / "configuration", nobody=False)
        for last in (topology.DIRECT, topology.SERVER):
            target = peer.target(t, last=last)
            done = t.place.command(
                client, "-F", "none", "-i", identity, "-p", target.port, "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
                "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20", f"root@{target.address}", "echo", "$((41+1))")
            if last == topology.DIRECT:
                t.expect(done.returncode == 0 and "42" in done.stdout, f"ssh: {done.stdout[-300:]}")
            else:
                t.refused(target, ended(done, "Connection reset", "Connection closed"), "policy")


@attempt("peers", "dig: an allowed name is answered over UDP and TCP, a refused one is not")
def dig(t):
    client = program("dig")
    for over in ("+notcp", "+tcp"):
        for allowed in (True, False):
            target = t.target("https", allowed)
            done = t.place.command(client, "+time=3", "+tries=1", over, f"@{t.place.at(topology.RESOLVER)}", "A", target.name)
            answered = topology.outside(topology.SERVER, 4) in done.stdout
            if allowed or t.unprotected:
                t.expect(answered, f"dig: {done.stdout[-300:]}")
            else:
                t.expect("status: REFUSED" in done.stdout, f"dig exit {done.returncode}: {done.stdout[-300:]}")
                t.wait(lambda: t.lab.journal.records(target.since, VERDICT="deny", STAGE="resolve", HOST=target.name), "a record of the question")


@attempt("peers", "aioquic: HTTP/3 is decided by the server name of QUIC's ClientHello")
def aioquic(t):
    words = http3(t.lab)
    with Peer(t, "udp") as peer:
        peer.start(*words, "serve", t.place.server, peer.port, t.lab.root / "server.pem", t.lab.root / "server.key")
        for allowed in (True, False):
            target = peer.target(t, allowed)
            done = t.place.command(*words, "get", target.address, target.port, target.name, t.lab.web.authority, "/hello")
            if allowed or t.unprotected:
                answer = f"status 200\nhttp/3 answers for {target.authority}/hello\n"
                t.expect(done.returncode == 0 and done.stdout == answer, f"aioquic: {done.stdout[-300:]}")
            if not allowed:
                # A datagram that is still held when the client ends has no socket any more, and so a record of its own.
                t.refused(target, ended(done, "the network refused"), "policy", host=target.name, exactly=None)
            elif not t.unprotected:
                record = t.record(target, "allow", "allowed", host=target.name)
                t.expect(record.get("SALLYPORT_PROTOCOL") == "quic", f"the record says {record.get('SALLYPORT_PROTOCOL')}")


@attempt("peers", "dnsmasq as the resolver: what dig and getent may ask is answered, other questions do not reach it")
def dnsmasq(t):
    clients = {"dig": program("dig"), "getent": program("getent")}
    # Not the address that the lab's own resolver answers with.
    answers = {"A": topology.outside(topology.DIRECT, 4), "AAAA": topology.outside(topology.DIRECT, 6)}
    with Peer(t) as peer:
        peer.start(program("dnsmasq"), "--conf-file=/dev/null", "--keep-in-foreground", "--pid-file", f"--port={peer.port}",
                   "--no-resolv", "--no-hosts", "--log-queries", "--log-facility=-",
                   *(f"--address=/{domain}/{address}" for domain in (web.ALLOWED, web.REFUSED) for address in answers.values()))
        for family, word in ((4, "ip"), (6, "ip6")):
            for transport in ("udp", "tcp"):
                peer.lead(word, "daddr", topology.outside(topology.RESOLVER, family), transport, "dport", 53)

        def ask(what, allowed, kinds, client, *words):
            """One question of a client, whose name is its last word."""
            t.title_of(f"{what}, {'allowed' if allowed else 'refused'}")
            target = t.target("peer", allowed)
            done = t.place.command(clients[client], *words, target.name)
            wanted = {answers[kind] for kind in kinds}
            if allowed or t.unprotected:
                t.expect(done.returncode == 0 and wanted <= set(done.stdout.split()), f"{client}: {done.stdout[-300:]}")
                t.wait(lambda: all(f"query[{kind}] {target.name} " in peer.output() for kind in kinds), "dnsmasq to tell of the question")
            else:
                t.expect("status: REFUSED" in done.stdout if client == "dig" else done.returncode != 0,
                         f"{client} exit {done.returncode}: {done.stdout[-300:]}")
            if not t.unprotected:
                verdict = "allow" if allowed else "deny"
                t.wait(lambda: t.lab.journal.records(target.since, VERDICT=verdict, STAGE="resolve", HOST=target.name),
                       f"a record of the question that says {verdict}")
            return target.name

        refused = []
        for allowed in (False, True):
            names = [ask(f"dig {kind} {over}", allowed, [kind], "dig", "+time=3", "+tries=1", over,
                         f"@{t.place.at(topology.RESOLVER)}", kind) for kind in answers for over in ("+notcp", "+tcp")]
            names.append(ask("getent", allowed, answers, "getent", "ahosts"))
            refused += [] if allowed else names
        t.lab.wire.settle()
        told = peer.output()
        t.expect(t.unprotected or not any(name in told for name in refused), f"a refused question reached dnsmasq: {told[-300:]}")
