#!/usr/bin/env python3
"""IMAP against the real daemon: imaplib where it will do, bare lines where every untagged one counts."""
import os
import random
import re
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok, wait_until  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"
MESSAGE = b"From: a@example.org\r\nSubject: test\r\n\r\nHello.\r\n.\r\n..dots\r\n"


def raw(host, user=ALICE, tls=False):
    c = RawImap(host.connect_tls("imaps") if tls else host.connect("imap"))
    c.ok('LOGIN %s "%s"' % (user, host.accounts[user]))
    return c


def mailboxes(host):
    c = raw(host)
    names = sorted(c.ok('LIST "" "*"'))
    is_(names, sorted([b'* LIST (\\HasNoChildren) "/" "INBOX"', b'* LIST (\\HasNoChildren \\Drafts) "/" "Drafts"',
                       b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"', b'* LIST (\\HasNoChildren \\Junk) "/" "Junk"',
                       b'* LIST (\\HasNoChildren \\Trash) "/" "Trash"']), "a new account has its default mailboxes")
    is_(len(c.ok('LSUB "" "*"')), 5, "and is subscribed to them")
    is_(c.ok('LIST "" ""'), [b'* LIST (\\Noselect) "/" ""'], "LIST tells the separator")
    c.ok("CREATE work/2026/&APw-ber")
    is_(c.ok('LIST "" "work*"'), [b'* LIST (\\HasChildren) "/" "work"', b'* LIST (\\HasChildren) "/" "work/2026"',
                                  b'* LIST (\\HasNoChildren) "/" "work/2026/&APw-ber"'], "CREATE makes parents")
    is_(c.ok('LIST "" "work/%"'), [b'* LIST (\\HasChildren) "/" "work/2026"'], "% stops at a separator")
    is_(c.ok('LIST "work/" "2026"'), [b'* LIST (\\HasChildren) "/" "work/2026"'], "the reference stands in front")
    is_(c.ok('LIST "" "inbox"'), [b'* LIST (\\HasNoChildren) "/" "INBOX"'], "INBOX is matched in any case")
    like(c.cmd("CREATE inbox")[0], b"NO [ALREADYEXISTS]", "INBOX cannot be created")
    like(c.cmd("CREATE work/2026")[0], b"NO [ALREADYEXISTS]", "nor what exists")
    like(c.cmd("CREATE a//b")[0], b"NO", "nor an empty level")
    like(c.cmd('CREATE "a&b"')[0], b"NO", "nor broken UTF-7")
    like(c.cmd("DELETE INBOX")[0], b"NO", "INBOX cannot be deleted")
    like(c.cmd("DELETE nowhere")[0], b"NO [NONEXISTENT]", "nor what is not there")
    c.ok("RENAME work job")
    is_([l.split(b'"')[3] for l in c.ok('LIST "" "job*"')], [b"job", b"job/2026", b"job/2026/&APw-ber"],
        "RENAME takes the children along")
    like(c.cmd("RENAME job job/inner")[0], b"NO", "but not below itself")
    like(c.cmd("RENAME job Sent")[0], b"NO [ALREADYEXISTS]", "nor onto another")
    like(c.append("INBOX", MESSAGE), b"OK", "a message in INBOX")
    c.ok("RENAME INBOX kept/old")
    is_(c.ok("STATUS INBOX (MESSAGES)") + c.ok("STATUS kept/old (MESSAGES)"),
        [b'* STATUS "INBOX" (MESSAGES 0)', b'* STATUS "kept/old" (MESSAGES 1)'], "RENAME of INBOX moves its messages out")
    c.ok("CREATE arc (USE (\\Archive))")
    is_(c.ok('LIST "" arc'), [b'* LIST (\\HasNoChildren \\Archive) "/" "arc"'], "CREATE with a special use")
    c.ok("SUBSCRIBE job/2026")
    is_([l for l in c.ok('LSUB "" "%"') if b"job" in l], [b'* LSUB (\\Noselect) "/" "job"'],
        "LSUB with % shows a level whose child is subscribed")
    is_(c.ok('LSUB "" "job/%"'), [b'* LSUB () "/" "job/2026"'], "LSUB")
    c.ok("UNSUBSCRIBE job/2026")
    is_(c.ok('LSUB "" "job*"'), [], "UNSUBSCRIBE")
    c.ok("DELETE job/2026/&APw-ber")
    is_(len(c.ok('LIST "" "job*"')), 2, "DELETE")
    is_(c.ok("NAMESPACE"), [b'* NAMESPACE (("" "/")) (("user/" "/")) (("shared/" "/"))'], "NAMESPACE")
    like(c.ok('ID ("name" "test")')[0], b"* ID (", "ID")
    is_(c.ok("ENABLE X-NOTHING"), [b"* ENABLED"], "ENABLE of what is not known")
    is_(c.ok('LIST (SPECIAL-USE) "" "*" RETURN (SPECIAL-USE)').__len__(), 5, "LIST (SPECIAL-USE)")
    is_(len(c.ok('LIST "" "*" RETURN (SUBSCRIBED CHILDREN)')) > 4, True, "LIST RETURN")
    like(c.cmd("BOGUS")[0], b"BAD", "an unknown command")
    like(c.cmd("FETCH 1 FLAGS")[0], b"BAD", "FETCH needs a mailbox")
    like(c.cmd("LOGIN a b")[0], b"BAD", "LOGIN is over")
    status, untagged = c.cmd("LOGOUT")
    is_((status[:2], untagged[0][:5]), (b"OK", b"* BYE"), "LOGOUT")
    is_(c.line(), b"", "and the connection ends")
    c.close()


