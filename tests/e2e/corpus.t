#!/usr/bin/env python3
"""A corpus of real-looking messages goes in by smtplib, swaks and msmtp; what SMTP accepts comes out byte for byte by IMAP, POP3 and
curl (after the trace headers), and alike by parsed content from isync, mutt and fetchmail, which rewrite.  What SMTP must refuse is refused."""
import email
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, ok, ROOT  # noqa: E402

ALICE = "alice@example.org"
WORK = tempfile.mkdtemp(prefix="mailadm-corpus-")


def make_corpus():
    subprocess.run([sys.executable, f"{ROOT}/tests/corpus/make_corpus.py", WORK + "/corpus"], check=True, stdout=subprocess.DEVNULL)
    files = sorted(glob.glob(WORK + "/corpus/*.eml"))
    ok(len(files) >= 300, f"the corpus has at least 300 messages ({len(files)})")
    return files


def send_by_smtplib(host, messages):
    """One connection; raw bytes, so that nothing is rewritten on the way."""
    with host.smtp() as s:
        s.ehlo("corpus.example")
        for data in messages:
            s.mail("sender@example.net", ["BODY=8BITMIME"])
            s.rcpt(ALICE)
            code, text = s.data(data)
            if code != 250:
                raise RuntimeError(f"refused: {code} {text!r}")


def send_by_swaks(host, path):
    # swaks reads the message from a file and sends it as it is.
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{host.port('smtp')}", "--from", "sender@example.net", "--to", ALICE, "--data",
                        "@" + path, "--silent", "2"], capture_output=True, text=True, timeout=60)
    if r.returncode != 0:
        raise RuntimeError(r.stdout + r.stderr)


def send_by_msmtp(host, path):
    with open(path, "rb") as f:
        r = subprocess.run(["msmtp", "--host=127.0.0.1", f"--port={host.port('smtp')}", "--tls=off", "--auth=off", "--from=sender@example.net",
                            "--set-msgid-header=off", "--set-date-header=off", "--set-from-header=off", "--undisclosed-recipients=off",
                            "--remove-bcc-headers=off", ALICE], stdin=f, capture_output=True, text=True, timeout=60)
    if r.returncode != 0:
        raise RuntimeError(r.stdout + r.stderr)


def without_trace(data):
    """The message behind the headers that delivery put before it: Return-Path, Delivered-To, Received."""
    lines = data.split(b"\r\n")
    i = 0
    while i < len(lines) and lines[i].split(b":")[0].lower() in (b"return-path", b"delivered-to"):
        i += 1
    if i < len(lines) and lines[i].lower().startswith(b"received:"):
        i += 1
        while i < len(lines) and lines[i][:1] == b"\t":  # ours fold with a tab; a message of the corpus begins with a space
            i += 1
    return b"\r\n".join(lines[i:])


def as_sent(data):
    """What a message without a final line end becomes on the wire (smtplib: an empty one too)."""
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def compare(got, want, name):
    wrong = [i for i, (g, w) in enumerate(zip(got, want)) if g != w]
    is_(len(got), len(want), f"{name}: as many messages")
    if not ok(not wrong, f"{name}: byte-identical"):
        i = wrong[0]
        at = next((k for k, (x, y) in enumerate(zip(got[i], want[i])) if x != y), min(len(got[i]), len(want[i])))
        diag(f"{len(wrong)} differ: {wrong[:20]}; message {i}, byte {at}, lengths {len(got[i])} {len(want[i])}")
        diag(f"got    {got[i][max(0, at - 60):at + 60]!r}\nwanted {want[i][max(0, at - 60):at + 60]!r}")


def by_imaplib(host):
    m = host.imap(ALICE)
    m.select("INBOX", readonly=True)
    out = []
    for number in m.search(None, "ALL")[1][0].split():
        data = m.fetch(number, "(BODY.PEEK[] RFC822.SIZE)")[1]
        size = int(data[0][0].split(b"RFC822.SIZE ")[1].split()[0].rstrip(b")")) if b"RFC822.SIZE" in data[0][0] else int(
            data[1].split(b"RFC822.SIZE ")[1].rstrip(b")"))
        if size != len(data[0][1]):
            ok(False, f"RFC822.SIZE of {number} is its length")
            is_(size, len(data[0][1]), "size")
        out.append(data[0][1])
    m.logout()
    return out


def by_partial_fetches(host, count):
    """The same bytes in pieces: BODY[]<n.m>, and HEADER and TEXT apart."""
    m = host.imap(ALICE)
    m.select("INBOX", readonly=True)
    for number in range(1, count + 1, 37):
        whole = m.fetch(str(number), "(BODY.PEEK[])")[1][0][1]
        parts = m.fetch(str(number), "(BODY.PEEK[HEADER])")[1][0][1] + m.fetch(str(number), "(BODY.PEEK[TEXT])")[1][0][1]
        pieces = b""
        while len(pieces) < min(len(whole), 300000):
            answer = m.fetch(str(number), f"(BODY.PEEK[]<{len(pieces)}.65536>)")[1][0]
            pieces += answer[1] if isinstance(answer, tuple) else b""
        if parts != whole or not whole.startswith(pieces[:len(whole)]):
            ok(False, f"message {number}: header and text, and partial reads, make the whole")
            return
    ok(True, "header and text, and partial reads, make the whole")
    m.logout()


