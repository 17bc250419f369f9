"""IMAP and POP3 beside Dovecot with Debian's defaults: one client, a warm mailbox, medians.

The mailbox: MESSAGES messages of about 7,600 bytes with various senders, subjects, dates, threads and words; written as
a Maildir for Dovecot, by APPEND for us.  Changes are measured on a second, smaller one.  What is measured begins once the
full-text index, which follows behind, has all of it: how long that takes is a row of its own."""
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import time

from common import MESSAGES, PASSWORD, QUICK, SIZE, USER, Peer, cpu, driver, family, results
from host import Host

WORK_USER, POP_USER = "work@bench.example", "pop@bench.example"
LOGIN_USERS = [f"user{i}@bench.example" for i in range(20)]
RARE = "xylophonist"
# command, ratio that is asked for, how often it is run
READS = [
    ("SELECT INBOX", 1, 5),
    ("FETCH 1:* FLAGS", 5, 5),
    ("FETCH 1:* (ENVELOPE BODYSTRUCTURE)", 5, 5),
    ("FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]", 5, 5),
    ("FETCH 1:* BODY.PEEK[]", 4, 5),
    (f"SEARCH TEXT {RARE}", 20, 3),
    (f"SEARCH BODY {RARE}", 20, 3),
    ("SEARCH FROM p77@d27", 5, 5),
    ("SEARCH SINCE 1-Mar-2026", 5, 5),
    ("THREAD REFERENCES UTF-8 ALL", 5, 5),
    ("SORT (FROM) UTF-8 ALL", 5, 5),
    ("SORT (SUBJECT) UTF-8 ALL", 2, 5),
    ("SORT (DATE) UTF-8 ALL", 2, 5),
]
N = 2000 // QUICK
SET = 10000 // QUICK
# Run in this order in the mailbox of WORK_USER, which begins with SET messages, and a mailbox Copies.
CHANGES = [
    ("STORE, one by one", f"*{N} STORE %u +FLAGS (\\Flagged)", 1),
    ("STORE, piped", f"+{N} STORE %u +FLAGS (\\Answered)", 3),
    ("STORE, as a set", "STORE 1:* +FLAGS (\\Draft)", 5),
    ("COPY, one by one", f"*{N // 4} COPY %u Copies", 1),
    ("COPY, piped", f"+{N} COPY %u Copies", 5),
    ("COPY, as a set", "COPY 1:* Copies", 5),
    ("APPEND, one by one", f"*{N // 4} APPEND INBOX {{%s}}", 1),
    ("APPEND, piped", f"+{N} APPEND INBOX {{%s}}", 5),
    (None, "STORE 1:* +FLAGS.SILENT (\\Deleted)", None),
    ("EXPUNGE, one by one", f"*{N // 4} UID EXPUNGE %u", 1),
    ("EXPUNGE, piped", f"+{N} UID EXPUNGE %u", 5),
    ("EXPUNGE, as a set", "EXPUNGE", 5),
]


GROWTH = [int(n) for n in os.environ.get("GROWTH", "1000 10000 100000").split()]


def corpus(count, size=SIZE):
    """(internal date, message) of each, the same every time."""
    r = random.Random(4)
    words = ["".join(r.choice("bcdfgklmnprst") + r.choice("aeiou") for _ in range(r.randrange(1, 5))) for _ in range(3000)]
    lines = [" ".join(r.choice(words) for _ in range(10)) for _ in range(4000)]
    rare = set(r.sample(range(count), 5))
    begin = 1735689600  # 2025-01-01
    for i in range(count):
        when = begin + i * 700
        date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(when))
        parent = r.randrange(max(0, i - 200), i) if i and r.random() < 0.6 else None
        topic = i % 5000 if parent is None else parent % 5000
        head = (f"From: Person {i % 500} <p{i % 500}@d{i % 50}.example>\r\nTo: <{USER}>\r\n"
                f"Subject: {'Re: ' if parent is not None else ''}{lines[topic % 4000][:40]}\r\nDate: {date}\r\nMessage-ID: <m{i}@bench.example>\r\n")
        if parent is not None:
            head += f"In-Reply-To: <m{parent}@bench.example>\r\nReferences: <m{parent}@bench.example>\r\n"
        head += "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        body, have = [RARE] if i in rare else [], len(head)
        while have < size:
            line = lines[r.randrange(4000)]
            body.append(line)
            have += len(line) + 2
        yield when, (head + "\r\n".join(body) + "\r\n").encode()


