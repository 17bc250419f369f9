#!/usr/bin/env python3
"""CONDSTORE and QRESYNC against a model: several clients with caches change two mailboxes at random, go away and come back.

After every resynchronisation, by SELECT (QRESYNC ...), UID FETCH (CHANGEDSINCE ... VANISHED) or untagged responses alone, a client's
cache of UIDs, flags and modseqs must be what the server says.  SEED and STEPS (default 100,000) choose another run."""
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import Host, diag, done, ok  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE = "alice@example.org"
STEPS = int(os.environ.get("STEPS", "100000"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Red", "$Blue")
rng = random.Random(SEED)


class Wrong(Exception):
    pass


def uids(text):
    for part in text.decode().split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


class Client:
    def __init__(self, host, name):
        self.raw = RawImap(host.connect_tls("imaps") if name == "a" else host.connect("imap"))
        self.raw.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
        self.raw.ok("ENABLE QRESYNC")
        self.name, self.box, self.order = name, None, None
        self.caches = {}  # box: {"validity", "highest", "messages": {uid: (flags, modseq)}}
        self.history = []

    def wrong(self, what):
        raise Wrong("%s: %s\n%s" % (self.name, what, "\n".join(map(str, self.history[-25:]))))

    @property
    def cache(self):
        return self.caches[self.box]

    def run(self, command):
        self.history.append("C " + command[:150])
        status, lines = self.raw.cmd(command)
        for line in lines:
            self.untagged(line)
        self.history.append("S %r" % status[:150])
        if not status.startswith(b"OK"):
            self.wrong("%r: %r" % (command, status))
        m = re.search(rb"\[HIGHESTMODSEQ (\d+)\]", status)
        if m and self.box:
            self.cache["highest"] = max(self.cache["highest"], int(m.group(1)))
        if self.box and self.order is not None and 0 in self.order:  # as a client would: whose these numbers are has to be known before the next VANISHED
            self.run("FETCH %d:%d (UID FLAGS MODSEQ)" % (self.order.index(0) + 1, len(self.order)))
        return status

    def untagged(self, line):
        self.history.append("S %r" % line[:150])
        messages = self.cache["messages"] if self.box else None
        m = re.match(rb"\* VANISHED (\(EARLIER\) )?(\S+)$", line)
        if m:
            for uid in uids(m.group(2)):
                known = messages.pop(uid, None)
                if not m.group(1):
                    # One of the new ones, whose UIDs have not been asked for, is behind all others.
                    if uid not in self.order and (0 not in self.order or uid < max(self.order)):
                        self.wrong("VANISHED %d, which is not there" % uid)
                    self.order.remove(uid if uid in self.order else 0)
                elif known and self.order is not None and uid in self.order:
                    self.wrong("VANISHED (EARLIER) %d, which has a number" % uid)
            return
        if re.match(rb"\* \d+ EXPUNGE", line):
            self.wrong("EXPUNGE after ENABLE QRESYNC")
        m = re.match(rb"\* (\d+) EXISTS", line)
        if m:
            if self.order is not None:
                while len(self.order) < int(m.group(1)):
                    self.order.append(0)  # told of by FETCH
            self.exists = int(m.group(1))
            return
        m = re.match(rb"\* OK \[(HIGHESTMODSEQ|UIDVALIDITY) (\d+)\]", line)
        if m:
            self.seen[m.group(1)] = int(m.group(2))
            return
        m = re.match(rb"\* (\d+) FETCH \((.*)\)$", line)
        if m:
            self.fetched(int(m.group(1)), m.group(2))

    def fetched(self, seq, text):
        uid = re.search(rb"\bUID (\d+)", text)
        modseq = re.search(rb"\bMODSEQ \((\d+)\)", text)
        flags = re.search(rb"\bFLAGS \(([^)]*)\)", text)
        if not uid or not modseq:
            self.wrong("FETCH without UID or MODSEQ: %r" % text)
        uid, modseq = int(uid.group(1)), int(modseq.group(1))
        if self.order is None or seq > len(self.order):
            self.wrong("FETCH of number %d, of %s" % (seq, self.order and len(self.order)))
        if self.order[seq - 1] not in (0, uid):
            self.wrong("FETCH of number %d has UID %d, not %d" % (seq, uid, self.order[seq - 1]))
        self.order[seq - 1] = uid
        old = self.cache["messages"].get(uid)
        if old and modseq < old[1]:
            self.wrong("the modseq of %d went back from %d to %d" % (uid, old[1], modseq))
        told = frozenset(flags.group(1).split()) - {b"\\Recent"} if flags else None
        if told is None and (old is None or modseq == old[1]):
            return
        if told is None:  # a silent change of our own: the flags are what we made them
            told = self.silent(old[0])
        self.cache["messages"][uid] = (told, modseq)

    def silent(self, flags):
        mode, names = self.storing
        names = frozenset(n.encode() for n in names)
        return flags | names if mode == "+" else flags - names if mode == "-" else names

    def select(self, box, how):
        """how: none (a cache from before is dropped), all or some (with known UIDs)."""
        cache = self.caches.get(box)
        self.box, self.seen, self.exists = box, {}, 0
        params = ""
        if cache is None or how == "none":
            cache = self.caches[box] = {"validity": 0, "highest": 0, "messages": {}}
        elif how == "some" and cache["messages"]:
            params = " (QRESYNC (%d %d 1:%d))" % (cache["validity"], cache["highest"], max(cache["messages"]))
        else:
            params = " (QRESYNC (%d %d))" % (cache["validity"], cache["highest"])
        before = dict(cache["messages"])
        # Numbers are not known yet: what is told of them is checked against the whole list below.
        self.order = Anything()
        self.run(rng.choice(("SELECT ", "SELECT ", "EXAMINE ")) + box + params)
        self.read_only = self.history[-1].find("READ-ONLY") >= 0
        cache["validity"] = self.seen[b"UIDVALIDITY"]
        self.order = []
        status, lines = self.raw.cmd("UID SEARCH ALL")
        found = [line for line in lines if line.startswith((b"* SEARCH", b"* ESEARCH"))][0]
        all_uids = [int(u) for u in found.split()[2:]] if found.startswith(b"* SEARCH") else list(uids(found.split()[-1]))
        self.order = all_uids
        if len(all_uids) != self.exists:
            self.wrong("EXISTS says %d, SEARCH %d" % (self.exists, len(all_uids)))
        for uid in list(cache["messages"]):
            if uid not in set(all_uids):
                self.wrong("UID %d has gone, and no VANISHED said so (before: %r)" % (uid, before.get(uid)))
        cache["highest"] = max(cache["highest"], self.seen[b"HIGHESTMODSEQ"])
        missing = [u for u in all_uids if u not in cache["messages"]]
        if params and how == "all" and missing:
            self.wrong("new UIDs %r were not told" % missing[:5])
        if missing:
            self.run("UID FETCH %s (FLAGS MODSEQ)" % ",".join(map(str, missing)))

    def check(self):
        """After NOOP, the cache is what the server says."""
        self.run("NOOP")
        mine = dict(self.cache["messages"])
        status, lines = self.raw.cmd("UID FETCH 1:* (FLAGS MODSEQ)")
        truth = {}
        for line in lines:
            m = re.match(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)\)", line)
            if not m:
                self.wrong("in between: %r" % line)
            truth[int(m.group(2))] = (frozenset(m.group(3).split()) - {b"\\Recent"}, int(m.group(4)))
        if mine != truth:
            only = {u: (mine.get(u), truth.get(u)) for u in set(mine) | set(truth) if mine.get(u) != truth.get(u)}
            self.wrong("cache and server differ: %r" % dict(list(only.items())[:4]))
        if list(truth) != self.order:
            self.wrong("numbers differ: %r %r" % (list(truth)[:50], self.order[:50]))
        if truth:
            self.cache["highest"] = max(self.cache["highest"], max(m for _, m in truth.values()))

    def some(self):
        known = sorted(self.cache["messages"])
        picked = sorted(rng.sample(known, min(len(known), rng.choice((1, 1, 2, 5, 20)))))
        return ",".join(map(str, picked))

    def store(self):
        if self.read_only or not self.cache["messages"]:
            return
        mode, names = rng.choice(("+", "-", "")), rng.sample(FLAGS, rng.randrange(1, 4))
        self.storing = (mode, names)
        condition = ""
        if rng.random() < 0.4:
            base = rng.choice((self.cache["highest"], rng.choice(list(self.cache["messages"].values()))[1], 1))
            condition = "(UNCHANGEDSINCE %d) " % base
        # A silent change is applied to flags that may be older than the server's: only to what is up to date.
        silent = rng.random() < 0.4
        if silent:
            self.run("NOOP")
        which = self.some() if self.cache["messages"] else ""
        if not which:
            return
        before = dict(self.cache["messages"])
        status = self.run("UID STORE %s %s%sFLAGS%s (%s)" % (which, condition, mode, ".SILENT" if silent else "", " ".join(names)))
        refused = re.search(rb"\[MODIFIED ([\d,:]+)\]", status)
        refused = set(uids(refused.group(1))) if refused else set()
        for uid in uids(which.encode()):
            if condition and uid in self.cache["messages"] and uid in before:
                was = before[uid][1] if silent else None
                if uid in refused and silent and was <= base and self.cache["messages"][uid][1] == was:
                    self.wrong("%d was refused, though unchanged since %d (it has %d)" % (uid, base, was))
                if uid not in refused and silent and was > base:
                    self.wrong("%d was changed, though it has modseq %d > %d" % (uid, was, base))

    def step(self):
        r = rng.random()
        size = len(self.cache["messages"])
        if r < 0.30:
            self.store()
        elif r < 0.45 and size < 60:
            text = "Subject: x\r\n\r\n%d\r\n" % rng.randrange(1000)
            self.run("APPEND %s {%d+}\r\n%s" % (rng.choice(("one", "two")), len(text), text))
        elif r < 0.53 and size:
            self.run("UID COPY %s %s" % (self.some(), rng.choice(("one", "two"))) if size < 60 else "NOOP")
        elif r < 0.60 and size and not self.read_only:
            self.run("UID MOVE %s %s" % (self.some(), rng.choice(("one", "two"))))
        elif r < 0.72 and not self.read_only:
            self.run("EXPUNGE" if rng.random() < 0.6 or not size else "UID EXPUNGE " + self.some())
        elif r < 0.80:
            self.run("NOOP")
        elif r < 0.90:
            self.check()
        elif r < 0.93 and self.cache["highest"]:
            self.run("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % self.cache["highest"])
        elif r < 0.95 and not self.read_only:
            if rng.random() < 0.5:  # which expunges what is \\Deleted without telling
                self.order = None
                if b"HIGHESTMODSEQ" in self.run("CLOSE"):
                    for uid in [u for u, (flags, _) in self.cache["messages"].items() if b"\\Deleted" in flags]:
                        del self.cache["messages"][uid]
            else:
                self.run("UNSELECT")
            self.box = None
        else:
            self.box = None


class Anything(list):
    """Numbers during SELECT, before the list of UIDs is known."""

    def __len__(self):
        return 1 << 31

    def __getitem__(self, at):
        return 0

    def __setitem__(self, at, value):
        pass

    def __contains__(self, uid):
        return False


try:
    with Host(groups={"limits": "errors = 1000;"}) as host:
        clients = [Client(host, name) for name in "abc"]
        for box in ("one", "two"):
            clients[0].raw.ok("CREATE " + box)
        for n in range(STEPS):
            c = rng.choice(clients)
            if c.box is None:
                c.select(rng.choice(("one", "two")), rng.choice(("none", "all", "all", "some")))
                c.check()
            else:
                c.step()
        for c in clients:
            if c.box:
                c.check()
        ok(True, "seed %d: %d steps, no difference" % (SEED, STEPS))
        ok("level=error" not in host.log().lower(), "and no error is logged")
except Wrong as e:
    diag(e)
    ok(False, "seed %d" % SEED)
done()
