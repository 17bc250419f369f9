#!/usr/bin/env python3
"""mailadm export: what import reads back is the same, byte for byte, of a running host and a stopped one; a real Dovecot
serves the exported Maildir as it was."""
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from dovecot import Dovecot, there  # noqa: E402
from host import Host, diag, done, is_, ok  # noqa: E402

SEED = int(os.environ.get("SEED", time.time()))
rng = random.Random(SEED)
diag("SEED=%d" % SEED)
A, B, C, D = ("%s@example.org" % n for n in ("alice", "bob", "carol", "dave"))
FOLDERS = ("INBOX", "Sent", "A.b/C", "A.b", "B&APY-se Dinge/&AMQ-", "INBOX/x")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Forwarded", "red", "x-y")
BODIES = (b"", b"\r\n", b"no header\r\n", b"\r\n\r\nFrom x\r\n", b"Status: RO\r\nX-UID: 99\r\nContent-Length: 3\r\n\r\nFrom here\r\n>From there\r\n",
          b"From: x\r\n\r\nFrom a Thu Nov 24 15:22:24 2016\r\n\r\nFrom b Thu Nov 24 15:22:24 2016\r\n", b"A: b\r\n\r\n\r\r\nx\r\r\n\r\n\r\n",
          b"X: \xc3\xa4\xff\x80\r\n\r\n\x01\x02" + b"z" * 9000 + b"\r\n", b"From nobody 12:00\r\nX: y\r\n\r\nb\r\n")


def fill(host):
    c = host.imap(A)
    for folder in FOLDERS[2:] + ("Empty",):
        c.create('"%s"' % folder)
    c.unsubscribe('"A.b"')
    for n in range(120):
        body = BODIES[n] if n < len(BODIES) else b"Subject: %d\r\n\r\n" % n + rng.randbytes(rng.randrange(3000)).replace(b"\0", b"").replace(
            b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
        flags = " ".join(f for f in FLAGS if rng.random() < 0.3)
        date = time.strftime("%d-%b-%Y %H:%M:%S", time.gmtime(1500000000 + n * 86401))
        typ, answer = c.append('"%s"' % FOLDERS[n % len(FOLDERS)], "(%s)" % flags, '"%s +0000"' % date, body)
        if typ != "OK" and body:
            diag(answer)
    c.select("INBOX")
    c.uid("STORE", "3,4", "+FLAGS", "(\\Deleted)")
    c.uid("EXPUNGE", "3,4")
    c.logout()
    host.deliver(A, b"From: s@example.net\r\nSubject: delivered\r\n\r\nx\r\n")


def content(c, folder):
    assert c.select('"%s"' % folder, readonly=True)[0] == "OK", folder
    validity = c.response("UIDVALIDITY")[1][0]
    out = {}
    head = ""
    for part in c.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1] or []:
        if part is None:
            continue
        if isinstance(part, tuple):
            head, body = part[0].decode(), part[1]
            continue
        head += part.decode()
        if "BODY[] \"\"" in head or "BODY[] NIL" in head:
            body = b""
        uid = int(re.search(r"UID (\d+)", head)[1])
        flags = set(re.search(r"FLAGS \(([^)]*)\)", head)[1].split()) - {"\\Recent"}
        when = re.search(r'INTERNALDATE "([^"]*)"', head)[1]
        out[uid] = (sorted(flags), time.mktime(__import__("imaplib").Internaldate2tuple(b'INTERNALDATE "%s"' % when.encode())),
                    len(body), hashlib.sha256(body).hexdigest())
        head = ""
    return validity, out


def all_of(c, folders=FOLDERS):
    return {f: content(c, f) for f in folders}


def compare(got, want, what):
    for folder in want:
        is_(got[folder], want[folder], "%s: %s" % (what, folder))


with Host(accounts=[A, B, C, D]) as host:
    fill(host)
    a = host.imap(A)
    want = all_of(a)
    subscribed = sorted(a.lsub()[1])
    top = host.dir + "/out"
    r = host.cli("--json", "export", "maildir", A, top)
    report = json.loads(r.stdout)
    is_((report["messages"], report["problem_count"]), (sum(len(v[1]) for v in want.values()), 0), "a Maildir of all messages")
    is_(host.cli("export", "maildir", A, top, check=False).returncode, 2, "not over what is there")
    r = host.cli("--json", "import", "maildir", B, top, check=False)
    is_((r.returncode, json.loads(r.stdout)["imported"]), (0, report["messages"]), "and back") or diag(r.stdout)
    b = host.imap(B)
    compare(all_of(b), want, "maildir")
    is_(sorted(b.lsub()[1]), subscribed, "subscriptions too")
    ok(b.select("Empty", readonly=True)[0] == "OK", "and an empty mailbox")

    r = host.cli("--json", "store", "export", "mbox", A, host.dir + "/boxes")
    is_(json.loads(r.stdout)["messages"], report["messages"], "mbox files of all messages, by store export")
    r = host.cli("--json", "import", "mbox", C, host.dir + "/boxes", check=False)
    is_((r.returncode, json.loads(r.stdout)["imported"]), (0, report["messages"]), "and back") or diag(r.stdout)
    c = host.imap(C)
    got = all_of(c)
    # An mbox ends each message with a newline: what has none, and what is empty, cannot come back as it was.
    odd = {uid for uid, v in want["INBOX"][1].items() if v[2] == 0}
    for uid in odd:
        got["INBOX"][1].pop(uid, None)
        want["INBOX"][1].pop(uid)
    compare(got, want, "mbox")
    for x in (a, b, c):
        x.logout()

    if there():
        with Dovecot() as dovecot:
            shutil.copytree(top, dovecot.maildir("moved"))
            for path, _, files in os.walk(dovecot.maildir("moved")):
                os.chown(path, dovecot.mail.pw_uid, dovecot.mail.pw_gid)
                for f in files:
                    os.chown(os.path.join(path, f), dovecot.mail.pw_uid, dovecot.mail.pw_gid)
            d = dovecot.imap("moved")
            for ours, theirs in (("INBOX", "INBOX"), ("Sent", "Sent"), ("B&APY-se Dinge/&AMQ-", "B&APY-se Dinge.&AMQ-")):
                got = content(d, theirs)
                for uid in odd if ours == "INBOX" else ():
                    got[1].pop(uid, None)
                # Dovecot hands out what has no CRLF line ends as CRLF; a bare CR stays.
                is_({u: v[:2] for u, v in got[1].items()}, {u: v[:2] for u, v in want[ours][1].items()}, "Dovecot shows %s with UIDs, flags, dates" % ours)
                is_(got[0], want[ours][0], "and its UIDVALIDITY")
            d.logout()

    host.stop()
    r = host.cli("--json", "export", "maildir", "--all", host.dir + "/all")
    report = json.loads(r.stdout)
    is_(sorted(x["address"] for x in report["accounts"]), [A, B, C, D], "all accounts of a host that stands still")
    host.start()
    r = host.cli("--json", "import", "maildir", D, host.dir + "/all/" + A, check=False)
    d = host.imap(D)
    got = all_of(d)
    for uid in odd:
        got["INBOX"][1].pop(uid, None)
    compare(got, want, "of a stopped host")
    d.logout()
    is_(host.cli("export", "maildir", "nobody@example.org", host.dir + "/n", check=False).returncode, 1, "an account that is not there")
    is_(host.cli("store", "verify", check=False).returncode, 0, "the store is whole")
done()
