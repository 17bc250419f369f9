#!/usr/bin/env python3
"""Never an open relay.  Every trick with addresses is tried as a stranger, in the clear and inside TLS, with the whole transaction
behind it, and as an authenticated user who would send as somebody else; none may bring anything into the queue."""
import base64
import json
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, ok  # noqa: E402
from smtp_talk import Outside, Talk, count  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"
ROUTES = [
    "<@example.org:victim@remote.example>", "<@mail.example.org:victim@remote.example>", "<@remote.example:victim@remote.example>",
    "<@example.org,@mail.example.org:victim@remote.example>", "<@[192.0.2.10]:victim@remote.example>", "<@localhost:victim@remote.example>",
    "<@example.org:victim%remote.example>", "<@remote.example:victim%remote.example@example.org>", "<@example.org:remote.example!victim>",
    "<@example.org:@remote.example:victim@remote.example>", "<@example.org:>", "<@example.org,:victim@remote.example>",
    "<@example.org;victim@remote.example>", "<@example.org victim@remote.example>", "<@example.org:<victim@remote.example>>",
    "@example.org:victim@remote.example", "<@exämple.org:victim@remote.example>", "<@:victim@remote.example>",
    '<@example.org:"victim@remote.example">', "<@[127.0.0.1]:victim@[198.51.100.9]>",
]
PERCENT = [
    "<victim%remote.example@example.org>", "<victim%remote.example@mail.example.org>", "<victim%remote.example>",
    "<victim%remote.example%example.org>", "<victim%remote.example@[192.0.2.10]>", "<victim%remote.example@[127.0.0.1]>",
    "<victim%remote.example@localhost>", "<victim%example.org@remote.example>", "<victim%remote.example%mail.example.org@example.org>",
    "<victim%remote.example%00example.org>", "<victim%remote.example%0d%0a>", "<victim%40remote.example@example.org>",
    '<"victim%remote.example"@example.org>', '<"victim%remote.example">', "<victim%remote.example@[IPv6:::1]>",
]
BANG = [
    "<remote.example!victim>", "<remote.example!victim@example.org>", "<example.org!remote.example!victim>",
    "<example.org!victim@remote.example>", "<remote.example!victim@[192.0.2.10]>", "<remote.example!victim@mail.example.org>",
    "<mail.example.org!victim%remote.example@example.org>", '<"remote.example!victim"@example.org>', "<!victim@remote.example>",
]
QUOTED = [
    '<"victim@remote.example">', '<"victim@remote.example"@example.org>', '<"@remote.example:victim"@example.org>',
    '<"victim"@remote.example>', '<"victim@remote.example"@mail.example.org>', '<victim"@remote.example>',
    '<"victim>"@remote.example>', '<"<victim@remote.example>"@example.org>', '<"victim\\@remote.example"@example.org>',
    "<victim\\@remote.example@example.org>", '<"victim@remote.example\\"@example.org>', '<"a"."b"@remote.example>',
    '<"alice@example.org>"@remote.example>', '<"\\"victim@remote.example"@example.org>', '<"v\\ictim"@remote.example>',
    '<"">', '<""@remote.example>', '<""@example.org>', '<"victim@remote.example" @example.org>',
    '<"alice@example.org"victim@remote.example>', '<"alice@example.org" <victim@remote.example>>',
]
SEVERAL = [
    "<victim@remote.example@example.org>", "<victim@example.org@remote.example>", "<victim@remote.example,alice@example.org>",
    "<alice@example.org,victim@remote.example>", "<alice@example.org>,<victim@remote.example>", "<alice@example.org> <victim@remote.example>",
    "<alice@example.org victim@remote.example>", "<alice@example.org><victim@remote.example>", "<<victim@remote.example>>",
    "<victim@remote.example(alice@example.org)>", "<(alice@example.org)victim@remote.example>", "<alice@example.org;victim@remote.example>",
    "alice@example.org <victim@remote.example>", "<alice@example.org\tvictim@remote.example>", "<alice@example.org>\tvictim@remote.example",
    "(<alice@example.org>)<victim@remote.example>", "< victim@remote.example>", "<victim@remote.example >", "victim@remote.example",
    "<alice@example.org:victim@remote.example>", "<alice@example.org|victim@remote.example>", "<group:victim@remote.example;>",
]
DOMAINS = [
    "<victim@remote.example>", "<victim@remote.example.>", "<VICTIM@REMOTE.EXAMPLE>", "<victim@[198.51.100.9]>", "<victim@[IPv6:2001:db8::9]>",
    "<victim@[remote.example]>", "<victim@198.51.100.9>", "<victim@#3325256713>", "<victim@3325256713>", "<victim@0xc6336409>",
    "<victim@[0xc6.0x33.0x64.9]>", "<victim@[198.51.100.009]>", "<victim@[198.51.100.9>", "<victim@198.51.100.9]>",
    "<victim@[IPv6:::ffff:198.51.100.9]>", "<victim@[IPv6:::ffff:192.0.2.10]>", "<victim@[127.0.0.1]>", "<victim@[0.0.0.0]>", "<victim@[IPv6:::]>",
    "<victim@[192.0.2.10@remote.example]>", "<victim@[tag:remote.example]>", "<victim@localhost>", "<victim@remote.example\\@example.org>",
    "<victim@example.org.remote.example>", "<victim@.example.org>", "<victim@remote.example/example.org>", "<victim@remote.example:25>",
    "<victim@remote.example?example.org>", "<victim@sub.example.org>", "<victim@xexample.org>", "<victim@-example.org>",
    "<victim@*.example.org>", "<victim@example.org.>", "<victim@remote.example..>", "<victim@example..org>", "<victim@>", "<@>", "<@@>",
    "<victim@mail>", "<victim@remote_host.example>", "<alice@remote.example>", "<postmaster@remote.example>", "<alice@[192.0.2.99]>",
]
PROGRAMS = [
    "<smtp:victim@remote.example>", "<mailto:victim@remote.example>", "<IMCEASMTP-victim+40remote+2Eexample@example.org>",
    "<victim=remote.example@example.org>", "<victim+remote.example@example.org>", "<victim#remote.example@example.org>",
    "<victim|remote.example@example.org>", "<|/bin/mail victim@remote.example>", '<"|/bin/mail victim@remote.example"@example.org>',
    "</tmp/file@example.org>", "<:include:/etc/passwd@example.org>", "<${run{/bin/true}}@example.org>", "<$victim@remote.example>",
    "<RFC822=victim(a)remote.example@example.org>", "</C=de/O=remote/S=victim@example.org>", "<prvs=0123456789=victim@remote.example>",
    "<SRS0=HHHH=TT=remote.example=victim@example.org>", "<SRS1=HHHH=example.org==HHHH=TT=remote.example=victim@example.org>",
    "<victim-remote.example@example.org>", "<btv1==0==victim==remote.example@example.org>",
]
UTF8 = [
    "<\xe9victim@remote.example>".encode("latin-1"), "<victim@r\xe9mote.example>".encode("latin-1"), "<v\u00edctim@remote.example>".encode(),
    "<victim@r\u00e9mote.example>".encode(), "<victim\uff20remote.example@example.org>".encode(), "<victim\uff05remote.example@example.org>".encode(),
    "<victim@remote\uff0eexample>".encode(), "<victim@remote\u3002example>".encode(), "<victim@example.org\uff0eremote.example>".encode(),
    "<victim@\u202eelpmaxe.etomer>".encode(), "<victim\u00ad@remote.example>".encode(), "<victim@remote.example\u2028example.org>".encode(),
    b"<victim@remote\xc0\xaeexample>", b"<victim\xc1\x80remote.example@example.org>", "<victim@xn--rmote-bsa.example>".encode(),
    "<victim@xn--.example>".encode(), "\uff1cvictim@remote.example\uff1e".encode(), b"<victim@remote.example\x7f>", b"<victim\x01@remote.example>",
]
PARAMETERS = [
    "<victim@remote.example> ORCPT=rfc822;alice@example.org", "<victim@remote.example> NOTIFY=NEVER", "<victim@remote.example> AUTH=<>",
    "<victim@remote.example> RELAY=yes", "<alice@example.org> ORCPT=rfc822;a@b RCPT=victim@remote.example",
    "<alice@example.org> TO=<victim@remote.example>", "<victim@remote.example>ORCPT=rfc822;alice@example.org",
    "<victim@remote.example> XRCPTFORWARD=alice", "<nobody@example.org> ORCPT=rfc822;victim@remote.example",
]
TRICKS = [t if isinstance(t, bytes) else t.encode() for t in
          ROUTES + PERCENT + BANG + QUOTED + SEVERAL + DOMAINS + PROGRAMS + UTF8 + PARAMETERS]
