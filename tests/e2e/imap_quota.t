#!/usr/bin/env python3
"""QUOTA: roots, what is in use, and what is refused over the limit."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import PASSWORD, Host, done, is_, like, ok  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE, BOB, CAROL = ("%s@example.org" % n for n in ("alice", "bob", "carol"))
MESSAGE = b"From: a@example.org\r\nSubject: test\r\n\r\n"


def raw(host, user):
    c = RawImap(host.connect("imap"))
    c.ok('LOGIN %s "%s"' % (user, host.accounts[user]))
    return c


class Site(Host):
    """alice has limits of bytes and messages, bob of bytes, carol none; the domain has one."""

    def site_text(self):
        text = super().site_text()
        text = text.replace('"%s"; }' % ALICE, '"%s"; quota = "100K"; quota_messages = 4; }' % ALICE)
        text = text.replace('"%s"; }' % BOB, '"%s"; quota = "50K"; }' % BOB)
        return text.replace('{ name = "example.org"; }', '{ name = "example.org"; quota = "130K"; }')


with Site(accounts={a: PASSWORD for a in (ALICE, BOB, CAROL)}, groups={"limits": 'quota_warnings = "";'}) as host:
    a, b, c = raw(host, ALICE), raw(host, BOB), raw(host, CAROL)
    is_(a.ok("GETQUOTAROOT INBOX"),
        [b'* QUOTAROOT "INBOX" "alice@example.org" "example.org"', b'* QUOTA "alice@example.org" (STORAGE 0 100 MESSAGE 0 4)',
         b'* QUOTA "example.org" (STORAGE 0 130)'], "GETQUOTAROOT")
    is_(c.ok("GETQUOTAROOT INBOX"), [b'* QUOTAROOT "INBOX" "example.org"', b'* QUOTA "example.org" (STORAGE 0 130)'],
        "of an account without a limit")
    is_(c.ok("GETQUOTA carol@example.org"), [b'* QUOTA "carol@example.org" ()'], "its own root has no limits")
    body = MESSAGE + b"x" * (10 * 1024 - len(MESSAGE))
    a.append("INBOX", body)
    a.append("Sent", body + b"x")
    is_(a.ok("GETQUOTA Alice@EXAMPLE.org"), [b'* QUOTA "alice@example.org" (STORAGE 21 100 MESSAGE 2 4)'], "in use, rounded up")
    is_(b.ok("GETQUOTA example.org"), [b'* QUOTA "example.org" (STORAGE 21 130)'], "the domain's, for all in it")
    for root in ("alice@example.org", "nobody@example.org", "example.net", '""', "x"):
        like(b.cmd("GETQUOTA " + root)[0], b"NO [NONEXISTENT]", "GETQUOTA %s of another" % root)
    a.ok("SETACL Sent bob@example.org l")
    like(b.cmd("GETQUOTAROOT user/alice@example.org/Sent")[0], b"NO [NOPERM]", "a mailbox that may not be read")
    a.ok("SETACL Sent bob@example.org lri")
    like(b"\n".join(b.ok("GETQUOTAROOT user/alice@example.org/Sent")), b'* QUOTA "alice@example.org" (STORAGE 21 100 MESSAGE 2 4)',
         "a shared mailbox counts for its owner")
    like(b.cmd("GETQUOTA alice@example.org")[0], b"OK", "whose root can be seen then")
    like(b.append("user/alice@example.org/Sent", body), b"OK", "what another puts there")
    like(b"\n".join(a.ok("GETQUOTA alice@example.org")), b"STORAGE 31 100 MESSAGE 3 4", "is the owner's")
    is_(b.ok("GETQUOTA bob@example.org"), [b'* QUOTA "bob@example.org" (STORAGE 0 50)'], "not who put it")
    like(a.append("INBOX", body), b"OK", "the fourth message")
    like(a.append("INBOX", MESSAGE), b"NO [OVERQUOTA]", "the fifth is over the limit of messages")
    like(b.append("user/alice@example.org/Sent", MESSAGE), b"NO [OVERQUOTA]", "for others too")
    b.append("INBOX", MESSAGE)
    b.ok("SELECT INBOX")
    like(b.cmd("COPY 1 user/alice@example.org/Sent")[0], b"NO [OVERQUOTA]", "COPY into it")
    like(b.cmd("MOVE 1 user/alice@example.org/Sent")[0], b"NO [OVERQUOTA]", "MOVE into it")
    ok(b"* 1 EXISTS" in b.ok("SELECT INBOX"), "which took nothing away")
    like(b.append("INBOX", MESSAGE + b"x" * 50 * 1024), b"NO [OVERQUOTA]", "over the limit of bytes")
    like(c.append("INBOX", MESSAGE + b"x" * 100 * 1024), b"NO [OVERQUOTA]", "over the domain's")
    a.ok("SELECT INBOX")
    a.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    is_(a.ok("STATUS Sent (DELETED DELETED-STORAGE)"), [b'* STATUS "Sent" (DELETED 0 DELETED-STORAGE 0)'], "DELETED-STORAGE")
    a.ok("EXPUNGE")
    like(b"\n".join(a.ok("GETQUOTA alice@example.org")), b"STORAGE 31 100 MESSAGE 3 4", "EXPUNGE gives room")
    like(a.cmd("SETQUOTA alice@example.org (STORAGE 1000)")[0], b"NO [NOPERM]", "SETQUOTA is the administrator's")
    like(a.cmd("SETQUOTA alice@example.org ()")[0], b"NO [NOPERM]", "SETQUOTA of nothing too")
    for bad in ("SETQUOTA x", "SETQUOTA x STORAGE 1", "SETQUOTA x (STORAGE)", "GETQUOTA", "GETQUOTAROOT"):
        like(a.cmd(bad)[0], b"BAD", "%s is wrong" % bad)
    plain = host.imap(BOB)
    is_(plain.getquota(BOB), ("OK", [b'"bob@example.org" (STORAGE 1 50)']), "imaplib reads it")
    is_(plain.getquotaroot("INBOX")[0], "OK", "and the root")
    words = a.ok("CAPABILITY")[0].split()
    for word in (b"QUOTA", b"QUOTA=RES-STORAGE", b"QUOTA=RES-MESSAGE"):
        ok(word in words, "%s is advertised" % word.decode())
done()
