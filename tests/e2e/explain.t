#!/usr/bin/python3
"""mailadm log and mailadm explain: what a host's log says, filtered, followed through a rotation, and a message's life."""
import gzip
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import MAILADM, done, is_, like, ok, wait_until  # noqa: E402
from send_peers import stuck_host  # noqa: E402

OLD = """2026-01-02T03:04:05+00:00 INFO smtp[7]: id=oldoldoldold2-1 event=accepted peer=192.0.2.9 from=<> to=1 first=alice@example.org size=10
2026-01-02T03:04:06+00:00 WARN store[8]: event=odd reason="a \\x22quoted\\x22 word" x=1
no line of ours
2026-01-02T05:04:07+02:00 DEBUG smtp[7]: id=oldoldoldold2 event=state from=a to=b
"""


def submit(host, recipients, subject):
    """The transaction's id, from the reply."""
    with host.smtp("submissions") as s:
        s.login("alice@example.org", host.accounts["alice@example.org"])
        s.mail("alice@example.org")
        for r in recipients:
            s.rcpt(r)
        code, text = s.data("From: <alice@example.org>\r\nSubject: %s\r\nMessage-ID: <%s@test.example>\r\n\r\nhello\r\n" % (subject, subject))
    return text.decode().split()[-1]


def objects(r):
    return [json.loads(line) for line in r.stdout.splitlines()]


def matches(text, pattern, name):
    ok(re.search(pattern, text), name if re.search(pattern, text) else "%s: %r in %r" % (name, pattern, text))


def filters(host, log):
    r = host.cli("log", "--file", log)
    is_((r.returncode, len(r.stdout.splitlines())), (0, 3), "lines that are not ours are passed over")
    is_(host.cli("log", "--file", log, "--level", "warn").stdout.split(": ", 1)[1], 'event=odd reason="a \\x22quoted\\x22 word" x=1\n', "a level")
    r = objects(host.cli("--json", "log", "--file", log, "--event", "odd"))
    is_([(o["level"], o["role"], o["reason"], o["x"]) for o in r], [("WARN", "store", 'a "quoted" word', "1")], "JSON has the values as they were")
    is_(len(objects(host.cli("--json", "log", "--file", log, "--id", "oldoldoldold2"))), 2, "an id, with its transactions")
    is_(len(objects(host.cli("--json", "log", "--file", log, "--id", "oldoldoldold2-1"))), 1, "a transaction")
    is_(len(objects(host.cli("--json", "log", "--file", log, "--address", "ALICE@example.org"))), 1, "an address, in either case")
    is_([o["event"] for o in objects(host.cli("--json", "log", "--file", log, "-n", "2"))], ["odd", "state"], "the last two")
    is_(len(objects(host.cli("--json", "log", "--file", log, "--since", "1d"))), 0, "nothing of the last day")
    is_(len(objects(host.cli("--json", "log", "--file", log, "--since", "2026-01-01", "--until", "2026-01-03"))), 3, "between two days")
    is_(len(objects(host.cli("--json", "log", "--file", log, "word"))), 1, "a text")
    odd = log + "-odd"
    with open(odd, "wb") as f:  # what a process that was taken over can write
        f.write(b"2026-01-02T03:04:05+00:00 INFO \x1b[2Jx[1]: id=evil-\x1b[2J event=a b\xc2\x9b31mc \x1b]0;title=1 \x1bq=\"two z=3\" y=2\n")
    out = host.cli("log", "--file", odd).stdout
    ok("event=a b" in out and "\x1b" not in out and "\u009b" not in out, "a terminal gets no control characters: %r" % out)
    out = host.cli("explain", "--since", "10000d", "--file", odd, "evil").stdout
    ok("  a\n" in out and " 2\n" in out and "\x1b" not in out, "nor by explain: %r" % out)
    is_(sorted(objects(host.cli("--json", "log", "--file", odd))[0]), ["event", "id", "level", "role", "time", "y"], "a key is printable")
    cut = log + "-cut.gz"
    with open(cut, "wb") as f:
        f.write(gzip.compress("".join(line.replace("=1", "=%d" % i) + "\n" for i in range(2000) for line in OLD.splitlines()).encode())[:5000])
    r = host.cli("log", "--file", cut)
    ok(r.returncode == 0 and "oldoldoldold2" in r.stdout, "a file that was cut is shown as far as it goes")
    is_(r.stderr, "mailadm: %s: it is damaged; the rest of it is not shown\n" % cut, "and that is told")
    os.unlink(odd)
    os.unlink(cut)
    r = host.cli("log", "--file", log, "--since", "yesterday", check=False)
    is_(r.returncode, 2, "no time")
    like(r.stderr, "yesterday: no time; write 2h", "and what to write")
    r = host.cli("log", "--file", "/nowhere", check=False)
    is_((r.returncode, r.stderr), (2, "mailadm: /nowhere: there is no such file\n"), "no such file")
    r = host.cli("log", check=False)
    is_(r.returncode, 2, "a host that logs to stderr without a journal")
    like(r.stderr, "--file", "is told of --file")


