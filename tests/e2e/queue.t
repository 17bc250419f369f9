#!/usr/bin/python3
"""mailadm queue: list, show, retry and drop, on a host whose mail cannot leave."""
import json
import os
import pty
import select
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import MAILADM, done, is_, like, ok, wait_until  # noqa: E402
from send_peers import put_off, stuck_host  # noqa: E402


def submit(host, recipients, subject):
    with host.smtp("submissions") as s:
        s.login("alice@example.org", host.accounts["alice@example.org"])
        s.sendmail("alice@example.org", recipients, "From: <alice@example.org>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nhello %s\r\n" %
                   (recipients[0], subject, subject))


def queue(host):
    return json.loads(host.cli("queue", "list", "--json").stdout)


def main():
    with stuck_host("later MX 10 mx\n", ["alice@example.org"]) as (host, peer, _):
        r = host.cli("queue")
        is_((r.returncode, r.stdout), (0, ""), "an empty queue prints nothing in a pipe")
        is_(queue(host), [], "and [] as JSON")

        submit(host, ["x@later.example", "y@later.example"], "first")
        submit(host, ["z@later.example"], "second")
        wait_until(lambda: len(queue(host)) == 2 and all(e["attempts"] == 1 for e in queue(host)), "two deferred entries")
        entries = sorted(queue(host), key=lambda e: e["id"])
        is_(sorted(r["address"] for r in entries[0]["recipients"]), ["x@later.example", "y@later.example"], "recipients")
        is_(entries[0]["sender"], "alice@example.org", "sender")
        ok(entries[0]["due"] > entries[0]["created"], "it is due later")

        lines = host.cli("queue", "list").stdout.splitlines()
        is_(len(lines), 3, "a line a recipient")
        cells = [line.split("\t") for line in lines if "z@later.example" in line][0]
        is_((cells[0], cells[3], cells[4], cells[5]),
            (str(entries[1]["id"]), "alice@example.org", "z@later.example", "1"), "id, sender, recipient, attempts")
        like(cells[7], "450 4.2.1 later please", "the last reply")

        shown = host.cli("queue", "show", str(entries[1]["id"])).stdout
        like(shown, "recipient: <z@later.example>", "show: the recipient")
        like(shown, "hello second", "show: the message")
        like(json.loads(host.cli("--json", "queue", "show", str(entries[1]["id"])).stdout)["message"], "Subject: second",
             "show --json")

        for args in (["show", "999999"], ["retry", "999999"], ["drop", "999999"]):
            r = host.cli("queue", *args, check=False)
            is_(r.returncode, 1, " ".join(args) + ": exit 1")
            like(r.stderr, "there is no queue entry 0000000000999999", " ".join(args) + ": says so")
        for args in (["show"], ["drop"], ["drop", "xyz"], ["retry", "0"], ["drop", "-1"], ["frobnicate"], ["show", "1", "2"]):
            is_(host.cli("queue", *args, check=False).returncode, 2, " ".join(args) + ": exit 2")
        is_(host.cli("queue", "--help").returncode, 0, "--help")

        host.cli("queue", "drop", str(entries[0]["id"]))
        is_([e["id"] for e in queue(host)], [entries[1]["id"]], "dropped")
        peer.refuse = {}
        host.cli("queue", "retry", "--all")
        wait_until(lambda: not queue(host), "an empty queue")
        is_([m.recipients for m in peer.messages], [["z@later.example"]], "retry --all delivers what is left")

        peer.refuse = put_off
        submit(host, ["k@later.example"], "kept")
        wait_until(lambda: [e for e in queue(host) if e["attempts"] == 1], "a deferred entry")
        submit(host, ["k@later.example"], "evil \x1b[31m")
        wait_until(lambda: len(queue(host)) == 2, "another entry")
        parent, child = pty.openpty()
        newest = max(e["id"] for e in queue(host))
        subprocess.run([MAILADM, "-c", host.conf, "queue", "show", newest], stdin=subprocess.DEVNULL, stdout=child, check=True)
        shown = b""
        while select.select([parent], [], [], 0.5)[0]:  # a terminal gives it in pieces
            shown += os.read(parent, 65536)
        ok(b"evil \\x1b[31m" in shown and b"\x1b" not in shown, "a stranger's control characters do not reach a terminal")
        host.cli("queue", "drop", newest)
        host.restart()
        is_([e["recipients"][0]["address"] for e in queue(host)], ["k@later.example"], "the queue outlives a restart")
        host.stop()
        r = host.cli("queue", "list", check=False)
        is_((r.returncode, r.stdout), (2, ""), "no host: exit 2")
    done()


main()
