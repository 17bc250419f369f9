#!/usr/bin/env python3
"""SMTP smuggling, both ways: only CR LF . CR LF ends a message.  Every other end is content, refuses the message, and hides no
second one, over DATA and over BDAT; what goes out holds no such byte either, and a real Postfix behind sees one message for one."""
import base64
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(__file__))
import postfix  # noqa: E402
from host import BUILD, Host, diag, done, is_, ok, wait_until  # noqa: E402
from send_peers import free_port  # noqa: E402
from smtp_talk import Talk, count, messages  # noqa: E402

ALICE = "alice@example.org"
# Every line end that somebody's server takes for one, before and behind the dot, and the dot variants.
BREAKS = [b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n\0", b"\0\r\n", b"\r\0\n", b"\0", b"\n\n", b"\r\r"]
FALSE = [before + b"." + behind for before, behind in itertools.product(BREAKS, BREAKS)]
FALSE += [b"\r\n..\n", b"\r\n..\r", b"\r\n.\n.\n", b"\r\n.\n.\r\n.", b"\r\n.\r.\r\n.", b"\n..\r\n", b"\n\r\n..\r\n\r"]
ENDS = sorted({end for end in FALSE if b"\r\n.\r\n" not in end})
# All these bytes are those of a line, whatever Unicode and terminals say.
CLEAN = [b"\r\n..\r\n", b"\r\n...\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\r\n.a\r\n", b"\r\n\x0b.\r\n", b"\r\n\x0c.\r\n", b"\x0b.\x0b", b"\x0c.\x0c",
         b"\r\n\xc2\x85.\xc2\x85\r\n", b"\r\n\xe2\x80\xa8.\xe2\x80\xa8\r\n", b"\r\n\xe2\x80\xa9.\r\n", b"\r\n.\t\r\n", b"\x1e.\x1e", b"\r\n\x1a.\r\n",
         b"\r\n\xff.\r\n", b"\r\n.\x85\r\n", b"\r\n\xe5\x98\x8a\xe5\x98\x8d.\r\n"]
INNER = b"MAIL FROM:<admin@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nFrom: admin@example.org\r\nSubject: smuggled\r\n\r\nsmuggled"
OUTER = b"From: s@example.net\r\nSubject: outer\r\n\r\nouter"


def outcome(t, data, slices=False):
    """The reply to what ends here, and to a NOOP."""
    for piece in (data[i:i + 1] for i in range(len(data))) if slices else (data,):
        t.send(piece)
    first = t.reply()[0]
    return first, t.cmd("NOOP")[0]


def envelope(t):
    return t.codes("RSET", "MAIL FROM:<s@example.net>", "RCPT TO:<alice@example.org>")


def over_data(host):
    wrong = []
    with Talk(host) as t:
        t.cmd("EHLO c.example")
        for end, slices in itertools.product(ENDS, (False, True)):
            envelope(t)
            if t.cmd("DATA")[0] != 354 or (got := outcome(t, OUTER + end + INNER + b"\r\n.\r\n", slices)) not in ((550, 250), (554, 250)):
                wrong.append((end, slices, got))
    is_(wrong, [], "DATA: %d ends that are none, at once and byte by byte: all refused, and what stood behind was no command" % len(ENDS))
    # The same with the false end at the very end, and at the very beginning.
    wrong = []
    with Talk(host) as t:
        t.cmd("EHLO c.example")
        for end, text in itertools.product(ENDS, (b"%b\r\n.\r\n", b"%bx\r\n.\r\n", b"\r\n%b\r\n.\r\n")):
            envelope(t)
            t.cmd("DATA")
            data = text % end
            if data.find(b"\r\n.\r\n") < len(data) - 5 or data.startswith(b".\r\n"):  # that is a true end
                t.send(b"x\n\r\n.\r\n")
                t.reply()
                continue
            if (got := outcome(t, data)) not in ((550, 250), (554, 250)):
                wrong.append((data, got))
    is_(wrong, [], "and where nothing else is")


def over_bdat(host):
    """Chunks carry no dots: there the number alone says where the end is."""
    wrong = []
    with Talk(host) as t:
        t.cmd("EHLO c.example")
        for end in ENDS:
            data = OUTER + end + INNER + b"\r\n.\r\n"
            stray = any(b in data.replace(b"\r\n", b"") for b in (b"\r", b"\n", b"\0"))
            want = ((550, 250), (554, 250)) if stray else ((250, 250),)
            envelope(t)
            if (got := outcome(t, b"BDAT %d LAST\r\n" % len(data) + data)) not in want:
                wrong.append((end, got))
            for cut in range(len(OUTER), len(OUTER) + len(end) + 1):  # two chunks, cut inside the end
                envelope(t)
                t.send(b"BDAT %d\r\n" % cut + data[:cut])
                first = t.reply()[0]
                if first in (550, 554):
                    continue
                if first != 250 or (got := outcome(t, b"BDAT %d LAST\r\n" % (len(data) - cut) + data[cut:])) not in want:
                    wrong.append((end, cut, first, got))
    is_(wrong, [], "BDAT: the same ends, in one chunk and cut in two at every byte")
    with Talk(host) as t:
        t.cmd("EHLO c.example")
        for line in (b"BDAT", b"BDAT -1 LAST", b"BDAT +5", b"BDAT 0x5", b"BDAT 5LAST", b"BDAT 18446744073709551616", b"BDAT 99999999999999999999999", b"BDAT 5 LAST LAST",
                     b"BDAT 5 FIRST", b"BDAT 5,0", b"BDAT 5.0", b"BDAT\t", b"BDAT 9223372036854775808 LAST"):
            with Talk(host) as one:
                one.cmd("EHLO c.example")
                envelope(one)
                one.send(line + b"\r\nNOOP\r\n")
                code = one.reply()[0]
                ok(code in (501, 552) and one.closed(), "%r ends the session: what follows could be anything (%d)" % (line, code))
        envelope(t)
        is_(t.pipeline(b"BDAT 5 LAST\r\nhelloNOOP\r\n", 2), [250, 250], "the octets end where the number says, and not a byte later")
        envelope(t)
        is_(t.pipeline(b"BDAT 00000000000000000005\r\nhelloBDAT 0 LAST\r\nNOOP\r\n", 3), [250, 250, 250], "an empty last chunk ends a message")
        envelope(t)
        is_([t.pipeline(b"BDAT 3\r\na\r\n", 1)[0]] + t.codes("DATA", "MAIL FROM:<x@example.net>", "RCPT TO:<bob@example.org>"), [250, 503, 503, 503],
            "between chunks nothing but a chunk is taken")
        is_(t.pipeline(b"BDAT 9 LAST\r\n.\r\nNOOP\r\n", 1), [250], "a lone dot in a chunk is a line")
        is_(t.cmd("NOOP")[0], 250, "and ends nothing")
    is_([m.split(b"\r\n\r\n", 1)[-1][-12:] for m in messages(host, ALICE)[-1:]], [b"a\r\n.\r\nNOOP\r\n"], "it is kept as it came")


def commands(host):
    """In commands a bare LF, CR or NUL ends the session, so nothing behind it is carried out."""
    for line in (b"NOOP\nNOOP\r\n", b"NOOP\rNOOP\r\n", b"NO\0OP\r\n", b"MAIL FROM:<a@example.net>\nRCPT TO:<bob@example.org>\r\n", b"\n", b"\r\r\n",
                 b"EHLO a\n\r\n", b"NOOP\0\r\n", b"\0\r\n", b"NOOP\n", b"NOOP\r\0\n", b"RSET\n\r\n", b"MAIL FROM:<a@example.net\r>\r\n", b"QUIT\n"):
        with Talk(host) as t:
            t.send(line + b"NOOP\r\n")
            code = t.reply()[0]
            ok(code == 500 and t.closed(), "command %r is refused, and the session ends (%d)" % (line, code))
    with Talk(host, "submissions", tls=True) as t:
        t.cmd("EHLO c.example")
        t.cmd("AUTH LOGIN")
        t.send(base64.b64encode(ALICE.encode()) + b"\nMAIL FROM:<alice@example.org>\r\n")
        ok(t.reply()[0] == 500 and t.closed(), "so does one in an answer of AUTH")


def submitted(host):
    """Whoever logged in, or sits on the host, is held to the same."""
    wrong = []
    with Talk(host, "submissions", tls=True) as t:
        t.cmd("EHLO c.example")
        t.cmd("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (ALICE, host.accounts[ALICE])).encode()).decode())
        for end in ENDS:
            t.codes("RSET", "MAIL FROM:<alice@example.org>", "RCPT TO:<alice@example.org>", "DATA")
            if (got := outcome(t, b"From: alice@example.org\r\n\r\nx" + end + INNER + b"\r\n.\r\n")) not in ((550, 250), (554, 250)):
                wrong.append((end, got))
    is_(wrong, [], "submission: the same")
    wrong = []
    for end in ENDS:
        s = socket.socket(socket.AF_UNIX)
        s.connect(host.dir + "/state/run/submit.sock")
        f = s.makefile("rb")
        s.sendall(b"EHLO c\r\nMAIL FROM:<root>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
        while f.readline()[:3] != b"354":
            pass
        s.sendall(b"From: root\r\n\r\nx" + end + INNER + b"\r\n.\r\nNOOP\r\nQUIT\r\n")
        codes = [line[:3] for line in f.read().splitlines()]
        if codes not in ([b"550", b"250", b"221"], [b"554", b"250", b"221"]):
            wrong.append((end, codes))
        s.close()
    is_(wrong, [], "the local socket: the same")


def kept(host):
    for end in CLEAN:
        with Talk(host) as t:
            is_(t.transaction(OUTER + end + INNER + b"\r\n.\r\n")[0], 250, "%r is a line like others" % end)
    got = messages(host, ALICE)
    wanted = [(OUTER + end + INNER + b"\r\n").replace(b"\r\n..", b"\r\n.").replace(b"\r\n. ", b"\r\n ").replace(b"\r\n.a", b"\r\na")
              .replace(b"\r\n.\t", b"\r\n\t").replace(b"\r\n.\x85", b"\r\n\x85") for end in CLEAN]
    is_([m[m.index(b"From: s@"):] for m in got[-len(CLEAN):]], wanted, "each is one message, with the rest inside, and only dots that were doubled taken off")


class Recorder:
    """An SMTP server that keeps every byte of the content, of DATA up to CR LF . CR LF and without the dots that were doubled."""

    def __init__(self, chunking=False):
        self.messages = []
        self.chunking = chunking
        self.port = free_port(["127.0.0.1"])
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        f = s.makefile("rb")
        s.sendall(b"220 recorder ESMTP\r\n")
        chunks = b""
        while (line := f.readline()):
            verb = line[:4].upper()
            if verb == b"EHLO":
                s.sendall(b"250-recorder\r\n250-8BITMIME\r\n" + (b"250-CHUNKING\r\n" if self.chunking else b"") + b"250 PIPELINING\r\n")
            elif verb == b"BDAT":
                chunks += f.read(int(line.split()[1]))
                if b"LAST" in line.upper():
                    self.messages.append(chunks)
                    chunks = b""
                s.sendall(b"250 ok\r\n")
            elif verb == b"DATA":
                s.sendall(b"354 go\r\n")
                data = b"\r\n"
                while not data.endswith(b"\r\n.\r\n"):
                    data += f.read(1)
                self.messages.append(data[:-3].replace(b"\r\n.", b"\r\n")[2:])
                s.sendall(b"250 ok\r\n")
            else:
                s.sendall(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")


HEAD = b"From: alice@example.org\r\nSubject: odd\r\n\r\n"


def put(host, n, content):
    """Into the queue as it is, past smtp."""
    subprocess.run([os.path.join(BUILD, "tests/tools/queue_put"), host.conf, "alice@example.org", "n%d@remote.example" % n],
                   input=content, check=True, capture_output=True)


def pure(data):
    rest = data.replace(b"\r\n", b"")
    return not any(b in rest for b in (b"\r", b"\n", b"\0"))


def washed(content):
    """What we say is sent: every CR, LF and NUL that belongs to no line end is a space."""
    parts = content.split(b"\r\n")
    return b"\r\n".join(p.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ") for p in parts)


def outgoing(dir):
    """Odd bytes that stand in the queue by whatever fault: on the wire they are not."""
    contents = [HEAD + b"a" + end + b"b\r\n" for end in ENDS] + [HEAD + b"\r", HEAD + b"\n", b"\0", b"\n.\n", b"\r.\r", HEAD + b"x\r\n.\r"]
    contents += [HEAD + c for c in (b".\r\n", b".", b"..\r\n.\r\n.x\r\n", b"no end of line", b"\r\n.\r\n\r\n..\r\n")]
    for chunking in (False, True):
        peer = Recorder(chunking)
        with Host(site='relay = { smarthost = "127.0.0.1"; port = %d; tls_required = false; };' % peer.port) as host:
            for i, content in enumerate(contents):
                put(host, i, content)
            wait_until(lambda: len(peer.messages) >= len(contents), "%d messages" % len(contents), 60)
            is_(len(peer.messages), len(contents), "one message for each of %d goes out%s" % (len(contents), " (CHUNKING offered)" if chunking else ""))
            is_([m for m in peer.messages if not pure(m)], [], "and none holds a CR, LF or NUL but in CR LF")

            def ended(m):
                return m if m.endswith(b"\r\n") else m + b"\r\n"
            got, want = sorted(map(ended, peer.messages)), sorted(ended(washed(c)) for c in contents)
            is_(got, want, "all other bytes are what they were")
            ok("event=washed" in host.log(), "and the log says so")


def behind(dir):
    """A Postfix that takes LF . LF for an end (3.7 as shipped) is the next host."""
    reason = postfix.why_not()
    if reason:
        return diag("no Postfix behind: " + reason)
    with postfix.Postfix(dir, ["remote.example"], "smtpd_forbid_bare_newline = no\n") as mta, \
            Host(site='relay = { smarthost = "127.0.0.1"; port = %d; tls_required = false; };' % mta.port) as host:
        with socket.create_connection(("127.0.0.1", mta.port)) as s:  # first: it is as gullible as we think
            f = s.makefile("rb")
            f.readline()
            s.sendall(b"EHLO c\r\nMAIL FROM:<a@remote.example>\r\nRCPT TO:<direct@remote.example>\r\nDATA\r\n")
            while f.readline()[:3] != b"354":
                pass
            s.sendall(b"Subject: outer\r\n\r\nx\n.\r\nMAIL FROM:<smuggled@remote.example>\r\nRCPT TO:<direct@remote.example>\r\nDATA\r\nSubject: in\r\n\r\nx\r\n.\r\nQUIT\r\n")
            f.read()
        gullible = {m[0] for m in mta.wait(2)} == {"a@remote.example", "smuggled@remote.example"}
        ok(gullible, "the Postfix behind can be smuggled to by whoever speaks to it directly")
        before = len(mta.messages())
        inner = b"MAIL FROM:<smuggled@remote.example>\r\nRCPT TO:<victim@remote.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nin\r\n.\r\n"
        contents = [HEAD + b"n%d" % i + end + inner for i, end in enumerate(ENDS)]
        for i, content in enumerate(contents):
            put(host, i, content)
        # And what smtp takes.
        with host.smtp("submissions") as s:
            s.login(ALICE, host.accounts[ALICE])
            for i, end in enumerate(CLEAN):
                s.ehlo_or_helo_if_needed()
                s.mail(ALICE)
                s.rcpt("c%d@remote.example" % i)
                s.docmd("DATA")
                s.send(HEAD + b"c%d" % i + end + inner.replace(b"\r\n.\r\n", b"\r\n..\r\n") + b".\r\n")
                is_(s.getreply()[0], 250, "%r is submitted" % end)
        got = mta.wait(before + len(ENDS) + len(CLEAN), 60)
        wait_until(lambda: host.cli("mailq", "--json").stdout.strip() == "[]", "an empty queue")
        got = mta.messages()[before:]
        is_((len(got), {g[0] for g in got}), (len(ENDS) + len(CLEAN), {ALICE}), "through us it has one message for one, all from alice")
        is_(sorted(g[1] for g in got), sorted(["n%d@remote.example" % i for i in range(len(ENDS))] + ["c%d@remote.example" % i for i in range(len(CLEAN))]),
            "each for its own recipient")
        by_name = {g[1]: g[2] for g in got}
        bodies = [(washed(content).split(b"\r\n\r\n", 1)[1], by_name["n%d@remote.example" % i].split(b"\r\n\r\n", 1)[1]) for i, content in enumerate(contents)]
        wrong = [(sent, came) for sent, came in bodies if sent != came]
        is_(wrong, [], "and to the last byte what was sent")


with Host(groups={"limits": "errors = 1000;"}) as host:
    ok(len(ENDS) > 100, "%d false ends" % len(ENDS))
    over_data(host)
    commands(host)
    submitted(host)
    is_((count(host, ALICE), count(host, "bob@example.org")), (0, 0), "no message came of any of them")
    over_bdat(host)
    kept(host)
    is_(count(host, "bob@example.org"), 0, "and nothing for bob")
with tempfile.TemporaryDirectory(prefix="sub-smuggle-") as dir:
    outgoing(dir)
    behind(dir)
done()
