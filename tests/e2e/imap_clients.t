#!/usr/bin/env python3
"""What real clients say, in their order; news for idle sessions in time; more news than a slow reader takes; and a store
and an auth that die in the middle of every command."""
import os
import re
import select
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import BUILD, Host, diag, done, is_, like, ok, wait_until  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
MESSAGE = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: test\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"


def raw(host, user, tls=False):
    c = RawImap(host.connect_tls("imaps") if tls else host.connect("imap"))
    c.ok('LOGIN %s "%s"' % (user, host.accounts[user]))
    return c


def thunderbird(host):
    for i in range(3):
        host.deliver(ALICE, b"Subject: %d\r\n\r\nx\r\n" % i)
    c = raw(host, ALICE, tls=True)
    like(c.ok('ID ("name" "Thunderbird" "version" "115.0")')[0], b"* ID (", "Thunderbird: ID")
    is_(c.ok("NAMESPACE"), [b'* NAMESPACE (("" "/")) (("user/" "/")) (("shared/" "/"))'], "NAMESPACE")
    is_(c.cmd("ENABLE X-NOTHING")[1], [b"* ENABLED"], "ENABLE of what is not offered")
    ok(not any(b"Subscribed" in l for l in c.ok('LIST "" "*"')), "LIST says nothing of subscriptions unasked")
    is_(len(c.ok('LIST (SUBSCRIBED) "" "*" RETURN (SPECIAL-USE)')), 5, "LIST (SUBSCRIBED)")
    is_(len(c.ok('LSUB "" "*"')), 5, "LSUB")
    is_([l for l in c.ok('LIST "" INBOX')], [b'* LIST (\\HasNoChildren) "/" "INBOX"'], "LIST INBOX")
    c.ok('select "INBOX"')
    lines = c.ok("UID fetch 1:* (FLAGS)")
    is_([re.sub(rb" \\Recent|\\Recent", b"", l) for l in lines],
        [b"* %d FETCH (UID %d FLAGS ())" % (i, i) for i in (1, 2, 3)], "UID FETCH 1:* (FLAGS)")
    lines = c.ok('UID fetch 1:3 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID '
                 'Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])')
    ok(len(lines) == 3 and all(b"\\Seen" not in l and b"Subject: " in l for l in lines), "the headers it shows")
    c.ok('UID fetch 2 (UID RFC822.SIZE BODY[])')
    like(c.ok("UID fetch 2 (FLAGS)")[0], b"\\Seen", "reading marks as read")
    is_(c.ok("UID SEARCH UNDELETED"), [b"* SEARCH 1 2 3"], "UID SEARCH UNDELETED")
    c.ok('uid copy 3 "Trash"')
    like(c.ok("uid store 3 +FLAGS (\\Deleted \\Seen)")[0], b"* 3 FETCH (UID 3 FLAGS (", "delete: copy, then the flag")
    is_(c.ok("UID EXPUNGE 3"), [b"* 3 EXPUNGE"], "UID EXPUNGE")
    like(c.cmd('UID MOVE 1 "Trash"')[1][0], b"[COPYUID", "or UID MOVE")
    like(c.append('"Sent"', MESSAGE, '(\\Seen) "24-Nov-2026 10:00:00 +0100" '), b"OK [APPENDUID", "a copy into Sent")
    c.ok('select "Sent"')
    like(c.ok("fetch 1 (FLAGS INTERNALDATE)")[0], b'INTERNALDATE "24-Nov-2026 09:00:00 +0000"', "with its date")
    c.ok("close")
    is_(c.ok('STATUS "Trash" (UIDNEXT MESSAGES UNSEEN RECENT)')[0][-1:], b")", "STATUS")
    c.ok("logout")
    c.close()


