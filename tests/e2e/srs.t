#!/usr/bin/env python3
"""What is forwarded leaves with a sender of ours (SRS), and a bounce of a real Postfix to that sender finds who wrote.  It is
no way to relay: only bounces are taken, and only to addresses that this host made."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postfix  # noqa: E402
from host import Host, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Peer, free_port  # noqa: E402
from smtp_talk import Talk  # noqa: E402

WRITER = "Writer@origin.example"
LONG = "0102018f3c2a1b4d-7a1b2c3d-0000-1111-2222-333344445555-000000@origin.example"


def message(subject, sender):
    return ("From: <%s>\r\nSubject: %s\r\nMessage-ID: <%s@t>\r\n\r\nhello\r\n" % (sender, subject, subject)).encode()


def rcpt(host, sender, recipient):
    with Talk(host) as t:
        t.cmd("EHLO mx.fwd.example")
        t.cmd("MAIL FROM:<%s>" % sender)
        return t.cmd("RCPT TO:<%s>" % recipient)


def taken(peer, text):
    return [m for m in peer.messages if text in m.data]


def forwarded(host, mta, origin):
    host.deliver("ext@example.org", message("one", WRITER), sender=WRITER)
    made, recipient, _ = mta.wait(1)[0]
    is_(recipient, "there@fwd.example", "an alias leads to another host")
    ok(made.startswith("SRS0=") and made.endswith("=origin.example=Writer@mail.example.org"), "with a sender of ours: %s" % made)
    host.deliver("ext@example.org", message("two", LONG), sender=LONG)
    long = [s for s, _, _ in mta.wait(2) if "0102018f" in s]
    ok(long and long[0].startswith("SRS0=") and len(long[0].split("@")[0]) > 64, "a long one too: %s" % long)
    host.deliver("ext@example.org", message("three", "x@other.example"), sender="SRS0=abcd=XY=first.example=bob@other.example")
    again = [s for s, _, _ in mta.wait(3) if s.startswith("SRS1=")]
    ok(again and again[0].endswith("=other.example==abcd=XY=first.example=bob@mail.example.org"), "behind another forwarder: %s" % again)
    return made, long[0], again[0]


def bounced(host, origin):
    host.deliver("late@example.org", message("refused-later", WRITER), sender=WRITER)
    m = wait_until(lambda: taken(origin, b"Undelivered Mail Returned"), "Postfix's bounce")[0]
    is_((m.sender, m.recipients), ("", [WRITER]), "Postfix's bounce to that sender reaches who wrote")
    like(m.data, b"gone for good", "with Postfix's words")
    host.deliver("now@example.org", message("refused-now", WRITER), sender=WRITER)
    m = wait_until(lambda: taken(origin, b"refused-now"), "our bounce")[0]
    is_((m.sender, m.recipients), ("", [WRITER]), "and so does ours, where Postfix refuses at once")


def no_relay(host, made, long, again):
    is_(rcpt(host, "", made)[0], 250, "a bounce is taken")
    is_(rcpt(host, "", made.lower())[0], 250, "in whatever case")
    is_(rcpt(host, "", long)[0], 250, "a long one too")
    is_(rcpt(host, "", again)[0], 250, "and one that leads to the forwarder before us")
    for sender in ("spammer@bad.example", "alice@example.org", made):
        is_(rcpt(host, sender, made)[0], 550, "nothing with a sender (%s)" % sender[:20])
    local, domain = made.split("@")
    parts = local.split("=")
    for what, address in (("another writer", made.replace("Writer", "victim")), ("another domain", made.replace("origin", "remote")),
                          ("another day", made.replace("=%s=" % parts[2], "=aa=" if parts[2] != "aa" else "=ab=")),
                          ("another hash", made.replace(parts[1], "aaaaaaaa")), ("no hash", "SRS0==%s=origin.example=Writer@%s" % (parts[2], domain)),
                          ("the other kind", "SRS1" + made[4:]), ("SRS1 of nobody", "SRS1=aaaaaaaaaa=remote.example==x@" + domain),
                          ("our other domain", local + "@example.org"), ("another host", local + "@remote.example")):
        code, text = rcpt(host, "", address)
        is_(code, 550, "not with %s" % what)


def main():
    if postfix.why_not():
        skip_all(postfix.why_not())
    dir = tempfile.mkdtemp(prefix="srs-test-", dir="/tmp")
    port = free_port(["127.0.0.2"])
    origin = Peer("127.0.0.2", port)
    mta = postfix.Postfix(dir, ["fwd.example"], "smtp_tls_security_level = none\ntransport_maps = inline:{ "
                          "{ gone.example = error:5.1.1 gone for good } }\nvirtual_alias_maps = inline:{ "
                          "{ late@fwd.example = x@gone.example } }\nsmtpd_recipient_restrictions = "
                          "check_recipient_access inline:{ { now@fwd.example = REJECT } }, permit\n")
    host = Host(accounts=["alice@example.org"], site="""aliases = (
 { address = "ext@example.org"; to = ("there@fwd.example"); }, { address = "late@example.org"; to = ("late@fwd.example"); },
 { address = "now@example.org"; to = ("now@fwd.example"); } );
routes = ( { name = "fwd"; to = ("fwd.example"); hosts = ("127.0.0.1:%d"); },
 { name = "origin"; to = ("origin.example", "other.example"); hosts = ("127.0.0.2:%d"); } );
""" % (mta.port, port))
    try:
        with open(mta.dir + "/etc/main.cf", "a") as f:
            f.write("relayhost = [127.0.0.1]:%d\n" % host.port("smtp"))
        subprocess.run(["postfix", "-c", mta.dir + "/etc", "reload"], check=True, capture_output=True)
        with host:
            made = forwarded(host, mta, origin)
            bounced(host, origin)
            no_relay(host, *made)
            is_(oct(os.stat(host.dir + "/state/srs-key").st_mode & 0o777), "0o600", "the key is nobody else's")
            host.restart()
            is_(rcpt(host, "", made[0])[0], 250, "a restart changes nothing")
            with open(host.conf) as f:
                text = f.read()
            with open(host.conf, "w") as f:
                f.write(text + "relay = { srs = false; };\n")
            host.cli("reload")
            host.deliver("ext@example.org", message("kept", WRITER), sender=WRITER)
            is_([s for s, _, d in mta.wait(4) if b"Subject: kept" in d], [WRITER], "relay.srs = false: the sender stays")
            is_(rcpt(host, "", made[0])[0], 250, "and bounces of before are still taken")
    finally:
        mta.stop()
        origin.stop()
        shutil.rmtree(dir, ignore_errors=True)
    done()


main()
