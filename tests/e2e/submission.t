#!/usr/bin/env python3
"""Submission on 587 and 465: STARTTLS, AUTH, who may send as whom, what is added, what is taken out, and the signature."""
import base64
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, like, ok, tls_context, wait_until  # noqa: E402
from smtp_talk import Talk, messages  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"
SITE = """
aliases = ( { address = "boss@example.org"; to = ( "alice@example.org" ); },
            { address = "team@example.org"; to = ( "alice@example.org", "bob@example.org" ); } );
"""


def plain(user, password):
    return "AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()


def starttls(host):
    with Talk(host, "submission") as t:
        text = t.cmd("EHLO c.example")[1]
        ok("STARTTLS" in text and "AUTH" not in text, "587 offers STARTTLS, and AUTH only behind it")
        is_(t.cmd(plain(ALICE, host.accounts[ALICE]))[0], 538, "AUTH in the clear is refused, from loopback too")
        is_(t.cmd("MAIL FROM:<%s>" % ALICE)[0], 530, "MAIL before TLS")
        # Commands behind STARTTLS in the clear must not be carried out inside TLS (RFC 3207 4.2).
        t.send(b"STARTTLS\r\nEHLO injected.example\r\nMAIL FROM:<>\r\n")
        is_(t.reply()[0], 220, "STARTTLS")
        t.start_tls()
        is_(t.cmd("MAIL FROM:<%s>" % ALICE)[0], 503, "TLS begins anew: EHLO first, and what was injected is gone")
        text = t.cmd("EHLO c.example")[1]
        ok("STARTTLS" not in text and "AUTH PLAIN LOGIN" in text, "inside TLS: AUTH, and no STARTTLS")
        is_(t.cmd("STARTTLS")[0], 503, "STARTTLS twice")
        is_(t.cmd("MAIL FROM:<%s>" % ALICE)[0], 530, "MAIL needs AUTH")
        is_(t.cmd("RCPT TO:<%s>" % BOB)[0], 503, "and so does everything behind it")
        is_(t.cmd(plain(ALICE, "wrong"))[0], 535, "a wrong password")
        is_(t.cmd("AUTH LOGIN")[0], 334, "AUTH LOGIN asks")
        is_(t.cmd("*")[0], 501, "and can be cancelled")
        is_(t.cmd(plain(ALICE, host.accounts[ALICE]))[0], 235, "the right one")
        is_(t.cmd(plain(ALICE, host.accounts[ALICE]))[0], 503, "AUTH twice")
    with Talk(host, "submission") as t:
        t.cmd("EHLO c.example")
        t.cmd("STARTTLS")
        t.start_tls()
        t.cmd("EHLO c.example")
        codes = [t.cmd(plain(BOB, "wrong"))[0] for _ in range(3)]
        is_(codes, [535, 535, 535], "three wrong passwords")
        is_(t.reply()[0], 421, "end the session")


def login(host, service="submissions", user=ALICE):
    s = host.smtp(service)
    if service == "submission":
        s.starttls(context=tls_context())
    s.login(user, host.accounts[user])
    return s


def senders(host):
    with login(host) as s:
        s.ehlo("c.example")
        for sender, code in ((ALICE, 250), ("alice+tag@example.org", 250), ("boss@example.org", 250), ("", 250), (BOB, 553),
                             ("team@example.org", 553), ("x@example.net", 553), ("nobody@example.org", 553)):
            is_(s.mail(sender)[0], code, "alice sends as <%s>" % sender)
            s.rset()


