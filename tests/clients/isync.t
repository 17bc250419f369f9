#!/usr/bin/env python3
"""isync (mbsync): 20,000 messages to a Maildir and as many from there to us, byte by byte; then changes on both sides."""
import email.utils
import hashlib
import imaplib
import mailbox
import os
import random
import re
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import Host, diag, done, is_, ok  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"
COUNT = int(os.environ.get("MESSAGES", "20000"))


def message(r, i):
    body = "\r\n".join("x" * r.randrange(70) for _ in range(r.randrange(1, 30)))
    return ("Subject: number %d\r\nMessage-ID: <%d@example.net>\r\nDate: %s\r\nFrom: a@example.net\r\n\r\n%s\r\n" % (
        i, i, email.utils.formatdate(1700000000 + i), body)).encode()


def digest(text):
    """Without the header field that mbsync puts in front of ours."""
    text = re.sub(rb"^X-TUID: .*\r?\n", b"", text.replace(b"\r\n", b"\n"), flags=re.M)
    return hashlib.sha256(text.replace(b"\n", b"\r\n")).hexdigest()


def put(host, user, messages):
    """APPEND, many on their way."""
    s = socket.create_connection(("127.0.0.1", host.port("imap")))
    f = s.makefile("rb")
    s.sendall(b"L LOGIN %s \"%s\"\r\n" % (user.encode(), host.accounts[user].encode()))

    def until(tag):
        line = f.readline()
        while not line.startswith(tag + b" "):
            if not line:
                raise RuntimeError("connection lost")
            line = f.readline()
        if not line.startswith(tag + b" OK"):
            raise RuntimeError(line)
    until(b"L")
    waiting = 0
    for m in messages + [None] * 50:
        if m:
            s.sendall(b"A APPEND INBOX {%d+}\r\n%s\r\n" % (len(m), m))
            waiting += 1
        if waiting >= 50 or (m is None and waiting):
            until(b"A")
            waiting -= 1
    s.close()


def on_server(host, user):
    c = host.imap(user, tls=False)
    c.select("INBOX", readonly=True)
    out = []
    for item in c.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]:
        if isinstance(item, tuple):
            out.append((digest(item[1]), "\\Flagged" in item[0].decode()))
    c.logout()
    return sorted(out)


def on_disk(folder):
    out = []
    for sub in ("new", "cur"):
        for name in os.listdir(os.path.join(folder, sub)):
            with open(os.path.join(folder, sub, name), "rb") as f:
                out.append((digest(f.read()), "F" in name.partition(":2,")[2]))
    return sorted(out)


def sync(host, name):
    begun = time.monotonic()
    r = subprocess.run(["mbsync", "-c", host.dir + "/mbsyncrc", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=1200)
    diag("mbsync %s: %.1f s" % (name, time.monotonic() - begun))
    if not is_(r.returncode, 0, "mbsync %s" % name):
        diag(r.stdout[-1500:])


def same(host, user, folder, want, what):
    server, disk = on_server(host, user), on_disk(folder)
    if not ok(server == disk and sorted(d for d, _ in server) == sorted(want), what):
        diag("server %d, disk %d, wanted %d; %d in common" % (len(server), len(disk), len(want), len(set(server) & set(disk))))


def configure(host):
    text = ""
    for name, user in (("pull", ALICE), ("push", BOB)):
        os.makedirs(host.dir + "/" + name, exist_ok=True)
        mailbox.Maildir(host.dir + "/%s/INBOX" % name, create=True)
        text += """IMAPAccount %(n)s
Host 127.0.0.1
Port %(port)d
User %(user)s
Pass "%(password)s"
SSLType None
AuthMechs LOGIN

IMAPStore %(n)s-remote
Account %(n)s

MaildirStore %(n)s-local
Path %(dir)s/%(n)s/
Inbox %(dir)s/%(n)s/INBOX

Channel %(n)s
Far :%(n)s-remote:
Near :%(n)s-local:
Patterns INBOX
Create Both
Expunge Both
SyncState *

""" % {"n": name, "user": user, "password": host.accounts[user], "dir": host.dir, "port": host.port("imap")}
    with open(host.dir + "/mbsyncrc", "w") as f:
        f.write(text)
    os.chmod(host.dir + "/mbsyncrc", 0o600)


seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
diag("SEED=%d" % seed)
r = random.Random(seed)
messages = [message(r, i) for i in range(COUNT)]
want = [digest(m) for m in messages]
imaplib._MAXLINE = 10 ** 8
with Host((ALICE, BOB)) as host:
    configure(host)
    put(host, ALICE, messages)
    local = host.dir + "/pull/INBOX"
    sync(host, "pull")
    same(host, ALICE, local, want, "%d messages have come to the Maildir as they were" % COUNT)
    other = host.dir + "/push/INBOX"
    for i, m in enumerate(messages):
        with open(other + "/cur/%d.M%dP1.test:2,S" % (1700000000 + i, i), "wb") as f:
            f.write(m.replace(b"\r\n", b"\n"))
    sync(host, "push")
    same(host, BOB, other, want, "%d messages have gone from the Maildir to us" % COUNT)
    # Changes on both sides.
    c = host.imap(ALICE, tls=False)
    c.select("INBOX")
    c.store("1:100", "+FLAGS", "(\\Flagged)")
    c.store("101:150", "+FLAGS", "(\\Deleted)")
    c.expunge()
    c.logout()
    names = sorted(os.listdir(local + "/cur") + os.listdir(local + "/new"))
    where = {n: sub for sub in ("cur", "new") for n in os.listdir(local + "/" + sub)}
    gone = set(want[100:150])
    for n in names[-40:]:
        path = "%s/%s/%s" % (local, where[n], n)
        with open(path, "rb") as f:
            gone.add(digest(f.read()))
        os.unlink(path)
    sync(host, "pull")
    same(host, ALICE, local, [d for d in want if d not in gone], "flags and removals of both sides are on both")
done()
