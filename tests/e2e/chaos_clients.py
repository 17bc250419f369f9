"""Clients that misbehave, for the chaos tests: each function opens connections to a host, leaves them in a bad state and
answers those that are to be held for a while.  None of what they send is ever a whole message."""
import os
import random
import socket
import ssl
import struct
import time

from host import MAILADM, is_, ok, tls_context, wait_until
from smtp_talk import Talk, count, messages

ALICE = "alice@example.org"
HEAD = b"EHLO bad.example\r\nMAIL FROM:<bad@example.net>\r\nRCPT TO:<%s>\r\n" % ALICE.encode()
PART = b"From: <bad@example.net>\r\nX-Token: never\r\n\r\nhalf a mess"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # of PROXY, version 2


def vanish(s, rng):
    """Ends a connection in one of three ways."""
    how = rng.randrange(3)
    try:
        if how == 0:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == 1:
            s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    s.close()


def stalled(host, rng, n):
    """In the middle of DATA: held."""
    held = []
    for _ in range(n):
        t = Talk(host)
        t.pipeline(HEAD + b"DATA\r\n", 4)
        t.send(PART[:rng.randrange(1, len(PART))])
        held.append(t.sock)
    return held


def cut_in_data(host, rng, n):
    for s in stalled(host, rng, n):
        vanish(s, rng)
    return []


def bdat_vanishing(host, rng, n):
    """A size, some of the bytes or none, and away; also sizes that no one has."""
    for _ in range(n):
        t = Talk(host)
        size = rng.choice((10, 5000, 1000000, 40000000, 99999999999, 1 << 64, 1 << 70))
        t.send(HEAD + b"BDAT %d%s\r\n" % (size, rng.choice((b"", b" LAST"))))
        try:
            t.send(b"x" * min(size - 1, rng.choice((0, 1, 4999, 100000))))
        except OSError:
            pass
        vanish(t.sock, rng)
    return []


def idle(host, rng, n):
    return [host.connect(rng.choice(("smtp", "smtp", "submission", "submissions"))) for _ in range(n)]


def tls_cut(host, rng, n):
    """A ClientHello, or a part of it, after STARTTLS or on the TLS port, and noise."""
    hello = ssl.MemoryBIO()
    handshake = tls_context().wrap_bio(ssl.MemoryBIO(), hello)
    try:
        handshake.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello, held = hello.read(), []
    for i in range(n):
        if i % 2:
            s = host.connect("submissions")
        else:
            t = Talk(host)
            t.codes("EHLO x.example", "STARTTLS")
            s = t.sock
        s.sendall(rng.choice((hello, hello[:rng.randrange(1, len(hello))], rng.randbytes(300), hello + rng.randbytes(500))))
        if rng.random() < 0.5:
            held.append(s)
        else:
            vanish(s, rng)
    return held


def pour(s, data, rng):
    """All of it at once; little of what is said to it is read."""
    try:
        s.settimeout(1)
        s.sendall(data)
    except OSError:
        pass
    s.settimeout(0.05)
    try:
        while s.recv(1 << 20):
            pass
    except OSError:
        pass
    vanish(s, rng)


def reset_storm(host, rng, n):
    """Thousands of RSET, and transactions that are begun and dropped; the replies are not read for long."""
    for i in range(n):
        pour(host.connect("smtp"), b"EHLO x.example\r\n" + (b"RSET\r\n" if i % 2 else HEAD.split(b"\r\n", 1)[1] + b"RSET\r\n") * 3000, rng)
    return []


def garbage(host, rng, n):
    """Bytes, and commands cut and glued, all at once."""
    words = HEAD.split(b"\r\n") + [b"DATA", b"BDAT 7", b"STARTTLS", b"AUTH PLAIN", b"AUTH PLAIN ////",
                                    b"VRFY", b"\0", b"*", b"=", b"x" * 600]
    for _ in range(n):
        s = host.connect(rng.choice(("smtp", "submission")))
        data = b"".join(rng.choice((rng.choice(words), rng.randbytes(rng.randrange(50))))
                        + rng.choice((b"\r\n", b"\r\n", b"\n", b"\r", b""))
                        for _ in range(200))
        pour(s, data.replace(b"\r\n.\r\n", b"\r\n"), rng)
    return []


