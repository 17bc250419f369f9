#!/usr/bin/python3
"""Greylisting, tarpit and rates; a resolver that hangs or is dead, and clients that go away while they wait for it."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from check_peers import *  # noqa: E402,F403
from host import done, freeze, is_, like, ok, wait_until  # noqa: E402

enter_peers()


def greylist(host, world):
    rules(host, off_but("greylist", "refuse"))
    is_(one(host, GOOD, "s@good.example")[0], 250, "who looks well is not greylisted")
    code, text = one(host, DYNAMIC, "s@good.example")
    is_((code, text[:5]), (451, "4.7.1"), "a dynamic name is: " + text)
    like(checked(host)[-1], "result=greylisted reason=dynamic-name", "and the log says why")
    is_(one(host, DYNAMIC, "other@good.example")[0], 451, "another sender too")
    is_(one(host, DYNAMIC, "s@good.example")[0], 451, "too early")
    host.restart()
    wait_until(lambda: one(host, DYNAMIC, "s@good.example")[0] == 250, "the second try", 10)
    ok(True, "later, after a restart, it is taken")
    is_(one(host, DYNAMIC, "third@good.example", to="bob@example.org")[0], 250, "and then its network is known")
    is_(one(host, NEIGHBOUR, "g@good.example")[0], 250, "as is a neighbour in its /24, which has no name")
    rules(host, off_but("greylist", "refuse").replace('spf = "off"', 'spf = "mark"'))
    os.unlink(os.path.join(host.dir, "state/greylist"))
    host.restart()
    is_(one(host, GOOD, "s@soft.example")[0], 451, "SPF softfail is doubtful")
    is_(one(host, GOOD, "s@good.example")[0], 250, "and the same host with SPF pass is not")
    rules(host, off_but("greylist", "mark"))
    is_(one(host, DYNAMIC, "m@good.example")[0], 250, "mark: taken")
    like(last(host), "X-Mailadm-Checks: greylist=would wait\r\n", "and named")
    rules(host, ALL_OFF)
    is_(one(host, DYNAMIC, "n@good.example")[0], 250, "off: taken")


def slow(host, world):
    rules(host, off_but("reverse_dns", "mark") + 'tarpit = "1s"; ')
    start = time.monotonic()
    From(host, NAMELESS).sock.close()
    ok(time.monotonic() - start >= 0.9, "a doubtful peer is greeted late")
    start = time.monotonic()
    with From(host, GOOD) as t:
        ok(time.monotonic() - start < 0.9, "another is not")
        t.codes("EHLO mx.good.example", "MAIL FROM:<s@good.example>", "RCPT TO:<nobody@example.org>")
        start = time.monotonic()
        is_(t.codes("RCPT TO:<nobody2@example.org>", "RCPT TO:<nobody3@example.org>", "NOOP"), [550, 550, 250], "refusals")
        ok(time.monotonic() - start >= 1.8, "after the first slow a stranger down")
    rules(host, ALL_OFF + "connection_rate = 3; ")
    is_([From(host, FLOOD).greeting[0] for _ in range(5)], [220, 220, 220, 421, 421], "new connections a minute are limited")
    is_(From(host, GOOD).greeting[0], 220, "for each address by itself")
    rules(host, ALL_OFF + "command_rate = 300; ")
    with From(host, LISTED) as t:
        start = time.monotonic()
        is_(t.pipeline(b"NOOP\r\n" * 310, 310), [250] * 310, "too many commands a minute are answered")
        ok(time.monotonic() - start >= 1, "but slowly")


def trouble(host, world):
    everything = "".join('%s = "refuse"; ' % r for r in ("early_talker", "helo", "reverse_dns", "dkim", "dmarc", "greylist"))
    rules(host, everything, lists=True)
    named = world.servers["resolver"].process
    freeze(named.pid)
    try:
        start = time.monotonic()
        code, text = one(host, NAMELESS, "s@strict.example", helo="nowhere2.example", content=b"From: <a@unseen.example>\r\nSubject: hang\r\n\r\nx\r\n")
        took = time.monotonic() - start
        is_(code, 250, "a resolver that hangs: mail is taken, " + text)
        ok(2 < took < 8, "after seconds (%.1f)" % took)
        like(last(host), "Subject: hang", "it is there")
        like(checked(host)[-1], "iprev=temperror", "and the log says that there were no answers")
        rules(host, 'spf = "refuse"; ')
        code, text = one(host, NAMELESS, "s@strict2.example", helo="nowhere2.example")
        is_((code, text[:6]), (451, "4.7.24"), "with spf = refuse it is put off: " + text)
        rules(host, everything, lists=True)
        waiting = [From(host, NAMELESS, greet=False) for _ in range(20)]
        for t in waiting:
            t.sock.close()
        t = From(host, NAMELESS)
        t.send(b"EHLO a.example\r\nMAIL FROM:<s@strict3.example>\r\n")
        t.reply(), t.reply()
        t.sock.close()
        t = From(host, TRUSTED)
        is_(t.mail("s@strict.example")[0], 250, "a trusted peer does not wait")
        t.sock.close()
    finally:
        named.send_signal(signal.SIGCONT)
    wait_until(lambda: host.log().count("event=connect") == host.log().count("event=disconnect"), "all sessions to end", 15)
    ok(True, "clients that went away while they waited leave nothing")
    resolver = host.children()["resolver"][0]
    os.kill(resolver, signal.SIGKILL)
    is_(one(host, GOOD, "s@good.example", content=b"From: <a@good.example>\r\nSubject: killed\r\n\r\nx\r\n")[0], 250, "mail comes while the resolver role is killed")
    world.servers["resolver"].stop()
    is_(one(host, NAMELESS, "s@dead.example", helo="nowhere3.example", content=b"From: <a@dead.example>\r\nSubject: dead\r\n\r\nx\r\n")[0], 250, "and while named is dead")


run(greylist, slow, trouble)
done()
