#!/usr/bin/env python3
"""ENABLE, CONDSTORE and QRESYNC (RFC 5161, 7162): modseqs, conditional STORE, VANISHED, resynchronisation."""
import re

from host import Host, done, is_, like, ok
from rawimap import RawImap

ALICE = "alice@example.org"


def logged_in(host):
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    return c


def number(lines, word):
    """The number of [WORD n]."""
    for line in lines if isinstance(lines, list) else [lines]:
        m = re.search(rb"\[%s (\d+)\]" % word.encode(), line)
        if m:
            return int(m.group(1))
    return None


def modseq(lines, uid):
    for line in lines:
        if re.search(rb"UID %d\b" % uid, line):
            return int(re.search(rb"MODSEQ \((\d+)\)", line).group(1))
    return None


def plain(lines):
    """Without the modseqs' values."""
    return [re.sub(rb"MODSEQ \(\d+\)", b"MODSEQ (n)", line) for line in lines]


with Host() as host:
    a, b = logged_in(host), logged_in(host)
    is_(a.ok("ENABLE CONDSTORE X-NOTHING"), [b"* ENABLED CONDSTORE"], "ENABLE CONDSTORE")
    for i in range(5):
        a.append("INBOX", b"Subject: %d\r\n\r\nx\r\n" % i)
    lines = a.ok("SELECT INBOX")
    high = number(lines, "HIGHESTMODSEQ")
    ok(high and high > 0, "SELECT has HIGHESTMODSEQ")
    validity = number(lines, "UIDVALIDITY")

    # CONDSTORE
    lines = a.ok("UID STORE 2 +FLAGS (\\Flagged)")
    is_(plain(lines), [b"* 2 FETCH (UID 2 MODSEQ (n) FLAGS (\\Flagged \\Recent))"], "STORE tells the modseq")
    two = modseq(lines, 2)
    ok(two > high, "and it has risen")
    lines = a.ok("STORE 3 +FLAGS.SILENT (\\Seen)")
    is_(plain(lines), [b"* 3 FETCH (UID 3 MODSEQ (n))"], "so does .SILENT, alone")
    is_(a.ok("NOOP"), [], "and it is not told twice")
    status, lines = a.cmd("UID STORE 1:5 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Answered)" % two)
    is_(status, b"OK [MODIFIED 3] Some had been changed.", "UNCHANGEDSINCE leaves what has changed")
    is_(plain(lines), [b"* %d FETCH (UID %d MODSEQ (n))" % (n, n) for n in (1, 2, 4, 5)], "and changes the others")
    status, lines = a.cmd("STORE 1:5 (UNCHANGEDSINCE %d) -FLAGS (\\Answered)" % two)
    is_(status, b"OK [MODIFIED 1:5] Some had been changed.", "none is left")
    is_(len(lines), 5, "and each is told as it is")
    like(a.cmd("STORE 1 (UNCHANGEDSINCE x) +FLAGS (\\Seen)")[0], b"BAD", "not a modseq")
    like(a.cmd("STORE 1 (UNCHANGEDSINCE 9223372036854775808) +FLAGS (\\Seen)")[0], b"BAD", "64 bits are too many")
    like(a.cmd("STORE 1 (SINCE 1) +FLAGS (\\Seen)")[0], b"BAD", "another modifier")
    three = modseq(a.ok("UID FETCH 3 (MODSEQ)"), 3)
    lines = a.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % three)
    is_(plain(lines), [b"* %d FETCH (UID %d FLAGS (%s\\Recent) MODSEQ (n))" % (n, n, f) for n, f in
                       ((1, b"\\Answered "), (2, b"\\Answered \\Flagged "), (4, b"\\Answered "), (5, b"\\Answered "))], "CHANGEDSINCE")
    is_(a.ok("FETCH 3 (FLAGS) (CHANGEDSINCE %d)" % three), [], "nothing of what is asked for")
    like(a.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % three)[0], b"BAD", "VANISHED only with QRESYNC")
    # Another session, without: no MODSEQ anywhere; then the flags it sets are told to the first with MODSEQ.
    b.ok("SELECT INBOX")
    is_(b.ok("STORE 4 FLAGS (\\Draft)"), [b"* 4 FETCH (FLAGS (\\Draft))"], "no MODSEQ for who did not ask")
    is_(plain(a.ok("NOOP")), [b"* 4 FETCH (MODSEQ (n) FLAGS (\\Draft \\Recent))"], "but for who did")
    b.ok("FETCH 5 BODY[]")
    is_(plain(a.ok("NOOP")), [b"* 5 FETCH (MODSEQ (n) FLAGS (\\Seen \\Answered \\Recent))"], "reading too")
    is_(plain(a.ok("FETCH 1 BODY[TEXT]"))[0].count(b"MODSEQ"), 1, "the implicit \\Seen has its MODSEQ")

    # QRESYNC
    like(a.cmd("SELECT INBOX (QRESYNC (%d 1))" % validity)[0], b"BAD", "QRESYNC has to be enabled")
    a.ok("SELECT INBOX")
    is_(a.ok("ENABLE QRESYNC"), [b"* ENABLED QRESYNC"], "ENABLE QRESYNC")
    known = number(a.ok("SELECT INBOX"), "HIGHESTMODSEQ")
    b.ok("STORE 2,3 +FLAGS (\\Deleted)")
    like(b.cmd("EXPUNGE")[0], b"OK EXPUNGE", "no modseq for who did not ask")
    lines = a.ok("NOOP")
    is_([line for line in lines if b"VANISHED" in line or b"EXPUNGE" in line], [b"* VANISHED 2:3"], "VANISHED instead of EXPUNGE")
    a.append("INBOX", b"Subject: new\r\n\r\nx\r\n")
    a.ok("NOOP")
    like(b.ok("NOOP")[0], b"EXISTS", "the other sees the new one")
    b.ok("STORE 1 +FLAGS ($Later)")
    is_([line for line in plain(a.ok("NOOP")) if b"FETCH" in line], [b"* 1 FETCH (UID 1 MODSEQ (n) FLAGS (\\Seen \\Answered $Later))"],
        "UID and MODSEQ with flags")
    status, lines = a.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % known)
    is_(plain(lines), [b"* VANISHED (EARLIER) 2:3", b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered $Later) MODSEQ (n))",
                       b"* 4 FETCH (UID 6 FLAGS (\\Recent) MODSEQ (n))"], "FETCH VANISHED")
    a.ok("UNSELECT")
    lines = a.ok("SELECT INBOX (QRESYNC (%d %d))" % (validity, known))
    is_(plain(lines)[-3:-1], [b"* VANISHED (EARLIER) 2:3", b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered $Later) MODSEQ (n))"],
        "SELECT with QRESYNC tells what changed")
    lines = a.ok("SELECT INBOX (QRESYNC (%d %d 1,3:4))" % (validity, known))
    ok(b"* OK [CLOSED] The mailbox before is closed." == lines[0], "the mailbox before is closed")
    is_([line for line in lines if b"VANISHED" in line], [b"* VANISHED (EARLIER) 3"], "only of the known UIDs")
    lines = a.ok("SELECT INBOX (QRESYNC (%d %d 1:6 (1,4 1,4)))" % (validity, known))
    is_([line for line in lines if b"VANISHED" in line], [b"* VANISHED (EARLIER) 2:3"], "with match data")
    lines = a.ok("EXAMINE INBOX (QRESYNC (%d %d))" % (validity + 1, known))
    is_([line for line in lines if b"VANISHED" in line or b"FETCH" in line], [], "nothing for another UIDVALIDITY")
    for bad in ("QRESYNC", "QRESYNC ()", "QRESYNC (0 1)", "QRESYNC (1 0)", "QRESYNC (1 2 3 4)", "QRESYNC (1 2 3 (1))", "QRESYNC (1 2) QRESYNC (1 2)",
                "XRESYNC"):
        like(a.cmd("SELECT INBOX (%s)" % bad)[0], b"BAD", bad)
    is_(a.ok("UID FETCH 1 (FLAGS)")[0][:20], b"* 1 FETCH (UID 1 FLA", "the mailbox is still selected after BAD")
    a.ok("SELECT INBOX")
    a.ok("STORE 1 +FLAGS (\\Deleted)")
    status, lines = a.cmd("UID EXPUNGE 1:*")
    ok(number(status, "HIGHESTMODSEQ") is not None, "EXPUNGE has HIGHESTMODSEQ")
    is_(lines, [b"* VANISHED 1"], "and VANISHED")
    is_(number(status, "HIGHESTMODSEQ"), number(a.ok("EXAMINE INBOX"), "HIGHESTMODSEQ"), "which is the mailbox's")

    # A mailbox with more expunges than are remembered is compared with what is there.
    a.ok("CREATE box")
    for i in range(30):
        b.append("box", b"\r\n")
    before = a.ok("SELECT box")
    b.ok("SELECT box")
    b.ok("STORE 2:9,20:22,30 +FLAGS.SILENT (\\Deleted)")
    b.ok("EXPUNGE")
    lines = a.ok("SELECT box (QRESYNC (%d %d))" % (number(before, "UIDVALIDITY"), number(before, "HIGHESTMODSEQ")))
    is_([line for line in lines if b"VANISHED" in line], [b"* VANISHED (EARLIER) 2:9,20:22,30"], "ranges, and the last UID")
    c = logged_in(host)
    c.ok("ENABLE QRESYNC")
    tag = a.start("IDLE")
    a.line()
    c.ok("SELECT box")
    c.ok("STORE 1 +FLAGS (\\Flagged)")
    is_(plain([a.line()]), [b"* 1 FETCH (UID 1 MODSEQ (n) FLAGS (\\Flagged))"], "in IDLE too")
    a.send(b"DONE\r\n")
    a.finish(tag)
done()
