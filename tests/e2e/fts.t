#!/usr/bin/env python3
"""The full-text index: answers are the same with it, without it, while it is being made, and when it is broken."""
import glob
import json
import os
import random
import re
import signal

from host import Host, diag, done, freeze, is_, ok, wait_until
from rawimap import RawImap

ALICE, BOB = "alice@example.org", "bob@example.org"
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima"]
COUNT = 120


def logged_in(host, who=ALICE):
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (who, host.accounts[who]))
    c.ok("SELECT INBOX")
    return c


def fts(host):
    roles = json.loads(host.cli("status", "--json", check=False).stdout)["roles"]
    return [r for r in roles if r["role"] == "fts"][0]


def settled(host, indexed):
    """The index has come as far as that."""
    def look():
        r = fts(host)
        return r.get("waiting") == 0 and r.get("indexed", 0) >= indexed and r
    return wait_until(look, "the index")


def make(r, n):
    subject = " ".join(r.choice(WORDS) for _ in range(3))
    body = " ".join(r.choice(WORDS) + r.choice(["", "", "s", "ing", "42"]) for _ in range(60))
    if n % 10 == 0:
        body += " Stra\u00dfe"
    text = "From: s%d@example.net\r\nSubject: %s\r\nContent-Type: text/%s; charset=utf-8\r\n\r\n%s\r\n"
    kind = "html" if n % 7 == 0 else "plain"
    return subject, body, (text % (n, subject, kind, "<p>" + body + "</p>" if kind == "html" else body)).encode()


class World:
    def __init__(self, host):
        self.host = host
        self.random = random.Random(SEED)
        self.messages = []  # (uid, subject, body)
        self.headers = {}   # uid: all of it, which is TEXT's too

    def add(self, c):
        subject, body, raw = make(self.random, len(self.headers) + 1)
        c.append("INBOX", raw)
        uid = len(self.headers) + 1
        self.messages.append((uid, subject, body))
        self.headers[uid] = raw.decode().partition("\r\n\r\n")[0]

    def want(self, key, needle):
        def fold(text):
            return text.casefold()
        return [uid for uid, subject, body in self.messages
                if fold(needle) in fold(body) or (key == "TEXT" and fold(needle) in fold(self.headers[uid]))]

    def check(self, c, name, needles=8):
        """Searches against what python finds."""
        wrong = []
        fixed = [("BODY", "stra\u00dfe"), ("TEXT", "STRASSE"), ("TEXT", "lph"), ("BODY", "ingalpha"), ("BODY", "ra")]
        for i in range(needles + len(fixed)):
            subject, body = self.random.choice(self.messages)[1:]
            at = self.random.randrange(len(body) - 20)
            key, needle = fixed[i] if i < len(fixed) else (self.random.choice(["TEXT", "BODY"]), body[at:at + self.random.randrange(3, 15)].strip())
            raw = needle.encode()
            lines = c.ok(b"UID SEARCH CHARSET UTF-8 %s {%d+}\r\n%s" % (key.encode(), len(raw), raw))
            got = [int(n) for line in lines if line.startswith(b"* SEARCH") for n in line.split()[2:]]
            if got != self.want(key, needle):
                wrong.append((key, needle, got, self.want(key, needle)))
        is_(wrong, [], name)


def damage(path):
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        for at in range(4096, size, 4096 * 3):
            f.seek(at + 100)
            f.write(os.urandom(64))


diag("seed %d" % SEED)
with Host() as host:
    w, c = World(host), logged_in(host)
    for _ in range(COUNT):
        w.add(c)
    c.ok("NOOP")
    w.check(c, "at once, whether it is indexed or not")
    settled(host, COUNT)
    before = fts(host)["answered"]
    w.check(c, "indexed")
    after = fts(host)["answered"]
    ok(after - before >= 8, "the index was asked and knew: %d times" % (after - before))
    for _ in range(5):
        w.add(c)
    c.ok("NOOP")
    w.check(c, "new messages are found at once")
    settled(host, COUNT + 5)

    c.ok("UID STORE 3:5 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    w.messages = [m for m in w.messages if not 3 <= m[0] <= 5]
    w.check(c, "what was expunged is not found")
    like = c.ok("UID SEARCH OR BODY xyzzy SUBJECT alpha")
    is_([int(n) for n in like[0].split()[2:]], [m[0] for m in w.messages if "alpha" in m[1]], "OR with another key")
    is_(c.ok("UID SEARCH NOT BODY xyzzy")[0].split()[2:], [b"%d" % m[0] for m in w.messages], "NOT")

    pid = host.children()["fts"][0]
    freeze(pid)
    w.check(c, "it does not answer: the messages are looked at", needles=0)
    os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGKILL)
    w.check(c, "killed")
    wait_until(lambda: host.children().get("fts", [pid])[0] != pid, "fts is started again")
    settled(host, 0)
    w.check(c, "started again")
    is_(fts(host)["indexed"], 0, "... with what it had")
    c.close()

    def broken(name, how):
        host.stop()
        paths = glob.glob(os.path.join(host.dir, "state", "fts", "*.fts"))
        for path in paths:
            how(path)
        host.start()
        client = logged_in(host)
        w.check(client, name + ": at once")
        settled(host, len(w.messages))
        w.check(client, name + ": later")
        ok(fts(host)["answered"] > 0, name + ": indexed anew")
        client.close()
    broken("deleted", os.unlink)
    broken("damaged", damage)
    broken("cut", lambda path: os.truncate(path, os.path.getsize(path) // 2))
    broken("garbage", lambda path: open(path, "wb").write(b"garbage" * 5000))

    b = logged_in(host, BOB)
    b.append("INBOX", b"Subject: hello\r\n\r\nworld\r\n")
    b.ok("NOOP")
    is_(b.ok("SEARCH TEXT world"), [b"* SEARCH 1"], "another account")
    folder = os.path.join(host.dir, "state", "fts")
    wait_until(lambda: len(glob.glob(folder + "/*.fts")) == 2, "a second index")
    del host.accounts[BOB]
    with open(host.conf, "w") as f:
        f.write(host.site_text())
    host.cli("reload")
    wait_until(lambda: len(glob.glob(folder + "/*.fts")) == 1, "the index goes with its account")
    ok(True, "the index goes with its account")
done()
