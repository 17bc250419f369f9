#!/usr/bin/env python3
"""offlineimap3: 500 messages in three folders to a Maildir, byte by byte; then arrivals, flags and removals of both
sides, first each alone and then in the same run; what both sides have is compared with what they should have."""
import email.utils
import os
import random
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import Host, diag, done, is_, ok  # noqa: E402

ALICE = "alice@example.org"
COUNTS = {"INBOX": 300, "Archive/2026": 150, "R&AOQ-ume": 50}
LETTERS = {"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "D": "\\Draft"}


def message(r, number):
    """CRLF lines, 8-bit text among them; the number is in the subject."""
    lines = ["Subject: number %d" % number, "Message-ID: <%d@example.net>" % number, "From: a@example.net",
             "Date: " + email.utils.formatdate(1700000000 + number), "Content-Type: text/plain; charset=utf-8", ""]
    for _ in range(r.randrange(1, 40)):
        lines.append(r.choice(["", "From the start", ".", "x" * r.randrange(1, 900), "ä ö ü 漢字", " leading", "trailing "]))
    return "\r\n".join(lines).encode() + b"\r\n"


def number(text):
    return int(text.split(b"Subject: number ", 1)[1].split(b"\n", 1)[0])


def flags_of(letters):
    return " ".join(LETTERS[l] for l in letters)


def on_server(c, folder):
    """{number: (text with LF, flags as Maildir letters)}"""
    out = {}
    c.select('"%s"' % folder, readonly=True)
    for item in c.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]:
        if isinstance(item, tuple):
            text = item[1].replace(b"\r\n", b"\n")
            letters = "".join(sorted(l for l, name in LETTERS.items() if name.encode() in item[0]))
            if number(text) in out:
                raise AssertionError("%s holds number %d twice" % (folder, number(text)))
            out[number(text)] = (text, letters)
    return out


def maildir(host, folder):
    return os.path.join(host.dir, "mail", folder.replace("/", "."))


def files(host, folder):
    """{number: path}"""
    out = {}
    for sub in ("new", "cur"):
        path = os.path.join(maildir(host, folder), sub)
        for name in os.listdir(path) if os.path.isdir(path) else ():
            with open(os.path.join(path, name), "rb") as f:
                n = number(f.read())
            if n in out:
                raise AssertionError("the Maildir %s holds number %d twice" % (folder, n))
            out[n] = os.path.join(path, name)
    return out


def on_disk(host, folder):
    out = {}
    for n, path in files(host, folder).items():
        with open(path, "rb") as f:
            text = b"".join(l for l in f.read().replace(b"\r\n", b"\n").splitlines(True)
                            if not l.startswith(b"X-OfflineIMAP: "))
        out[n] = (text, "".join(sorted(set(path.partition(":2,")[2]) & set(LETTERS))))
    return out


def differences(got, want):
    out = ["%d is missing" % n for n in sorted(want.keys() - got.keys())]
    out += ["%d should not be there" % n for n in sorted(got.keys() - want.keys())]
    for n in sorted(want.keys() & got.keys()):
        if got[n] != want[n]:
            out.append("%d: flags %r, wanted %r%s" % (n, got[n][1], want[n][1],
                                                      "" if got[n][0] == want[n][0] else ", and another text"))
    return out


def compare(host, want, what):
    """Both sides have exactly want: {folder: {number: (text, letters)}}."""
    with host.imap(ALICE) as c:
        for folder, messages in want.items():
            for side, got in (("server", on_server(c, folder)), ("Maildir", on_disk(host, folder))):
                wrong = differences(got, messages)
                if not ok(not wrong, "%s: the %s has the %d of %s" % (what, side, len(messages), folder)):
                    diag("\n".join(wrong[:10]))


def sync(host, what):
    r = subprocess.run(["offlineimap", "-c", host.dir + "/offlineimaprc", "-o", "-u", "basic"], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, env=dict(os.environ, HOME=host.dir))
    if not ok(r.returncode == 0 and b"ERROR" not in r.stdout, "offlineimap runs: " + what):
        diag(r.stdout[-3000:].decode(errors="replace"))


def configure(host):
    text = """[general]
accounts = a
metadata = %(dir)s/offlineimap
maxsyncaccounts = 1
[Account a]
localrepository = local
remoterepository = remote
[Repository local]
type = Maildir
localfolders = %(dir)s/mail
sep = .
[Repository remote]
type = IMAP
remotehost = 127.0.0.1
remoteport = %(port)d
remoteuser = %(user)s
remotepass = %(password)s
ssl = no
starttls = no
maxconnections = 3
expunge = yes
folderfilter = lambda name: name in %(folders)r
""" % {"dir": host.dir, "port": host.port("imap"), "user": ALICE, "password": host.accounts[ALICE], "folders": sorted(COUNTS)}
    with open(host.dir + "/offlineimaprc", "w") as f:
        f.write(text)
    os.chmod(host.dir + "/offlineimaprc", 0o600)
    os.makedirs(host.dir + "/mail", exist_ok=True)


