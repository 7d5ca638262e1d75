"""B57, B58, B61, B62 and the ways to be an agent: who a flow belongs to."""

import json
import os
import socket
import struct

from lab import hello, lab as lab_module, streams, topology
from lab.appliance import CGROUP_AGENT_UID, UID_AGENT
from lab.catalogue import Skip, attempt
from lab.namespaces import CAP_NET_ADMIN, CAP_NET_RAW, Actor
from lab.streams import Stream, echoed

MASK = 0x0F000000
LOCAL_ONLY = "a guest has no socket of this host"


def decided(t, actor=None, agent=None, source=None):
    """An allowed and a refused name as this actor; both belong to `agent`."""
    for allowed in (True, False):
        target = t.target("echo", allowed)
        data = hello.client_hello(target.name)
        ending = t.say(target, data, answered=True, actor=actor, source=source)
        if allowed:
            t.passed(target, ending, received=data[:100], sent=data)
            if not t.unprotected:
                t.record(target, "allow", "allowed", host=target.name, agent=agent)
        else:
            t.refused(target, ending, "policy", host=target.name, agent=agent)


@attempt("who", "an agent is known by its uid alone", hooks=("output",), not_here=LOCAL_ONLY)
def by_uid(t):
    decided(t, Actor(UID_AGENT), "uid-bot")


@attempt("who", "another cgroup is another agent", hooks=("output",), not_here=LOCAL_ONLY)
def by_other_cgroup(t):
    decided(t, Actor(CGROUP_AGENT_UID, f"/{t.lab.name}.slice/other-bot"), "other-bot")


@attempt("who", "an agent behind the host is known by its source address", hooks=("forward",),
         not_here="a local socket has no confined source address")
def by_source(t):
    decided(t, agent="source-bot", source=topology.GUEST_BY_SOURCE[t.place.family])


@attempt("who", "what is confined but nobody's agent is refused (no_identity)", hooks=("output",), not_here=LOCAL_ONLY)
def nobody(t):
    target = t.target("echo")
    ending = t.say(target, hello.client_hello(target.name), actor=lab_module.other_local_actors(t.lab)[None])
    t.refused(target, ending, "no_identity", agent="")


@attempt("who", "what is not confined is left alone", hooks=("output",), not_here=LOCAL_ONLY)
def unconfined(t):
    target = t.target("echo", allowed=False)
    data = hello.client_hello(target.name)
    t.passed(target, t.say(target, data, answered=True, actor=Actor()), received=data[:100], sent=data)
    if not t.unprotected:
        t.expect(not t.records(target), "an unconfined process has records")


@attempt("B57", "a conntrack helper's expected connection is decided like any other, and inherits no mark")
def expected(t):
    control = t.target("echo")
    data = t.target("quiet", allowed=False)
    family = t.place.family
    high, low = divmod(data.port, 256)
    announce = (f"227 Entering Passive Mode ({data.address.replace('.', ',')},{high},{low}).\r\n" if family == 4
                else f"229 Entering Extended Passive Mode (|||{data.port}|)\r\n").encode()
    hook, priority = ("output", -195) if t.place.hook == "output" else ("prerouting", -195)
    t.lab.agent.command("nft", "-f", "-", text=f"""
        table inet helpers {{
            ct helper ftp {{ type "ftp" protocol tcp; }};
            chain c {{ type filter hook {hook} priority {priority}; tcp dport {control.port} ct helper set "ftp"; }};
        }}""")

    def talk():
        stream = Stream(control.address, control.port)
        echoed(stream, hello.client_hello(control.name))
        for _ in range(6):  # the flow is allowed for good once the server has acknowledged what was judged
            echoed(stream, hello.second_flight())
        # On the allowed flow the server may say anything, also what the helper believes.
        echoed(stream, b"200 go on\r\n")
        echoed(stream, announce)
        try:
            second = Stream(data.address, data.port)
            second.send(hello.client_hello(data.name))
            if t.unprotected:
                return streams.Ending("open")
            return streams.ending_with(second)
        except OSError as error:
            return streams.ending_of(error)

    try:
        t.lab.agent.command("conntrack", "-F", "expect", check=False)
        with open(t.lab.root / "expectations", "wb") as events:
            seen = t.lab.agent.spawn("conntrack", "-E", "expect", stdout=events, stderr=events)
        t.wait(lambda: t.lab.agent.call(_somebody_listens), "conntrack to listen")
        ending = t.place.call(talk)
        seen.terminate()
        seen.wait()
        made = str(data.port) in (t.lab.root / "expectations").read_text()
    finally:
        t.lab.agent.command("nft", "delete", "table", "inet", "helpers")
    if not made:
        raise Skip("the kernel made no expectation (CONFIG_NF_CONNTRACK_FTP?)")
    t.refused(data, ending, "policy", host=data.name)


