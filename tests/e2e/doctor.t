#!/usr/bin/env python3
"""mailadm doctor: each check is made to fail and to be well, in a network namespace with a name server, a registry and a mail server
of the test's own; what cannot be asked is unknown and costs no more than its time."""
import ctypes
import http.server
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402

if os.geteuid() != 0:
    skip_all("network namespaces and mounts need root")
for tool in ("ip", "nft", "openssl", "unshare", "curl", "cc"):
    if shutil.which(tool) is None:
        skip_all(f"{tool} is missing")

WORK = tempfile.mkdtemp(prefix="mailadm-doctor-")
os.chmod(WORK, 0o711)
NS = f"mailadm-doctor-{os.getpid()}"
HOST, DNS, OTHER = "198.51.100.10", "198.51.100.53", "198.51.100.99"
CONF = WORK + "/h/site.conf"
libc = ctypes.CDLL(None, use_errno=True)
serving = None
BIN = WORK + "/bin"  # the host's programs, so that they can be replaced


def run(*argv, **kw):
    return subprocess.run(argv, check=kw.pop("check", True), capture_output=True, text=True, timeout=60, **kw)


def inside(fn, *args):
    """Calls fn in this thread with its network namespace switched."""
    with open("/proc/self/ns/net") as back, open("/run/netns/" + NS) as there:
        if libc.setns(there.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return fn(*args)
        finally:
            libc.setns(back.fileno(), 0x40000000)


def bound(kind, address, port):
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    if kind == socket.SOCK_STREAM:
        s.listen(100)
    return s


# A name server: NAMES is {(name, type): [rdata]}; None for a name is silence.

NAMES = {("2.0.0.127.bl.test", 1): [b"\x7f\0\0\2"]}  # RFC 5782: the test point of a block list that works
TYPES = {"A": 1, "PTR": 12, "MX": 15}


def wire(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".") if x) + b"\0"


def set_name(name, kind, *values):
    data = [socket.inet_aton(v) if kind == "A" else struct.pack("!H", 10) + wire(v) if kind == "MX" else wire(v) for v in values]
    NAMES[(name, TYPES[kind])] = data


def answer(q):
    labels, at = [], 12
    while q[at]:
        labels.append(q[at + 1:at + 1 + q[at]].decode())
        at += 1 + q[at]
    name, (kind,) = ".".join(labels).lower(), struct.unpack("!H", q[at + 1:at + 3])
    if NAMES.get("silent"):
        return None
    data = NAMES.get((name, kind), [])
    known = any(n == name for n, _ in (k for k in NAMES if isinstance(k, tuple)))
    head = q[:2] + struct.pack("!HHHHH", 0x8180 | (0 if known else 3), 1, len(data), 0, 0)
    return head + q[12:at + 5] + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(d)) + d for d in data)


def name_server():
    s = inside(bound, socket.SOCK_DGRAM, DNS, 53)

    def loop():
        while True:
            q, peer = s.recvfrom(4096)
            a = answer(q)
            if a:
                s.sendto(a, peer)
    threading.Thread(target=loop, daemon=True).start()


# A registry: DATES is {domain: (expiration, status)}.

DATES = {}
SLOW = 0


class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        time.sleep(SLOW)
        if name not in DATES or isinstance(DATES[name], int):
            self.send_error(DATES.get(name, 404))
            return
        date, status = DATES[name]
        body = json.dumps({"events": [{"eventAction": "expiration", "eventDate": date}], "status": status}).encode() if date else b"<html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def registry():
    server = inside(lambda: http.server.ThreadingHTTPServer((OTHER, 8080), Registry))
    server.handle_error = lambda *_: None  # who asked may have gone
    threading.Thread(target=server.serve_forever, daemon=True).start()


# The doctor

def doctor(*args, before=(), env=None, conf=CONF):
    """(exit status, rows as {"check subject": row}, seconds)"""
    start = time.monotonic()
    argv = ["ip", "netns", "exec", NS] + list(before) + [MAILADM, "-c", conf, "doctor", "--json", "--rdap", f"http://{OTHER}:8080/domain/"]
    r = run(*argv, *args, check=False, env=dict(os.environ, **(env or {})))
    try:
        rows = json.loads(r.stdout)
    except ValueError:
        diag(r.stdout + r.stderr)
        rows = []
    return r.returncode, rows, time.monotonic() - start


