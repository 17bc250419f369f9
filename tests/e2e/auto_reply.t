#!/usr/bin/env python3
"""Automatic replies (RFC 3834): who is answered and who is not, once in seven days, also over a restart; what the answer is."""
import email
import email.policy
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok, wait_until  # noqa: E402

A, B, C = ("%s@example.org" % n for n in ("alice", "bob", "carol"))
SITE = 'aliases = ( { address = "info@example.org"; to = "%s"; }, { address = "all@example.org"; to = ( "%s", "%s" ); } );\n' % (A, A, C)


def queue(host):
    """{recipient: (id, sender)} of what waits to be sent."""
    return {r["address"]: (e["id"], e["sender"]) for e in json.loads(host.cli("--json", "queue", "list").stdout) for r in e["recipients"]}


def mail(host, sender, headers="", to=A, shown=None):
    host.deliver(to, ("From: x@example.net\r\nTo: %s\r\nSubject: hello\r\nMessage-ID: <m1@example.net>\r\nReferences: <r1@x> <r2@x>\r\n%s\r\nx\r\n"
                      % (shown or to, headers)).encode(), sender)


def answers(host, address):
    c = host.imap(address)
    c.select("INBOX", readonly=True)
    found = [email.message_from_bytes(p[1], policy=email.policy.default) for p in c.uid("FETCH", "1:*", "(BODY.PEEK[])")[1] or [] if isinstance(p, tuple)]
    c.logout()
    return [m for m in found if m["Auto-Submitted"] == "auto-replied"]


def who(host):
    """Nobody of these is answered."""
    mail(host, "")
    for n, headers in enumerate(("Auto-Submitted: auto-generated\r\n", "Precedence: bulk\r\n", "Precedence:\r\n list\r\n", "List-Id: <a.b>\r\n",
                                 "List-Unsubscribe: <mailto:a@b>\r\n", "X-Auto-Response-Suppress: All\r\n", "auto-submitted: auto-replied (x)\r\n")):
        mail(host, "no%d@example.net" % n, headers)
    for sender in ("owner-list@example.net", "list-request@example.net", "MAILER-DAEMON@example.net", "noreply@example.net", "bounces+a=b@example.net",
                   "nobody@example.org", A):
        mail(host, sender)
    mail(host, "hidden@example.net", shown="undisclosed@example.net")
    mail(host, "all@example.net", to="all@example.org")
    # Some that are: the order shows that those before were not forgotten.
    mail(host, "yes@example.net", "Auto-Submitted: no\r\nPrecedence: first-class\r\n")
    mail(host, "alias@example.net", to="info@example.org", shown="Info <INFO@example.org>")
    mail(host, "tag@example.net", to="alice+x@example.org")
    mail(host, "cc@example.net", "Cc: b@c, Alice <alice@EXAMPLE.org>\r\n", shown="b@example.net")
    want = {"%s@example.net" % n for n in ("yes", "alias", "tag", "cc")}
    wait_until(lambda: want <= set(queue(host)), "four answers")
    is_(set(queue(host)), want, "who is a person and wrote to the account is answered, nobody else")
    is_({v[1] for v in queue(host).values()}, {""}, "by the null sender")
    m = host.cli("queue", "show", queue(host)["yes@example.net"][0]).stdout
    for part in ("Auto-Submitted: auto-replied", "In-Reply-To: <m1@example.net>", "References: <r1@x>\n <r2@x>\n <m1@example.net>",
                 "To: <yes@example.net>", "DKIM-Signature:"):
        like(m.replace("\r", ""), part, part.split(":")[0])


def once(host):
    mail(host, B)
    got = wait_until(lambda: answers(host, B), "the answer to bob")
    is_(len(got), 1, "somebody of this host is answered")
    m = got[0]
    is_(m["Subject"], "B\u00fcro zu", "the subject")
    is_(m.get_content().splitlines(), ["Ich bin weg.", "", "Gr\u00fc\u00dfe"], "the text")
    is_(m["From"], "\u00c4lice <alice@example.org>", "the sender")
    mail(host, B, "Subject: again\r\n")
    host.restart()
    mail(host, "Bob@EXAMPLE.org")
    mail(host, "next@example.net")
    wait_until(lambda: "next@example.net" in queue(host), "an answer to somebody else")
    is_(len(answers(host, B)), 1, "once, also over a restart, however it is written")
    # C answers by itself too: the two do not go round.
    mail(host, A, to=C)
    mail(host, "last@example.net", to=C)
    wait_until(lambda: "last@example.net" in queue(host), "an answer of carol")
    is_((len(answers(host, A)), len(answers(host, C))), (1, 0), "two that answer by themselves do not answer each other's answers")


def days(host):
    host.cli("account", "auto-reply", "dave@example.org", "--until", "2020-01-01", "--text", "/dev/stdin", input="gone\n")
    mail(host, "past@example.net", to="dave@example.org")
    host.cli("account", "auto-reply", "dave@example.org", "--from", "2020-01-01", "--until", "2090-01-01", "--subject", "Away", input="one\n\ntwo\n")
    mail(host, "today@example.net", to="dave@example.org")
    wait_until(lambda: "today@example.net" in queue(host), "an answer")
    ok("past@example.net" not in queue(host), "only within its days")
    like(host.cli("queue", "show", queue(host)["today@example.net"][0]).stdout.replace("\r", ""), "\n\none\n\ntwo\n", "the command's text")
    host.cli("account", "auto-reply", "dave@example.org", "--off")
    mail(host, "off@example.net", to="dave@example.org")
    mail(host, "off2@example.net", to=C)
    wait_until(lambda: "off2@example.net" in queue(host), "an answer")
    ok("off@example.net" not in queue(host), "--off")
    r = host.cli("account", "auto-reply", "dave@example.org", "--until", "tomorrow", input="x\n", check=False)
    is_(r.returncode, 2, "a day that is none")


class Away(Host):
    def site_text(self):
        text = super().site_text()
        text = text.replace('{ address = "%s"; }' % A, '{ address = "%s"; name = "\u00c4lice"; auto_reply = { subject = "B\u00fcro zu"; '
                            'text = ( "Ich bin weg.", "", "Gr\u00fc\u00dfe" ); }; }' % A)
        return text.replace('{ address = "%s"; }' % C, '{ address = "%s"; auto_reply = { text = "away"; }; }' % C)


with Away(accounts=[A, B, C], site=SITE) as running:
    running.cli("account", "add", "dave@example.org")
    who(running)
    once(running)
    days(running)
done()