def selecting(host):
    c = raw(host, tls=True)
    c.ok("CREATE sel")
    for i in range(5):
        like(c.append("sel", MESSAGE), b"OK [APPENDUID", "APPEND %d" % (i + 1))
    lines = c.ok("EXAMINE sel")
    ok(b"* 5 EXISTS" in lines and b"* 5 RECENT" in lines, "EXAMINE tells EXISTS and RECENT")
    like(b"\n".join(lines), b"* OK [UNSEEN 1]", "the first unseen")
    like(b"\n".join(lines), b"PERMANENTFLAGS ()", "no permanent flags")
    like(c.cmd("STORE 1 +FLAGS (\\Seen)")[0], b"NO [READ-ONLY]", "nothing can be changed")
    lines = c.ok("SELECT sel")
    ok(b"* 5 RECENT" in lines, "EXAMINE left \\Recent alone")
    like(b"\n".join(lines), b"UIDNEXT 6", "UIDNEXT")
    like(b"\n".join(lines), b"\\*)]", "new keywords may be made")
    is_(c.ok("NOOP"), [], "claiming \\Recent is no news")
    other = raw(host)
    ok(b"* 0 RECENT" in other.ok("SELECT sel"), "a second session sees nothing recent")
    is_(c.ok("STATUS sel (MESSAGES RECENT UIDNEXT UNSEEN)"),
        [b'* STATUS "sel" (MESSAGES 5 RECENT 0 UIDNEXT 6 UNSEEN 5)'], "STATUS")

    is_(c.ok("STORE 2:3 +FLAGS (\\Seen $Work)")[-2:], [b"* 2 FETCH (FLAGS (\\Seen \\Recent $Work))",
                                                       b"* 3 FETCH (FLAGS (\\Seen \\Recent $Work))"], "STORE")
    lines = other.ok("NOOP")
    is_([l for l in lines if b"FETCH" in l], [b"* 2 FETCH (FLAGS (\\Seen $Work))", b"* 3 FETCH (FLAGS (\\Seen $Work))"],
        "the other session hears of it once")
    ok(any(l.startswith(b"* FLAGS (") and b"$Work" in l for l in lines), "after the new keyword")
    is_(other.ok("NOOP"), [], "and not again")
    is_(c.ok("NOOP"), [], "nor does the one that did it")
    is_(c.ok("STORE 1 FLAGS.SILENT (\\Deleted)"), [], ".SILENT is silent")
    is_(c.ok("UID STORE 5 FLAGS \\Deleted"), [b"* 5 FETCH (UID 5 FLAGS (\\Deleted \\Recent))"], "UID STORE tells the UID")
    is_(c.ok("STORE 2 -FLAGS ($Work)"), [b"* 2 FETCH (FLAGS (\\Seen \\Recent))"], "-FLAGS")
    like(c.cmd("STORE 9 +FLAGS (\\Seen)")[0], b"BAD", "a sequence number that is not there")
    like(c.cmd("UID STORE 9 +FLAGS (\\Seen)")[0], b"OK", "a UID that is not there")
    like(c.cmd("STORE 1 +FLAGS (\\Recent)")[0], b"BAD", "\\Recent cannot be stored")

    is_(c.ok("UID EXPUNGE 1:4"), [b"* 1 EXPUNGE"], "UID EXPUNGE")
    is_(c.ok("EXPUNGE"), [b"* 4 EXPUNGE"], "EXPUNGE")
    tag = other.start("FETCH 1:* (UID)")
    status, lines = other.finish(tag)
    ok(not any(b"EXPUNGE" in l for l in lines), "no EXPUNGE during the other session's FETCH")
    lines = other.ok("NOOP")
    is_([l for l in lines if b"EXPUNGE" in l], [b"* 5 EXPUNGE", b"* 1 EXPUNGE"], "but at its NOOP, highest first")
    is_([re.search(rb"UID (\d+)", l).group(1) for l in other.ok("FETCH 1:* UID")], [b"2", b"3", b"4"],
        "and its sequence numbers are right")
    c.append("sel", MESSAGE, "(\\Seen) \"17-Jul-1996 02:44:25 -0700\" ")
    lines = other.ok("NOOP")
    ok(b"* 4 EXISTS" in lines, "the other session hears of a new message")
    like(c.ok("UID FETCH 6 INTERNALDATE")[0], b'"17-Jul-1996 09:44:25 +0000"', "APPEND keeps the date") or diag("zone")
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    is_(c.ok("CLOSE"), [], "CLOSE is silent")
    is_(c.ok("STATUS sel (MESSAGES)"), [b'* STATUS "sel" (MESSAGES 3)'], "and expunges")
    c.ok("SELECT sel")
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("UNSELECT")
    is_(c.ok("STATUS sel (MESSAGES)"), [b'* STATUS "sel" (MESSAGES 3)'], "UNSELECT does not")
    other.ok("SELECT sel")
    other.ok("EXPUNGE")
    c.ok("DELETE sel")
    like(other.cmd("FETCH 1 FLAGS")[0], b"NO", "a mailbox that was deleted under a session")
    like(other.cmd("SELECT sel")[0], b"NO [NONEXISTENT]", "is gone")
    other.close()
    c.close()


