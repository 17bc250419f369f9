#!/usr/bin/env python3
"""POP3 against the real daemon, with poplib and bare lines."""
import os
import poplib
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok, wait_until  # noqa: E402

ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
MESSAGES = [b"Subject: %d\r\n\r\n" % i + body for i, body in enumerate([
    b"plain\r\n",
    b".\r\n..\r\n.dots\r\nend.\r\n",
    b"",
    b"x" * 998 + b"\r\n" + b"long line above\r\n",
    (b"0123456789" * 7 + b"\r\n") * 40000,
])]


def line(f):
    return f.readline().rstrip(b"\r\n")


def multi(f):
    out = []
    while True:
        text = line(f)
        if text == b".":
            return out
        out.append(text)


def fetch(c, n):
    """RETR as bytes, without the trace headers in front of ours."""
    text = b"".join(l + b"\r\n" for l in c.retr(n)[1])
    return text[text.index(b"Subject: "):]


def reading(host):
    for m in MESSAGES:
        host.deliver(ALICE, m)
    c = host.pop3(ALICE)
    count, octets = c.stat()
    is_(count, len(MESSAGES), "STAT counts")
    sizes = [int(l.split()[1]) for l in c.list()[1]]
    is_(sum(sizes), octets, "LIST adds up to it")
    for i, m in enumerate(MESSAGES):
        if not ok(fetch(c, i + 1) == m, "RETR %d is byte-identical (%d bytes)" % (i + 1, len(m))):
            diag(fetch(c, i + 1)[:200])
        whole = sum(len(l) + 2 for l in c.retr(i + 1)[1])
        is_(whole, sizes[i], "and as long as LIST says")
    top = c.top(2, 2)[1]
    is_(top[-3:], [b"", b".", b".."], "TOP gives the header and two lines")
    is_(c.top(2, 0)[1][-1], b"", "or none")
    uids = [l.split()[1] for l in c.uidl()[1]]
    is_(len(set(uids)), len(MESSAGES), "UIDL: all differ")
    is_(c.uidl(3), b"+OK 3 " + uids[2], "UIDL of one")
    is_(c.list(1), b"+OK 1 %d" % sizes[0], "LIST of one")
    c.quit()
    c = host.pop3(ALICE, tls=False)
    is_([l.split()[1] for l in c.uidl()[1]], uids, "and stay the same")
    for bad in ("RETR 9", "RETR 0", "RETR x", "RETR", "DELE 99999999999", "TOP 1", "TOP 1 x", "LIST 6", "STAT 1", "FOO"):
        try:
            c._shortcmd(bad)
            ok(False, bad + " is refused")
        except poplib.error_proto as e:
            like(e.args[0], b"-ERR", bad + " is refused")
    like(b" ".join(c._longcmd("CAPA")[1]), b"TOP UIDL RESP-CODES", "CAPA")
    like(c._longcmd("LANG")[1][1], b"en ", "LANG lists English")
    c.quit()
    return uids


def locking(host):
    c = host.pop3(ALICE)
    try:
        host.pop3(ALICE)
        ok(False, "one session an account")
    except poplib.error_proto as e:
        like(e.args[0], b"[IN-USE]", "one session an account")
    host.pop3(BOB).quit()
    ok(True, "other accounts are not concerned")
    c.quit()


def login_again(host):
    """A session that has just ended may hold the lock for a moment."""
    try:
        return host.pop3(ALICE)
    except poplib.error_proto:
        return None


