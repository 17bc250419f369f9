#!/usr/bin/env python3
"""neomutt and mutt, with header and body cache, plain and as clients of CONDSTORE and QRESYNC: list, read, flag, delete,
search on the server, save elsewhere; changes by another session while they are open, and while they are not."""
import os
import re
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
from host import Host, diag, done, is_, ok  # noqa: E402
from terminal import Terminal  # noqa: E402

COUNT = 40
ROW = re.compile(r"^ *(\d+):(...):(number \d+)\.$")


def message(n):
    return ("Subject: number %d\r\nFrom: a@example.net\r\nMessage-ID: <%d@example.net>\r\nDate: Mon, 2 Nov 2026 10:%02d:00 +0000\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\nText of %d: ä ö ü 漢字.\r\n.\r\nFrom the start\r\n%s\r\n%s\r\n" % (
                n, n, n % 60, n, "x" * 70 * (n % 5), "a needle in it" if n % 7 == 3 else "hay")).encode()


class Model:
    """What the mailbox should hold: [[number, flags as the list shows them]]"""

    def __init__(self):
        self.rows = []

    def add(self, n, flags="N  "):
        self.rows.append([n, flags])

    def flags(self, n, flags):
        next(row for row in self.rows if row[0] == n)[1] = flags

    def remove(self, n):
        self.rows = [row for row in self.rows if row[0] != n]

    def shown(self, numbers=None):
        rows = [row for row in self.rows if numbers is None or row[0] in numbers]
        return [(i + 1, flags, "number %d" % n) for i, (n, flags) in enumerate(rows)]


class Client:
    def __init__(self, host, user, program, resync):
        self.host, self.user, self.program, self.resync = host, user, program, resync
        self.dir = os.path.join(host.dir, user.split("@")[0])
        os.makedirs(self.dir + "/cache/bodies")
        self.runs = 0
        text = """set folder="imap://127.0.0.1:%(port)d/"
set imap_user="%(user)s"
set imap_pass="%(password)s"
set spoolfile="+INBOX"
set record=""
set header_cache="%(dir)s/cache/headers"
set message_cachedir="%(dir)s/cache/bodies"
set imap_condstore=%(resync)s
set imap_qresync=%(resync)s
set imap_idle=yes imap_keepalive=60 imap_check_subscribed=yes
set ssl_starttls=no ssl_force_tls=no
set mail_check=1 timeout=1 sleep_time=0
set index_format="%%C:%%Z:%%s."
set to_chars="       "
set sort=mailbox-order
set mark_old=no resolve=no delete=yes quit=yes move=no confirmappend=no confirmcreate=no wait_key=no beep=no help=no
set pager_index_lines=0 pipe_decode=no
""" % {"port": host.port("imap"), "user": user, "password": host.accounts[user], "dir": self.dir,
            "resync": "yes" if resync else "no"}
        if program == "neomutt":
            text += "set debug_file=\"%(dir)s/debug\" debug_level=2\n" % {"dir": self.dir}
        with open(self.dir + "/rc", "w") as f:
            f.write(text)

    def start(self, folder="+INBOX"):
        self.runs += 1
        debug = ["-d", "2", "-l", self.dir + "/debug"] if self.program == "neomutt" else ["-d", "2"]
        self.t = Terminal([self.program, "-n", "-F", self.dir + "/rc"] + debug + ["-f", folder],
                          dict(os.environ, HOME=self.dir, LC_ALL="C.UTF-8"), cwd=self.dir)
        return self.t

    def debug(self):
        """What it said to the server in this run."""
        path = self.dir + ("/debug0" if self.program == "neomutt" else "/.muttdebug0")
        with open(path, errors="replace") as f:
            return f.read()

    def rows(self):
        found = [ROW.match(line) for line in self.t.lines()]
        return [(int(m.group(1)), m.group(2), m.group(3)) for m in found if m]

    def shows(self, want, what):
        try:
            self.t.wait(lambda: self.rows() == want, what)
            ok(True, self.name(what))
        except AssertionError as e:
            is_(self.rows(), want, self.name(what))
            diag(e)

    def sees(self, part, what):
        try:
            self.t.wait(lambda: part in self.t.text(), what)
            ok(True, self.name(what))
        except AssertionError as e:
            ok(False, self.name(what))
            diag(e)

    def name(self, what):
        return "%s%s: %s" % (self.program, " with QRESYNC" if self.resync else "", what)

    def type(self, keys):
        self.t.type(keys)

    def goto(self, position):
        self.type("%d\r" % position)

    def quit(self):
        self.type("q")
        code = self.t.exit()
        self.t.__exit__()
        is_(code, 0, self.name("ends"))


def server(host, user, folder="INBOX"):
    """[(number, flags, text)] in the order of the mailbox."""
    out = []
    with host.imap(user) as c:
        c.select(folder, readonly=True)
        for item in c.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                flags = set(re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).decode().split()) - {"\\Recent"}
                out.append((int(item[1].split(b"Subject: number ")[1].split(b"\r")[0]), sorted(flags), item[1]))
    return out


