#!/usr/bin/env python3
"""Recipients that another host knows are asked for there before RCPT is answered: a staged move with a Postfix as the old
host, software beside us by LMTP, and hosts that are away, slow, odd or asked too much.  Nothing is bounced."""
import json
import os
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import postfix  # noqa: E402
from host import Host, PASSWORD, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Peer, bounces, certificate, clear, free_port  # noqa: E402
from smtp_talk import Talk  # noqa: E402


def message(subject, to):
    return ("From: <sender@example.net>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
            "Message-ID: <%s@t>\r\n\r\nhello\r\n" % (to, subject, subject.replace(" ", "."))).encode()


def stranger(host, sender="sender@example.net"):
    t = Talk(host)
    t.cmd("EHLO peer.example.net")
    t.cmd("MAIL FROM:<%s>" % sender)
    return t


def rcpt(host, recipient, sender="sender@example.net"):
    with stranger(host, sender) as t:
        return t.cmd("RCPT TO:<%s>" % recipient)


def asked(peer, recipient=""):
    """How often RCPT named it (or anybody) at the peer, over all connections."""
    return sum(c.startswith("RCPT TO:<" + recipient) for s in list(peer.sessions) for c in list(s.commands))


def lines(host, *parts):
    return [line for line in host.log().splitlines() if all(p in line for p in parts)]


def queue(host):
    return host.cli("--json", "queue", "list").stdout.strip()


def verifying(host):
    """Questions that send has in hand."""
    status = json.loads(host.cli("--json", "status").stdout)
    return [r["verifying"] for r in status["roles"] if r["role"] == "send"][0]


class Counted(Peer):
    """Knows how many connections there are."""
    def __init__(self, *args, **kw):
        self.now = 0
        self.lock = threading.Lock()
        super().__init__(*args, **kw)

    def _serve(self, s):
        with self.lock:
            self.now += 1
        try:
            super()._serve(s)
        finally:
            with self.lock:
                self.now -= 1


def unknown(recipient):
    return "550 5.1.1 no <%s> at this place" % recipient


def staged(host, old):
    is_(rcpt(host, "Bob.Old@old.example")[0], 250, "a recipient that the old host knows is taken")
    code, text = rcpt(host, "nobody@old.example")
    is_(code, 550, "one that it does not know is refused in the session")
    like(text, "5.1.1 The host of this address refuses it: ", "with its status")
    like(text, "User unknown", "and its words")
    is_(rcpt(host, "moved.on@example.org"), (550, "5.1.1 The host of this address refuses it"),
        "and so is an alias that leads to it alone, without saying where")
    is_(rcpt(host, "both@example.org")[0], 250, "but not one that leads to others too")
    is_(rcpt(host, "alice@example.org")[0], 250, "who is known here is not asked for")
    host.deliver("Bob.Old@old.example", message("still there", "bob"))
    is_(old.wait(1)[0][:2], ("sender@example.net", "Bob.Old@old.example"), "mail for who is taken arrives, by the same hop")
    ok(lines(host, "event=refused", "about=TO:<nobody@old.example>", "User unknown"), "the refusal is logged with its reason")
    told = host.cli("explain", "--file", host.log_path, "nobody@old.example").stdout
    like(told, "refused for 127.0.0.1: 550 5.1.1 The host of this address refuses it: ", "and explained")
    like(told, "verified: nobody@old.example by 127.0.0.1[127.0.0.1]:%d: <nobody@old.example>: Recipient" % old.port, "with who said so")
    ok(lines(host, "event=verified", "to=nobody@old.example", "answer=refused", "relay=127.0.0.1[127.0.0.1]:%d" % old.port), "who said so is in the log")
    with host.smtp("submissions") as s:
        s.login("alice@example.org", PASSWORD)
        s.mail("alice@example.org")
        is_(s.rcpt("nobody.else@old.example")[0], 550, "who logged in gets the refusal as well")
    is_((old.log().count("message-id="), len(old.messages())), (1, 1), "and nothing else was sent there")


