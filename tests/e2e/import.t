#!/usr/bin/env python3
"""mailadm import: a Maildir and a live server (a real Dovecot), Courier's files, mbox; kept UIDs, flags, keywords, dates;
again and after kill -9 without doubles; a stopped host; what is wrong does not stop the rest."""
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from dovecot import PASSWORD as OLD, Dovecot, there  # noqa: E402
from host import MAILADM, Host, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402

if not there():
    skip_all("no dovecot here")

A, B, C, D = ("%s@example.org" % n for n in ("alice", "bob", "carol", "dave"))
DATE = 1600000000


def message(n, extra=""):
    return ("From: a%d@example.net\r\nTo: b@example.org\r\nSubject: message %d\r\nMessage-ID: <%d@example.net>\r\n%s\r\nbody %d\r\n%s"
            % (n, n, n, extra, n, "x" * (n * 137 % 3000) + "\r\n")).encode()


def content(imap, folder):
    """{uid: (flags, date, hash)} and UIDVALIDITY, in one form for both servers."""
    assert imap.select('"%s"' % folder, readonly=True)[0] == "OK", folder
    validity = imap.response("UIDVALIDITY")[1][0]
    out = {}
    if imap.uid("SEARCH", "ALL")[1][0]:
        for part in imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]:
            if isinstance(part, tuple):
                head = part[0].decode()
                body = part[1]
            elif part != b")":
                head += part.decode()
            if not isinstance(part, tuple):
                uid = int(re.search(r"UID (\d+)", head)[1])
                flags = set(re.search(r"FLAGS \(([^)]*)\)", head)[1].split()) - {"\\Recent"}
                date = time.mktime(imaplib_date(head))
                out[uid] = (sorted(flags), date, hashlib.sha256(body).hexdigest())
    return out, validity


def imaplib_date(head):
    import imaplib
    return imaplib.Internaldate2tuple(('INTERNALDATE ' + re.search(r'INTERNALDATE ("[^"]*")', head)[1]).encode())


def fill(dovecot, user, count):
    c = dovecot.imap(user)
    for folder in ("Sent", "Work", "Work.B&APY-se", "Empty", "Spam"):
        c.create(folder)
    for folder in ("Work", "Sent"):
        c.subscribe(folder)
    for n in range(count):
        folder = ("INBOX", "Sent", "Work", "Work.B&APY-se")[n % 4] if n < 200 else "INBOX"
        flags = " ".join(f for i, f in enumerate(("\\Seen", "\\Flagged", "\\Answered", "$Forwarded", "urgent")) if n >> i & 1)
        c.append('"%s"' % folder, "(%s)" % flags, '"%s +0000"' % time.strftime("%d-%b-%Y %H:%M:%S", time.gmtime(DATE + n * 77)), message(n))
    c.select("INBOX")
    c.uid("STORE", "3,7", "+FLAGS", "(\\Deleted)")
    c.expunge()
    c.logout()


def compare(host, dovecot, user, account, folders, what):
    """The same messages under the same UIDs."""
    theirs, ours = dovecot.imap(user), host.imap(account)
    for old, new in folders.items():
        got, want = content(ours, new), content(theirs, old)
        differ = [(u, got[0].get(u), want[0].get(u)) for u in sorted(set(got[0]) | set(want[0])) if got[0].get(u) != want[0].get(u)]
        is_((differ[:5], got[1]), ([], want[1]), "%s: %s is as it was" % (what, old))
    theirs.logout()
    ours.logout()


def run(host, *args, **kw):
    r = host.cli("--json", "import", *args, check=False, **kw)
    try:
        return r.returncode, json.loads(r.stdout), r.stderr
    except ValueError:
        diag(r.stdout + r.stderr)
        return r.returncode, {}, r.stderr


FOLDERS = {"INBOX": "INBOX", "Sent": "Sent", "Work": "Work", "Work.B&APY-se": "Work/B&APY-se"}