def _somebody_listens():
    """Whether a netfilter socket of this host has joined a group of events."""
    with open("/proc/net/netlink") as table:
        return any(line.split()[1] == "12" and line.split()[3] != "00000000" for line in list(table)[1:])


@attempt("B58", "a new user namespace and uid 0 in the cgroup change nothing", hooks=("output",), not_here=LOCAL_ONLY)
def user_namespace(t):
    def enter():
        uid = os.getuid()
        _unshare(0x10000000)  # CLONE_NEWUSER
        with open("/proc/self/setgroups", "w") as setgroups:
            setgroups.write("deny")
        with open("/proc/self/uid_map", "w") as uid_map:
            uid_map.write(f"0 {uid} 1")

    for actor, agent in ((t.place.actor, "local-bot"), (Actor(UID_AGENT), "uid-bot")):
        t.title_of(f"{agent} in a user namespace")
        target = t.target("echo", allowed=False)

        def talk():
            enter()
            enough = (lambda got: got) if t.unprotected else (lambda got: False)
            return streams.converse(lambda: Stream(target.address, target.port), hello.client_hello(target.name), enough=enough)

        t.refused(target, t.place.call(talk, actor), "policy", host=target.name, agent=agent)
    for uid in (0, 65534):
        t.title_of(f"local-bot as uid {uid}")
        decided(t, Actor(uid, t.place.actor.cgroup), "local-bot")


def _unshare(flags):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


@attempt("B58", "a program with the set-uid bit is still the same agent", hooks=("output",), not_here=LOCAL_ONLY)
def set_uid(t):
    program = t.lab.root / "setuid-curl"
    if not program.exists():
        program.write_bytes(open("/usr/bin/curl", "rb").read())
        program.chmod(0o4755)
    for allowed in (True, False):
        target = t.target("http", allowed)
        done = t.place.command(program, "-sS", "--max-time", "20", "--resolve", f"{target.name}:{target.port}:{_bracket(target.address)}",
                               f"http://{target.authority}/setuid", environment={"LD_LIBRARY_PATH": ""})
        if allowed:
            t.expect(done.returncode == 0 and "uri=/setuid" in done.stdout, f"should have passed: {done.stdout}")
        else:
            ending = streams.Ending("reset" if done.returncode in (7, 52, 56) else f"curl exit {done.returncode}", done.stdout.encode())
            record = t.refused(target, ending, "policy", host=target.name)
            if record:
                t.expect(record.get("SALLYPORT_UID") in ("0", str(CGROUP_AGENT_UID)), f"uid {record.get('SALLYPORT_UID')}")


def _bracket(address):
    return f"[{address}]" if ":" in address else address


@attempt("B62", "packet marks that an agent sets are cleared: no bit of ours passes anything", hooks=("output",),
         not_here="a mark does not travel from a guest to the host")
def marks(t):
    actor = lab_module.privileged(t.place.actor, CAP_NET_RAW, CAP_NET_ADMIN)
    for mark in (1 << 24, 1 << 25, 1 << 26, 1 << 27, 3 << 24, 9 << 24, MASK, 0xFFFFFFFF):
        t.title_of(f"mark {mark:#x}")
        target = t.target("echo", allowed=False)
        ending = t.say(target, hello.client_hello(target.name), actor=actor, options=[(socket.SOL_SOCKET, 36, struct.pack("=I", mark))])
        t.refused(target, ending, "policy", host=target.name)


@attempt("B62", "a mark set in the middle of a connection passes nothing either", hooks=("output",),
         not_here="a mark does not travel from a guest to the host")
def late_marks(t):
    actor = lab_module.privileged(t.place.actor, CAP_NET_RAW, CAP_NET_ADMIN)
    for mark in (1 << 25, 1 << 27, MASK):
        t.title_of(f"mark {mark:#x}")
        target = t.target("echo", allowed=False)

        def talk():
            try:
                stream = Stream(target.address, target.port)
                stream.socket.setsockopt(socket.SOL_SOCKET, 36, mark)
                stream.send(hello.client_hello(target.name))
                return streams.ending_with(stream)
            except OSError as error:
                return streams.ending_of(error)

        t.refused(target, t.place.call(talk, actor), "policy", host=target.name)


