#!/usr/bin/env python3
"""SEARCH's newer keys, ESEARCH, SEARCHRES, SORT, ESORT and THREAD (RFC 4731, 5032, 5182, 5256, 5267, 7162, 8474, 8514)."""
import os
import random
import re

from host import Host, diag, done, is_, like, ok
from rawimap import RawImap

ALICE = "alice@example.org"
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))


def logged_in(host):
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    return c


def message(n, sender, subject, extra=""):
    return ("From: %s\r\nTo: alice@example.org\r\nSubject: %s\r\nMessage-ID: <m%d@x>\r\nDate: Thu, 1 Jan 2026 %02d:00:00 +0000\r\n%s\r\nbody %d\r\n"
            % (sender, subject, n, 23 - n, extra, n)).encode()


def one(c, command):
    """The only untagged line (none: b'')."""
    lines = [line for line in c.ok(command) if re.match(rb"\* (SEARCH|ESEARCH|SORT|THREAD)", line)]
    return re.sub(rb'\(TAG "[^"]*"\)', b"(TAG)", b" | ".join(lines))


def esearch(c):
    is_(one(c, "SEARCH RETURN () ALL"), b"* ESEARCH (TAG) ALL 1:6", "RETURN () is ALL")
    is_(one(c, "UID SEARCH RETURN (ALL) ALL"), b"* ESEARCH (TAG) UID ALL 1:2,4:7", "UIDs in ranges without the gap")
    is_(one(c, "UID SEARCH RETURN (MIN MAX COUNT) SUBJECT apple"), b"* ESEARCH (TAG) UID MIN 2 MAX 5 COUNT 2", "MIN MAX COUNT")
    is_(one(c, "SEARCH RETURN (MIN COUNT ALL) SUBJECT nothing"), b"* ESEARCH (TAG) COUNT 0", "nothing found")
    tag = c.start("SEARCH RETURN (COUNT) ALL")
    is_(c.finish(tag)[1], [b'* ESEARCH (TAG "%s") COUNT 6' % tag], "the tag is named")
    status, _ = c.cmd("SEARCH RETURN (UPDATE) ALL")
    like(status, b"BAD", "an unknown option")


def keys(c):
    is_(one(c, "SEARCH YOUNGER 600 NOT OLDER 600"), b"* SEARCH 1 2 3 4 5 6", "YOUNGER and OLDER")
    is_(one(c, "SEARCH SAVEDATESUPPORTED SAVEDSINCE 1-Jan-2020 NOT SAVEDBEFORE 1-Jan-2020"), b"* SEARCH 1 2 3 4 5 6", "SAVED...")
    email_id = re.search(rb"EMAILID \(([^)]+)\)", b" ".join(c.ok("FETCH 2 EMAILID"))).group(1).decode()
    is_(one(c, "SEARCH EMAILID " + email_id), b"* SEARCH 2", "EMAILID")
    is_(one(c, "SEARCH THREADID " + email_id), b"* SEARCH", "THREADID")
    is_(one(c, "SEARCH FROM alice FROM smith"), b"* SEARCH 2", "FROM twice")
    lines = c.ok("SEARCH MODSEQ 1 1:2")
    ok(any(re.match(rb"\* SEARCH 1 2 \(MODSEQ \d+\)$", line) for line in lines), "MODSEQ: the highest one is told: %r" % lines)
    like(b" ".join(lines), b"[HIGHESTMODSEQ ", "... and switches CONDSTORE on")
    modseq = int(re.search(rb"MODSEQ \((\d+)\)", b" ".join(c.ok("STORE 3 +FLAGS (\\Flagged)"))).group(1))
    is_(one(c, "SEARCH MODSEQ %d" % modseq), b"* SEARCH 3 (MODSEQ %d)" % modseq, "MODSEQ finds what changed")
    is_(one(c, "SEARCH RETURN (MIN) MODSEQ %d" % modseq), b"* ESEARCH (TAG) MIN 3 MODSEQ %d" % modseq, "... in ESEARCH")
    is_(one(c, "SEARCH MODSEQ %d" % (modseq + 1)), b"* SEARCH", "... and nothing when nothing did")


