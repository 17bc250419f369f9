#!/usr/bin/env python3
"""The sandbox of each role, proved from inside the running process: tests/tools/syscall_in makes the very
system call that a taken-over role would try.
And what imap reads while nobody is logged in: strace sees every byte."""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import BUILD, Host, diag, done, is_, ok, skip_all, wait_until  # noqa: E402

if os.geteuid() != 0:
    skip_all("the roles cannot be traced (PR_SET_DUMPABLE), but by root")
if shutil.which("strace") is None or os.uname().machine != "x86_64":
    skip_all("this needs strace and x86-64")

# Of the system call table (x86-64), open(2), socket(2).
OPENAT, SOCKET, CLOSE, ACCEPT4, AT_FDCWD = 257, 41, 3, 288, -100
CAP_NET_ADMIN = 1 << 12
REFUSED = ("trapped", "-13", "-1")  # SIGSYS, EACCES, EPERM
AF_UNIX, AF_INET, SOCK_STREAM = 1, 2, 1
AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER = 16, 3, 12
ALICE = "alice@example.org"


def pid_of(host, role):
    found = [p for name, ps in host.children().items() if name.split(":")[0] == role for p in ps]
    if not found:
        raise RuntimeError(f"no process of role {role}: {host.children()}")
    return found[0]


def call(pid, number, *args):
    """Makes the system call in the process; the kernel's answer as text."""
    r = subprocess.run([os.path.join(BUILD, "tests/tools/syscall_in"), str(pid), str(number)] + [str(a) for a in args],
                       capture_output=True, text=True, timeout=60)
    if r.stderr:
        diag(r.stderr)
    return r.stdout.strip()


def refused(host, role, what, number, *args):
    answer = call(pid_of(host, role), number, *args)
    if not ok(answer in REFUSED, f"{role} cannot {what}"):
        diag(f"the kernel answered {answer!r}")


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def sandbox_of(host, role):
    return [r["sandbox"] for r in json.loads(host.cli("status", "--json", check=False).stdout)["roles"] if r["role"] == role][0]


def open_paths(pid):
    out = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return out


def rights(host):
    roles = ("auth", "hash", "store", "login", "imap", "smtp", "resolver", "keys", "send", "guard", "fts", "fetch")
    for role in roles:
        pid = pid_of(host, role)
        s = status_of(pid)
        may = CAP_NET_ADMIN if role == "guard" and "cap-net-admin" in sandbox_of(host, role) else 0
        is_((s["Seccomp"], s["NoNewPrivs"]), ("2", "1"), f"{role} has a seccomp filter and no new rights")
        is_([int(s[set], 16) for set in ("CapEff", "CapPrm", "CapInh", "CapAmb")], [may, may, 0, 0],
            f"{role} has " + ("CAP_NET_ADMIN alone" if may else "no capability"))
        ok(s["Uid"].split()[0] != "0" and len(set(s["Uid"].split())) == 1, f"{role} runs as its own user ({s['Uid'].split()[0]})")
    uids = {role: status_of(pid_of(host, role))["Uid"].split()[0] for role in roles if role != "hash"}
    is_(len(set(uids.values())), len(uids), "no two roles share a user")


def refusals(host):
    state = host.dir + "/state"

    def cannot_open(roles, what, path, flags=0):
        for role in roles:
            refused(host, role, what, OPENAT, AT_FDCWD, "=" + path, flags, 0o600)
    cannot_open(("smtp", "login", "imap", "send", "keys", "resolver", "hash", "store", "guard", "fts", "fetch"), "open the credentials", state + "/credentials")
    outside = ("smtp", "login", "send", "keys", "resolver", "auth", "hash", "guard", "fetch")
    cannot_open(outside, "open the store's index", state + "/store/index/data.mdb")
    cannot_open(outside, "open the store's log", state + "/store/log/0000000001.log")
    cannot_open(("smtp", "login", "imap", "send", "resolver", "store", "auth", "guard", "fts", "fetch"), "open a DKIM key", state + "/keys/example.org.mail.key")
    cannot_open(("imap", "smtp", "login", "send", "keys", "auth", "resolver", "store", "guard", "fts", "fetch"), "create a file elsewhere", "/tmp/mailadm-escape",
                os.O_CREAT | os.O_WRONLY)
    cannot_open(("imap", "fts"), "write the store", state + "/store/index/data.mdb", os.O_RDWR)
    for role in ("store", "imap", "keys", "auth", "hash", "smtp", "login", "guard", "fts"):
        refused(host, role, "make a socket (IPv4)", SOCKET, AF_INET, SOCK_STREAM, 0)
    for role in ("store", "imap", "keys", "auth", "hash", "smtp", "send", "resolver", "guard", "fts", "fetch"):
        refused(host, role, "make a socket (unix)", SOCKET, AF_UNIX, SOCK_STREAM, 0)
    for role in ("send", "fetch", "resolver"):
        refused(host, role, "accept a connection", ACCEPT4, 0, 0, 0, 0)
    refused(host, "guard", "make another netlink socket", SOCKET, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)
    for role in ("smtp", "imap", "login"):
        paths = open_paths(pid_of(host, role))
        bad = [p for p in paths if "credentials" in p or "/keys/" in p or (role != "imap" and "/store" in p)]
        is_(bad, [], f"{role} holds no descriptor that it should not have")
    # The same calls where they are allowed: the test can tell the difference.
    for role in ("send", "resolver", "fetch"):
        answer = call(pid_of(host, role), SOCKET, AF_INET, SOCK_STREAM, 0)
        ok(answer.isdigit(), f"{role}, which may connect out, can make a socket ({answer})")
        call(pid_of(host, role), CLOSE, answer)


def nothing_before_login(host):
    """What strangers send never reaches imap; what a logged-in user sends does."""
    pids = [p for name, ps in host.children().items() if name.split(":")[0] == "imap" for p in ps]
    trace = host.dir + "/trace"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-s", "65536", "-e", "trace=read,readv,recvfrom,recvmsg", "-o", trace] +
                              [a for p in pids for a in ("-p", str(p))], stderr=subprocess.PIPE)

    def traced():
        return all(status_of(p).get("TracerPid", "0") != "0" for p in pids)
    wait_until(traced, "strace attaches")
    for data in (b"a NOOP UNAUTH-MARK\r\n", b"UNAUTH-MARK {5}\r\n", b'a LOGIN "UNAUTH-MARK" "UNAUTH-MARK"\r\n'):
        s = host.connect_tls("imaps")
        s.recv(4096)
        s.sendall(data)
        s.recv(4096)
        s.close()
    p = host.connect_tls("pop3s")
    p.recv(4096)
    p.sendall(b"USER UNAUTH-MARK\r\nPASS UNAUTH-MARK\r\n")
    p.recv(4096)
    p.close()
    m = host.imap(ALICE)
    m.select('"AUTH-MARK"')
    m.logout()
    tracer.terminate()
    tracer.wait(20)
    with open(trace, errors="replace") as f:
        seen = f.read()
    ok("UNAUTH-MARK" not in seen, "imap reads no byte of what strangers send")
    ok("AUTH-MARK" in seen, "and does read what a user sends after login: the trace works")
    ok(host.accounts[ALICE] not in seen, "imap never sees a password")


with Host(accounts=[ALICE]) as host:
    host.imap(ALICE).logout()
    rights(host)
    refusals(host)
    nothing_before_login(host)
    is_(host.cli("status", check=False).returncode, 0, "the host is still all up")
done()