def apple(host):
    c = raw(host, ALICE)
    c.ok('ID ("name" "Mac OS X Mail" "version" "16.0" "os" "Mac OS X" "vendor" "Apple Inc.")')
    c.ok('CREATE "Projects/"')
    c.ok('CREATE "a/b/c"')
    is_(sorted(l.split(b'"')[3] for l in c.ok('LIST "" "a*"')), [b"a", b"a/b", b"a/b/c"], "Apple Mail: CREATE a/b/c")
    is_(c.ok('LIST "" "Projects"'), [b'* LIST (\\HasNoChildren) "/" "Projects"'], "CREATE with a slash at the end")
    c.ok('RENAME "a/b" "a/x"')
    is_(sorted(l.split(b'"')[3] for l in c.ok('LIST "" "a*"')), [b"a", b"a/x", b"a/x/c"], "RENAME with children")
    for name in (b'"R &- D"', b'"say \\"hi\\""', b'"back\\\\slash"', b'"&ZeVnLIqe-/&U,BTFw-"', b"{6+}\r\npl us+"):
        status = c.cmd(b"CREATE " + name)[0]
        ok(status[:2] == b"OK", "CREATE %r" % name) or diag(status)
        like(c.append(name.decode(), MESSAGE), b"OK [APPENDUID", "APPEND into it")
        is_(len(c.cmd(b"STATUS " + name + b" (MESSAGES)")[1]), 1, "STATUS of it")
        is_(c.cmd(b"SELECT " + name)[0][:2], b"OK", "SELECT of it")
        quoted = name if name[:1] == b'"' else b'"' + name.split(b"\r\n")[-1] + b'"'
        ok(any(l.endswith(b" " + quoted) for l in c.ok('LIST "" "*"')), "LIST has it, quoted")
        c.ok("CLOSE")
        is_(c.cmd(b"DELETE " + name)[0][:2], b"OK", "DELETE of it")
    like(c.cmd('CREATE "50%"')[0], b"NO [CANNOT]", "wildcards are no names")
    like(c.cmd("DELETE INBOX")[0], b"NO", "DELETE of INBOX")
    like(c.cmd("DELETE inbox")[0], b"NO", "in any case")
    c.ok("SELECT INBOX")
    c.ok("CHECK")
    is_(c.cmd("FETCH 1:* (FLAGS UID) ")[0][:3], b"BAD", "a space at the end")
    c.close()


def outlook(host):
    c = raw(host, ALICE, tls=True)
    c.ok("CAPABILITY")
    c.ok('LIST "" ""')
    c.ok('LIST "" "Sent"')
    c.ok('SUBSCRIBE "Sent"')
    c.ok('EXAMINE "INBOX"')
    c.ok('SELECT "INBOX"')
    c.ok("UID FETCH 1:* (UID FLAGS BODYSTRUCTURE BODY.PEEK[HEADER] RFC822.SIZE INTERNALDATE)")
    c.ok("UID SEARCH 1:* NOT DELETED SINCE 1-Jan-2020")
    c.send(b"o1 IDLE\r\n")
    is_(c.line(), b"+ idling", "Outlook: IDLE")
    c.send(b"DONE\r\no2 NOOP\r\n")
    like(c.line(), b"o1 OK", "DONE and the next command at once")
    like(c.line(), b"o2 OK", "are both answered")
    c.close()


def idle_news(host):
    """Each kind of news, in the best of a few tries: other tests run beside this one."""
    c, other = raw(host, BOB, tls=True), raw(host, BOB)
    c.ok("SELECT INBOX")
    other.ok("SELECT INBOX")
    c.send(b"i IDLE\r\n")
    c.line()
    best = {}

    def timed(kind, act, wanted):
        start = time.monotonic()
        act()
        line = c.line()
        best[kind] = min(best.get(kind, 9), time.monotonic() - start)
        if not re.match(wanted, line):
            raise AssertionError("%s: %r" % (kind, line))

    smtp = host.smtp()

    def deliver():
        smtp.sendmail("x@example.net", [BOB], b"Subject: x\r\n\r\nx\r\n")

    def pop3():
        p = host.pop3(BOB)
        p.dele(1)
        p.quit()
    for _ in range(3):
        timed("delivery", deliver, rb"\* 1 EXISTS")
        c.line()
        other.ok("NOOP")
        timed("STORE", lambda: other.ok("STORE 1 +FLAGS (\\Deleted)"), rb"\* 1 FETCH")
        timed("EXPUNGE", lambda: other.ok("EXPUNGE"), rb"\* 1 EXPUNGE")
        deliver()
        c.line(), c.line()
        timed("POP3", pop3, rb"\* 1 EXPUNGE")
        other.ok("NOOP")
    c.close()
    for kind, seconds in best.items():
        ok(seconds < (0.1 if kind != "POP3" else 0.3), "news of %s reaches IDLE in time" % kind) or diag(seconds)


