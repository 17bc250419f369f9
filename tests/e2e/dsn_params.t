#!/usr/bin/env python3
"""RFC 3461 at the door: RET, ENVID, NOTIFY and ORCPT are offered, checked and carried on; success is told of what stays here, and never
to a sender that may be forged."""
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, like, ok, wait_until  # noqa: E402
from send_peers import Named, Peer, bounces, free_port, report  # noqa: E402
from smtp_talk import Outside, Talk  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"
BODY = b"From: alice@example.org\r\nSubject: notify\r\nMessage-ID: <n1@example.org>\r\n\r\nhello\r\n"
SITE = """
aliases = ( { address = "out@example.org"; to = ( "x@remote.example" ); }, { address = "in@example.org"; to = ( "bob@example.org" ); },
            { address = "both@example.org"; to = ( "bob@example.org", "y@remote.example" ); } );
lists = ( { address = "list@example.org"; members = ( "bob@example.org", "z@remote.example" ); owner = "carol@example.org"; } );
"""


class Next(Peer):
    """The next host: offers DSN; the commands of each transaction."""

    def __init__(self):
        self.port = free_port(["127.0.0.1"])
        super().__init__("127.0.0.1", self.port)
        self.extensions = ["DSN", "SMTPUTF8"]

    @property
    def transactions(self):
        """The MAIL line and the RCPT lines of each that came as far as DATA."""
        done = []
        for session in self.sessions:
            for line in session.commands:
                if line.startswith("MAIL "):
                    lines = [line]
                elif line.startswith("RCPT "):
                    lines.append(line)
                elif line == "DATA":
                    done.append(lines)
        return done

    def find(self, recipient):
        """The MAIL and the RCPT line of the transaction for this recipient."""
        def look():
            for lines in self.transactions:
                for line in lines[1:]:
                    if "<%s>" % recipient in line:
                        return lines[0], line
        return wait_until(look, "a transaction for " + recipient)


def offered(host):
    for service in ("smtp", "submissions"):
        with Talk(host, service, tls=service == "submissions") as t:
            like("\n%s\n" % t.cmd("EHLO c")[1], "\nDSN\n", "%s offers DSN" % service)
    rows = [("MAIL FROM:<s@example.net> RET=FULL ENVID=abc", 250), ("MAIL FROM:<s@example.net> RET=ALL", 501), ("MAIL FROM:<s@example.net> ENVID=a=b", 501),
            ("MAIL FROM:<s@example.net> ENVID=" + "a" * 101, 501), ("MAIL FROM:<s@example.net> ENVID=+0D+0A", 501), ("MAIL FROM:<s@example.net> NOTIFY=NEVER", 555)]
    with Talk(host) as t:
        t.cmd("EHLO c")
        for line, code in rows:
            is_(t.cmd(line)[0], code, line[:60])
            t.cmd("RSET")
        t.cmd("MAIL FROM:<s@example.net>")
        for parameters, code in (("NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a+2Bb@c", 250), ("NOTIFY=NEVER", 250), ("NOTIFY=NEVER,DELAY", 501), ("NOTIFY=", 501),
                                 ("NOTIFY=SOON", 501), ("ORCPT=a@b", 501), ("ORCPT=rfc822;" + "a" * 500, 501), ("ORCPT=rfc822;a+0Ab", 501), ("RET=FULL", 555)):
            is_(t.cmd("RCPT TO:<alice@example.org> " + parameters)[0], code, "RCPT %s" % parameters[:50])
    with Talk(host) as t:
        t.cmd("HELO c")
        is_(t.codes("MAIL FROM:<s@example.net> RET=FULL", "MAIL FROM:<s@example.net>", "RCPT TO:<alice@example.org> NOTIFY=NEVER"), [555, 250, 555], "not behind HELO")


def submit(host, recipients, mail="", sender=ALICE):
    with host.smtp("submissions") as s:
        s.login(ALICE, host.accounts[ALICE])
        s.ehlo_or_helo_if_needed()
        codes = [s.docmd("MAIL FROM:<%s> %s" % (sender, mail))[0]] + [s.docmd("RCPT TO:<%s> %s" % r)[0] for r in recipients]
        codes.append(s.data(BODY)[0])
        if set(codes) != {250}:
            diag(codes)