def copying(host):
    c = raw(host)
    c.ok("CREATE from")
    c.ok("CREATE to")
    for i in range(6):
        c.append("from", MESSAGE, "(\\Flagged kw%d) " % i)
    c.ok("SELECT from")
    status, _ = c.cmd("COPY 1,3:4 to")
    ok(re.match(rb"OK \[COPYUID \d+ 1,3:4 1:3\]", status), "COPY tells COPYUID") or diag(status)
    status, lines = c.cmd("UID MOVE 2,5:6 to")
    ok(lines and re.match(rb"\* OK \[COPYUID \d+ 2,5:6 4:6\]", lines[0]), "MOVE tells COPYUID first") or diag(lines)
    is_(lines[1:], [b"* 6 EXPUNGE", b"* 5 EXPUNGE", b"* 2 EXPUNGE"], "then EXPUNGE")
    like(c.cmd("COPY 1 nowhere")[0], b"NO [TRYCREATE]", "COPY into nothing")
    is_(c.cmd("UID COPY 99 to")[0][:2], b"OK", "COPY of nothing")
    is_(c.ok("STATUS to (MESSAGES)"), [b'* STATUS "to" (MESSAGES 6)'], "all are there")
    lines = c.ok("EXAMINE to")
    lines = c.ok("FETCH 4 (FLAGS BODY.PEEK[])")
    ok(b"\\Flagged" in lines[0] and b"kw1" in lines[0], "flags and keywords went along") or diag(lines)
    like(lines[0], MESSAGE, "and so did the message")
    c.ok("SELECT from")
    c.ok("MOVE 1:* to")
    is_(c.ok("STATUS from (MESSAGES)"), [b'* STATUS "from" (MESSAGES 0)'], "MOVE 1:* empties the mailbox")
    like(c.cmd("FETCH 1:* FLAGS")[0], b"BAD", "* in an empty mailbox is no message")
    is_(c.ok("UID FETCH 1:* FLAGS"), [], "as a UID it is none")
    c.close()


