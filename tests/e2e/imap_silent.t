#!/usr/bin/env python3
"""A silent STORE of 5,000 messages takes several commits; what another session changes between them is told all the same."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE = "alice@example.org"
MESSAGES = 5000
TARGETS = 60  # flagged by the other session in each round
ROUNDS = 12


def session(host):
    raw = RawImap(host.connect("imap"))
    raw.ok('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))
    return raw


def told(lines):
    """{sequence number: flags} of untagged FETCH lines, the last one of each."""
    out = {}
    for line in lines:
        m = re.match(rb"\* (\d+) FETCH \(.*?FLAGS \(([^)]*)\)", line)
        if m:
            out[int(m.group(1))] = frozenset(f for f in m.group(2).split() if f != b"\\Recent")
    return out


def fill(raw):
    raw.ok("CREATE box")
    raw.append("box", b"Subject: one\r\n\r\ntext\r\n")
    raw.ok("SELECT box")
    have = 1
    while have < MESSAGES:
        raw.ok("COPY 1:%d box" % min(have, MESSAGES - have))
        have = min(2 * have, MESSAGES)
        raw.ok("NOOP")


def silent_round(a, b, number):
    """A changes all silently while B changes some, one after another; (what A was told, what A must believe)."""
    sign, other = ("+", "-") if number % 2 == 0 else ("-", "+")
    step = MESSAGES // TARGETS
    tag = a.start("STORE 1:* %sFLAGS.SILENT (\\Seen)" % sign)
    tags = [b.start("STORE %d %sFLAGS.SILENT (\\Flagged)" % (1 + i * step, other)) for i in range(TARGETS)]
    status, lines = a.finish(tag)
    assert status.startswith(b"OK"), status
    for t in tags:
        assert b.finish(t)[0].startswith(b"OK")
    return sign, told(lines + a.ok("NOOP"))


with Host(accounts=[ALICE]) as host:
    a, b = session(host), session(host)
    fill(a)
    b.ok("SELECT box")
    a.ok("SELECT box")
    view = told(a.ok("FETCH 1:* FLAGS"))
    is_(len(view), MESSAGES, "there are 5,000 messages")
    hidden = 0
    for number in range(ROUNDS):
        sign, heard = silent_round(a, b, number)
        for seq in view:
            view[seq] = view[seq] | {b"\\Seen"} if sign == "+" else view[seq] - {b"\\Seen"}
        view.update(heard)
        truth = told(a.ok("FETCH 1:* FLAGS"))
        wrong = sorted(seq for seq in truth if truth[seq] != view[seq])
        if wrong:
            diag("round %d: %s" % (number, wrong[:20]))
        hidden += len(wrong)
        view = truth
    is_(hidden, 0, "a session that stores silently is told what another changes meanwhile")
    a.ok("STORE 1:* +FLAGS.SILENT (\\Answered)")
    is_(a.ok("NOOP"), [], "with nobody else about, 5,000 silent changes stay silent")
    a.ok("STORE 1:2500 -FLAGS.SILENT (\\Answered)")
    b.ok("STORE 3000 +FLAGS.SILENT ($Late)")
    is_(list(told(a.ok("NOOP"))), [3000], "what comes after is told alone")
done()