class Sides:
    """Changes one side or the other, and knows what both should have after the next run."""

    def __init__(self, host, r):
        self.host, self.r = host, r
        self.want = {folder: {} for folder in COUNTS}
        self.next = 0

    def new(self, folder, letters):
        self.next += 1
        text = message(self.r, self.next)
        self.want[folder][self.next] = (text.replace(b"\r\n", b"\n"), letters)
        return self.next, text

    def letters(self):
        return "".join(sorted(self.r.sample("SFRD", self.r.randrange(5))))

    def server_adds(self, folder, count):
        with self.host.imap(ALICE) as c:
            for _ in range(count):
                letters = self.letters()
                _, text = self.new(folder, letters)
                status, answer = c.append('"%s"' % folder, "(%s)" % flags_of(letters), None, text)
                if status != "OK":
                    raise AssertionError(answer)

    def server_changes(self, folder, flagged, removed):
        with self.host.imap(ALICE) as c:
            c.select('"%s"' % folder)
            for n in flagged + removed:
                uid = c.uid("search", "HEADER", "Message-ID", "<%d@example.net>" % n)[1][0].decode()
                if n in removed:
                    c.uid("store", uid, "+FLAGS.SILENT", "(\\Deleted)")
                    del self.want[folder][n]
                    continue
                letters = self.letters()
                c.uid("store", uid, "FLAGS.SILENT", "(%s)" % flags_of(letters))
                self.want[folder][n] = (self.want[folder][n][0], letters)
            c.expunge()

    def disk_adds(self, folder, count):
        for _ in range(count):
            letters = self.letters()
            n, text = self.new(folder, letters)
            path = "%s/cur/%d_%d.1.test:2,%s" % (maildir(self.host, folder), 1700000000 + n, n, letters)
            with open(path, "wb") as f:
                f.write(text.replace(b"\r\n", b"\n"))

    def disk_changes(self, folder, flagged, removed):
        paths = files(self.host, folder)
        for n in flagged:
            letters = self.letters()
            where, name = os.path.split(paths[n])
            os.rename(paths[n], os.path.join(os.path.dirname(where), "cur", name.partition(":2,")[0] + ":2," + letters))
            self.want[folder][n] = (self.want[folder][n][0], letters)
        for n in removed:
            os.unlink(paths[n])
            del self.want[folder][n]

    def pick(self, folder, count):
        """Four disjoint samples of the messages of a folder."""
        chosen = self.r.sample(sorted(self.want[folder]), 4 * count)
        return [chosen[i * count:(i + 1) * count] for i in range(4)]


seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
diag("SEED=%d" % seed)
with Host((ALICE,)) as host:
    sides = Sides(host, random.Random(seed))
    configure(host)
    with host.imap(ALICE) as c:
        for folder in COUNTS:
            if folder != "INBOX":
                c.create('"%s"' % folder)
                c.subscribe('"%s"' % folder)
    for folder, count in COUNTS.items():
        sides.server_adds(folder, count)
    sync(host, "the first time")
    compare(host, sides.want, "first run")
    picked = {folder: sides.pick(folder, 8) for folder in COUNTS}
    for folder, (flagged, removed, _, _) in picked.items():
        sides.server_changes(folder, flagged, removed)
        sides.server_adds(folder, 5)
    sync(host, "after changes on the server")
    compare(host, sides.want, "the server's changes")
    for folder, (_, _, flagged, removed) in picked.items():
        sides.disk_changes(folder, flagged, removed)
        sides.disk_adds(folder, 5)
    sync(host, "after changes in the Maildir")
    compare(host, sides.want, "the Maildir's changes")
    picked = {folder: sides.pick(folder, 8) for folder in COUNTS}
    for folder, (flagged, removed, flagged_too, removed_too) in picked.items():
        sides.server_changes(folder, flagged, removed)
        sides.disk_changes(folder, flagged_too, removed_too)
        sides.server_adds(folder, 5)
        sides.disk_adds(folder, 5)
    sync(host, "after changes on both")
    compare(host, sides.want, "changes of both")
    host.restart()
    sync(host, "after a restart of the host, nothing new")
    compare(host, sides.want, "restart")
    shutil.rmtree(host.dir + "/offlineimap")
    shutil.rmtree(host.dir + "/mail")
    os.makedirs(host.dir + "/mail")
    sync(host, "into an empty Maildir")
    compare(host, sides.want, "all anew")
done()
