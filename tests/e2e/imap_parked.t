#!/usr/bin/env python3
"""Commands of one kind that overlap while another session changes the mailbox, the client goes or refuses to read."""
import os
import random
import re

from host import Host, diag, done, is_, like, ok
from rawimap import RawImap

ALICE = "alice@example.org"
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
diag("seed %d" % seed)
r = random.Random(seed)


def logged_in(host, *enable):
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    for name in enable:
        c.ok("ENABLE " + name)
    return c


def tagged(c, *tags):
    """As many tagged lines as there are tags, whatever theirs are, and the untagged ones."""
    replies, untagged = [], []
    while len(replies) < len(tags):
        line = c.line()
        if line == b"":
            return replies + [b"EOF"], untagged
        (replies if re.match(rb"[a-z]\d+ (OK|NO|BAD)\b", line) else untagged).append(line)
    return replies, untagged


def tags(c):
    """A refusal in the middle of a message's command has the tag of that command, whatever was answered meanwhile."""
    for i in range(10):
        c.send(b"a%d APPEND INBOX {2+}\r\nab\r\n" % i +
               b"b%d APPEND INBOX {2+}\r\nab\r\nc%d APPEND INBOX {2+}\r\nab {99999999}\r\n" % (i, i))
        replies = [line[:line.index(b" ", 4)] for line in tagged(c, b"a%d" % i, b"b%d" % i, b"c%d" % i)[0]]
        is_(replies, [b"a%d OK" % i, b"b%d OK" % i, b"c%d NO" % i], "turn %d: each has its tag" % i) if i in (0, 9) else None
        if replies[-1] != b"c%d NO" % i:
            break


def kept_back(c):
    """A BAD is the last of those on their way: what COPY has put into the selected mailbox is known behind it."""
    c.ok("CREATE Kept")
    c.append("Kept", b"x\r\n")
    c.append("Kept", b"y\r\n")
    c.ok("SELECT Kept")
    c.send(b"a1 UID COPY 1 Kept\r\na2 UID COPY 2\r\na3 UID FETCH * (UID)\r\n")
    replies, untagged = tagged(c, b"a1", b"a2", b"a3")
    is_([line[:5] for line in replies], [b"a1 OK", b"a2 BA", b"a3 OK"], "the second is wrong")
    is_([line for line in untagged if b"FETCH" in line], [b"* 3 FETCH (UID 3)"], "the third means the new message")


def highest(host):
    """HIGHESTMODSEQ is never ahead of an expunge that was not told."""
    a, b = logged_in(host), logged_in(host, "QRESYNC")
    a.ok("CREATE New")
    a.ok("SELECT New")
    like(b" ".join(a.ok("ENABLE CONDSTORE")), b"* OK [HIGHESTMODSEQ 1] ", "of a mailbox without changes it is 1")
    a.close()
    a = logged_in(host)
    a.ok("CREATE High")
    for i in range(3):
        a.append("High", b"Subject: %d\r\n\r\nx\r\n" % i)
    b.ok("SELECT High")
    a.ok("SELECT High")
    b.ok("UID STORE 1 +FLAGS (\\Deleted)")
    before = b.ok("STATUS High (HIGHESTMODSEQ)")
    before = int(re.search(rb"HIGHESTMODSEQ (\d+)", b"".join(before)).group(1))
    b.ok("UID EXPUNGE 1")
    b.ok("UID STORE 3 +FLAGS (\\Flagged)")
    a.ok("FETCH 2 (FLAGS)")  # tells of the flags, must not tell of the expunge
    told = int(re.search(rb"HIGHESTMODSEQ (\d+)", b" ".join(a.ok("FETCH 2 (UID MODSEQ)"))).group(1))
    ok(told <= before, "the expunge is not told yet: HIGHESTMODSEQ %d is at most %d" % (told, before))
    validity = int(re.search(rb"UIDVALIDITY (\d+)", b" ".join(b.ok("SELECT High"))).group(1))
    like(b" ".join(b.ok("SELECT High (QRESYNC (%d %d))" % (validity, told))), b"VANISHED (EARLIER) 1", "who resynchronises from there hears of it")
    a.close()
    b.close()


def names(c, lines, known):
    """Follows untagged lines; every number must be one that the client has."""
    for line in lines:
        m = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)", line)
        if not m:
            continue
        n = int(m.group(1))
        if m.group(2) == b"EXISTS":
            known += [None] * (n - len(known))
        elif m.group(2) == b"EXPUNGE":
            del known[n - 1]
        else:
            uid = re.search(rb"UID (\d+)", line)
            if n > len(known) or (uid and known[n - 1] not in (None, int(uid.group(1)))):
                return "%r with %r" % (line, known)
            if uid:
                known[n - 1] = int(uid.group(1))
    return None