def proxy_strangers(host, rng, n):
    """PROXY headers from those who are no proxy: what comes with them is no mail of the address that they name."""
    got = set()
    for _ in range(n):
        s = host.connect("smtp")
        s.settimeout(10)
        two = SIGNATURE + b"\x21\x11" + struct.pack("!H4s4sHH", 12, socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2"), 999, 25)
        data = rng.choice((b"PROXY TCP4 192.0.2.1 192.0.2.2 999 25\r\n", two, two[:rng.randrange(1, len(two))],
                           SIGNATURE + b"\x21\x11\xff\xff",
                           b"PROXY TCP4 " + b"1" * 500 + b"\r\n"))
        try:
            s.sendall(data + HEAD)
            reply = s.recv(4096)
            got.add(reply[:3])
        except OSError:
            pass
        vanish(s, rng)
    ok(got <= {b"220", b"554", b"500", b"421", b""}, "PROXY headers from strangers: %s" % sorted(got))
    return []


STORMS = (stalled, cut_in_data, bdat_vanishing, tls_cut, reset_storm, garbage, proxy_strangers)


def rss(host):
    """KiB that the roles have of their own."""
    total = 0
    for pids in host.children().values():
        for pid in pids:
            try:
                with open("/proc/%d/status" % pid) as f:
                    total += next((int(line.split()[1]) for line in f if line.startswith("RssAnon")), 0)
            except OSError:
                pass
    return total


def sanitized():
    """AddressSanitizer keeps what is freed: memory says nothing then."""
    with open(MAILADM, "rb") as f:
        return b"__asan_init" in f.read()


def sockets(host):
    """How many descriptors the smtp processes hold."""
    return sum(len(os.listdir("/proc/%d/fd" % pid)) for name, pids in host.children().items()
               if name.split(":")[0] == "smtp" for pid in pids)


def takes_mail(host, what):
    """At once, and exactly one message more."""
    before, start = count(host, ALICE), time.monotonic()
    host.deliver(ALICE, b"From: <good@example.net>\r\nSubject: still here\r\n\r\nyes\r\n", "good@example.net")
    took = time.monotonic() - start
    ok(took < 3, "%s: a message is taken in %.2f s" % (what, took))
    is_(count(host, ALICE), before + 1, "%s: and is there" % what)


def storm(host, seed, scale, idle_count=500, rounds=1, slack_mib=64):
    """All of them; the host takes mail meanwhile and afterwards, holds nothing of it, and has its memory back."""
    rng = random.Random(seed)
    takes_mail(host, "at first")
    pids, held, fds = host.children(), [], sockets(host)
    base = grown = None
    for turn in range(rounds):
        held += idle(host, rng, idle_count)
        for fn in rng.sample(STORMS, len(STORMS)):
            held += fn(host, rng, scale)
        takes_mail(host, "round %d, while %d connections are held" % (turn, len(held)))
        for s in held:
            vanish(s, rng)
        held = []
        wait_until(lambda: sockets(host) <= fds + 4, "the end of the connections", 30)
        takes_mail(host, "round %d, afterwards" % turn)
        now = rss(host)
        base = base or now  # the first round warms pools and caches
        grown = now - base
    ok(sanitized() or (rss(host) < 1 << 20 and grown < slack_mib << 10),
       "memory went back: %d KiB in all, %d KiB more than after the first round" % (rss(host), grown))
    is_(host.children(), pids, "no process was replaced")
    ok(not [m for m in messages(host, ALICE) if b"X-Token: never" in m], "no half message was delivered")