def saved(c, other):
    is_(one(c, "SEARCH RETURN (SAVE) SUBJECT apple"), b"", "SAVE alone tells nothing")
    is_(one(c, "UID SEARCH $"), b"* SEARCH 2 5", "$ in SEARCH")
    is_(one(c, "SEARCH 1:3 UID $"), b"* SEARCH 2", "UID $")
    is_([line.split(b" ")[1] for line in c.ok("FETCH $ (UID)")], [b"2", b"4"], "$ in FETCH")
    is_(sorted(line.split(b" ")[1] for line in c.ok("UID STORE $ +FLAGS (\\Draft)")), [b"2", b"4"], "$ in STORE")
    like(c.cmd("UID COPY $ Drafts")[0], b"COPYUID", "$ in COPY")
    is_(one(c, "SEARCH RETURN (SAVE MIN COUNT) DRAFT"), b"* ESEARCH (TAG) MIN 2 COUNT 2", "SAVE beside others")
    is_(one(c, "SEARCH $"), b"* SEARCH 2 4", "... COUNT: all is saved")
    c.ok("SEARCH RETURN (SAVE MAX) DRAFT")
    is_(one(c, "SEARCH $"), b"* SEARCH 4", "... MAX alone: just that one")
    c.ok("SEARCH RETURN (SAVE) ALL")
    other.ok("UID STORE 4 +FLAGS (\\Deleted)")
    other.ok("UID EXPUNGE 4")
    c.ok("NOOP")
    is_(one(c, "UID SEARCH RETURN () $"), b"* ESEARCH (TAG) UID ALL 1:2,5:7", "an expunged message leaves $")
    like(c.cmd("SEARCH RETURN (SAVE) CHARSET klingon ALL")[0], b"BADCHARSET", "a SAVE that fails")
    is_(one(c, "SEARCH $"), b"* SEARCH", "... leaves nothing")
    is_(c.cmd("FETCH $ (UID)")[0][:2], b"OK", "an empty $ is no error")
    c.ok("SEARCH RETURN (SAVE) ALL")
    like(c.cmd("SEARCH RETURN (SAVE) BOGUS")[0], b"BAD", "a SAVE that is wrong")
    is_(one(c, "SEARCH $"), b"* SEARCH 1 2 3 4 5", "... leaves what was")
    c.ok("SELECT INBOX")
    is_(one(c, "SEARCH $"), b"* SEARCH", "SELECT leaves nothing")


def sort(c):
    is_(one(c, "UID SORT (SUBJECT) UTF-8 ALL"), b"* SORT 2 5 1 6 7", "SORT SUBJECT, equal ones in the order of their numbers")
    is_(one(c, "UID SORT (REVERSE SUBJECT DATE) UTF-8 ALL"), b"* SORT 7 6 1 5 2", "two keys")
    is_(one(c, "SORT (FROM) UTF-8 ALL"), b"* SORT 2 3 4 5 1", "SORT FROM")
    is_(one(c, "SORT RETURN (MIN MAX COUNT ALL) (DATE) UTF-8 UID 1:2"), b"* ESEARCH (TAG) MIN 2 MAX 1 COUNT 2 ALL 2,1", "ESORT")
    like(c.cmd("SORT (DATE) KLINGON ALL")[0], b"NO [BADCHARSET", "an unknown charset")
    like(c.cmd("SORT (X) UTF-8 ALL")[0], b"BAD", "an unknown key")
    is_(one(c, "UID THREAD REFERENCES UTF-8 ALL"), b"* THREAD (7)(6)(5 2)(1)", "THREAD REFERENCES")
    is_(one(c, "THREAD ORDEREDSUBJECT UTF-8 UID 2:5"), b"* THREAD (3 2)", "THREAD ORDEREDSUBJECT")
    is_(one(c, "THREAD REFERENCES UTF-8 SUBJECT nothing"), b"* THREAD", "nothing to thread")


def grows(c):
    """Orders stay right while the mailbox changes: each answer against a sort of our own."""
    r = random.Random(SEED)
    diag("seed %d" % SEED)
    c.ok("CREATE Many")
    c.ok("SELECT Many")
    rows, next_uid, wrong = [], 1, []
    for _ in range(12):
        for _ in range(r.randrange(1, 15)):
            subject, sender = "w%d %s" % (r.randrange(6), "tail" * r.randrange(4)), "p%d" % r.randrange(5)
            c.append("Many", message(r.randrange(20), sender + "@x", subject, "X: 1\r\n"))
            rows.append((next_uid, subject.strip(), sender))
            next_uid += 1
        if rows and r.random() < 0.6:
            gone = r.choice(rows)
            c.ok("UID STORE %d +FLAGS.SILENT (\\Deleted)" % gone[0])
            c.ok("EXPUNGE")
            rows.remove(gone)
        for command, key, back in (("SUBJECT", 1, False), ("FROM", 2, False), ("REVERSE FROM", 2, True)):
            # A reverse key turns the order, but equal ones stay in that of their numbers: sorted() does both.
            want = [row[0] for row in sorted(rows, key=lambda row: row[key].upper(), reverse=back)]
            got = [int(n) for n in one(c, "UID SORT (%s) UTF-8 ALL" % command).split()[2:]]
            if got != want:
                wrong.append((command, got, want))
        sender = "p%d@" % r.randrange(5)
        got = [int(n) for n in one(c, "UID SEARCH FROM %s" % sender).split()[2:]]
        if got != [row[0] for row in rows if row[2] + "@" == sender]:
            wrong.append(("FROM", got))
    is_(wrong, [], "SORT and FROM stay right while messages come and go")


with Host() as host:
    c, other = logged_in(host), logged_in(host)
    for client in (c, other):
        client.ok("SELECT INBOX")
    texts = [("zoe@x", "Carrot", ""), ('"Alice Smith" <amy@x>', "apple", "References: <m5@x>\r\n"), ("gone@x", "gone", ""),
             ("bob@x", "later gone", ""), ("carl@x", "Re: Apple", ""), ("dora@x", "pear", ""), ("eve@x", "=?utf-8?q?Z=C3=BCrich?=", "")]
    for n, (sender, subject, extra) in enumerate(texts, 1):
        c.append("INBOX", message(n, sender, subject, extra))
    c.ok("UID STORE 3 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    other.ok("NOOP")
    esearch(c)
    keys(c)
    saved(c, other)
    sort(c)
    grows(c)
done()