def private(host):
    total = 0
    for pid in host.children()["imap"]:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += int(re.search(r"Private_Dirty:\s+(\d+)", f.read()).group(1))
    return total


def sanitized():
    with open(os.path.join(BUILD, "mailsvc"), "rb") as f:
        return b"__asan_init" in f.read()


def slow_reader(host):
    """65,536 flag changes with 300 bytes each for a client that does not read: memory stays, others are served."""
    c, other = raw(host, CAROL), raw(host, CAROL)
    c.ok("CREATE big")
    c.append("big", b"Subject: x\r\n\r\nx\r\n")
    while b"* 65536 EXISTS" not in c.ok("SELECT big"):
        c.ok("COPY 1:* big")
    other.ok("SELECT big")
    words = " ".join("keyword-%d-%s" % (i, "x" * 45) for i in range(5))
    other.ok("STORE 1:* +FLAGS.SILENT (%s)" % words)
    before = private(host)
    tag = c.start("NOOP")
    slowest = 0
    for _ in range(50):
        start = time.monotonic()
        other.ok("NOOP")
        slowest = max(slowest, time.monotonic() - start)
    ok(slowest < 0.5, "beside a long synchronisation others are served") or diag(slowest)
    grown = private(host) - before
    if sanitized():
        ok(True, "it costs a slice of memory # SKIP a sanitizer's memory says nothing")
    else:
        ok(grown < 8000, "it costs a slice of memory, not all of it") or diag("%d KiB" % grown)
    status, lines = c.finish(tag)
    fetched = [int(l.split(b" ")[1]) for l in lines if b" FETCH " in l]
    is_((status[:2], sorted(fetched)), (b"OK", list(range(1, 65537))), "and everything is told, once")
    is_(c.ok("NOOP"), [], "and then there is no more")

    other.ok("STORE 1:65536 +FLAGS.SILENT (\\Deleted)")
    c.send(b"i IDLE\r\n")
    is_(c.line(), b"+ idling", "IDLE with a long synchronisation")
    c.send(b"DONE\r\nn NOOP\r\n")
    lines = c.finish(b"i")[1]
    is_(sum(b" FETCH " in l for l in lines), 65536, "is told everything before it ends")
    is_(c.line(), b"n OK NOOP completed.", "and the next command is answered")
    is_(sum(l.endswith(b"EXPUNGE") for l in other.ok("UID EXPUNGE 1:10000")), 10000, "10,000 expunges")
    is_(sum(l.endswith(b"EXPUNGE") for l in other.ok("MOVE 1:* Trash")), 55536, "and a MOVE of all others")
    is_(sum(l.endswith(b"EXPUNGE") for l in c.ok("NOOP")), 65536, "reach the other session")
    c.append("big", b"x\r\n")
    is_(len(c.ok("FETCH 1:* FLAGS")), 1, "with the right numbers")
    c.close()
    other.close()


