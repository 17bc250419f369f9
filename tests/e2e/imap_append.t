#!/usr/bin/env python3
"""APPEND: several messages at once (RFC 3502), binary ones (RFC 3516), limits and refusals; many commands on their way."""
import os
import random
import re

from host import Host, diag, done, is_, like, ok, wait_until
from rawimap import RawImap

ALICE = "alice@example.org"
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
diag("seed %d" % seed)
r = random.Random(seed)


def logged_in(host):
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    return c


def literal(message, args=b"", binary=False):
    return b" %s%s{%d+}\r\n%s" % (args, b"~" if binary else b"", len(message), message)


def append(c, mailbox, *literals):
    return c.cmd(b"APPEND " + mailbox + b"".join(literals))[0]


def text(n):
    return b"Subject: m%d\r\n\r\nbody %d\r\n" % (n, n)


def count(c, mailbox="INBOX"):
    return int(re.search(rb"MESSAGES (\d+)", c.ok("STATUS %s (MESSAGES)" % mailbox)[0]).group(1))


def multiappend(c):
    status = append(c, b"INBOX", literal(text(1), b"(\\Seen) "), literal(text(2), b'"01-Jan-2001 00:00:00 +0000" '),
                    literal(text(3), b'(\\Flagged key) "02-Jan-2001 00:00:00 +0000" '), literal(text(4)))
    ok(re.match(rb"OK \[APPENDUID \d+ 1:4\] ", status), "four at once: APPENDUID has the set: %r" % status)
    c.ok("SELECT INBOX")
    is_(b" ".join(c.ok("FETCH 1:4 (FLAGS INTERNALDATE BODY.PEEK[])")[:4]).count(b"body "), 4, "all are there")
    lines = c.ok("FETCH 1:3 (FLAGS INTERNALDATE)")
    like(lines[0], b"\\Seen", "the first's flags")
    like(lines[1], b'" 1-Jan-2001 00:00:00 +0000"', "the second's date")
    like(lines[2], b"key", "the third's keyword")
    like(append(c, b"INBOX", literal(text(5)), literal(text(6) + b"\0")), b"NO [CANNOT]", "one is wrong:")
    like(append(c, b"INBOX", literal(text(5)), literal(b"")), b"NO [CANNOT]", "an empty one cancels:")
    like(append(c, b"INBOX", literal(text(5)), b" (\\Seen)"), b"BAD", "something else behind the last:")
    like(append(c, b"INBOX", literal(text(5)), b" junk {3+}\r\nabc"), b"BAD", "something else before one:")
    like(append(c, b"INBOX", literal(text(5)), literal(b"x" * 3000000)), b"NO [TOOBIG]", "one is too big:")
    like(append(c, b"INBOX", literal(b"x" * 3000000), literal(text(5))), b"NO [TOOBIG]", "the first is:")
    like(append(c, b"Nowhere", literal(text(5)), literal(text(6))), b"NO [TRYCREATE]", "no such mailbox:")
    is_(count(c), 4, "none of them has left anything")
    many = append(c, b"INBOX", *[literal(text(i), b"(\\Seen) ") for i in range(1500)])
    ok(re.match(rb"OK \[APPENDUID \d+ 5:1504\] ", many), "1500 at once: %r" % many)
    like(append(c, b"INBOX", *[literal(text(i)) for i in range(4001)]), b"NO [LIMIT]", "4001 are too many:")
    is_(count(c), 1504, "1504 messages")


def synchronising(c):
    c.send(b"s1 APPEND INBOX {%d}\r\n" % len(text(1)))
    like(c.line(), b"+ ", "the client waits and is asked to go on")
    c.send(text(1) + b" (\\Seen) {%d}\r\n" % len(text(2)))
    like(c.line(), b"+ ", "for the second too")
    c.send(text(2) + b"\r\n")
    while not (line := c.line()).startswith(b"s1 "):
        pass
    like(line, b"OK [APPENDUID", "and both are stored:")
    c.send(b"s2 APPEND INBOX {%d}\r\n" % len(text(1)))
    c.line()
    c.send(text(1) + b" {99999999}\r\n")
    like(c.line(), b"s2 NO [TOOBIG]", "the second is refused before it is sent")
    like(c.cmd("NOOP")[0], b"OK", "and the session goes on")
    c.send(b"s3 APPEND {5}\r\n")
    like(c.line(), b"+ ", "a mailbox may be a literal")
    c.send(b"INBOX {%d+}\r\n%s {%d+}\r\n%s\r\n" % (len(text(1)), text(1), len(text(2)), text(2)))
    while not (line := c.line()).startswith(b"s3 "):
        pass
    like(line, b"OK [APPENDUID", "before several messages:")


