#!/usr/bin/env python3
"""Shared mailboxes: namespaces, the commands of RFC 4314, every command against every right, and changes under a session."""
import itertools
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import PASSWORD, Host, diag, done, is_, like, ok  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE, BOB, CAROL, SALES = ("%s@example.org" % n for n in ("alice", "bob", "carol", "sales"))
MESSAGE = b"From: a@example.org\r\nSubject: test\r\n\r\nHello.\r\n"
BOX = "user/%s/box" % ALICE


def raw(host, user):
    c = RawImap(host.connect("imap"))
    c.ok('LOGIN %s "%s"' % (user, host.accounts[user]))
    return c


def code(reply):
    """OK, NO, BAD, with the response code of a NO."""
    found = re.match(rb"(OK|NO|BAD)(?: \[([A-Z-]+))?", reply)
    return found.group(1).decode() + (" " + found.group(2).decode() if found.group(1) == b"NO" and found.group(2) else "")


class Site(Host):
    """sales@ is marked shared in the site."""

    def site_text(self):
        return super().site_text().replace('"%s"; }' % SALES, '"%s"; shared = true; senders = ( "%s" ); }' % (SALES, ALICE))


class TwoDomains(Host):
    def site_text(self):
        return super().site_text().replace("accounts = (", 'accounts = ( { address = "olga@example.net"; },')


def commands(alice, bob):
    alice.ok("CREATE box")
    is_(bob.ok("NAMESPACE"), [b'* NAMESPACE (("" "/")) (("user/" "/")) (("shared/" "/"))'], "NAMESPACE")
    is_(alice.ok("MYRIGHTS box"), [b'* MYRIGHTS "box" lrswipkxteacd'], "the owner has all rights")
    is_(alice.ok("GETACL box"), [b'* ACL "box" "alice@example.org" lrswipkxteacd'], "and is the only one")
    for command in ("MYRIGHTS", "SELECT", "EXAMINE", "DELETE", "GETACL", "SUBSCRIBE"):
        is_(code(bob.cmd("%s %s" % (command, BOX))[0]), "NO NONEXISTENT", "%s without rights: there is no such mailbox" % command)
    is_(bob.ok('LIST "" "user*"'), [], "nor is it listed")
    like(alice.cmd("SETACL box bob@example.org lrz")[0], b"BAD", "a right that there is not")
    like(alice.cmd("SETACL box nobody@example.org lr")[0], b"NO", "an account that there is not")
    like(alice.cmd("SETACL box bob lr")[0], b"NO", "no address")
    like(alice.cmd("SETACL box alice@example.org lr")[0], b"NO", "the owner cannot lose rights")
    alice.ok("SETACL box Bob@EXAMPLE.org lr")
    is_(alice.ok("GETACL box"), [b'* ACL "box" "alice@example.org" lrswipkxteacd "bob@example.org" lr'], "SETACL")
    alice.ok("SETACL box bob@example.org +sx")
    alice.ok("SETACL box bob@example.org -r")
    is_(bob.ok("MYRIGHTS " + BOX), [b'* MYRIGHTS "%s" lsxcd' % BOX.encode()], "+ and -")
    alice.ok("SETACL box anyone r")
    is_(bob.ok("MYRIGHTS " + BOX), [b'* MYRIGHTS "%s" lrsxcd' % BOX.encode()], "anyone adds to one's own")
    alice.ok("SETACL box -bob@example.org s")
    is_(bob.ok("MYRIGHTS " + BOX), [b'* MYRIGHTS "%s" lrxcd' % BOX.encode()], "a negative entry takes away")
    is_(alice.ok("LISTRIGHTS box bob@example.org"), [b'* LISTRIGHTS "box" "bob@example.org" "" l r s w i p k x t e a'], "LISTRIGHTS")
    is_(alice.ok("LISTRIGHTS box alice@example.org"), [b'* LISTRIGHTS "box" "alice@example.org" lrswipkxteacd'], "of the owner")
    is_(code(bob.cmd("GETACL " + BOX)[0]), "NO NOPERM", "GETACL needs a")
    for who in (BOB, "anyone", "-" + BOB):
        alice.ok("DELETEACL box %s" % who)
    alice.ok("DELETEACL box %s" % BOB)
    is_(alice.ok("GETACL box"), [b'* ACL "box" "alice@example.org" lrswipkxteacd'], "DELETEACL")
    alice.ok("CREATE box/old")
    alice.ok("SETACL box bob@example.org lrc")
    is_(bob.ok("MYRIGHTS " + BOX), [b'* MYRIGHTS "%s" lrkxcd' % BOX.encode()], "c of RFC 2086")
    alice.ok("CREATE box/new")
    is_([bob.cmd("SELECT %s/%s" % (BOX, n))[0][:2] for n in ("new", "old")], [b"OK", b"NO"], "a new mailbox inherits")
    alice.ok("DELETEACL box %s" % BOB)


