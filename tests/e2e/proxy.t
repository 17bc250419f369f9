#!/usr/bin/env python3
"""PROXY v2: read from the balancers that the site names and from nobody else, before TLS and the greeting, on every service; a real
haproxy in front; and what is no header, or half of one."""
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, like, ok, tls_context, wait_until  # noqa: E402
from send_peers import free_port  # noqa: E402
from smtp_talk import BALANCER, PROXY_SIGNATURE as SIGNATURE, messages, proxy_header as header  # noqa: E402

ALICE = "alice@example.org"
# No name leads back to these addresses, and the test is not about that.
SITE = 'checks = { reverse_dns = "off"; greylist = "off"; spf = "off"; dmarc = "off"; dkim = "off"; helo = "off"; };\n'


def connect(host, service, source=BALANCER):
    s = socket.create_connection(("127.0.0.1", host.port(service)), 30, source_address=(source, 0))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def greeting(s, data, slices=False):
    for piece in (data[i:i + 1] for i in range(len(data))) if slices else (data,):
        s.sendall(piece)
    return s.recv(4096)


def seen(host, what):
    return wait_until(lambda: what in host.log(), "the log to say " + what)


def own(host):
    for address in ("203.0.113.7", "2001:db8::7"):
        with connect(host, "smtp") as s:
            like(greeting(s, header(address), True), b"220 ", "a header for %s, byte by byte, and the greeting comes" % address)
            seen(host, 'event=connect peer="%s" service=smtp' % address)
        with connect(host, "smtp") as s:  # all at once would be an early talker; the header itself is not
            like(greeting(s, header(address, tlvs=b"\x20\0\5\1\0\0\0\0" + b"\4\0\x10" + b"x" * 16)), b"220 ", "with TLVs behind the addresses too")
            s.sendall(b"EHLO c.example\r\nMAIL FROM:<s@example.net>\r\nRCPT TO:<alice@example.org>\r\n")
            text = b""
            while b"2.1.5" not in text and b"550" not in text and b"451" not in text:
                text += s.recv(4096)
            s.sendall(b"DATA\r\n")
            s.recv(4096)
            s.sendall(b"Subject: proxied\r\n\r\nx\r\n.\r\n")
            s.recv(4096)
    wait_until(lambda: len(messages(host, ALICE)) >= 2, "two messages")
    like(messages(host, ALICE)[0], b"([203.0.113.7])", "Received names the client")
    like(messages(host, ALICE)[1], b"([IPv6:2001:db8::7])", "of either family")
    with connect(host, "submissions") as s:
        s.sendall(header("203.0.113.8"))
        with tls_context().wrap_socket(s) as t:
            like(t.recv(4096), b"220 ", "TLS begins behind the header")
            seen(host, 'event=connect peer="203.0.113.8" service=submissions')
    for service, word in (("imap", b"* OK"), ("pop3", b"+OK")):
        with connect(host, service) as s:
            like(greeting(s, header("203.0.113.9")), word, "%s reads it too" % service)
    for service, word in (("imaps", b"* OK"), ("pop3s", b"+OK")):
        with connect(host, service) as s:
            s.sendall(header("203.0.113.9"))
            with tls_context().wrap_socket(s) as t:
                like(t.recv(4096), word, "and %s" % service)
    with connect(host, "imap") as s:  # loopback may log in without TLS here; the client of a balancer is not on loopback
        greeting(s, header("203.0.113.9"))
        s.sendall(b"a LOGIN %s x\r\n" % ALICE.encode())
        like(s.recv(4096), b"a NO [PRIVACYREQUIRED]", "what is allowed on loopback is asked of the client's address")
    with connect(host, "smtp") as s:
        like(greeting(s, header("203.0.113.7", command=0x20)), b"220 ", "LOCAL, a health check, is greeted")
        seen(host, 'event=connect peer="127.0.0.9" service=smtp')
    with connect(host, "smtp") as s:
        like(greeting(s, header("203.0.113.7", family=0)), b"220 ", "and so is UNSPEC")