def lmtp(host, peer):
    peer.refuse = {"none@lists.example": "550 no such list", "full@lists.example": "452 4.2.2 over quota", "far@lists.example": "551 5.1.6 moved"}
    is_(rcpt(host, "team@lists.example")[0], 250, "by LMTP too")
    is_([c.split()[0] for c in peer.sessions[0].commands][:5], ["LHLO", "MAIL", "RCPT", "RSET"][:len(peer.sessions[0].commands)], "with nothing sent")
    like(peer.sessions[0].commands[1], "MAIL FROM:<>", "and the null sender")
    is_(rcpt(host, "none@lists.example"), (550, "5.1.1 The host of this address refuses it: no such list"), "a refusal without a status is one of the address")
    is_(rcpt(host, "far@lists.example"), (550, "5.1.6 The host of this address refuses it: moved"), "a status is passed on")
    is_(rcpt(host, "full@lists.example"), (450, "4.4.1 This recipient cannot be verified now; come again"), "a refusal for now is one for now")
    n = asked(peer)
    is_([rcpt(host, x + "@lists.example")[0] for x in ("team", "none", "full", "far")], [250, 550, 450, 550], "all of that is remembered")
    is_(rcpt(host, "far@lists.example")[1], "5.1.6 The host of this address refuses it: it said so a moment ago", "the status as well")
    is_(asked(peer), n, "and nobody is asked again")
    ok(len(peer.sessions) < n, "a connection carries many questions")
    is_(peer.messages, [], "no message came of it")


def pipelined(host, peer):
    peer.refuse = unknown
    with Talk(host) as t:
        codes = t.pipeline(b"EHLO x\r\nMAIL FROM:<s@example.net>\r\nRCPT TO:<a1@many.example>\r\nRCPT TO:<alice@example.org>\r\n"
                           b"RCPT TO:<a2@many.example>\r\nDATA\r\n" + message("pipelined", "alice") + b".\r\nQUIT\r\n", 8)
    is_(codes, [250, 250, 550, 250, 550, 354, 250, 221], "pipelined commands wait for the answer, in order")
    go = threading.Event()
    peer.refuse = lambda r: go.wait(30) and unknown(r)
    talks = [stranger(host) for _ in range(10)]
    for i, t in enumerate(talks):
        t.send(b"".join(b"RCPT TO:<r%d.%d@many.example>\r\n" % (i, n) for n in range(10)))
    wait_until(lambda: verifying(host) == 10 and asked(peer, "r") == 2, "ten sessions that wait")
    is_(peer.now, 2, "two connections ask for all of them")
    go.set()
    codes = [t.reply()[0] for t in talks for _ in range(10)]
    for t in talks:
        t.sock.close()
    is_(codes, [550] * 100, "100 random recipients, pipelined in ten sessions, are refused one and all")
    ok(max(sum(c.startswith("RCPT") for c in s.commands) for s in peer.sessions) <= 8, "each given up before it is slowed down")


def odd(host, peer):
    lost = []

    def refuse(recipient):
        if recipient.startswith("mail."):
            return None
        if recipient.startswith("lost.") and not lost:
            lost.append(recipient)
            return "421 4.3.2 going away"
        return {"null@odd.example": "550", "escape@odd.example": "550 5.7.1 a\x1b[2Jb " + "x" * 900}.get(recipient)
    peer.refuse = refuse
    is_(rcpt(host, "yes@odd.example")[0], 250, "the second host of a route, without TLS where that is broken")
    is_(rcpt(host, "null@odd.example"), (550, "5.1.1 The host of this address refuses it"), "a reply of three digits")
    code, text = rcpt(host, "escape@odd.example")
    ok(code == 550 and text.startswith("5.7.1 ") and "a?[2Jb" in text and "\x1b" not in text and len(text) < 480, "a long reply with control characters: %r" % text)
    with stranger(host) as t:
        is_(t.codes("RCPT TO:<first@odd.example>", "RCPT TO:<lost.1@odd.example>"), [250, 250], "a connection that was used before and ends is made anew")
    with Talk(host) as t:
        t.cmd("EHLO x")
        t.cmd("MAIL FROM:<s@example.net> SMTPUTF8")
        is_(t.cmd("RCPT TO:<gr\u00fcn@odd.example>"), (550, "5.6.7 The host of this address refuses it: the host cannot take internationalised addresses (no SMTPUTF8)"), "what it could not take")
        is_(t.cmd("RCPT TO:<mar\u212a@odd.example>")[0], 550, "the same in letters that fold to ASCII")
    is_(rcpt(host, "mark@odd.example")[0], 250, "which is no word on who is written so")
    with Talk(host) as t:
        t.cmd("EHLO x")
        t.cmd("MAIL FROM:<s@example.net> SMTPUTF8")
        is_(t.cmd("RCPT TO:<yes@odd.example>")[0], 250, "who was taken")
        is_(t.cmd("RCPT TO:<ye\u017f@odd.example>")[0], 550, "lets no other form in that would be bounced later")
    is_(rcpt(host, "x@odd.example", "s" * 64 + "@" + ".".join(["d" * 59] * 4) + ".example")[0], 250, "a long sender")