def deleting(host, uids):
    c = wait_until(lambda: login_again(host), "the lock")
    c.dele(1)
    for command in ("RETR 1", "DELE 1", "LIST 1"):
        try:
            c._shortcmd(command)
            ok(False, command + " of a deleted message")
        except poplib.error_proto:
            ok(True, command + " of a deleted message is refused")
    is_(c.stat()[0], len(uids) - 1, "STAT leaves it out")
    c.rset()
    is_(c.stat()[0], len(uids), "RSET brings it back")
    c.dele(1)
    c.close()
    c = wait_until(lambda: login_again(host), "the lock")
    is_(c.stat()[0], len(uids), "a lost connection deletes nothing")
    c.dele(2)
    for pid in host.children()["imap"]:
        os.kill(pid, signal.SIGKILL)
    c.close()
    c = wait_until(lambda: retry(host), "imap after a crash", 30)
    is_(c.stat()[0], len(uids), "nor does a crash before QUIT")
    c.dele(1)
    c.dele(2)
    c.dele(4)
    imap = host.imap(ALICE)
    imap.select("INBOX")
    c.quit()
    c = wait_until(lambda: login_again(host), "the lock")
    is_([l.split()[1] for l in c.uidl()[1]], [uids[2], uids[4]], "QUIT deletes what was marked")
    c.quit()
    is_(imap.noop()[0], "OK", "an IMAP session beside it")
    is_(imap.response("EXPUNGE")[1], [b"4", b"2", b"1"], "hears of it")
    imap.logout()


def retry(host):
    try:
        return host.pop3(ALICE)
    except (poplib.error_proto, OSError):
        return None


def pipelining(host):
    s = host.connect("pop3")
    f = s.makefile("rb")
    s.sendall(b"USER %s\r\nPASS %s\r\nSTAT\r\nRETR 1\r\nUIDL\r\nNOOP\r\nQUIT\r\n" %
              (ALICE.encode(), host.accounts[ALICE].encode()))
    like(line(f), b"+OK", "greeting")
    like(line(f), b"+OK", "pipelined USER")
    like(line(f), b"+OK", "PASS")
    like(line(f), b"+OK 2 ", "STAT")
    like(line(f), b"+OK", "RETR")
    like(b"\r\n".join(multi(f)), b"Subject: 2", "and its message")
    like(line(f), b"+OK", "UIDL")
    is_(len(multi(f)), 2, "and its list")
    like(line(f), b"+OK", "NOOP")
    like(line(f), b"+OK", "QUIT")
    is_(f.read(), b"", "and the end")
    s.close()


def slow_reader(host):
    """A client that asks for the large message again and again and reads nothing costs little memory."""
    s = host.connect("pop3")
    f = s.makefile("rb")
    s.sendall(b"USER %s\r\nPASS %s\r\n" % (ALICE.encode(), host.accounts[ALICE].encode()))
    for _ in range(3):
        like(line(f), b"+OK", "logged in")
    s.sendall(b"RETR 2\r\n" * 20 + b"NOOP\r\n")
    other = host.pop3(BOB)
    is_(other.stat()[0], 0, "others are served")
    other.quit()
    largest = 0
    for pid in host.children()["imap"]:
        with open("/proc/%d/status" % pid) as status:
            rss = [l for l in status if l.startswith("VmRSS")][0]
        largest = max(largest, int(rss.split()[1]))
    ok(largest < 60000, "the process stays below 60 MB") or diag("%d KiB" % largest)
    for _ in range(20):
        like(line(f), b"+OK", "RETR")
        lines = multi(f)
        if len(lines) < 40000:
            ok(False, "all of the message came")
            diag(len(lines))
    like(line(f), b"+OK", "all twenty came when it read")
    s.close()


def refused(host):
    s = host.connect("pop3")
    f = s.makefile("rb")
    line(f)
    s.sendall(b"USER %s\r\nPASS %s\r\n" % (CAROL.encode(), host.accounts[CAROL].encode()))
    line(f)
    like(line(f), b"-ERR [AUTH]", "an account without the protocol")
    s.close()


class Pop3Host(Host):
    def site_text(self):
        return super().site_text().replace('{ address = "%s"; }' % CAROL,
                                           '{ address = "%s"; protocols = [ "imap" ]; }' % CAROL)


with Pop3Host(accounts=[ALICE, BOB, CAROL]) as host:
    uids = None
    try:
        uids = reading(host)
        locking(host)
        deleting(host, uids)
        pipelining(host)
        slow_reader(host)
        refused(host)
    except Exception as e:
        ok(False, "%r" % e)
        import traceback
        diag(traceback.format_exc())
        host.show_log()
done()