def listing(alice, bob):
    alice.ok("SETACL Sent bob@example.org lr")
    alice.ok("SETACL box bob@example.org l")
    names = {l.split(b'"')[3]: l.split(b"(")[1].split(b")")[0] for l in bob.ok('LIST "" "user*"')}
    is_(names, {b"user/alice@example.org/Sent": b"\\HasNoChildren",
         b"user/alice@example.org/box": b"\\HasChildren \\Noselect",
         b"user/alice@example.org/box/new": b"\\HasNoChildren"},
        "LIST of others' mailboxes, without their special uses")
    ok(b'* LIST (\\HasChildren \\Noselect) "/" "user"' in bob.ok('LIST "" "%"'), "LIST % shows the level user")
    is_(bob.ok('LIST "" "user/%"'), [b'* LIST (\\HasChildren \\Noselect) "/" "user/alice@example.org"'], "and whose they are")
    is_([l for l in alice.ok('LIST "" "%"') if b'"user"' in l], [], "but not to who shares nothing")
    bob.ok("SUBSCRIBE user/alice@example.org/Sent")
    ok(b'* LSUB () "/" "user/alice@example.org/Sent"' in bob.ok('LSUB "" "*"'), "LSUB")
    alice.ok("DELETEACL Sent bob@example.org")
    is_([l for l in bob.ok('LIST (SUBSCRIBED) "" "user/*"')],
        [b'* LIST (\\HasNoChildren \\NonExistent \\Subscribed) "/" "user/alice@example.org/Sent"'], "a subscription outlives the right")
    bob.ok("UNSUBSCRIBE user/alice@example.org/Sent")
    alice.ok("CREATE Entw&APw-rfe")
    alice.ok("SETACL Entw&APw-rfe bob@example.org lr")
    is_(bob.ok('LIST "" "user/%/E*"'), [b'* LIST (\\HasNoChildren) "/" "user/alice@example.org/Entw&APw-rfe"'], "names in UTF-7")
    like(bob.cmd("SELECT user/ALICE@Example.org/Entw&APw-rfe")[0], b"OK", "the address in any case")
    like(bob.cmd("SELECT user/alice@example.org/entw&APw-rfe")[0], b"NO", "the name not")
    bob.cmd("UNSELECT")
    alice.ok("DELETE Entw&APw-rfe")
    alice.ok("DELETEACL box bob@example.org")
    alice.ok("DELETE box/new")
    alice.ok("DELETE box/old")


# What each command needs beside l; None: not even l.  Checked with every single right, and with all but one of those needed.
MATRIX = [
    ("MYRIGHTS {box}", ""), ("SUBSCRIBE {box}", ""), ("SELECT {box}", "r"), ("EXAMINE {box}", "r"), ("STATUS {box} (MESSAGES)", "r"),
    ("APPEND {box} {{50+}}\r\n" + (MESSAGE + b"x" * 50)[:50].decode(), "i"), ("CREATE {box}/sub", "k"), ("DELETE {box}", "x"),
    ("RENAME {box} {other}/{new}", "x"), ("GETACL {box}", "a"), ("SETACL {box} carol@example.org l", "a"),
    ("DELETEACL {box} carol@example.org", "a"), ("LISTRIGHTS {box} carol@example.org", "a"), ("GETQUOTAROOT {box}", "r"),
    ("COPY 1 {box}", "i"), ("MOVE 1 {box}", "i"),
]
# In the selected mailbox, which needs lr.
SELECTED = [
    ("FETCH 1 FLAGS", ""), ("SEARCH ALL", ""), ("NOOP", ""), ("COPY 1 INBOX", ""), ("STORE 1 +FLAGS (\\Seen)", "s"),
    ("STORE 1 -FLAGS (\\Deleted)", "t"), ("STORE 1 +FLAGS (\\Flagged)", "w"), ("STORE 1 +FLAGS ($Key)", "w"),
    ("EXPUNGE", "e"), ("UID EXPUNGE 1", "e"), ("MOVE 1 INBOX", "te"), ("CLOSE", ""), ("UNSELECT", ""),
]
RIGHTS = "rswipkxtea"