def fill_maildir(peer, user, messages):
    base = f"{peer.dir}/mail/{user}"
    for folder in ("cur", "new", "tmp"):
        os.makedirs(f"{base}/{folder}")
    for i, (when, message) in enumerate(messages):
        physical = message.replace(b"\r\n", b"\n")
        path = f"{base}/cur/{when}.M{i:06d}P1.bench,S={len(physical)},W={len(message)}:2,"
        with open(path, "wb") as f:
            f.write(physical)
        os.utime(path, (when, when))
    subprocess.run(["chown", "-R", f"{peer.mail.pw_uid}:{peer.mail.pw_gid}", base], check=True)


def fill_append(port, user, messages):
    """APPEND, 50 on their way."""
    s = socket.create_connection(("127.0.0.1", port))
    replies = s.makefile("rb")

    def until(tag):
        while True:
            line = replies.readline()
            if line.startswith(tag + b" "):
                if not line.startswith(tag + b" OK"):
                    raise RuntimeError(line)
                return
            if not line:
                raise RuntimeError("connection lost")
    s.sendall(f"L LOGIN {user} {PASSWORD}\r\n".encode())
    until(b"L")
    waiting = 0
    for when, message in messages:
        date = time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(when))
        s.sendall(f'A APPEND INBOX "{date}" {{{len(message)}+}}\r\n'.encode() + message + b"\r\n")
        waiting += 1
        if waiting == 50:
            until(b"A")
            waiting -= 1
    for _ in range(waiting):
        until(b"A")
    s.close()


def reads(name, address, pids):
    for command, _, times in READS:
        seen = []
        driver("imap", address, USER, PASSWORD, "SELECT INBOX", command)  # warm
        before = cpu(pids())
        for _ in range(times):
            seen.append(driver("imap", address, USER, PASSWORD, "SELECT INBOX", command)[1])
        used = (cpu(pids()) - before) / times
        seconds = statistics.median(r["seconds"] for r in seen)
        results[f"{name} {command}"] = {"ms": seconds * 1000, "cpu_ms": used * 1000, "MB/s": seen[0]["bytes"] / seconds / 1e6}


def changes(name, address, pids):
    message = next(corpus(10))[1][:1000].decode()
    commands = [c.replace("{%s}", f"{{{len(message)}+}}\r\n{message}") for _, c, _ in CHANGES]
    driver("imap", address, WORK_USER, PASSWORD, "CREATE Copies")
    before = cpu(pids())
    for (label, _, _), r in zip(CHANGES, driver("imap", address, WORK_USER, PASSWORD, "SELECT INBOX", *commands)[1:]):
        if label:
            results[f"{name} {label}"] = {"ms": r["seconds"] * 1000}
    results[f"{name} all changes"] = {"cpu_ms": (cpu(pids()) - before) * 1000}


@contextlib.contextmanager
def one_cpu(pids):
    """The server and its client share a CPU: on two, a virtual machine's wait for the other to wake is longer than the work."""
    all_cpus = os.sched_getaffinity(0)

    def place(cpus):
        os.sched_setaffinity(0, cpus)
        for pid in family(pids):
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cpus)
    place({min(all_cpus)})
    try:
        yield
    finally:
        place(all_cpus)


def pop3(name, address, pids):
    driver("pop3", address, POP_USER, PASSWORD)
    for label, flags, where in POPS:
        with where(pids()):
            before = cpu(pids())
            seen = [driver("pop3", *flags, address, POP_USER, PASSWORD)[0] for _ in range(3)]
        results[f"{name} POP3 {label}"] = {"rate": seen[0]["count"] / statistics.median(r["seconds"] for r in seen),
                                           "cpu_ms": (cpu(pids()) - before) / 3 * 1000}


POPS = [("RETR, pipelined", ["-p"], contextlib.nullcontext), ("RETR, one by one", [], contextlib.nullcontext),
        ("RETR, one by one, on one CPU", [], one_cpu)]


