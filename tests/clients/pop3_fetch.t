#!/usr/bin/env python3
"""getmail6, mpop and fetchmail keep mail on the server and tell by UIDL what they have: every message once, byte by byte,
also when messages before it went away and the host was started again."""
import hashlib
import mailbox
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import Host, diag, done, is_, ok  # noqa: E402

ALICE = "alice@example.org"
COUNT = 300


def message(r, i):
    lines = ["Subject: number %d" % i, "Message-ID: <%d@example.net>" % i, "From: a@example.net", ""]
    for _ in range(r.randrange(1, 40)):
        lines.append(r.choice(["", ".", "..", "...x", "From the start", "x" * r.randrange(1, 900), "ä ö ü", "end."]))
    return "\r\n".join(lines).encode() + b"\r\n"


def put(host, messages):
    with host.imap(ALICE) as c:
        for m in messages:
            c.append("INBOX", None, None, m)


def sums(folder):
    """Digests of what a client stored in a Maildir, with the header that it added taken off and CRLF line ends."""
    out = []
    for sub in ("new", "cur"):
        for name in os.listdir(os.path.join(folder, sub)):
            with open(os.path.join(folder, sub, name), "rb") as f:
                text = f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            out.append(digest(text[text.index(b"Subject: number"):]))
    return sorted(out)


def digest(text):
    return hashlib.sha256(text).hexdigest()


def maildir(host, name):
    path = os.path.join(host.dir, name)
    mailbox.Maildir(path, create=True)
    return path


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


def deliver(host, folder):
    """A program that takes one message on its input: clients refuse to write a Maildir as root."""
    path = write(folder + ".deliver", """#!/bin/sh
f=%s/new/$$.$(date +%%s%%N).x; cat >"$f.part" && mv "$f.part" "$f"
""" % folder)
    os.chmod(path, 0o700)
    return path


def getmail(host, folder):
    folder_rc = os.path.join(host.dir, "getmail")
    os.makedirs(folder_rc, exist_ok=True)
    write(os.path.join(folder_rc, "getmailrc"), """[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = %d
username = %s
password = %s
[destination]
type = MDA_external
path = %s
allow_root_commands = true
unixfrom = false
[options]
delete = false
read_all = false
delivered_to = false
received = false
""" % (host.port("pop3"), ALICE, host.accounts[ALICE], deliver(host, folder)))
    return ["getmail", "--getmaildir", folder_rc]


def mpop(host, folder):
    return ["mpop", "-C", "/dev/null", "--host=127.0.0.1", "--port=%d" % host.port("pop3s"), "--tls=on",
            "--tls-starttls=off", "--tls-certcheck=off", "--auth=scram-sha-256", "--user=" + ALICE,
            "--passwordeval=echo '%s'" % host.accounts[ALICE], "--keep=on", "--received-header=off",
            "--uidls-file=%s/uidls" % host.dir, "--delivery=maildir," + folder]


def fetchmail(host, folder):
    rc = write(os.path.join(host.dir, "fetchmailrc"), """set no bouncemail
poll 127.0.0.1 protocol pop3 service %d uidl
  user "%s" password "%s" keep sslproto "" mda "%s" no rewrite no mimedecode
""" % (host.port("pop3"), ALICE, host.accounts[ALICE], deliver(host, folder)))
    return ["fetchmail", "--fetchmailrc", rc, "--idfile", host.dir + "/fetchids", "--pidfile", host.dir + "/fetchpid",
            "--nodetach", "--nosyslog", "--invisible"]


def run(argv, host):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, stdin=subprocess.DEVNULL,
                       env=dict(os.environ, HOME=host.dir, FETCHMAILHOME=host.dir, LC_ALL="C"))
    return r


def check(host, name, command, folder, want):
    r = run(command, host)
    got = sums(folder)
    if not ok(r.returncode in (0, 1) and got == sorted(digest(m) for m in want), "%s has %d messages" % (name, len(want))):
        diag("exit %d, %d messages, %d of them as they were sent" %
             (r.returncode, len(got), len(set(got) & {digest(m) for m in want})))
        diag(r.stdout[-800:])


seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
diag("SEED=%d" % seed)
r = random.Random(seed)
first, later = [message(r, i) for i in range(COUNT)], [message(r, COUNT + i) for i in range(20)]
with Host((ALICE,)) as host:
    put(host, first)
    clients = [(make.__name__, make(host, maildir(host, make.__name__ + "-mail")), host.dir + "/%s-mail" % make.__name__)
               for make in (getmail, mpop, fetchmail)]
    for name, command, folder in clients:
        check(host, name, command, folder, first)
        check(host, name + ", run again,", command, folder, first)
    uids = host.pop3(ALICE).uidl()[1]
    c = host.pop3(ALICE)
    for n in r.sample(range(1, COUNT + 1), 50):
        c.dele(n)
    c.quit()
    put(host, later)
    host.restart()
    c = host.pop3(ALICE)
    left = [u.split()[1] for u in c.uidl()[1]]
    c.quit()
    before = [u.split()[1] for u in uids]
    ok(set(left[:-20]) <= set(before) and not set(left[-20:]) & set(before), "UIDs stay, and new ones are new")
    is_(len(left), COUNT - 50 + 20, "for what is left")
    for name, command, folder in clients:
        check(host, name + ", after others went and new ones came,", command, folder, first + later)
done()
