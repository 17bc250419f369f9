#!/usr/bin/env python3
"""SMTP smuggling: only CR LF . CR LF ends a message.  Every other end is content, refuses the message, and hides no second one."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, done, is_, ok  # noqa: E402
from smtp_talk import Talk, count, messages  # noqa: E402

ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n.\r\r\n", b"\n\n.\n", b"\n\n.\r\n", b"\r\r\n.\n", b"\n\r.\r\n",
        b"\r.\n", b"\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\0\n", b"\r\0\n.\r\n", b"\r\n\n.\r\n", b"\r\n\r.\r\n", b"\r\n.\n\r\n",
        b"\r\n.\n.\r\n.", b"\r\n.\r.\r\n.", b"\n.\n\r\n", b"\r\n..\n", b"\r\n..\r", b"\r\n.\n.\n", b"\0\r\n", b"\r\n\r\n.\n\r\n"]
CLEAN = [b"\r\n..\r\n", b"\r\n...\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\r\n.a\r\n", b"\r\n\x0b.\r\n", b"\r\n\x0c.\r\n", b"\r\n\xc2\x85.\xc2\x85\r\n",
         b"\r\n\xe2\x80\xa8.\xe2\x80\xa8\r\n", b"\r\n.\t\r\n"]
INNER = b"MAIL FROM:<admin@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nFrom: admin@example.org\r\nSubject: smuggled\r\n\r\nsmuggled"
GROUPS = {"limits": "errors = 1000;"}


def attempt(host, end, slices):
    """The replies to a message that holds `end` and a whole transaction behind it; then to NOOP."""
    data = b"From: s@example.net\r\nSubject: outer\r\n\r\nouter" + end + INNER + b"\r\n.\r\n"
    with Talk(host) as t:
        t.codes("EHLO c.example", "MAIL FROM:<s@example.net>", "RCPT TO:<alice@example.org>", "DATA")
        if slices:
            for i in range(len(data)):
                t.send(data[i:i + 1])
        else:
            t.send(data)
        first = t.reply()[0]
        return first, t.cmd("NOOP")


with Host(groups=GROUPS) as host:
    for end in ENDS:
        for slices in (False, True):
            first, noop = attempt(host, end, slices)
            ok(first in (550, 554), "%r%s is refused (%d)" % (end, " byte by byte" if slices else "", first))
            is_(noop, (250, "2.0.0 Ok"), "and what stood behind it was no command")
    is_((count(host, "alice@example.org"), count(host, "bob@example.org")), (0, 0), "no message came of any of them")
    for end in CLEAN:
        is_(attempt(host, end, False)[0], 250, "%r is a line like others" % end)
    got = messages(host, "alice@example.org")
    is_(len(got), len(CLEAN), "each of those is one message")
    ok(all(m.endswith(b"\r\nsmuggled\r\n") for m in got), "with the rest inside")
    is_(count(host, "bob@example.org"), 0, "and nothing for bob")
    # In commands too: a bare LF or CR ends the session, so nothing behind it is carried out.
    for line in (b"NOOP\nNOOP\r\n", b"NOOP\rNOOP\r\n", b"NO\0OP\r\n", b"MAIL FROM:<a@example.net>\nRCPT TO:<bob@example.org>\r\n",
                 b"\n", b"\r\r\n", b"EHLO a\n\r\n"):
        with Talk(host) as t:
            t.send(line + b"NOOP\r\n")
            is_(t.reply()[0], 500, "command %r is refused" % line)
            ok(t.closed(), "and the session ends")
    # Chunks carry no dots, and the same rules.
    for chunk in (b"a\nb", b"a\rb", b"a\0b", b"a\r"):
        with Talk(host) as t:
            t.codes("EHLO c", "MAIL FROM:<>", "RCPT TO:<bob@example.org>")
            ok(t.pipeline(b"BDAT %d LAST\r\n" % len(chunk) + chunk, 1)[0] in (550, 554), "a chunk with %r is refused" % chunk)
            is_(t.cmd("NOOP")[0], 250, "and the session goes on")
    is_(count(host, "bob@example.org"), 0, "and nothing came of them either")
done()