SENDERS = ["<s@example.net>", "<>", "<alice@example.org>", "<victim@remote.example>", "<alice@mail.example.org>", "<root@localhost>",
           "<postmaster@example.org>", "<@example.org:s@example.net>", "<s@example.net> AUTH=alice@example.org", "<s@[127.0.0.1]>",
           "<MAILER-DAEMON@mail.example.org>", "<mail.example.org!s@example.net>", "<s%example.org@example.net>"]
# What a peer may say of itself, or ask for, before it tries again.
CLAIMS = [
    b"XCLIENT ADDR=127.0.0.1", b"XCLIENT ADDR=192.0.2.10 LOGIN=alice@example.org", b"XCLIENT LOGIN=alice@example.org", b"XFORWARD ADDR=127.0.0.1 SOURCE=LOCAL",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25", b"\r\n\r\n\0\r\nQUIT\n", b"LHLO mail.example.org", b"EHLO 127.0.0.1", b"EHLO [127.0.0.1]",
    b"HELO localhost", b"EHLO mail.example.org", b"EHLO alice@example.org", b"AUTH ANONYMOUS dHJhY2U=", b"AUTH EXTERNAL =", b"AUTH EXTERNAL YWxpY2VAZXhhbXBsZS5vcmc=",
    b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAA==", b"AUTH LOGIN", b"AUTH PLAIN =", b"AUTH GSSAPI", b"AUTH CRAM-MD5", b"ETRN remote.example", b"TURN", b"ATRN remote.example",
    b"SEND FROM:<alice@example.org>", b"SOML FROM:<alice@example.org>", b"SAML FROM:<alice@example.org>", b"VRFY victim@remote.example", b"EXPN victim@remote.example",
    b"BURL imap://alice@example.org/Sent/;uid=1 LAST", b"ONEX", b"VERB", b"RSET", b"NOOP <victim@remote.example>",
]
SITE = """
aliases = ( { address = "ext@example.org"; to = ( "out@elsewhere.example" ); } );
admin = { contact = "bob@example.org"; };
checks = { reverse_dns = "off"; helo = "off"; spf = "off"; dkim = "off"; dmarc = "off"; greylist = "off"; tarpit = "0"; command_rate = 100000; };
relay = { smarthost = "127.0.0.1"; port = 1; tls_required = false; };
"""
GROUPS = {"limits": "errors = 1000;", "listen": 'proxy_from = ( "127.0.0.9" );'}


