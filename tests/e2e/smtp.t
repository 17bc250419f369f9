#!/usr/bin/env python3
"""Receiving on port 25: verbs and reply codes, pipelining, BDAT, SIZE, limits, and that what went in comes out."""
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, freeze, is_, like, ok, wait_until  # noqa: E402
from smtp_talk import Talk, count, messages, shutdown_write  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"
SITE = """
aliases = ( { address = "team@example.org"; to = ( "alice@example.org", "bob@example.org" ); } );
lists = ( { address = "news@example.org"; members = ( "bob@example.org" ); owner = "alice@example.org"; } );
"""
GROUPS = {"limits": 'message_size = "8M"; recipients = 5; errors = 10; idle = "10s";'}
HELLO = b"EHLO c.example\r\n"


def dialogue(host):
    with Talk(host) as t:
        is_(t.greeting[0], 220, "the greeting is 220")
        like(t.greeting[1], "mail.example.org ESMTP", "and names the host")
        code, text = t.cmd("EHLO c.example")
        is_(code, 250, "EHLO")
        for word in ("PIPELINING", "SIZE 8388608", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "STARTTLS", "HELP"):
            ok(word in text.split("\n"), "EHLO offers %s" % word)
        ok("AUTH" not in text, "and no AUTH on port 25")
        is_(t.codes("NOOP", "HELP", "RSET", "VRFY alice", "EXPN team", "FOO", "AUTH PLAIN AAAA"),
            [250, 214, 250, 252, 502, 500, 503], "NOOP HELP RSET VRFY EXPN, an unknown verb, AUTH")
        is_(t.codes("RCPT TO:<alice@example.org>", "DATA"), [503, 503], "RCPT and DATA before MAIL")
        is_(t.codes("MAIL FROM:<s@example.net>", "MAIL FROM:<s@example.net>", "DATA"), [250, 503, 503],
            "MAIL twice, DATA without a recipient")
        is_(t.cmd("RCPT TO:<nobody@example.org>"), (550, "5.1.1 Unknown here"), "an unknown recipient is refused at RCPT")
        is_(t.codes("QUIT"), [221], "QUIT")
        ok(t.closed(), "and it closes")
    with Talk(host) as t:
        code, text = t.cmd("HELO c.example")
        is_((code, text.count("\n")), (250, 0), "HELO gets no extensions")


