#!/usr/bin/python3
"""Checks of mail from outside before its content: early talkers, EHLO, reverse DNS, lists of addresses, SPF, each off, mark and
refuse; who is not checked."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from check_peers import *  # noqa: E402,F403
from host import done, is_, like, ok  # noqa: E402
from smtp_talk import Talk  # noqa: E402

enter_peers()


def early(host, world):
    late = 'tarpit = "1s"; '  # a nameless peer is greeted after that: time enough to be early
    rules(host, off_but("early_talker", "refuse").replace('reverse_dns = "off"', 'reverse_dns = "mark"') + late)
    with From(host, NAMELESS, greet=False) as t:
        t.send(b"EHLO x.example\r\n")
        is_(t.reply()[0], 554, "early talker, refuse: turned away")
        ok(t.closed(), "and the connection ends")
    rules(host, off_but("early_talker", "mark").replace('reverse_dns = "off"', 'reverse_dns = "mark"') + late)
    with From(host, NAMELESS, greet=False) as t:
        t.send(b"EHLO x.example\r\nMAIL FROM:<s@good.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
        is_([t.reply()[0] for _ in range(5)], [220, 250, 250, 250, 354], "mark: all is answered after the greeting")
        t.send(b"Subject: early\r\n\r\nx\r\n.\r\n")
        is_(t.reply()[0], 250, "and the mail is taken")
    like(last(host), "early_talker=yes", "which says so")
    rules(host, ALL_OFF.replace('greylist = "off"', 'greylist = "mark"') + late)
    with From(host, NAMELESS, greet=False) as t:
        t.send(b"EHLO x.example\r\nMAIL FROM:<s@good.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
        is_([t.reply()[0] for _ in range(5)], [220, 250, 250, 250, 354], "off: all is answered")
        t.send(b"Subject: early\r\n\r\nx\r\n.\r\n")
        is_(t.reply()[0], 250, "and the mail is taken")
    ok("early_talker" not in last(host), "without a mark")


def helo(host, world):
    names = {"localhost": "no-dot", "mail.example.org": "ours", "[192.0.2.51]": "not-yours", "nowhere.example": "not-in-dns"}
    rules(host, off_but("helo", "refuse"))
    for name, word in names.items():
        code, text = one(host, GOOD, "s@good.example", helo=name)
        is_((code, text[:5]), (550, "5.7.1"), "EHLO %s is refused: %s" % (name, text))
        like(checked(host)[-1], "helo-check=" + word, "and the log says why")
    for name in ("mx.good.example", "[192.0.2.50]"):
        is_(one(host, GOOD, "s@good.example", helo=name)[0], 250, "EHLO %s is fine" % name)
    ok("X-Mailadm-Checks" not in last(host), "without a mark")
    is_(one(host, GOOD, "s@good.example", to="postmaster@example.org", helo="nowhere.example")[0], 250, "postmaster can be reached all the same")
    like(last(host), "X-Mailadm-Checks: helo=not-in-dns", "marked")
    rules(host, off_but("helo", "mark"))
    is_(one(host, GOOD, "s@good.example", helo="nowhere.example")[0], 250, "mark: taken")
    like(last(host), "X-Mailadm-Checks: helo=not-in-dns\r\n", "and named")
    rules(host, ALL_OFF)
    is_(one(host, GOOD, "s@good.example", helo="nowhere.example")[0], 250, "off: taken")
    ok("X-Mailadm-Checks" not in last(host), "without a word")


def reverse_dns(host, world):
    rules(host, off_but("reverse_dns", "refuse"))
    code, text = one(host, NAMELESS, "s@good.example")
    is_((code, text[:6]), (550, "5.7.25"), "no reverse DNS is refused: " + text)
    is_(one(host, GOOD, "s@good.example")[0], 250, "one that leads back is fine")
    like(last(host).replace("\r\n\t", " "), "iprev=pass", "and Authentication-Results says so")
    rules(host, off_but("reverse_dns", "mark"))
    is_(one(host, NAMELESS, "s@good.example")[0], 250, "mark: taken")
    like(last(host), "X-Mailadm-Checks: reverse_dns=permerror\r\n", "and named")
    rules(host, ALL_OFF)
    is_(one(host, NAMELESS, "s@good.example")[0], 250, "off: taken")
    ok("X-Mailadm-Checks" not in last(host) and "iprev" not in last(host), "without a word")


def lists(host, world):
    rules(host, ALL_OFF, lists=True)
    code, text = one(host, LISTED, "s@good.example")
    is_((code, text), (550, "5.7.1 192.0.2.80 is listed by bl.example: see https://bl.example/192.0.2.80"), "listed: refused with the list's words")
    like(checked(host)[-1], "lists=bl.example:listed:refuse", "and the log names the list")
    is_(one(host, LISTED, "s@good.example", to="postmaster@example.org")[0], 250, "but not for postmaster")
    is_(one(host, SOFT, "s@good.example")[0], 250, "a list with action mark, and a code that does not count: taken")
    like(last(host), "X-Mailadm-Checks: block_list=soft-bl.example (127.0.0.4)\r\n", "and named")
    is_(one(host, ALLOWED, "s@good.example")[0], 250, "an allow list wins over a block list")
    is_(one(host, GOOD, "s@good.example")[0], 250, "a list that answers 127.255.255.254 says nothing")
    like(host.log(), "event=list-failed list=soft-bl.example", "but for the log")


def spf(host, world):
    rules(host, off_but("spf", "refuse"))
    is_(one(host, GOOD, "s@strict.example"), (550, "5.7.23 SPF of strict.example does not allow your address; it says: 192.0.2.50 may not send for strict.example"),
        "SPF fail is refused with the domain's explanation")
    code, text = one(host, GOOD, "s@wordy.example")
    ok(code == 550 and "xxx" in text and len(text) <= 506, "a long one is cut to what a reply may hold: %d" % len(text))
    for sender, word in (("s@good.example", "pass"), ("s@soft.example", "softfail"), ("s@none.example", "none"), ("", "none")):
        is_(one(host, GOOD, sender)[0], 250, "SPF %s is taken" % word)
        like(last(host), "spf=" + word, "and Authentication-Results says so")
    like(checked(host)[-4], "spf-mechanism=ip4:192.0.2.50", "the log has the term that decided")
    rules(host, off_but("spf", "mark"))
    is_(one(host, GOOD, "s@strict.example")[0], 250, "mark: fail is taken")
    like(last(host), "X-Mailadm-Checks: spf=fail\r\n", "and named")
    rules(host, ALL_OFF)
    is_(one(host, GOOD, "s@strict.example")[0], 250, "off: taken")
    ok("spf" not in last(host), "without a word")


def unchecked(host, world):
    rules(host, "".join('%s = "refuse"; ' % r for r in ("helo", "reverse_dns", "spf", "greylist")), lists=True)
    is_(one(host, TRUSTED, "s@strict.example", helo="nowhere.example")[0], 250, "checks.trusted is not checked")
    with Talk(host) as t:
        is_(t.transaction(b"Authentication-Results: mail.example.org; dmarc=pass header.from=bank.example\r\nAuthentication-Results: other.example; spf=pass\r\n"
                          b"X-Mailadm-Checks: nothing=wrong\r\nSubject: loopback\r\n\r\nx\r\n.\r\n", sender="s@strict.example")[0], 250, "nor is this machine")
    text = last(host)
    ok("bank.example" not in text and "nothing=wrong" not in text, "but what it claims in our name is taken out")
    like(text, "Authentication-Results: other.example; spf=pass\r\n", "what others say stays")


run(early, helo, reverse_dns, lists, spf, unchecked)
done()
