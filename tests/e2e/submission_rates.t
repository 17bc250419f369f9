#!/usr/bin/env python3
"""Who sends how much, and without a login: rates count recipients, host-wide and over restarts; a hijacked account is stopped and the
administrator told, until mailadm account resume; printers send by address, and only as their account; From is one's own."""
import base64
import concurrent.futures
import smtplib
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, done, is_, like, ok, wait_until  # noqa: E402
from smtp_talk import Talk, count, messages  # noqa: E402

ALICE, BOB, CAROL, BOSS, SCAN = ("%s@example.org" % n for n in ("alice", "bob", "carol", "boss", "scanner"))
DAN = "dan@example.net"
GROUPS = {
    "limits": "send_rate = 20; send_rate_domain = 50; send_stop = 40; recipients = 1000; errors = 1000;",
    "admin": 'contact = "%s";' % BOSS,
    "listen": 'proxy_from = ( "127.0.0.9" );',
    "submission": 'trusted = ( { from = ( "127.0.0.64/28", "203.0.113.64/28" ); account = "%s"; } );' % SCAN,
}
SITE = """aliases = ( { address = "desk@example.org"; to = ( "scanner@example.org" ); } );
relay = { smarthost = "127.0.0.1"; port = 1; tls_required = false; };
checks = { reverse_dns = "off"; spf = "off"; dmarc = "off"; greylist = "off"; helo = "off"; };
"""