def finds(check, state, part, name, *args, subject="", **kw):
    """One check; its row (of this subject) has this state, and says this."""
    status, rows, _ = doctor("--only", kw.pop("only", check), *args, **kw)
    hits = [r for r in rows if r["check"] == check and subject in r["subject"] and r["state"] == state and part in r["seen"]]
    good = ok(hits, f"{check}: {name}: {state}: {hits[0]['seen'] if hits else ''}")
    if not good:
        diag(f"exit {status}, wanted {state} with {part!r}\n" + "\n".join(map(str, rows)))
    if state == "wrong" and hits:
        ok(status == 1 and hits[0]["remedy"], f"{check}: {name}: exit 1, and what to do: {hits[0]['remedy']}")
    return hits


def write_site(more="", host=HOST, public=None):
    text = f'host = {{ name = "mail.example.org"; ipv4 = "{host}"; {f"""public_ipv4 = "{public}";""" if public else ""} }};\n'
    text += 'domains = ( { name = "example.org"; }, { name = "sub.example.net"; } );\naccounts = ( { address = "alice@example.org"; } );\n'
    text += f'state_dir = "state";\ndns = {{ forward = ("{DNS}"); dnssec = false; block_lists = ("bl.test"); }};\n'
    text += 'firewall = { admin_from = ("198.51.100.0/24"); };\n' + more
    with open(CONF, "w") as f:
        f.write(text)