def work(client, model):
    """One run with every command, each compared with the list and then with the server."""
    host, user = client.host, client.user
    client.start()
    client.shows(model.shown(), "the list")
    client.goto(5)
    client.type("\r")
    client.sees("Text of 5: ä ö ü 漢字.", "reads a message")
    client.type("q")
    model.flags(5, "   ")
    client.goto(6)
    client.type("F")
    model.flags(6, "N !")
    client.shows(model.shown(), "what was read, and flagged")
    client.goto(7)
    piped = client.dir + "/piped"
    client.type("|cat >%s.part && mv %s.part %s\r" % (piped, piped, piped))
    client.t.wait(lambda: os.path.exists(piped), "a message that is piped")
    with open(piped, "rb") as f:
        is_(f.read(), message(7).replace(b"\r\n", b"\n"), client.name("a message comes as it is"))
    client.goto(8)
    client.type("d")
    client.goto(9)
    client.type("C=Copies\r")
    client.goto(10)
    client.type("s=Saved\r")
    client.t.wait(lambda: any(row[0] == 10 and row[1][1] == "D" for row in client.rows()), "saved, and marked as deleted")
    for key in ("=b", "~b"):
        client.type("l%s needle\r" % key)
        client.t.wait(lambda: len(client.rows()) < COUNT, "the limit " + key)
        is_([row[2] for row in client.rows()], ["number %d" % n for n in range(1, COUNT + 1) if n % 7 == 3],
            client.name("limited to %s needle" % key))
        client.type("lall\r")
        client.t.wait(lambda: len(client.rows()) == COUNT, "no limit")
    client.type("$")
    model.remove(8)
    model.remove(10)
    client.shows(model.shown(), "after $")
    is_([row[:2] for row in server(host, user)],
        [(n, {"N  ": [], "   ": ["\\Seen"], "N !": ["\\Flagged"]}[flags]) for n, flags in model.rows],
        client.name("the server has the same"))
    for folder, n in (("Copies", 9), ("Saved", 10)):
        is_([(row[0], row[2]) for row in server(host, user, folder)], [(n, message(n))], client.name(folder + " has it"))


def others_change(host, user, model, n, remove):
    """What another session does: an answer, a removal or three, two arrivals, one of them read."""
    with host.imap(user) as c:
        c.select("INBOX")

        def uid(number):
            return c.uid("search", "HEADER", "Message-ID", "<%d@example.net>" % number)[1][0].decode()
        first = model.rows[0][0]
        for number in model.rows[1][0], model.rows[-1][0]:
            c.uid("store", uid(number), "+FLAGS", "(\\Answered \\Seen)")
            model.flags(number, "r  ")
        c.uid("store", uid(first), "+FLAGS", "(\\Flagged)")
        model.flags(first, "N !")
        for number in remove:
            c.uid("store", uid(number), "+FLAGS.SILENT", "(\\Deleted)")
            model.remove(number)
        c.expunge()
        for number, flags in ((n, ""), (n + 1, "\\Seen")):
            c.append("INBOX", "(%s)" % flags, None, message(number))
            model.add(number, "   " if flags else "N  ")


def anew(host, user):
    """INBOX emptied and Copies made anew under the same name: the cache of the client is of no use."""
    with host.imap(user) as c:
        c.delete("Copies")
        c.create("Copies")
        c.append("Copies", None, None, message(777))


def resynchronised(client, removed):
    """The protocol of a start with a cache.  neomutt 20220429 loses its numbers when messages vanish ("QRESYNC failed.
    Reopening mailbox.") and asks for all flags again; mutt shows that what it was told was right."""
    debug = client.debug()
    selected = re.findall(r"SELECT \"?INBOX\"?[^\r\n]*", debug)
    ok(selected and all(("(CONDSTORE)" in s) == client.resync for s in selected), client.name("SELECT as configured")) or diag(selected)
    asked = re.search(r"UID FETCH 1:\d+ \(FLAGS\) \(CHANGEDSINCE \d+ VANISHED\)", debug)
    is_(asked is not None, client.resync, client.name("asks for what has changed, if configured"))
    is_("Handling VANISHED" in debug, bool(client.resync and removed), client.name("is told what vanished, if any"))
    if client.program == "mutt" or not removed:
        ok("QRESYNC failed" not in debug, client.name("and finds that its numbers are right"))
    fetched = re.findall(r" FETCH [0-9:,]+ \(UID FLAGS INTERNALDATE", debug)
    ok(0 < len(fetched) < 5, client.name("with few headers fetched")) or diag(fetched)


def run(host, user, program, resync):
    model = Model()
    with host.imap(user) as c:
        c.create("Copies")
        c.create("Saved")
        for n in range(1, COUNT + 1):
            c.append("INBOX", None, None, message(n))
            model.add(n)
    client = Client(host, user, program, resync)
    work(client, model)
    others_change(host, user, model, 101, [11])
    client.shows(model.shown(), "what another session changes meanwhile is shown")
    client.quit()
    for times in (1, 2, 3):
        removed = [n for n, _ in model.rows[3 * times:3 * times + 3]] if times < 3 else []
        others_change(host, user, model, 200 + 2 * times, removed)
        client.start()
        client.shows(model.shown(), "what another session changed before start %d is shown" % (times + 1))
        client.goto(len(model.rows))
        client.type("\r")
        client.sees("Text of %d:" % model.rows[-1][0], "reads the last")
        client.type("q")
        client.shows(model.shown(), "and flags are as before")
        client.quit()
        resynchronised(client, removed)
    anew(host, user)
    client.start("+Copies")
    client.shows([(1, "N  ", "number 777")], "a mailbox made anew is not shown from the cache")
    client.goto(1)
    client.type("\r")
    client.sees("Text of 777:", "nor its message")
    client.type("q")
    client.quit()
    is_([row[2] for row in server(host, user, "Copies")], [message(777)], client.name("and the server has it"))


CASES = (("carol@example.org", "neomutt", False), ("alice@example.org", "neomutt", True), ("bob@example.org", "mutt", True))
with Host([case[0] for case in CASES]) as host:
    for user, program, resync in CASES:
        try:
            run(host, user, program, resync)
        except Exception as e:  # the others still run
            ok(False, "%s: %r" % (program, str(e)[:200]))
            diag(traceback.format_exc())
            host.show_log(10)
done()