def binary(c):
    data = bytes(range(256)) * 3
    message = b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\nContent-Type: multipart/mixed; boundary=\"--b\"\r\n\r\n" \
        b"----b\r\nContent-Type: application/x\r\nX: 1\r\nContent-Transfer-Encoding: binary\r\n\r\n" + data + \
        b"\r\n----b\r\nContent-Type: text/plain\r\n\r\nplain\r\n----b--\r\n"
    like(append(c, b"INBOX", literal(message, binary=True)), b"OK [APPENDUID", "a literal8 with NUL bytes")
    c.ok("SELECT INBOX")
    line = c.ok("FETCH * (BINARY.PEEK[1] BINARY.SIZE[1] BODY.PEEK[1.MIME] BODY.PEEK[2] BODY.PEEK[HEADER])")[0]
    like(line, b"BINARY[1] ~{768}\r\n" + data + b" BINARY.SIZE[1] 768", "comes back as it was")
    like(line, b"X: 1\r\nContent-Transfer-Encoding: base64\r\n\r\n", "and is base64 for others")
    like(line, b"Content-Transfer-Encoding: 8bit\r\nContent-Type: multipart/mixed", "in a part that is 8bit")
    like(line, b"BODY[2] {5}\r\nplain", "what is beside it stays")
    ok(b"\0" not in c.ok("FETCH * BODY.PEEK[]")[0], "BODY[] has no NUL")
    like(append(c, b"INBOX", literal(b"Subject: \0\r\n\r\nx", binary=True)), b"NO [UNKNOWN-CTE]", "a NUL elsewhere is refused")
    like(append(c, b"INBOX", literal(b"Subject: x\r\n\r\n\0")), b"NO [CANNOT]", "a NUL in a plain literal too")


def limits(c):
    like(c.ok("CAPABILITY")[0], b" APPENDLIMIT ", "APPENDLIMIT is offered")
    like(c.ok("STATUS INBOX (APPENDLIMIT)")[0], b"APPENDLIMIT 2097152)", "and is limits.message_size")
    c.ok("CREATE Small")
    like(append(c, b"Small", literal(b"x" * 1990000), literal(b"x" * 1990000), literal(b"x" * 1990000)), b"NO [OVERQUOTA]", "all together are over quota")
    is_(count(c, "Small"), 0, "and none is stored")


def budget(host):
    """What is on its way into a process is at most 512 MiB, and what encoding adds to a binary message counts."""
    a, b = logged_in(host), logged_in(host)
    text = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\nContent-Type: application/x\r\n\r\n" + bytes(1000000)
    a.send(b"a1 APPEND INBOX {%d}\r\n" % (511 << 20))
    like(a.line(), b"+ ", "511 of 512 MiB are announced")
    like(append(b, b"INBOX", literal(text + bytes(100000), binary=True)), b"NO [LIMIT]", "more than is left is refused")
    like(append(b, b"INBOX", literal(text, binary=True)), b"NO [LIMIT]", "and what is more than is left when it is encoded")
    a.close()
    wait_until(lambda: append(b, b"INBOX", literal(text, binary=True)).startswith(b"OK"), "room for it")
    ok(True, "which is taken once the first has gone")


def exchange(c, commands, together):
    """Every line that comes, commands one after another or all at once; tags are the same."""
    lines = []
    for i, command in enumerate(commands):
        c.send(b"p%d %s\r\n" % (i, command)) if not together else None
        while not together:
            lines.append(c.line())
            if lines[-1].startswith(b"p%d " % i):
                break
    if together:
        c.send(b"".join(b"p%d %s\r\n" % (i, command) for i, command in enumerate(commands)))
        while not lines or not lines[-1].startswith(b"p%d " % (len(commands) - 1)):
            lines.append(c.line())
    return lines


def plain(lines):
    """Without what the clock decides, and EXISTS and RECENT, which may come once for several."""
    lines = [re.sub(rb"(APPENDUID|COPYUID) \d+|HIGHESTMODSEQ \d+|MODSEQ \(\d+\)", rb"\1", line) for line in lines]
    return [line for line in lines if not re.search(rb"(EXISTS|RECENT)$", line)]


