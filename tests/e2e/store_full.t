#!/usr/bin/env python3
"""A file system that is full: first at the reserve, then to the last byte. Mail waits (452), what is there can be read
and expunged, nothing acknowledged is lost, and the host goes on when there is room.  The state is on a tmpfs of 64 MiB
in a mount namespace of this test alone."""
import os
import re
import smtplib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, ok, skip_all, wait_until  # noqa: E402

if os.geteuid() != 0:
    skip_all("a file system of its own needs root")
if os.environ.get("STORE_FULL_INSIDE") != "1":
    os.environ["STORE_FULL_INSIDE"] = "1"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        skip_all("no mount namespaces here")
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, os.path.abspath(__file__)])

ALICE = "alice@example.org"
acknowledged, serial = [], 0


def room(host):
    st = os.statvfs(host.dir)
    return st.f_bavail * st.f_frsize


def fill(host, leave):
    """Takes all room but `leave` bytes."""
    with open(host.dir + "/filler", "ab", buffering=0) as f:
        try:
            while room(host) > leave:
                f.write(b"\1" * max(4096, min(1 << 20, room(host) - leave)))
        except OSError:
            pass


def empty(host):
    os.unlink(host.dir + "/filler")


def send(host, size=3000):
    """The code of the reply to DATA (or to MAIL); what got 250 is remembered."""
    global serial
    serial += 1
    token = f"m{serial}"
    try:
        with host.smtp(timeout=30) as s:
            s.sendmail("s@example.net", [ALICE], f"X-Token: {token}\r\n\r\n".encode() + b"some words of text\r\n" * (size // 20))
    except smtplib.SMTPRecipientsRefused as e:
        return e.recipients[ALICE][0]
    except smtplib.SMTPResponseException as e:
        return e.smtp_code
    except (smtplib.SMTPServerDisconnected, OSError):
        return 0
    acknowledged.append(token)
    return 250


def tokens(host):
    m = host.imap(ALICE)
    typ, n = m.select("INBOX", readonly=True)
    if n[0] == b"0":
        return []
    answer = m.fetch("1:*", "(BODY.PEEK[])")[1]
    m.logout()
    found = [re.search(rb"X-Token: (\S+)", part[1]) for part in answer if isinstance(part, tuple)]
    return [f.group(1).decode() for f in found if f]  # the others are alerts of the host's own


def store_pid(host):
    return host.children().get("store", [0])


def expunge_first(host, n):
    m = host.imap(ALICE)
    m.select("INBOX")
    m.store(f"1:{n}", "+FLAGS.SILENT", "\\Deleted")
    typ, gone = m.expunge()
    m.logout()
    for token in acknowledged[:n]:
        acknowledged.remove(token)
    return typ, len([g for g in gone if g])


def judge(host, what):
    is_(sorted(tokens(host)), sorted(acknowledged), f"{what}: what was acknowledged is there, once, and nothing else")


where = tempfile.mkdtemp(prefix="mailadm-test-", dir="/tmp")
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", where], check=True)
try:
    with Host(accounts=[ALICE], dir=where, groups={"limits": 'disk_reserve = "8M"; connections_per_address = 1000; undelete = "0s";'}) as host:
        for i in range(30):
            send(host)
        is_(len(acknowledged), 30, "there is room at first")
        before = store_pid(host)

        # The reserve.
        fill(host, 7 << 20)
        wait_until(lambda: send(host) == 452, "452 at the reserve")
        ok(True, "at the reserve new mail gets 452")
        is_(expunge_first(host, 5), ("OK", 5), "and mail can be expunged")
        judge(host, "at the reserve")
        empty(host)
        wait_until(lambda: send(host) == 250, "250 again")
        ok(True, "with room again it is taken")
        is_(store_pid(host), before, "it was one store all the time")

        # Full between two looks at the disk: frames fail half-way.
        codes = set()
        for size in (1000, 300000, 3000000):
            fill(host, 0)
            for i in range(12):
                codes.add(send(host, size))
            empty(host)
            wait_until(lambda: send(host) == 250, "250 again")
        ok(codes <= {250, 451, 452} and codes & {451, 452}, f"full in the middle of a frame: {sorted(codes)}")
        judge(host, "full in the middle of a frame")

        # Full to the last byte, for a while.
        fill(host, 0)
        wait_until(lambda: send(host, 300000) == 452, "452 on the full disk")
        m = host.imap(ALICE)
        m.select("INBOX")
        for round in range(40):  # the index wants new pages, as long as older ones are pinned
            fill(host, 0)
            typ, got = m.store("1:*", "+-"[round % 2] + "FLAGS.SILENT", f"(\\Flagged k{round % 5})")
            if typ != "OK":
                is_(typ, "OK", f"flags {round} on the full disk")
        m.logout()
        ok(True, "flags can be changed on a full disk")
        for round in range(6):
            fill(host, 0)
            got = expunge_first(host, 4)
            if got != ("OK", 4):
                is_(got, ("OK", 4), f"expunge {round} on the full disk")
        ok(True, "mail can be expunged on a full disk")
        judge(host, "on the full disk")
        is_(store_pid(host), before, "it is still the first store")
        empty(host)
        wait_until(lambda: send(host) == 250, "250 again")
        judge(host, "with room again")

        # A store that starts on a full disk.
        fill(host, 0)
        os.kill(store_pid(host)[0], 9)
        wait_until(lambda: store_pid(host) not in (before, [0]) and host.cli("status", check=False).returncode == 0, "the store to start on the full disk", 30)
        judge(host, "started on the full disk")
        empty(host)
        wait_until(lambda: send(host) == 250, "250 again")
        judge(host, "and with room")
        host.stop()
        r = host.cli("store", "verify", check=False)
        is_((r.returncode, r.stderr), (0, ""), "verify finds nothing: " + r.stdout[-300:])
        r = host.cli("store", "rebuild", check=False)
        is_(r.returncode, 0, "nor does rebuild: " + r.stdout.strip() + r.stderr.strip())
finally:
    subprocess.run(["umount", "-l", where], check=False)
    os.rmdir(where)
done()
