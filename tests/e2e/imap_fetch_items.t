#!/usr/bin/env python3
"""FETCH items beyond RFC 3501: BINARY (RFC 3516), EMAILID and THREADID (8474), SAVEDATE (8514), PREVIEW (8970)."""
import base64
import quopri
import random
import re
import time

from host import Host, diag, done, is_, like, ok
from rawimap import RawImap

ALICE = "alice@example.org"
seed = random.randrange(1 << 30)
diag("seed %d" % seed)
r = random.Random(seed)


def logged_in(host):
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    return c


def content(c, uid, item):
    """(announcement, bytes) of one item's literal."""
    line = c.ok("UID FETCH %d (%s)" % (uid, item))[0]
    m = re.search(rb"(~?)\{(\d+)\}\r\n", line)
    return m.group(1), line[m.end():m.end() + int(m.group(2))]


def number(c, uid, item):
    return int(re.search(rb"\] (\d+)\)$", c.ok("UID FETCH %d (%s)" % (uid, item))[0]).group(1))


def message(*parts):
    """multipart/mixed of (header lines, body)."""
    text = b"From: a@example.net\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=b\"\r\n\r\n"
    for head, body in parts:
        text += b"--=b\r\n" + head + b"\r\n" + body + b"\r\n"
    return text + b"--=b--\r\n"


def lines(data, n=76):
    return b"\r\n".join(data[i:i + n] for i in range(0, len(data), n))


B64 = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
QP = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"


