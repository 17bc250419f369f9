#!/usr/bin/env python3
"""SCRAM-SHA-256 and -PLUS over IMAP, POP3 and submission: an implementation of its own (hashlib, openssl s_client), GNU SASL, mpop
and msmtp; nobody learns who exists; keys that a PLAIN login teaches; failures count."""
import base64
import concurrent.futures
import hashlib
import hmac
import os
import re
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok, wait_until  # noqa: E402

ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
PASSWORDS = {ALICE: "correct horse", BOB: "pässword-Ⅳ", CAROL: "carols, own=one"}


def b64(data):
    return base64.b64encode(data)


class Wire:
    """A protocol's framing of SASL."""

    def __init__(self, host, protocol, tls=True):
        service = {"imap": "imaps", "pop3": "pop3s", "smtp": "submissions"}[protocol]
        self.socket = host.connect_tls(service)
        self.file = self.socket.makefile("rb")
        self.protocol = protocol
        self.greeting = self.file.readline()
        if protocol == "smtp":
            self.send(b"EHLO client.example")
            self.capabilities = self.lines(lambda l: l[3:4] == b" ")
        elif protocol == "pop3":
            self.send(b"CAPA")
            self.capabilities = self.lines(lambda l: l == b".")
        else:
            self.send(b"a CAPABILITY")
            self.capabilities = self.lines(lambda l: l.startswith(b"a "))

    def send(self, line):
        self.socket.sendall(line + b"\r\n")

    def line(self):
        return self.file.readline().rstrip(b"\r\n")

    def lines(self, last):
        out = [self.line()]
        while out[-1] and not last(out[-1]):
            out.append(self.line())
        return b"\n".join(out)

    def begin(self, initial=None, mechanism=b"SCRAM-SHA-256"):
        command = {"imap": b"a AUTHENTICATE ", "pop3": b"AUTH ", "smtp": b"AUTH "}[self.protocol] + mechanism
        self.send(command + (b" " + initial if initial is not None else b""))
        return self.line()

    def challenge(self, line):
        prefix = b"334 " if self.protocol == "smtp" else b"+ "
        return base64.b64decode(line[len(prefix):]) if line.startswith(prefix) else None

    def good(self, line):
        return line.startswith({"imap": b"a OK", "pop3": b"+OK", "smtp": b"235 "}[self.protocol])

    def close(self):
        self.file.close()
        self.socket.close()


def scram(wire, user, password, initial=True, header=b"n,,", spoil=None, binding=b"", mechanism=None):
    """(last line, the server's proof is right). spoil(client_final) changes it."""
    mechanism = mechanism or (b"SCRAM-SHA-256-PLUS" if binding else b"SCRAM-SHA-256")
    nonce = b64(os.urandom(15))
    bare = b"n=" + user.encode().replace(b"=", b"=3D").replace(b",", b"=2C") + b",r=" + nonce
    line = wire.begin(b64(header + bare) if initial else None, mechanism)
    if not initial:
        if wire.challenge(line) != b"":
            return line, False
        wire.send(b64(header + bare))
        line = wire.line()
    first = wire.challenge(line)
    if first is None:
        return line, False
    fields = dict(f.split(b"=", 1) for f in first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    without = b"c=" + b64(header + binding) + b",r=" + fields[b"r"]
    text = bare + b"," + first + b"," + without
    signature = hmac.digest(hashlib.sha256(key).digest(), text, "sha256")
    final = without + b",p=" + b64(bytes(a ^ b for a, b in zip(key, signature)))
    wire.send(b64(spoil(final) if spoil else final))
    line = wire.line()
    proof = wire.challenge(line)
    if proof is None:
        return line, False
    expected = b"v=" + b64(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), text, "sha256"))
    wire.send(b"")
    return wire.line(), proof == expected