def matrix(alice, bob, get, set_):
    """get: commands that name a mailbox; what they do is undone by making it anew."""
    bob.ok("CREATE mine")
    wrong = 0
    count = 0
    alice.ok("CREATE m-other")
    alice.ok("SETACL m-other bob@example.org lk")
    for command, needed in get:
        sets = [set(r) for r in RIGHTS] + [set(RIGHTS) - {n} for n in needed] + [set(needed), set(), set(RIGHTS)]
        for given, lookup in itertools.product(sets, (True, False)):
            name = "m%d" % count
            count += 1
            alice.ok("CREATE " + name)
            alice.ok("SETACL %s bob@example.org %s" % (name, "".join(given) + ("l" if lookup else "") or '""'))
            if command.startswith(("COPY", "MOVE")):
                bob.append("mine", MESSAGE)
                bob.ok("SELECT mine")
            reply = bob.cmd(command.format(box="user/%s/%s" % (ALICE, name), other="user/%s/m-other" % ALICE, new=name))[0]
            allowed = lookup and set(needed) <= given
            got = code(reply)
            want = "OK" if allowed else "NO NOPERM" if lookup or command.startswith("CREATE") else "NO NONEXISTENT"
            if got != want:
                wrong += 1
                diag("%s with %s: got %r, wanted %s" % (command.split("\r")[0], sorted(given) + ["l"] * lookup, reply, want))
            if command.startswith(("COPY", "MOVE", "SELECT", "EXAMINE")):
                bob.cmd("UNSELECT")
            alice.cmd("DELETE " + name)
    is_(wrong, 0, "%d cases of commands and rights, by name" % count)
    wrong = count = 0
    for command, needed in set_:
        sets = [set(r) for r in RIGHTS[1:]] + [set(RIGHTS[1:]) - {n} for n in needed] + [set(needed), set(), set(RIGHTS[1:])]
        for given in sets:
            name = "s%d" % count
            count += 1
            alice.ok("CREATE " + name)
            alice.append(name, MESSAGE)
            alice.ok("SETACL %s bob@example.org lr%s" % (name, "".join(given)))
            lines = bob.ok("SELECT user/%s/%s" % (ALICE, name))
            flags = re.search(rb"PERMANENTFLAGS \(([^)]*)\)", b"\n".join(lines)).group(1).split()
            wanted_flags = ([b"\\Answered", b"\\Flagged"] if "w" in given else []) + ([b"\\Deleted"] if "t" in given else []) + \
                ([b"\\Seen"] if "s" in given else []) + ([b"\\Draft", b"\\*"] if "w" in given else [])
            got = code(bob.cmd(command)[0])
            write = given & set("swite")
            want = "OK" if set(needed) <= given else "NO NOPERM" if write else "NO READ-ONLY"
            if got != want or flags != wanted_flags:
                wrong += 1
                diag("%s with %s: got %s, wanted %s; flags %r, wanted %r" % (command, sorted(given), got, want, flags, wanted_flags))
            bob.cmd("UNSELECT")
            alice.ok("DELETE " + name)
    is_(wrong, 0, "%d cases in the selected mailbox" % count)


