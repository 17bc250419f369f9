#!/usr/bin/env python3
"""mailadm store compact: on a running host, killed in the middle of it, on a stopped one; a backup of what it leaves."""
import json
import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, done, is_, like, ok, wait_until  # noqa: E402

ALICE = "alice@example.org"


def messages(host):
    """Token by uid, with whether the body is whole."""
    m = host.imap(ALICE)
    typ, answer = m.select("INBOX", readonly=True)
    found = {}
    if answer[0] != b"0":
        for part in m.uid("FETCH", "1:*", "(BODY.PEEK[])")[1]:
            if isinstance(part, tuple):
                token = re.search(rb"X-Token: (\S+)", part[1]).group(1).decode()
                found[int(re.search(rb"UID (\d+)", part[0]).group(1))] = (token, part[1].endswith(body(token)))
    m.logout()
    return found


def body(token):
    return (("body of " + token + "\r\n") * 4000).encode()


def deliver(host, first, count):
    for i in range(first, first + count):
        host.deliver(ALICE, f"Subject: {i}\r\nX-Token: t{i}\r\n\r\n".encode() + body(f"t{i}"))


def expunge(host, uids):
    m = host.imap(ALICE)
    m.select("INBOX")
    m.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    m.logout()


def log_size(host):
    folder = host.dir + "/state/store/log"
    return sum(os.stat(os.path.join(folder, n)).st_size for n in os.listdir(folder))


def compact(host):
    r = host.cli("--json", "store", "compact", check=False)
    is_(r.returncode, 0, "store compact: " + r.stderr)
    return json.loads(r.stdout)


with Host(accounts=[ALICE], groups={"limits": 'undelete = "1s";'}) as host:
    deliver(host, 1, 40)
    is_(len(messages(host)), 40, "forty messages")
    expunge(host, "1:35")
    # Forgotten a second later: then they are dead.
    state = {}

    def dead():
        state.update(json.loads(host.cli("--json", "store", "compact").stdout))
        return state["dead_bytes"] > 1000000 and state["bytes_moved"] > 0
    wait_until(dead, "what was expunged to be dead")
    ok(state["bodies_moved"] == 5, f"five bodies live and are written again: {state}")
    is_(messages(host), {i: (f"t{i}", True) for i in range(36, 41)}, "a session reads what it read before")
    ok(any(n.endswith(".state") for n in os.listdir(host.dir + "/state/store/log")), "there is a state file")
    r = host.cli("store", "verify", check=False)
    ok(r.returncode == 0 and "no problems" in r.stdout, "verify, online: " + r.stdout + r.stderr)
    # Killed while it waits for its readers.
    for pid in [p for name, ps in host.children().items() if name.split(":")[0] == "store" for p in ps]:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: host.cli("status", check=False).returncode == 0, "all is up again", 60)
    is_(messages(host), {i: (f"t{i}", True) for i in range(36, 41)}, "all are there after a kill")
    deliver(host, 41, 2)
    before = log_size(host)
    host.stop()
    r = host.cli("store", "compact", check=False)
    ok(r.returncode == 0 and "freed:" in r.stdout, "a stopped host: " + r.stdout + r.stderr)
    ok(log_size(host) < before - 3000000, f"its log shrinks: {before} to {log_size(host)} bytes")
    r = host.cli("store", "verify", check=False)
    ok(r.returncode == 0 and "index: 7 messages" in r.stdout, "verify, offline: " + r.stdout + r.stderr)
    r = host.cli("store", "rebuild", check=False)
    ok(r.returncode == 0 and "7 messages, 0 damaged" in r.stdout, "rebuild from the state file: " + r.stdout + r.stderr)
    r = host.cli("store", "downgrade", check=False)
    ok(r.returncode == 1 and ".state:0: a state file" in r.stdout, "downgrade says what is in the way: " + r.stdout + r.stderr)
    with open(host.conf, "a") as f:
        f.write(f'backup = ( {{ name = "nightly"; repository = "{host.dir}/repository"; keep_daily = 7; }} );\n')
    host.start()
    want = {i: (f"t{i}", True) for i in range(36, 43)}
    is_(messages(host), want, "the messages are the same")
    r = host.cli("backup", "run", "nightly", check=False)
    is_(r.returncode, 0, "a backup: " + r.stderr)
    target = host.dir + "/restored"
    os.makedirs(target)
    r = host.cli("backup", "restore", "latest", "--to", target, check=False)
    is_(r.returncode, 0, "and its restore: " + r.stderr)
    names = [n for _, _, files in os.walk(target) for n in files]
    ok(any(n.endswith(".state") for n in names), "with the state file: " + " ".join(names))
    host.stop()
    # What was restored, in place of what there was.
    where = next(p for p, d, _ in os.walk(target) if p.endswith("store/log"))
    log = host.dir + "/state/store/log"
    owner = os.stat(log)
    os.rename(log, log + ".away")
    os.rename(host.dir + "/state/store/index", host.dir + "/index.away")
    os.rename(where, log)
    for n in [log] + [os.path.join(log, n) for n in os.listdir(log)]:
        os.chown(n, owner.st_uid, owner.st_gid)
    host.start()
    is_(messages(host), want, "the messages are the same from the backup")
    like(host.log(), "state-loaded", "the index was made from the state file")
done()
