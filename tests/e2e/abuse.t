#!/usr/bin/env python3
"""Hostile clients: random and truncated lines, literals and headers over the limits, dribblers, thousands that say nothing.
Clear errors, bounded memory, and others are still served."""
import os
import random
import resource
import select
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, done, is_, like, ok  # noqa: E402

ALICE = "alice@example.org"
LINES = 10000
random.seed(20261124)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

WORDS = {
    "smtp": b"EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH FROM: TO: <> <a@b> <alice@example.org> SIZE= BODY= SMTPUTF8 LAST 10 PLAIN".split(),
    "imap": b'a b LOGIN SELECT FETCH STORE SEARCH LIST STATUS APPEND {10} {99999999999} {5+} "x" ( ) * 1:* BODY[ ] <0.1> \\Seen UID IDLE AUTHENTICATE PLAIN = ENABLE'.split(),
    "pop3": b"USER PASS STAT LIST RETR DELE TOP UIDL CAPA AUTH PLAIN STLS RSET NOOP 1 0 99999999999 -1 = alice@example.org".split(),
}


def random_line(service):
    kind = random.random()
    if kind < 0.5:
        line = b" ".join(random.choice(WORDS[service]) for _ in range(random.randrange(1, 8)))
    elif kind < 0.8:
        line = bytes(random.randrange(256) for _ in range(random.randrange(0, 200)))
    else:
        line = random.choice(WORDS[service]) + bytes([random.choice(b"\0\r\n\t\x7f\xff (\"{")]) * random.randrange(1, 300)
    if random.random() < 0.2:
        line = line[:random.randrange(len(line) + 1)]
    return line + random.choice([b"\r\n"] * 6 + [b"\n", b"\r", b""])


def rss(host):
    """KiB of all role processes together."""
    total = 0
    for pids in host.children().values():
        for pid in pids:
            try:
                with open(f"/proc/{pid}/status") as f:
                    total += next((int(line.split()[1]) for line in f if line.startswith("RssAnon")), 0)
            except OSError:
                pass
    return total


def served(host, what):
    start = time.monotonic()
    host.deliver(ALICE, b"Subject: still here\r\n\r\nyes\r\n")
    m = host.imap(ALICE)
    is_(m.select("INBOX")[0], "OK", f"{what}: others are served")
    m.logout()
    took = time.monotonic() - start
    ok(took < 10, f"{what}: within 10 s ({took:.1f})")


def drain(s):
    """What has come so far; b"" once the peer has closed; None if nothing is there."""
    try:
        return s.recv(65536)
    except (BlockingIOError, TimeoutError):
        return None
    except OSError:
        return b""


def throw_lines(host, service, logged_in):
    sent = connections = 0
    pids = {p for ps in host.children().values() for p in ps}
    while sent < LINES:
        s = host.connect(service)
        connections += 1
        s.settimeout(5)
        s.recv(4096)
        if logged_in and service == "imap":
            s.sendall(b"l LOGIN %s \"%s\"\r\n" % (ALICE.encode(), host.accounts[ALICE].encode()))
            while b"l OK" not in (s.recv(65536) or b"l OK"):
                pass
            s.sendall(b"s SELECT INBOX\r\n")
        s.setblocking(False)
        for _ in range(200):
            try:
                s.send(random_line(service))
            except BlockingIOError:
                if not select.select([], [s], [], 5)[1]:
                    break
            except OSError:
                break
            sent += 1
            if drain(s) == b"":
                break
        s.close()
    after = {p for ps in host.children().values() for p in ps}
    is_(pids - after, set(), f"{service}{' logged in' if logged_in else ''}: {sent} random lines over {connections} connections kill no process")


