#!/usr/bin/python3
"""Mail to and from a real Postfix, Exim and OpenSMTPD: TLS, DSN, SMTPUTF8, CHUNKING, and refusals in both directions."""
import email
import os
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
from email import policy

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mta  # noqa: E402
import postfix  # noqa: E402
from host import Host, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Named, certificate, free_port  # noqa: E402

BODY = "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@interop.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" \
       "Content-Transfer-Encoding: 8bit\r\n\r\nZwölf Boxkämpfer\r\n.\r\n..two\r\n.dot\r\n" + "x" * 900 + "\r\n%s\r\n"
ADDRESSES = {"postfix": "127.0.0.2", "exim": "127.0.0.3", "osmtpd": "127.0.0.4"}
DOMAINS = {name: name + ".example" for name in ADDRESSES}


class Pfix(postfix.Postfix):
    def bodies(self):
        return [m[2] for m in self.messages()]


def submit(host, recipient, subject, sender="alice@example.org", utf8=False, **dsn):
    """dsn: notify, ret, envid."""
    message = BODY % (sender, recipient, subject, subject, "end")
    with host.smtp("submissions") as s:
        s.login(sender, host.accounts[sender])
        options = (["SMTPUTF8"] if utf8 else []) + ["BODY=8BITMIME"]
        options += ["RET=" + dsn["ret"]] if "ret" in dsn else []
        options += ["ENVID=" + dsn["envid"]] if "envid" in dsn else []
        s.command_encoding = "utf-8"
        code, text = s.mail(sender, options)
        assert code == 250, text
        code, text = s.rcpt(recipient, ["NOTIFY=" + dsn["notify"]] if "notify" in dsn else [])
        assert code == 250, text
        code, text = s.data(message.encode())
        assert code == 250, text


def texts(peer):
    return peer.bodies() if isinstance(peer, Pfix) else [m.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for m in peer.messages()]


def of_subject(messages, subject):
    return [m for m in messages if re.search(rb"^Subject: .*%s" % re.escape(subject.encode()), m, re.M)]


def wait_message(get, subject, what, timeout=30):
    wait_until(lambda: of_subject(get(), subject), what, timeout)
    return of_subject(get(), subject)[0]


def inbox(host, address="alice@example.org"):
    p = host.pop3(address)
    try:
        return [b"\r\n".join(p.retr(i + 1)[1]) + b"\r\n" for i in range(len(p.list()[1]))]
    finally:
        p.quit()


def of_message_id(host, wanted):
    return [m for m in inbox(host) if wanted in m]


def report_of(raw):
    """The recipients' fields of a DSN."""
    m = email.message_from_bytes(raw, policy=policy.default)
    part = [p for p in m.walk() if p.get_content_type() in ("message/delivery-status", "message/global-delivery-status")][0]
    groups = part.as_bytes().replace(b"\r\n", b"\n").split(b"\n\n", 1)[1].strip().split(b"\n\n")
    return email.message_from_bytes(groups[1])


def lines_of(host, to):
    return [line for line in host.log().splitlines() if "to=" + to in line and ("event=sent" in line or "event=bounced" in line or "event=deferred" in line)]


def outwards(host, name, peer):
    box = "box@" + DOMAINS[name]
    submit(host, box, "out-" + name)
    got = wait_message(lambda: texts(peer), "out-" + name, "mail at " + name)
    is_(got.split(b"\r\n\r\n", 1)[1], (BODY % ("", "", "", "", "end")).encode().split(b"\r\n\r\n", 1)[1], name + " has the content byte for byte, 8 bit and dots")
    wait_until(lambda: lines_of(host, box), "the log tells of it")
    if name == "osmtpd":  # Debian's offers STARTTLS and fails in the handshake, with any client
        like(lines_of(host, box)[0], "tls=none", "whose TLS is broken: without, rather than not at all")
    else:
        like(lines_of(host, box)[0], "tls=TLSv1.3", "over TLS 1.3")
    refused = "refuse@" + DOMAINS[name]
    submit(host, refused, "refused-" + name)
    wait_until(lambda: of_message_id(host, b"refused-" + name.encode()), "the notification of what %s refused" % name)
    report = report_of(of_message_id(host, b"refused-" + name.encode())[0])
    is_((report["Action"], report["Status"][0], report["Remote-MTA"]), ("failed", "5", "dns; mx." + DOMAINS[name]), "a DSN tells of the refusal, and by whom")
    like(report["Diagnostic-Code"], "smtp; 5", "with %s's words: %s" % (name, report["Diagnostic-Code"]))
    if name != "osmtpd":
        submit(host, "later@" + DOMAINS[name], "later-" + name)
        wait_until(lambda: lines_of(host, "later@" + DOMAINS[name]), "an attempt")
        like(lines_of(host, "later@" + DOMAINS[name])[0], "event=deferred", "what is refused for now waits")
    utf8 = "böx@" + DOMAINS[name]
    submit(host, utf8, "utf8-" + name, utf8=True)
    if name == "osmtpd":
        wait_until(lambda: of_message_id(host, b"utf8-" + name.encode()), "the notification")
        is_(report_of(of_message_id(host, b"utf8-" + name.encode())[0])["Status"], "5.6.7", "a host without SMTPUTF8: 5.6.7")
    else:
        wait_message(lambda: texts(peer), "utf8-" + name, "SMTPUTF8 mail at " + name)
        ok(True, name + " takes an SMTPUTF8 address")


