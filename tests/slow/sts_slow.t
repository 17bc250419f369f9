#!/usr/bin/env python3
"""MTA-STS where the policy's server says nothing, or drips: mail is late by seconds, and only the first one."""
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import Host, done, is_, ok, skip_all, wait_until  # noqa: E402
from send_peers import Named, Peer, free_port  # noqa: E402

if shutil.which("named", path=os.environ["PATH"] + ":/usr/sbin") is None:
    skip_all("named is missing")
MX, WEB = "127.0.5.1", "127.0.5.2"
LIMIT = 40  # of what send waits for a policy


def mute(listener, held):
    """Takes connections and never says a word."""
    while True:
        try:
            held.append(listener.accept()[0])
        except OSError:
            return


def send(host, to):
    """Seconds until it was sent."""
    begin = time.monotonic()
    with host.smtp("submissions") as s:
        s.login("alice@example.org", host.accounts["alice@example.org"])
        s.sendmail("alice@example.org", [to], ("From: <alice@example.org>\r\nSubject: x\r\n\r\nx\r\n").encode())
    wait_until(lambda: re.search(r"event=sent id=\S+ to=%s " % re.escape(to), host.log()), to + " to be sent", LIMIT + 30)
    return time.monotonic() - begin


dir = tempfile.mkdtemp(prefix="sts-slow-", dir="/tmp")
port, web_port = free_port([MX]), free_port([WEB])
peer, held, listener = Peer(MX, port), [], socket.socket()
listener.bind((WEB, web_port))
listener.listen(50)
threading.Thread(target=mute, args=(listener, held), daemon=True).start()
named = Named(dir, "mx A %s\nmute MX 10 mx\n_mta-sts.mute TXT \"v=STSv1; id=1\"\nmta-sts.mute A %s\nfree MX 10 mx\n" % (MX, WEB))
groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port,
          "relay": "port_out = %d; https_port = %d;" % (port, web_port)}
try:
    with Host(accounts=["alice@example.org"], groups=groups) as host:
        waiter = []
        first = threading.Thread(target=lambda: waiter.append(send(host, "one@mute.example")))
        first.start()
        wait_until(lambda: held, "the policy to be asked for", 30)
        ok(send(host, "x@free.example") < 10, "others do not wait for it")
        first.join()
        ok(5 < waiter[0] < LIMIT + 10, "a mute server delays mail by its time limit (%.1f s)" % waiter[0])
        ok("result=sts-policy-fetch-error" in host.log(), "which is counted")
        count = len(held)
        ok(send(host, "two@mute.example") < 10, "the next message does not wait")
        is_(len(held), count, "since the server is left alone for a while")
finally:
    named.stop()
    peer.stop()
    listener.close()
    shutil.rmtree(dir, ignore_errors=True)
done()