def appending(host):
    c = raw(host)
    like(c.cmd(b"APPEND nowhere {5+}\r\nhello")[0], b"NO [TRYCREATE]", "APPEND into nothing, LITERAL+")
    is_(c.cmd("NOOP")[0][:2], b"OK", "its bytes were taken away")
    like(c.cmd("APPEND nowhere {5}")[0], b"NO [TRYCREATE]", "APPEND into nothing, before the literal")
    like(c.cmd("APPEND INBOX {99999999999}")[0], b"NO [TOOBIG]", "a literal beyond all numbers")
    like(c.cmd("APPEND INBOX {200000}")[0], b"NO [TOOBIG]", "a message over the limit is refused before it is sent")
    big = b"x" * 99 + b"\r\n"
    like(c.append("INBOX", big * 2000), b"NO [TOOBIG]", "and behind LITERAL+ read and refused")
    is_(c.cmd("NOOP")[0][:2], b"OK", "in step")
    message = b"Subject: big\r\n\r\n" + big * 900
    status = c.append("{5+}\r\nINBOX", message, '(\\Seen) ')
    like(status, b"OK [APPENDUID", "a mailbox name as a literal")
    c.send(b"x APPEND INBOX {5}\r\n")
    is_(c.line(), b"+ OK", "a synchronising literal")
    c.send(b"hello")
    c.send(b"\r\n")
    like(c.line(), b"x OK [APPENDUID", "and its APPENDUID")
    like(c.cmd(b"APPEND INBOX {3+}\r\nabc {3+}\r\ndef")[0], b"OK [APPENDUID", "two messages at a time")
    like(c.append("INBOX", b"a\0b"), b"NO", "no NUL")
    like(c.append("INBOX", b""), b"NO", "an empty literal takes the command back (RFC 3502)")
    c.ok("SELECT INBOX")
    lines = c.ok("UID FETCH 1:* (UID BODY.PEEK[])")
    bodies = [l[l.index(b"}\r\n") + 3:l.rindex(b")")] for l in lines if b"}\r\n" in l]
    ok(message in bodies and b"hello" in bodies, "what was appended comes back byte for byte")
    c.close()


def idling(host):
    c, other = raw(host, BOB, tls=True), raw(host, BOB)
    c.ok("SELECT INBOX")
    c.send(b"i IDLE\r\n")
    is_(c.line(), b"+ idling", "IDLE")
    host.deliver(BOB, b"Subject: one\r\n\r\nx\r\n")
    is_(c.line(), b"* 1 EXISTS", "a delivery is pushed")
    is_(c.line(), b"* 1 RECENT", "as recent")
    other.ok("SELECT INBOX")
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    is_(c.line(), b"* 1 FETCH (FLAGS (\\Deleted \\Recent))", "and so are flags")
    other.ok("EXPUNGE")
    is_(c.line(), b"* 1 EXPUNGE", "and an expunge")
    c.send(b"DONE\r\n")
    is_(c.line(), b"i OK IDLE terminated.", "DONE")
    c.send(b"j IDLE\r\n")
    c.line()
    c.send(b"NOOP\r\n")
    like(c.line(), b"j BAD", "anything else ends it with BAD")
    c.close()
    other.close()


