#!/usr/bin/env python3
"""The store under a running host: killed while clients change mailboxes, its index lost, its log torn or damaged."""
import json
import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, like, ok, wait_until  # noqa: E402

ALICE = "alice@example.org"


def message(token, size=200):
    return (f"From: <a@example.net>\r\nTo: <{ALICE}>\r\nX-Token: {token}\r\n\r\n" + ("body of " + token + "\r\n") * (size // 20 + 1)).encode()


def tokens(host, box):
    """Token by uid, from a fresh session."""
    m = host.imap(ALICE)
    typ, answer = m.select(box, readonly=True)
    if typ != "OK" or answer[0] == b"0":
        return {}
    found = {}
    for part in m.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (X-Token)])")[1]:
        if isinstance(part, tuple):
            found[int(re.search(rb"UID (\d+)", part[0]).group(1))] = re.search(rb"X-Token: (\S+)", part[1]).group(1).decode()
    m.logout()
    return found


def kill_store(host):
    pids = [p for name, ps in host.children().items() if name.split(":")[0] == "store" for p in ps]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), "the killed store to be gone")


def killed_while_imap_writes(host):
    acknowledged, attempts, connection = [], 0, None
    for round in range(4):
        for i in range(25):
            token = f"imap-{attempts}"
            attempts += 1
            try:
                if connection is None:
                    connection = host.imap(ALICE)
                if connection.append("Work", None, None, message(token))[0] == "OK":
                    acknowledged.append(token)
            except Exception:
                connection = None
        kill_store(host)
        wait_until(lambda: host.cli("status", check=False).returncode == 0, "all is up again", 60)
    have = list(tokens(host, "Work").values())
    ok(len(acknowledged) > 60, f"APPEND goes on through {round + 1} kills: {len(acknowledged)} of {attempts}")
    is_([t for t in acknowledged if have.count(t) != 1], [], "each acknowledged APPEND is there exactly once")


def log_file(host):
    folder = os.path.join(host.dir, "state", "store", "log")
    return os.path.join(folder, sorted(os.listdir(folder))[-1])


def frames_end(path):
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


with Host(accounts=[ALICE]) as host:
    host.imap(ALICE).create("Work")
    for i in range(20):
        host.deliver(ALICE, message(f"smtp-{i}", 200 if i % 4 else 150000))
    r = host.cli("store", "verify", check=False)
    is_((r.returncode, r.stderr), (0, ""), "verify of a running host finds nothing")
    like(r.stdout, "the host is running", "and says that it left the index out")
    r = host.cli("store", "rebuild", check=False)
    is_(r.returncode, 2, "rebuild of a running host is refused")
    like(r.stderr, "stop it first", "and says what to do")
    killed_while_imap_writes(host)
    before = (tokens(host, "INBOX"), tokens(host, "Work"))
    is_(sorted(before[0].values()), sorted(f"smtp-{i}" for i in range(20)), "each delivery is there once")

    host.stop()
    r = host.cli("store", "verify", "--json", check=False)
    report = json.loads(r.stdout)
    is_((r.returncode, report["problems"], report["index_checked"]), (0, [], True), "verify of the stopped host finds nothing")
    os.unlink(os.path.join(host.dir, "state/store/index/data.mdb"))
    host.start()
    is_((tokens(host, "INBOX"), tokens(host, "Work")), before, "a lost index is made anew: the same mail, the same uids")
    host.stop()
    r = host.cli("store", "rebuild", check=False)
    is_(r.returncode, 0, "rebuild says how much it found: " + r.stdout.strip())

    path = log_file(host)
    end = frames_end(path)
    with open(path, "r+b") as f:
        f.seek(end + 64)  # a frame may end in zeros: stay clear of it
        f.write(b"half a frame that never became whole")
    r = host.cli("store", "verify", check=False)
    is_(r.returncode, 0, "an unfinished write is no damage")
    ok(re.search(r"\d+ bytes of an unfinished write", r.stdout), "verify says how long it is")
    host.start()
    like(host.log(), "event=store.torn-tail", "the start says that it cut it off")
    is_((tokens(host, "INBOX"), tokens(host, "Work")), before, "and nothing else is gone")
    host.stop()

    # One bit of one body.
    with open(path, "r+b") as f:
        data = f.read()
        at = data.index(b"body of smtp-7\r\n")
        f.seek(at)
        f.write(b"c")
    r = host.cli("store", "verify", check=False)
    is_(r.returncode, 1, "a flipped bit in a body is found")
    ok(re.search(r"^\d{10}\.log:\d+: .*damaged", r.stdout, re.M), "with segment and offset")
    host.start()
    m = host.imap(ALICE)
    m.select("INBOX")
    bad = [uid for uid, token in before[0].items() if token == "smtp-7"][0]
    fine = [uid for uid in before[0] if uid != bad]
    got = {}
    for uid in fine + [bad]:
        try:
            typ, data = m.uid("FETCH", str(uid), "(BODY.PEEK[])")
            got[uid] = data[0][1] if typ == "OK" and data and isinstance(data[0], tuple) else None
        except m.abort:
            got[uid] = None
            m = host.imap(ALICE)
            m.select("INBOX")
    ok(all(got[uid] and before[0][uid].encode() in got[uid] for uid in fine), "every other message is read")
    ok(not got[bad], "the damaged one is refused, not shown wrong")
    if got[bad]:
        diag(got[bad][:300])
done()