def disturbed(host, enable):
    """STORE by number goes on while another session expunges: no EXPUNGE before the last, and each hits its message."""
    a, b = logged_in(host, *enable), logged_in(host)
    name = b"Box%d" % len(enable)
    a.ok(b"CREATE " + name)
    a.cmd(b"APPEND %s" % name + b"".join(b" {%d+}\r\nSubject: %d\r\n\r\n" % (len(b"Subject: %d\r\n\r\n" % i), i) for i in range(300)))
    a.ok(b"SELECT " + name)
    b.ok(b"SELECT " + name)
    known = [int(re.search(rb"UID (\d+)", line).group(1)) for line in a.ok("FETCH 1:* (UID)")]
    for turn in range(8):
        victims = sorted(r.sample(known, 10))
        key = b"k%d" % turn
        numbers = r.sample(range(1, len(known) + 1), 50)
        want = {known[n - 1] for n in numbers}
        b.ok(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % b",".join(b"%d" % v for v in victims))
        a.send(b"".join(b"s%d STORE %d +FLAGS (%s)\r\n" % (i, n, key) for i, n in enumerate(numbers[:25])))
        tag = b.start(b"UID EXPUNGE %s" % b",".join(b"%d" % v for v in victims))
        a.send(b"".join(b"s%d STORE %d +FLAGS (%s)\r\n" % (i + 25, n, key) for i, n in enumerate(numbers[25:])))
        replies, untagged = tagged(a, *[b"s%d" % i for i in range(50)])
        b.finish(tag)
        ok([line.split()[0] for line in replies] == [b"s%d" % i for i in range(50)] and all(b" OK" in line for line in replies),
           "turn %d %s: answered in order" % (turn, b"".join(e.encode() for e in enable))) or diag("%r" % replies)
        ok(not [line for line in untagged if b" EXPUNGE" in line or b"VANISHED" in line], "and no expunge between STOREs")
        wrong = names(a, untagged, known)
        ok(wrong is None, "and numbers stand still") or diag(wrong)
        for line in a.ok("NOOP"):
            m = re.match(rb"\* VANISHED ([0-9:,]+)", line)
            if m:
                for part in m.group(1).split(b","):
                    first, last = (part.split(b":") * 2)[:2]
                    known[:] = [u for u in known if not int(first) <= u <= int(last)]
            else:
                names(a, [line], known)
        is_([int(re.search(rb"UID (\d+)", line).group(1)) for line in a.ok("FETCH 1:* (UID)")], known, "then the client knows what there is")
        found = {int(n) for line in b.ok(b"UID SEARCH KEYWORD " + key) if b"SEARCH" in line for n in re.findall(rb"\d+", line)}
        is_(found, want - set(victims), "and those that were meant have the keyword")
    a.close()
    b.close()


def leaving(host):
    """Clients that go in the middle of many commands; the process lives on, with what was asked for done or not."""
    for turn in range(12):
        c = logged_in(host)
        c.ok("SELECT Box0")
        kind = r.choice((b"STORE %d +FLAGS (left)\r\n", b"UID COPY %d New\r\n", b"APPEND New {%d+}\r\n", b"UID EXPUNGE %d\r\n"))
        c.send(b"".join(b"x%d " % i + (kind % (i + 1)) + (b"a" * (i + 1) + b"\r\n" if b"APPEND" in kind else b"") for i in range(70)))
        if turn % 3 == 0:
            c.line()
        if turn % 3 == 1:
            c.send(b"y APPEND New {100+}\r\nabc")
        c.close()
    c = logged_in(host)
    like(c.cmd("SELECT New")[0], b"OK", "the process lives on")
    other = logged_in(host)
    other.ok("CREATE Gone")
    other.append("Gone", b"x\r\n")
    c.ok("SELECT Gone")
    c.send(b"".join(b"g%d UID STORE 1 +FLAGS (\\Seen)\r\n" % i for i in range(30)))
    other.ok("DELETE Gone")
    replies = tagged(c, *[b"g%d" % i for i in range(30)])[0]
    ok([line.split()[0] for line in replies] == [b"g%d" % i for i in range(30)], "a mailbox deleted meanwhile: each is answered, in order")
    c.send(b"".join(b"h%d UID STORE 1 +FLAGS (\\Seen)\r\n" % i for i in range(5)))
    replies = tagged(c, *[b"h%d" % i for i in range(5)])[0]
    ok(len(replies) == 5 and all(b" NO " in line for line in replies), "and then NO: %r" % replies)
    like(c.cmd("SELECT INBOX")[0], b"OK", "another can be selected")


with Host(accounts=[ALICE], groups={"limits": "errors = 1000;"}) as host:
    tags(logged_in(host))
    kept_back(logged_in(host))
    highest(host)
    disturbed(host, ())
    disturbed(host, ("QRESYNC",))
    leaving(host)
done()
