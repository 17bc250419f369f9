#!/usr/bin/env python3
"""COMPRESS=DEFLATE (RFC 4978), plain and over TLS: content both ways, savings, refusals, bombs, broken streams."""
import random

from host import Host, done, is_, like, ok
from rawimap import Deflated, RawImap

ALICE = "alice@example.org"


def logged_in(host, tls):
    c = RawImap(host.connect_tls("imaps") if tls else host.connect("imap"))
    c.ok("LOGIN %s %s" % (ALICE, '"%s"' % host.accounts[ALICE]))
    return c


def message(seed, lines):
    r = random.Random(seed)
    return b"Subject: m%d\r\n\r\n" % seed + b"".join(b"%s\r\n" % r.choice([b"lorem ipsum dolor", b"sit amet", b"x" * 60]) for _ in range(lines))


with Host() as host:
    for tls in (False, True):
        c = logged_in(host, tls)
        like(c.ok("CAPABILITY")[0], b" COMPRESS=DEFLATE", "advertised")
        like(c.cmd("COMPRESS LZW")[0], b"BAD", "another algorithm")
        is_(c.compress(), b"OK DEFLATE active.", "compressing, %s" % ("TLS" if tls else "plain"))
        ok(isinstance(c.sock, Deflated), "through zlib")
        like(c.cmd("COMPRESS DEFLATE")[0], b"NO [COMPRESSIONACTIVE]", "only once")
        box = "box%d" % tls
        c.ok("CREATE " + box)
        sent = [message(i, 2000 * (i + 1)) for i in range(8)]
        for m in sent:
            like(c.append(box, m), b"OK [APPENDUID ", "append of %d bytes" % len(m))
        c.ok("SELECT " + box)
        before = c.sock.received
        lines = c.ok("FETCH 1:* BODY.PEEK[]")
        got = [line[line.index(b"}\r\n") + 3:-1] for line in lines if b"FETCH" in line]
        is_(got, sent, "what was appended comes back")
        ratio = sum(map(len, sent)) / (c.sock.received - before)
        ok(ratio > 3, "it took a third of the bytes or less (1/%.1f)" % ratio)
        tags = [c.start("UID FETCH %d (FLAGS)" % (i % 8 + 1)) for i in range(300)]
        ok(all(c.finish(t)[0].startswith(b"OK") for t in tags), "300 pipelined commands")
        # IDLE: what happens is seen at once, without more input.
        tag = c.start("IDLE")
        like(c.line(), b"+ ", "idling")
        other = logged_in(host, tls)
        other.append(box, b"Subject: new\r\n\r\nx\r\n")
        is_(c.line(), b"* 9 EXISTS", "a new message is told of")
        c.line()
        c.send(b"DONE\r\n")
        like(c.finish(tag)[0], b"OK", "IDLE ends")
        # 40 MB of spaces in 40 KB: a command too long, and the session goes on or is closed, as without compression.
        c.send(b"z NOOP" + b" " * 40_000_000 + b"\r\n")
        like(c.line(), b"BAD", "a bomb is a command that is too long")
        other.ok("NOOP")
        c.close()
        other.close()
    c = logged_in(host, False)
    c.compress()
    c.sock.sock.sendall(b"\xff\xff\xff not deflate")
    is_(c.line(), b"", "a broken stream ends the session")
    like(host.log(), "event=close proto=imap reason=", "and it is logged")
done()