def wrong(host):
    good = header("203.0.113.7")
    bad = {
        "no header": b"EHLO c.example\r\n", "version 1": b"PROXY TCP4 203.0.113.7 127.0.0.1 1 25\r\n", "version 3": good[:12] + b"\x31" + good[13:],
        "an unknown command": header("203.0.113.7", command=0x22), "UDP": header("203.0.113.7", family=0x12), "a unix socket": header("203.0.113.7", family=0x31),
        "too short for IPv4": SIGNATURE + b"\x21\x11\0\4abcd", "too short for IPv6": SIGNATURE + b"\x21\x21\0\x0c" + b"a" * 12,
        "65,535 bytes": SIGNATURE + b"\x21\x11\xff\xff" + b"a" * 3000, "a broken signature": b"\r\n\r\n\0\r\nQUIT\r" + good[12:],
        "a TLS handshake": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"a" * 40,
    }
    for name, data in bad.items():
        for service in ("smtp", "imap"):
            with connect(host, service) as s:
                s.sendall(data)
                try:
                    got = s.recv(4096)
                except ConnectionError:
                    got = b""
                is_(got, b"", "%s from the balancer: %s closes without a word" % (name, service))
    with connect(host, "smtp") as a, connect(host, "imap") as b:
        a.sendall(good[:-1])
        left = {a, b}
        while left:
            ready = select.select(list(left), [], [], 15)[0]
            if not ready:
                break
            left -= {s for s in ready if s.recv(10) == b""}
        is_(left, set(), "half a header, or none, is waited for some seconds only")
    with connect(host, "smtp", "127.0.0.1") as s:
        like(s.recv(4096), b"220 ", "who is no balancer is greeted without a header")
        s.sendall(good[-12:] + b"\r\n")
        like(s.recv(4096), b"500 ", "and one that comes is no command")
    with connect(host, "smtp", "127.0.0.1") as s:
        first = greeting(s, good + b"NOOP\r\n") + s.recv(4096)
        ok(b"250" not in first, "not even as the first words: %r" % first)


def haproxy(host, dir):
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not os.path.exists(program):
        return diag("no haproxy here")
    ports = {name: free_port(["127.0.0.1"]) for name in ("smtp", "imaps")}
    conf = os.path.join(dir, "haproxy.cfg")
    with open(conf, "w") as f:
        f.write("global\n maxconn 100\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n")
        for name, port in ports.items():
            f.write("frontend f_%s\n bind 127.0.0.1:%d\n default_backend b_%s\nbackend b_%s\n source %s\n"
                    " server mail 127.0.0.1:%d send-proxy-v2 check check-send-proxy inter 500ms\n" % (name, port, name, name, BALANCER, host.port(name)))
    process = subprocess.Popen([program, "-db", "-f", conf], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        def up():
            try:
                with socket.create_connection(("127.0.0.1", ports["smtp"]), 5, source_address=("127.0.0.77", 0)) as s:
                    return s.recv(100).startswith(b"220")
            except OSError:
                return False
        wait_until(up, "haproxy")
        seen(host, 'event=connect peer="127.0.0.77" service=smtp')
        ok(True, "haproxy in front of port 25: the log names its client")
        with socket.create_connection(("127.0.0.1", ports["imaps"]), 10, source_address=("127.0.0.78", 0)) as s, tls_context().wrap_socket(s) as t:
            t.recv(1000)
            t.sendall(b'a LOGIN "%s" "%s"\r\n' % (ALICE.encode(), host.accounts[ALICE].encode()))
            like(t.recv(1000), b"a OK", "and of imaps, TLS passed through: login")
        like(host.log(), "user=alice@example.org ip=127.0.0.78", "by its client's address")
    finally:
        process.kill()
        process.communicate()


with Host(groups={"listen": 'proxy_from = ( "%s" );' % BALANCER, "limits": "errors = 1000;"}, site=SITE) as host:
    own(host)
    wrong(host)
    with tempfile.TemporaryDirectory(prefix="sub-proxy-") as dir:
        haproxy(host, dir)
done()