def maildir(host, dovecot):
    path = dovecot.maildir("old")
    status, r, err = run(host, "maildir", A, path, "--dry-run")
    is_((status, r.get("messages"), r.get("imported")), (0, 298, 0), "a dry run counts and imports nothing")
    status, r, err = run(host, "maildir", A, path, "--exclude", "Spam")
    is_((status, r.get("imported"), r.get("present"), r.get("failed"), r.get("problems")), (0, 298, 0, 0, []), "a Maildir is imported")
    ok(all(f["uid_validity_kept"] and f["uids_changed"] == 0 for f in r.get("folders", [])), "with its UIDVALIDITYs and UIDs")
    compare(host, dovecot, "old", A, FOLDERS, "maildir")
    status, r, err = run(host, "maildir", A, path, "--exclude", "Spam")
    is_((status, r.get("imported"), r.get("present")), (0, 0, 298), "again: all is there")
    ours = host.imap(A)
    subscribed = b" ".join(ours.lsub()[1]).decode()
    names = b" ".join(ours.list()[1]).decode()
    ok("Work" in subscribed and "Empty" in names and "Spam" not in names, "an empty folder comes, an excluded one not") or diag(names + subscribed)
    ok("Work/B" not in subscribed, "what nobody had subscribed to is not")
    ours.logout()


def live(host, dovecot):
    args = ("imap", B, "localhost:%d" % (dovecot.offset + 993), "--user", "old")
    r = host.cli("import", *args, input=OLD + "\n", check=False)
    is_(r.returncode, 2, "a certificate that nobody signed is refused")
    like(r.stderr, "certificate", "and that is said")
    status, r, err = run(host, *args, "--insecure", input="wrong\n")
    is_((status, r.get("complete")), (2, False), "a wrong password")
    like(err, "refuses the login", "is said")
    status, r, err = run(host, *args, "--insecure", "--map", "Work=Old/Job", "--exclude", "Spam", input=OLD + "\n")
    is_((status, r.get("imported"), r.get("failed"), r.get("problems")), (0, 298, 0, []), "a live server is imported")
    compare(host, dovecot, "old", B, {"INBOX": "INBOX", "Sent": "Sent", "Work": "Old/Job", "Work.B&APY-se": "Old/Job/B&APY-se"}, "imap")
    c = dovecot.imap("old")
    c.append("INBOX", "(\\Seen)", None, message(9999))
    c.logout()
    status, r, err = run(host, "imap", B, "127.0.0.1:%d" % (dovecot.offset + 143), "--user", "old", "--starttls", "--insecure", "--map",
                         "Work=Old/Job", "--exclude", "Spam", input=OLD + "\n")
    is_((status, r.get("imported"), r.get("present")), (0, 1, 298), "again, by STARTTLS: only what is new")
    path = os.path.join(host.dir, "pw")
    with open(path, "w") as f:
        f.write(OLD + "\n")
    status, r, err = run(host, "imap", A, "127.0.0.1:%d" % (dovecot.offset + 143), "--user", "old", "--plain", "--password-file", path,
                         "--exclude", "Spam")
    is_((status, r.get("imported"), r.get("present")), (0, 1, 298), "what came by Maildir is not imported again by IMAP")


def killed(host, dovecot):
    """kill -9 of the command and of its reader, many times, in the middle."""
    argv = [MAILADM, "-c", host.conf, "import", "maildir", C, dovecot.maildir("big")]
    imap = host.imap(C)
    rounds = seen = 0
    while rounds < 6:
        p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        start = seen

        def more():
            nonlocal seen
            imap.noop()
            answer = imap.status("INBOX", "(MESSAGES)")[1][0]
            seen = int(re.search(rb"MESSAGES (\d+)", answer)[1])
            return seen > start or p.poll() is not None
        wait_until(more, "messages")
        if p.poll() is None:
            p.send_signal(signal.SIGKILL)
        p.wait()
        rounds += 1
        if p.returncode == 0:
            break
    diag("%d of 1000 after %d kills" % (seen, rounds))
    status, r, err = run(host, "maildir", C, dovecot.maildir("big"))
    is_((status, r.get("failed"), r.get("imported", 0) + r.get("present", 0)), (0, 0, 1000), "the last run ends")
    compare(host, dovecot, "big", C, {"INBOX": "INBOX"}, "killed")
    imap.logout()


