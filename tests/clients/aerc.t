#!/usr/bin/env python3
"""aerc on a terminal: it opens INBOX, lists, reads one message and ends; what it shows, and the flags after it."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
from host import Host, diag, done, is_, ok  # noqa: E402
from terminal import Terminal  # noqa: E402

ALICE = "alice@example.org"
COUNT = 12


def configure(host):
    path = host.dir + "/config/aerc"
    os.makedirs(path)
    with open(path + "/accounts.conf", "w") as f:
        f.write("""[test]
source = imap+insecure://%s:%s@127.0.0.1:%d
default = INBOX
from = Alice <%s>
cache-headers = true
""" % (ALICE.replace("@", "%40"), host.accounts[ALICE].replace(" ", "%20"), host.port("imap"), ALICE))
    os.chmod(path + "/accounts.conf", 0o600)
    with open(path + "/aerc.conf", "w") as f:
        f.write("""[general]
log-file=%(dir)s/aerc.log
log-level=debug
[ui]
index-format=%%s.
mouse-enabled=false
[viewer]
pager=cat
[filters]
text/plain=cat
""" % {"dir": host.dir})


def flags(host):
    with host.imap(ALICE) as c:
        c.select("INBOX", readonly=True)
        return [n + 1 for n, item in enumerate(c.fetch("1:*", "(FLAGS)")[1]) if b"\\Seen" in item]


def see(t, condition, what):
    try:
        t.wait(condition, what)
        return ok(True, what)
    except AssertionError as e:
        ok(False, what)
        diag(e)
        return False


def has(t, part):
    return any(part in line for line in t.lines())


def start(host):
    return Terminal(["aerc"], dict(os.environ, HOME=host.dir, XDG_CONFIG_HOME=host.dir + "/config", LC_ALL="C.UTF-8",
                                   XDG_CACHE_HOME=host.dir + "/cache", XDG_DATA_HOME=host.dir + "/data", XDG_RUNTIME_DIR=host.dir, SHELL="/bin/sh"),
                    rows=40, cwd=host.dir)


def leave(t, what):
    t.type(":quit\r")
    is_(t.exit(), 0, what)


with Host((ALICE,)) as host:
    for n in range(1, COUNT + 1):
        with host.imap(ALICE) as c:
            c.append("INBOX", None, None, ("Subject: number %d\r\nFrom: a@example.net\r\nDate: Mon, 2 Nov 2026 10:%02d:00 +0000\r\n"
                     "Message-ID: <%d@example.net>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nText of %d: ä ö ü 漢字.\r\n"
                     % (n, n, n, n)).encode())
    configure(host)
    with start(host) as t:
        if not see(t, lambda: all(has(t, "number %d." % n) for n in range(1, COUNT + 1)), "INBOX is listed"):
            diag(open(host.dir + "/aerc.log").read()[-2000:] if os.path.exists(host.dir + "/aerc.log") else "no log")
        for folder in ("INBOX", "Drafts", "Junk", "Sent", "Trash"):
            see(t, lambda: has(t, folder), folder + " is in the list of folders")
        is_(flags(host), [], "listing marks nothing as read")
        t.type("\r")  # the newest is on top
        see(t, lambda: has(t, "Text of %d: ä ö ü 漢字." % COUNT), "the message is read")
        t.type(":close\r")
        t.wait(lambda: not has(t, "Text of"), "the message closed")
        host.deliver(ALICE, b"Subject: number 99\r\nFrom: a@example.net\r\n\r\nText of 99.\r\n")
        see(t, lambda: has(t, "number 99."), "what arrives meanwhile is shown (IDLE)")
        leave(t, "aerc ends")
    is_(flags(host), [COUNT], "the message that was read, and no other, is marked as read")
    with host.imap(ALICE) as c:
        c.select("INBOX")
        c.store("3", "+FLAGS.SILENT", "(\\Deleted)")
        c.expunge()
    with start(host) as t:
        left = [n for n in range(1, COUNT + 1) if n != 3] + [99]
        see(t, lambda: all(has(t, "number %d." % n) for n in left), "the second start lists what is left")
        is_(has(t, "number 3."), False, "without what was removed between them")
        leave(t, "aerc ends again")
done()