def pipelining(host):
    c = raw(host)
    c.send(b"".join(b"p%d NOOP\r\n" % i for i in range(500)))
    is_([c.line()[:-len(b" OK NOOP completed.")] for _ in range(500)], [b"p%d" % i for i in range(500)],
        "500 commands at once are answered in order")
    c.send(b"a SELECT INBOX\r\nb UID FETCH 1:* (FLAGS BODY.PEEK[])\r\nc LOGOUT\r\n")
    is_(c.finish(b"a")[0][:2], b"OK", "SELECT, FETCH and LOGOUT in one write")
    is_(c.finish(b"b")[0][:2], b"OK", "FETCH")
    is_(c.finish(b"c")[0][:2], b"OK", "LOGOUT")
    c.close()
    sock = host.connect("imap")
    sock.sendall(b'a LOGIN %s "%s"\r\nb CREATE piped\r\nc STATUS piped (MESSAGES)\r\n' %
                 (ALICE.encode(), host.accounts[ALICE].encode()))
    c = RawImap(sock)
    like(c.finish(b"a")[0], b"OK [CAPABILITY", "commands pipelined behind LOGIN reach imap")
    like(c.finish(b"c")[1][-1], b"(MESSAGES 0)", "in order")
    c.close()
    sock = host.connect("imap")
    sock.sendall(b'a LOGIN %s "%s"\r\nb CREATE half\r\nc SELECT INBOX\r\nd UID FETCH 1:* (FLAGS)\r\n' %
                 (ALICE.encode(), host.accounts[ALICE].encode()))
    sock.shutdown(socket.SHUT_WR)
    c = RawImap(sock)
    is_(c.finish(b"d")[0][:2], b"OK", "a client that shuts its side gets all its answers")
    is_(c.line(), b"", "and then the end")
    c.close()


def errors(host):
    c = raw(host)
    is_(c.cmd("X" * 70000)[0][:3], b"BAD", "a line over 64 KiB")
    is_(c.cmd("NOOP")[0][:2], b"OK", "is skipped")
    is_(c.cmd(b"SEARCH SUBJECT {70000}")[0][:3], b"BAD", "a literal over 64 KiB")
    c.send(b"y NOOP\n")
    like(c.line(), b"y BAD", "a bare LF")
    untagged = []
    for _ in range(30):
        c.send(b"z BOGUS\r\n")
    while True:
        line = c.line()
        if not line or line.startswith(b"* BYE"):
            untagged.append(line)
            break
    like(untagged[-1], b"* BYE Too many errors", "too many errors end the connection")
    c.close()


def imaplib_session(host):
    c = host.imap(BOB)
    is_(c.select("INBOX")[0], "OK", "imaplib: SELECT")
    host.deliver(BOB, b"From: x@example.net\r\nTo: bob@example.org\r\nSubject: hi\r\n\r\nbody\r\n")
    wait_until(lambda: c.search(None, "SUBJECT", "hi")[1] != [b""], "the message in INBOX")
    typ, data = c.search(None, "SUBJECT", "hi")
    is_(typ, "OK", "imaplib: SEARCH")
    number = data[0].split()[-1].decode()
    data = c.fetch(number, "(RFC822)")[1]
    ok(data[0][1].endswith(b"Subject: hi\r\n\r\nbody\r\n"), "imaplib: FETCH")
    is_(c.store(number, "+FLAGS", "\\Deleted")[0], "OK", "imaplib: STORE")
    is_(c.expunge()[0], "OK", "imaplib: EXPUNGE")
    is_(c.logout()[0], "BYE", "imaplib: LOGOUT")