def write(path, data, mtime=DATE):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.utime(path, (mtime, mtime))


def courier(host):
    top = os.path.join(host.dir, "courier")
    for n, flags in enumerate(("S", "RS", "F", "", "ST")):
        write("%s/cur/%d.x.host:2,%s" % (top, 100 + n, flags), message(n).replace(b"\r\n", b"\n"), DATE + n)
    write(top + "/new/200.x.host", message(50), DATE + 9)
    os.makedirs(top + "/tmp")
    write(top + "/courierimapuiddb", "1 777 40\n" + "".join("%d %d.x.host\n" % (30 + n, 100 + n) for n in range(5)))
    write(top + "/courierimapkeywords/:list", "work\nhome\n\n100.x.host:0 1\n102.x.host:1\n")
    write(top + "/courierimapsubscribed", "INBOX.A.B\n")
    write(top + "/.A.B/cur/1.a:2,S", message(60))
    write(top + "/.A.B/cur/2.b:2,", b"no header\0 here")
    write(top + "/.Bad%/cur/3.c:2,", message(61))
    os.mkdir(top + "/.A.B/cur/4.dir:2,")
    status, r, err = run(host, "maildir", D, top)
    is_((status, r.get("imported")), (0, 9), "Courier's Maildir is imported")
    c = host.imap(D)
    got, validity = content(c, "INBOX")
    is_(validity, b"777", "with its UIDVALIDITY")
    is_({u: v[0] for u, v in got.items()},
        {30: sorted(["\\Seen", "work", "home"]), 31: ["\\Answered", "\\Seen"], 32: ["\\Flagged", "home"], 33: [], 34: ["\\Deleted", "\\Seen"], 35: []},
        "flags, keywords and UIDs; what had none gets the next")
    is_([v[1] - DATE for v in got.values()], [0, 1, 2, 3, 4, 9], "dates")
    is_(got[30][2], hashlib.sha256(message(0)).hexdigest(), "LF becomes CRLF")
    got, validity = content(c, "A/B")
    is_([v[2] for v in got.values()][1:], [hashlib.sha256(b"no header\x80 here").hexdigest()], "a message that is none comes as it is, without NUL")
    ok(c.select("Bad_", readonly=True)[0] == "OK", "a character that no name has is replaced")
    c.logout()


def mbox(host):
    path = os.path.join(host.dir, "old.mbox")
    first = b"From: x@example.net\nSubject: one\n"
    body = b"\n>From here\n>>From there\nFrom now on no quote\n\nFrom nobody, either\nend\n"
    write(path, b"From MAILER-DAEMON Thu Nov 24 15:22:24 2016\nX-IMAP: 4242 9 red $Label\nSubject: FOLDER INTERNAL DATA\n\ntext\n\n"
          + b"From x@example.net Sun Sep 13 12:26:40 2020\n" + first + b"Status: RO\nX-Status: AF\nX-Keywords: red   $Label  \nX-UID: 7\n"
          + b"Content-Length: 999\n" + body + b"\nFrom y Sun Sep 13 12:26:41 2020\nSubject: two\nStatus: O\n\nsame\n\n"
          + b"From y Sun Sep 13 12:26:41 2020\nSubject: two\n\nsame\n\n"
          + b"From z Sun Sep 13 12:26:42 2020\nX-Mozilla-Status: 0009\nSubject: gone\n\ngone\n")
    status, r, err = run(host, "mbox", D, path, "--mailbox", "From mbox")
    is_((status, r.get("imported")), (0, 3), "an mbox is imported")
    c = host.imap(D)
    got, validity = content(c, "From mbox")
    want = (first + body).replace(b">From here", b"From here").replace(b">>From there", b">From there").replace(b"\n", b"\r\n")
    is_((validity, got.get(7)), (b"4242", (sorted(["\\Seen", "\\Answered", "\\Flagged", "red", "$Label"]),
                                         time.mktime((2020, 9, 13, 12, 26, 40, 0, 0, -1)), hashlib.sha256(want).hexdigest())),
        "flags, keywords, UID, date and text; the headers that said so are left out")
    is_(len(got), 3, "two equal messages are two; one that Thunderbird deleted is not there")
    with open(path, "ab") as f:
        f.write(b"\nFrom y Sun Sep 13 12:26:43 2020\nSubject: three\n\nnew\n")
    status, r, err = run(host, "mbox", D, path, "--mailbox", "From mbox")
    is_((status, r.get("imported"), r.get("present")), (0, 1, 3), "a file that grew gives what is new")
    write(host.dir + "/boxes/Sent", b"From a Sun Sep 13 12:26:40 2020\nSubject: s\n\nx\n")
    write(host.dir + "/boxes/Sent.sbd/Old", b"From a Sun Sep 13 12:26:40 2020\nSubject: o\n\nx\n")
    write(host.dir + "/boxes/Sent.msf", b"// <!-- <mdb:mork:z v=\"1.4\"/> -->\n")
    status, r, err = run(host, "mbox", D, host.dir + "/boxes", "--map", "Sent=Gesendet")
    is_((status, sorted(f["name"] for f in r.get("folders", []))), (0, ["Gesendet", "Gesendet/Old"]), "a folder of mbox files, as Thunderbird has it")
    c.logout()


