#!/usr/bin/python3
"""DKIM: what is submitted leaves with two signatures that dkimpy verifies against the keys that dns render publishes."""
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


SELECTORS = ("mail", "mail-ed25519")


def published(host):
    """The TXT records of the selectors, out of the rendered zone."""
    text = host.cli("dns", "render").stdout
    keys = {}
    for selector in SELECTORS:
        m = re.search(r"^%s\._domainkey\S*.*?TXT\s*\(?((?:\s*\"[^\"]*\")+)" % selector, text, re.M)
        if not m:
            diag(text)
            raise RuntimeError("no DKIM record of %s in the zone" % selector)
        keys[("%s._domainkey.example.org." % selector).encode()] = "".join(re.findall(r'"([^"]*)"', m.group(1))).encode()
    return keys


def check(data, keys, idx):
    """Does this signature verify?  And which name was asked."""
    asked = []

    def txt(name, timeout=5):
        asked.append(name)
        return keys.get(name)
    try:
        return dkim.DKIM(data).verify(idx=idx, dnsfunc=txt), asked
    except dkim.DKIMException as e:
        return str(e), asked


def verified(data, keys, name, want=SELECTORS):
    """The message has the signatures, and each verifies, and it is example.org that vouches."""
    is_(data.count(b"DKIM-Signature:"), len(want), "%s: %d signatures" % (name, len(want)))
    for i, selector in enumerate(want):
        result, asked = check(data, keys, i)
        if not is_(result, True, "%s: the signature of %s verifies" % (name, selector)):
            diag(data[:2000].decode(errors="replace"))
        is_(asked, [b"%s._domainkey.example.org." % selector.encode()], name + ": selector and domain")


def host_mail(host, peer, keys):
    """What the host itself writes: cron's mail, and a bounce."""
    before = len(peer.messages)
    host.cli("sendmail", "x@one.example", input="Subject: cron\n\nit ran\n")
    wait_until(lambda: len(peer.messages) > before, "cron's mail")
    verified(peer.messages[-1].data, keys, "mail of mail.example.org, which is no mail domain itself, is signed")
    before = len(peer.messages)
    peer.refuse = lambda recipient: "550 5.1.1 no ghost" if recipient.startswith("ghost@") else None
    host.deliver("forward@example.org", b"Subject: forwarded\r\n\r\nhi\r\n", sender="s@one.example")
    wait_until(lambda: len(peer.messages) > before, "the bounce")
    is_(peer.messages[-1].recipients, ["s@one.example"], "a bounce to a stranger")
    like(peer.messages[-1].data.decode(), "Final-Recipient: rfc822; ghost@one.example", "tells whom")
    verified(peer.messages[-1].data, keys, "and is signed")


def submit(host, peer, rest):
    """What arrives at the peer."""
    before = len(peer.messages)
    with host.smtp("submissions") as s:
        s.login("alice@example.org", host.accounts["alice@example.org"])
        s.sendmail("alice@example.org", ["x@one.example"], b"From: Alice <alice@example.org>\r\nTo: <x@one.example>\r\n" + rest)
    wait_until(lambda: len(peer.messages) > before, "delivery")
    return peer.messages[-1].data


def main():
    dir = tempfile.mkdtemp(prefix="dkim-test-", dir="/tmp")
    port = free_port(["127.0.0.2"])
    peer = Peer("127.0.0.2", port)
    named = Named(dir, ZONE)
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port, "relay": "port_out = %d;" % port}
    try:
        site = 'aliases = ( { address = "forward@example.org"; to = ( "ghost@one.example" ); } );\n'
        with Host(accounts=["alice@example.org"], groups=groups, site=site) as host:
            keys = published(host)
            for name, kind in zip(sorted(keys), (b"k=ed25519", b"k=rsa")):
                ok(keys[name].startswith(b"v=DKIM1; " + kind + b"; p="), "the zone has " + name.decode())
            verified(submit(host, peer, MESSAGES["plain"]), keys, "before a rollover has seen the Ed25519 key", ("mail",))
            path = os.path.join(host.dir, "state/keys/active")
            with open(path, "w") as f:
                f.write("example.org mail-ed25519 mail-ed25519 -\n")
            os.chmod(path, 0o600)
            host.cli("reload")
            for name, rest in MESSAGES.items():
                data = submit(host, peer, rest)
                verified(data, keys, name)
                for i in range(2):
                    ok(check(data.replace(b"Subject: ", b"Subject: not ", 1), keys, i)[0] is not True, name + ": a changed subject does not")
                    ok(check(b"From: <mallory@example.net>\r\n" + data, keys, i)[0] is not True, name + ": nor does a second From")
                for field in re.findall(rb"(?s)(DKIM-Signature:.*?\r\n)(?![ \t])", data):
                    ok(max(len(line) for line in field.split(b"\r\n")) <= 78, name + ": lines of at most 78 bytes")
            host_mail(host, peer, keys)
    finally:
        named.stop()
        peer.stop()
        shutil.rmtree(dir, ignore_errors=True)
    done()


main()
