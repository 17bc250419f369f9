#!/usr/bin/env python3
"""ENABLE IMAP4rev2 (RFC 9051) and UTF8=ACCEPT (RFC 6855): names in UTF-8, no \\Recent, ESEARCH, LIST in SELECT."""
from host import Host, done, is_, like, ok
from rawimap import RawImap

ALICE = "alice@example.org"


def logged_in(host, *enable):
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    for name in enable:
        is_(c.ok("ENABLE " + name), [b"* ENABLED " + name.encode()], "ENABLE " + name)
    return c


def without_uids(lines):
    return [line for line in lines if not line.startswith((b"* OK [", b"* FLAGS", b"* VANISHED"))]


with Host() as host:
    old, new, utf8 = logged_in(host), logged_in(host, "IMAP4rev2"), logged_in(host, "UTF8=ACCEPT")
    new.ok('CREATE "Entwürfe & Ähnliches"')
    is_(old.ok('LIST "" "Entw*"'), [b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe &- &AMQ-hnliches"'], "modified UTF-7 for rev1")
    for c, name in ((new, "rev2"), (utf8, "UTF8=ACCEPT")):
        is_(c.ok('LIST "" "Entwü%"'), ['* LIST (\\HasNoChildren) "/" "Entwürfe & Ähnliches"'.encode()], "UTF-8 for " + name)
        is_(c.ok('LIST "" "Entw&%"'), [], "which no UTF-7 matches")
        is_(c.ok('STATUS "Entwürfe & Ähnliches" (MESSAGES)'), ['* STATUS "Entwürfe & Ähnliches" (MESSAGES 0)'.encode()], "STATUS")
        like(c.cmd('STATUS "Entw&APw-rfe &- &AMQ-hnliches" (MESSAGES)')[0], b"NO [NONEXISTENT]", "and UTF-7 is another name")
    like(new.append('"Entwürfe & Ähnliches"', b"Subject: x\r\n\r\nx\r\n"), b"OK [APPENDUID", "APPEND")
    old.append('"Entw&APw-rfe &- &AMQ-hnliches"', b"Subject: y\r\n\r\ny\r\n")
    lines = without_uids(new.ok('SELECT "Entwürfe & Ähnliches"'))
    is_(lines, [b"* 2 EXISTS", '* LIST () "/" "Entwürfe & Ähnliches"'.encode()], "SELECT has LIST and no RECENT")
    is_(new.ok("FETCH 1:* (FLAGS)"), [b"* 1 FETCH (FLAGS ())", b"* 2 FETCH (FLAGS ())"], "nothing is \\Recent")
    is_(new.ok("UID SEARCH ALL"), [b'* ESEARCH (TAG "t%d") UID ALL 1:2' % new.count], "SEARCH answers ESEARCH")
    is_(new.ok("SEARCH SUBJECT nothing"), [b'* ESEARCH (TAG "t%d")' % new.count], "also of nothing")
    new.append('"Entwürfe & Ähnliches"', b"\r\n")
    new.ok("NOOP")
    old.append('"Entw&APw-rfe &- &AMQ-hnliches"', b"\r\n")
    is_(new.ok("NOOP"), [b"* 4 EXISTS"], "a new message")
    new.ok('RENAME "Entwürfe & Ähnliches" "日本"')
    is_(old.ok('LIST "" "&*"'), [b'* LIST (\\HasNoChildren) "/" "&ZeVnLA-"'], "RENAME")
    like(utf8.cmd("SELECT INBOX")[0], b"OK", "SELECT")
    like(utf8.cmd('SEARCH CHARSET UTF-8 SUBJECT "x"')[0], b"BAD", "no CHARSET with UTF8=ACCEPT")
    is_(utf8.ok('SEARCH SUBJECT "ü"'), [b"* SEARCH"], "UTF-8 without")
    message = "Subject: Grüße\r\n\r\nx\r\n".encode()
    for data in (b"UTF8 (~{%d+}\r\n%s)", b'(\\Seen) "01-Jan-2026 00:00:00 +0000" utf8 (~{%d+}\r\n%s)'):
        like(utf8.cmd(b"APPEND INBOX " + data % (len(message), message))[0], b"OK [APPENDUID", "APPEND of UTF-8")
    like(utf8.cmd(b"APPEND INBOX UTF8 (~{%d+}\r\n%s) {3+}\r\nabc" % (len(message), message))[0], b"OK [APPENDUID", "and of two messages")
    for bad in (b"UTF8 (~{1+}\r\nx", b"UTF8 (~{1+}\r\nx))", b"UTF8 ({1+}\r\nx)", b"~{1+}\r\nx)", b"UTF8 (~{1+}\r\nx {1+}\r\ny)", b"UTF9 (~{1+}\r\nx)"):
        like(utf8.cmd(b"APPEND INBOX " + bad)[0], b"BAD", "APPEND %r" % bad)
    like(old.cmd(b"APPEND INBOX UTF8 (~{1+}\r\nx)")[0], b"BAD", "not without ENABLE")
    utf8.ok("NOOP")
    ok(any("Grüße".encode() in line for line in utf8.ok("FETCH 1 (BODY.PEEK[HEADER])")), "it is there as it was sent")
    for bad in (b'"a\x00b"', b'"\xff\xfe"', b'"a\x7fb"'):
        status = new.cmd(b"CREATE " + bad)[0]
        ok(status.startswith((b"NO", b"BAD")), "CREATE %r is refused" % bad)
done()
