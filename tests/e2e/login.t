#!/usr/bin/env python3
"""Before login, against the real daemon: TLS rules, limits, slow clients, hand-over, relays, reload, memory."""
import base64
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import BUILD, Host, diag, done, is_, like, ok, tls_context, wait_until  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"


def plain(user, password):
    return base64.b64encode(b"\0" + user.encode() + b"\0" + password.encode())


def line(f):
    return f.readline().rstrip(b"\r\n")


def tls_rules(host):
    c = RawImap(host.connect("imap"))
    like(c.greeting, b"STARTTLS LOGINDISABLED]", "plain: the greeting says so")
    ok(b"AUTH=" not in c.greeting, "and offers no mechanism")
    like(c.cmd('LOGIN %s "x"' % ALICE)[0], b"NO [PRIVACYREQUIRED]", "LOGIN needs TLS")
    like(c.cmd("AUTHENTICATE PLAIN " + plain(ALICE, "x").decode())[0], b"NO [PRIVACYREQUIRED]", "so does AUTHENTICATE")
    c.send(b"s STARTTLS\r\ninjected NOOP\r\n")
    like(c.line(), b"s OK", "STARTTLS")
    tls = tls_context().wrap_socket(c.sock)
    c = RawImap(tls, greeting=False)
    status, untagged = c.cmd("CAPABILITY")
    ok(b"AUTH=PLAIN" in untagged[0] and b"STARTTLS" not in untagged[0], "TLS: the capabilities are others")
    is_(len(untagged), 1, "what was pipelined behind STARTTLS is not answered")
    like(c.cmd("STARTTLS")[0], b"BAD", "no TLS in TLS")
    like(c.cmd(b"AUTHENTICATE PLAIN " + plain(ALICE, host.accounts[ALICE]))[0], b"OK [CAPABILITY", "AUTHENTICATE with SASL-IR")
    c.close()

    c = RawImap(host.connect_tls("imaps"))
    like(c.greeting, b"AUTH=PLAIN AUTH=SCRAM-SHA-256]", "imaps: the greeting")
    c.send(b"a AUTHENTICATE PLAIN\r\n")
    is_(c.line(), b"+ ", "AUTHENTICATE continues")
    c.send(b"*\r\n")
    like(c.line(), b"a BAD", "and can be cancelled")
    c.send(b"b LOGIN {%d}\r\n" % len(ALICE))
    is_(c.line(), b"+ OK", "LOGIN with literals")
    c.send(ALICE.encode() + b" {%d+}\r\n%s\r\n" % (len(host.accounts[ALICE]), host.accounts[ALICE].encode()))
    like(c.line(), b"b OK [CAPABILITY", "logs in")
    c.close()

    s = host.connect("pop3")
    f = s.makefile("rb")
    like(line(f), b"+OK", "pop3 greeting")
    s.sendall(b"USER x\r\nSTLS\r\nUSER injected\r\n")
    like(line(f), b"-ERR", "USER needs TLS")
    like(line(f), b"+OK", "STLS")
    s = tls_context().wrap_socket(s)
    f = s.makefile("rb")
    s.sendall(b"PASS x\r\n")
    like(line(f), b"-ERR Send USER first", "a USER behind STLS is forgotten")
    s.sendall(b"AUTH PLAIN\r\n")
    like(line(f), b"+", "AUTH PLAIN continues")
    s.sendall(plain(BOB, host.accounts[BOB]) + b"\r\n")
    like(line(f), b"+OK Logged in", "and logs in")
    s.close()


