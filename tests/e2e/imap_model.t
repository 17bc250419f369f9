#!/usr/bin/env python3
"""Three sessions change two mailboxes at random, at the same time; each one's view, built from untagged responses alone,
must be what the server says, whatever was pipelined.  SEED and STEPS choose another run."""
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, ok  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE = "alice@example.org"
BOXES = ("one", "two")
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Red", "$Blue")
STEPS = int(os.environ.get("STEPS", "2000"))
SECONDS = 20


class Wrong(Exception):
    pass


class Message:
    def __init__(self):
        self.uid = None
        self.flags = None  # None: not told yet


def uids(text):
    out = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        out += range(int(first), int(last or first) + 1)
    return out


class Session:
    """A client's view of its mailbox."""

    def __init__(self, host, name, tls):
        self.raw = RawImap(host.connect_tls("imaps") if tls else host.connect("imap"))
        self.raw.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
        self.name = name
        self.box = None
        self.view = []
        self.running = None  # (tag, command)
        self.history = []
        self.copies = []     # (from, uid, to, uid)

    def fail(self, what):
        raise Wrong("%s: %s\nlast: %s" % (self.name, what, "\n      ".join(map(str, self.history[-14:]))))

    def select(self, box, command="SELECT"):
        self.box, self.view = box, []
        self.run("%s %s" % (command, box))
        self.run("FETCH 1:* (UID FLAGS)" if self.view else "NOOP")

    def start(self, command, data=None):
        self.history.append("C " + command[:100])
        self.running = (self.raw.start(data or command), command)

    def finish(self):
        tag, command = self.running
        status, lines = self.raw.finish(tag)
        for line in lines:
            self.untagged(line, command)
        self.history.append("S %r" % status[:120])
        copied = re.match(rb"OK \[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]", status)
        if copied:
            self.copied(copied, command)
        if status[:2] != b"OK":
            if not status.startswith(b"NO [READ-ONLY]"):
                self.fail("%r: %r" % (command, status))
        self.running = None

    def run(self, command, data=None):
        self.start(command, data)
        self.finish()

    def copied(self, match, command):
        source, destination = uids(match.group(1).decode()), uids(match.group(2).decode())
        if len(source) != len(destination):
            self.fail("COPYUID does not pair: %r" % match.group(0))
        to = command.split()[-1]
        self.copies += [(self.box, s, to, d) for s, d in zip(source, destination)]

    def untagged(self, line, command):
        self.history.append("S %r" % line[:120])
        copied = re.match(rb"\* OK \[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]", line)
        if copied:
            self.copied(copied, command)
            return
        m = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(.*)", line, re.S)
        if not m:
            return
        n, what, rest = int(m.group(1)), m.group(2), m.group(3)
        if what == b"EXISTS":
            if n < len(self.view):
                self.fail("EXISTS %d shrinks %d" % (n, len(self.view)))
            self.view += [Message() for _ in range(n - len(self.view))]
            return
        if n < 1 or n > len(self.view):
            self.fail("%r: no such number of %d" % (line, len(self.view)))
        if what == b"EXPUNGE":
            if re.match(r"(FETCH|STORE|SEARCH) ", command):
                self.fail("EXPUNGE during %s" % command)
            del self.view[n - 1]
            return
        message = self.view[n - 1]
        uid, flags = re.search(rb"UID (\d+)", rest), re.search(rb"FLAGS \(([^)]*)\)", rest)
        if uid:
            if message.uid not in (None, int(uid.group(1))):
                self.fail("%d is UID %d, not %r" % (n, message.uid, line))
            message.uid = int(uid.group(1))
        if flags:
            message.flags = set(flags.group(1).decode().split())

    def check(self):
        """What is known must be what FETCH says."""
        self.run("NOOP")
        known = [(m.uid, m.flags and set(m.flags)) for m in self.view]
        if not known:
            return
        status, lines = self.raw.cmd("FETCH 1:* (UID FLAGS)")
        if len(lines) != len(known):
            self.fail("FETCH tells of %d, the view has %d: %r" % (len(lines), len(known), lines[-3:]))
        for i, line in enumerate(lines):
            m = re.match(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)$", line)
            if not m or int(m.group(1)) != i + 1:
                self.fail("line %d: %r" % (i + 1, line))
            uid, flags = int(m.group(2)), set(m.group(3).decode().split())
            if known[i][0] not in (None, uid) or known[i][1] not in (None, flags):
                self.fail("%r; the view has %r" % (line, known[i]))
            self.view[i].uid, self.view[i].flags = uid, flags

    # Random commands

    def some(self, rng, uid):
        top = len(self.view)
        numbers = [m.uid for m in self.view if m.uid] if uid else list(range(1, top + 1))
        if rng.randrange(8) == 0:
            return "1:*"
        out = []
        for _ in range(rng.randrange(1, 4)):
            a, b = rng.choice(numbers), rng.choice(numbers)
            out.append("%d:%d" % (a, min(a + 4, b)) if rng.randrange(2) and b > a else str(a))
        return ",".join(out)

    def silent(self, uid, numbers, sign, flags):
        """The client does what it asked for by itself."""
        top = max([m.uid or 0 for m in self.view]) if uid else len(self.view)
        want = set()
        for part in numbers.replace("*", str(top)).split(","):
            want |= set(uids(part))
        for i, m in enumerate(self.view):
            if uid and m.uid is None:
                m.flags = None  # whether it was named is not known
            if (m.uid if uid else i + 1) not in want or m.flags is None:
                continue
            kept = m.flags & {"\\Recent"}
            m.flags = (m.flags | flags if sign == "+" else m.flags - flags if sign == "-" else flags | kept)

    def step(self, rng, serial):
        if not self.view or not any(m.uid for m in self.view) or rng.randrange(5) == 0:
            body = b"Subject: m%d\r\n\r\ntext %d\r\n" % (serial, serial)
            box = rng.choice(BOXES)
            flags = rng.choice(("", "(%s) " % rng.choice(FLAGS)))
            self.start("APPEND %s" % box, b"APPEND %s %s{%d+}\r\n%s" % (box.encode(), flags.encode(), len(body), body))
            return
        uid = rng.randrange(2) == 1
        numbers, u = self.some(rng, uid), "UID " if uid else ""
        other = rng.choice(BOXES)
        kind = rng.choice(("STORE", "STORE", "STORE", "DELETE", "EXPUNGE", "FETCH", "READ", "SEARCH", "COPY", "MOVE", "NOOP"))
        if kind == "STORE":
            sign, quiet = rng.choice(("+", "-", "")), rng.randrange(2) == 1
            flags = set(rng.sample(FLAGS, rng.randrange(1, 3)))
            if quiet:
                self.silent(uid, numbers, sign, flags)
            self.start("%sSTORE %s %sFLAGS%s (%s)" % (u, numbers, sign, ".SILENT" if quiet else "", " ".join(flags)))
        elif kind == "DELETE":
            self.start("%sSTORE %s +FLAGS (\\Deleted)" % (u, self.some(rng, uid).replace("1:*", "2" if not uid else "1")
                                                         if len(self.view) > 2 else numbers))
        elif kind == "EXPUNGE":
            self.start("UID EXPUNGE " + numbers if uid else "EXPUNGE")
        elif kind == "FETCH":
            self.start("%sFETCH %s (FLAGS UID)" % (u, numbers))
        elif kind == "READ":
            self.start("%sFETCH %s (UID BODY[HEADER.FIELDS (Subject)])" % (u, numbers))
        elif kind == "SEARCH":
            self.start("%sSEARCH UNDELETED" % u)
        elif kind in ("COPY", "MOVE"):
            if len(self.view) > 40 and kind == "COPY":
                kind = "MOVE"
            numbers = numbers.replace("1:*", "1" if not uid else "1:3")
            self.start("%s%s %s %s" % (u, kind, numbers, other))
        else:
            self.start("NOOP")

    def subjects(self):
        out = {}
        for line in self.raw.ok("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (Subject)])"):
            m = re.search(rb"UID (\d+) .*Subject: (m\d+)", line, re.S)
            out[int(m.group(1))] = m.group(2)
        return out


