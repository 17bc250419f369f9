#!/usr/bin/env python3
"""pop3.delete: what POP3 clients delete is expunged, hidden from POP3 alone, or hidden and expunged after pop3.keep."""
import os

from host import Host, done, is_, ok, wait_until

ALICE = "alice@example.org"


def subjects(pop):
    return sorted(pop.retr(n + 1)[1][-1] for n in range(len(pop.list()[1])))


def deliver(host, *names):
    for name in names:
        host.deliver(ALICE, b"Subject: %s\r\n\r\n%s\r\n" % (name, name))


def delete(host, *numbers):
    pop = host.pop3(ALICE)
    for n in numbers:
        pop.dele(n)
    pop.quit()


def seen(host):
    """What POP3 and what IMAP has, by the last line of each."""
    pop, imap = host.pop3(ALICE), host.imap(ALICE)
    imap.select("INBOX", readonly=True)
    lines = imap.fetch("1:*", "(BODY.PEEK[TEXT])")[1]
    there = sorted(part[1].strip() for part in lines if isinstance(part, tuple))
    mine = subjects(pop)
    pop.quit()
    imap.logout()
    return mine, there


def reload(host, text):
    with open(host.conf) as f:
        old = f.read()
    lines = [line for line in old.splitlines() if not line.startswith("pop3 =")]
    with open(host.conf, "w") as f:
        f.write("\n".join(lines) + "\n" + text + "\n")
    host.cli("reload")


with Host() as host:
    deliver(host, b"a", b"b", b"c", b"d")
    delete(host, 2)
    is_(seen(host), ([b"a", b"c", b"d"], [b"a", b"c", b"d"]), "expunge, by default")
    reload(host, 'pop3 = { delete = "hide"; };')
    delete(host, 2)
    is_(seen(host), ([b"a", b"d"], [b"a", b"c", b"d"]), "hide: only POP3 has lost it")
    uidl = host.pop3(ALICE).uidl()[1]
    # Those on both sides of a hidden one, deleted together, leave it alone.
    reload(host, 'pop3 = { delete = "expunge"; };')
    is_(host.pop3(ALICE).uidl()[1], uidl, "what was hidden stays hidden, and UIDLs stand")
    delete(host, 1, 2)
    is_(seen(host), ([], [b"c"]), "expunging its neighbours leaves it")
    deliver(host, b"e", b"f")
    reload(host, 'pop3 = { delete = "keep"; keep = "1h"; };')
    delete(host, 1)
    is_(seen(host), ([b"f"], [b"c", b"e", b"f"]), "keep: hidden for now")
    pop = host.pop3(ALICE)
    pop.dele(1)
    ended = host.log().count("reason=eof")
    pop.close()
    wait_until(lambda: host.log().count("reason=eof") > ended, "the session's end")
    is_(seen(host), ([b"f"], [b"c", b"e", b"f"]), "a session that breaks off changes nothing")
    reload(host, 'pop3 = { delete = "keep"; keep = "1s"; };')
    os.system("sleep 2")  # the times in the store are whole seconds
    host.pop3(ALICE).quit()
    is_(seen(host), ([b"f"], [b"f"]), "and expunged when it has been there for long enough")
    ok("problems" not in host.cli("store", "verify", check=False).stderr, "the store is sound")
done()
