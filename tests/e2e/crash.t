#!/usr/bin/env python3
"""kill -9 of each process, and of all at once, under load: every message that got 250 is there exactly once after restart."""
import collections
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, is_, ok, wait_until  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"


class Load(threading.Thread):
    """Sends numbered messages until told to stop, through whatever dies under it."""

    def __init__(self, host, name, service="smtp"):
        super().__init__(daemon=True)
        self.host, self.name, self.service = host, name, service
        self.acknowledged, self.attempts, self.running = set(), 0, True

    def run(self):
        connection = None
        while self.running:
            token = f"{self.name}-{self.attempts}"
            self.attempts += 1
            try:
                if connection is None:
                    connection = self.host.smtp()
                    connection.ehlo("load.example")
                connection.mail("load@example.net")
                connection.rcpt(ALICE)
                code, _ = connection.data(f"From: <load@example.net>\r\nX-Token: {token}\r\n\r\n{'body ' * 400}\r\n".encode())
                if code == 250:
                    self.acknowledged.add(token)
            except Exception:  # the process behind the connection was killed: the next message takes a new one
                connection = None
                time.sleep(0.01)


def tokens(host):
    m = host.imap(ALICE)
    m.select("INBOX", readonly=True)
    answer = m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (X-Token)])")[1]
    m.logout()
    return collections.Counter(re.search(rb"X-Token: (\S+)", part[1]).group(1).decode() for part in answer if isinstance(part, tuple))


def under_load(host, what, kill):
    loads = [Load(host, f"{what}-{i}") for i in range(4)]
    for load in loads:
        load.start()
    wait_until(lambda: all(len(x.acknowledged) > 20 for x in loads), f"{what}: load flows", 60)
    before = {x.name: len(x.acknowledged) for x in loads}
    kill()
    wait_until(lambda: all(len(x.acknowledged) > before[x.name] + 20 for x in loads), f"{what}: load flows again", 90)
    for load in loads:
        load.running = False
    for load in loads:
        load.join(30)
    return loads


def judge(host, loads, what):
    seen = tokens(host)
    sent = set().union(*(x.acknowledged for x in loads))
    lost = sorted(sent - set(seen))
    twice = sorted(t for t, n in seen.items() if n > 1)
    if not ok(not lost, f"{what}: none of {len(sent)} acknowledged messages is lost"):
        diag(f"lost: {lost[:10]}")
    # A message may be there unacknowledged (the reply was lost with the process), but never twice: the load never sends one again.
    if not ok(not twice, f"{what}: none is there twice"):
        diag(f"twice: {twice[:10]}")


def kill_role(host, role):
    def kill():
        pids = [p for name, ps in host.children().items() if name.split(":")[0] == role for p in ps]
        if not pids:
            diag(f"roles: {host.children()}")
            raise RuntimeError(f"no process of role {role}")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    return kill


def kill_everything(host, only_monitor=False):
    """All at once; or monitor alone, with which its children die."""
    def kill():
        pids = [host.process.pid] + ([] if only_monitor else [p for ps in host.children().values() for p in ps])
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        host.process.wait()
        host.process.stdout.close()
        host.process = None
        host.start()
    return kill


with Host(accounts=[ALICE, BOB], groups={"limits": "connections_per_address = 1000;"}) as host:
    for role in ("smtp", "store", "imap", "login", "auth", "hash", "keys", "resolver", "send"):
        loads = under_load(host, role, kill_role(host, role))
        wait_until(lambda: host.cli("status", check=False).returncode == 0, f"all is up after {role}", 60)
        judge(host, loads, f"kill -9 of {role}")
    loads = under_load(host, "monitor", kill_everything(host, only_monitor=True))
    judge(host, loads, "kill -9 of monitor")
    loads = under_load(host, "everything", kill_everything(host))
    judge(host, loads, "kill -9 of all at once")
    loads = under_load(host, "everything-again", kill_everything(host))
    judge(host, loads, "kill -9 of all at once, again")
    host.stop()
    r = host.cli("store", "verify", check=False)
    is_(r.returncode, 0, "store verify finds nothing: " + r.stdout[-500:] + r.stderr[-500:])
    r = host.cli("store", "rebuild", check=False)
    is_(r.returncode, 0, "the index can be rebuilt from the log: " + r.stderr[-500:])
    host.start()
    judge(host, loads, "after rebuild")
done()