def by_poplib(host):
    # Straight from the socket: poplib's own line splitting takes a bare LF for an end of line.
    s = host.connect_tls("pop3s")
    f = s.makefile("rwb")

    def command(text):
        f.write(text.encode() + b"\r\n")
        f.flush()
        line = f.readline()
        if not line.startswith(b"+OK"):
            raise RuntimeError(f"{text.split()[0]}: {line!r}")
        return line
    f.readline()
    command(f"USER {ALICE}")
    command(f"PASS {host.accounts[ALICE]}")
    count = int(command("STAT").split()[1])
    out = []
    for number in range(1, count + 1):
        command(f"RETR {number}")
        data = bytearray()
        while True:
            line = f.readline()
            if line == b".\r\n":
                break
            data += line[1:] if line.startswith(b".") else line
        out.append(without_trace(bytes(data)))
    command("QUIT")
    return out


def by_curl(host, numbers):
    out = []
    for number in numbers:
        r = subprocess.run(["curl", "-sk", "--user", f"{ALICE}:{host.accounts[ALICE]}",
                            f"imaps://127.0.0.1:{host.port('imaps')}/INBOX;MAILINDEX={number}"], capture_output=True, timeout=60)
        out.append(without_trace(r.stdout))
    return out


def key(message):
    """What a rewriting client keeps: leaf types and decoded payloads, a few headers."""
    parts = []
    for part in message.walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True) or b""
            parts.append((part.get_content_type(), payload.replace(b"\r\n", b"\n").rstrip(b"\n")))
    return repr((str(message.get("Message-ID", "")).split(), parts))


def from_maildir(path):
    out = []
    for name in glob.glob(path + "/new/*") + glob.glob(path + "/cur/*"):
        with open(name, "rb") as f:
            out.append(email.message_from_bytes(f.read()))
    return out


def well_formed(data):
    """Header fields, a blank line, a body: clients that rewrite skip or mend what is not even that."""
    head, blank, _ = data.partition(b"\r\n\r\n")
    return blank and all(re.match(rb"[!-9;-~]+:|[ \t]+\S", line) for line in head.split(b"\r\n"))


def compare_parsed(got, want, name):
    seen = {key(m) for m in got}
    wanted = [key(email.message_from_bytes(m)) for m in want if well_formed(m)]
    missing = [k for k in wanted if k not in seen]
    if not ok(not missing and len(wanted) >= 300, f"{name}: the same content of {len(wanted)} messages"):
        diag(f"{len(missing)} differ, the first: {missing[0][:600] if missing else None}")


def by_isync(host):
    box = WORK + "/isync"
    os.makedirs(box)
    conf = WORK + "/mbsyncrc"
    with open(conf, "w") as f:
        f.write(f"""IMAPAccount a
Host 127.0.0.1
Port {host.port('imaps')}
User {ALICE}
Pass "{host.accounts[ALICE]}"
SSLType IMAPS
CertificateFile {host.dir}/state/tls/cert.pem

IMAPStore far
Account a

MaildirStore near
Path {box}/
Inbox {box}/INBOX

Channel c
Far :far:
Near :near:
Patterns INBOX
Create Near
SyncState *
""")
    r = subprocess.run(["mbsync", "-c", conf, "-q", "c"], capture_output=True, text=True, timeout=180,
                       env={**os.environ, "HOME": WORK})
    is_(r.returncode, 0, "mbsync ends well: " + r.stderr[-500:])
    return from_maildir(box + "/INBOX")


def by_mutt(host):
    """mutt copies every message of INBOX to a local Maildir."""
    box = WORK + "/mutt"
    for d in ("cur", "new", "tmp"):
        os.makedirs(f"{box}/{d}")
    rc = WORK + "/muttrc"
    with open(rc, "w") as f:
        f.write(f"""set imap_user="{ALICE}"
set imap_pass="{host.accounts[ALICE]}"
set ssl_verify_host=no
set ssl_verify_dates=no
set certificate_file="{host.dir}/state/tls/cert.pem"
set mbox_type=Maildir
set copy=no confirmappend=no delete=no
set header_cache="" message_cachedir=""
set folder="imaps://127.0.0.1:{host.port('imaps')}/"
push "<tag-pattern>~A<enter><tag-prefix><copy-message>{box}<enter><exit>"
""")
    r = subprocess.run(["script", "-qec", f"mutt -F {rc} -f imaps://127.0.0.1:{host.port('imaps')}/INBOX", "/dev/null"],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=180, env={**os.environ, "HOME": WORK, "TERM": "xterm"})
    if r.returncode != 0:
        diag(r.stdout[-800:])
    return from_maildir(box)


