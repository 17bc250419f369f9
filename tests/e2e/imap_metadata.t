#!/usr/bin/env python3
"""GETMETADATA and SETMETADATA: entries of mailboxes and of the server, options, limits and rights."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, done, is_, like, ok  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE, BOB = "alice@example.org", "bob@example.org"


def raw(host, user):
    c = RawImap(host.connect("imap"))
    c.ok('LOGIN %s "%s"' % (user, host.accounts[user]))
    return c


def basics(c):
    is_(c.ok("GETMETADATA INBOX /shared/comment"), [], "nothing is there at first")
    c.ok('SETMETADATA INBOX (/private/comment "mine" /SHARED/Comment "ours")')
    is_(c.ok("GETMETADATA INBOX (/private/comment /shared/comment)"),
        [b'* METADATA "INBOX" (/private/comment "mine" /shared/comment "ours")'], "SETMETADATA of two")
    is_(c.ok('GETMETADATA "INBOX" /Shared/COMMENT'), [b'* METADATA "INBOX" (/shared/comment "ours")'], "names in any case")
    c.ok("SETMETADATA INBOX (/private/comment NIL)")
    is_(c.ok("GETMETADATA INBOX (/private/comment)"), [], "NIL takes it away")
    c.ok('SETMETADATA INBOX (/private/comment "")')
    is_(c.ok("GETMETADATA INBOX /private/comment"), [b'* METADATA "INBOX" (/private/comment "")'], "an empty value is one")
    c.ok(b"SETMETADATA INBOX (/private/comment {12+}\r\nline\r\nline 2)")
    is_(c.ok("GETMETADATA INBOX /private/comment"), [b'* METADATA "INBOX" (/private/comment {12}\r\nline\r\nline 2)'],
        "lines come as a literal")


def depth(c):
    c.ok("CREATE deep")
    c.ok('SETMETADATA deep (/private/vendor/a "1" /private/vendor/a/b "22" /private/vendor/a/b/c "333" /private/vendor/ax "4")')
    is_(c.ok("GETMETADATA (DEPTH 0) deep /private/vendor/a"), [b'* METADATA "deep" (/private/vendor/a "1")'], "DEPTH 0")
    is_(c.ok("GETMETADATA (DEPTH 1) deep /private/vendor/a"),
        [b'* METADATA "deep" (/private/vendor/a "1" /private/vendor/a/b "22")'], "DEPTH 1")
    is_(c.ok("GETMETADATA deep (DEPTH infinity) (/private)"),
        [b'* METADATA "deep" (/private/vendor/a "1" /private/vendor/a/b "22" /private/vendor/a/b/c "333" /private/vendor/ax "4")'],
        "DEPTH infinity, options behind the mailbox")
    status, lines = c.cmd("GETMETADATA (DEPTH infinity MAXSIZE 2) deep /private/vendor")
    like(status, b"OK [METADATA LONGENTRIES 3]", "MAXSIZE tells of longer ones")
    is_(lines, [b'* METADATA "deep" (/private/vendor/a "1" /private/vendor/a/b "22" /private/vendor/ax "4")'], "and leaves them out")
    c.ok("RENAME deep deeper")
    is_(c.ok("GETMETADATA deeper /private/vendor/a"), [b'* METADATA "deeper" (/private/vendor/a "1")'], "RENAME keeps entries")
    c.ok("DELETE deeper")
    c.ok("CREATE deeper")
    is_(c.ok("GETMETADATA (DEPTH infinity) deeper (/private /shared)"), [], "a new mailbox of the name has none")


def server(c):
    is_(c.ok('GETMETADATA "" /shared/admin'), [b'* METADATA "" (/shared/admin "mailto:alice@example.org")'], "the server's /shared/admin")
    like(c.cmd('SETMETADATA "" (/shared/comment "x")')[0], b"NO [NOPERM]", "which users do not set")
    c.ok('SETMETADATA "" (/private/comment "note")')
    is_(c.ok('GETMETADATA "" /private/comment'), [b'* METADATA "" (/private/comment "note")'], "a private one may be")
    is_(c.ok("GETMETADATA Sent /private/specialuse"), [b'* METADATA "Sent" (/private/specialuse "\\\\Sent")'], "/private/specialuse")
    like(c.cmd('SETMETADATA Sent (/private/specialuse "\\\\Junk")')[0], b"NO", "is not to be set")


def errors(c):
    for bad in ("INBOX", "INBOX ()", "INBOX /comment", "INBOX /privately/x", "INBOX /private", "INBOX /private/", "INBOX /private//x",
                'INBOX "/private/a*"', "(DEPTH 2) INBOX /private/x", "(WHAT 1) INBOX /private/x", "(MAXSIZE) INBOX /private/x",
                "INBOX (/private/x", "INBOX /private/x /private/y"):
        like(c.cmd("GETMETADATA " + bad)[0], b"BAD", "GETMETADATA %s is wrong" % bad)
    for bad in ("INBOX", "INBOX ()", "INBOX (/private/x)", "INBOX (/private/x x)", "INBOX (/private/x NIL", 'INBOX /private/x "y"'):
        like(c.cmd("SETMETADATA " + bad)[0], b"BAD", "SETMETADATA %s is wrong" % bad)
    like(c.cmd("GETMETADATA nowhere /private/x")[0], b"NO [NONEXISTENT]", "no such mailbox")
    like(c.cmd(b"GETMETADATA a&b /private/x")[0], b"NO [NONEXISTENT]", "nor one that is no name")
    like(c.cmd(b"SETMETADATA INBOX (/private/big {32769+}\r\n" + b"x" * 32769 + b")")[0], b"NO [METADATA MAXSIZE 32768]", "too long")
    like(c.cmd(b"SETMETADATA INBOX (/private/ok \"1\" /private/big {32769+}\r\n" + b"x" * 32769 + b")")[0], b"NO", "one of two too long")
    is_(c.ok("GETMETADATA INBOX /private/ok"), [], "sets neither")
    c.ok(b"SETMETADATA INBOX (/private/big {32768+}\r\n" + b"x" * 32768 + b")")
    is_(len(c.ok("GETMETADATA INBOX /private/big")[0]), 32768 + len(b'* METADATA "INBOX" (/private/big {32768}\r\n)'), "the longest")
    c.ok("CREATE many")
    for start in range(0, 500, 100):
        c.ok("SETMETADATA many (%s)" % " ".join('/private/e%d "x"' % i for i in range(start, start + 100)))
    like(c.cmd('SETMETADATA many (/private/e500 "x")')[0], b"NO [METADATA TOOMANY]", "more than 500")
    like(c.cmd("SETMETADATA many (%s)" % " ".join('/private/e%d "x"' % i for i in range(101)))[0], b"BAD", "more than 100 at once")


def rights(alice, bob):
    alice.ok("CREATE box")
    alice.ok('SETMETADATA box (/private/comment "hers" /shared/comment "box")')
    box = "user/%s/box" % ALICE
    get_shared, get_private = "GETMETADATA %s /shared/comment" % box, "GETMETADATA %s /private/comment" % box
    set_shared, set_private = 'SETMETADATA %s (/shared/comment "new")' % box, 'SETMETADATA %s (/private/comment "his")' % box
    table = [("", "NNNN"), ("r", "NNNN"), ("l", "PPPP"), ("lr", "OOPO"), ("lw", "POOO"), ("ls", "POPO"), ("li", "POPO"), ("lp", "POPO"),
             ("lk", "PPPP"), ("la", "PPPP"), ("lrw", "OOOO")]
    names = {"N": b"NO [NONEXISTENT]", "P": b"NO [NOPERM]", "O": b"OK"}
    for given, want in table:
        alice.ok('SETACL box %s "%s"' % (BOB, given))
        got = [bob.cmd(command)[0] for command in (get_shared, get_private, set_shared, set_private)]
        ok(all(g.startswith(names[w]) for g, w in zip(got, want)), "rights \"%s\": %s %r" % (given, want, got))
    is_(bob.ok(get_private), [b'* METADATA "%s" (/private/comment "his")' % box.encode()], "private is each one's own")
    is_(alice.ok("GETMETADATA box /private/comment"), [b'* METADATA "box" (/private/comment "hers")'], "the owner's too")
    is_(alice.ok("GETMETADATA box /shared/comment"), [b'* METADATA "box" (/shared/comment "new")'], "shared is common")


with Host(accounts=(ALICE, BOB), groups={"limits": "errors = 1000;"}) as host:
    a, b = raw(host, ALICE), raw(host, BOB)
    basics(a)
    depth(a)
    server(a)
    errors(a)
    rights(a, b)
    ok(b"METADATA" in a.ok("CAPABILITY")[0].split(), "METADATA is advertised")
done()