def failures(host):
    c = RawImap(host.connect_tls("imaps"))
    for i in range(3):
        like(c.cmd('LOGIN %s "wrong%d"' % (BOB, i))[0], b"NO [AUTHENTICATIONFAILED]", "a wrong password")
    like(c.line(), b"* BYE", "three of them end the connection")
    is_(c.line(), b"", "at once")
    c.close()
    c = RawImap(host.connect("imap"))
    like(c.cmd("X {2000}")[0], b"BAD Literal is too long", "a literal over the limit is refused before it is sent")
    like(c.cmd(b"X {2000+}\r\n" + b"x" * 2000)[0], b"BAD Literal is too long", "or skipped")
    like(c.cmd("X" * 34000)[0], b"BAD Command line is too long", "a line over 33 KiB")
    like(c.cmd("NOOP")[0], b"OK", "and the dialogue goes on")
    for _ in range(30):
        c.send(b"z BOGUS\r\n")
    last = b""
    while True:
        text = c.line()
        if not text:
            break
        last = text
    like(last, b"* BYE Too many errors", "too many errors")
    c.close()
    for service in ("imap", "pop3"):
        s = host.connect(service)
        s.sendall(b"\xff" * 300000)
        data = b""
        try:
            while True:
                got = s.recv(65536)
                if not got:
                    break
                data += got
        except ConnectionError:
            pass
        ok(len(data) < 5000, "%s: endless garbage ends the connection" % service)
        s.close()


def random_lines(host):
    """Nothing that is sent before login may stop the service."""
    rng = random.Random(7)
    for service in ("imap", "imaps", "pop3", "pop3s"):
        sent = 0
        while sent < 500:
            s = host.connect_tls(service) if service[-1] == "s" else host.connect(service)
            try:
                for _ in range(50):
                    sent += 1
                    words = [b"a", b"LOGIN", b"{5+}\r\nhello", b"{3}\r\n", b"\"", b"AUTHENTICATE PLAIN", b"USER", b"PASS",
                             b"AUTH PLAIN", b"\0", b"\r", b"(", b"NOOP", b"CAPA", rng.randbytes(rng.randrange(40)), b" "]
                    s.sendall(b" ".join(rng.choice(words) for _ in range(rng.randrange(6))) + b"\r\n")
            except (ConnectionError, ssl.SSLError):
                pass
            s.close()
        c = host.imap(ALICE)
        is_(c.noop()[0], "OK", "after 500 random lines to %s others are served" % service)
        c.logout()


def closed_within(sock, seconds):
    sock.settimeout(seconds)
    start = time.monotonic()
    try:
        while sock.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    except socket.timeout:
        return None
    return time.monotonic() - start


def slow_clients(host):
    silent = [host.connect(s) for s in ("imap", "pop3", "imaps", "pop3s")]
    loris = host.connect("imap")
    loris.recv(4096)
    end = time.monotonic() + 25
    while time.monotonic() < end:
        try:
            loris.sendall(b"x")
            loris.settimeout(0.3)
            if loris.recv(4096) == b"":
                break
        except socket.timeout:
            continue
        except ConnectionError:
            break
    ok(time.monotonic() < end - 5, "a client that dribbles is closed at the deadline all the same")
    for s in silent:
        ok(closed_within(s, 10) is not None, "and so are those that say nothing")
        s.close()
    loris.close()


def many_connections(host):
    socks = []
    for i in range(2000):
        socks.append(host.connect(("imap", "pop3")[i % 2]))
    c = host.imap(ALICE)
    is_(c.noop()[0], "OK", "beside 2,000 silent connections others are served")
    c.logout()
    for s in socks:
        s.close()


def rss(host, role):
    """KiB that are the role's own."""
    total = 0
    for pid in host.children()[role]:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += int(re.search(r"Private_Dirty:\s+(\d+)", f.read()).group(1))
    return total


def memory(name, n, roles, limit, open_one):
    """What one more idle connection costs, on a host that has had few so far."""
    def part(host):
        setup = host.imap(ALICE)
        setup.create("big")
        setup.append("big", None, None, b"Subject: x\r\n\r\n")
        while setup.select("big")[1][0] != b"4096":
            setup.copy("1:*", "big")
        setup.logout()
        keep = [open_one(host) for _ in range(20)]
        before = sum(rss(host, r) for r in roles)
        keep += [open_one(host) for _ in range(n)]
        used = (sum(rss(host, r) for r in roles) - before) / n
        for c in keep:
            c.close()
        ok(used <= limit, "an idle connection %s: at most %d KiB" % (name, limit))
        diag("%s: %.1f KiB" % (name, used))
    return part