def partial(alice, bob):
    """Flags with a part of the rights."""
    alice.ok("CREATE part")
    alice.append("part", MESSAGE, "(\\Flagged \\Deleted $Old) ")
    alice.ok("SETACL part bob@example.org lrs")
    part = "user/%s/part" % ALICE
    bob.ok("SELECT " + part)
    is_(bob.ok("STORE 1 +FLAGS (\\Seen \\Answered $New)")[-1], b"* 1 FETCH (FLAGS (\\Seen \\Flagged \\Deleted $Old))",
        "STORE does what the rights allow")
    is_(bob.ok("STORE 1 FLAGS (\\Answered)")[-1], b"* 1 FETCH (FLAGS (\\Flagged \\Deleted $Old))", "FLAGS too")
    alice.ok("SETACL part bob@example.org lrsw")
    is_([l for l in bob.ok("STORE 1 FLAGS (\\Answered $New)") if b"FETCH" in l][-1],
        b"* 1 FETCH (FLAGS (\\Answered \\Deleted $New))", "with w, \\Deleted stays as it is")
    like(bob.cmd("STORE 1 (UNCHANGEDSINCE 1) FLAGS (\\Flagged)")[0], b"OK [MODIFIED 1]", "UNCHANGEDSINCE with a part of the rights")
    is_(re.search(rb"FLAGS \(([^)]*)\)", b"".join(bob.ok("FETCH 1 FLAGS"))).group(1), b"\\Answered \\Deleted $New",
        "has changed nothing")
    alice.ok("SETACL part bob@example.org lr")
    bob.ok("NOOP")
    bob.ok("FETCH 1 BODY[]")
    alice.ok("SELECT part")
    ok(b"\\Seen" not in b"".join(alice.ok("FETCH 1 FLAGS")), "reading without s sets no \\Seen")
    alice.ok("CREATE drop")
    alice.ok("SETACL drop bob@example.org li")
    like(bob.append("user/%s/drop" % ALICE, MESSAGE, "(\\Seen \\Flagged \\Deleted $K) "), b"OK", "APPEND with i alone")
    bob.append("INBOX", MESSAGE, "(\\Seen \\Flagged \\Deleted $K) ")
    bob.ok("SELECT INBOX")
    like(bob.cmd("COPY 1 user/%s/drop" % ALICE)[0], b"OK [COPYUID", "and COPY")
    alice.ok("SELECT drop")
    is_([re.search(rb"FLAGS \(([^)]*)\)", l).group(1) for l in alice.ok("FETCH 1:2 FLAGS")], [b"\\Recent"] * 2,
        "put no flags that need s, w or t")
    tags = [bob.start("COPY 1 user/%s/drop" % ALICE) for _ in range(20)]
    is_([bob.finish(t)[0][:13] for t in tags], [b"OK [COPYUID 1"] * 20, "20 COPY at once")
    alice.ok("NOOP")
    is_({re.search(rb"FLAGS \(([^)]*)\)", l).group(1) for l in alice.ok("FETCH 1:22 FLAGS")}, {b"\\Recent"}, "put none either")
    alice.ok("SETACL part bob@example.org lrsw")
    bob.ok("SELECT " + part)
    tags = [bob.start("STORE 1 FLAGS (%s)" % ("\\Seen $A" if i % 2 else "\\Answered $B")) for i in range(21)]
    is_([bob.finish(t)[0][:2] for t in tags], [b"OK"] * 21, "21 STORE FLAGS at once")
    alice.ok("SELECT part")
    flags = re.search(rb"FLAGS \(([^)]*)\)", alice.ok("FETCH 1 FLAGS")[-1]).group(1).split()
    is_(sorted(f for f in flags if f != b"\\Recent"), [b"$B", b"\\Answered", b"\\Deleted"], "the last one holds")
    alice.ok("UNSELECT")
    bob.ok("UNSELECT")