class Mirror:
    """A session and what it knows of its mailbox, from what it is told and nothing else."""

    def __init__(self, host, user, mailbox):
        self.c = raw(host, user)
        self.c.ok("SELECT " + mailbox)
        self.uids = self.all()

    def all(self):
        lines = self.c.ok("FETCH 1:* UID")
        ok([int(l.split(b" ", 2)[1]) for l in lines] == list(range(1, len(lines) + 1)), "FETCH 1:*: each number once")
        return [int(l.split(b" ")[4][:-1]) for l in lines]

    def told(self, lines):
        """Takes out the expunged (in runs of falling numbers, for speed) and returns how many those were."""
        gone = [int(l.split(b" ")[1]) for l in lines if l.endswith(b" EXPUNGE")]
        first = 0
        for i in range(1, len(gone) + 1):
            if i == len(gone) or gone[i] != gone[i - 1] - 1:
                if gone[first] > len(self.uids) or gone[i - 1] < 1:
                    raise AssertionError("* %d EXPUNGE of %d messages" % (gone[first], len(self.uids)))
                del self.uids[gone[i - 1] - 1:gone[first]]
                first = i
        return len(gone)


def long_ago(host):
    """More expunges at once than store remembers (100,000): every session is told of each."""
    seed = raw(host, CAROL)
    seed.ok("CREATE many")
    seed.append("many", b"x\r\n")
    while b"* 131072 EXISTS" not in seed.ok("SELECT many"):
        seed.ok("COPY 1:* many")
    one, two, other = (Mirror(host, CAROL, "many") for _ in range(3))
    other.c.ok("STORE 41:60000,60002:130000 +FLAGS.SILENT (\\Deleted)")
    is_(other.told(other.c.ok("EXPUNGE")), 129959, "129,959 messages are expunged, and EXPUNGE tells of each")
    other.c.ok("UID STORE 60001 +FLAGS (\\Flagged)")
    seed.append("many", b"new\r\n")
    lines = one.c.ok("FETCH 131072 UID")  # no expunges here, but all else
    is_([l for l in lines if not l.startswith(b"* 131072 FETCH (UID") and not l.endswith(b"RECENT")],
        [b"* 60001 FETCH (FLAGS (\\Flagged))", b"* 131073 EXISTS"],
        "FETCH tells of flags and arrivals with the old numbers")
    one.uids.append(131073)
    other.c.ok("UID STORE 1:40 +FLAGS.SILENT (\\Deleted)")
    tag = one.c.start("NOOP")
    tags = [other.c.start("UID EXPUNGE %d" % uid) for uid in range(1, 41)]  # some between the slices of that NOOP
    is_(sum(other.told(other.c.finish(t)[1]) for t in tags), 40, "40 more while a session is being told")
    gone = one.told(one.c.finish(tag)[1])
    is_(gone + one.told(one.c.ok("NOOP")), 129999, "NOOP tells the session that saw the FETCH of each")
    lines = two.c.ok("NOOP")
    is_((two.told(lines), [l for l in lines if not l.endswith((b"EXPUNGE", b"RECENT"))]),
        (129999, [b"* 1 FETCH (FLAGS (\\Flagged))", b"* 1074 EXISTS"]),
        "and the one that saw nothing yet, which hears of flags too")
    two.uids.append(131073)
    want = [60001] + list(range(130001, 131074))
    is_([m.uids == want for m in (one, two)], [True, True], "by the right numbers")
    is_([m.all() == want for m in (one, two)], [True, True], "which are those of FETCH")
    is_(one.c.ok("STATUS many (MESSAGES)"), [b'* STATUS "many" (MESSAGES 1074)'], "and of STATUS")
    one.c.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    is_(one.c.ok("EXPUNGE"), [b"* 2 EXPUNGE", b"* 1 EXPUNGE"], "then expunges are told from the log again")
    is_([l for l in two.c.ok("NOOP") if l.endswith(b"EXPUNGE")], [b"* 2 EXPUNGE", b"* 1 EXPUNGE"], "to the others too")
    is_(one.c.ok("NOOP") + two.c.ok("NOOP"), [], "and no more")
    for c in (seed, one.c, two.c, other.c):
        c.close()