def logins(name, plain, tls):
    for label, address, flags in (("plain", plain, []), ("TLS", tls, ["-t"])):
        driver("login", *flags, address, 2, PASSWORD, *LOGIN_USERS)
        results[f"{name} logins, {label}"] = driver("login", *flags, address, 6 // (2 if QUICK > 1 else 1), PASSWORD, *LOGIN_USERS)[0]


def indexed(host, messages):
    """Waits until the full-text index has as many."""
    while True:
        roles = json.loads(host.cli("status", "--json", check=False).stdout)["roles"]
        fts = [r for r in roles if r["role"] == "fts"][0]
        if fts.get("waiting") == 0 and fts.get("indexed", 0) >= messages:
            return
        time.sleep(0.2)


def measure_mailadm():
    accounts = {a: PASSWORD for a in [USER, WORK_USER, POP_USER] + LOGIN_USERS}
    host = Host(accounts=accounts, hostname="mail.bench.example", domains=["bench.example"],
                groups={"limits": "connections_per_address = 10000; connections = 10000;"})
    with host:
        def pids():
            return [host.process.pid]
        plain, tls, pop = (f"127.0.0.1:{host.port(s)}" for s in ("imap", "imaps", "pop3"))
        begun = time.monotonic()
        fill_append(host.port("imap"), USER, corpus(MESSAGES))
        results["mailadm filled"] = {"seconds": time.monotonic() - begun}
        fill_append(host.port("imap"), WORK_USER, corpus(SET))
        fill_append(host.port("imap"), POP_USER, corpus(5000 // QUICK))
        filled = time.monotonic()
        indexed(host, MESSAGES + SET + 5000 // QUICK)
        results["mailadm indexed"] = {"seconds": time.monotonic() - filled}
        reads("mailadm", plain, pids)
        changes("mailadm", plain, pids)
        pop3("mailadm", pop, pids)
        logins("mailadm", plain, tls)


def measure_peer():
    peer = Peer("auth_cache_size = 10M\n")
    peer.start()
    try:
        _, plain, tls, pop = (f"127.0.0.1:{p}" for p in peer.ports())
        fill_maildir(peer, USER, corpus(MESSAGES))
        fill_maildir(peer, WORK_USER, corpus(SET))
        fill_maildir(peer, POP_USER, corpus(5000 // QUICK))
        reads("peer", plain, peer.pids)
        changes("peer", plain, peer.pids)
        pop3("peer", pop, peer.pids)
        logins("peer", plain, tls)
    finally:
        peer.stop()


def grow():
    """The same commands on ever larger mailboxes of short messages: GROWTH="1000 10000 100000 1000000"."""
    with Host(accounts={f"n{n}@bench.example": PASSWORD for n in GROWTH}, hostname="mail.bench.example", domains=["bench.example"]) as host:
        for i, n in enumerate(GROWTH):
            user = f"n{n}@bench.example"
            fill_append(host.port("imap"), user, corpus(n, 600))
            indexed(host, sum(GROWTH[:i + 1]))
            commands = [c for c, _, _ in READS] + ["STORE 1:* +FLAGS (\\Flagged)", "STORE 1:* -FLAGS.SILENT (\\Flagged)"]
            for command in commands:
                driver("imap", f"127.0.0.1:{host.port('imap')}", user, PASSWORD, "SELECT INBOX", command)
                r = driver("imap", f"127.0.0.1:{host.port('imap')}", user, PASSWORD, "SELECT INBOX", command)
                results[f"growth {n} {command}"] = {"ms": r[1]["seconds"] * 1000}


def report_growth():
    commands = [k.split(" ", 2)[2] for k in results if k.startswith(f"growth {GROWTH[0]} ")]
    print(f"{'milliseconds, by messages in the mailbox':58}" + "".join(f"{n:>14,}" for n in GROWTH))
    for command in commands:
        print(f"{command[:58]:58}" + "".join(f"{results[f'growth {n} {command}']['ms']:14.2f}" for n in GROWTH))


def measure():
    measure_mailadm()
    measure_peer()


def row(key, field, asked):
    ours, theirs = results[f"mailadm {key}"].get(field), results[f"peer {key}"].get(field)
    value = ours / theirs if field == "rate" else theirs / ours if ours else float("inf")
    missed = "" if asked is None or value >= asked else "  MISSED"
    print(f"{key[:58]:58} {field:7} {ours:11.2f} {theirs:11.2f} {value:8.1f}x {'' if asked is None else asked!s:>4}{missed}")


def report():
    print(f"the full-text index was complete {results['mailadm indexed']['seconds']:.1f} s behind the last message")
    print(f"{'':58} {'':7} {'mailadm':>11} {'Dovecot':>11} {'ratio':>9}  asked   ({MESSAGES:,} messages)")
    for command, asked, _ in READS:
        row(command, "ms", asked)
        row(command, "cpu_ms", None)
    for label, _, asked in CHANGES:
        if label:
            row(label, "ms", asked)
    row("all changes", "cpu_ms", None)
    for label, _, _ in POPS:
        row(f"POP3 {label}", "rate", 2)
        row(f"POP3 {label}", "cpu_ms", 2)
    for label in ("plain", "TLS"):
        row(f"logins, {label}", "rate", 10)