def random_commands(messages):
    commands = []
    while len(commands) < 120:
        kind = r.choice((b"STORE", b"UID STORE", b"COPY", b"UID COPY", b"UID EXPUNGE", b"APPEND", b"NOOP", b"FETCH", b"bad"))
        for _ in range(r.choice((1, 2, 5, 20))):
            first = r.randrange(1, messages + 1)
            numbers = r.choice((b"%d", b"%d", b"%d:%d", b"%d,%d", b"*"))
            numbers = numbers % tuple(sorted((first, r.randrange(first, messages + 1)))[:numbers.count(b"%d")]) if b"%" in numbers else numbers
            if b":" in numbers:
                numbers = b"%d:%d" % (first, min(messages, first + r.randrange(5)))
            if kind.endswith(b"STORE"):
                commands.append(b"%s %s %sFLAGS%s (%s)" % (kind, numbers, r.choice((b"+", b"-", b"")), r.choice((b"", b".SILENT")),
                                                          r.choice((b"\\Seen", b"\\Flagged key", b"\\Deleted", b""))))
            elif kind.endswith(b"COPY"):
                commands.append(b"%s %s %s" % (kind, numbers, r.choice((b"Copies", b"Copies", b"Nowhere", b"INBOX"))))
            elif kind == b"UID EXPUNGE":
                commands.append(b"UID EXPUNGE " + numbers)
            elif kind == b"APPEND":
                commands.append(r.choice((b"APPEND %s {14+}\r\nSubject: s\r\n\r\n" % r.choice((b"INBOX", b"Copies", b"Nowhere")),
                                          b"APPEND INBOX {13+}\r\nSubject: \0\r\n\r\n", b"APPEND Copies (\\Seen) {2+}\r\nab {3+}\r\nabc")))
            elif kind == b"FETCH":
                commands.append(b"UID FETCH %s (UID FLAGS)" % numbers)
            else:
                commands.append(r.choice((b"STORE 1 +FLAGS", b"UID COPY 1", b"STORE 100000 +FLAGS (\\Seen)", b"NONSENSE")) if kind == b"bad" else kind)
    return commands


def piped(host):
    """Two accounts have the same mailbox; the same commands go to one one by one, to the other at once."""
    sides = []
    for name in ("alice@example.org", "bob@example.org"):
        c = RawImap(host.connect_tls("imaps"))
        c.ok('LOGIN %s "%s"' % (name, host.accounts[name]))
        for mailbox in ("Box", "Copies"):
            if name != ALICE or mailbox == "Box":
                c.cmd("CREATE " + mailbox)
        sides.append(c)
    sides[0].cmd("CREATE Copies")
    for c in sides:
        append(c, b"Box", *[literal(text(i), b"(key) ") for i in range(60)])
        c.ok("SELECT Box")
    for turn in range(6):
        if turn == 3:
            for c in sides:
                c.ok("ENABLE QRESYNC")
        messages = int(re.search(rb"MESSAGES (\d+)", sides[0].ok("STATUS Box (MESSAGES)")[0]).group(1))
        commands = [command.replace(b"INBOX", b"Box") for command in random_commands(max(messages, 1))]
        one, all_ = (plain(exchange(c, commands, together)) for c, together in zip(sides, (False, True)))
        if not ok(one == all_, "turn %d: %d commands at once are answered as one by one" % (turn, len(commands))):
            at = next(i for i in range(len(one)) if i >= len(all_) or one[i] != all_[i])
            diag("one by one: %r" % one[max(0, at - 3):at + 4])
            diag("at once:    %r" % all_[max(0, at - 3):at + 4])
            diag("commands: %r" % [(i, c) for i, c in enumerate(commands)])
        for c in sides:
            c.ok("NOOP")
        state = [c.ok("FETCH 1:* (UID FLAGS)") for c in sides]
        is_([line for line in state[1] if line not in state[0]], [line for line in state[0] if line not in state[1]], "and leave the same")
        for c in sides:
            c.ok("SELECT Box")


class SmallHost(Host):
    def site_text(self):
        return super().site_text().replace('{ address = "%s"; }' % ALICE, '{ address = "%s"; quota = "5M"; }' % ALICE)


with SmallHost(accounts=[ALICE, "bob@example.org"], groups={"limits": "message_size = \"2M\"; errors = 1000;"}) as host:
    c = logged_in(host)
    multiappend(c)
    synchronising(c)
    binary(c)
    limits(c)
    piped(host)
with Host(accounts=[ALICE], groups={"limits": "message_size = \"1G\";"}) as host:
    budget(host)
done()