def queue(host):
    return sorted((q["sender"], [r["address"] for r in q["recipients"]]) for q in json.loads(host.cli("mailq", "--json").stdout))


def nothing(host, where):
    """Nothing was queued, and nothing taken for anybody."""
    is_(queue(host), [], "%s: the queue is empty" % where)
    is_(host.log().count("event=accepted "), 0, "%s: no message was accepted" % where)


def whole(t, trick, utf8):
    """A transaction for one recipient, each command whatever the one before was answered: the codes that are not refusals."""
    codes = [t.cmd("MAIL FROM:<s@example.net>" + (" SMTPUTF8" if utf8 else ""))[0], t.cmd(b"RCPT TO:" + trick)[0], t.cmd("DATA")[0]]
    if codes[2] == 354:
        t.send(b"Subject: relayed\r\n\r\nx\r\n.\r\n")
        codes.append(t.reply()[0])
    codes.append(t.cmd("RSET")[0])
    return codes


def stranger(host, tls, hello, where, kind):
    """Port 25: every trick, a whole transaction each; with SMTPUTF8 and without."""
    where = "%s, %s, %s" % (where, "inside TLS" if tls else "in the clear", hello)
    taken = []
    with kind(host) as t:
        t.cmd("EHLO example.net")
        if tls:
            t.cmd("STARTTLS")
            t.start_tls()
        t.cmd(hello)
        for utf8 in (False, True) if hello.startswith("EHLO") else (False,):
            for trick in TRICKS:
                codes = whole(t, trick, utf8)
                if codes[0] != 250 or not 500 <= codes[1] <= 599 or codes[2:] != [503, 250]:
                    taken.append((trick, utf8, codes))
    is_(taken, [], "%s: every recipient is refused for good, and no content is asked for" % where)
    nothing(host, where)