def by_login(host, peer):
    is_(rcpt(host, "x@login.example")[0], 250, "by a route with TLS and a login")
    is_([(s.tls, s.user) for s in peer.sessions], [(True, "us")], "as its mail would go")


def away(host, peer, port):
    peer.listener.shutdown(2)
    peer.stop()
    wait_until(lambda: peer.now == 0, "the end of the last connection")
    is_(rcpt(host, "known@gone.example")[0], 250, "with the host away it still is")
    is_(rcpt(host, "new@gone.example")[0], 450, "another recipient is put off")
    host.deliver("known@gone.example", message("while away", "known"))
    with host.smtp("submissions") as s:
        s.login("alice@example.org", PASSWORD)
        s.mail("alice@example.org")
        is_(s.rcpt("colleague@gone.example")[0], 250, "but who logged in may leave mail for it")
    host.restart()
    is_(rcpt(host, "known@gone.example")[0], 250, "after a restart the known one is still known")
    wait_until(lambda: "known@gone.example" in queue(host), "its message in the queue")
    peer = Counted("127.0.0.1", port)
    host.cli("queue", "retry", "--to", "gone.example")
    wait_until(lambda: peer.messages, "its delivery")
    is_(peer.messages[0].recipients, ["known@gone.example"], "and its mail arrives once the host is back")
    return peer


def killed(host, peer):
    with stranger(host) as t:
        t.send(b"RCPT TO:<hold.2@slow.example>\r\n")
        wait_until(lambda: asked(peer, "hold.2@"), "the question")
        send = host.children()["send"][0]
        os.kill(send, signal.SIGKILL)
        is_(t.reply()[0], 450, "a session that waits when send is killed is put off")
        is_(t.cmd("RCPT TO:<alice@example.org>")[0], 250, "and goes on")
    wait_until(lambda: host.children().get("send", [send]) != [send], "another send")
    peer.hold_all.set()
    wait_until(lambda: rcpt(host, "quick.%d@slow.example" % time.monotonic_ns())[0] == 250, "an answer by the new one")
    ok(True, "the next send answers")


def hangs(host, peer):
    """The thread's result: code and seconds of a recipient about whom nothing is said."""
    peer.hold_all = threading.Event()
    peer.refuse = lambda r: peer.hold_all.wait(60) and None if r.startswith("hold.") else None
    result = []

    def wait():
        begin = time.monotonic()
        with stranger(host) as t:
            code = t.cmd("RCPT TO:<hold.1@slow.example>")[0]
        result.append((code, time.monotonic() - begin))
    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: asked(peer, "hold.1@"), "the question")
    begin = time.monotonic()
    is_([rcpt(host, r)[0] for r in ("alice@example.org", "other@slow.example")], [250, 250], "while one session waits others are served")
    ok(not result and time.monotonic() - begin < 5, "at once")
    with stranger(host) as t:  # a peer that goes away while it waits
        t.send(b"RCPT TO:<hold.0@slow.example>\r\n")
        wait_until(lambda: asked(peer, "hold.0@"), "the question")
    return thread, result


