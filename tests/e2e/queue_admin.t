#!/usr/bin/python3
"""mailadm queue on many entries: filters, hold and release, reroute, the summary, and what survives a restart and a
kill -9 of store."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import done, is_, like, ok, wait_until  # noqa: E402
from send_peers import Peer, put_off, stuck_host  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"


def submit(host, sender, recipients):
    with host.smtp("submissions") as s:
        s.login(sender, host.accounts[sender])
        s.sendmail(sender, recipients, "From: <%s>\r\nTo: <%s>\r\nSubject: s\r\n\r\nhello\r\n" % (sender, recipients[0]))


def queue(host, *which):
    return json.loads(host.cli("--json", "queue", "list", *which).stdout)


def names(entries):
    return sorted(r["address"] for e in entries for r in e["recipients"])


def main():
    with stuck_host("one MX 10 mx\ntwo MX 10 mx\n", [ALICE, BOB]) as (host, peer, _):
        is_(json.loads(host.cli("--json", "queue", "summary").stdout), [], "the summary of an empty queue")
        for sender, to in ((ALICE, "a@one.example"), (ALICE, "b@two.example"), (BOB, "c@one.example"), (BOB, "d@two.example")):
            submit(host, sender, [to])
        wait_until(lambda: [e["attempts"] for e in queue(host)] == [1] * 4, "four deferred entries")
        is_(names(queue(host, "--to", "one.example")), ["a@one.example", "c@one.example"], "list --to DOMAIN")
        is_(names(queue(host, "--to", "d@two.example")), ["d@two.example"], "list --to ADDRESS")
        is_(names(queue(host, "--from", BOB)), ["c@one.example", "d@two.example"], "list --from ADDRESS")
        is_(len(queue(host, "--from", "example.org")), 4, "list --from DOMAIN")
        is_(queue(host, "--from", "<>"), [], "list --from '<>'")
        is_(names(queue(host, "--to", "one.example", "--from", BOB)), ["c@one.example"], "filters are joined by and")
        is_(queue(host, "--older", "1h"), [], "list --older: none is that old")
        is_(len(queue(host, "--older", "0")), 4, "list --older 0: all")
        e = queue(host)[0]
        is_((e["priority"], e["held"], e["delay_told"], e["destination"]), ("normal", False, False, e["domain"]), "what an entry tells")

        sums = {d["destination"]: d for d in json.loads(host.cli("--json", "queue", "summary").stdout)}
        is_(sorted(sums), ["one.example", "two.example"], "the summary has each destination")
        is_((sums["one.example"]["entries"], sums["one.example"]["held"]), (2, 0), "and how many wait for it")
        lines = [line.split("\t") for line in host.cli("queue", "summary").stdout.splitlines()]
        is_(sorted(line[:3] for line in lines), [["one.example", "2", "0"], ["two.example", "2", "0"]], "as lines")

        is_(host.cli("queue", "hold", "--to", "one.example").stdout, "2 entries held\n", "hold --to")
        is_(names(queue(host, "--held")), ["a@one.example", "c@one.example"], "list --held")
        is_(json.loads(host.cli("--json", "queue", "hold", "--to", "one.example").stdout), {"changed": 0}, "held already")
        cells = [line.split("\t") for line in host.cli("queue", "list", "--held").stdout.splitlines()]
        is_([c[6] for c in cells], ["held", "held"], "the list says so")
        held = queue(host, "--to", "a@one.example")[0]["id"]
        r = host.cli("queue", "retry", held, check=False)
        is_(r.returncode, 1, "retry of a held entry: exit 1")
        like(r.stderr, "it is held: mailadm queue release " + held, "and what to do")
        peer.refuse = {}
        is_(host.cli("queue", "retry").stdout, "2 entries tried now\n", "retry tries what is not held")
        wait_until(lambda: names(queue(host)) == ["a@one.example", "c@one.example"], "only the held ones")
        host.restart()
        is_(names(queue(host, "--held")), ["a@one.example", "c@one.example"], "held outlives a restart")
        is_(host.cli("queue", "release", held).stdout, "", "release ID says nothing")
        wait_until(lambda: names(queue(host)) == ["c@one.example"], "the released one to go")
        is_(sorted(m.recipients[0] for m in peer.messages), ["a@one.example", "b@two.example", "d@two.example"],
            "the peer got them once each")

        other = queue(host)[0]["id"]
        is_(host.cli("queue", "reroute", other, "relay.example:2525").stdout, "", "reroute ID")
        e = queue(host)[0]
        is_((e["route"], e["destination"], e["held"]), ("relay.example:2525", "relay.example:2525", True), "rerouted, and held still")
        like(host.cli("queue", "show", other).stdout, "route: relay.example:2525\n", "show tells the route")
        is_(names(queue(host, "--to", "relay.example:2525")), ["c@one.example"], "and --to knows it")
        is_(host.cli("queue", "reroute", "--all", "site").stdout, "1 entry rerouted\n", "reroute --all site: back")
        ok("route" not in queue(host)[0], "it has no route any more")

        for args in (["hold"], ["drop"], ["release"], ["reroute", other], ["reroute", other, "nowhere"], ["reroute", other, "h:99999"],
                     ["reroute", other, "a:b:25"], ["reroute", other, "2001:db8::1:25"],
                     ["list", "x"], ["summary", "--all"], ["hold", other, "--all"], ["list", "--older", "soon"], ["show", "--all"],
                     ["retry", other, other]):
            is_(host.cli("queue", *args, check=False).returncode, 2, " ".join(args) + ": exit 2")
        is_(host.cli("queue", "hold", "77", check=False).returncode, 1, "no such entry: exit 1")
        is_(host.cli("queue", "drop", "--older", "1d").stdout, "0 entries dropped\n", "drop --older: none")
        is_(host.cli("queue", "drop", "--all").stdout, "1 entry dropped\n", "drop --all")
        is_(queue(host), [], "nothing is left")

        peer.refuse = put_off
        submit(host, ALICE, ["e@one.example"])
        wait_until(lambda: [e["attempts"] for e in queue(host)] == [1], "another deferred entry")
        port = peer.listener.getsockname()[1]
        second = Peer("127.0.0.3", port)
        host.cli("queue", "reroute", queue(host)[0]["id"], "127.0.0.3:%d" % port)
        wait_until(lambda: not queue(host), "the queue to empty")
        is_([m.recipients for m in second.messages], [["e@one.example"]], "a rerouted entry goes at once, to that host")
        second.stop()
        r = host.cli("store", "verify", check=False)
        is_(r.returncode, 0, "store verify: " + r.stdout)
    done()


main()