def over_the_limits(host):
    def dialogue(service, sends, tls=False):
        s = host.connect_tls(service) if tls else host.connect(service)
        s.settimeout(20)
        answer = s.recv(4096)
        for data in sends:
            try:
                s.sendall(data)
                while True:
                    more = s.recv(65536)
                    answer += more
                    if not more or answer.endswith(b"\n"):
                        break
            except OSError:
                break
        s.close()
        return answer.decode(errors="replace")
    login = b"l LOGIN %s \"%s\"\r\n" % (ALICE.encode(), host.accounts[ALICE].encode())
    like(dialogue("imap", [b"a LOGIN {100000}\r\n"]), "a ", "imap: a literal over the limit before login gets a tagged reply")
    answer = dialogue("imap", [login, b"a APPEND INBOX {99999999999999}\r\n"])
    ok("a NO" in answer or "a BAD" in answer, "imap: APPEND beyond message_size is refused before it is sent: " + answer[-120:])
    answer = dialogue("imap", [login, b"a SEARCH " + b"(" * 5000 + b"\r\n"])
    like(answer, "a BAD", "imap: a search nested 5,000 deep is refused")
    answer = dialogue("imap", [b"a " + b"x" * 200000 + b"\r\n"])
    ok("BAD" in answer or "BYE" in answer, "imap: a line of 200,000 bytes is refused: " + answer[-120:])
    answer = dialogue("smtp", [b"EHLO x\r\n", b"MAIL FROM:<" + b"a" * 100000 + b"@b>\r\n"])
    ok(" 5" in answer or "\n5" in answer, "smtp: a command of 100,000 bytes is refused: " + answer[-120:])
    answer = dialogue("smtp", [b"EHLO x\r\n", b"MAIL FROM:<a@b.example> SIZE=99999999999\r\n"])
    like(answer, "552", "smtp: SIZE beyond the limit is refused")
    header = b"X-Long: " + b"y" * 70 + b"\r\n"
    answer = dialogue("smtp", [b"EHLO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<%s>\r\n" % ALICE.encode(), b"DATA\r\n",
                               header * 30000 + b"\r\nbody\r\n.\r\n"])
    ok("\n55" in answer, "smtp: two megabytes of header are refused: " + answer[-120:])
    answer = dialogue("pop3", [b"USER " + b"u" * 100000 + b"\r\n"])
    like(answer, "-ERR", "pop3: a line of 100,000 bytes is refused")


def silent(host):
    before = rss(host)
    held = []
    for i in range(2000):
        held.append(host.connect(("smtp", "imap", "pop3", "imaps")[i % 4]))
    served(host, "2,000 silent connections")
    grown = rss(host) - before
    ok(grown < 2000 * 40, f"2,000 silent connections cost under 40 KiB each ({grown} KiB in all)")
    for s in held:
        s.close()


def dribble(host):
    """One byte a second for ever: each is closed in bounded time while others are served."""
    held = []
    for service in ("smtp", "imap", "pop3", "submission") * 25:
        s = host.connect(service)
        s.setblocking(False)
        held.append(s)
    served(host, "100 dribblers")
    start = time.monotonic()
    alive = set(held)
    while alive and time.monotonic() - start < 100:
        for s in list(alive):
            try:
                s.send(b"N")
            except OSError:
                alive.discard(s)
                continue
            data = drain(s)
            if data == b"":
                alive.discard(s)
        select.select([], [], [], 1)
    is_(len(alive), 0, f"dribblers are closed in bounded time ({time.monotonic() - start:.0f} s)")
    for s in held:
        s.close()


with Host(accounts=[ALICE], groups={"limits": "connections_per_address = 5000; idle = \"10s\";"}) as host:
    served(host, "at first")
    base = rss(host)
    for service in ("smtp", "imap", "pop3"):
        throw_lines(host, service, False)
    throw_lines(host, "imap", True)
    served(host, "after random lines")
    over_the_limits(host)
    silent(host)
    dribble(host)
    served(host, "at the end")
    grown = rss(host) - base
    ok(grown < 200 * 1024, f"all of it grew the processes by less than 200 MiB ({grown} KiB)")
    is_(host.cli("status", check=False).returncode, 0, "the host is all up")
    is_(host.cli("store", "verify", check=False).returncode, 0, "store verify finds nothing")
done()