def own(host):
    prepared = {ALICE: PASSWORDS[ALICE], BOB: "pässword-IV", CAROL: PASSWORDS[CAROL]}  # NFKC
    for protocol in ("imap", "pop3", "smtp"):
        for user in (ALICE, BOB, CAROL):
            w = Wire(host, protocol)
            like(w.capabilities, b"SCRAM-SHA-256", "%s: it is offered" % protocol)
            line, proved = scram(w, user, prepared[user], initial=user != BOB)
            if not ok(w.good(line) and proved, "%s: %s logs in, and the server proves itself" % (protocol, user)):
                diag(line)
            w.close()
        w = Wire(host, protocol)
        line, _ = scram(w, ALICE, "wrong")
        ok(not w.good(line) and w.challenge(line) is None, "%s: a wrong password does not" % protocol)
        line, _ = scram(w, ALICE, PASSWORDS[ALICE], spoil=lambda f: f.replace(b"c=biws", b"c=eSws"))
        ok(not w.good(line), "%s: nor another header than the one before" % protocol)
        line, proved = scram(w, ALICE, PASSWORDS[ALICE], header=b"n,a=" + ALICE.encode() + b",")
        ok(w.good(line) and proved, "%s: then the right one does, on the same connection" % protocol)
        w.close()
    w = Wire(host, "imap")
    like(w.begin(b64(b"p=tls-unique,,n=x,r=abc")), b"a NO", "channel binding, which is not offered, is refused")
    like(w.begin(b"!"), b"a BAD", "what is not base64 is malformed")
    like(w.begin(b"="), b"a BAD", "and so is nothing")
    w.begin(b64(b"n,,n=" + ALICE.encode() + b",r=abc"))
    w.send(b"*")
    like(w.line(), b"a BAD", "an exchange can be cancelled")
    w.send(b"b NOOP")
    like(w.line(), b"b OK", "and the dialogue goes on")
    w.close()
    with host.connect("imap") as s:
        f = s.makefile("rb")
        like(f.readline(), b"SASL-IR", "SASL-IR is advertised before login")
        s.sendall(b"i ID (" + b" ".join(b'"%s" "%s"' % (b"f" * 30, b"v" * 1024) for _ in range(30)) + b")\r\n")
        like(f.readline() + f.readline(), b"i OK", "ID with 30 fields of full length is taken")