def session(host, alice, bob):
    """Rights change while the mailbox is open."""
    alice.ok("CREATE live")
    alice.append("live", MESSAGE)
    live = "user/%s/live" % ALICE
    alice.ok("SETACL live bob@example.org lrswte")
    bob.ok("SELECT " + live)
    bob.ok("STORE 1 +FLAGS (\\Flagged)")
    alice.ok("SETACL live bob@example.org lr")
    is_(code(bob.cmd("STORE 1 -FLAGS (\\Flagged)")[0]), "NO NOPERM", "a right taken away is gone at the next command")
    alice.ok("SETACL live bob@example.org lrw")
    status, lines = bob.cmd("STORE 1 -FLAGS (\\Flagged)")
    like(status, b"OK", "and one that is given is there")
    ok(any(b"PERMANENTFLAGS (\\Answered \\Flagged \\Draft \\*)" in l for l in lines), "with new PERMANENTFLAGS")
    idle = bob.start("IDLE")
    is_(bob.line(), b"+ idling", "IDLE in it")
    alice.append("live", MESSAGE)
    like(bob.line(), b"EXISTS", "hears of a new message")
    bob.line()
    alice.ok("DELETEACL live bob@example.org")
    alice.append("live", MESSAGE)
    bob.send("DONE\r\n")
    status, lines = bob.finish(idle)
    is_([l for l in lines if b"EXISTS" in l or b"FETCH" in l], [], "not of one that came after the right was gone")
    for command in ("FETCH 1:* FLAGS", "STORE 1 +FLAGS (\\Seen)", "SEARCH ALL", "COPY 1 INBOX"):
        like(bob.cmd(command)[0], b"NO", "%s is refused then" % command.split()[0])
    is_(bob.ok("NOOP"), [], "NOOP tells nothing")
    bob.ok("CLOSE")
    is_(code(bob.cmd("SELECT " + live)[0]), "NO NONEXISTENT", "it is as if it did not exist")
    alice.ok("SETACL live bob@example.org lrite")
    bob.append("INBOX", MESSAGE)
    bob.ok("SELECT INBOX")
    like(bob.cmd("MOVE 1 " + live)[1][0], b"COPYUID", "MOVE into another's mailbox")
    bob.ok("SELECT " + live)
    like(bob.cmd("MOVE 1 INBOX")[1][0], b"COPYUID", "and out of one")
    carol = raw(host, CAROL)
    is_(code(carol.cmd("SELECT " + live)[0]), "NO NONEXISTENT", "a third account has nothing of it")
    bob.ok("UNSELECT")


