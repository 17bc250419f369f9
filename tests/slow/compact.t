#!/usr/bin/env python3
"""What a compaction of a running host leaves to its readers is removed when their time is over, and not while a backup
holds it; clients write and read meanwhile."""
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import Host, done, is_, ok, wait_until  # noqa: E402

ALICE = "alice@example.org"


def segments(host):
    return sorted(n for n in os.listdir(host.dir + "/state/store/log") if n.endswith(".log"))


with Host(accounts=[ALICE], groups={"limits": 'undelete = "1s";'}) as host:
    text = b"x" * 76 + b"\r\n"
    for i in range(60):
        host.deliver(ALICE, f"Subject: {i}\r\n\r\n".encode() + text * 13000)
    m = host.imap(ALICE)
    m.select("INBOX")
    m.uid("STORE", "1:50", "+FLAGS.SILENT", "(\\Deleted)")
    m.expunge()
    state = {}

    def dead():
        state.update(json.loads(host.cli("--json", "store", "compact").stdout))
        return state["segments_pending"] > 0 and state["bytes_pending"] > 40 << 20
    wait_until(dead, "what was expunged to be dead", 60)
    old = segments(host)
    stop, failures, written = threading.Event(), [], [0]

    def work():
        c = host.imap(ALICE)
        c.select("INBOX")
        while not stop.is_set():
            written[0] += 1
            c.append("INBOX", None, None, b"Subject: new\r\n\r\n" + text * 10)
            for part in c.uid("FETCH", "51:*", "(BODY.PEEK[]<0.5000>)")[1]:
                if isinstance(part, tuple) and b"Subject" not in part[1]:
                    failures.append(part[0])
            time.sleep(0.02)
        c.logout()
    thread = threading.Thread(target=work)
    thread.start()
    begun = time.monotonic()
    wait_until(lambda: len(segments(host)) < len(old), "the dead segments to go", 100)
    took = time.monotonic() - begun
    stop.set()
    thread.join()
    ok(took > 55, f"they stay as long as a reader may want them: {took:.0f} s")
    is_(failures, [], f"{written[0]} rounds of a session that wrote and read meanwhile")
    r = host.cli("store", "verify", check=False)
    ok(r.returncode == 0, "verify, online: " + r.stdout)
    host.stop()
    r = host.cli("store", "verify", check=False)
    ok(r.returncode == 0, "verify, offline: " + r.stdout)
done()
