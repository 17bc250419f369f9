#!/usr/bin/env python3
"""How many connections a destination gets: more while it takes mail, no more than it lets stand, and a dead one costs the
others nothing."""
import os
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, PASSWORD, diag, done, is_, ok, wait_until  # noqa: E402
from send_peers import Named, Peer, clear, free_port  # noqa: E402

ALICE = "alice@example.org"


class Counted(Peer):
    """most: sessions that it bears at once; others are told 421.  slow: seconds that each message takes."""

    def __init__(self, address, port, most=1000, slow=0.0):
        self.most, self.slow = most, slow
        self.now, self.peak, self.turned_away = 0, 0, 0
        self.lock = threading.Lock()
        super().__init__(address, port)
        self.final = self.take

    def take(self, peer, message):
        time.sleep(self.slow)
        return "250 2.0.0 taken"

    def _talk(self, s, session):
        with self.lock:
            full = self.now >= self.most
            if full:
                self.turned_away += 1
            else:
                self.now += 1
                self.peak = max(self.peak, self.now)
        try:
            if full:
                self._say(s, "421 4.7.0 too many connections")
            else:
                super()._talk(s, session)
        finally:
            if not full:
                with self.lock:
                    self.now -= 1


def submit_many(host, n, recipient):
    with host.smtp("submissions") as s:
        s.login(ALICE, PASSWORD)
        for i in range(n):
            s.sendmail(ALICE, [recipient], ("From: <%s>\r\nSubject: %d\r\n\r\nhello\r\n" % (ALICE, i)).encode())


def main():
    dir = tempfile.mkdtemp(prefix="pace-test-", dir="/tmp")
    port = free_port(["127.0.0.2", "127.0.0.3"])
    big, small = Counted("127.0.0.2", port, slow=0.05), Counted("127.0.0.3", port, most=2, slow=0.02)
    named = Named(dir, "big MX 10 mx1\nmx1 A 127.0.0.2\nsmall MX 10 mx2\nmx2 A 127.0.0.3\ndead MX 10 mx3\nmx3 A 127.0.0.4\nslow MX 10 mx1\n")
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port,
              "relay": "port_out = %d; connections_each = 8;" % port}
    try:
        with Host(accounts=[ALICE], groups=groups, site='routes = ( { name = "slow"; to = ("slow.example"); rate = 120; } );\n') as host:
            submit_many(host, 150, "x@big.example")
            wait_until(lambda: len(big.messages) == 150, "150 messages", 30)
            ok(4 < big.peak <= 8, "a host that takes all gets more connections, up to relay.connections_each: %d" % big.peak)
            submit_many(host, 60, "x@small.example")
            wait_until(lambda: len(small.messages) == 60, "60 messages", 30)
            is_(small.peak, 2, "one that bears two has two")
            ok(small.turned_away <= 6, "and is not bothered with more for long: %d refused" % small.turned_away)
            ok("event=deferred" not in host.log(), "no message waits for that")
            submit_many(host, 60, "x@slow.example")
            wait_until(lambda: len(big.messages) >= 150 + 3, "three at a rate")
            results = host.log().count("to=x@slow.example")
            ok(results < 10, "a rate puts messages off, each for as long as it takes: %d results" % results)
            wait_until(lambda: host.cli("--json", "queue", "list").stdout.count('"id"') >= 50, "the rest in the queue")
            host.cli("queue", "drop", "--to", "slow.example")
            had = len(big.messages)
            start = time.monotonic()
            submit_many(host, 40, "x@dead.example")
            submit_many(host, 1, "last@big.example")
            wait_until(lambda: len(big.messages) > had, "the last one", 10)
            diag("after %.2f s" % (time.monotonic() - start))
            wait_until(lambda: host.cli("--json", "queue", "list").stdout.count('"id"') == 40, "40 in the queue")
            ok(True, "mail for a dead one waits, and that for others leaves at once")
            tried = host.log().count("to=x@dead.example")
            ok(tried <= 10, "store is told of the dead one: %d results for 40 messages" % tried)
    finally:
        clear(dir, named, big, small)
    done()


main()