def network():
    run("ip", "netns", "add", NS)
    run("ip", "-n", NS, "link", "set", "lo", "up")
    run("ip", "-n", NS, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    for link in ("eth0", "eth1"):
        run("ip", "-n", NS, "link", "set", link, "up")
    for address in (HOST, DNS, OTHER):
        run("ip", "-n", NS, "addr", "add", address + "/24", "dev", "eth0")


def start_host():
    global serving
    log = open(WORK + "/log", "w")
    os.makedirs(BIN)
    for name in ("mailadm", "mailsvc"):
        shutil.copy(os.path.join(os.path.dirname(MAILADM), name), BIN)
    serving = subprocess.Popen(["ip", "netns", "exec", NS, BIN + "/mailadm", "-c", CONF, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_until(lambda: serving.poll() is not None or "\nready" in "\n" + open(WORK + "/log").read(), "ready", 60)
    if not ok(serving.poll() is None, "the host runs in its namespace"):
        diag(open(WORK + "/log").read())


def stop_host():
    global serving
    if serving and serving.poll() is None:
        serving.send_signal(signal.SIGTERM)
        serving.wait(20)
    serving = None


def shim():
    """A library that moves the clock of one process by SHIFT seconds."""
    with open(WORK + "/shift.c", "w") as f:
        f.write("""#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t c, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, c, t);
	if (r == 0 && c == CLOCK_REALTIME && getenv("SHIFT"))
		t->tv_sec += atol(getenv("SHIFT"));
	return r;
}
time_t time(time_t *out)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}
""")
    run("cc", "-shared", "-fPIC", "-o", WORK + "/shift.so", WORK + "/shift.c")
    run("cc", "-shared", "-fPIC", "-o", WORK + "/dies.so", "-x", "c", "-", input="void _exit(int); int adjtimex(void *t) { (void)t; _exit(3); }")


def shifted(seconds):
    return {"LD_PRELOAD": WORK + "/shift.so", "SHIFT": str(seconds)}


# What is wrong, one after the other

def port_25():
    finds("smtp_out", "unknown", "no address", "no provider can be found")
    for domain in ("gmail.com", "outlook.com", "gmx.net"):
        set_name(domain, "MX", "mx." + domain)
        set_name("mx." + domain, "A", OTHER)
    finds("smtp_out", "wrong", "Connection refused", "nobody there")
    s = inside(bound, socket.SOCK_STREAM, OTHER, 25)
    finds("smtp_out", "ok", "mx.g", "a provider's MX")
    run("ip", "netns", "exec", NS, "nft", "-f", "-", input="table inet t { chain o { type filter hook output priority 0; "
        'tcp dport 25 meta skuid != "mailadm-send" drop; }; }')
    finds("smtp_out", "ok", "answers", "where the firewall lets out the sending user alone")
    run("ip", "netns", "exec", NS, "nft", "-f", "-", input="flush ruleset\ntable inet t { chain o { type filter hook output priority 0; tcp dport 25 drop; }; }")
    hits = finds("smtp_out", "wrong", "", "blocked by the provider")
    like(hits[0]["seen"] if hits else "", "none of 3 hosts", "all were tried")
    run("ip", "netns", "exec", NS, "nft", "flush", "ruleset")
    finds("smtp_out", "ok", OTHER, "--smtp-probe ADDRESS@PORT", "--smtp-probe", OTHER + "@25")
    s.close()


def names():
    reverse = "10.100.51.198."
    set_name("2.0.0.127.bl.test", "A", "127.0.0.2")  # the list's test point: it answers
    set_name(reverse + "bl.test", "A", "127.0.0.4")
    set_name("mail.example.org", "A", OTHER)
    finds("ptr", "wrong", "no reverse name", "no PTR", only="names")
    finds("address", "wrong", "", "host.name leads elsewhere", only="names")
    finds("block-list", "wrong", "lists it (127.0.0.4)", "listed", only="names")
    set_name(reverse + "in-addr.arpa", "PTR", "198-51-100-10.dyn.provider.test")
    set_name(reverse + "bl.test", "A", "127.255.255.254")
    finds("ptr", "wrong", "dyn.provider.test", "another name", only="names")
    finds("dynamic", "warning", "out of a pool", "a pool's name", only="names")
    finds("block-list", "unknown", "", "a list that refuses the resolver", only="names")
    set_name(reverse + "in-addr.arpa", "PTR", "mail.example.org")
    finds("ptr", "wrong", "does not lead back", "no way back", only="names")
    set_name("mail.example.org", "A", HOST)
    del NAMES[(reverse + "bl.test", TYPES["A"])]
    status, rows, _ = doctor("--only", "names")
    ok(status == 0 and {r["check"]: r["state"] for r in rows} == {"address": "ok", "ptr": "ok", "block-list": "ok"}, "names: all is well") or diag(rows)
    NAMES["silent"] = True
    status, rows, took = doctor("--only", "names", "--timeout", "2")
    ok(status == 0 and {r["state"] for r in rows} == {"unknown"} and took < 6,
       f"a name server that is silent: unknown, never wrong, within its time ({took:.1f} s)") or diag(rows)
    NAMES["silent"] = False


def registrations():
    def at(days):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * 86400))
    status, rows, _ = doctor("--only", "registration")
    is_([r["state"] for r in rows], ["unknown", "unknown"], "registration: domains that no registry knows are unknown")
    DATES["example.net"] = (at(400), ["active"])
    for date, status, state, part in ((at(300), ["active"], "ok", "until"), (at(20), [], "warning", "days"), (at(3), [], "wrong", "days"),
                                      (at(-3), [], "wrong", "ended on"), (at(300), ["client hold"], "wrong", "client hold"), ("", [], "unknown", "no JSON")):
        DATES["example.org"] = (date, status)
        finds("registration", state, part, f"{date[:10]} {status}", subject="example.org")
    finds("registration", "ok", "until", "a name below a registered one", subject="example.net")
    DATES["sub.example.net"] = 429
    status, rows, _ = doctor("--only", "registration")
    ok([(r["subject"], r["state"]) for r in rows][1:] == [("sub.example.net", "unknown")] and "HTTP 429" in rows[1]["seen"],
       "a registry that is asked too much: unknown, and no other name is asked for") or diag(rows)
    del DATES["sub.example.net"]
    global SLOW
    DATES["example.org"] = (at(3), [])
    SLOW = 1.7
    status, rows, took = doctor("--only", "registration", "--timeout", "3")
    ok(status == 1 and [(r["subject"], r["state"]) for r in rows] == [("example.org", "wrong"), ("others", "unknown")] and took < 4,
       f"a slow registry: what it said in time is told, the rest is unknown ({took:.1f} s)") or diag(rows)
    SLOW = 0


def certificate(cn, days, ca=False):
    tls = WORK + "/h/state/tls"
    os.makedirs(tls, exist_ok=True)
    conf = f"[req]\ndistinguished_name=d\nprompt=no\n[d]\nCN={cn}\n[v]\nsubjectAltName=DNS:{cn}\n"
    with open(WORK + "/req.conf", "w") as f:
        f.write(conf)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", "-config", WORK + "/req.conf", *key, "-keyout", tls + "/key.pem", "-out", WORK + "/req.pem")
    sign = ["-signkey", tls + "/key.pem"]
    if ca:
        run("openssl", "req", "-x509", "-subj", "/CN=Nobody's CA", *key, "-keyout", WORK + "/ca.key", "-out", WORK + "/ca.pem", "-days", "30")
        sign = ["-CA", WORK + "/ca.pem", "-CAkey", WORK + "/ca.key", "-CAcreateserial"]
    run("openssl", "x509", "-req", "-in", WORK + "/req.pem", *sign, "-days", str(days), "-extfile", WORK + "/req.conf", "-extensions", "v",
        "-out", tls + "/cert.pem")


def certificates():
    finds("certificate", "ok", "valid until", "the self-signed one that serve made")
    finds("chain", "warning", "self-signed", "self-signed", only="certificate")
    status, rows, _ = doctor("--only", "served")
    ok(status == 0 and len(rows) >= 7 and {r["state"] for r in rows} == {"ok"}, f"served: {len(rows)} listeners show it, with STARTTLS too") or diag(rows)
    finds("served", "unknown", "only root", "asked by somebody else", before=["setpriv", "--reuid=65534", "--clear-groups"])
    certificate("mail.example.org", 3650)
    finds("served", "wrong", "another certificate", "a new file that the host has not read")
    certificate("other.example.org", 3650)
    finds("names", "wrong", "not for mail.example.org", "another name", only="certificate")
    run("ip", "netns", "exec", NS, MAILADM, "-c", CONF, "reload", check=False)
    finds("served", "wrong", "", "and served")
    certificate("mail.example.org", 10)
    finds("certificate", "warning", "expires on", "ten days left")
    finds("certificate", "wrong", "expired on", "eleven days later", env=shifted(11 * 86400))
    certificate("mail.example.org", 60, ca=True)
    finds("chain", "wrong", "", "a CA that nobody trusts", only="certificate")
    os.rename(WORK + "/h/state/tls/key.pem", WORK + "/key.old")
    run("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", WORK + "/h/state/tls/key.pem")
    finds("key", "wrong", "not the key", "another key", only="certificate")
    with open(WORK + "/h/state/tls/key.pem", "w") as f:
        f.write("garbage")
    finds("key", "wrong", "no PEM key", "no key at all", only="certificate")
    with open(WORK + "/h/state/tls/cert.pem", "w") as f:
        f.write("garbage")
    finds("certificate", "wrong", "no PEM certificate", "no certificate at all")
    shutil.rmtree(WORK + "/h/state/tls")


def addresses():
    finds("interface", "ok", "fixed", "the machine's own")
    write_site(host="203.0.113.7")
    finds("interface", "wrong", "not an address of this machine", "not the machine's")
    write_site(public="192.168.1.1")
    finds("interface", "wrong", "a private address", "a private one as the public one")
    write_site(public="203.0.113.7")
    finds("interface", "ok", "behind NAT", "NAT that the site knows of")
    run("ip", "-n", NS, "addr", "change", HOST + "/24", "dev", "eth0", "valid_lft", "1000", "preferred_lft", "1000")
    write_site()
    finds("interface", "warning", "may change", "from DHCP")
    run("ip", "-n", NS, "addr", "change", HOST + "/24", "dev", "eth0", "valid_lft", "forever", "preferred_lft", "forever")


def disks():
    small = WORK + "/h/small"
    os.makedirs(small, exist_ok=True)
    write_site('limits = { disk_reserve = "4M"; };\n')
    text = open(CONF).read().replace('state_dir = "state"', 'state_dir = "small"')
    conf = WORK + "/h/small.conf"
    with open(conf, "w") as f:
        f.write(text)

    def on(options, then=":"):
        return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} none {small} && {then}; exec "$@"', "sh"]
    finds("disk", "ok", "left", "room enough", before=on("size=64m"), conf=conf, subject="small")
    finds("disk", "wrong", "limits.disk_reserve", "full", before=on("size=8m", f"head -c 7m /dev/zero >{small}/x"), conf=conf)
    finds("disk", "warning", "left of", "nearly full", before=on("size=8m", f"head -c 2m /dev/zero >{small}/x"), conf=conf)
    finds("inodes", "wrong", "inodes left", "no inodes", only="disk", before=on("size=64m,nr_inodes=100", f"for i in $(seq 98); do :>{small}/$i; done"), conf=conf)
    finds("disk", "wrong", "mounted read-only", "read-only", before=on("size=64m", f"mount -o remount,ro {small}"), conf=conf)
    finds("latency", "wrong", "a write failed", "a write that fails", before=on("size=8m", f"head -c 9m /dev/zero >{small}/x 2>/dev/null"), conf=conf)
    finds("latency", "ok", "is safe after", "a quick one", before=on("size=8m"), conf=conf)
    write_site()


