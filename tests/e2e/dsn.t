#!/usr/bin/env python3
"""Delivery status notifications (RFC 3461 to 3464) with a real Postfix behind us, once as it is and once without DSN: what
is asked is passed on or answered by us, NOTIFY and RET decide what comes, ENVID and ORCPT come back, delays are told once,
double bounces go to the postmaster.  And CHUNKING: what leaves by BDAT arrives as it was."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postfix  # noqa: E402
from host import Host, PASSWORD, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Named, Peer, bounces, clear, free_port, report  # noqa: E402

ALICE = "alice@example.org"
BODY = ".dot\r\n..two\r\n.\r\n" + "".join("line %d of the body\r\n" % i for i in range(9000))


def message(subject, body="hello\r\n"):
    return ("From: <%s>\r\nSubject: %s\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\nMessage-ID: <%s@t>\r\n\r\n%s"
            % (ALICE, subject, subject.replace(" ", "."), body)).encode()


def submit(host, recipients, subject, mail=(), body="hello\r\n"):
    """recipients: {address: [parameters]}"""
    with host.smtp("submissions") as s:
        s.login(ALICE, PASSWORD)
        s.ehlo()
        is_(s.mail(ALICE, list(mail))[0], 250, "MAIL with %s" % " ".join(mail)) if mail else s.mail(ALICE)
        for address, options in recipients.items():
            code, text = s.rcpt(address, options)
            if code != 250:
                ok(False, "RCPT %s %s: %d %r" % (address, options, code, text))
        s.data(message(subject, body))


def reports_of(host, subject):
    """The notifications about a message, by the Subject of the original in their third part."""
    out = []
    for m in bounces(host, ALICE):
        last = m.get_payload()[2]
        text = last.get_payload() if isinstance(last.get_payload(), str) else last.get_payload()[0].as_string()
        if "Subject: %s\n" % subject in text.replace("\r\n", "\n"):
            out.append(m)
    return out


def wait_report(host, subject, action="", n=1):
    def there():
        found = [m for m in reports_of(host, subject) if not action or action in [f["Action"] for f in report(m).values()]]
        return found if len(found) >= n else None
    return wait_until(there, "a notification (%s) about %s" % (action, subject), 30)


def queue(host):
    return host.cli("--json", "queue", "list").stdout.strip()


def relayed(host):
    submit(host, {"Ok+a@plain.example": ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Orig+2Binal@old.example"],
                  "quiet@plain.example": ["NOTIFY=FAILURE"], "unsaid@plain.example": []},
           "to one without DSN", ["RET=HDRS", "ENVID=QQ+2B314"])
    m = wait_report(host, "to one without DSN", "relayed")[0]
    is_(sorted(report(m)), ["Ok+a@plain.example"], "a host without DSN: who asked for success is told that it was relayed, and of no other")
    fields = report(m)["Ok+a@plain.example"]
    is_(fields["Original-Recipient"], "rfc822; Orig+inal@old.example", "ORCPT comes back, decoded")
    is_(fields["Status"], "2.0.0", "Status")
    is_(m.get_payload()[1].get_payload()[0]["Original-Envelope-Id"], "QQ+314", "ENVID too")
    like(fields["Diagnostic-Code"], "smtp; 250", "with the host's words")
    is_(m["Return-Path"], "<>", "from <>")
    is_(m.get_payload()[2].get_content_type(), "text/rfc822-headers", "with the header only")


def passed_on(host, mta):
    submit(host, {"bob@dsn.example": ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;bob@first.example"]}, "to one with DSN",
           ["RET=FULL", "ENVID=abc"])
    mta.wait(1)
    wait_until(lambda: queue(host) == "[]", "an empty queue")
    m = wait_report(host, "to one with DSN", "delivered")[0]
    is_((m["From"] or "").lower().find("mailer-daemon@mx.dsn.example") >= 0, True, "the notification of success is Postfix's")
    is_(report(m)["bob@dsn.example"]["Original-Recipient"].split(";")[1].strip(), "bob@first.example", "and has ORCPT")
    is_(m.get_payload()[1].get_payload()[0]["Original-Envelope-Id"], "abc", "and ENVID")
    is_(len(reports_of(host, "to one with DSN")), 1, "ours did not come too")


def failures(host):
    submit(host, {"no1@refuse.example": ["NOTIFY=NEVER"], "no2@refuse.example": ["NOTIFY=SUCCESS"],
                  "no3@refuse.example": ["NOTIFY=FAILURE", "ORCPT=rfc822;three@x.example"], "no4@refuse.example": []},
           "all refused", ["RET=FULL", "ENVID=E1"], body="a body that comes back\r\n")
    m = wait_report(host, "all refused", "failed")[0]
    is_(sorted(report(m)), ["no3@refuse.example", "no4@refuse.example"], "failure is told of those who asked, or said nothing")
    is_(report(m)["no3@refuse.example"]["Original-Recipient"], "rfc822; three@x.example", "with ORCPT")
    is_(m.get_payload()[2].get_content_type(), "message/rfc822", "RET=FULL: the whole message")
    like(m.as_string(), "a body that comes back", "with its body")
    submit(host, {"no5@refuse.example": ["NOTIFY=NEVER"]}, "never", ["RET=FULL"])
    submit(host, {"no6@refuse.example": []}, "headers only", ["RET=HDRS"], body="a body that stays away\r\n")
    m = wait_report(host, "headers only")[0]
    ok("stays away" not in m.as_string(), "RET=HDRS: no body")
    wait_until(lambda: queue(host) == "[]", "an empty queue")
    is_(reports_of(host, "never"), [], "NOTIFY=NEVER: nothing")


def delays(host, peer):
    peer.final = "451 4.3.0 not now"
    submit(host, {"d1@grey.example": [], "d2@grey.example": ["NOTIFY=FAILURE"], "d3@grey.example": ["NOTIFY=DELAY"]}, "late")
    m = wait_report(host, "late", "delayed")[0]
    is_(sorted(report(m)), ["d1@grey.example", "d3@grey.example"], "a delay is told of those who did not say that they need not know")
    fields = report(m)["d1@grey.example"]
    is_(fields["Status"], "4.3.0", "with the status")
    ok(fields["Will-Retry-Until"], "and until when it will be tried")
    like(m["Subject"], "Delayed", "the subject says so")
    before = len(peer.sessions[0].commands) + len(peer.sessions)
    host.cli("queue", "retry")
    wait_until(lambda: len(peer.sessions[0].commands) + len(peer.sessions) > before, "another attempt")
    wait_until(lambda: host.log().count("to=d1@grey.example") >= 3, "its result", 10)
    is_(len(reports_of(host, "late")), 1, "once")
    peer.final = "250 2.0.0 taken"
    host.cli("queue", "retry")
    wait_until(lambda: queue(host) == "[]", "an empty queue")
    ok(True, "and then it is delivered")


def chunking(host, mta):
    had = len(mta.messages())
    submit(host, {"big@dsn.example": []}, "by bdat", body=BODY)
    data = mta.wait(had + 1)[-1][2]
    ok(data.endswith(("\r\n\r\n" + BODY).encode()), "a message that left by BDAT arrives as it was")


def liar(host, peer):
    wait_until(lambda: all(s.commands[-1] == "QUIT" for s in peer.sessions), "the end of a connection from before")
    peer.extensions = ["CHUNKING"]
    submit(host, {"x@plain.example": []}, "no bdat there", body=BODY)
    m = wait_until(lambda: [m for m in peer.messages if b"no bdat there" in m.data], "a delivery by DATA", 20)[0]
    ok(m.data.endswith(("\r\n\r\n" + BODY).encode()), "a host that offers BDAT and does not know it gets the message by DATA")
    ok([s for s in peer.sessions if any(c.startswith("BDAT") for c in s.commands)], "after BDAT was tried")
    peer.extensions = []


def double(host):
    host.cli("alias", "add", "ghost@example.org", "ghost@refuse.example")
    host.deliver("ghost@example.org", message("haunted"), sender="")
    m = wait_until(lambda: [m for m in bounces(host, ALICE) if "Postmaster notice" in m["Subject"]], "the postmaster's notice", 30)[0]
    is_(sorted(report(m)), ["ghost@refuse.example"], "a bounce that bounces is told to the postmaster")


def main():
    if postfix.why_not():
        skip_all(postfix.why_not())
    dir = tempfile.mkdtemp(prefix="dsn-test-", dir="/tmp")
    mta = None
    port = free_port(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
    refusing, grey, plain = Peer("127.0.0.2", port), Peer("127.0.0.3", port), None
    refusing.refuse = lambda r: "550 5.1.1 no such user"
    smtp_port = free_port(["127.0.0.1"])
    named = Named(dir, "")
    try:
        mta = postfix.Postfix(dir, ["dsn.example", "plain.example"],
                              "relayhost = [127.0.0.1]:%d\nsmtp_tls_security_level = none\n" % smtp_port)
        plain = Peer("127.0.0.1", port)
        groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port,
                  "relay": 'retry_min = "1h"; retry_max = "2h"; delay_warning = "1s";',
                  "checks": 'trusted = ("127.0.0.1");'}
        site = ('routes = ( { name = "dsn"; to = ("dsn.example"); hosts = ("127.0.0.1:%d"); },\n'
                '{ name = "plain"; to = ("plain.example"); hosts = ("127.0.0.1:%d"); },\n'
                '{ name = "refuse"; to = ("refuse.example"); hosts = ("127.0.0.2:%d"); },\n'
                '{ name = "grey"; to = ("grey.example"); hosts = ("127.0.0.3:%d"); } );\n' % (mta.port, port, port, port))
        host = Host(accounts=[ALICE], groups=groups, site=site)
        host.init()
        # what Postfix has to tell comes back to us
        mta_conf = mta.dir + "/etc/main.cf"
        with open(mta_conf) as f:
            text = f.read().replace("127.0.0.1]:%d" % smtp_port, "127.0.0.1]:%d" % host.port("smtp"))
        with open(mta_conf, "w") as f:
            f.write(text)
        mta.stop()
        import subprocess
        subprocess.run(["postfix", "-c", mta.dir + "/etc", "start"], check=True, capture_output=True)
        with host:
            relayed(host)
            passed_on(host, mta)
            failures(host)
            chunking(host, mta)
            liar(host, plain)
            delays(host, grey)
            double(host)
            wait_until(lambda: "bdat=" in mta.log(), "the end of a connection with Postfix")
            ok(" data=" not in mta.log(), "Postfix has seen BDAT and no DATA")
    finally:
        clear(dir, mta, named, refusing, grey, plain)
    done()


main()
