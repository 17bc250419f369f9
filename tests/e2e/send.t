#!/usr/bin/python3
"""Sending: routes from a real named, delivery to real and recording SMTP servers, failures and their notifications."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, PORTS, done, free_offset, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Named, Peer, bounces, certificate, clear, report  # noqa: E402

SINK = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
ZONE = """
one MX 10 mx1
mx1 A 127.0.0.2
two MX 10 dead
two MX 20 mx1
dead A 127.0.0.3
bare A 127.0.0.2
null MX 0 .
grey MX 10 mx4
mx4 A 127.0.0.4
tls MX 10 mx5
mx5 A 127.0.0.5
brk MX 10 mx6
mx6 A 127.0.0.6
old MX 10 mx7
mx7 A 127.0.0.7
sink MX 10 mx9
mx9 A 127.0.0.9
loop MX 10 mail.example.org.
b MX 10 mxb
mxb A 127.0.0.1
noaddr MX 10 nothing
nothing TXT "x"
"""


def message(subject, to, body="hello\r\n", sender="alice@example.org"):
    return ("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
            "Message-ID: <%s@example.org>\r\n\r\n%s" % (sender, to, subject, subject.replace(" ", "."), body)).encode()


def submit(host, recipients, data, sender="alice@example.org"):
    with host.smtp("submissions") as s:
        s.login("alice@example.org", host.accounts["alice@example.org"])
        s.sendmail(sender, recipients, data)


def taken(peer, subject):
    return [m for m in peer.messages if b"Subject: %s\r\n" % subject.encode() in m.data]


def wait_taken(peer, subject):
    return wait_until(lambda: taken(peer, subject), "delivery of " + subject, 90)[0]


def wait_bounce(host, recipient, address="alice@example.org"):
    def found():
        return [m for m in bounces(host, address) if recipient in report(m)]
    m = wait_until(found, "a notification about " + recipient)[0]
    return m, report(m)[recipient]


def queue(host):
    import json
    return json.loads(host.cli("--json", "queue", "list").stdout)


def routes(host, peers):
    submit(host, ["x@one.example"], message("by mx", "x@one.example", ".dot\r\n..two\r\n.\r\nend\r\n"))
    m = wait_taken(peers["mx1"], "by mx")
    is_(m.recipients, ["x@one.example"], "MX: the recipient")
    is_(m.sender, "alice@example.org", "MX: the sender")
    ok(m.data.endswith(b"\r\n\r\n.dot\r\n..two\r\n.\r\nend\r\n"), "dots at the start of lines come out as they went in")
    is_(m.session.helo, "mail.example.org", "EHLO with our own name")
    like(m.parameters, "SIZE=", "SIZE is declared")

    submit(host, ["x@two.example"], message("second mx", "x@two.example"))
    wait_taken(peers["mx1"], "second mx")
    ok(True, "the second MX takes what the dead first one does not")

    submit(host, ["x@bare.example"], message("by address", "x@bare.example"))
    wait_taken(peers["mx1"], "by address")
    ok(True, "a domain without MX is reached by its address")

    submit(host, ["a@one.example", "b@one.example", "c@old.example"], message("three", "a@one.example"))
    is_(sorted(wait_taken(peers["mx1"], "three").recipients), ["a@one.example", "b@one.example"], "one transaction a destination")
    m = wait_taken(peers["old"], "three")
    is_([c.split()[0] for c in m.session.commands[:2]], ["EHLO", "HELO"], "HELO where EHLO is refused")
    is_(m.parameters, "", "no parameters after HELO")


def failures(host, peers):
    for recipient, status, words in (
            ("nobody@one.example", "5.1.1", "550 5.1.1 no such user"),
            ("x@null.example", "5.1.10", "null MX"),
            ("x@nx.example", "5.1.2", "there is no domain"),
            ("x@loop.example", "5.4.6", "loops back"),
            ("x@noaddr.example", "5.4.4", "has an address")):
        submit(host, [recipient], message("to " + recipient, recipient))
        m, fields = wait_bounce(host, recipient)
        is_(fields["Status"], status, recipient + ": " + status)
        like(fields["Diagnostic-Code"], words, recipient + ": the reason")
        is_(fields["Action"], "failed", recipient + ": Action")
    m, fields = wait_bounce(host, "nobody@one.example")
    is_(fields["Remote-MTA"], "dns; mx1.example", "Remote-MTA")
    is_(m["Return-Path"], "<>", "a notification comes from <>")
    is_(m["Auto-Submitted"], "auto-replied", "and says that it is automatic")
    is_([p.get_content_type() for p in m.get_payload()], ["text/plain", "message/delivery-status", "text/rfc822-headers"],
        "its three parts")
    like(m.get_payload()[2].get_payload(), "Subject: to nobody@one.example", "the original header goes along")

    submit(host, ["good@one.example", "nobody@one.example"], message("half", "good@one.example"))
    is_(wait_taken(peers["mx1"], "half").recipients, ["good@one.example"], "the good recipient is delivered")
    wait_until(lambda: len([m for m in bounces(host, "alice@example.org") if "nobody@one.example" in report(m)]) == 2,
               "the second notification")
    ok(True, "and the other one bounced")
    wait_until(lambda: not queue(host), "an empty queue")
    ok(True, "the queue is empty")


def greylisting(host, peers):
    first = set()

    def refuse(recipient):
        if recipient in first:
            return None
        first.add(recipient)
        return "451 4.7.1 greylisted"
    peers["grey"].refuse = refuse
    submit(host, ["x@grey.example"], message("grey", "x@grey.example"))
    entry = wait_until(lambda: [e for e in queue(host) if e["attempts"] == 1], "a deferred entry")[0]
    like(entry["recipients"][0]["reply"], "451 4.7.1 greylisted", "the queue shows the reply")
    is_(taken(peers["grey"], "grey"), [], "not delivered yet")
    host.cli("queue", "retry", str(entry["id"]))
    wait_taken(peers["grey"], "grey")
    wait_until(lambda: not queue(host), "an empty queue")
    ok(True, "queue retry delivers at once")


def tls(host, peers):
    submit(host, ["x@tls.example"], message("secret", "x@tls.example"))
    ok(wait_taken(peers["tls"], "secret").session.tls, "STARTTLS is used where offered, whatever the certificate")
    like(host.log(), "tls=TLSv1", "the log says so")
    submit(host, ["x@brk.example"], message("broken", "x@brk.example"))
    m = wait_taken(peers["brk"], "broken")
    ok(not m.session.tls, "a broken handshake leads to a new connection without TLS")


def reuse(host, peers):
    before = len(peers["mx1"].sessions)
    for i in range(20):
        submit(host, ["x@one.example"], message("many %d" % i, "x@one.example"))
    for i in range(20):
        wait_taken(peers["mx1"], "many %d" % i)
    used = len(peers["mx1"].sessions) - before
    ok(used <= 4, "twenty messages over at most four connections (%d)" % used)


def big_and_dripping(host, peers):
    body = "".join("%07d %s\r\n" % (i, "x" * 60) for i in range(60000))
    peers["mx1"].drip = True
    submit(host, ["x@one.example"], message("big", "x@one.example", body))
    m = wait_taken(peers["mx1"], "big")
    ok(m.data.endswith(b"\r\n\r\n" + body.encode()), "four megabytes arrive whole, with replies byte by byte")
    peers["mx1"].drip = False


def killed(host, peers):
    peers["mx1"].hold = threading.Event()
    received = peers["mx1"].received
    submit(host, ["x@one.example"], message("killed", "x@one.example"))
    wait_until(lambda: peers["mx1"].received > received, "the message at the peer")
    pid = host.children()["send"][0]
    os.kill(pid, signal.SIGKILL)
    # At once: the next process must not meet the hold that the killed one left.
    hold, peers["mx1"].hold = peers["mx1"].hold, None
    wait_until(lambda: [p for p in host.children().get("send", []) if p != pid], "a new send process")

    def again():
        return peers["mx1"].received > received + 1
    wait_until(again, "the second attempt")
    wait_until(lambda: not queue(host), "an empty queue")
    is_(len(taken(peers["mx1"], "killed")), 1, "kill -9 of send before the answer: delivered once")
    hold.set()


def store_killed(host, peers):
    """Store dies while an answer is on its way: the result is told to the next store, and nothing is sent twice."""
    peers["mx1"].hold = threading.Event()
    received = peers["mx1"].received
    submit(host, ["x@one.example"], message("store killed", "x@one.example"))
    wait_until(lambda: peers["mx1"].received > received, "the message at the peer")
    pid = host.children()["store"][0]
    os.kill(pid, signal.SIGKILL)
    peers["mx1"].hold.set()
    peers["mx1"].hold = None
    wait_until(lambda: [p for p in host.children().get("store", []) if p != pid], "a new store process")

    def empty():
        r = host.cli("--json", "queue", "list", check=False)
        return r.returncode == 0 and r.stdout.strip() == "[]"
    wait_until(empty, "an empty queue", 40)
    submit(host, ["x@one.example"], message("after store", "x@one.example"))
    wait_taken(peers["mx1"], "after store")
    is_(len(taken(peers["mx1"], "store killed")), 1, "kill -9 of store before the answer: delivered once, and the queue goes on")


def real_peers(host, other, sink_dir):
    submit(host, ["bob@b.example"], message("to bob", "bob@b.example"))

    def arrived():
        imap = other.imap("bob@b.example")
        imap.select("INBOX", readonly=True)
        found = imap.search(None, 'SUBJECT "to bob"')[1][0].split()
        imap.logout()
        return found
    wait_until(arrived, "mail at the other host")
    ok(True, "another mailadm takes it")
    submit(host, ["nosuch@b.example"], message("to nobody", "nosuch@b.example"))
    _, fields = wait_bounce(host, "nosuch@b.example")
    is_(fields["Status"], "5.1.1", "and refuses an unknown user, who bounces")

    for i in range(5):
        submit(host, ["s%d@sink.example" % i], message("sink %d" % i, "s@sink.example", ".a\r\n"))

    def dumped():
        texts = []
        for name in os.listdir(sink_dir):
            with open(os.path.join(sink_dir, name), "rb") as f:
                texts.append(f.read())
        return texts if len(texts) == 5 and all(b"\n.a\n" in t.replace(b"\r", b"") for t in texts) else None
    texts = wait_until(dumped, "five messages in smtp-sink")
    ok(all(any(b"Subject: sink %d" % i in t for t in texts) for i in range(5)), "Postfix's smtp-sink has all five")


def reload_with(host, relay, secrets=None):
    host.groups["relay"] = relay
    with open(host.conf, "w") as f:
        f.write(host.site_text())
    if secrets:
        path = os.path.join(host.dir, "state", "secrets")
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.write(fd, secrets.encode())
        os.close(fd)
    host.cli("reload")


def smarthost(host, peers, port, base):
    reload_with(host, base + ' smarthost = "127.0.0.8"; port = %d; user = "us"; tls_required = false;' % port,
                'relay.password = "very secret"\n')
    submit(host, ["x@anywhere.invalid"], message("relayed", "x@anywhere.invalid"))
    m = wait_taken(peers["smart"], "relayed")
    is_(m.session.user, "us", "the smarthost sees our login")
    ok(m.session.tls, "inside TLS")
    ok("very secret" not in host.log(), "the password is not in the log")
    peers["smart"].auth = ("LOGIN", "us", "very secret")
    before = len(peers["smart"].sessions)
    wait_until(lambda: "QUIT" in m.session.commands, "the end of the idle connection", 30)
    submit(host, ["x@anywhere.invalid"], message("relayed login", "x@anywhere.invalid"))
    m = wait_taken(peers["smart"], "relayed login")
    is_((m.session.user, len(peers["smart"].sessions) > before), ("us", True), "AUTH LOGIN too")
    reload_with(host, base + ' smarthost = "127.0.0.8"; port = %d; user = "us"; tls_required = true;' % port)
    submit(host, ["x@anywhere.invalid"], message("verified", "x@anywhere.invalid"))
    entry = wait_until(lambda: [e for e in queue(host) if e["attempts"] >= 1], "a deferred entry")[0]
    like(entry["recipients"][0]["reply"], "4.7.5", "tls_required: a self-signed smarthost is not trusted")
    is_(taken(peers["smart"], "verified"), [], "and gets nothing")
    host.cli("queue", "drop", str(entry["id"]))


def double_bounce(host, peers):
    """A bounce that bounces is told to the postmaster, once."""
    peers["mx1"].refuse = {"x@one.example": "550 5.7.1 never", "ghost@one.example": "550 5.1.1 no ghost"}
    host.cli("alias", "add", "ghost@example.org", "ghost@one.example")
    host.deliver("ghost@example.org", message("haunted", "ghost@example.org", sender="ghost@one.example"), sender="ghost@one.example")
    m, _ = wait_bounce(host, "ghost@one.example")
    like(m["Subject"], "Postmaster notice", "an undeliverable bounce goes to the postmaster")
    wait_until(lambda: not queue(host), "an empty queue")
    is_(len([m for m in bounces(host, "alice@example.org") if "ghost@one.example" in report(m)]), 1, "once")


def main():
    if not os.path.exists(SINK):
        skip_all("smtp-sink (package postfix) is not installed")
    dir = tempfile.mkdtemp(prefix="send-test-", dir="/tmp")
    other_offset = free_offset()
    port = other_offset + PORTS["smtp"]
    pem = certificate(dir)
    peers = {
        "mx1": Peer("127.0.0.2", port),
        "grey": Peer("127.0.0.4", port),
        "tls": Peer("127.0.0.5", port, pem=pem),
        "brk": Peer("127.0.0.6", port, pem=pem, break_tls=True),
        "old": Peer("127.0.0.7", port, ehlo=False),
        "smart": Peer("127.0.0.8", port, pem=pem, auth=("PLAIN", "us", "very secret"), pipelining=False),
    }
    peers["mx1"].refuse = {"nobody@one.example": "550 5.1.1 no such user"}
    sink_dir = os.path.join(dir, "sink")
    os.makedirs(sink_dir)
    os.chmod(dir, 0o755)
    os.chmod(sink_dir, 0o777)
    sink = subprocess.Popen([SINK] + (["-u", "nobody"] if os.geteuid() == 0 else []) + ["-R", sink_dir, "-d", "m.",
                            "127.0.0.9:%d" % port, "50"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    named = Named(dir, ZONE)
    base = "port_out = %d; retry_min = \"5m\";" % port
    try:
        dns = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port}
        with Host(accounts=["alice@example.org"], groups=dict(dns, relay=base)) as host, \
                Host(accounts=["bob@b.example"], hostname="mxb.example", domains=("b.example",), offset=other_offset,
                     groups=dict(dns)) as other:
            routes(host, peers)
            failures(host, peers)
            greylisting(host, peers)
            tls(host, peers)
            reuse(host, peers)
            big_and_dripping(host, peers)
            killed(host, peers)
            store_killed(host, peers)
            real_peers(host, other, sink_dir)
            double_bounce(host, peers)
            smarthost(host, peers, port, base)
    finally:
        sink.kill()
        sink.wait()
        clear(dir, named, *peers.values())
    done()


main()