def compare(host, sessions):
    """Everybody agrees with a session that has just come; returns how many COPYUID pairs held the same message."""
    subjects, checked = {}, 0
    for s in sessions:
        s.check()
    for box in BOXES:
        fresh = Session(host, "fresh", False)
        fresh.select(box, "EXAMINE")
        want = [(m.uid, m.flags - {"\\Recent"}) for m in fresh.view]
        for s in sessions:
            if s.box == box and [(m.uid, m.flags - {"\\Recent"}) for m in s.view] != want:
                s.fail("differs from a fresh session")
        subjects[box] = fresh.subjects() if fresh.view else {}
        fresh.raw.close()
    for s in sessions:
        for source, a, to, b in s.copies:
            if a in subjects[source] and b in subjects[to]:
                checked += 1
                if subjects[source][a] != subjects[to][b]:
                    s.fail("COPYUID pairs %r with %r" % (subjects[source][a], subjects[to][b]))
        s.copies = []
    return checked


def play(host, seed):
    rng = random.Random(seed)
    sessions = [Session(host, "a", False), Session(host, "b", True), Session(host, "c", False)]
    for box in BOXES:
        sessions[0].raw.cmd("DELETE " + box)
        sessions[0].raw.ok("CREATE " + box)
    for s, box in zip(sessions, ("one", "one", "two")):
        s.select(box)
    end = time.monotonic() + SECONDS
    steps = checked = 0
    while steps < STEPS and time.monotonic() < end:
        busy = [s for s in sessions if rng.randrange(3)]
        idler = rng.choice(sessions) if rng.randrange(20) == 0 else None
        if idler:
            tag = idler.raw.start("IDLE")
            while True:
                line = idler.raw.line()
                if line == b"+ idling":
                    break
                idler.untagged(line, "IDLE")
            busy = [s for s in sessions if s is not idler]
        for s in busy:  # all of them at once
            s.step(rng, steps)
            steps += 1
        for s in busy:
            s.finish()
        if idler:
            idler.raw.send(b"DONE\r\n")
            status, lines = idler.raw.finish(tag)
            for line in lines:
                idler.untagged(line, "IDLE")
        if rng.randrange(4) == 0:
            for s in sessions:
                s.check()
        if rng.randrange(60) == 0:
            checked += compare(host, sessions)
            s = rng.choice(sessions)
            s.raw.ok(rng.choice(("UNSELECT", "CLOSE", "NOOP")))
            s.select(rng.choice(BOXES))
    return steps, checked + compare(host, sessions)


with Host(accounts=[ALICE], groups={"limits": "errors = 1000;"}) as host:
    for seed in ([int(os.environ["SEED"])] if "SEED" in os.environ else [1]):
        try:
            steps, checked = play(host, seed)
            ok(steps >= STEPS // 4, "seed %d: %d random steps, each view right at every check" % (seed, steps))
            ok(checked > 0, "%d COPYUID pairs hold the same message" % checked)
        except (Wrong, AssertionError) as e:
            ok(False, "seed %d" % seed)
            diag(e)
done()