def store_dies(host):
    """kill -9 of store while each command waits: every command is answered, and what got OK is there once."""
    c = raw(host, BOB)
    c.ok("CREATE work")
    c.ok("CREATE copies")
    for i in range(20):
        c.append("work", b"Subject: seed%d\r\n\r\nx\r\n" % i)
    c.ok("SELECT work")
    wrong, appended, unsure = [], [], []
    serial = 0
    for round_ in range(4):
        tags = []
        for command in ("STORE 1:5 +FLAGS (\\Seen)", "COPY 1:3 copies", "FETCH 1:* (FLAGS BODY[])", "SEARCH TEXT seed",
                        "STATUS copies (MESSAGES)", "CREATE m%d" % round_, "RENAME m%d n%d" % (round_, round_),
                        "SUBSCRIBE n%d" % round_, "DELETE n%d" % round_, 'LIST "" "*"', "UID MOVE 20:* copies", "EXPUNGE",
                        "SELECT work", "NOOP"):
            serial += 1
            subject = b"kill%d." % serial
            tags.append((c.start(command), command))
            message = b"Subject: %s\r\n\r\nx\r\n" % subject
            tags.append((c.start(b"APPEND copies {%d+}\r\n%s" % (len(message), message)), subject))
        for i, (tag, what) in enumerate(tags):
            if i == 8 * round_:  # so many have been answered, the others wait
                os.kill(host.children()["store"][0], signal.SIGKILL)
            status, _ = c.finish(tag)
            if isinstance(what, bytes):
                (appended if status[:2] == b"OK" else unsure).append(what)
            if status[:2] not in (b"OK", b"NO", b"BA"):
                wrong.append((what, status))
        if wrong:
            break
        wait_until(lambda: c.append("INBOX", MESSAGE)[:2] == b"OK", "the store to come back", timeout=30)
        c.ok("SELECT work")
    is_(wrong, [], "store killed: every command of a session is answered, and the session goes on")
    diag("%d appended, %d unsure" % (len(appended), len(unsure)))
    c.ok("SELECT copies")
    text = b"".join(c.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]"))
    ok(len(appended) > 4, "some were stored before it died")
    is_([s for s in appended if text.count(s) != 1], [], "what got OK is there once")
    is_([s for s in unsure if text.count(s) > 1], [], "what did not, at most once")
    c.send(b"i IDLE\r\n")
    c.line()
    os.kill(host.children()["store"][0], signal.SIGKILL)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            host.smtp().sendmail("x@example.net", [BOB], b"Subject: back\r\n\r\n")
            break
        except Exception:
            select.select([], [], [], 0.05)
    d = raw(host, BOB)
    like(d.append("copies", MESSAGE), b"OK", "another session after the restart")
    c.sock.settimeout(10)
    like(c.line(), b"EXISTS", "and a session that was idle all the time hears of it")
    c.close()
    d.close()


def auth_dies(host):
    answers = []
    for i in range(6):
        socks = [RawImap(host.connect("imap")) for _ in range(5)]
        tags = [c.start('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE])) for c in socks]
        select.select([], [], [], 0.002 * i)
        for pid in host.children().get("auth", []):
            os.kill(pid, signal.SIGKILL)
        for c, tag in zip(socks, tags):
            answers.append(c.finish(tag)[0][:16])
            c.close()
    bad = [a for a in answers if not a.startswith(b"OK") and not a.startswith(b"NO [UNAVAILABLE]")]
    is_(bad, [], "auth killed: each login is answered")

    def login():
        c = RawImap(host.connect("imap"))
        status = c.cmd('LOGIN %s "%s"' % (ALICE, host.accounts[ALICE]))[0]
        c.close()
        return status[:2] == b"OK"
    wait_until(login, "auth to come back", timeout=30)
    ok(True, "and logins work again")


with Host(accounts=[ALICE, BOB, CAROL], groups={"limits": "errors = 100;"}) as host:
    for part in (thunderbird, apple, outlook, idle_news, slow_reader, long_ago, store_dies, auth_dies):
        try:
            part(host)
        except Exception as e:  # the other parts still run
            import traceback
            ok(False, "%s: %r" % (part.__name__, e))
            diag(traceback.format_exc())
            host.show_log(10)
done()