def binary(c):
    short = r.randbytes(5000) + b"\0"
    long = r.randbytes(3000000)
    words = b"\r\n".join(b"".join(r.choice((b"a", b"=", b" ", b"\t", b"\xc3\xbc")) for _ in range(r.randrange(200))).rstrip(b" \t")
                         for _ in range(15000))
    quoted = quopri.encodestring(words.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    text = message((B64, lines(base64.b64encode(short))), (QP, b"h=C3=BCbsch  \r\nweich=\r\ner =\r\n"), (B64, lines(base64.b64encode(long))),
                   (QP, quoted), (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n", b"begin"),
                   (b"Content-Type: text/plain\r\n", b"plain"), (b"Content-Type: message/rfc822\r\n", message((B64, b"aGFsbG8="))))
    uid = int(re.search(rb"APPENDUID \d+ (\d+)", c.append("INBOX", text)).group(1))
    c.ok("SELECT INBOX")
    is_(content(c, uid, "BINARY.PEEK[1]"), (b"~", short), "base64 with a NUL is a literal8")
    is_(content(c, uid, "BINARY.PEEK[2]"), (b"", b"h\xc3\xbcbsch\r\nweicher "), "quoted-printable")
    is_(content(c, uid, "BINARY.PEEK[6]"), (b"", b"plain"), "what is not encoded")
    is_(content(c, uid, "BINARY.PEEK[7.1]"), (b"", b"hallo"), "a part of an inner message")
    is_(content(c, uid, "BINARY.PEEK[7]")[1], message((B64, b"aGFsbG8=")), "an inner message stays as it is")
    is_(content(c, uid, "BINARY.PEEK[]")[1], text, "and so does the whole")
    is_([number(c, uid, "BINARY.SIZE[%s]" % p) for p in ("", "1", "2", "3", "4", "6")],
        [len(text), len(short), 17, len(long), len(words), 5], "sizes")
    got = content(c, uid, "BINARY.PEEK[3]")[1]
    ok(got == long, "3 MB of base64, streamed")
    got = content(c, uid, "BINARY.PEEK[4]")[1]
    ok(got == words, "long quoted-printable, streamed") or diag("%d bytes, wanted %d" % (len(got), len(words)))
    wrong = []
    for _ in range(60):
        part, whole = r.choice(((1, short), (3, long), (4, words)))
        origin = r.choice((0, 1, r.randrange(len(whole)), len(whole) - 1, len(whole), len(whole) + 5))
        size = r.choice((1, 10, 4097, 131072, r.randrange(1, len(whole)), len(whole) + 1))
        got = content(c, uid, "BINARY.PEEK[%d]<%d.%d>" % (part, origin, size))[1]
        if got != whole[origin:origin + size]:
            wrong.append((part, origin, size, len(got)))
    is_(wrong, [], "60 random partials")
    line = c.ok("UID FETCH %d (BINARY.SIZE[3] BINARY.PEEK[1]<0.3> BINARY.PEEK[2] BINARY.SIZE[4] BINARY.PEEK[3]<5.2>)" % uid)[0]
    is_(line[line.index(b"BINARY"):], b"BINARY.SIZE[3] %d BINARY[1]<0> ~{3}\r\n%s BINARY[2] {17}\r\nh\xc3\xbcbsch\r\nweicher  BINARY.SIZE[4] %d "
        b"BINARY[3]<5> ~{2}\r\n%s)" % (len(long), short[:3], len(words), long[5:7]), "several in one command, in order")
    is_(c.cmd("UID FETCH %d BINARY.PEEK[5]" % uid), (b"NO [UNKNOWN-CTE] A part has an encoding that is not known.", []), "UNKNOWN-CTE")
    like(c.ok("UID FETCH %d BINARY.PEEK[9]" % uid)[0], b"BINARY[9] NIL", "a part that is not there")
    like(c.ok("UID FETCH %d BINARY.SIZE[9]" % uid)[0], b"BINARY.SIZE[9] 0", "and its size")
    like(c.ok("UID FETCH %d FLAGS" % uid)[0], b"FLAGS (\\Recent)", "BINARY.PEEK does not mark as seen")
    like(c.ok("UID FETCH %d BINARY[6]" % uid)[0], b"\\Seen", "BINARY does")


def identity(c):
    before = time.time()
    one = int(re.search(rb"APPENDUID \d+ (\d+)", c.append("INBOX", b"Subject: same\r\n\r\nx\r\n", '"01-Jan-2001 00:00:00 +0000" ')).group(1))
    two = int(re.search(rb"APPENDUID \d+ (\d+)", c.append("INBOX", b"Subject: same\r\n\r\ny\r\n")).group(1))
    c.ok("NOOP")
    made = re.search(rb"^OK \[MAILBOXID \((\w+)\)\]", c.cmd("CREATE Other")[0]).group(1)
    c.ok("UID COPY %d Other" % one)

    def ids(uids):
        return [re.search(rb"EMAILID \(([A-Za-z0-9_-]+)\)", line).group(1)
                for line in c.ok("UID FETCH %s (EMAILID THREADID)" % uids) if b"FETCH" in line]
    first = ids("%d,%d" % (one, two))
    ok(len(first) == 2 and first[0] != first[1], "each message has an EMAILID of its own: %r" % (first,))
    like(c.ok("UID FETCH %d THREADID" % one)[0], b"THREADID NIL", "THREADID is NIL")
    line = c.ok("UID FETCH %d (SAVEDATE INTERNALDATE)" % one)[0]
    saved = re.search(rb'SAVEDATE "([^"]+)"', line).group(1).decode()
    when = time.mktime(time.strptime(saved, "%d-%b-%Y %H:%M:%S %z")) - time.timezone
    ok(before - 2 <= when <= time.time() + 2, "SAVEDATE is now: %s" % saved)
    like(line, b'INTERNALDATE " 1-Jan-2001 00:00:00 +0000"', "INTERNALDATE is what was given")
    c.ok("RENAME Other Renamed")
    like(b" ".join(c.ok("STATUS Renamed (MAILBOXID)")), b"(MAILBOXID (%s))" % made, "MAILBOXID: CREATE, a rename, STATUS")
    like(b" ".join(c.ok("SELECT Renamed")), b"[MAILBOXID (%s)]" % made, "MAILBOXID: SELECT")
    is_(ids("1"), first[:1], "a copy keeps its EMAILID")
    is_(c.ok("SEARCH EMAILID %s" % first[0].decode()), [b"* SEARCH 1"], "SEARCH EMAILID")
    is_(c.ok("SEARCH EMAILID %s" % first[1].decode()), [b"* SEARCH"], "SEARCH EMAILID of another")
    c.ok("UID MOVE 1 INBOX")
    c.ok("SELECT INBOX")
    is_(ids("*"), first[:1], "and so does what is moved")


def preview(c):
    cases = [
        (b"Subject: s\r\n\r\nHello   there,\r\n\r\nhow are\tyou?\r\n", b'"Hello there, how are you?"', "blanks are one space"),
        (b"Subject: s\r\n\r\nOn Monday x wrote:\r\n> quoted\r\nYes.\r\n", b'"On Monday x wrote: Yes."', "quoted lines are left out"),
        (b"Subject: s\r\n\r\n> only\r\n> quoted\r\n", b'"> only > quoted"', "unless there is nothing else"),
        (b"Subject: s\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<style>p {}</style><p>A <b>bo</b>ld &amp; word<br>next</p>\r\n",
         b'"A bold & word next"', "HTML as its text"),
        (b"Subject: s\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nsch\xf6n \"q\"\r\n", b'{10}\r\nsch\xc3\xb6n "q"', "UTF-8, as a literal"),
        (b"Subject: s\r\n\r\n" + b"word " * 100 + b"\r\n", b'"' + (b"word " * 40).strip() + b'"', "200 characters"),
        (b"Subject: s\r\n\r\n", b'""', "no text"),
        (message((b"Content-Type: text/plain\r\n", b" "), (b"Content-Type: image/png\r\n", b"png"), (b"Content-Type: text/plain\r\n", b"second")),
         b'"second"', "the first text part that has any"),
        (message((B64, b"AAAA")), b'""', "nothing but an attachment"),
        (b"Subject: s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + "\u200b\u00a0\u034fö".encode() * 250 + b"\r\n",
         b"{299}\r\n" + ("ö " * 100).strip().encode(), "what cannot be seen is dropped"),
    ]
    for text, want, name in cases:
        c.append("INBOX", text)
        c.ok("NOOP")
        line = [line for line in c.ok("UID FETCH * (PREVIEW)") if b"PREVIEW" in line][0]
        got = re.search(rb"PREVIEW (.*)\)$", line, re.S).group(1)
        is_(got, want, "PREVIEW: " + name)
    like(c.ok("UID FETCH * (PREVIEW (LAZY))")[0], b"PREVIEW {", "PREVIEW (LAZY)")
    like(c.ok("UID FETCH * (FLAGS)")[0], b"FLAGS (\\Recent)", "PREVIEW does not mark as seen")


with Host(accounts=[ALICE]) as host:
    c = logged_in(host)
    binary(c)
    identity(c)
    preview(c)
done()