def machine():
    finds("ports", "ok", "nobody else", "only the host listens")
    s = inside(bound, socket.SOCK_STREAM, OTHER, 25)
    finds("ports", "warning", "listens there too", "another program beside the host", subject="25")
    s.close()
    finds("reboot", "warning", "asks for it", "an update that wants a restart",
          before=["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && : >/run/reboot-required; exec "$@"', "sh"])
    finds("reboot", "ok", "nothing waits", "nothing was updated",
          before=["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /lib/modules; mkdir -p /lib/modules/$(uname -r); exec "$@"', "sh"])
    shutil.copy(BIN + "/mailsvc", BIN + "/new")
    os.rename(BIN + "/new", BIN + "/mailsvc")
    finds("reboot", "warning", "has been updated since", "the host's program was replaced", subject="mailsvc")
    with open("/etc/passwd") as f, open(WORK + "/passwd", "w") as out:
        out.writelines(line for line in f if not line.startswith("mailadm-smtp:"))
    finds("users", "ok", "its own", "all are there")
    finds("users", "wrong", "no such user", "one is missing", subject="mailadm-smtp",
          before=["unshare", "-m", "sh", "-c", f'mount --bind {WORK}/passwd /etc/passwd; exec "$@"', "sh"])
    finds("clock", "unknown", "ended early", "a check that dies without a word", env={"LD_PRELOAD": WORK + "/dies.so"})
    status, rows, _ = doctor("--only", "clock", "--only", "memory", "--only", "kernel")
    is_(sorted(r["check"] for r in rows), ["clock", "kernel", "memory"], "clock, kernel and memory have their rows")


def queued():
    finds("queue", "ok", "0 messages", "an empty queue")
    set_name("elsewhere.test", "MX", "mx.gmail.com")
    r = run("ip", "netns", "exec", NS, MAILADM, "-c", CONF, "sendmail", "someone@elsewhere.test", input="Subject: x\n\nx\n", check=False)
    is_(r.returncode, 0, "a message to a host that is not there: " + r.stderr)
    wait_until(lambda: "event=deferred" in open(WORK + "/log").read(), "the first try")
    finds("queue", "ok", "1 messages", "it has just come")
    finds("queue", "warning", "the oldest for 7 hours", "seven hours later", env=shifted(7 * 3600 + 60))


def backups():
    finds("backup", "warning", "names no backup", "no backup")
    write_site(f'backup = ( {{ name = "nightly"; repository = "{WORK}/repository"; }} );\n')
    finds("backup", "wrong", "cannot be listed", "never run")
    if shutil.which("restic") is None:
        return
    r = run("ip", "netns", "exec", NS, MAILADM, "-c", CONF, "backup", "run", "nightly", check=False)
    is_(r.returncode, 0, "backup run: " + r.stderr)
    finds("backup", "ok", "old", "a fresh one")
    finds("backup", "wrong", "2 days old", "two days later", env=shifted(2 * 86400 + 3600))
    write_site()


def stopped():
    finds("served", "wrong", "does not run", "a host that does not run")
    finds("queue", "unknown", "does not run", "nobody to ask")
    s = inside(bound, socket.SOCK_STREAM, HOST, 25)
    hits = finds("ports", "wrong", "listens there", "another server on port 25", subject="25")
    like(hits[0]["seen"] if hits else "", "python", "by name")
    s.close()
    finds("files", "warning", "1024 open files", "few files", before=["prlimit", "--nofile=1024:1024"])


def told():
    """doctor --alert: what is wrong, through the same sender as status --alert, in a state of its own."""
    drop = WORK + "/drop"
    os.makedirs(drop)
    os.chmod(drop, 0o777)
    write_site(f'admin = {{ command = "{{ id -un; cat; }} >>{drop}/told"; }};\n', host="203.0.113.7")
    argv = ["ip", "netns", "exec", NS, MAILADM, "-c", CONF, "doctor", "--alert", "--only", "interface", "--only", "clock"]
    r = run(*argv, check=False)
    ok(r.returncode == 1 and r.stdout == "", "doctor --alert: exit 1, and nothing on stdout: " + r.stderr.strip())
    text = open(drop + "/told").read()
    like(text, "mailadm-alert\n[mail.example.org] 1 thing is wrong\n\nNew:\n  interface 203.0.113.7: host.ipv4 is not an address of this machine; ",
         "admin.command is told what is wrong, not the warnings, and runs as a user without rights")
    run(*argv, check=False)
    is_(open(drop + "/told").read(), text, "once")
    run("ip", "netns", "exec", NS, MAILADM, "-c", CONF, "doctor", "--alert", "--only", "clock", check=False)
    is_(open(drop + "/told").read(), text, "what a run did not look at is not called well again")
    write_site(f'admin = {{ command = "{{ id -un; cat; }} >>{drop}/told"; }};\n')
    is_(run(*argv, check=False).returncode, 0, "and when it is well again")
    like(open(drop + "/told").read(), "all is well again", "that is told")
    argv = argv[:-4] + ["--only", "names"]
    set_name("10.100.51.198.bl.test", "A", "127.0.0.4")
    run(*argv, check=False)
    text = open(drop + "/told").read()
    like(text, "New:\n  block-list ", "a block list is told")
    NAMES["silent"] = True
    run(*argv, "--timeout", "2", check=False)
    is_(open(drop + "/told").read(), text, "what could not be looked at is not called well again")
    NAMES["silent"] = False
    del NAMES[("10.100.51.198.bl.test", TYPES["A"])]
    run(*argv, check=False)
    like(open(drop + "/told").read()[len(text):], "all is well again", "an answer is")
    far = "/" + "é" * 100
    write_site(f'admin = {{ command = "cat >>{drop}/told"; }};\ntls = {{ certificate = "{far * 5}"; key = "{far}"; }};\n')
    run(*argv[:-1], "certificate", check=False)
    text = open(drop + "/told", encoding="utf-8").read()
    ok(text.count("é") > 400 and max(len(line.encode()) for line in text.splitlines()) < 998, "long lines are folded, between characters")
    write_site()


def command():
    r = run(MAILADM, "-c", CONF, "doctor", "--only", "nothing", check=False)
    ok(r.returncode == 2 and "there is no check nothing" in r.stderr, "an unknown check: exit 2")
    r = run(MAILADM, "-c", CONF, "doctor", "--timeout", "0", check=False)
    is_(r.returncode, 2, "--timeout 0: exit 2")
    status, rows, took = doctor("--offline")
    seen = {r["check"] for r in rows}
    ok(not seen & {"ptr", "smtp_out", "block-list", "registration", "backup"} and {"disk", "users"} <= seen, "--offline asks nobody")
    ok(all(set(r) == {"check", "subject", "state", "seen", "remedy"} for r in rows), "--json has five keys a row")
    r = run("ip", "netns", "exec", NS, MAILADM, "-c", CONF, "doctor", "--only", "users", check=False)
    ok(r.stdout.startswith("users\t\tok\t"), "in a pipe a row is a line of fields: " + r.stdout.strip())


try:
    network()
    name_server()
    registry()
    shim()
    run(MAILADM, "init", WORK + "/h", "--hostname", "mail.example.org", "--domain", "example.org", "--ipv4", HOST, "--account", "alice@example.org")
    write_site()
    os.chmod(WORK + "/h", 0o711)
    start_host()
    port_25()
    names()
    registrations()
    queued()
    machine()
    certificates()
    addresses()
    stop_host()
    disks()
    backups()
    stopped()
    told()
    command()
finally:
    stop_host()
    run("ip", "netns", "del", NS, check=False)
    if not os.environ.get("KEEP"):
        shutil.rmtree(WORK, ignore_errors=True)
done()