def shared(host, alice, bob):
    status = RawImap(host.connect("imap")).cmd('LOGIN %s "%s"' % (SALES, PASSWORD))[0]
    like(status, b"NO", "nobody logs in to a shared account")
    host.deliver(SALES, MESSAGE)
    box = "shared/%s/INBOX" % SALES
    is_(code(alice.cmd("SELECT " + box)[0]), "NO NONEXISTENT", "its INBOX is nobody's at first")
    r = host.cli("account", "share", SALES, ALICE, "--rights", "all")
    ok(r.returncode == 0, "account share for all its mailboxes")
    host.cli("account", "share", SALES + "/INBOX", BOB, "--rights", "read")
    ok(b"* 1 EXISTS" in alice.ok("SELECT " + box), "then alice reads it")
    ok(b'* LIST (\\HasNoChildren) "/" "%s"' % box.encode() in alice.ok('LIST "" "*"'), "and sees it in shared/")
    is_(code(alice.cmd("SELECT user/%s/INBOX" % SALES)[0]), "NO NONEXISTENT", "not in user/")
    like(bob.cmd("SELECT " + box)[0], b"OK [READ-ONLY]", "bob has it read-only")
    alice.ok("SELECT " + box)
    alice.ok("STORE 1 +FLAGS (\\Seen)")
    like(bob.ok("NOOP")[-1], b"FLAGS (\\Seen", "\\Seen is common to all")
    alice.ok("CREATE shared/%s/Deals" % SALES)
    is_(alice.ok("MYRIGHTS shared/%s/Deals" % SALES), [b'* MYRIGHTS "shared/%s/Deals" lrswipkxteacd' % SALES.encode()],
        "a new mailbox at the top has INBOX's rights")
    like(bob.cmd("SELECT shared/%s/Deals" % SALES)[0], b"OK", "for all of them")
    is_(code(bob.cmd("CREATE shared/%s/Mine" % SALES)[0]), "NO NOPERM", "which may not be made without k")
    is_(code(alice.cmd("DELETE " + box)[0]), "NO CANNOT", "INBOX stays")
    is_(code(alice.cmd("RENAME shared/%s/Deals Deals" % SALES)[0]), "NO CANNOT", "no RENAME to another account")
    alice.ok("RENAME shared/%s/Deals shared/%s/INBOX/Deals" % (SALES, SALES))
    like(bob.cmd("SELECT %s/Deals" % box)[0], b"OK", "RENAME within")
    for who, reply in ((ALICE, 250), (BOB, 550)):
        with host.smtp("submissions") as smtp:
            smtp.login(who, PASSWORD)
            is_(smtp.mail(SALES)[0] // 100, reply // 100, "%s %s send as %s" % (who, "may" if reply == 250 else "may not", SALES))
    rows = host.cli("--json", "account", "share", SALES, "--list").stdout
    ok(BOB in rows and ALICE in rows, "account share --list")
    host.cli("account", "share", SALES, BOB, "--remove")
    like(bob.cmd("FETCH 1 FLAGS")[0], b"NO", "account share --remove takes effect in an open session")
    is_(host.cli("account", "share", SALES + "/Nowhere", BOB, check=False).returncode, 1, "a mailbox that there is not: exit 1")
    is_(host.cli("account", "share", SALES, "nobody@example.org", check=False).returncode, 1, "an account that there is not: exit 1")
    is_(host.cli("account", "share", SALES, BOB, "--rights", "lz", check=False).returncode, 2, "a right that there is not: exit 2")


def domains():
    """Users share within their domain, unless the site says otherwise; the administrator does as he likes."""
    other = "olga@example.net"
    with TwoDomains(accounts=(ALICE, BOB), domains=("example.org", "example.net")) as host:
        host.accounts[other] = PASSWORD
        host.cli("account", "passwd", other, input=PASSWORD + "\n")
        a, o = raw(host, ALICE), raw(host, other)
        like(a.cmd("SETACL INBOX %s lr" % other)[0], b"NO [NOPERM]", "no sharing with another domain")
        like(a.cmd("SETACL INBOX anyone lr")[0], b"NO [NOPERM]", "nor with all of the host")
        like(a.cmd("SETACL INBOX %s lr" % BOB)[0], b"OK", "but within one's own")
        host.cli("account", "share", ALICE + "/INBOX", other)
        like(o.cmd("SELECT user/%s/INBOX" % ALICE)[0], b"OK [READ-ONLY]", "the administrator may")
        like(a.cmd("DELETEACL INBOX %s" % other)[0], b"OK", "and the owner takes it away again")
        text = open(host.conf).read()
        for word, replies in (("host", [b"OK", b"OK", b"OK"]), ("none", [b"NO", b"NO", b"NO"])):
            with open(host.conf, "w") as f:
                f.write(text + 'limits = { sharing = "%s"; };\n' % word)
            host.cli("reload")
            a = raw(host, ALICE)
            is_([a.cmd("SETACL Sent %s lr" % who)[0][:2] for who in (BOB, other, "anyone")], replies, "limits.sharing = %s" % word)


domains()
with Site(accounts={a: PASSWORD for a in (ALICE, BOB, CAROL, SALES)}, groups={"limits": "errors = 1000;"}) as host:
    a, b = raw(host, ALICE), raw(host, BOB)
    commands(a, b)
    listing(a, b)
    partial(a, b)
    session(host, a, b)
    matrix(a, b, MATRIX, SELECTED)
    shared(host, a, b)
    plain = host.imap(ALICE)
    is_(plain.myrights("INBOX"), ("OK", [b'"INBOX" lrswipkxteacd']), "imaplib: myrights")
    is_(plain.setacl("INBOX", CAROL, "lr")[0], "OK", "setacl")
    is_(plain.getacl("INBOX"), ("OK", [b'"INBOX" "alice@example.org" lrswipkxteacd "carol@example.org" lr']), "getacl")
    is_(plain.deleteacl("INBOX", CAROL)[0], "OK", "deleteacl")
    is_(plain.namespace()[0], "OK", "namespace")
    capability = a.ok("CAPABILITY")[0].split()
    for word in (b"ACL", b"RIGHTS=kxte", b"NAMESPACE"):
        ok(word in capability, "%s is advertised" % word.decode())
    host.cli("account", "add", "team@example.org", "--shared")
    host.cli("account", "share", "team@example.org", ALICE, "--rights", "all")
    like(a.cmd("SELECT shared/team@example.org/INBOX")[0], b"OK [READ-WRITE]", "account add --shared, and share")
    host.stop()
    r = host.cli("account", "share", ALICE + "/box", "anyone", "--rights", "write")
    is_(r.stdout, "anyone may lrswipkxte on 1 mailbox of alice@example.org, as user/alice@example.org/...\n",
        "account share while the host stands still")
    host.start()
    c = raw(host, CAROL)
    like(c.cmd("SELECT " + BOX)[0], b"OK [READ-WRITE]", "anyone is everybody")
    like(c.cmd("SELECT user/%s/INBOX" % ALICE)[0], b"NO [NONEXISTENT]", "and box is not all")
done()