def login(host, user, code=235):
    t = Talk(host, "submissions", tls=True)
    t.cmd("EHLO c.example")
    got = t.cmd("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (user, host.accounts[user])).encode()).decode())
    is_(got[0], code, "%s logs in: %r" % (user, got))
    return t


def recipients(t, user, n, begin=0):
    """The codes of n recipients in one transaction."""
    t.cmd("RSET")
    first = t.cmd("MAIL FROM:<%s>" % user)[0]
    return [t.cmd("RCPT TO:<r%d@remote.example>" % (begin + i))[0] for i in range(n)] if first == 250 else [first]


def rates(host):
    with login(host, ALICE) as t:
        is_(recipients(t, ALICE, 22), [250] * 20 + [450] * 2, "20 recipients, and the rest later")
        t.cmd("DATA")
        t.send(b"From: alice@example.org\r\n\r\nx\r\n.\r\n")
        is_(t.reply()[0], 250, "the 20 have their message")
    with Talk(host, "submissions", tls=True) as t:
        t.cmd("EHLO c.example")
        t.cmd("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (ALICE, host.accounts[ALICE])).encode()).decode())
        is_(recipients(t, ALICE, 1), [450], "another session, and another process, counts on")
    host.restart()
    with login(host, ALICE) as t:
        is_(recipients(t, ALICE, 1), [450], "and so does the host after a restart")
    with login(host, DAN) as t:
        is_(recipients(t, DAN, 3), [250] * 3, "another domain is not concerned")
    with login(host, BOB) as t:
        is_(recipients(t, BOB, 20), [250] * 20, "bob has his own 20")
    with login(host, CAROL) as t:
        got = recipients(t, CAROL, 14)
        is_(got, [250] * 10 + [450] * 4, "but the domain has 50 in all")


def hijacked(host):
    """DAN's password is out: bots send as fast as they can, from several sessions at once."""
    def bot(k):
        codes = []
        with Talk(host, "submissions", tls=True) as t:
            t.cmd("EHLO c.example")
            if t.cmd("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (DAN, host.accounts[DAN])).encode()).decode())[0] == 235:
                codes = recipients(t, DAN, 20, 100 * k)
        return codes
    with login(host, DAN) as open_session:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            codes = sum(pool.map(bot, range(4)), [])
        is_(codes.count(250), 17, "no more than the rate was taken of all of them")
        ok(550 in codes, "then the account is stopped: %r" % {c: codes.count(c) for c in set(codes)})
        is_(recipients(open_session, DAN, 1), [550], "in sessions that were open too")
    with login(host, DAN, 535):
        pass
    host.imap(DAN).logout()
    ok(True, "its mail can still be read")
    with login(host, ALICE) as t:
        is_(t.cmd("MAIL FROM:<%s>" % ALICE)[0], 250, "others are not stopped")
    wait_until(lambda: count(host, BOSS) == 1, "mail to the administrator")
    like(messages(host, BOSS)[0], b"mailadm account resume dan@example.net", "who is told, and how to go on")
    like(host.log(), "event=account-stopped account=dan@example.net", "the log tells it")
    host.restart()
    with login(host, DAN, 535):
        pass
    r = host.cli("account", "resume", DAN)
    is_((r.returncode, r.stdout), (0, "dan@example.net may send again\n"), "account resume")
    with login(host, DAN) as t:
        is_(recipients(t, DAN, 21), [250] * 20 + [450], "and its counts begin anew")
    ok(host.cli("account", "resume", DAN, check=False).returncode != 0, "resume of one that is not stopped says so")
    is_(host.cli("account", "resume", "nobody@example.org", check=False).returncode, 1, "and of nobody")


def trusted(host):
    body = b"To: x\r\nSubject: scan\r\n\r\nx\r\n.\r\n"
    for service in ("submission", "smtp"):
        with Talk(host, service, source="127.0.0.65") as t:
            t.cmd("EHLO printer")
            for sender, code in ((SCAN, 250), ("desk@example.org", 250), ("scanner+a3@example.org", 250)):
                is_(t.cmd("MAIL FROM:<%s>" % sender)[0], code, "%s: the printer sends as %s" % (service, sender))
                is_([t.cmd("RCPT TO:<out@remote.example>")[0], t.cmd("RCPT TO:<%s>" % BOSS)[0], t.cmd("DATA")[0]], [250, 250, 354], "also to other hosts")
                t.send(body)
                is_(t.reply()[0], 250, "and its message is taken")
            for sender in (ALICE, "ceo@example.org", "x@example.net"):
                codes = t.codes("MAIL FROM:<%s>" % sender, "RCPT TO:<out@remote.example>")
                ok(codes in ([553, 503], [250, 550]), "%s: not as %s to other hosts %r" % (service, sender, codes))
                t.cmd("RSET")
            text = t.cmd("EHLO printer")[1]
            ok(service == "smtp" or "STARTTLS" in text, "it may still use TLS")
        with Talk(host, service, source="127.0.0.80") as t:
            t.cmd("EHLO printer")
            codes = t.codes("MAIL FROM:<%s>" % SCAN, "RCPT TO:<out@remote.example>")
            ok(codes in ([530, 503], [250, 550]), "%s: the address beside the range does not send %r" % (service, codes))
    got = messages(host, BOSS)[-1]
    like(got, b"\r\nDKIM-Signature: ", "what it sends is signed")
    like(got, b"\r\nFrom: <scanner+a3@example.org>\r\n", "with the From, Date and Message-ID that it left out")
    ok(b"127.0.0.65" not in got and b"with ESMTP id" in got and b"(trusted)" in got, "Received says how it came, and not from where")
    with Talk(host, "smtp", source="127.0.0.65") as t:  # the same rates
        t.cmd("EHLO printer")
        codes = recipients(t, SCAN, 30)
        ok(250 in codes and 450 in codes and codes.index(450) <= 20, "its account's rates hold: %r" % {c: codes.count(c) for c in set(codes)})
    with Talk(host, "submission", source="127.0.0.65") as t:
        t.cmd("EHLO printer")
        t.cmd("MAIL FROM:<%s>" % SCAN)
        t.cmd("RSET")
        t.cmd("STARTTLS")
        t.start_tls()
        like(t.cmd("EHLO printer")[1], "AUTH PLAIN", "who sits there may log in as himself")
        is_(t.cmd("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (BOSS, host.accounts[BOSS])).encode()).decode())[0], 235, "and does")
        is_(t.codes("MAIL FROM:<%s>" % BOSS, "RSET", "MAIL FROM:<%s>" % SCAN), [250, 250, 553], "and is not the printer then")


def own_from(host):
    with host.smtp("submissions") as s:
        s.login(BOSS, host.accounts[BOSS])
        for field, code in (("boss@example.org", 250), ("The Boss <BOSS@Example.org>", 250), ("boss+x@example.org", 250), ("me@elsewhere.example", 250),
                            ("alice@example.org", 550), ('"boss@example.org" <alice@example.org>', 550), ("boss@example.org, alice@example.org", 550),
                            ("Friends: alice@example.org;", 550), ("(boss@example.org) alice@example.org", 550), ("root@mail.example.org", 250)):
            try:
                s.sendmail(BOSS, [BOSS], b"From: %s\r\nSubject: from\r\n\r\nx\r\n" % field.encode())
                got = 250
            except smtplib.SMTPDataError as e:
                got = e.smtp_code
            is_(got, code, "boss writes From: %s" % field)


with Host(accounts=(ALICE, BOB, CAROL, BOSS, SCAN, DAN), domains=("example.org", "example.net"), groups=GROUPS, site=SITE) as host:
    rates(host)
    hijacked(host)
    host.stop()
    host.groups["limits"] = "send_rate = 20; recipients = 1000; errors = 1000;"
    with open(host.conf, "w") as f:
        f.write(host.site_text())
    os.unlink(host.dir + "/state/send-rates")
    host.start()
    trusted(host)
    own_from(host)
done()
