#!/usr/bin/python3
"""A destination where nobody answers: its entries are passed over, not tried one by one, and the queue says why; others
are not held up; `queue retry` tries it at once, and then all of it goes out, each message once."""
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, done, is_, like, ok, wait_until  # noqa: E402
from send_peers import Named, Peer, clear, free_port  # noqa: E402

ZONE = """
dead MX 10 nobody
live MX 10 mx
nobody A 127.0.0.3
mx A 127.0.0.2
"""
ALICE = "alice@example.org"
COUNT = 40


def queue(host, *which):
    return json.loads(host.cli("--json", "queue", "list", *which).stdout)


def dead(host):
    sums = json.loads(host.cli("--json", "queue", "summary").stdout)
    return next((d for d in sums if d["destination"] == "dead.example"), {})


def main():
    dir = tempfile.mkdtemp(prefix="queue-test-", dir="/tmp")
    port = free_port(["127.0.0.2", "127.0.0.3"])
    peer = Peer("127.0.0.2", port)
    named = Named(dir, ZONE)
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port, "relay": "port_out = %d;" % port}
    other = None
    try:
        with Host(accounts=[ALICE], groups=groups) as host:
            with host.smtp("submissions") as s:
                s.login(ALICE, host.accounts[ALICE])
                for i in range(COUNT):
                    s.sendmail(ALICE, ["r%d@dead.example" % i], "From: <%s>\r\nSubject: %d\r\n\r\nhello\r\n" % (ALICE, i))
                    if i == 0:
                        wait_until(lambda: "away" in dead(host), "the destination to be known as away")
                s.sendmail(ALICE, ["r@live.example"], "From: <%s>\r\nSubject: live\r\n\r\nhello\r\n" % ALICE)
            wait_until(lambda: len(peer.messages) == 1, "the message to the live one", 10)
            d = dead(host)
            is_((d["entries"], d["held"]), (COUNT, 0), "all of them wait")
            like(d["away"], "refused", "the summary says why")
            ok(d["away_until"] > d["oldest"], "and until when")
            entries = queue(host)
            tried = [e for e in entries if e["attempts"]]
            ok(1 <= len(tried) <= 4, "%d entries of %d were tried" % (len(tried), COUNT))
            waiting = [e for e in entries if not e["attempts"]]
            like(waiting[0]["away"], "refused", "an entry that was not tried says why")
            lines = [line.split("\t") for line in host.cli("queue").stdout.splitlines()]
            ok(all("refused" in line[7] and line[6] != "now" for line in lines), "so does each line of the list")
            other = Peer("127.0.0.3", port)
            host.cli("queue", "retry", "--to", "dead.example")
            wait_until(lambda: not queue(host), "the queue to empty", 20)
            is_(sorted(m.recipients[0] for m in other.messages), sorted("r%d@dead.example" % i for i in range(COUNT)), "each once")
            is_(dead(host), {}, "nothing waits")
    finally:
        clear(dir, named, peer, other)
    done()


main()
