#!/usr/bin/env python3
"""mailadm account undelete: --list, --since, --mailbox, mail of a mailbox that is gone; twice brings nothing twice."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok  # noqa: E402

A = "alice@example.org"


def subjects(c, folder):
    typ, _ = c.select('"%s"' % folder, readonly=True)
    if typ != "OK":
        return None
    found = []
    for part in c.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] or []:
        if isinstance(part, tuple):
            found.append((part[1].strip().decode(), b"\\Flagged" in part[0], b"\\Deleted" in part[0]))
    return sorted(found)


with Host() as host:
    c = host.imap(A)
    c.create("Work/Old")
    for folder in ("INBOX", "Work/Old"):
        for n in range(4):
            c.append('"%s"' % folder, "(\\Flagged)" if n % 2 else "", None, b"From: =?utf-8?q?=C3=84da?= <a@b>\r\nSubject: %s %d\x1b[2J\r\n\r\nx\r\n" % (folder.encode(), n))
    want = {f: subjects(c, f) for f in ("INBOX", "Work/Old")}
    r = host.cli("account", "undelete", A, "--list", check=False)
    is_((r.returncode, r.stdout), (1, ""), "nothing to list yet")
    for folder in ("INBOX", "Work/Old"):
        c.select('"%s"' % folder)
        c.store("1:3", "+FLAGS", "(\\Deleted)")
        c.expunge()
    c.unselect()
    rows = json.loads(host.cli("--json", "account", "undelete", A, "--list").stdout)
    is_(sorted((r["mailbox"], r["uid"]) for r in rows), [(f, str(n)) for f in ("INBOX", "Work/Old") for n in (1, 2, 3)], "what was expunged is listed")
    ok(all("\u00c4da" in r["from"] and r["subject"].startswith(r["mailbox"]) and "\x1b" not in r["subject"] for r in rows), "with who and what, and nothing that a terminal obeys")
    r = host.cli("account", "undelete", A, "--mailbox", "inbox")
    like(r.stdout, "3 messages", "one mailbox")
    is_(subjects(c, "INBOX"), want["INBOX"], "INBOX is as it was, flags and all, none deleted")
    is_(len(subjects(c, "Work/Old")), 1, "the other not yet")
    c.unselect()
    c.delete("Work/Old")
    c.delete("Work")
    r = host.cli("--json", "account", "undelete", A, "--since", "1h")
    is_(json.loads(r.stdout), {"address": A, "restored": 4}, "of a mailbox that is gone all comes back")
    is_(subjects(c, "Restored/Work/Old"), want["Work/Old"], "below Restored")
    is_(host.cli("account", "undelete", A, check=False).returncode, 1, "again: nothing is left")
    is_(subjects(c, "INBOX"), want["INBOX"], "and nothing is doubled")
    is_(host.cli("account", "undelete", "bob@example.net", check=False).returncode, 1, "an account that is not there")
    is_(host.cli("account", "undelete", A, "--since", "soon", check=False).returncode, 2, "a time that is none")
    c.select("INBOX")
    c.store("1:*", "+FLAGS", "(\\Deleted)")
    c.expunge()
    c.logout()
    host.stop()
    is_(host.cli("account", "undelete", A).stdout, "4 messages are back\n", "the host need not run")
    is_(host.cli("store", "verify", check=False).returncode, 0, "the store is whole")
    lock = host.dir + "/state/lock"
    os.rename(lock, lock + ".kept")
    os.symlink(lock + ".kept", lock)
    r = host.cli("store", "rebuild", check=False)
    ok(r.returncode == 2 and lock in r.stderr and "is running" not in r.stderr, "a lock that cannot be opened is not taken for a host that runs") or diag(r.stderr)
    os.rename(lock + ".kept", lock)
    host.start()
    c = host.imap(A)
    is_(subjects(c, "INBOX"), want["INBOX"], "as it was")
    c.logout()
done()