def many(host):
    """Sequence numbers stay right over a mailbox with holes."""
    c = raw(host)
    c.ok("CREATE many")
    for i in range(60):
        c.start(b"APPEND many {%d+}\r\nSubject: %04d\r\n\r\n" % (17, i))
    for i in range(60):
        c.line()
    c.ok("SELECT many")
    c.ok("STORE 2,5:9,11,30:44,60 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    want = [u for u in range(1, 61) if u not in {2, 11, 60} | set(range(5, 10)) | set(range(30, 45))]
    got = [int(re.search(rb"UID (\d+)", l).group(1)) for l in c.ok("FETCH 1:* UID")]
    is_(got, want, "holes: sequence numbers and UIDs agree")
    c.ok("UNSELECT")
    lines = c.ok("SELECT many")
    ok(b"* %d EXISTS" % len(want) in lines, "and after a new SELECT")
    got = [int(re.search(rb"UID (\d+)", l).group(1)) for l in c.ok("FETCH 1:* UID")]
    is_(got, want, "they still agree")
    c.close()


def random_commands(host):
    """3,000 commands made of right and wrong pieces; whatever the answers, there is one to each, and the host lives on."""
    rng = random.Random(11)
    pids = host.children()["imap"]
    words = [b"1", b"1:*", b"*", b"2,4:9", b"0", b"4294967295", b"UID", b"FETCH", b"STORE", b"SEARCH", b"COPY", b"MOVE", b"FLAGS",
             b"+FLAGS", b"-FLAGS.SILENT", b"(\\Seen)", b"(\\Deleted foo)", b"(", b")", b"ALL", b"FULL", b"BODY[]", b"BODY[1.2.MIME]<0.5>",
             b"BODY.PEEK[HEADER.FIELDS (Subject)]", b"ENVELOPE", b"BODYSTRUCTURE", b"SELECT", b"EXAMINE", b"LIST", b'""', b'"*"',
             b'"%"', b"INBOX", b"work", b'"a b"', b"{3+}\r\nabc", b"{0+}\r\n", b"STATUS", b"(MESSAGES UNSEEN)", b"CREATE",
             b"DELETE", b"RENAME", b"EXPUNGE", b"CLOSE", b"NOOP", b"OR", b"NOT", b"SUBJECT", b"TEXT", b"x", b"SINCE",
             b"1-Feb-2020", b"CHARSET", b"UTF-8", b"KEYWORD", b"HEADER", b"LARGER", b"10", b"IDLE", b"APPEND",
             b"{10+}\r\nA: b\r\n\r\nc\r", b"NAMESPACE", b"ID", b"NIL", b"ENABLE", b"\xff", b'"\\', b"&AOk-"]
    heads = [b"FETCH", b"UID FETCH", b"STORE", b"UID STORE", b"SEARCH", b"UID SEARCH", b"COPY", b"LIST", b"SELECT", b"STATUS",
             b"CREATE", b"APPEND", b"EXPUNGE", b"UID MOVE", b"RENAME", b"SUBSCRIBE"]
    c = None
    answered = 0
    for i in range(3000):
        if c is None:
            c = raw(host, BOB)
            c.ok("SELECT INBOX")
        command = b" ".join([rng.choice(heads) if rng.randrange(4) else rng.choice(words)] +
                            [rng.choice(words) for _ in range(rng.randrange(5))])
        tag = c.start(command)
        if command.upper().split(b" ")[0] == b"IDLE":
            c.send(b"DONE\r\n")
        status, untagged = c.finish(tag)
        if status == b"EOF":
            if untagged[-1:] != [b"* BYE Too many errors."]:
                diag("ended: %r %r" % (command, untagged[-1:]))
                break
            c.close()
            c = None
            continue
        answered += 1
        if not re.match(rb"(OK|NO|BAD) ", status):
            diag("%r: %r" % (command, status))
    ok(answered > 2700, "3,000 random commands: each has its answer, or the connection its end") or diag(answered)
    is_(host.children()["imap"], pids, "and no process died")


with Host(accounts=[ALICE, BOB], groups={"limits": 'message_size = "100K";'}) as host:
    for part in (mailboxes, selecting, copying, appending, idling, pipelining, errors, imaplib_session, many, random_commands):
        try:
            part(host)
        except Exception as e:  # the other parts still run
            ok(False, "%s: %r" % (part.__name__, e))
            host.show_log(10)
done()