def moved(host, old, new):
    """A reload that names another host: what the first said does not count."""
    is_(rcpt(host, "who@blind.example")[0], 250, "verify = false: everybody is taken")
    is_(asked(old), 0, "and nobody asked")
    with open(host.conf) as f:
        text = f.read()
    with open(host.conf, "w") as f:
        f.write(text.replace("verify = false;", "").replace("127.0.0.1:%d" % old.port, "127.0.0.1:%d" % new.port))
    host.cli("reload")
    wait_until(lambda: rcpt(host, "who@blind.example")[0] == 550, "the new site")
    ok(asked(new) == 1 and asked(old) == 0, "after a reload the host that is named then is asked")


def hosts(peers, old):
    def peer(name):
        return "127.0.0.1:%d" % peers[name].port
    return """domains = ( { name = "example.org"; }, { name = "old.example"; elsewhere = "127.0.0.1:%d"; },
  { name = "lists.example"; deliver = "lmtp:%s"; }, { name = "gone.example"; elsewhere = "%s"; },
  { name = "slow.example"; elsewhere = "%s"; }, { name = "many.example"; deliver = "%s"; },
  { name = "odd.example"; elsewhere = "odd.invalid"; }, { name = "login.example"; elsewhere = "login.invalid"; },
  { name = "blind.example"; deliver = "%s"; verify = false; } );
routes = ( { name = "odd"; to = ("odd.example"); hosts = ("127.0.0.1:%d", "%s"); },
  { name = "login"; to = ("login.example"); hosts = ("%s"); user = "us"; tls = "encrypt"; } );
aliases = ( { address = "moved.on@example.org"; to = ("nobody.there@old.example"); },
  { address = "both@example.org"; to = ("nobody.there@old.example", "alice@example.org"); } );
""" % (old.port, peer("lists"), peer("gone"), peer("slow"), peer("many"), peer("blind"), free_port(["127.0.0.1"]), peer("odd"), peer("login"))


class VerifyHost(Host):
    def site_text(self):
        return super().site_text().replace('domains = ( { name = "example.org"; } );\n', "", 1)


def main():
    if postfix.why_not():
        skip_all(postfix.why_not())
    dir = tempfile.mkdtemp(prefix="verify-test-", dir="/tmp")
    peers = {}
    pem = certificate(dir)
    kinds = {"odd": {"pem": pem, "break_tls": True}, "login": {"pem": pem, "auth": ("PLAIN", "us", "our secret")}}
    for name in ("lists", "gone", "slow", "many", "odd", "login", "blind", "new"):
        port = free_port(["127.0.0.1"])
        peers[name] = Counted("127.0.0.1", port, **kinds.get(name, {}))
        peers[name].port = port
    peers["new"].refuse = unknown
    old = postfix.Postfix(dir, ["old.example"], "virtual_mailbox_maps = inline:{ { bob.old@old.example = box/ } }")
    try:
        groups = {"limits": "errors = 1000; recipients = 200;"}
        host = VerifyHost(accounts=["alice@example.org"], groups=groups, site=hosts(peers, old))
        host.init()
        with open(host.dir + "/state/secrets", "w") as f:
            f.write('route.login.password = "our secret"\n')
        os.chmod(host.dir + "/state/secrets", 0o600)
        with host:
            is_(host.cli("check", check=False).returncode, 0, "the site is right")
            waiting, result = hangs(host, peers["slow"])
            is_(rcpt(host, "known@gone.example")[0], 250, "known, while the host is up")
            staged(host, old)
            lmtp(host, peers["lists"])
            pipelined(host, peers["many"])
            odd(host, peers["odd"])
            by_login(host, peers["login"])
            waiting.join()
            is_(result[0][0], 450, "a question without an answer ends")
            ok(6 < result[0][1] < 20, "in time (%.1f s)" % result[0][1])
            killed(host, peers["slow"])
            moved(host, peers["blind"], peers["new"])
            peers["gone"] = away(host, peers["gone"], peers["gone"].port)
            wait_until(lambda: queue(host) == "[]", "an empty queue")
            is_([m["Subject"] for m in bounces(host, "alice@example.org")], [], "nothing was bounced, to anybody")
            is_(lines(host, "event=bounced") + lines(host, "double-bounce"), [], "nor would have been")
    finally:
        clear(dir, old, *peers.values())
    done()


main()