def transactions(host):
    body = b"From: s@example.net\r\nSubject: one\r\n\r\n..leading dot\r\ncaf\xc3\xa9\r\n" + b"x" * 5000 + b"\r\n"
    with Talk(host) as t:
        code, text = t.transaction(body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        is_(code, 250, "a message is taken")
        like(text, "2.0.0 Ok queued as ", "with its id")
        ident = text.split()[-1]
    got = messages(host, ALICE)
    is_(len(got), 1, "and is there")
    ok(got[0].endswith(b"\r\n" + body), "byte-identical behind the trace headers, with a line of 5000 octets")
    trace = got[0][:-len(body)].decode()
    like(trace, "Return-Path: <s@example.net>\r\nDelivered-To: alice@example.org\r\nReceived: from c.example ([127.0.0.1])",
         "Return-Path, Delivered-To and Received stand above it")
    like(trace, "by mail.example.org (mailadm) with ESMTP id %s\r\n\tfor <alice@example.org>;" % ident, "Received tells the rest")
    with Talk(host) as t:
        all_at_once = HELLO + b"MAIL FROM:<>\r\nRCPT TO:<team@example.org>\r\nRCPT TO:<alice+tag@example.org>\r\nDATA\r\n"
        is_(t.pipeline(all_at_once, 5), [250, 250, 250, 250, 354], "a pipelined group, to an alias and a tagged address")
        is_(t.pipeline(b"Subject: two\r\n\r\nhi\r\n.\r\nMAIL FROM:<a@example.net>\r\nQUIT\r\n", 3), [250, 250, 221],
            "content and the next commands in one write")
    is_((count(host, ALICE), count(host, BOB)), (2, 1), "each account has it once")
    like(messages(host, ALICE)[1], b"Return-Path: <>\r\n", "the null sender stays null")
    with Talk(host) as t:
        is_(t.transaction(b"Subject: list\r\n\r\nhi\r\n.\r\n", to="news@example.org")[0], 250, "mail to a list")
    like(messages(host, BOB)[-1], b"Return-Path: <alice@example.org>\r\n", "is sent on by its owner")
    with Talk(host) as t:
        t.codes("EHLO c.example", "MAIL FROM:<s@example.net>", "RCPT TO:<alice@example.org>", "DATA")
        t.send(b"Subject: cut\r\n\r\nhalf a mess")
        shutdown_write(t)
        ok(t.closed(), "a client that goes away in DATA")
    is_(count(host, ALICE), 2, "leaves nothing")


def bdat(host):
    with Talk(host) as t:
        t.codes("EHLO c.example", "MAIL FROM:<s@example.net> BODY=8BITMIME", "RCPT TO:<bob@example.org>")
        is_(t.pipeline(b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 5\r\n\r\n.\r\nBDAT 4 LAST\r\n\r\nhi", 3), [250, 250, 250], "BDAT in three chunks")
        is_(t.codes("MAIL FROM:<>", "RCPT TO:<bob@example.org>"), [250, 250], "and the next transaction")
        is_(t.pipeline(b"BDAT 0 LAST\r\n", 1), [250], "BDAT 0 LAST: an empty message")
        is_(t.pipeline(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", 2), [503, 250], "BDAT out of order consumes its octets")
        t.codes("MAIL FROM:<>", "RCPT TO:<bob@example.org>")
        is_(t.pipeline(b"BDAT 3\r\na\nbBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", 3), [550, 503, 250], "after a refused chunk the next is refused and consumed")
    like(messages(host, BOB)[-2], b"\r\nSubject: x\r\n\r\n\r\n.\r\n\r\nhi\r\n", "dots are nothing special in chunks")


def sizes(host):
    with Talk(host) as t:
        is_(t.codes("EHLO c", "MAIL FROM:<> SIZE=8388609"), [250, 552], "a declared size over the limit: refused at MAIL")
        code, text = t.transaction(b"Subject: big\r\n\r\n" + b"0123456789abcde\r\n" * 500000 + b".\r\n")
        is_((code, text[:5]), (552, "5.3.4"), "an undeclared one: refused at the end")
        is_(t.cmd("NOOP")[0], 250, "and the session goes on")
        body = b"Subject: large\r\n\r\n" + b"".join(b"line %07d\r\n" % i for i in range(400000))
        is_(t.transaction(body + b".\r\n", to=BOB)[0], 250, "%d octets are taken" % len(body))
    ok(messages(host, BOB)[-1].endswith(b"\r\n" + body), "and come out byte-identical")
    with Talk(host) as t:
        code, text = t.transaction(b"X: y\r\n" + b"Received: x\r\n" * 51 + b"\r\n.\r\n")
        is_((code, text[:5]), (554, "5.4.6"), "51 hops are a loop")
        code, text = t.transaction(b"X: " + b"a" * 1100000 + b"\r\n\r\nhi\r\n.\r\n")
        is_((code, text[:5]), (552, "5.3.4"), "a header over 1 MiB")


def limits(host):
    with Talk(host) as t:
        codes = t.codes("EHLO c", "MAIL FROM:<>", *["RCPT TO:<alice+%d@example.org>" % i for i in range(6)])
        is_(codes, [250] * 7 + [452], "the sixth recipient of five: 452")
    with Talk(host) as t:
        codes = []
        while len(codes) < 20 and 421 not in codes and 0 not in codes:
            codes.append(t.cmd("WHAT")[0])
            if codes[-1] == 500 and len(codes) == 11:
                codes.append(t.reply()[0])
        is_(codes, [500] * 11 + [421], "after ten errors the next one ends the session")
    with Talk(host) as t:
        is_(t.codes("EHLO c", b"NOOP " + b"x" * 3000, "NOOP"), [250, 500, 250], "a line over 2048 octets is refused")
        is_(t.cmd(b"NOOP " + b"x" * 20000)[0], 500, "and one over all bounds")
        ok(t.closed(), "ends the session")


def early(host):
    pids = host.children().get("smtp", [])
    ok(pids, "smtp processes are there")
    for pid in pids:
        freeze(pid)
    t = Talk(host, greet=False)
    t.send(HELLO)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    is_(t.reply()[0], 554, "who speaks before the greeting is told 554")
    ok(t.closed(), "and is gone")


def tls(host):
    with Talk(host) as t:
        is_(t.codes("EHLO c.example", "MAIL FROM:<>", "STARTTLS"), [250, 250, 220], "STARTTLS, even within a transaction")
        t.start_tls()
        is_(t.cmd("RCPT TO:<%s>" % ALICE)[0], 503, "which is forgotten")
        is_(t.transaction(b"Subject: tls\r\n\r\nhi\r\n.\r\n")[0], 250, "a message inside TLS")
    got = messages(host, ALICE)[-1].decode()
    like(got, "with ESMTPS id ", "Received says ESMTPS")
    like(got, "(using TLSv1.3 with cipher ", "and which cipher")


def swaks(host):
    if shutil.which("swaks") is None:
        return diag("no swaks here")
    ssl = subprocess.run(["perl", "-MNet::SSLeay", "-e", "1"], stderr=subprocess.DEVNULL).returncode == 0
    r = subprocess.run(["swaks", "--server", "127.0.0.1:%d" % host.port("smtp"), "--to", ALICE, "--from", "s@example.net",
                        "--header", "Subject: swaks", "--body", "hello"] + (["--tls"] if ssl else []),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not ok(r.returncode == 0, "swaks delivers" + (" by TLS" if ssl else "")):
        diag(r.stdout)


def reload(host):
    """A new alias: sessions that stand keep the site they began with, new ones see it."""
    with Talk(host) as before:
        before.codes("EHLO c", "MAIL FROM:<>")
        with open(host.conf) as f:
            text = f.read()
        with open(host.conf, "w") as f:
            f.write(text.replace("team@example.org", "crew@example.org"))
        host.cli("reload")


        def new_session():
            with Talk(host) as t:
                return t.codes("EHLO c", "MAIL FROM:<>", "RCPT TO:<crew@example.org>", "RCPT TO:<team@example.org>")[2:]
        ok(wait_until(lambda: new_session() == [250, 550], "the new site", 10), "a new session follows the new site")
        is_(before.codes("RCPT TO:<team@example.org>", "RCPT TO:<crew@example.org>"), [250, 550], "an old one the old")
        is_(before.codes("DATA"), [354], "and goes on")
        before.send(b"Subject: old\r\n\r\nhi\r\n.\r\n")
        is_(before.reply()[0], 250, "to its end")


def timeouts(host, idle, slow, started):
    """idle never spoke; slow sends single bytes of one command."""
    while time.monotonic() - started < 9.5:
        try:
            slow.send(b"N")
        except OSError:
            break
        wait = time.monotonic() + 1
        wait_until(lambda: time.monotonic() > wait, "a second")
    is_(idle.reply()[0], 421, "an idle session gets 421")
    is_(slow.reply()[0], 421, "and so does one that dribbles a command")


with Host(site=SITE, groups=GROUPS) as host:
    idle, slow, started = Talk(host), Talk(host), time.monotonic()
    dialogue(host)
    transactions(host)
    bdat(host)
    sizes(host)
    limits(host)
    early(host)
    tls(host)
    swaks(host)
    reload(host)
    timeouts(host, idle, slow, started)
    log = host.log()
    like(log, "event=accepted", "the log tells what was accepted")
    like(log, "event=refused", "and what was refused")
done()
