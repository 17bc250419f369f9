#!/usr/bin/env python3
"""The sandbox of each role, proved from inside the running process: gdb makes the very system call that a taken-over role would try.
And what imap reads while nobody is logged in: strace sees every byte."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, ok, skip_all, wait_until  # noqa: E402

for tool in ("gdb", "strace"):
    if shutil.which(tool) is None:
        skip_all(f"{tool} is missing")

EACCES, EPERM = 13, 1
AF_UNIX, AF_INET, SOCK_STREAM = 1, 2, 1
ALICE = "alice@example.org"


def pid_of(host, role):
    found = [p for name, ps in host.children().items() if name.split(":")[0] == role for p in ps]
    if not found:
        raise RuntimeError(f"no process of role {role}: {host.children()}")
    return found[0]


def call(pid, expression):
    """Evaluates a C call in the process; returns (its value, errno)."""
    r = subprocess.run(["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "set print thread-events off",
                        "-ex", f"print (long){expression}", "-ex", "print *((int*(*)(void))__errno_location)()"],
                       capture_output=True, text=True, timeout=60)
    values = re.findall(r"^\$\d+ = (-?\d+)", r.stdout, re.M)
    if len(values) != 2:
        diag(r.stdout[-1500:] + r.stderr[-1500:])
        return None, None
    return int(values[0]), int(values[1])


def refused(host, role, what, expression):
    value, error = call(pid_of(host, role), expression)
    if not ok(value == -1 and error in (EACCES, EPERM), f"{role} cannot {what}"):
        diag(f"value {value}, errno {error}")


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def open_paths(pid):
    out = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return out


def rights(host):
    roles = ("auth", "hash", "store", "login", "imap", "smtp", "resolver", "keys", "send")
    for role in roles:
        pid = pid_of(host, role)
        s = status_of(pid)
        is_((s["Seccomp"], s["NoNewPrivs"], int(s["CapEff"], 16)), ("2", "1", 0), f"{role} has a seccomp filter, no new rights, no capability")
        if os.geteuid() == 0:
            ok(s["Uid"].split()[0] != "0" and len(set(s["Uid"].split())) == 1, f"{role} runs as its own user ({s['Uid'].split()[0]})")
    if os.geteuid() == 0:
        uids = {role: status_of(pid_of(host, role))["Uid"].split()[0] for role in roles if role != "hash"}
        is_(len(set(uids.values())), len(uids), "no two roles share a user")


def refusals(host):
    state = host.dir + "/state"
    opens = '((int(*)(const char*,int,int))open)("%s",%d,0600)'
    sockets = "((int(*)(int,int,int))socket)(%d,%d,0)"
    for role in ("smtp", "login", "imap", "send", "keys", "resolver", "hash", "store"):
        refused(host, role, "open the credentials", opens % (state + "/credentials", 0))
    for role in ("smtp", "login", "send", "keys", "resolver", "auth", "hash"):
        refused(host, role, "open the store's index", opens % (state + "/store/index/data.mdb", 0))
        refused(host, role, "open the store's log", opens % (state + "/store/log/0000000001.log", 0))
    for role in ("smtp", "login", "imap", "send", "resolver", "store", "auth"):
        refused(host, role, "open a DKIM key", opens % (state + "/keys/example.org.mail.key", 0))
    for role in ("imap", "smtp", "login", "send", "keys", "auth", "resolver"):
        refused(host, role, "create a file", opens % ("/tmp/mailadm-escape", os.O_CREAT | os.O_WRONLY))
    refused(host, "imap", "write the store", opens % (state + "/store/index/data.mdb", os.O_RDWR))
    for role in ("store", "imap", "keys", "auth", "hash", "smtp", "login"):
        refused(host, role, "make a socket (IPv4)", sockets % (AF_INET, SOCK_STREAM))
    for role in ("store", "imap", "keys", "auth", "hash", "smtp", "send", "resolver"):
        refused(host, role, "make a socket (unix)", sockets % (AF_UNIX, SOCK_STREAM))
    for role in ("smtp", "imap", "login"):
        paths = open_paths(pid_of(host, role))
        bad = [p for p in paths if "credentials" in p or "/keys/" in p or (role != "imap" and "/store" in p)]
        is_(bad, [], f"{role} holds no descriptor that it should not have")
    for role in ("send", "resolver"):
        value, _ = call(pid_of(host, role), sockets % (AF_INET, SOCK_STREAM))
        ok(value is not None and value >= 0, f"{role}, which may connect out, can make a socket: the test can tell the difference")


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
