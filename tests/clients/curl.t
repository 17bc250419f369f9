#!/usr/bin/env python3
"""curl over IMAP and IMAPS: APPEND by upload, FETCH of a message and of a section by URL, and SEARCH, SORT, THREAD, STORE
and STATUS as custom requests; a wrong password and a missing mailbox end with curl's errors for them."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import Host, diag, done, is_  # noqa: E402

ALICE = "alice@example.org"
DATES = (3, 1, 2)


def message(n, day):
    return ("Subject: %s\r\nFrom: a@example.net\r\nDate: Mon, %d Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d@x>\r\n%s\r\n"
            "Text of %d: ä ö ü\r\n.\r\n" % ("cba"[n], day, n, "In-Reply-To: <0@x>\r\n" if n == 2 else "", n)).encode()


def curl(host, tls, path, *more, password=None):
    service = "imaps" if tls else "imap"
    url = "%s://127.0.0.1:%d/%s" % (service, host.port(service), path)
    return subprocess.run(["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", "--user",
                           ALICE + ":" + (password or host.accounts[ALICE]), url] + list(more),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)


def gives(r, want, what):
    if not is_((r.returncode, r.stdout), (0, want), what):
        diag(r.stderr.decode(errors="replace"))


def session(host, tls):
    def name(what):
        return ("imaps: " if tls else "imap: ") + what
    box = "Work/tls" if tls else "Work/plain"
    escaped = box.replace("/", "%2F")

    def ask(request):
        return curl(host, tls, escaped, "--request", request)
    gives(curl(host, tls, "", "--request", 'CREATE "%s"' % box), b"", name("CREATE"))
    for n, day in enumerate(DATES):
        path = host.dir + "/upload"
        with open(path, "wb") as f:
            f.write(message(n, day))
        gives(curl(host, tls, escaped, "--upload-file", path), b"", name("APPEND"))
    for n, day in enumerate(DATES):
        gives(curl(host, tls, escaped + ";UID=%d" % (n + 1)), message(n, day), name("FETCH by UID"))
    gives(curl(host, tls, escaped + ";MAILINDEX=2"), message(1, DATES[1]), name("FETCH by number"))
    gives(curl(host, tls, escaped + ";UID=3;SECTION=TEXT"), "Text of 2: ä ö ü\r\n.\r\n".encode(), name("FETCH of a section"))
    gives(curl(host, tls, escaped + "?SUBJECT%20b"), b"* SEARCH 2\r\n", name("SEARCH by URL"))
    gives(ask("UID SEARCH NOT SUBJECT b"), b"* SEARCH 1 3\r\n", name("UID SEARCH"))
    gives(ask("SORT (SUBJECT) UTF-8 ALL"), b"* SORT 3 2 1\r\n", name("SORT by subject"))
    gives(ask("SORT (REVERSE DATE) UTF-8 ALL"), b"* SORT 1 3 2\r\n", name("SORT by date"))
    gives(ask("THREAD REFERENCES UTF-8 ALL"), b"* THREAD (2)(1 3)\r\n", name("THREAD"))
    gives(ask("STORE 2 +FLAGS (\\Flagged)"), b"* 2 FETCH (FLAGS (\\Seen \\Flagged))\r\n", name("STORE"))
    gives(ask("SEARCH FLAGGED"), b"* SEARCH 2\r\n", name("SEARCH for it"))
    gives(curl(host, tls, "", "--request", 'STATUS "%s" (MESSAGES UIDNEXT)' % box),
          b'* STATUS "%s" (MESSAGES 3 UIDNEXT 4)\r\n' % box.encode(), name("STATUS"))
    r = ask("UID MOVE 2 INBOX")
    is_(r.returncode, 0, name("UID MOVE"))
    gives(ask("UID SEARCH ALL"), b"* SEARCH 1 3\r\n", name("and it is away"))
    is_(curl(host, tls, escaped, password="wrong").returncode, 67, name("a wrong password: login denied"))
    r = curl(host, tls, "Nowhere;UID=1")
    is_((r.returncode, b"Select failed" in r.stderr), (67, True), name("a mailbox that is not there is an error"))
    is_(curl(host, tls, escaped + ";UID=99").returncode, 78, name("so is a message that is not there"))
    gives(curl(host, tls, "", "--request", 'DELETE "%s"' % box), b"", name("DELETE"))


with Host((ALICE,), groups={"limits": "errors = 100;"}) as host:
    for tls in (False, True):
        session(host, tls)
done()
