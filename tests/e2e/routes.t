#!/usr/bin/env python3
"""Ways out of the host: routes by recipient and by sender, failover, a smarthost with AUTH for one sender, a domain that
Dovecot keeps by LMTP, a staged move with a Postfix as the old host, source addresses, rates, and queue entries whose
recipients go different ways."""
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dovecot  # noqa: E402
import postfix  # noqa: E402
from host import Host, PASSWORD, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Named, Peer, bounces, certificate, clear, free_port, report  # noqa: E402

LMTP = """
protocols = imap lmtp
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = %d
  }
}
"""
ACCOUNTS = ["alice@example.org", "carol@example.org"]


def message(subject, to, sender="alice@example.org"):
    return ("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\nMessage-ID: <%s@t>\r\n\r\n.hello\r\n"
            % (sender, to, subject, subject.replace(" ", "."))).encode()


def submit(host, recipients, subject, sender="alice@example.org"):
    with host.smtp("submissions") as s:
        s.login(sender, PASSWORD)
        return s.sendmail(sender, recipients, message(subject, recipients[0], sender))


def taken(peer, subject):
    return [m for m in peer.messages if b"Subject: %s\r\n" % subject.encode() in m.data]


def wait_taken(peer, subject):
    return wait_until(lambda: taken(peer, subject), "delivery of " + subject, 30)[0]


def in_dovecot(server, user, subject):
    imap = server.imap(user)
    imap.select("INBOX", readonly=True)
    numbers = imap.search(None, "SUBJECT", '"%s"' % subject)[1][0].split()
    texts = [imap.fetch(n, "(BODY.PEEK[])")[1][0][1] for n in numbers]
    imap.logout()
    return texts


def bounce_of(host, recipient, address="alice@example.org"):
    return wait_until(lambda: [m for m in bounces(host, address) if recipient in report(m)], "a bounce of " + recipient, 30)[0]


def lmtp(host, server):
    host.deliver("team@lists.example.org", message("to the list", "team@lists.example.org"))
    text = wait_until(lambda: in_dovecot(server, "team@lists.example.org", "to the list"), "Dovecot's delivery")[0]
    like(text, b"\r\n\r\n.hello\r\n", "mail for a domain with deliver is in Dovecot's mailbox, by LMTP")
    like(text, b"Return-Path: <sender@example.net>", "with its sender")
    host.deliver("postmaster@lists.example.org", message("for the postmaster", "postmaster@lists.example.org"))
    imap = host.imap("alice@example.org")
    imap.select("INBOX")
    is_(len(wait_until(lambda: imap.noop() and imap.search(None, "SUBJECT", '"for the postmaster"')[1][0].split(), "the postmaster's")), 1,
        "its postmaster is the host's")
    refused = submit(host, ["one@lists.example.org", "refused@lists.example.org"], "asked")
    is_([(r, a[0]) for r, a in refused.items()], [("refused@lists.example.org", 550)], "whom Dovecot does not know is refused at RCPT")
    ok(wait_until(lambda: in_dovecot(server, "one@lists.example.org", "asked"), "one"), "and the other has it")
    submit(host, ["all@example.org"], "each alone")
    m = bounce_of(host, "refused@lists.example.org")
    is_(sorted(report(m)), ["refused@lists.example.org"], "LMTP answers each recipient alone: one bounces")
    like(report(m)["refused@lists.example.org"]["Diagnostic-Code"], "smtp; 5", "in Dovecot's words")
    for who in ("one", "two"):
        ok(wait_until(lambda: in_dovecot(server, who + "@lists.example.org", "each alone"), who), "and %s has it" % who)