class BoundWire(Wire):
    """Over openssl s_client, which tells the keying material of the connection."""

    def __init__(self, host, protocol, version="-tls1_3"):
        service = {"imap": "imaps", "pop3": "pop3s", "smtp": "submissions"}[protocol]
        self.protocol = protocol
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % host.port(service), version, "-crlf", "-nocommands",
                                         "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.file = self.process.stdout
        self.binding, line = b"", b"x"
        while line and not line.startswith((b"* OK", b"+OK", b"220 ")):
            line = self.file.readline()
            if line.strip().startswith(b"Keying material: "):
                self.binding = bytes.fromhex(line.split()[-1].decode())
        commands = {"smtp": b"EHLO client.example", "pop3": b"CAPA", "imap": b"a CAPABILITY"}
        last = {"smtp": lambda l: l[3:4] == b" ", "pop3": lambda l: l == b".", "imap": lambda l: l.startswith(b"a ")}
        self.send(commands[protocol])
        self.capabilities = self.lines(last[protocol])

    def send(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def line(self):
        while True:  # s_client speaks between, of session tickets
            line = self.file.readline()
            if not line or line.startswith((b"a ", b"+", b"-ERR", b"* ")) or line[:3].isdigit() or line.strip() == b"." or self.protocol == "pop3" and line[:1].isupper():
                return line.rstrip(b"\r\n")

    def close(self):
        self.process.kill()
        self.process.communicate()


def plus(host):
    """SCRAM-SHA-256-PLUS with tls-exporter (RFC 9266)."""
    for protocol in ("imap", "pop3", "smtp"):
        w = BoundWire(host, protocol)
        like(w.capabilities, b"SCRAM-SHA-256-PLUS", "%s: -PLUS is offered inside TLS 1.3" % protocol)
        is_(len(w.binding), 32, "and there is something to bind to")
        line, proved = scram(w, ALICE, PASSWORDS[ALICE], header=b"p=tls-exporter,,", binding=w.binding)
        if not ok(w.good(line) and proved, "%s: alice logs in, bound to her connection" % protocol):
            diag(line)
        w.close()
    # Each failure is answered after a delay: all at once.
    attempts = [(p, a) for p in ("imap", "pop3", "smtp") for a in ("another connection", "another kind", "none", "without -PLUS", "none, as if -PLUS had not been offered")]

    def attempt(what):
        protocol, kind = what
        w, other = BoundWire(host, protocol), BoundWire(host, protocol)
        options = {"another connection": dict(header=b"p=tls-exporter,,", binding=other.binding), "another kind": dict(header=b"p=tls-unique,,", binding=w.binding),
                   "none, as if -PLUS had not been offered": dict(header=b"y,,", mechanism=b"SCRAM-SHA-256"),
                   "none": dict(header=b"n,,", mechanism=b"SCRAM-SHA-256-PLUS"),
                   "without -PLUS": dict(header=b"p=tls-exporter,,", binding=w.binding, mechanism=b"SCRAM-SHA-256")}
        line, _ = scram(w, ALICE, PASSWORDS[ALICE], **options[kind])
        w.close()
        other.close()
        return w.good(line), line
    with concurrent.futures.ThreadPoolExecutor(len(attempts)) as pool:
        for (protocol, kind), (good, line) in zip(attempts, pool.map(attempt, attempts)):
            ok(not good and line, "%s: a binding to %s is refused: %r" % (protocol, kind, line))
    w = BoundWire(host, "smtp", "-tls1_2")
    ok(b"SCRAM-SHA-256" in w.capabilities and b"PLUS" not in w.capabilities, "TLS 1.2 cannot be bound to")
    w.close()
    with host.connect("submission") as s:
        f = s.makefile("rb")
        f.readline()
        s.sendall(b"EHLO c\r\n")
        text = b""
        while not text.split(b"\n")[-2:][0][3:4] == b" ":
            text += f.readline()
        ok(b"AUTH" in text and b"PLUS" not in text, "without TLS there is no -PLUS")
        s.sendall(b"AUTH SCRAM-SHA-256-PLUS " + b64(b"p=tls-exporter,,n=x,r=abc") + b"\r\n")
        like(f.readline(), b"504 ", "and it is no mechanism")


def session(host, user):
    """After SCRAM the session is the account's own."""
    w = Wire(host, "imap")
    scram(w, user, PASSWORDS[user])
    w.send(b"b SELECT INBOX")
    text = w.lines(lambda l: l.startswith(b"b "))
    w.close()
    return int(re.search(rb"(\d+) EXISTS", text).group(1))


def first_answer(host, user, protocol="imap"):
    w = Wire(host, protocol)
    first = w.challenge(w.begin(b64(b"n,,n=" + user.encode() + b",r=abcdefgh")))
    w.close()
    return re.sub(rb"^r=abcdefgh[A-Za-z0-9+/=]{24},", b"", first) if first else first


def nobody(host):
    real, unknown = first_answer(host, ALICE), first_answer(host, "nobody@example.org")
    ok(re.fullmatch(rb"s=[A-Za-z0-9+/]{22}==,i=\d+", unknown) is not None, "an unknown user gets a salt")
    is_(unknown.split(b",")[1], real.split(b",")[1], "with as many iterations as anybody")
    is_(first_answer(host, "nobody@example.org"), unknown, "the same one each time")
    is_(first_answer(host, "Nobody@EXAMPLE.org", "pop3"), unknown, "however it is written")
    ok(first_answer(host, "nobody2@example.org") != unknown and unknown != real, "and another than others")
    host.restart()
    is_(first_answer(host, "nobody@example.org"), unknown, "also after a restart")
    is_(first_answer(host, ALICE), real, "as a known one does")
    w = Wire(host, "imap")
    line, _ = scram(w, "nobody@example.org", "any password")
    like(line, b"a NO [AUTHENTICATIONFAILED]", "and the same refusal")
    w.close()


def clients(host):
    def run(argv, **keywords):
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **keywords)
    host.deliver(ALICE, b"Subject: hello\r\n\r\nfrom outside\r\n")
    r = run(["mpop", "-C", "/dev/null", "--host=127.0.0.1", "--port=%d" % host.port("pop3s"), "--tls=on",
             "--tls-starttls=off", "--tls-certcheck=off", "--auth=scram-sha-256", "--user=" + ALICE,
             "--passwordeval=echo '%s'" % PASSWORDS[ALICE], "--keep=on", "--uidls-file=%s/uidls" % host.dir,
             "--delivery=mbox,%s/mbox" % host.dir])
    if not is_(r.returncode, 0, "mpop logs in by SCRAM-SHA-256"):
        diag(r.stdout)
    with open(host.dir + "/mbox", "rb") as f:
        like(f.read(), b"from outside", "and fetches")
    r = run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1", "--port=%d" % host.port("submissions"), "--tls=on",
             "--tls-starttls=off", "--tls-certcheck=off", "--auth=scram-sha-256", "--user=" + ALICE,
             "--passwordeval=echo '%s'" % PASSWORDS[ALICE], "--from=" + ALICE, CAROL],
            input=b"Subject: by msmtp\r\n\r\nhi\r\n")
    if not is_(r.returncode, 0, "msmtp submits with SCRAM-SHA-256"):
        diag(r.stdout)
    wait_until(lambda: session(host, CAROL) == 1, "the mail that msmtp sent")
    ok(True, "and it arrives; SCRAM opens the mailbox of the one who logged in")
    for options in (["--imap"], ["--smtp"]):
        service = "imaps" if options == ["--imap"] else "submissions"
        # gsasl speaks STARTTLS only: plain, from loopback
        plain = {"imaps": "imap", "submissions": "submission"}[service]
        r = run(["gsasl", "--client", options[0], "--mechanism=SCRAM-SHA-256", "--authentication-id=" + ALICE,
                 "--authorization-id=", "--password=" + PASSWORDS[ALICE], "--no-starttls", "--no-cb",
                 "--hostname=127.0.0.1", "--connect=127.0.0.1:%d" % host.port(plain)], input=b"")
        if not like(r.stdout, b"Logged in" if options == ["--imap"] else b"235 ", "gsasl %s is let in" % options[0]):
            diag(r.stdout[-1500:])


