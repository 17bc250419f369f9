#!/usr/bin/env python3
"""What the site says of addresses, seen from outside: aliases, lists, plus-addresses, catch-all, postmaster and abuse, accents and
case, the protocol switch, quota, default mailboxes, and the throttling of failed logins."""
import imaplib
import os
import poplib
import smtplib
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import PASSWORD, Host, done, is_, like, ok  # noqa: E402

ALICE, BOB, JORG, NOPOP, SMALL = ("alice@example.org", "bob@example.org", "jörg@example.org", "imaponly@example.org", "small@example.org")
SITE = """
aliases = ( { address = "info@example.org"; to = ( "alice@example.org", "bob@example.org" ); },
            { address = "chain@example.org"; to = ( "info@example.org" ); } );
lists = ( { address = "team@example.org"; members = ( "alice@example.org", "bob@example.org" ); owner = "bob@example.org"; } );
domains = ( { name = "example.org"; catch_all = "bob@example.org"; }, { name = "example.net"; } );
accounts = ( { address = "alice@example.org"; }, { address = "bob@example.org"; }, { address = "jörg@example.org"; },
             { address = "imaponly@example.org"; protocols = ( "imap" ); }, { address = "small@example.org"; quota = "20k"; } );
"""


class Named(Host):
    """host.py's site, with this test's own domains and accounts."""

    def site_text(self):
        lines = [x for x in super().site_text().splitlines() if not x.startswith(("domains =", "accounts ="))]
        return "\n".join(lines) + SITE


def subjects(host, account, mailbox="INBOX"):
    m = host.imap()
    m.login(account, PASSWORD) if account.isascii() else m.authenticate("PLAIN", lambda _: f"\0{account}\0{PASSWORD}".encode())
    m.select(mailbox, readonly=True)
    answer = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (Subject)])")[1]
    m.logout()
    return [part[1].decode().split(":", 1)[1].strip() for part in answer if isinstance(part, tuple)]


def send(host, to, subject):
    with host.smtp() as s:
        s.ehlo("elsewhere.example")
        s.mail("someone@elsewhere.example")
        code, text = s.rcpt(to)
        if code != 250:
            return code, text.decode(errors="replace")
        code, text = s.data(f"Subject: {subject}\r\n\r\nbody\r\n".encode())
        return code, text.decode(errors="replace")


def utf8_rcpt(host, to, subject):
    """smtplib encodes commands as ASCII: by hand."""
    s = host.connect("smtp")
    f = s.makefile("rwb")
    f.readline()

    def say(line):
        f.write(line + b"\r\n")
        f.flush()
        reply = f.readline()
        while reply[3:4] == b"-":
            reply = f.readline()
        return reply.decode(errors="replace").strip()
    say(b"EHLO elsewhere.example")
    say(b"MAIL FROM:<someone@elsewhere.example> SMTPUTF8")
    reply = say(b"RCPT TO:<" + to.encode() + b">")
    if reply.startswith("250"):
        say(b"DATA")
        reply = say(f"Subject: {subject}\r\n\r\nbody\r\n.".encode())
    s.close()
    return reply


def addresses(host):
    for to, subject in (("info@example.org", "alias"), ("chain@example.org", "alias of an alias"), ("Alice+shop@Example.ORG", "plus, case"),
                        ("nobody-at-all@example.org", "catch-all"), ("postmaster@example.net", "postmaster"),
                        ("ABUSE@example.org", "abuse"), ("team@example.org", "list")):
        code, text = send(host, to, subject)
        is_(code, 250, f"{subject}: mail to {to} is taken ({text})")
    code, text = send(host, "nobody@example.net", "unknown")
    ok(code == 550 and "5.1.1" in text, f"an unknown recipient of a domain without catch-all is refused at RCPT: {code} {text}")
    alice, bob = subjects(host, ALICE), subjects(host, BOB)
    is_(alice, ["alias", "alias of an alias", "plus, case", "postmaster", "abuse", "list"], "alice, who is also the administrator, has hers")
    is_(bob, ["alias", "alias of an alias", "catch-all", "list"], "bob has his, once each")
    m = host.imap(BOB)
    m.select("INBOX", readonly=True)
    head = m.fetch("4", "(BODY.PEEK[HEADER.FIELDS (Return-Path)])")[1][0][1]
    m.logout()
    like(head, b"<bob@example.org>", "what a list expands bounces to its owner")


def accents(host):
    for to, subject in (("jörg@example.org", "composed"), ("jo\u0308rg@example.org", "decomposed"), ("JÖRG@EXAMPLE.ORG", "capitals")):
        reply = utf8_rcpt(host, to, subject)
        ok(reply.startswith("250"), f"{subject}: {reply}")
    is_(subjects(host, JORG), ["composed", "decomposed", "capitals"], "an accented local part is one address however it is written")


def protocols(host):
    m = host.imap()
    m.login(NOPOP, PASSWORD)
    names = " ".join(line.decode() for line in m.list()[1])
    for use in ("\\Sent", "\\Drafts", "\\Trash", "\\Junk"):
        like(names, use, f"a new account has a mailbox for {use}")
    is_(len(m.lsub()[1]), 5, "its mailboxes are subscribed")
    m.logout()
    try:
        p = host.pop3()
        p.user(NOPOP)
        p.pass_(PASSWORD)
        ok(False, "POP3 is off for it")
    except poplib.error_proto:
        ok(True, "POP3 is off for it")
    with host.smtp("submissions") as s:
        try:
            s.login(NOPOP, PASSWORD)
            ok(False, "submission is off for it")
        except smtplib.SMTPAuthenticationError:
            ok(True, "submission is off for it")


def quota(host):
    code, text = send(host, SMALL, "x" * 60)
    is_(code, 250, "a small message fits the quota")
    with host.smtp() as s:
        s.ehlo("elsewhere.example")
        s.mail("someone@elsewhere.example")
        s.rcpt(SMALL)
        code, text = s.data(b"Subject: large\r\n\r\n" + b"y" * 900 + (b"\r\n" + b"y" * 900) * 40 + b"\r\n")
        ok(code == 452 and b"4.2.2" in text, f"a large one does not: {code} {text}")


def throttled(host):
    """limits.auth_failures is 3 here; loopback is throttled by account alone."""
    for n in range(3):
        try:
            host.imap().login(BOB, f"wrong password {n}")
            ok(False, "a wrong password is refused")
        except imaplib.IMAP4.error as e:
            like(str(e), "AUTHENTICATIONFAILED", f"wrong password {n + 1} is refused")
    try:
        host.imap().login(BOB, "wrong password 4")
        ok(False, "then it is throttled")
    except imaplib.IMAP4.error as e:
        ok("AUTHENTICATIONFAILED" not in str(e), f"then it is throttled: {e}")
    m = host.imap(ALICE)
    is_(m.select("INBOX")[0], "OK", "another account is not")
    m.logout()
    like(host.log(), "result=throttled", "the log says so")


with Named(accounts=[ALICE, BOB, JORG, NOPOP, SMALL], groups={"limits": "auth_failures = 3;"}) as host:
    addresses(host)
    accents(host)
    protocols(host)
    quota(host)
    throttled(host)
done()