def content(host):
    mail = (b"Return-Path: <forged@example.net>\r\nFrom: Alice <alice@example.org>\r\nTo: bob@example.org\r\n"
            b"Bcc: secret@example.org,\r\n other@example.org\r\nSubject: hello\r\n\r\nBcc: in the body stays\r\n")
    with login(host) as s:
        s.ehlo("laptop.internal.example")
        s.sendmail(ALICE, [BOB], mail)
    got = messages(host, BOB)[-1].decode()
    header = got.split("\r\n\r\n")[0]
    like(header, "\r\nDKIM-Signature: ", "the message is signed")
    like(header, " d=example.org;", "for the domain of From")
    like(header, "\r\nDate: ", "Date is added")
    like(header, "\r\nMessage-ID: <", "Message-ID is added")
    ok("secret@" not in got and "Bcc" not in header, "Bcc is taken out")
    like(got, "\r\n\r\nBcc: in the body stays\r\n", "but not of the body")
    ok("forged" not in got, "a Return-Path that came along is taken out")
    like(header, "with ESMTPSA id ", "Received says ESMTPSA")
    ok("127.0.0.1" not in got and "laptop" not in got, "and not where the user was")
    order = [header.index(w) for w in ("Return-Path", "Delivered-To", "Received: ", "DKIM-Signature", "From: Alice")]
    is_(order, sorted(order), "the fields stand in their order")
    with login(host, "submission") as s:
        try:
            s.sendmail(ALICE, [BOB], b"Subject: no from\r\n\r\nhi\r\n")
            ok(False, "a message without From is refused")
        except smtplib.SMTPDataError as e:
            is_(e.smtp_code, 550, "a message without From is refused")
        s.sendmail(ALICE, [BOB], b"From: alice@example.org\r\nDate: Tue, 24 Nov 2026 07:00:00 +0000\r\nMessage-ID: <m@x>\r\n\r\nhi\r\n")
    header = messages(host, BOB)[-1].decode().split("\r\n\r\n")[0]
    is_((header.count("\nDate:"), header.count("\nMessage-ID:")), (1, 1), "what is there already is not added again")


def remote(host):
    with login(host) as s:
        s.sendmail(ALICE, ["x@remote.invalid", "y@remote.invalid", BOB], b"From: alice@example.org\r\nSubject: out\r\n\r\nhi\r\n")
    like(messages(host, BOB)[-1], b"Subject: out", "the local recipient of a mixed one has it")
    with Talk(host, "submission") as t:  # a client that takes every refusal for a challenge
        t.cmd("EHLO c.example")
        words = ["AUTH LOGIN"] + [base64.b64encode(x.encode()).decode() for x in (ALICE, host.accounts[ALICE])]
        is_(t.codes(*words), [538, 500, 500], "AUTH LOGIN in the clear, and blindly on")
        t.cmd("RCPT TO:<x@y>")
    log = host.log()
    ok("event=authenticated account=alice@example.org" in log, "the log tells who authenticated")
    ok(host.accounts[ALICE] not in log and base64.b64encode(host.accounts[ALICE].encode()).decode() not in log, "and no password")
    ok("event=accepted-for to=y@remote.invalid" in log, "it tells of every recipient")
    ok(re.search(r"event=accepted .*first=x@remote.invalid.* message-id=\S*@mail.example.org", log), "and the Message-ID")
    ok(re.search(r"event=refused .*code=503.*helo=c.example", log), "and who was refused")


def keys_away(host):
    """While keys dies and comes back, mail is signed or refused for now, and never goes unsigned."""
    codes = set()

    def submit(i):
        with login(host) as s:
            try:
                s.sendmail(ALICE, [BOB], b"From: alice@example.org\r\nSubject: away %d\r\n\r\nhi\r\n" % i)
                return True
            except smtplib.SMTPDataError as e:
                codes.add(e.smtp_code)
                return False
    for i in range(4):
        for pid in host.children().get("keys", []):
            os.kill(pid, signal.SIGKILL)
        submit(i)
    wait_until(lambda: submit(4), "keys to be back")
    ok(codes <= {451}, "refused for now, if at all: %s" % codes)
    got = [m for m in messages(host, BOB) if b"\r\nSubject: away " in m]
    ok(len(got) > 0 and all(b"\r\nDKIM-Signature: " in m for m in got), "all %d that were taken are signed" % len(got))


def swaks(host):
    if subprocess.run(["perl", "-MNet::SSLeay", "-e", "1"], stderr=subprocess.DEVNULL).returncode != 0 or not shutil.which("swaks"):
        return diag("no swaks with TLS here: it needs libnet-ssleay-perl")
    for mechanism, service, tls in (("PLAIN", "submission", "--tls"), ("LOGIN", "submissions", "--tls-on-connect")):
        r = subprocess.run(["swaks", "--server", "127.0.0.1:%d" % host.port(service), "--to", BOB, "--from", ALICE, tls,
                            "--auth", mechanism, "--auth-user", ALICE, "--auth-password", host.accounts[ALICE]],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not ok(r.returncode == 0, "swaks on %s with %s" % (service, mechanism)):
            diag(r.stdout)


with Host(site=SITE, insecure_loopback=False) as host:
    starttls(host)
    senders(host)
    content(host)
    remote(host)
    keys_away(host)
    swaks(host)
done()