def dsn(host, name, peer):
    """All three know DSN: what is asked for is passed on, and they tell."""
    box = "box@" + DOMAINS[name]
    submit(host, box, "dsn-" + name, notify="SUCCESS,FAILURE", ret="HDRS", envid="E" + name)
    wait_until(lambda: of_message_id(host, b"dsn-" + name.encode()), "the DSN of success by " + name)
    raw = of_message_id(host, b"dsn-" + name.encode())[0]
    report = report_of(raw)
    is_(report["Action"], "delivered", name + " tells of success")
    ok(b"E" + name.encode() in raw or name == "osmtpd", "with the envelope id that went along")


def inwards(host, name, peer):
    """The peer relays to us."""
    sender = "box@" + DOMAINS[name]

    def hand(recipient, subject, options=(), text="end"):
        with smtplib.SMTP(peer.address, peer.port) as s:
            s.ehlo("client.example")
            s.command_encoding = "utf-8"
            code, reply = s.mail(sender, list(options))
            assert code == 250, reply
            code, reply = s.rcpt(recipient, ["NOTIFY=SUCCESS,FAILURE"] if "dsn" in subject else [])
            assert code in (250, 251), reply
            code, reply = s.data((BODY % (sender, recipient, subject, subject, text)).encode())
            assert code == 250, reply
    hand("alice@example.org", "in-" + name)
    got = wait_message(lambda: inbox(host), "in-" + name, "mail from " + name)
    is_(got.split(b"\r\n\r\n", 1)[1], (BODY % ("", "", "", "", "end")).encode().split(b"\r\n\r\n", 1)[1], "mail from %s comes byte for byte" % name)
    like(got.decode(), "(using TLSv1.3 ", "by TLS 1.3")
    big = "\r\n".join("%07d %s" % (i, "y" * 60) for i in range(30000))
    hand("alice@example.org", "big-" + name, text=big)
    got = wait_message(lambda: inbox(host), "big-" + name, "a large message from " + name)
    is_(got.endswith((big + "\r\n").encode()), True, "2 MB from %s are whole" % name)
    hand("nobody@example.org", "unknown-" + name)
    back = wait_message(lambda: [m for m in texts(peer) if b"unknown-" + name.encode() in m], "", name + " tells of our refusal")
    like(back.decode(errors="replace"), "5.1.1", "with our 5.1.1")
    hand("alice@example.org", "dsn-in-" + name)
    wait_until(lambda: any(b"dsn-in-" + name.encode() in m for m in texts(peer)), "a DSN of success from us at " + name)
    report = report_of([m for m in texts(peer) if b"dsn-in-" + name.encode() in m][0])
    is_((report["Action"], report["Status"]), ("delivered", "2.1.5"), "we tell %s of success" % name)
    if name != "osmtpd":
        hand("ålice@example.org", "utf8-in-" + name, options=["SMTPUTF8", "BODY=8BITMIME"])
        wait_message(lambda: inbox(host), "utf8-in-" + name, "SMTPUTF8 from " + name)
        ok(True, "%s hands over an SMTPUTF8 address" % name)


def run(dir, host, peers):
    for name, peer in peers.items():
        for part in (outwards, inwards, dsn):
            try:
                part(host, name, peer)
            except Exception as e:
                ok(False, "%s %s: %r\n%s\n%s" % (part.__name__, name, e, "\n".join(peer.log().splitlines()[-8:]), "\n".join(host.log().splitlines()[-12:])))
    chunked = subprocess.run(["grep", "-c", "CHUNKING\\|BDAT\\|=> .*K\\b", peers["exim"].dir + "/logs/mainlog"], capture_output=True, text=True).stdout.strip()
    ok(int(chunked or 0) > 0, "Exim used CHUNKING: %s lines say so" % chunked)


def main():
    why = postfix.why_not() or mta.why_not()
    if why:
        skip_all(why)
    dir = tempfile.mkdtemp(prefix="interop-test-", dir="/tmp")
    port = free_port(list(ADDRESSES.values()))
    zone = "".join("%s MX 10 mx.%s\nmx.%s A %s\n" % (n, n, n, a) for n, a in ADDRESSES.items())
    named = Named(dir, zone)
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port, "relay": "port_out = %d;" % port}
    try:
        with Host(accounts=["alice@example.org"], groups=groups, site='aliases = ( { address = "ålice@example.org"; to = [ "alice@example.org" ]; } );\n') as host:
            smart = host.port("smtp")
            pem = certificate(dir)
            with Pfix(dir, [DOMAINS["postfix"]], port=port, address=ADDRESSES["postfix"], settings="""smtputf8_enable = yes
smtpd_tls_cert_file = %s
smtpd_tls_key_file = %s
smtpd_tls_security_level = may
smtp_tls_security_level = may
smtpd_client_restrictions =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:%d
minimal_backoff_time = 5s
queue_run_delay = 5s
smtpd_recipient_restrictions = check_recipient_access inline:{ { refuse@postfix.example = 550 5.1.1 no such person, says Postfix }, { later@postfix.example = 450 4.2.1 come again } }, permit_mynetworks, reject
smtp_tls_loglevel = 1
""" % (pem, pem, smart)) as p, \
                    mta.Exim(dir, DOMAINS["exim"], smart, ADDRESSES["exim"], port) as e, mta.OpenSMTPD(dir, DOMAINS["osmtpd"], smart, ADDRESSES["osmtpd"], port) as o:
                run(dir, host, {"postfix": p, "exim": e, "osmtpd": o})
    finally:
        named.stop()
        shutil.rmtree(dir, ignore_errors=True)
    done()


main()
