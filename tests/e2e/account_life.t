#!/usr/bin/env python3
"""The life of an account: suspend, close, resume, forward, rename, hand-over, export, erase, of a running host."""
import imaplib
import json
import os
import smtplib
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, PASSWORD, diag, done, is_, like, ok, tls_context, wait_until  # noqa: E402

A, B = "alice@example.org", "bob@example.org"
L, N, F = "leaver@example.org", "new@example.org", "far@example.org"


def add(host, address):
    host.cli("account", "add", address)
    host.cli("account", "passwd", address, input=PASSWORD + "\n")
    host.accounts[address] = PASSWORD


def logs_in(host, address):
    try:
        host.imap(address).logout()
        return True
    except imaplib.IMAP4.error:
        return False


def mail(host, to, subject, sender="s@example.net"):
    try:
        host.deliver(to, ("From: s@example.net\r\nSubject: %s\r\n\r\nx\r\n" % subject).encode(), sender)
        return 250
    except smtplib.SMTPRecipientsRefused as e:
        return list(e.recipients.values())[0][0]


def subjects(host, address, folder="INBOX"):
    c = host.imap(address)
    out = []
    if c.select('"%s"' % folder, readonly=True)[0] == "OK":
        for part in c.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] or []:
            if isinstance(part, tuple):
                out.append(part[1].decode().strip().split(": ", 1)[1])
    else:
        out = None
    c.logout()
    return out


def suspend(host):
    session = host.imap(L)
    submission = host.smtp("submission")
    submission.starttls(context=tls_context())
    submission.login(L, PASSWORD)
    host.cli("account", "suspend", L)

    def ended():
        try:
            session.noop()
            return False
        except (imaplib.IMAP4.error, OSError):
            return True
    ok(wait_until(ended, "the session's end"), "suspend ends a session")
    is_(submission.mail(L)[0], 553, "and what had logged in to send sends no more")
    submission.close()
    ok(not logs_in(host, L), "nobody logs in")
    is_(mail(host, L, "while suspended"), 250, "mail keeps coming")
    host.cli("account", "close", L)
    is_(mail(host, L, "while closed"), 550, "to a closed account it does not")
    host.cli("account", "forward", L, B, "--no-copy")
    is_(mail(host, L, "onward"), 250, "a closed account that forwards takes it")
    is_(subjects(host, B), ["onward"], "and sends it on")
    host.cli("account", "forward", L, "--off")
    host.cli("account", "resume", L)
    ok(logs_in(host, L), "resume")
    is_(subjects(host, L), ["while suspended"], "what came meanwhile is there")
    is_(host.cli("account", "suspend", A, check=False).returncode, 1, "an account that was written by hand is changed by hand")


def forward(host):
    host.cli("account", "forward", L, B, F)
    is_(mail(host, L, "copy"), 250, "forward")
    is_([subjects(host, x)[-1] for x in (L, B, F)], ["copy"] * 3, "with a copy, to two")
    host.cli("account", "forward", F, L, "--no-copy")
    host.cli("account", "forward", L, F, "--no-copy")
    is_(mail(host, L, "circle"), 250, "a circle of forwards")
    is_([subjects(host, x)[-1] for x in (L, F)].count("circle"), 1, "loses nothing and doubles nothing")
    host.cli("account", "forward", L, "--off")
    host.cli("account", "forward", F, "--off")
    r = host.cli("account", "forward", L, "nobody@example.org", check=False)
    is_(r.returncode, 2, "to nobody")
    like(r.stderr, "nobody here", "is refused")


def rename(host):
    before = subjects(host, L)
    host.cli("account", "rename", L, N, "--alias")
    host.accounts[N] = PASSWORD
    ok(logs_in(host, N) and not logs_in(host, L), "the new address logs in with the old password, the old one not")
    is_(subjects(host, N), before, "the mail is there")
    is_(mail(host, L, "to the old one"), 250, "mail to the old address")
    is_(subjects(host, N)[-1], "to the old one", "comes to the new one")
    is_(host.cli("account", "rename", N, A, check=False).returncode, 1, "not onto another account")
    ok(logs_in(host, N), "and nothing has changed then")


def hand_over(host):
    before = subjects(host, N)
    r = host.cli("--json", "account", "hand-over", N, A, "--folder", "From new")
    is_(json.loads(r.stdout)["messages"], len(before), "hand-over says how many")
    is_(subjects(host, A, "From new/INBOX"), before, "a leaver's mail is in a folder")
    is_(host.cli("account", "hand-over", N, N, check=False).returncode, 2, "not to itself")


def erase(host):
    mail(host, F, "last")
    r = host.cli("account", "erase", F, "--yes", check=False)
    is_(r.returncode, 1, "what is in use is not erased")
    host.cli("account", "suspend", F)
    host.cli("account", "export", "mbox", F, host.dir + "/far")
    ok("Subject: last" in open(host.dir + "/far/INBOX").read(), "export for who asks")
    is_(host.cli("account", "erase", F, check=False, input="").returncode, 1, "erase asks")
    r = host.cli("--json", "account", "erase", F, "--yes", check=False)
    is_(r.returncode, 0, "erase") or diag(r.stderr)
    ok(F not in host.cli("account", "list").stdout, "the account is gone")
    ok(F not in open(host.dir + "/state/credentials").read(), "and its password")
    is_(host.cli("account", "erase", F, "--yes", check=False).returncode, 1, "again: there is nothing")
    add(host, F)
    is_(subjects(host, F), [], "who gets the address later finds nothing")
    is_(host.cli("store", "verify", check=False).returncode, 0, "the store is whole")


with Host(accounts=[A, B]) as running:
    add(running, L)
    add(running, F)
    suspend(running)
    forward(running)
    rename(running)
    hand_over(running)
    erase(running)
done()
