#!/usr/bin/env python3
"""The lock of a POP3 maildrop holds for the whole host, however the account is spelled and whichever process serves it;
kill -9 of that process releases it, and no other one's."""
import os
import poplib
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, PASSWORD, done, is_, like, ok, wait_until  # noqa: E402

ACCOUNTS = [f"user{i}@example.org" for i in range(8)]


def attempt(host, address, tls=True, spelled=None):
    """(session, None), or (None, why not)."""
    try:
        c = host.pop3(tls=tls)
        c.user(spelled or address)
        c.pass_(PASSWORD)
        return c, None
    except (poplib.error_proto, OSError, EOFError) as e:
        return None, repr(e)


def owner(host, address):
    """The process that opened the account's last POP3 session."""
    return int(re.findall(r"imap\.\d+\[(\d+)\].* event=open user=%s .*proto=pop3" % re.escape(address), host.log())[-1])


with Host(accounts=ACCOUNTS) as host:
    sessions = {a: attempt(host, a)[0] for a in ACCOUNTS}
    ok(all(sessions.values()), "a session of each account")
    owners = {a: owner(host, a) for a in ACCOUNTS}
    processes = host.children()["imap"]
    is_(set(owners.values()), set(processes), f"they are on all imap processes ({len(processes)})")
    for a in ACCOUNTS:
        for tls, spelled in ((False, None), (True, a.upper())):
            c, why = attempt(host, a, tls, spelled)
            like(why or "logged in", "[IN-USE]", f"{spelled or a} a second time, {'TLS' if tls else 'plain'}")

    victim = owners[ACCOUNTS[0]]
    os.kill(victim, signal.SIGKILL)
    lost = [a for a in ACCOUNTS if owners[a] == victim]
    again = {a: wait_until(lambda a=a: attempt(host, a)[0], f"the lock of {a}", 30) for a in lost}
    ok(True, f"kill -9 of a process releases its locks ({len(lost)})")
    for a in lost:
        like(attempt(host, a)[1] or "logged in", "[IN-USE]", f"{a} is locked by its new session")
    for a in ACCOUNTS:
        if a not in lost:
            like(attempt(host, a)[1] or "logged in", "[IN-USE]", f"{a} of another process is still locked")
            is_(sessions[a].noop(), b"+OK", f"and the session of {a} goes on")
    for a in ACCOUNTS:
        again.get(a, sessions[a]).quit()
    c = wait_until(lambda: attempt(host, ACCOUNTS[-1])[0], "the lock after QUIT")
    ok(c.quit().startswith(b"+OK"), "QUIT releases it")
done()
