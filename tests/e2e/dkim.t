#!/usr/bin/python3
"""DKIM: what is submitted leaves with a signature that dkimpy verifies against the key that dns render publishes."""
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Named, Peer, free_port  # noqa: E402

try:
    import dkim
except ImportError:
    skip_all("python3-dkim is not installed")

ZONE = """
one MX 10 mx
mx A 127.0.0.2
"""

MESSAGES = {
    "plain": b"Subject: plain\r\n\r\nHello  world \t\r\n\r\n\r\n",
    "folded": b"Subject: folded\r\n\t and   folded\r\n again\r\nCc: <c@one.example>,\r\n <d@one.example>\r\n\r\nx\r\n",
    "utf8": "Subject: grün\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nüüü\r\n".encode(),
    "empty": b"Subject: empty\r\n\r\n",
    "no end": b"Subject: no end\r\n\r\nthe last line has no end",
    "long": b"Subject: long\r\n\r\n" + b"0123456789 abcdefghij\r\n" * 20000,
}


def published(host):
    """The TXT record of mail._domainkey.example.org, out of the rendered zone."""
    text = host.cli("dns", "render").stdout
    m = re.search(r"^mail\._domainkey\S*.*?TXT\s*\(?((?:\s*\"[^\"]*\")+)", text, re.M)
    if not m:
        diag(text)
        raise RuntimeError("no DKIM record in the zone")
    return "".join(re.findall(r'"([^"]*)"', m.group(1))).encode()


def verified(data, key, name):
    """The message verifies, and it is example.org that vouches."""
    asked = []

    def txt(name, timeout=5):
        asked.append(name)
        return key
    if not ok(dkim.verify(data, dnsfunc=txt), name):
        diag(data[:2000].decode(errors="replace"))
    is_(asked, [b"mail._domainkey.example.org."], "by example.org")


def host_mail(host, peer, key):
    """What the host itself writes: cron's mail, and a bounce."""
    before = len(peer.messages)
    host.cli("sendmail", "x@one.example", input="Subject: cron\n\nit ran\n")
    wait_until(lambda: len(peer.messages) > before, "cron's mail")
    verified(peer.messages[-1].data, key, "mail of mail.example.org, which is no mail domain itself, is signed")
    before = len(peer.messages)
    peer.refuse = lambda recipient: "550 5.1.1 no ghost" if recipient.startswith("ghost@") else None
    host.deliver("forward@example.org", b"Subject: forwarded\r\n\r\nhi\r\n", sender="s@one.example")
    wait_until(lambda: len(peer.messages) > before, "the bounce")
    is_(peer.messages[-1].recipients, ["s@one.example"], "a bounce to a stranger")
    like(peer.messages[-1].data.decode(), "Final-Recipient: rfc822; ghost@one.example", "tells whom")
    verified(peer.messages[-1].data, key, "and is signed")


def main():
    dir = tempfile.mkdtemp(prefix="dkim-test-", dir="/tmp")
    port = free_port(["127.0.0.2"])
    peer = Peer("127.0.0.2", port)
    named = Named(dir, ZONE)
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port, "relay": "port_out = %d;" % port}
    try:
        site = 'aliases = ( { address = "forward@example.org"; to = ( "ghost@one.example" ); } );\n'
        with Host(accounts=["alice@example.org"], groups=groups, site=site) as host:
            key = published(host)
            like(key.decode(), "v=DKIM1", "the zone has a DKIM key")
            for name, rest in MESSAGES.items():
                before = len(peer.messages)
                with host.smtp("submissions") as s:
                    s.login("alice@example.org", host.accounts["alice@example.org"])
                    s.sendmail("alice@example.org", ["x@one.example"], b"From: Alice <alice@example.org>\r\n"
                               b"To: <x@one.example>\r\n" + rest)
                wait_until(lambda: len(peer.messages) > before, "delivery of " + name)
                data = peer.messages[-1].data
                asked = []

                def txt(name, timeout=5):
                    asked.append(name)
                    return key
                if not ok(dkim.verify(data, dnsfunc=txt), name + ": the signature verifies"):
                    diag(data[:2000].decode(errors="replace"))
                is_(asked, [b"mail._domainkey.example.org."], name + ": selector and domain")
                ok(not dkim.verify(data.replace(b"Subject: ", b"Subject: not ", 1), dnsfunc=txt), name + ": a changed subject does not")
                ok(not dkim.verify(b"From: <mallory@example.net>\r\n" + data, dnsfunc=txt), name + ": nor does a second From")
                field = re.match(rb"(?s).*?(DKIM-Signature:.*?\r\n)(?![ \t])", data).group(1)
                ok(max(len(line) for line in field.split(b"\r\n")) <= 78, name + ": lines of at most 78 bytes")
            host_mail(host, peer, key)
    finally:
        named.stop()
        peer.stop()
        shutil.rmtree(dir, ignore_errors=True)
    done()


main()
