#!/usr/bin/env python3
"""Never an open relay: tricks with addresses, on every service that takes mail without authentication.  None may be taken."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, ok  # noqa: E402
from smtp_talk import Talk  # noqa: E402

T = "victim@remote.example"
TRICKS = [
    "<victim@remote.example>", "victim@remote.example", "<victim@remote.example.>", "< victim@remote.example>", "<victim@remote.example >",
    "<victim%remote.example@example.org>", "<victim%remote.example@mail.example.org>", "<victim%remote.example>",
    "<victim%remote.example%example.org>", "<victim%remote.example@[192.0.2.10]>", "<victim%remote.example@[127.0.0.1]>",
    "<victim%remote.example@localhost>", "<victim%example.org@remote.example>", "<victim%remote.example%mail.example.org@example.org>",
    "<remote.example!victim>", "<remote.example!victim@example.org>", "<example.org!remote.example!victim>",
    "<example.org!victim@remote.example>", "<remote.example!victim@[192.0.2.10]>", "<remote.example!victim@mail.example.org>",
    "<@example.org:victim@remote.example>", "<@mail.example.org:victim@remote.example>", "<@remote.example:victim@remote.example>",
    "<@example.org,@mail.example.org:victim@remote.example>", "<@[192.0.2.10]:victim@remote.example>", "<@localhost:victim@remote.example>",
    "<@example.org:victim%remote.example>", "<@remote.example:victim%remote.example@example.org>", "<@example.org:remote.example!victim>",
    '<"victim@remote.example">', '<"victim@remote.example"@example.org>', '<"victim%remote.example"@example.org>',
    '<"remote.example!victim"@example.org>', '<"@remote.example:victim"@example.org>', '<"victim"@remote.example>',
    '<"victim@remote.example"@mail.example.org>', '<victim"@remote.example>', '<"victim>"@remote.example>',
    '<"<victim@remote.example>"@example.org>', '<"victim\\@remote.example"@example.org>', "<victim\\@remote.example@example.org>",
    "<victim@remote.example@example.org>", "<victim@example.org@remote.example>", "<victim@remote.example,alice@example.org>",
    "<alice@example.org,victim@remote.example>", "<alice@example.org>,<victim@remote.example>", "<alice@example.org> <victim@remote.example>",
    "<alice@example.org victim@remote.example>", "<alice@example.org><victim@remote.example>", "<<victim@remote.example>>",
    "<victim@remote.example(alice@example.org)>", "<(alice@example.org)victim@remote.example>", "<alice@example.org;victim@remote.example>",
    "<victim@[198.51.100.9]>", "<victim@[IPv6:2001:db8::9]>", "<victim@[remote.example]>", "<victim@198.51.100.9>", "<victim@#3325256713>",
    "<victim@3325256713>", "<victim@0xc6336409>", "<victim@remote.example%00example.org>", "<victim@remote.example%0d%0a>",
    "<victim@remote.example\\@example.org>", "<victim@example.org.remote.example>", "<victim@.example.org>", "<victim@remote.example/example.org>",
    "<victim@remote.example:25>", "<victim@remote.example?example.org>", "<victim@sub.example.org>", "<victim@xexample.org>",
    "<victim@example.org.>", "<smtp:victim@remote.example>", "<mailto:victim@remote.example>", "<IMCEASMTP-victim+40remote+2Eexample@example.org>",
    "<victim=remote.example@example.org>", "<victim+remote.example@example.org>", "<victim#remote.example@example.org>",
    "<victim|remote.example@example.org>", "<|/bin/mail victim@remote.example>", '<"|/bin/mail victim@remote.example"@example.org>',
    "</tmp/file@example.org>", "<:include:/etc/passwd@example.org>", "<alice@remote.example>", "<postmaster@remote.example>", "<@>", "<@@>",
    "<\xe9victim@remote.example>", "<victim@r\xe9mote.example>",
]
SENDERS = ["<s@example.net>", "<>", "<alice@example.org>", "<victim@remote.example>", "<alice@mail.example.org>", "<root@localhost>",
           "<postmaster@example.org>", "<@example.org:s@example.net>"]
GROUPS = {"limits": "errors = 1000;"}


def try_all(t, sender, taken):
    code = t.cmd("MAIL FROM:" + sender)[0]
    if code != 250:
        return code
    for trick in TRICKS:
        code, text = t.cmd(("RCPT TO:" + trick).encode("latin-1"))
        if not 500 <= code <= 599:
            taken.append((sender, trick, code, text))
    t.cmd("RSET")
    return 250


with Host(groups=GROUPS) as host:
    ok(len(TRICKS) >= 60, "%d tricks" % len(TRICKS))
    for sender in SENDERS:
        taken = []
        with Talk(host) as t:
            t.cmd("EHLO example.org")
            is_(try_all(t, sender, taken), 250, "port 25 takes MAIL FROM:%s" % sender)
        if not is_(taken, [], "and then none of the tricks"):
            diag(taken)
    taken = []
    with Talk(host) as t:
        t.cmd("EHLO mail.example.org")
        t.cmd("STARTTLS")
        t.start_tls()
        t.cmd("HELO mail.example.org")
        try_all(t, "<s@example.net>", taken)
    is_(taken, [], "none inside TLS, with a HELO of our own name")
    for service, tls in (("submission", False), ("submissions", True)):
        with Talk(host, service, tls=tls) as t:
            t.cmd("EHLO example.org")
            is_([t.cmd("MAIL FROM:" + s)[0] for s in SENDERS], [530] * len(SENDERS), "%s takes no sender without AUTH" % service)
            is_([t.cmd(("RCPT TO:" + x).encode("latin-1"))[0] for x in TRICKS], [503] * len(TRICKS), "and no recipient")
            is_(t.pipeline(b"BDAT 4 LAST\r\nQUIT", 1), [503], "and no content")
    is_(json.loads(host.cli("mailq", "--json").stdout), [], "nothing is queued")
done()
