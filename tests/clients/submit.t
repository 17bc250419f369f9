#!/usr/bin/env python3
"""Programs that hand in mail: swaks, msmtp, mutt, curl and smtplib on 587 and 465, by each mechanism; what they are refused, they say."""
import email.message
import os
import shutil
import smtplib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from host import Host, diag, done, is_, like, ok, tls_context  # noqa: E402
from smtp_talk import messages  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"


def run(argv, **kw):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **kw)


def have(program):
    return shutil.which(program) is not None or diag("no %s here" % program)


def arrived(host, subject):
    got = [m for m in messages(host, BOB) if b"\nSubject: " + subject.encode() in m]
    return is_(len(got), 1, "%s: it arrived, once" % subject) and got[0]


def swaks(host):
    for mechanism, service, tls in (("PLAIN", "submission", "--tls"), ("LOGIN", "submission", "--tls"), ("PLAIN", "submissions", "--tls-on-connect"), ("LOGIN", "submissions", "--tls-on-connect")):
        subject = "swaks %s %s" % (mechanism, service)
        common = ["swaks", "--server", "127.0.0.1:%d" % host.port(service), tls, "--auth", mechanism, "--auth-user", ALICE, "--from", ALICE]
        r = run(common + ["--to", BOB, "--auth-password", host.accounts[ALICE], "--header", "Subject: " + subject])
        ok(r.returncode == 0, subject) or diag(r.stdout.decode(errors="replace"))
        arrived(host, subject)
    r = run(common + ["--to", BOB, "--auth-password", "wrong"])
    like(r.stdout, b"535 5.7.8", "swaks shows what a wrong password is answered")
    r = run(common[:-1] + [BOB, "--to", BOB, "--auth-password", host.accounts[ALICE]])
    like(r.stdout, b"553 5.7.1", "and another's sender")
    r = run(common + ["--to", BOB, "--auth-password", host.accounts[ALICE], "--header", "Subject: swaks chunking", "--pipeline"])
    ok(r.returncode == 0, "swaks pipelines") or diag(r.stdout.decode(errors="replace"))


def msmtp(host):
    for mechanism in ("plain", "login", "scram-sha-256"):
        for service, starttls in (("submission", "on"), ("submissions", "off")):
            subject = "msmtp %s %s" % (mechanism, service)
            r = run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1", "--port=%d" % host.port(service), "--tls=on", "--tls-starttls=" + starttls, "--tls-certcheck=off",
                     "--auth=" + mechanism, "--user=" + ALICE, "--passwordeval=echo '%s'" % host.accounts[ALICE], "--from=" + ALICE, BOB],
                    input=b"From: alice@example.org\nSubject: %s\n\n.\nFrom the second line\n..\n" % subject.encode())
            ok(r.returncode == 0, subject) or diag(r.stdout.decode(errors="replace"))
            got = arrived(host, subject)
            if got:
                ok(got.endswith(b"\r\n.\r\nFrom the second line\r\n..\r\n"), "with its dots")


def mutt(host):
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "picture.bin")
        with open(path, "wb") as f:
            f.write(bytes(range(256)) * 40)
        for program in ("mutt", "neomutt"):
            if not have(program):
                continue
            subject = "%s with an attachment" % program
            settings = {"smtp_url": "smtp://%s@127.0.0.1:%d/" % (ALICE, host.port("submission")), "smtp_pass": host.accounts[ALICE], "ssl_starttls": "yes", "ssl_force_tls": "yes",
                        "ssl_verify_host": "no", "from": ALICE, "use_envelope_from": "yes", "record": "", "certificate_file": os.path.join(home, "certificates")}
            with open(os.path.join(home, "certificates"), "w") as f:
                f.write(open(host.dir + "/state/tls/cert.pem").read() if os.path.exists(host.dir + "/state/tls/cert.pem") else certificate(host))
            arguments = [x for k, v in settings.items() for x in ("-e", 'set %s="%s"' % (k, v))]
            r = run([program, "-n", "-F", "/dev/null"] + arguments + ["-s", subject, "-a", path, "--", BOB], input=b"hello from mutt\n", env={**os.environ, "HOME": home, "TERM": "dumb"})
            ok(r.returncode == 0, subject) or diag(r.stdout.decode(errors="replace"))
            got = arrived(host, subject)
            if got:
                parts = list(email.message_from_bytes(got).walk())
                is_(parts[-1].get_payload(decode=True), bytes(range(256)) * 40, "the attachment is what it was")


def certificate(host):
    r = run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % host.port("submissions"), "-showcerts"], input=b"QUIT\r\n").stdout.decode(errors="replace")
    return r[r.index("-----BEGIN"):r.index("-----END CERTIFICATE-----") + 25] + "\n"


def curl(host):
    subject = "curl"
    r = run(["curl", "-sS", "--insecure", "--url", "smtps://127.0.0.1:%d" % host.port("submissions"), "--user", "%s:%s" % (ALICE, host.accounts[ALICE]), "--mail-from", ALICE,
             "--mail-rcpt", BOB, "--upload-file", "-"], input=b"From: alice@example.org\r\nSubject: curl\r\n\r\nx\r\n")
    ok(r.returncode == 0, "curl") or diag(r.stdout.decode(errors="replace"))
    arrived(host, subject)


def python(host):
    for mechanism in ("PLAIN", "LOGIN"):
        with host.smtp("submission") as s:
            s.starttls(context=tls_context())
            s.ehlo()
            s.user, s.password = ALICE, host.accounts[ALICE]
            is_(s.auth(mechanism, getattr(s, "auth_" + mechanism.lower()))[0], 235, "smtplib logs in by %s" % mechanism)
            m = email.message.EmailMessage()
            m["From"], m["To"], m["Bcc"], m["Subject"] = ALICE, BOB, "hidden@example.org", "smtplib %s" % mechanism
            m.set_content("Grüße, 日本語\n" * 100, cte="8bit")
            is_(s.send_message(m, to_addrs=[BOB], mail_options=["BODY=8BITMIME", "RET=HDRS", "ENVID=py1"], rcpt_options=["NOTIFY=FAILURE"]), {}, "and sends eight bits, with DSN")
        got = arrived(host, "smtplib %s" % mechanism)
        if got:
            ok("日本語".encode() in got and b"hidden@" not in got, "as they were, without Bcc")
    with host.smtp("submissions") as s:
        s.login(ALICE, host.accounts[ALICE])
        try:
            s.sendmail(ALICE, ["nobody@example.org"], b"From: alice@example.org\r\n\r\nx\r\n")
            ok(False, "an unknown recipient")
        except smtplib.SMTPRecipientsRefused as e:
            is_(e.recipients["nobody@example.org"][0], 550, "an unknown recipient is refused at once")


with Host(insecure_loopback=False) as host:
    have("swaks") and swaks(host)
    have("msmtp") and msmtp(host)
    mutt(host)
    have("curl") and curl(host)
    python(host)
    ok(host.accounts[ALICE] not in host.log(), "no password is in the log")
done()