def by_fetchmail(host):
    box = WORK + "/fetchmail"
    for d in ("cur", "new", "tmp"):
        os.makedirs(f"{box}/{d}")
    script = WORK + "/mda.py"
    with open(script, "w") as f:
        f.write(f"import os,sys,time\nn=f'{{time.time_ns()}}.{{os.getpid()}}.x'\nopen('{box}/new/'+n,'wb').write(sys.stdin.buffer.read())\n")
    rc = WORK + "/fetchmailrc"
    with open(rc, "w") as f:
        f.write(f"""poll 127.0.0.1 protocol IMAP service {host.port('imaps')} user "{ALICE}" password "{host.accounts[ALICE]}"
 ssl no sslcertck fetchall keep no rewrite mda "{sys.executable} {script}"
""")
    os.chmod(rc, 0o600)
    r = subprocess.run(["fetchmail", "-f", rc, "--nosyslog", "--pidfile", WORK + "/fetchmail.pid"], capture_output=True, text=True, timeout=300,
                       env={**os.environ, "HOME": WORK, "FETCHMAILHOME": WORK})
    ok(r.returncode in (0, 1), f"fetchmail ends well ({r.returncode}) {r.stderr[-300:]}")
    return from_maildir(box)


def refused(host):
    for path in sorted(glob.glob(WORK + "/corpus/refused/*")):
        with open(path, "rb") as f:
            data = f.read()
        s = host.connect("smtp")
        f = s.makefile("rwb")
        f.readline()
        for line in (b"HELO corpus.example", b"MAIL FROM:<sender@example.net>", b"RCPT TO:<%s>" % ALICE.encode(), b"DATA"):
            f.write(line + b"\r\n")
            f.flush()
            f.readline()
        f.write(data + b"\r\n.\r\n")
        f.flush()
        reply = f.readline().decode(errors="replace")
        ok(reply[:1] == "5" and len(reply) > 12, f"{os.path.basename(path)} is refused with a clear reply: {reply.strip()}")
        s.close()


def empty(host):
    """smtplib cannot send a message of 0 bytes."""
    s = host.connect("smtp")
    f = s.makefile("rwb")
    f.readline()
    for line in (b"HELO corpus.example", b"MAIL FROM:<sender@example.net>", b"RCPT TO:<%s>" % ALICE.encode(), b"DATA", b"."):
        f.write(line + b"\r\n")
        f.flush()
        reply = f.readline()
    s.close()
    is_(reply[:3], b"250", "a message of 0 bytes is taken")
    is_(without_trace(by_imaplib(host)[-1]), b"", "and comes out with 0 bytes")


def main():
    files = make_corpus()
    messages = []
    for path in files:
        with open(path, "rb") as f:
            messages.append(f.read())
    with Host(accounts=[ALICE], groups={"limits": 'message_size = "40M"; connections_per_address = 1000;'}) as host:
        send_by_smtplib(host, messages)
        want = [as_sent(m) for m in messages]
        whole = by_imaplib(host)
        compare([without_trace(m) for m in whole], want, "smtplib in, imaplib out")
        compare(by_poplib(host), want, "smtplib in, POP3 out")
        sample = range(1, len(messages) + 1, 9)
        compare(by_curl(host, sample), [want[i - 1] for i in sample], "smtplib in, curl out")
        by_partial_fetches(host, len(messages))
        compare_parsed(by_isync(host), whole, "isync")
        compare_parsed(by_mutt(host), whole, "mutt")
        compare_parsed(by_fetchmail(host), whole, "fetchmail")
        refused(host)
        empty(host)
        is_(len(by_imaplib(host)), len(messages) + 1, "nothing of what was refused arrived")

        # The same through clients that are known not to touch the bytes: a sample that text files can carry.
        plain = [(p, m) for p, m in zip(files, messages) if m.endswith(b"\r\n") and len(m) < 200000 and b"\r\n\r\n" in m][::16]
        m = host.imap(ALICE)
        m.select("INBOX")
        m.store("1:*", "+FLAGS.SILENT", "\\Deleted")
        m.expunge()
        m.logout()
        for path, _ in plain:
            send_by_swaks(host, path)
        # swaks ends the data with a line end of its own.
        compare([without_trace(m) for m in by_imaplib(host)], [m + b"\r\n" for _, m in plain], "swaks in, imaplib out")
        m = host.imap(ALICE)
        m.select("INBOX")
        m.store("1:*", "+FLAGS.SILENT", "\\Deleted")
        m.expunge()
        m.logout()
        for path, _ in plain:
            send_by_msmtp(host, path)
        compare([without_trace(m) for m in by_imaplib(host)], [m for _, m in plain], "msmtp in, imaplib out")
        r = host.cli("store", "verify", check=False)
        is_(r.returncode, 0, "store verify finds nothing: " + r.stdout[-300:] + r.stderr[-300:])


try:
    main()
finally:
    shutil.rmtree(WORK, ignore_errors=True)
done()