def follows(host, log):
    """As site's destination: with rotated files, and through a rotation."""
    with gzip.open(log + ".2.gz", "wt") as f:
        f.write(OLD)
    os.utime(log + ".2.gz", (1, 1))
    with open(log + ".1", "w") as f:
        f.write(OLD.replace("odd", "newer"))
    with open(log, "w") as f:
        f.write(OLD.replace("odd", "newest"))
    site = os.path.join(os.path.dirname(log), "log.conf")
    with open(site, "w") as f:
        f.write('host = { name = "mail.example.org"; ipv4 = "127.0.0.1"; };\ndomains = ( { name = "example.org"; } );\n'
                'accounts = ( { address = "a@example.org"; } );\nlog = { destination = "%s"; };\nstate_dir = "%s";\n' % (log, os.path.dirname(log)))
    r = subprocess.run([MAILADM, "-c", site, "--json", "log", "--level", "warn"], capture_output=True, text=True)
    is_([o["event"] for o in objects(r)], ["odd", "newer", "newest"], "rotated files come first, compressed ones too")
    p = subprocess.Popen([MAILADM, "-c", site, "log", "-f", "--event", "live"], stdout=subprocess.PIPE, text=True)
    try:
        with open(log, "a") as f:
            f.write("2026-01-02T03:04:05+00:00 INFO x[1]: event=live n=1\n2026-01-02T03:04:05+00:00 INFO x[1]: event=li")
            f.flush()
            like(p.stdout.readline(), "event=live n=1", "what is written later is followed")
            f.write("ve n=2\n")
        like(p.stdout.readline(), "n=2", "a line that came in two parts is one")
        os.rename(log, log + ".1")
        with open(log, "w") as f:
            f.write("2026-01-02T03:04:05+00:00 INFO x[1]: event=live n=3\n")
        like(p.stdout.readline(), "n=3", "through a rotation")
    finally:
        p.terminate()
        is_(p.wait(10), 0, "a signal ends it well")


def journal(host, dir):
    """A journalctl that goes on when mailadm is told to end."""
    fake = os.path.join(dir, "journalctl")
    with open(fake, "w") as f:
        f.write("""#!/bin/sh
printf '{"MESSAGE":"smtp: event=%070000d","PRIORITY":"6","__REALTIME_TIMESTAMP":"1764000000000000"}\\n' 1
echo '{"MESSAGE":"smtp: event=live n=1","PRIORITY":"4","__REALTIME_TIMESTAMP":"1764000000000000"}'
exec sleep 60
""")
    os.chmod(fake, 0o755)
    command = 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && PATH="$1:$PATH" && shift && exec "$@"'
    p = subprocess.Popen(["unshare", "-m", "sh", "-c", command, "sh", dir, MAILADM, "-c", host.conf, "log", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        like(p.stdout.readline(), "WARN  smtp: event=live n=1", "the journal, but for a line that is too long")
    finally:
        p.terminate()
        try:
            out, err = p.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
    is_((p.returncode, out, err), (0, "", ""), "a signal ends that well too")


def lives(host, peer):
    log = host.log_path
    sent = submit(host, ["x@later.example", "alice@example.org"], "first")
    wait_until(lambda: "event=deferred" in host.log(), "an attempt")
    r = host.cli("explain", "--file", log, sent)
    is_(r.returncode, 0, "explain by the id of the reply")
    like(r.stdout, sent + " <first@test.example>\n", "the message")
    like(r.stdout, "accepted from 127.0.0.1: alice@example.org to x@later.example and 1 more\n", "accepted")
    matches(r.stdout, r"deferred: x@later.example by mx.example\[127.0.0.2\]:\d+: 450 4.2.1 later please\n", "the attempt, in the remote's words")
    matches(r.stdout, r"still in the queue as [0-9a-f]{16}, next attempt 20.*\n +x@later.example \(waiting\) 450", "and that it still waits")
    story = json.loads(host.cli("--json", "explain", "--file", log, "first@test.example").stdout)["messages"]
    is_([(m["id"], m["message-id"]) for m in story], [(sent, "<first@test.example>")], "by Message-ID, as JSON")
    events = [e["event"] for e in story[0]["events"]]
    ok("accepted" in events and "deferred" in events and "accepted-for" in events, "has its events: %s" % events)
    is_([len(story[0]["queue"]), story[0]["queue"][0]["recipients"][0]["address"]], [1, "x@later.example"], "and its queue entry")
    queue_id = story[0]["queue"][0]["id"]
    is_([m["id"] for m in json.loads(host.cli("--json", "explain", "--file", log, queue_id).stdout)["messages"]], [sent], "by the queue entry")
    second = submit(host, ["alice@example.org"], "second")
    is_([m["id"] for m in json.loads(host.cli("--json", "explain", "--file", log, "alice@example.org").stdout)["messages"]], [sent, second],
        "by address: both")
    is_([m["id"] for m in json.loads(host.cli("--json", "explain", "-n", "1", "--file", log, "alice@example.org").stdout)["messages"]], [second],
        "the newest one")
    with host.smtp() as s:
        s.ehlo("client.example")
        s.mail("stranger@else.example")
        is_(s.rcpt("nobody@example.org")[0], 550, "a stranger is refused")
    r = host.cli("explain", "--file", log, "nobody@example.org")
    like(r.stdout, "refused for 127.0.0.1: 550 5.1.1 Unknown here", "and that is explained")
    r = host.cli("explain", "--file", log, "never@nowhere.example", check=False)
    is_((r.returncode, r.stdout), (1, ""), "nothing about it")
    is_(host.cli("explain", check=False).returncode, 2, "no argument")
    peer.refuse = lambda recipient: None
    host.cli("queue", "retry")
    wait_until(lambda: "event=sent" in host.log(), "it is sent")
    wait_until(lambda: host.cli("queue").stdout == "", "the queue is empty")
    out = host.cli("explain", "--file", log, sent).stdout
    like(out, "sent: x@later.example by ", "sent at last")
    ok("still in the queue" not in out, "and no longer in the queue")


def main():
    with stuck_host("later MX 10 mx\n", ["alice@example.org"]) as (host, peer, dir):
        log = os.path.join(dir, "some.log")
        with open(log, "w") as f:
            f.write(OLD)
        filters(host, log)
        follows(host, log)
        journal(host, dir)
        lives(host, peer)
    done()


main()
