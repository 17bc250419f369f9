#!/usr/bin/env python3
"""Dovecot's imaptest against the running host: its scripted tests, then its random stress.

IMAPTEST names the program, built outside of this project (github.com/dovecot/imaptest: ./autogen.sh && ./configure
--with-dovecot=/usr/lib/dovecot && make, with Debian's dovecot-dev); its scripts are expected beside it in tests/.
SECONDS is how long the stress runs (default 60 for each of its three forms)."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import PASSWORD, Host, diag, done, is_, ok, skip_all  # noqa: E402

IMAPTEST = os.environ.get("IMAPTEST", "")
SECONDS = int(os.environ.get("SECONDS", "60"))
# What tests something that is not advertised, or contradicts RFC 9051; the reason is printed.
EXPECTED = {"pipeline-connections": "its script needs an imaptest newer than Dovecot 2.3's headers build"}

if not os.access(IMAPTEST, os.X_OK):
    skip_all("IMAPTEST does not name the imaptest program")
SCRIPTS = os.path.join(os.path.dirname(IMAPTEST), "tests")
ENV = dict(os.environ, LD_LIBRARY_PATH="/usr/lib/dovecot")


def mbox(path):
    """Three hundred small messages to append."""
    with open(path, "w") as f:
        for i in range(300):
            f.write("From sender@example.net Thu Jan  1 00:00:00 2026\nFrom: Sender %d <s%d@example.net>\nTo: alice@example.org\n"
                    "Subject: message %d\nMessage-ID: <%d@example.net>\nDate: Thu, 1 Jan 2026 00:00:%02d +0000\n\nbody %d\n%s\n"
                    % (i, i % 7, i, i, i % 60, i, "text " * (i % 200)))
    return path


def run(host, *args, timeout):
    """The output; the exit code is not used by imaptest for what it found."""
    argv = [IMAPTEST, "host=127.0.0.1", "port=%d" % host.port("imap"), "pass=" + PASSWORD] + list(args)
    r = subprocess.run(argv, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout)
    return r.returncode, r.stdout


def scripted(host):
    for name in sorted(n for n in os.listdir(SCRIPTS) if not n.endswith(".mbox") and os.path.isfile(os.path.join(SCRIPTS, n))):
        code, out = run(host, "user=script@example.org", "test=" + os.path.join(SCRIPTS, name), timeout=60)
        skipped = re.search(r"(\d+) skipped", out)
        failed = code != 0 or "Error: " in out or "Fatal: " in out
        if name in EXPECTED:
            diag("%s: %s" % (name, EXPECTED[name]))
            continue
        if failed:
            diag(out[-1500:])
        ok(not failed, "imaptest %s%s" % (name, ": a part skipped" if skipped and skipped.group(1) != "0" else ""))


def stress(host, name, *args):
    code, out = run(host, "mbox=" + mbox(os.path.join(host.dir, "mbox")), "secs=%d" % SECONDS, *args, timeout=SECONDS + 120)
    errors = [line for line in out.splitlines() if line.startswith(("Error:", "Fatal:", "Panic:"))]
    diag("\n".join(out.splitlines()[-4:]))
    is_(errors[:10], [], "%s: %d s without an error" % (name, SECONDS))


accounts = ["script@example.org", "one@example.org"] + ["user%d@example.org" % i for i in range(1, 6)]
with Host(accounts={a: PASSWORD for a in accounts}, groups={"limits": "errors = 1000; connections_per_address = 2000;"}) as host:
    scripted(host)
    if SECONDS > 0:
        stress(host, "50 clients, five accounts", "user=user%d@example.org", "users=1-5", "clients=50", "msgs=200")
        stress(host, "several on one mailbox", "user=one@example.org", "clients=10", "msgs=100")
        stress(host, "several on one mailbox, no pipelining", "user=one@example.org", "clients=10", "msgs=100", "no_pipelining")
done()