def staged(host, old):
    host.deliver("Bob.Old@example.org", message("still there", "bob.old@example.org"))
    sender, recipient, data = old.wait(1)[0]
    is_((sender, recipient), ("sender@example.net", "Bob.Old@example.org"), "an unknown recipient is sent on to the old host, as written")
    host.deliver("carol@example.org", message("moved", "carol@example.org"))
    imap = host.imap("carol@example.org")
    imap.select("INBOX")
    is_(len(wait_until(lambda: imap.noop() and imap.search(None, "SUBJECT", '"moved"')[1][0].split(), "carol's")), 1,
        "one who has moved gets it here")
    is_(len(old.messages()), 1, "and the old host nothing more")


def by_recipient(host, peers, dead):
    submit(host, ["x@partner.example"], "failover")
    m = wait_taken(peers["a"], "failover")
    is_(m.sender, "alice@example.org", "a route's first host that answers takes the mail")
    submit(host, ["x@sub.partner.example"], "below")
    wait_taken(peers["a"], "below")
    ok(True, ".domain is what is below it")
    submit(host, ["special@elsewhere.example", "other@elsewhere.example"], "two ways")
    is_(wait_taken(peers["b"], "two ways").recipients, ["special@elsewhere.example"], "an address goes its own way")
    is_(wait_taken(peers["mx"], "two ways").recipients, ["other@elsewhere.example"], "the other recipient by MX, of the same entry")
    host.deliver("robot@example.org", message("for the robot", "robot@example.org"))
    is_(wait_taken(peers["b"], "for the robot").recipients, ["robot@example.org"], "an address of ours that a route names is taken")


def by_sender(host, peers):
    submit(host, ["y@far.example"], "of carol", "carol@example.org")
    m = wait_taken(peers["auth"], "of carol")
    is_((m.session.user, m.session.tls), ("carol-at-provider", True), "mail of one sender goes by its own smarthost, with AUTH in TLS")
    submit(host, ["y@trusted.example"], "not trusted")
    wait_until(lambda: "4.7.5" in host.cli("--json", "queue", "list").stdout, "the reason")
    ok(not taken(peers["auth"], "not trusted"), "with a user TLS means a certificate that is right, if nothing less is asked")
    host.cli("queue", "drop", "--to", "trusted.example")
    submit(host, ["y@far.example"], "of alice")
    is_(wait_taken(peers["mx"], "of alice").session.user, None, "that of others by MX")


def families(host, peers, six):
    submit(host, ["v@both.example"], "by six")
    wait_taken(six, "by six")
    ok(not taken(peers["mx"], "by six"), "IPv6 first, where the host has both")
    six.listener.shutdown(2)  # else the thread in accept keeps it open
    six.stop()
    submit(host, ["v@four.example"], "by four")
    wait_taken(peers["mx"], "by four")
    ok(True, "family = ipv4: not by IPv6")
    submit(host, ["v@fallback.example"], "fallback")
    wait_taken(peers["mx"], "fallback")
    ok(True, "IPv4 where nobody answers by IPv6")


def rates(host, peers):
    for i in range(4):
        submit(host, ["z@slow.example"], "paced %d" % i)
    times = []
    for i in range(4):
        wait_taken(peers["slow"], "paced %d" % i)
        times.append(time.monotonic())
    arrived = sorted(peers["slow"].arrived)
    gaps = [b - a for a, b in zip(arrived, arrived[1:])]
    ok(len(gaps) == 3 and min(gaps) > 0.8, "rate = 60: a second between two messages")
    diag("gaps: %s" % gaps)
    is_(len(peers["slow"].sessions), 1, "and one connection for all of them")


class Slow(Peer):
    """Notes when messages come, and from where."""
    def __init__(self, *args, **kw):
        self.arrived, self.sources = [], []
        super().__init__(*args, **kw)
        self.final = self.note

    def note(self, peer, message):
        self.arrived.append(time.monotonic())
        return "250 2.0.0 taken"

    def _serve(self, s):
        self.sources.append(s.getpeername()[0])
        super()._serve(s)


class Six(Peer):
    def __init__(self, address, port):
        import socket
        self.real = socket.socket
        socket.socket = lambda *a: self.real(socket.AF_INET6)
        try:
            super().__init__(address, port)
        finally:
            socket.socket = self.real


