#!/usr/bin/env python3
"""A change reaches every session in IDLE within 100 ms, over SESSIONS (5,000) sessions: delivery, another session's flags and
expunges, POP3, and `mailadm`.  On one mailbox, and on as many as there are accounts."""
import os
import re
import resource
import selectors
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import PASSWORD, Host, diag, done, ok  # noqa: E402

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
SESSIONS = int(os.environ.get("SESSIONS", "5000"))
LIMIT = 0.1
OTHERS = 50


class Crowd:
    """Idle sessions; wait() says how long it took until each has seen a line."""

    def __init__(self, host, addresses):
        self.poll = selectors.DefaultSelector()
        self.socks = []
        for n, address in enumerate(addresses):
            s = socket.create_connection(("127.0.0.1", host.port("imap")))
            s.sendall(b'a LOGIN %s "%s"\r\nb SELECT INBOX\r\nc IDLE\r\n' % (address.encode(), PASSWORD.encode()))
            self.socks.append(s)
            if n % 50 == 49:
                self.ready(self.socks[-50:])
        self.ready(self.socks[len(self.socks) - len(self.socks) % 50:])

    def ready(self, socks):
        for s in socks:
            data = b""
            while b"+ idling" not in data:
                more = s.recv(65536)
                if not more:
                    raise RuntimeError("a session was closed: %r" % data)
                data += more
            s.setblocking(False)
            self.poll.register(s, selectors.EVENT_READ, bytearray())

    def wait(self, pattern, begun, timeout=10):
        """Seconds until the last one has seen it; None: not all have."""
        left = {s: b"" for s in self.socks}
        while left and time.monotonic() - begun < timeout:
            for key, _ in self.poll.select(0.2):
                data = left.get(key.fileobj, b"") + key.fileobj.recv(65536)
                if key.fileobj in left:
                    left[key.fileobj] = data
                    if re.search(pattern, data):
                        del left[key.fileobj]
        return None if left else time.monotonic() - begun


def check(crowd, name, pattern, change):
    begun = time.monotonic()
    change()
    took = crowd.wait(pattern, begun)
    if took is None:
        ok(False, name + ": not every session was told")
    else:
        ok(took < LIMIT, "%s: the last of %d sessions was told after %.0f ms" % (name, len(crowd.socks), took * 1000))


accounts = {"one@example.org": PASSWORD, **{"u%d@example.org" % i: PASSWORD for i in range(OTHERS)}}
limits = "connections = %d; connections_per_address = %d;" % (SESSIONS + 100, SESSIONS + 100)
with Host(accounts=accounts, groups={"limits": limits}) as host:
    crowd = Crowd(host, ["one@example.org"] * (SESSIONS // 2) + ["u%d@example.org" % (i % OTHERS) for i in range(SESSIONS - SESSIONS // 2)])
    one = Crowd.__new__(Crowd)
    one.poll, one.socks = crowd.poll, crowd.socks[:SESSIONS // 2]
    imap = host.imap("one@example.org")
    imap.select("INBOX")
    smtp = host.smtp()
    check(one, "a delivery", rb"\* 1 EXISTS", lambda: smtp.sendmail("s@example.net", ["one@example.org"], b"Subject: 1\r\n\r\nx\r\n"))
    check(crowd, "a delivery to all", rb"EXISTS", lambda: smtp.sendmail("s@example.net", list(accounts), b"Subject: 2\r\n\r\nx\r\n"))
    imap.noop()
    check(one, "flags set by another session", rb"\* 1 FETCH \(FLAGS \(.*\\Flagged", lambda: imap.store("1", "+FLAGS", "\\Flagged"))
    check(one, "an append", rb"\* 3 EXISTS", lambda: imap.append("INBOX", None, None, b"Subject: 3\r\n\r\nx\r\n"))

    def expunge():
        imap.store("1", "+FLAGS", "\\Deleted")
        imap.expunge()
    check(one, "an expunge", rb"\* 1 EXPUNGE", expunge)
    pop = host.pop3("one@example.org")
    pop.dele(1)
    check(one, "POP3's QUIT", rb"\* 1 EXPUNGE", pop.quit)
    diag("host: %d processes" % sum(map(len, host.children().values())))
done()
