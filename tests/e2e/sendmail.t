#!/usr/bin/env python3
"""mailadm sendmail and mailq: what cron and scripts rely on, and the exit codes."""
import email.header
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, Host, done, is_, like, ok  # noqa: E402
from smtp_talk import messages  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"


def send(host, args, text, conf=None):
    data = text if isinstance(text, bytes) else text.encode()
    return subprocess.run([MAILADM, "-c", conf or host.conf, "sendmail"] + args, input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=30)


def last(host, address=ALICE):
    return messages(host, address)[-1].decode()


def refused(host, args, text, code, part, name):
    r = send(host, args, text)
    is_(r.returncode, code, name)
    like(r.stderr.decode(), part, "and says why")


with Host(groups={"host": ""}, site='admin = { contact = "alice@example.org"; };\n') as host:
    r = send(host, ["-i", "root"], "Subject: cron\n\nit ran\n.\nand went on\n")
    is_((r.returncode, r.stderr), (0, b""), "cron's way: sendmail -i root")
    got = last(host)
    like(got, "\r\nSubject: cron\r\n\r\nit ran\r\n.\r\nand went on\r\n", "the text came through, dot and all")
    like(got, "\r\nFrom: ", "From was added")
    like(got, "@mail.example.org>\r\n", "with the host's name")
    like(got, "\r\nDate: ", "Date was added")
    like(got, "\r\nMessage-ID: <", "Message-ID was added")
    like(got, "Received: from localhost (uid %d)" % os.getuid(), "Received says who it was")

    send(host, [BOB], "Subject: dot\n\nfirst\n.\nsecond\n")
    ok(last(host, BOB).endswith("\r\n\r\nfirst\r\n"), "without -i a lone dot ends the message")
    r = send(host, ["-t", "-f", "script@example.org", "-F", "The, Script"],
             "To: Alice <alice@example.org>\nCc: bob@example.org\nBcc: hidden@example.org\nSubject: t\n\nhi\n")
    is_(r.returncode, 67, "-t with an unknown Bcc: 67, and nobody gets it")
    r = send(host, ["-ti", "-fscript@example.org", "-F", "The, Script"],
             "To: Alice <alice@example.org>,\n  Bob <bob@example.org>\nBcc: postmaster@example.org\nSubject: t\n\nhi\n")
    is_(r.returncode, 0, "-t takes the recipients from the header")
    got = last(host, BOB)
    like(got, "Return-Path: <script@example.org>\r\n", "-f is the envelope sender")
    like(got, '\r\nFrom: "The, Script" <script@example.org>\r\n', "-F is the name")
    ok("Bcc" not in got, "Bcc is gone")

    r = send(host, ["-oi", "-oem", "-odi", "-B8BITMIME", "-bm", "-N", "never", "--", ALICE], b"no header here\r\nbare \r progress\r\nnul \0 byte\nlast line without end")
    is_(r.returncode, 0, "ignored flags, mixed line ends, no header, a NUL, no last newline")
    like(last(host), "\r\n\r\nno header here\r\nbare \r\n progress\r\nnul  byte\r\nlast line without end\r\n", "all is made CRLF text")
    r = send(host, [ALICE + ", Bob <bob@example.org>"], "From nobody Tue Nov 24 07:00:00 2026\nSubject: mbox\n\nhi\n")
    is_(r.returncode, 0, "addresses with commas and names; a From_ line")
    ok("From nobody" not in last(host, BOB), "which is dropped")
    r = send(host, ["-f", "<>", ALICE], "Subject: null\n\nhi\n")
    like(last(host), "Return-Path: <>\r\n", "-f '<>' is the null sender")
    r = send(host, [ALICE], "Subject: gr\u00fc\u00dfe\n\n\u00e4\n")
    is_(r.returncode, 0, "a header in UTF-8")
    like(last(host), "UTF8SMTP", "goes with SMTPUTF8")
    r = send(host, ["-F", "J\u00f6rg " + "\u00e4" * 40, ALICE], "Subject: accents\n\nhi\n")
    got = last(host)
    name = email.header.make_header(email.header.decode_header(email.message_from_string(got)["From"]))
    like(str(name), "J\u00f6rg " + "\u00e4" * 40 + " <", "a name with accents is encoded")
    ok("UTF8SMTP" not in got, "and needs no SMTPUTF8")
    r = send(host, ["nightly-job"], "Subject: stray\n\nhi\n")
    is_(r.returncode, 0, "a local name that nobody has")
    like(last(host), "Subject: stray", "goes to the administrator")
    r = send(host, ["x@remote.invalid"], "Subject: out\n\nhi\n")
    is_(r.returncode, 0, "a remote recipient")

    refused(host, [], "hi\n", 64, "no recipient", "no recipient: 64")
    refused(host, ["-t"], "Subject: x\n\nhi\n", 64, "no recipient", "-t without any: 64")
    refused(host, ["--nonsense", ALICE], "hi\n", 64, "not known", "an unknown option: 64")
    refused(host, ["nobody@example.org"], "hi\n", 67, "Unknown here", "an unknown recipient: 67")
    refused(host, [ALICE, "nobody@example.org"], "Subject: both\n\nhi\n", 67, "nobody@example.org", "one unknown of two: 67")
    ok("Subject: both" not in last(host), "and then nobody has it")

    r = send(host, ["-bs"], "EHLO x\r\nNOOP\r\nQUIT\r\n")
    is_([line[:4] for line in r.stdout.decode().splitlines() if line[3:4] == " "], ["220 ", "250 ", "250 ", "221 "], "-bs speaks SMTP")
    queue = json.loads(host.cli("mailq", "--json").stdout)
    is_([x["address"] for entry in queue for x in entry["recipients"]] in ([], ["x@remote.invalid"]), True, "mailq --json is a list")
    is_(send(host, ["-bp"], "").returncode, 0, "-bp shows the queue")
    is_(send(host, ["-bi"], "").returncode, 0, "-bi has nothing to do")
    host.stop()
    refused(host, [ALICE], "hi\n", 75, "does not answer", "the host does not run: 75")
    r = send(host, ["--help"], "")
    like(r.stdout.decode(), "Example:", "--help has an example")
done()