def bound_clients(host):
    """GNU SASL inside STARTTLS."""
    for option, service, word in (("--imap", "imap", b"Logged in"), ("--smtp", "submission", b"235 ")):
        r = subprocess.run(["gsasl", "--client", option, "--mechanism=SCRAM-SHA-256-PLUS", "--authentication-id=" + ALICE, "--authorization-id=",
                            "--password=" + PASSWORDS[ALICE], "--starttls", "--x509-ca-file=", "--hostname=127.0.0.1",
                            "--connect=127.0.0.1:%d" % host.port(service)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, input=b"")
        if not like(r.stdout, word, "gsasl %s with SCRAM-SHA-256-PLUS inside STARTTLS" % option):
            diag(r.stdout[-2500:])


def learning(host):
    """Lines without keys, one of them of another server: a PLAIN login teaches them."""
    path = os.path.join(host.dir, "state/credentials")
    host.stop()
    sha = subprocess.run(["openssl", "passwd", "-6", PASSWORDS[CAROL]], stdout=subprocess.PIPE, text=True).stdout.strip()
    with open(path) as f:
        lines = [l for l in f.read().splitlines() if not l.startswith("#")]
    old = dict(l.split(":", 1) for l in lines)
    yescrypt = old[ALICE].split(":")[0]
    with open(path, "w") as f:
        f.write("# by hand\n%s:%s\n%s:%s\n%s:!\n" % (ALICE, yescrypt, CAROL, sha, BOB))
    host.start()
    w = Wire(host, "imap")
    ok(b"SCRAM" not in w.capabilities, "while somebody has no keys, SCRAM is not offered")
    ok(not w.good(scram(w, ALICE, PASSWORDS[ALICE])[0]), "who has none cannot log in by it")
    w.close()
    before = first_answer(host, ALICE)
    host.imap(ALICE).logout()
    w = Wire(host, "imap")
    ok(w.good(scram(w, ALICE, PASSWORDS[ALICE])[0]), "a PLAIN login taught the keys at once")
    w.close()
    is_(first_answer(host, ALICE), before, "with the salt that was shown before")
    host.pop3(CAROL).quit()

    def read():
        with open(path) as f:
            return f.read()
    wait_until(lambda: read().count("SCRAM-SHA-256$") == 2, "keys of both in the file")
    text = read()
    like(text, "# by hand\n%s:%s:SCRAM-SHA-256$" % (ALICE, yescrypt), "the file has keys beside the same hash")
    like(text, "\n%s:$y$" % CAROL, "and a yescrypt hash instead of the SHA-512 one")
    like(text, "\n%s:!\n" % BOB, "the locked line is as it was")
    is_(os.stat(path).st_mode & 0o777, 0o600, "nobody else may read it")
    wait_until(lambda: b"SCRAM-SHA-256" in Wire(host, "imap").capabilities, "the offer")
    ok(True, "now SCRAM is offered")
    host.restart()
    for user in (ALICE, CAROL):
        w = Wire(host, "pop3")
        ok(w.good(scram(w, user, PASSWORDS[user])[0]), "%s logs in by SCRAM after a restart" % user)
        w.close()
    host.pop3(CAROL).quit()
    ok(True, "and by PLAIN with the new hash")
    host.cli("account", "passwd", ALICE, input="another one\n")
    for password, good in ((PASSWORDS[ALICE], False), ("another one", True)):
        w = Wire(host, "imap")
        is_(w.good(scram(w, ALICE, password)[0]), good, "after a change of password: %s" % password)
        w.close()


def throttled(host):
    """limits.auth_failures = 10, and this machine is judged by account."""
    def at_once(passwords):
        answers = []

        def one(password):
            w = Wire(host, "imap")
            answers.append(scram(w, BOB, password)[0])
            w.close()
        threads = [threading.Thread(target=one, args=(p,)) for p in passwords]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return answers
    host.cli("account", "passwd", BOB, input=PASSWORDS[BOB] + "\n")
    at_once(["pässword-IV"])
    host.cli("account", "passwd", BOB, input="the newer one\n")
    answers = at_once(["pässword-IV"] * 15)  # a phone with the password before
    is_([a for a in answers if b"AUTHENTICATIONFAILED" not in a], [], "the password before, 15 times, is one failure")
    like(at_once(["the newer one"])[0], b"a OK", "so that the right one is not kept out")
    at_once(["guess %d" % i for i in range(9)])
    like(at_once(["another guess"])[0], b"[LIMIT]", "guesses are counted and stopped")
    like(at_once(["the newer one"])[0], b"[LIMIT]", "from then on at the first message")


with Host({ALICE: PASSWORDS[ALICE]}, groups={"limits": "auth_failures = 1000;", "tls": "channel_binding = true;"}) as host:
    plus(host)
    bound_clients(host)
host = Host(PASSWORDS, groups={"limits": "auth_failures = 10;"})
with host:
    own(host)
    nobody(host)
    clients(host)
    learning(host)
    throttled(host)
    ok(not any(p in host.log() for p in PASSWORDS.values()), "no password is in the log")
done()