SANDBOX_PROBE = r"""
import ctypes, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def attempt(f):
    try:
        f(); return "ok"
    except OSError as e:
        return "refused"
def syscall(number, *args):
    if libc.syscall(number, *args) < 0: raise OSError(ctypes.get_errno(), "")
found = {
    "packet": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)),
    "packet dgram": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)),
    "raw4": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)),
    "raw6": attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)),
    "vsock": attempt(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
    "io_uring": attempt(lambda: syscall(425, 8, ctypes.create_string_buffer(120))),
    "user namespace": attempt(lambda: syscall(272, 0x10000000)),
    "mark": attempt(lambda: socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1 << 25)),
    "setuid": attempt(lambda: os.setuid(0)),
    "cgroup": attempt(lambda: open("/sys/fs/cgroup/cgroup.procs", "w").write("0")),
    "configuration": attempt(lambda: open("/etc/sallyport/sallyport.yaml", "a")),
    "tcp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
}
status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
found["uid"] = os.getuid()
found["capabilities"] = [status[k] for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
found["no new privileges"] = status["NoNewPrivs"]
found["cgroup path"] = open("/proc/self/cgroup").read().strip().splitlines()[-1]
print(json.dumps(found))
"""


@attempt("B61", "an agent started by us gets no packet, raw or vsock socket, no io_uring, no capability, and is never uid 0",
         once=True)
def sandbox(t):
    python = ["/usr/bin/python3", "-c", SANDBOX_PROBE]
    if t.unprotected:
        done = t.lab.agent.command(*python, merge=False)
        found = json.loads(done.stdout)
        open_ones = [k for k in ("packet", "raw4", "raw6", "io_uring", "tcp") if found[k] == "ok"]
        t.expect(len(open_ones) >= 4, f"unprotected, but only {open_ones} open: {found}")
        return
    done = t.appliance.command("run", "--config", t.appliance.config, "--agent", "run-bot", "--user", "nobody", "--", *python, check=False)
    t.expect(done.returncode == 0, f"sallyport run: exit {done.returncode}: {done.stdout}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    for what in ("packet", "packet dgram", "raw4", "raw6", "vsock", "io_uring", "user namespace", "mark", "setuid", "cgroup", "configuration"):
        t.expect(found[what] == "refused", f"{what} is open to an agent: {found}")
    t.expect(found["tcp"] == "ok", "an ordinary socket is refused")
    t.expect(found["uid"] == 65534, f"the agent runs as uid {found['uid']}")
    t.expect(set(found["capabilities"]) == {"0" * 16}, f"capabilities: {found['capabilities']}")
    t.expect(found["no new privileges"] == "1", "no_new_privs is not set")
    t.expect(t.appliance.slice in found["cgroup path"] or "0::/" == found["cgroup path"], f"cgroup {found['cgroup path']}")


@attempt("B61", "sallyport run: refused without a user, as root and for an agent that nobody configured", once=True, unprotected=False)
def run_refusals(t):
    for what, words in {
        "without --user": ("--agent", "run-bot"), "as root": ("--agent", "run-bot", "--user", "root"),
        "as uid 0": ("--agent", "run-bot", "--user", "0"), "unknown agent": ("--agent", "nobody-knows", "--user", "nobody"),
    }.items():
        t.title_of(what)
        done = t.appliance.command("run", "--config", t.appliance.config, *words, "--", "/bin/echo", "it ran", check=False)
        t.expect(done.returncode == 2 and "it ran" not in done.stdout, f"exit {done.returncode}: {done.stdout}")
        t.expect(done.stdout.startswith("sallyport: "), f"the message is {done.stdout!r}")


@attempt("who", "what sallyport run starts is the agent that it names", hooks=("output",), unprotected=False, not_here=LOCAL_ONLY)
def run_agent(t):
    for allowed in (True, False):
        target = t.target("https", allowed)
        done = t.appliance.command(
            "run", "--config", t.appliance.config, "--agent", "run-bot", "--user", "nobody", "--", "curl", "-sS", "--max-time", "20",
            "--cacert", t.lab.web.authority, "--resolve", f"{target.name}:{target.port}:{_bracket(target.address)}",
            f"https://{target.authority}/run", check=False)
        if allowed:
            t.expect(done.returncode == 0 and f"sni={target.name}" in done.stdout, f"should have passed: exit {done.returncode} {done.stdout}")
            t.record(target, "allow", "allowed", host=target.name, agent="run-bot")
        else:
            t.expect(done.returncode in (35, 56, 7), f"curl exit {done.returncode}: {done.stdout}")
            t.refused(target, streams.Ending("reset"), "policy", host=target.name, agent="run-bot")