def silent(service):
    def open_one(host):
        s = host.connect_tls(service) if service == "imaps" else host.connect(service)
        s.recv(4096)
        return s
    return open_one


def selected(tls):
    def open_one(host):
        c = RawImap(host.connect_tls("imaps") if tls else host.connect("imap"))
        c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
        c.ok("SELECT big")
        return c
    return open_one


def relays(host):
    """Large amounts both ways through the TLS relay, and a reload in between."""
    message = b"Subject: relay\r\n\r\n" + os.urandom(3_000_000).hex().encode() + b"\r\n"
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (BOB, host.accounts[BOB]))
    like(c.append("INBOX", message), b"OK [APPENDUID", "6 MB through TLS")
    c.ok("SELECT INBOX")
    tag = c.start("UID FETCH 1:* (BODY.PEEK[])")
    host.cli("reload")
    status, lines = c.finish(tag)
    ok(any(message in l for l in lines), "and back, byte for byte, over a reload")
    c.ok("NOOP")
    d = host.imap(ALICE)
    is_(d.noop()[0], "OK", "new connections are taken after the reload")
    d.logout()
    c.sock.shutdown(socket.SHUT_RDWR)
    c.close()


def certificate(host):
    """A new certificate is served after a reload; sessions under the old one go on."""
    def seen():
        s = host.connect_tls("imaps")
        der = s.getpeercert(binary_form=True)
        s.close()
        return der
    old = seen()
    c = RawImap(host.connect_tls("imaps"))
    c.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    tls = os.path.join(host.dir, "state", "tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=mail.example.org", "-keyout", tls + "/key.pem", "-out", tls + "/cert.pem"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host.cli("reload")
    wait_until(lambda: seen() != old, "the new certificate")
    ok(True, "reload serves the new certificate")
    is_(c.cmd("NOOP")[0][:2], b"OK", "a session from before goes on")
    c.close()


def refusals(host):
    """The limit on connections: full means refused, but not for as long as strangers like to say nothing."""
    socks = [host.connect("imap") for _ in range(10)]
    s = host.connect("imap")
    like(s.recv(4096), b"* BYE [UNAVAILABLE] Too many connections", "beyond limits.connections: refused")
    p = host.connect("pop3")
    like(p.recv(4096), b"-ERR [SYS/TEMP] Too many connections", "in POP3 words too")
    s.close()
    p.close()
    start = time.monotonic()
    wait_until(lambda: b"* OK" in greeting(host), "the oldest to make way", timeout=30)
    ok(time.monotonic() - start < 20, "after a few seconds the oldest that has not logged in makes way")
    socks[0].settimeout(10)
    data = b""
    while (got := socks[0].recv(4096)):
        data += got
    like(data, b"* BYE [UNAVAILABLE] Too many connections", "and is told")
    for k in socks:
        k.close()
    wait_until(lambda: b"* OK" in greeting(host), "a free place")
    ok(True, "and a closed connection makes room")


def greeting(host):
    s = host.connect("imap")
    data = s.recv(4096)
    s.close()
    return data


def run(parts, **options):
    with Host(accounts=[ALICE, BOB], **options) as host:
        for part in parts:
            try:
                part(host)
            except Exception as e:  # the other parts still run
                import traceback
                ok(False, "%s: %r" % (part.__name__, e))
                diag(traceback.format_exc())
                host.show_log(10)


run((tls_rules, failures, random_lines, many_connections, relays, certificate), insecure_loopback=False)
run((slow_clients,), groups={"limits": "idle = 10;"})
run((refusals,), groups={"limits": "connections = 10;"})
with open(os.path.join(BUILD, "mailsvc"), "rb") as f:
    if b"__asan_init" in f.read():
        ok(True, "memory # SKIP a sanitizer's memory says nothing")
        done()
run((memory("before login, plain", 500, ("login",), 6, silent("imap")),))
run((memory("before login, TLS", 200, ("login",), 24, silent("imaps")),))
run((memory("4,096 messages selected, plain", 300, ("login", "imap"), 12, selected(False)),))
run((memory("4,096 messages selected, TLS", 200, ("login", "imap"), 28, selected(True)),))
done()
