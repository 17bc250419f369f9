#!/usr/bin/env python3
"""Quotas: bytes and messages of an account, bytes of a domain; what senders are told (452, or 552 where the site says
refuse); the message that warns, once for each threshold; and that one full mailbox does not keep mail from others."""
import os
import re
import smtplib
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, done, is_, like, ok, wait_until  # noqa: E402

ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
ERIN, FRANK = "erin@small.example", "frank@small.example"
LIMITS = {ALICE: 'quota = "300K";', BOB: "quota_messages = 5;"}


class QuotaHost(Host):
    policy = "defer"

    def site_text(self):
        text = super().site_text()
        for address, limit in LIMITS.items():
            text = text.replace('{ address = "%s"; }' % address, '{ address = "%s"; %s }' % (address, limit))
        text = text.replace(" );\nport_offset", ', { address = "%s"; }, { address = "%s"; } );\nport_offset' % (ERIN, FRANK))
        text = text.replace('{ name = "small.example"; }', '{ name = "small.example"; quota = "150K"; }')
        return text + 'limits = { over_quota = "%s"; message_size = "100K"; };\n' % self.policy


def send(host, to, size):
    """The whole answer to DATA: 250, or what was said instead."""
    body = b"Subject: mail\r\n\r\n" + b"some words of text\r\n" * (size // 20)
    with host.smtp() as s:
        s.ehlo("peer.example.net")
        s.mail("sender@example.net")
        for address in to if isinstance(to, list) else [to]:
            code, text = s.rcpt(address)
            if code != 250:
                return "%d %s" % (code, text.decode())
        code, text = s.data(body)
        return "%d %s" % (code, text.decode())


def subjects(host, address):
    m = host.imap(address)
    m.select("INBOX", readonly=True)
    answer = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    m.logout()
    return [re.search(rb"Subject: (.*?)\r\n", part[1]).group(1).decode() for part in answer if isinstance(part, tuple)]


def warnings(host, address):
    return [s for s in subjects(host, address) if s.startswith("Your mailbox is")]


with QuotaHost(accounts=[ALICE, BOB, CAROL], domains=("example.org", "small.example")) as host:
    # Bytes
    for _ in range(3):
        is_(send(host, ALICE, 75000)[:3], "250", "75 kB fit")
    is_(warnings(host, ALICE), [], "at 75 percent nobody is warned")
    is_(send(host, ALICE, 30000)[:3], "250", "30 kB more fit")
    wait_until(lambda: warnings(host, ALICE), "the warning")
    is_(send(host, ALICE, 2000)[:3], "250", "a little more fits")
    is_(len(warnings(host, ALICE)), 1, "past 80 percent there is one warning")
    like(send(host, ALICE, 75000), "452 4.2.2", "what does not fit is put off")
    is_(send(host, ALICE, 38000)[:3], "250", "what fits is taken")
    wait_until(lambda: len(warnings(host, ALICE)) == 2, "the second warning")
    percent = [int(re.search(r"is (\d+) percent", s).group(1)) for s in warnings(host, ALICE)]
    ok(80 <= percent[0] < 95 <= percent[1] <= 100, "the warnings say how full it is (%s)" % percent)
    m = host.imap(ALICE)
    m.select("INBOX")
    text = m.fetch("5", "(BODY.PEEK[] ENVELOPE)")[1]
    like(text[0][1].decode(), "From: Mail System <MAILER-DAEMON@mail.example.org>", "a warning comes from the host")
    like(text[0][1].decode(), "Auto-Submitted: auto-generated", "and says that a program wrote it")
    typ, answer = m.append("INBOX", None, None, b"x" * 60000)
    is_((typ, answer[0][:11]), ("NO", b"[OVERQUOTA]"), "APPEND is refused too")
    m.logout()

    # Messages, and who else is written to
    for i in range(4):
        is_(send(host, BOB, 100)[:3], "250", "message %d of five" % (i + 1))
    like(send(host, BOB, 100), "452 4.2.2", "the warning was the fifth")
    like(send(host, [CAROL, BOB], 100), "452 4.", "with others: put off, to come one by one")
    is_(send(host, CAROL, 100)[:3], "250", "carol gets hers")

    # A domain
    is_(send(host, ERIN, 90000)[:3], "250", "small.example has room for one")
    like(send(host, FRANK, 90000), "452 4.2.2", "but not for two")
    is_(send(host, FRANK, 50000)[:3], "250", "a smaller one fits")

    # The other policy
    host.policy = "refuse"
    with open(host.conf, "w") as f:
        f.write(host.site_text())
    host.cli("reload")
    wait_until(lambda: send(host, BOB, 100).startswith("552 5.2.2"), "the policy")
    like(send(host, FRANK, 90000), "552 5.2.2", "refuse: it bounces at once")
    like(send(host, [CAROL, BOB], 100), "452 4.", "among others it is still put off")
    with open(host.conf, "w") as f:
        f.write(host.site_text().replace("quota_messages = 5", "quota_messages = 50"))
    host.cli("reload")
    wait_until(lambda: send(host, BOB, 100)[:3] == "250", "room")
    ok(True, "a larger quota holds at once")
    host.stop()
    verify = host.cli("store", "verify", check=False)
    is_(verify.returncode, 0, "the store is sound")
done()