def senders(host):
    """No sender, however near, opens the way."""
    for sender in SENDERS:
        taken = []
        with Talk(host) as t:
            t.cmd("EHLO example.org")
            ok(t.cmd("MAIL FROM:" + sender)[0] in (250, 550, 553), "MAIL FROM:%s" % sender)
            for trick in TRICKS:
                code = t.cmd(b"RCPT TO:" + trick)[0]
                if not 500 <= code <= 599:
                    taken.append((trick, code))
        is_(taken, [], "and then no trick is taken")
    nothing(host, "senders")


def claims(host):
    """Nobody becomes somebody by saying so."""
    for claim in CLAIMS:
        with Talk(host) as t:
            t.cmd("EHLO example.net")
            code = t.cmd(claim)[0]
            after = []
            if code not in (0, 421) and not claim.startswith((b"\r\n", b"BURL")):
                if code == 334:
                    code = t.cmd("*")[0]
                t.cmd("EHLO example.net")
                after = t.codes("MAIL FROM:<s@example.net>", "RCPT TO:<victim@remote.example>", "DATA")
            ok(after in ([], [250, 550, 503]), "%r (%d): still a stranger %r" % (claim, code, after))
    # A header of the PROXY protocol before the greeting is read from nobody that the site does not name.
    for header in (b"PROXY TCP4 127.0.0.1 127.0.0.1 999 25\r\n",
                   b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x03\xe7\x00\x19"):
        with Talk(host) as t:
            t.send(header + b"EHLO example.net\r\nMAIL FROM:<s@example.net>\r\nRCPT TO:<victim@remote.example>\r\n")
            codes = []
            while (code := t.reply()[0]) and len(codes) < 9:
                codes.append(code)
                if code == 550:
                    break
            ok(codes and not any(c == 250 for c in codes[3:]), "%r changes nothing: %r" % (header[:12], codes))
    nothing(host, "claims")


def pipelined(host):
    """All of it at once, with a recipient of ours among them: only that one is taken."""
    before = count(host, ALICE)
    with Talk(host) as t:
        t.cmd("EHLO example.net")
        plain = [x for x in TRICKS if b"\n" not in x]
        t.send(b"MAIL FROM:<s@example.net>\r\n" + b"".join(b"RCPT TO:" + x + b"\r\n" for x in plain) + b"RCPT TO:<alice@example.org>\r\nDATA\r\n")
        codes = [t.reply()[0] for _ in range(len(plain) + 3)]
        ok(all(500 <= c <= 599 for c in codes[1:-2]) and codes[-2:] == [250, 354], "among %d tricks in one transaction one recipient is taken" % len(plain))
        t.send(b"To: victim@remote.example\r\nCc: victim@remote.example\r\nBcc: victim@remote.example\r\nResent-To: victim@remote.example\r\n"
               b"Apparently-To: victim@remote.example\r\nX-Envelope-To: victim@remote.example\r\n\r\nx\r\n.\r\n")
        is_(t.reply()[0], 250, "the message is taken for it")
    is_((count(host, ALICE), queue(host)), (before + 1, []), "and fields of the header send nothing on")
    with Talk(host) as t:
        t.cmd("EHLO example.net")
        t.cmd("MAIL FROM:<s@example.net>")
        is_([t.pipeline(b"BDAT 4 LAST\r\nQUIT", 1), t.cmd("RCPT TO:<victim@remote.example>")[0]], [[503], 503], "BDAT before a recipient, and RCPT behind it")
    is_(queue(host), [], "the queue is empty still")


def allowed(host):
    """An alias that leads out, tagged as well, leads where the site says and nowhere else."""
    with Talk(host) as t:
        t.cmd("EHLO example.net")
        for local in ("ext", "ext+victim%remote.example", "ext+remote.example!victim"):
            is_(whole(t, b"<%s@example.org>" % local.encode(), False), [250, 250, 354, 250, 250], "mail for %s" % local)
    got = {r for _, recipients in queue(host) for r in recipients}
    is_(got, {"out@elsewhere.example"}, "an alias leads only where the site says, whatever stands in its tag")
    for q in json.loads(host.cli("mailq", "--json").stdout):
        host.cli("queue", "drop", q["id"])
    with Talk(host) as t:
        t.cmd("EHLO example.net")
        for local in ("any", "victim%remote.example", "remote.example!victim", '"victim@remote.example"', "@remote.example:victim"):
            is_(whole(t, b"<%s@all.example>" % local.encode(), False), [250, 250, 354, 250, 250], "%s is caught" % local)
    is_(queue(host), [], "a catch-all catches them, and sends nothing on")


def submission(host):
    """587 and 465 without AUTH: nothing at all."""
    for service, tls in (("submission", False), ("submissions", True)):
        with Talk(host, service, tls=tls) as t:
            t.cmd("EHLO example.org")
            is_([t.cmd("MAIL FROM:" + s)[0] for s in SENDERS], [530] * len(SENDERS), "%s takes no sender without AUTH" % service)
            is_([t.cmd(b"RCPT TO:" + x)[0] for x in TRICKS], [503] * len(TRICKS), "and no recipient")
            is_(t.pipeline(b"BDAT 4 LAST\r\nQUIT", 1), [503], "and no content")
    nothing(host, "submission")


# Forms of alice's own address: nobody else's.
OWN = ["<alice@example.org>", "<ALICE@Example.ORG>", '<"alice"@example.org>', "<alice+x@example.org>", "<@example.net:alice@example.org>",
       "<alice@example.org> AUTH=bob@example.org", "<>"]
FOREIGN = ["<bob@example.org>", "<BOB@example.org>", '<"bob"@example.org>', "<@example.org:bob@example.org>", "<bob+alice@example.org>", "<alice@mail.example.org>",
           "<alice@[192.0.2.10]>", "<alice@example.net>", "<alice@sub.example.org>", "<alice@xexample.org>", "<postmaster@example.org>",
           "<postmaster>", "<alice>", "<ext@example.org>", "<any@all.example>", "<nobody@example.org>", "<alice%example.org@example.net>",
           "<alice@example.org@example.net>", '<"alice@example.org"@example.net>', "<alice\uff20example.org@example.net> SMTPUTF8",
           "<al\u0131ce@example.org> SMTPUTF8", "<\u0430lice@example.org> SMTPUTF8", "<alice@ex\u0430mple.org> SMTPUTF8",
           "<bob@example.org> AUTH=alice@example.org", "<abuse@example.org>", "<root@mail.example.org>", "<mailer-daemon@mail.example.org>"]


def authenticated(host):
    """Whoever logged in sends as himself; no trick makes him somebody else."""
    with Talk(host, "submissions", tls=True) as t:
        t.cmd("EHLO c.example")
        is_(t.cmd("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (ALICE, host.accounts[ALICE])).encode()).decode())[0], 235, "alice logs in")
        for sender, want in [(s, True) for s in OWN] + [(s, False) for s in FOREIGN]:
            code, text = t.cmd("MAIL FROM:" + sender)
            ok(code == 250 if want else 500 <= code <= 599, "alice as %s: %d %s" % (sender, code, text))
            t.cmd("RSET")
        wrong = []
        for trick in TRICKS:
            for utf8 in (b"", b" SMTPUTF8"):
                code, text = t.cmd(b"MAIL FROM:" + trick + utf8)
                after = [t.cmd(b"RCPT TO:<victim@remote.example>")[0], t.cmd("DATA")[0]]
                if not 500 <= code <= 599 or after != [503, 503]:
                    wrong.append((trick, utf8, code, text, after))
                t.cmd("RSET")
        is_(wrong, [], "none of the tricks is taken as a sender")
        t.cmd("MAIL FROM:<alice@example.org>")
        bad = [x for x in TRICKS if b"@remote" not in x.lower() and not x.startswith(b"<alice@")]
        ours = (b"@example.org>", b"@mail.example.org>", b"@[192.0.2.10]>")
        wrong = [(x, code) for x in bad if (code := t.cmd(b"RCPT TO:" + x)[0]) // 100 == 2 and x.endswith(ours)]
        is_(wrong, [], "and for alice too nothing of ours leads elsewhere")
    nothing(host, "authenticated")


class All(Host):
    """A second domain with a catch-all."""

    def site_text(self):
        return super().site_text().replace('{ name = "all.example"; }', '{ name = "all.example"; catch_all = "bob@example.org"; }')


with All(domains=("example.org", "all.example"), site=SITE, groups=GROUPS) as host:
    ok(len(set(TRICKS)) >= 60 and len(set(TRICKS)) == len(TRICKS), "%d tricks" % len(set(TRICKS)))
    for tls in (False, True):
        for hello in ("EHLO example.net", "HELO mail.example.org"):
            stranger(host, tls, hello, "from loopback", Talk)
        stranger(host, tls, "EHLO example.net", "from elsewhere", Outside)
    senders(host)
    claims(host)
    submission(host)
    authenticated(host)
    pipelined(host)
    allowed(host)
    ok(host.process.poll() is None and "event=crash" not in host.log(), "the host stands")
done()