def wrong(host):
    is_(host.cli("import", "maildir", D, "/nowhere", check=False).returncode, 2, "a path that is not there")
    is_(host.cli("import", "maildir", "nobody@example.org", "/tmp", check=False).returncode, 1, "an account that is not there")
    is_(host.cli("import", "mbox", D, "/etc/passwd", check=False).returncode, 1, "a file that is no mbox")
    os.makedirs(host.dir + "/broken/cur")
    write(host.dir + "/broken/cur/1:2,S", message(1))
    write(host.dir + "/broken/cur/2:2,S", b"\x28\xb5\x2f\xfd" + b"z" * 50)
    write(host.dir + "/broken/cur/3:2,S", message(3))
    write(host.dir + "/broken/dovecot-uidlist", b"\xff\xfe nonsense")
    status, r, err = run(host, "maildir", D, host.dir + "/broken", "--map", "INBOX=Broken")
    is_((status, r.get("imported"), r.get("problem_count")), (1, 2, 2), "what cannot be read is said, the rest comes")


class Silent:
    """A server that greets and says nothing more: the reader waits, and can be looked at."""

    def __init__(self):
        import socket
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def accept(self):
        self.peer = self.listener.accept()[0]
        self.peer.sendall(b"* OK hello\r\n")
        return self.peer.recv(100)