def carried(host, peer):
    submit(host, [("a@remote.example", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;A+2Bx@first.example"), ("b@remote.example", "NOTIFY=NEVER"), ("c@remote.example", "")],
           "RET=HDRS ENVID=QQ+2B1")
    mail, rcpt = peer.find("a@remote.example")
    ok(re.search(r" RET=HDRS( |$)", mail) and re.search(r" ENVID=QQ\+2B1( |$)", mail), "RET and ENVID are passed on: " + mail)
    ok(re.search(r" NOTIFY=(SUCCESS,DELAY|DELAY,SUCCESS)( |$)", rcpt) and " ORCPT=rfc822;A+2Bx@first.example" in rcpt, "NOTIFY and ORCPT too: " + rcpt)
    like(peer.find("b@remote.example")[1], " NOTIFY=NEVER", "NEVER is passed on")
    ok("NOTIFY" not in peer.find("c@remote.example")[1], "and what was not said is not said: " + peer.find("c@remote.example")[1])
    submit(host, [("out@example.org", "NOTIFY=SUCCESS,FAILURE"), ("both@example.org", "NOTIFY=SUCCESS"), ("list@example.org", "NOTIFY=SUCCESS,FAILURE")], "ENVID=E2")
    mail, rcpt = peer.find("x@remote.example")
    ok("NOTIFY=SUCCESS,FAILURE" in rcpt and "ORCPT=rfc822;out@example.org" in rcpt, "an alias of one passes it on, with the address that the sender knows: " + rcpt)
    mail, rcpt = peer.find("y@remote.example")
    ok("SUCCESS" not in rcpt and "NEVER" in rcpt and "ENVID=E2" in mail, "one of several does not promise success: " + rcpt)
    mail, rcpt = peer.find("z@remote.example")
    ok("MAIL FROM:<carol@example.org>" in mail and "ENVID" not in mail and "NOTIFY" not in rcpt, "members of a list are asked nothing: %s %s" % (mail, rcpt))


def told(host):
    """What alice was told of the second message: in the inbox, with the fields of RFC 3464."""
    wait_until(lambda: len(bounces(host, ALICE)) >= 1, "a notification")
    m = bounces(host, ALICE)[0]
    fields = report(m)
    is_({k: v["Action"] for k, v in fields.items()}, {"both@example.org": "expanded", "list@example.org": "delivered"}, "expanded, and delivered to the list")
    is_(m.get_payload()[1].get_payload()[0]["Original-Envelope-Id"], "E2", "with the envelope's name")
    ok(all(v["Status"].startswith("2.") for v in fields.values()), "the status is one of success")
    submit(host, [("in@example.org", "NOTIFY=SUCCESS ORCPT=rfc822;In+2B@example.org"), (BOB, "NOTIFY=FAILURE"), ("alice@example.org", "")], "RET=FULL ENVID=E+2B3")
    wait_until(lambda: len(bounces(host, ALICE)) >= 2, "another notification")
    m = bounces(host, ALICE)[1]
    block = report(m)["in@example.org"]
    is_((block["Action"], block["Original-Recipient"]), ("delivered", "rfc822; In+@example.org"), "delivered, with the recipient that the sender wrote")
    is_(m.get_payload()[1].get_payload()[0]["Original-Envelope-Id"], "E+3", "decoded")
    is_(len(report(m)), 1, "about nobody who did not ask")
    like(m.get_payload()[2].as_string(), "Message-ID: <n1@example.org>", "the header goes along")
    ok("hello" not in m.get_payload()[2].as_string(), "and, RET=FULL or not, no more")
    is_((m["Auto-Submitted"], m["Return-Path"]), ("auto-replied", "<>"), "from nobody, and it says that a machine wrote it")


def forged(host):
    """A stranger asks for success in the name of somebody else: nobody is told."""
    def stranger(address, sender):
        with Outside(host, address) as t:
            codes = t.codes("EHLO c.remote.example", "MAIL FROM:<%s> ENVID=S1" % sender, "RCPT TO:<bob@example.org> NOTIFY=SUCCESS", "DATA")
            t.send(b"From: %s\r\nSubject: stranger\r\n\r\nx\r\n.\r\n" % sender.encode())
            return codes + [t.reply()[0]]
    is_(stranger("203.0.113.9", "victim@genuine.example"), [250, 250, 250, 354, 250], "a stranger's message is taken")
    wait_until(lambda: "event=dsn result=withheld" in host.log(), "the log")
    is_(stranger("203.0.113.7", "someone@genuine.example"), [250, 250, 250, 354, 250], "and one from where SPF allows it")
    mail, rcpt = host.peer.find("someone@genuine.example")
    is_(mail.split(" ")[1], "FROM:<>", "that sender is told")
    is_([t for t in host.peer.transactions if "victim@" in str(t)], [], "the other is not")


peer = Next()
with tempfile.TemporaryDirectory(prefix="sub-dsn-") as dir:
    named = Named(dir, 'genuine TXT "v=spf1 ip4:203.0.113.7 -all"\nremote MX 10 ns\n')
    site = SITE + 'relay = { smarthost = "127.0.0.1"; port = %d; tls_required = false; };\ndns = { forward = ( "127.0.0.1@%d" ); dnssec = false; };\n' % (peer.port, named.port)
    site += 'checks = { spf = "mark"; dmarc = "off"; reverse_dns = "off"; helo = "off"; greylist = "off"; early_talker = "off"; };\n'
    with Host(accounts=(ALICE, BOB, "carol@example.org"), site=site, groups={"limits": "errors = 1000;", "listen": 'proxy_from = ( "127.0.0.9" );'}) as host:
        host.peer = peer
        offered(host)
        carried(host, peer)
        told(host)
        forged(host)
    named.stop()
done()