class RoutesHost(Host):
    def site_text(self):
        text = super().site_text()
        return text.replace('domains = ( { name = "example.org"; } );\n', "", 1)


def main():
    if not dovecot.there() or not os.path.exists("/usr/lib/dovecot/lmtp"):
        skip_all("Dovecot with LMTP is not installed (dovecot-imapd, dovecot-lmtpd)")
    if postfix.why_not():
        skip_all(postfix.why_not())
    dir = tempfile.mkdtemp(prefix="routes-test-", dir="/tmp")
    port = free_port(["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"])
    lmtp_port, dead = free_port(["127.0.0.1"]), free_port(["127.0.0.1"])
    pem = certificate(dir)
    named = Named(dir, "far MX 10 mx\nelsewhere MX 10 mx\nmx A 127.0.0.2\npeer A 127.0.0.5\nslow MX 10 slow\nslow A 127.0.0.6\n"
                  "both MX 10 mx46\nfallback MX 10 mx64\nfour MX 10 mx46\nmx46 A 127.0.0.2\nmx46 AAAA ::1\nmx64 A 127.0.0.2\nmx64 AAAA ::1\n")
    peers = {"mx": Peer("127.0.0.2", port), "a": Peer("127.0.0.3", port), "b": Peer("127.0.0.4", port),
             "auth": Peer("127.0.0.5", port, pem=pem, auth=("PLAIN", "carol-at-provider", "her secret")),
             "slow": Slow("127.0.0.6", port)}
    six = Six("::1", port)
    old = postfix.Postfix(dir, ["example.org"])
    server = dovecot.Dovecot(LMTP % lmtp_port, users=[x + "@lists.example.org" for x in ("team", "one", "two")])
    try:
        server.start()
        groups = {"host": 'ipv6 = "2001:db8::10";', "dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port, "relay": 'port_out = %d;' % port}
        site = ("""domains = ( { name = "example.org"; elsewhere = "127.0.0.1:%d"; },
  { name = "lists.example.org"; deliver = "lmtp:127.0.0.1:%d"; } );
aliases = ( { address = "all@example.org"; to = ("one@lists.example.org", "refused@lists.example.org", "two@lists.example.org"); } );
routes = ( { name = "partner"; to = ("partner.example", ".partner.example"); hosts = ("127.0.0.1:%d", "127.0.0.3:%d"); },
  { name = "special"; to = ("special@elsewhere.example", "robot@example.org"); hosts = ("127.0.0.4:%d"); },
  { name = "four"; to = ("four.example"); family = "ipv4"; },
  { name = "slow"; to = ("slow.example"); rate = 60; ipv4 = "127.0.0.77"; },
  { name = "carols"; from = ("carol@example.org"); hosts = ("peer.example:%d"); user = "carol-at-provider"; tls = "encrypt"; },
  { name = "trusted"; to = ("trusted.example"); hosts = ("peer.example:%d"); user = "carol-at-provider"; } );
""" % (old.port, lmtp_port, dead, port, port, port, port))
        host = RoutesHost(accounts=ACCOUNTS, groups=groups, site=site)
        host.init()
        with open(host.dir + "/state/secrets", "w") as f:
            f.write('route.carols.password = "her secret"\n')
        os.chmod(host.dir + "/state/secrets", 0o600)
        with host:
            is_(host.cli("check", check=False).returncode, 0, "the site is right")
            lmtp(host, server)
            staged(host, old)
            by_recipient(host, peers, dead)
            by_sender(host, peers)
            families(host, peers, six)
            rates(host, peers)
            is_(set(peers["slow"].sources), {"127.0.0.77"}, "a route's own source address")
            wait_until(lambda: host.cli("--json", "queue", "list").stdout.strip() == "[]", "an empty queue")
            ok(True, "the queue is empty")
    finally:
        clear(dir, server, old, named, *peers.values())
    done()


main()