def fake(capabilities, log):
    """A server with one message, of the kind that has a namespace below INBOX; notes the logins."""
    import socket
    import threading
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        peer.sendall(b"* OK hello\r\n")
        f = peer.makefile("rb")
        for line in f:
            tag, command = line.decode().rstrip("\r\n").split(" ", 1)
            out, end = "", "OK done"
            if command == "CAPABILITY":
                out = "* CAPABILITY IMAP4rev1 NAMESPACE " + capabilities + "\r\n"
            elif command.startswith("AUTHENTICATE"):
                if len(command.split()) == 2:
                    peer.sendall(b"+ \r\n")
                    command += " " + f.readline().decode().strip()
                log.append(command)
                if command.endswith("YmFk"):
                    peer.sendall(b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n")
                    log.append(f.readline())
                    end = "NO no"
            elif command.startswith("LOGIN"):
                log.append(command)
            elif command == "NAMESPACE":
                out = '* NAMESPACE (("INBOX." ".")) (("user." ".")) NIL\r\n'
            elif command.startswith("LIST") and capabilities == "X-LEAVES":
                peer.sendall(b"* BYE too many sessions\r\n")
                peer.shutdown(socket.SHUT_RDWR)
                return
            elif command.startswith(("LIST", "LSUB")):
                out = "".join('* %s () "." %s\r\n' % (command[:4], n) for n in ("INBOX", '"INBOX.Sub.a&APY-"', "{8}\r\nuser.bob"))
            elif command.startswith("EXAMINE"):
                out = "* 1 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\n"
            elif "BODY" in command:
                out = "* 1 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (BODY[] {14}\r\nSubject: z\r\n\r\n UID 4)\r\n"
            elif "FETCH" in command:
                out = '* 1 FETCH (UID 4 X-NEW ("a" (b {1}\r\n)) 3) FLAGS (\\Seen k) INTERNALDATE "13-Sep-2020 12:26:40 +0000" RFC822.SIZE 14)\r\n'
            peer.sendall((out + tag + " " + end + "\r\n").encode())
    threading.Thread(target=serve, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


def logins(host):
    import base64
    log = []
    status, r, err = run(host, "imap", D, fake("", log), "--plain", "--user", 'a "b"', "--map", "INBOX=F1", input='p\\"w\n')
    is_((status, r.get("imported"), log), (0, 2, ['LOGIN "a \\"b\\"" "p\\\\\\"w"']), "LOGIN, where there is nothing better; what others share is left out")
    is_(sorted(f["name"] for f in r["folders"]), ["F1", "Sub/a\u00f6"], "the namespace's INBOX. goes")
    log.clear()
    status, r, err = run(host, "imap", D, fake("AUTH=PLAIN", log), "--plain", "--user", "u", "--dry-run", input="p\n")
    is_((status, log), (0, ["AUTHENTICATE PLAIN " + base64.b64encode(b"\0u\0p").decode()]), "AUTHENTICATE PLAIN")
    for capability in ("AUTH=XOAUTH2 SASL-IR", "AUTH=XOAUTH2"):
        log.clear()
        status, r, err = run(host, "imap", D, fake(capability, log), "--plain", "--user", "u", "--oauth2", "--dry-run", input="token\n")
        is_((status, log), (0, ["AUTHENTICATE XOAUTH2 " + base64.b64encode(b"user=u\1auth=Bearer token\1\1").decode()]), capability)
    status, r, err = run(host, "imap", D, fake("X-LEAVES", log), "--plain", "--user", "u", input="p\n")
    is_(status, 2, "a server that leaves")
    like(err, "too many sessions", "and its reason")
    log.clear()
    c = host.imap(D)
    got, validity = content(c, "F1")
    is_((validity, sorted(got), got[4][0]), (b"9", [4], ["\\Seen", "k"]), "its message")
    c.logout()


def reader_rights(host):
    """The process that parses has no rights, and no way to store."""
    server = Silent()
    p = subprocess.Popen([MAILADM, "-c", host.conf, "import", "imap", D, "127.0.0.1:%d" % server.port, "--plain"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    p.stdin.write(b"x\n")
    p.stdin.close()
    like(server.accept().decode(), "CAPABILITY", "the reader speaks")
    with open("/proc/%d/task/%d/children" % (p.pid, p.pid)) as f:
        child = f.read().split()[0]
    with open("/proc/%s/status" % child) as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines())
    is_(status["Seccomp"].strip(), "2", "it is held by seccomp")
    ok(os.geteuid() != 0 or status["Uid"].split()[0] != "0", "and is not root")
    fds = {os.readlink("/proc/%s/fd/%s" % (child, n)).split(":")[0] for n in os.listdir("/proc/%s/fd" % child) if int(n) > 2}
    is_(len(os.listdir("/proc/%s/fd" % child)), 5, "it has its channel and its source, nothing else") or diag(fds)
    os.kill(int(child), signal.SIGKILL)
    p.wait()
    is_(p.returncode, 2, "when it dies the command ends")
    like(p.stderr.read().decode(), "the same command again goes on", "and says what to do")


def bar(host, dovecot):
    """On a terminal the progress is shown, and taken away at the end."""
    import pty
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(MAILADM, [MAILADM, "-c", host.conf, "import", "maildir", B, dovecot.maildir("big"), "--map", "INBOX=Bar"])
    seen = b""
    while True:
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.waitpid(pid, 0)
    ok(b"of 1000 messages" in seen and b"[" in seen and b"\r\x1b[K" in seen, "a progress bar") or diag(seen)


def passwords(host):
    """Hashes as Dovecot makes them; each becomes yescrypt when its owner logs in."""
    schemes = ("BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "SSHA512", "SSHA256", "PLAIN", "PBKDF2")
    lines = []
    for n, scheme in enumerate(schemes):
        host.cli("account", "add", "p%d@example.org" % n)
        host.accounts["p%d@example.org" % n] = "secret of %d" % n
        pw = subprocess.run(["doveadm", "-c", "/dev/null", "pw", "-s", scheme, "-p", "secret of %d" % n], capture_output=True, text=True).stdout.strip()
        if not pw:
            pw = subprocess.run(["doveadm", "pw", "-s", scheme, "-p", "secret of %d" % n], capture_output=True, text=True).stdout.strip()
        lines.append("p%d@example.org:%s:1000:1000::/var/vmail::" % (n, pw))
    lines += ["nobody@example.org:{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuu5s0LAVmTvwhSPTBOMVYzT8nyGGIqRe2", "# a comment", A + ":{PLAIN}x"]
    path = host.dir + "/passwd"
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    r = host.cli("--json", "import", "passwords", path, check=False)
    report = json.loads(r.stdout)
    is_((r.returncode, report["imported"], report["present"], len(report["problems"])), (1, 6, 1, 2), "hashes of Dovecot are taken over")
    like(str(report["problems"]), "{PBKDF2}", "what cannot be is said")

    def line_of(address):
        with open(host.dir + "/state/credentials") as f:
            return [x for x in f.read().splitlines() if x.startswith(address + ":")][0]
    for n in range(6):
        address = "p%d@example.org" % n
        ok(n == 5 or "$y$" not in line_of(address), "%s: as it was there" % schemes[n])
        host.imap(address).logout()
        ok(wait_until(lambda: "$y$" in line_of(address), "yescrypt"), "%s: logs in, and is yescrypt then" % schemes[n])
        host.imap(address).logout()
    with open(path, "w") as f:
        row = lines[0].split(":")
        f.write("INSERT INTO `mailbox` VALUES ('x@example.net','{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuu5s0LAVmTvwhSPTBOMVYzT8nyGGIqRe2','It\\'s',0),('%s','%s','n',1);\n" % (row[0], row[1]))
        f.write("p1\t{PLAIN}x\tmore\n")
    r = host.cli("--json", "import", "passwords", path, check=False)
    is_((json.loads(r.stdout)["present"], len(json.loads(r.stdout)["problems"])), (2, 1), "a dump of mailcow is read, and nobody's password changes back")


def stopped(host, dovecot):
    host.stop()
    status, r, err = run(host, "maildir", D, dovecot.maildir("old"), "--map", "INBOX=Later", "--exclude", "Spam")
    is_((status, r.get("failed"), r.get("messages"), r.get("problems")), (0, 0, 299, []), "the host need not run")
    r = host.cli("store", "verify", check=False)
    is_(r.returncode, 0, "the store is whole then")
    host.start()
    compare(host, dovecot, "old", D, {"INBOX": "Later", "Sent": "Sent"}, "stopped")


with Dovecot() as server, Host(accounts=[A, B, C, D]) as mail:
    fill(server, "old", 300)
    fill(server, "big", 0)
    big = server.maildir("big")
    for number in range(1000):
        name = "%s/new/%d.M%dP1.host" % (big, DATE + number, number)
        write(name, message(number), DATE + number)
        os.chown(name, server.mail.pw_uid, server.mail.pw_gid)
    server.imap("big").select("INBOX")
    maildir(mail, server)
    live(mail, server)
    killed(mail, server)
    courier(mail)
    mbox(mail)
    wrong(mail)
    logins(mail)
    reader_rights(mail)
    bar(mail, server)
    passwords(mail)
    stopped(mail, server)
done()
