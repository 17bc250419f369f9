#!/usr/bin/env python3
"""LIST-EXTENDED, LIST-STATUS, special uses, the items of STATUS, and names that are none."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, done, is_, like, ok  # noqa: E402
from rawimap import RawImap  # noqa: E402

ALICE = "alice@example.org"
MESSAGE = b"From: a@example.org\r\nSubject: test\r\n\r\nHello.\r\n"


def raw(host, user=ALICE):
    c = RawImap(host.connect("imap"))
    c.ok('LOGIN %s "%s"' % (user, host.accounts[user]))
    return c


def listed(c, arguments):
    """{name: (attributes, rest)} of a LIST."""
    out = {}
    for line in c.ok("LIST " + arguments):
        found = re.match(rb'\* LIST \(([^)]*)\) "/" "([^"]*)"(.*)$', line)
        if found:
            out[found.group(2).decode()] = (sorted(found.group(1).decode().split()), found.group(3).decode())
    return out


def extended(c):
    for name in ("ext/foo/bar", "ext/fruit/apple", "ext/fruit/pear", "ext/gone", "ext/toys/car/red"):
        c.ok("CREATE " + name)
    for name in ("ext/foo/bar", "ext/fruit/pear", "ext/fruit", "ext/gone"):
        c.ok("SUBSCRIBE " + name)
    c.ok("DELETE ext/gone")
    c.ok("DELETE ext/toys/car")
    is_(listed(c, '"" (INBOX "ext/fruit/%" ext/foo)'),
        {"INBOX": (["\\HasNoChildren"], ""), "ext/fruit/apple": (["\\HasNoChildren"], ""),
         "ext/fruit/pear": (["\\HasNoChildren"], ""), "ext/foo": (["\\HasChildren"], "")}, "several patterns")
    is_(listed(c, '(SUBSCRIBED) "" "ext/*"'),
        {"ext/foo/bar": (["\\HasNoChildren", "\\Subscribed"], ""), "ext/fruit": (["\\HasChildren", "\\Subscribed"], ""),
         "ext/fruit/pear": (["\\HasNoChildren", "\\Subscribed"], ""),
         "ext/gone": (["\\HasNoChildren", "\\NonExistent", "\\Subscribed"], "")}, "SUBSCRIBED, with one that is gone")
    is_(listed(c, '(SUBSCRIBED RECURSIVEMATCH) "" "ext/%"'),
        {"ext/foo": (["\\HasChildren"], ' ("CHILDINFO" ("SUBSCRIBED"))'),
         "ext/fruit": (["\\HasChildren", "\\Subscribed"], ' ("CHILDINFO" ("SUBSCRIBED"))'),
         "ext/gone": (["\\HasNoChildren", "\\NonExistent", "\\Subscribed"], "")}, "RECURSIVEMATCH")
    is_(listed(c, '"" "ext/toys/%" RETURN (CHILDREN)'), {"ext/toys/car": (["\\HasChildren", "\\NonExistent"], "")},
        "a level without a mailbox, extended")
    is_(listed(c, '"" "ext/toys/%"'), {"ext/toys/car": (["\\HasChildren", "\\Noselect"], "")}, "and plain")
    is_(listed(c, '"" "ext/toys/*"'), {"ext/toys/car/red": (["\\HasNoChildren"], "")}, "* needs no such level")
    is_(listed(c, '"" "ext/%" RETURN (SUBSCRIBED)')["ext/fruit"][0], ["\\HasChildren", "\\Subscribed"],
        "RETURN (SUBSCRIBED)")
    is_(listed(c, '(REMOTE) "" "ext/foo"'), {"ext/foo": (["\\HasChildren"], "")}, "REMOTE changes nothing")
    is_(c.ok('LIST () "" ""'), [], "no special meaning of an empty pattern when extended")
    for bad in ('(RECURSIVEMATCH) "" "*"', '(WHAT) "" "*"', '"" "*" RETURN (WHAT)', '"" ()', '"" "*" RETURN (STATUS)'):
        like(c.cmd("LIST " + bad)[0], b"BAD", "LIST %s is wrong" % bad)
    is_(listed(c, '"" "ext/f&-*"'), {}, "& in a pattern")
    many = " ".join("x%d" % i for i in range(70))
    like(c.cmd('LIST "" (%s)' % many)[0], b"BAD", "70 patterns are too many")


def special(c):
    is_({k: v[0] for k, v in listed(c, '(SPECIAL-USE) "" "*"').items()},
        {"Drafts": ["\\Drafts", "\\HasNoChildren"], "Sent": ["\\HasNoChildren", "\\Sent"],
         "Junk": ["\\HasNoChildren", "\\Junk"], "Trash": ["\\HasNoChildren", "\\Trash"]}, "LIST (SPECIAL-USE)")
    like(c.cmd("CREATE sp1 (USE (\\Archive))")[0], b"OK [MAILBOXID (", "CREATE with a use tells the MAILBOXID")
    is_(listed(c, '"" sp1 RETURN (SPECIAL-USE)'), {"sp1": (["\\Archive", "\\HasNoChildren"], "")}, "and it has it")
    like(c.cmd("CREATE sp2 (USE (\\Archive \\Sent))")[0], b"NO [USEATTR]", "two uses")
    like(c.cmd("CREATE sp2 (USE (\\All))")[0], b"NO [USEATTR]", "a use that there is not")
    like(c.cmd("CREATE sp2 (WHAT (\\Sent))")[0], b"BAD", "a parameter that there is not")
    is_(listed(c, '"" sp2'), {}, "none was made")
    like(c.cmd("CREATE sp2 (USE ())")[0], b"OK", "no use")


def status(c):
    c.ok("CREATE st")
    size = 0
    for i in range(4):
        body = MESSAGE + b"x" * i
        c.append("st", body)
        size += len(body)
    other = c.ok("STATUS st (MESSAGES RECENT UIDNEXT UNSEEN DELETED SIZE DELETED-STORAGE)")
    is_(other, [b'* STATUS "st" (MESSAGES 4 RECENT 4 UIDNEXT 5 UNSEEN 4 DELETED 0 SIZE %d DELETED-STORAGE 0)' % size],
        "STATUS")
    lines = c.ok("SELECT st")
    box = re.search(rb"MAILBOXID \(([^)]+)\)", b"\n".join(lines))
    ok(box, "SELECT tells the MAILBOXID")
    is_(c.ok("STATUS st (MAILBOXID)"), [b'* STATUS "st" (MAILBOXID (%s))' % box.group(1)], "so does STATUS")
    c.ok("STORE 1,4 +FLAGS.SILENT (\\Deleted)")
    is_(c.ok("STATUS st (DELETED DELETED-STORAGE)"),
        [b'* STATUS "st" (DELETED 2 DELETED-STORAGE %d)' % (2 * len(MESSAGE) + 3)], "what EXPUNGE would free")
    c.ok("UNSELECT")
    ok(re.match(rb'\* STATUS "st" \(APPENDLIMIT \d+\)', c.ok("STATUS st (APPENDLIMIT)")[0]), "APPENDLIMIT")
    modseq = re.match(rb'\* STATUS "st" \(HIGHESTMODSEQ (\d+)\)', c.ok("STATUS st (HIGHESTMODSEQ)")[0])
    ok(modseq and int(modseq.group(1)) > 0, "HIGHESTMODSEQ")
    c.ok("SELECT st")
    like(b"\n".join(c.ok("STORE 2 +FLAGS (\\Seen)")), b"MODSEQ", "which has enabled CONDSTORE")
    c.ok("UNSELECT")
    like(c.cmd("STATUS st ()")[0], b"BAD", "no items")
    c.ok("RENAME st st2")
    is_(c.ok("STATUS st2 (MAILBOXID)"), [b'* STATUS "st2" (MAILBOXID (%s))' % box.group(1)], "RENAME keeps the MAILBOXID")
    is_(c.ok('LIST "" "st%" RETURN (STATUS (MESSAGES UNSEEN))'),
        [b'* LIST (\\HasNoChildren) "/" "st2"', b'* STATUS "st2" (MESSAGES 4 UNSEEN 3)'], "LIST-STATUS")
    is_(c.ok('LIST (SUBSCRIBED) "" "ext/gone" RETURN (STATUS (MESSAGES))'),
        [b'* LIST (\\HasNoChildren \\NonExistent \\Subscribed) "/" "ext/gone"'], "without STATUS for what is not there")


def names(c):
    for command in ("SELECT a&b", "EXAMINE a&b", 'CREATE "a&b"', "DELETE a&b", "STATUS a&b (MESSAGES)", "SUBSCRIBE a&b",
                    "RENAME a&b c", "RENAME Sent a&b", "UNSUBSCRIBE a&b", "SELECT &AAA-"):
        like(c.cmd(command)[0], b"NO", "%s: no such name, but no syntax error" % command)
    is_(c.ok('LIST "" "a&b*"'), [], "LIST of it finds nothing")
    like(c.cmd(b"SELECT {3+}\r\na\xc3\xa4")[0], b"NO", "8-bit names are none")
    like(c.append("a&b", MESSAGE), b"NO [TRYCREATE]", "APPEND to it")
    for name in ("user", "shared", "user/x", "shared/x", "user/nobody@example.org/x"):
        like(c.cmd("CREATE " + name)[0], b"NO", "CREATE %s: the namespaces are reserved" % name)
    is_(c.ok("NAMESPACE"), [b'* NAMESPACE (("" "/")) (("user/" "/")) (("shared/" "/"))'], "NAMESPACE")
    is_([n for n in listed(c, '"" "%"') if n in ("user", "shared")], [], "whose levels stay away while empty")


with Host(accounts=(ALICE,)) as host:
    client = raw(host)
    extended(client)
    special(client)
    status(client)
    names(client)
    capability = client.ok("CAPABILITY")[0].split()
    for word in (b"LIST-EXTENDED", b"LIST-STATUS", b"SPECIAL-USE", b"CREATE-SPECIAL-USE", b"STATUS=SIZE", b"CHILDREN"):
        ok(word in capability, "%s is advertised" % word.decode())
done()
