"""A mail host among remote sides that misbehave, and a ledger of what it promised.

    enter()                                # a network and mount namespace of its own; starts the script again
    with Chaos(seed, messages=60) as c:
        c.storm(seconds)                   # submits, relays, breaks things
        c.calm()                           # every remote behaves, the queue is tried again
        c.judge()

Every recipient address is used for one message only, so that an address is what the ledger is about:

    promised   the submitter saw 250: delivered, bounced (a DSN that names it) or still queued
    refused    the submitter saw 4xx or 5xx and nothing was killed around then: never delivered
    unknown    the connection ended before the reply: delivered at most once

A second delivery is a fault unless the host could not know of the first: the peer's 2xx did not leave whole, or send or the
whole host was killed within LOST seconds of it.  A bounce is a fault unless a peer said 5xx for that recipient.
"""
import collections
import email
import json
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

from host import Host, diag, freeze, is_, ok, skip_all, wait_until
from send_peers import Named, Peer, certificate, free_port

INSIDE = "MAILADM_CHAOS_INSIDE"
ALICE = "alice@example.org"
LOST = 3.0
GOOD = re.compile(r"2\d\d([ -].*)?$")
STAGES = ("greeting", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "final")
WRONG = ("199 early", "600 late", "abc", "25", "250_no", "999999", "", "354 what for", "250\x00 x")
ROLES = ("smtp", "send", "store", "resolver", "keys")
DROPPED, REFUSED, SOURCE, FIRST = "127.0.7.66", "127.0.7.67", "127.0.7.68", 1


def enter():
    """Namespaces: packets that are dropped, and a small file system, are this test's alone."""
    if os.environ.pop(INSIDE, None) == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        skip_all("namespaces need root")
    for tool in ("unshare", "ip", "nft", "named"):
        if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            skip_all(tool + " is missing")
    if subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True).returncode != 0:
        skip_all("no namespaces here")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-n", "-m", "--propagation", "private", sys.executable, os.path.abspath(sys.argv[0])]
              + sys.argv[1:])


class Gone(OSError):
    """The peer ends the connection here."""


class Taken:
    """One acceptance of a message by a peer."""

    def __init__(self, peer, mood):
        self.peer, self.mood, self.at, self.left_whole = peer, mood, time.monotonic(), False


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.promised, self.refused, self.unknown = set(), {}, {}
        self.taken, self.rejected, self.kills, self.said = {}, {}, [], {}

    def note_taken(self, addresses, taken):
        with self.lock:
            for a in addresses:
                self.taken.setdefault(a, []).append(taken)

    def note_rejected(self, addresses, reply):
        with self.lock:
            for a in addresses:
                self.rejected.setdefault(a, []).append((time.monotonic(), reply))

    def near_kill(self, at, roles, after=LOST, before=0.5):
        return any(role in roles and at - before <= when <= at + after for when, role, _ in self.kills)


class ChaosPeer(Peer):
    """A Peer whose connections each have a mood: (stage, what it does there), drawn by the seed, until it is calm."""

    def __init__(self, address, port, chaos, **kw):
        self.chaos, self.local = chaos, threading.local()
        self.open = []  # (mood, session)
        super().__init__(address, port, **kw)
        self.bdat = True

    def _serve(self, s):
        local = self.local
        local.mood = self.chaos.mood()
        local.recipients, local.body, local.before = [], False, len(self.sessions)
        kind = local.mood[1]
        if kind == "reset at once":
            return self._reset(s)
        if kind == "silent":
            self.chaos.is_calm.wait(self.chaos.hold)
            return s.close()
        self.chaos.used[local.mood] = self.chaos.used.get(local.mood, 0) + 1
        local.session = None
        return super()._serve(s)

    @staticmethod
    def _reset(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()

    def _talk(self, s, session):
        self.local.session = session
        self.open.append((self.local.mood, session))
        try:
            super()._talk(s, session)
        except Gone:
            pass
        finally:
            self.open.remove((self.local.mood, session))
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _stage(self):
        if self.local.body:
            return "final"
        command = self.local.session.commands[-1] if self.local.session.commands else "greeting"
        return command.split(" ")[0]

    def _send(self, s, data, pause=0.0):
        if not pause:
            s.sendall(data)
            return
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
            self.chaos.is_calm.wait(pause)

    def _say(self, s, text):
        local = self.local
        stage = self._stage()
        if stage == "BDAT":
            stage, local.body = "final", True
        if stage == "MAIL":
            local.recipients = []
        mood = local.mood if not self.chaos.is_calm.is_set() else ("", "")
        text, then = self._changed(s, stage, mood, text)
        rcpt = local.session.commands[-1][8:].split(">")[0].lstrip("<") if stage == "RCPT" else None
        good = bool(GOOD.match(text.split("\r\n")[-1]))
        whole = None
        if stage == "final":
            local.body = False
            for a in local.recipients:
                self.chaos.ledger.said.setdefault(a, []).append((mood, text))
            if good:
                whole = Taken(self, mood)
                self.chaos.ledger.note_taken(local.recipients, whole)
        if text.startswith("5"):
            self.chaos.ledger.note_rejected([rcpt] if rcpt else local.recipients, text)
        self._send(s, text.encode() + b"\r\n", self.chaos.drip if mood[1] == "drip" else 0)
        if whole:
            whole.left_whole = True
        if rcpt and good:
            local.recipients.append(rcpt)
        if stage == "DATA" and text.startswith("354"):
            local.body = True
        if then:
            then()
        return text if good or text[:3] in ("354", "220") else "5" + text[1:]

    def _changed(self, s, stage, mood, text):
        """What is said instead, and what is done after it."""
        at, kind = mood
        rcpt = self.local.session.commands[-1] if stage == "RCPT" else ""
        if kind == "greylist" and stage == "RCPT" and self.chaos.first_time(rcpt):
            return "451 4.7.1 greylisted", None
        if kind == "shuffled":  # replies in a wrong order
            return {"RCPT": "354 go ahead", "DATA": "250 2.1.5 ok"}.get(stage, text), None
        if at != stage:
            return text, None

        def end():
            raise Gone()
        if kind == "421":
            return "421 4.3.2 going down", end if self.chaos.random.random() < 0.5 else None
        if kind == "450":
            return "450 4.2.0 not now", None
        if kind == "550":
            return "550 5.7.1 never", None
        if kind == "close":
            end()
        if kind == "say and close":
            return text, end
        if kind == "reset":
            self._reset(s)
            end()
        if kind == "wrong":
            return self.chaos.random.choice(WRONG), None
        if kind == "long":
            self._flood(s, b"250 " + b"x" * 100000 + b"\r\n")
        if kind == "endless":
            self._flood(s, b"250-and more\r\n" * 200000)
        if kind == "twice":
            if self.extensions:  # BDAT: what comes late cannot be told from an answer
                return text + "\r\n250 2.0.0 and again", None
            return text, lambda: s.sendall(b"250 2.0.0 and again\r\n")
        if kind == "early":  # it promises what it has not seen; both in one packet
            s.sendall(text.encode() + b"\r\n250 2.0.0 taken already\r\n")
            end()
        if kind == "half":
            s.shutdown(socket.SHUT_WR)
            s.settimeout(10)
            while s.recv(65536):
                pass
            end()
        return text, None

    @staticmethod
    def _flood(s, data):
        try:
            s.settimeout(10)
            s.sendall(data)
            while s.recv(65536):
                pass
        except OSError:
            pass
        raise Gone()


class TwoFaced(ChaosPeer):
    """STARTTLS with a certificate that changes, or that ends in noise."""

    def __init__(self, address, port, chaos, pems):
        self.pems = pems
        super().__init__(address, port, chaos, pem=pems[0])

    def _talk(self, s, session):
        self.pem = self.chaos.random.choice(self.pems)
        self.break_tls = not self.chaos.is_calm.is_set() and self.chaos.random.random() < 0.2
        super()._talk(s, session)


MOODS = ([("", "behave")] * 14 + [("", "drip"), ("", "greylist"), ("", "greylist"), ("", "shuffled"), ("", "silent"), ("", "reset at once")]
         + [(stage, kind) for stage in STAGES for kind in ("421", "close", "reset", "wrong", "long", "endless")]
         + [(stage, kind) for stage in ("EHLO", "MAIL", "RCPT", "final") for kind in ("twice", "half")]
         + [("DATA", "half"), ("DATA", "early"), ("DATA", "early"), ("STARTTLS", "450"), ("STARTTLS", "550")]
         + [("final", "say and close")] * 3
         + [(stage, "450") for stage in ("MAIL", "RCPT", "DATA", "final")] + [(stage, "550") for stage in ("RCPT", "DATA", "final")])


class Submitter(threading.Thread):
    """Sends messages of its own, some from an account, some from outside to addresses that are forwarded."""

    def __init__(self, chaos, number):
        super().__init__(daemon=True)
        self.chaos, self.number, self.sent = chaos, number, 0
        self.random = random.Random(chaos.seed * 100 + number)
        self.connection = None

    def _open(self, outside):
        host = self.chaos.host
        if outside:
            c = host.smtp(timeout=20)
        else:
            c = host.smtp("submissions", timeout=20)
            c.login(ALICE, host.accounts[ALICE])
        c.ehlo("load.src.example")
        return c

    def _one(self):
        chaos, token = self.chaos, "m%d-%d" % (self.number, self.sent)
        self.sent += 1
        outside = self.random.random() < 0.3 and chaos.take_alias()
        if outside:
            recipients, remote = [outside[0]], [outside[1]]
        else:
            recipients = remote = ["%s.%d@%s.example" % (token, i, name) for i, name in
                                   enumerate(self.random.sample(chaos.names, self.random.randrange(1, 4)))]
        sender = "s@src.example" if outside else ALICE
        body = "some words\r\n" * self.random.choice((3, 30, 3000 if self.random.random() < 0.2 else 5))
        data = "From: <%s>\r\nTo: <x@example.net>\r\nSubject: %s\r\nX-Token: %s\r\n\r\n%s" % (sender, token, token, body)
        started, accepted = time.monotonic(), []
        try:
            c = self._open(outside) if outside or self.connection is None else self.connection
            if not outside:
                self.connection = c
            code, words = c.mail(sender)
            if code == 250:
                for r, to in zip(recipients, remote):
                    code, words = c.rcpt(r)
                    if code == 250:
                        accepted.append(to)
            if accepted:
                code, words = c.data(data.encode())
        except (OSError, smtplib.SMTPException, ssl.SSLError) as e:
            self.connection = None
            chaos.settle("unknown", remote, repr(e), started)
            return
        if accepted and code == 250:
            chaos.settle("promised", accepted, "", started)
            chaos.settle("refused", [r for r in remote if r not in accepted], "RCPT", started)
        else:
            chaos.settle("refused", remote, "%d %s" % (code, words), started)
            c.rset()
        if outside:
            c.close()

    def run(self):
        while not self.chaos.enough.is_set():
            try:
                self._one()
            except (OSError, smtplib.SMTPException):
                self.connection = None
            self.chaos.enough.wait(self.random.random() * self.chaos.pause)


class Chaos:
    """destinations: d1..dN; hold: how long a silent peer is silent, drip: seconds between two bytes, pause: of a submitter."""

    def __init__(self, seed, destinations=8, submitters=3, aliases=12, hold=10.0, drip=0.02, pause=0.1):
        self.seed, self.random = seed, random.Random(seed)
        self.hold, self.drip, self.pause, self.submitters = hold, drip, pause, submitters
        self.names = ["d%d" % i for i in range(1, destinations + 1)] + ["dropped", "refusing"]
        self.alias_count, self.aliases = aliases, []
        self.ledger, self.is_calm, self.enough = Ledger(), threading.Event(), threading.Event()
        self.used, self.seen, self.lock = {}, set(), threading.Lock()
        self.dir = self.host = self.named = None
        self.peers = []

    # What peers and submitters ask

    def mood(self):
        with self.lock:
            return ("", "behave") if self.is_calm.is_set() else self.random.choice(MOODS)

    def first_time(self, what):
        with self.lock:
            new = what not in self.seen
            self.seen.add(what)
            return new

    def take_alias(self):
        with self.lock:
            return self.aliases.pop() if self.aliases else None

    def settle(self, how, addresses, words, started):
        ledger = self.ledger
        with ledger.lock:
            for a in addresses:
                if how == "promised":
                    ledger.promised.add(a)
                elif how == "refused":
                    ledger.refused[a] = (started, time.monotonic(), words)
                else:
                    ledger.unknown[a] = (started, words)

    # The world

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="mailadm-chaos-", dir="/tmp")
        try:
            self._enter()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _enter(self):
        os.chmod(self.dir, 0o755)
        port = self.port = free_port(["127.0.0.1"])
        where = os.path.join(self.dir, "disk")
        os.mkdir(where)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m,mode=755", "tmpfs", where], check=True)
        self._drop(True)
        pems = []
        for name in ("a", "b"):
            os.mkdir(os.path.join(self.dir, name))
            pems.append(certificate(os.path.join(self.dir, name)))
        zone = "$TTL 1\nsrc MX 10 mxsrc\nmxsrc A %s\n" % SOURCE
        for i, name in enumerate(self.names):
            address = {"dropped": DROPPED, "refusing": REFUSED}.get(name, "127.0.7.%d" % (i + FIRST))
            zone += "%s MX 10 mx%s\nmx%s A %s\n" % (name, name, name, address)
            if name == "refusing":
                continue
            if i % 3 == 0:
                peer = TwoFaced(address, port, self, pems)
            else:
                peer = ChaosPeer(address, port, self, pipelining=i % 2 == 0)
            peer.extensions = ["CHUNKING"] if i % 2 == 0 else []
            self.peers.append(peer)
        self.source = Peer(SOURCE, port)
        self.peers.append(self.source)
        self.named = Named(self.dir, zone)
        groups = {
            "dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % self.named.port,
            "relay": 'port_out = %d; retry_min = "1s"; retry_max = "3s"; mta_sts = false;' % port,
            "limits": 'send_rate = 0; send_stop = 0; connections_per_address = 5000; disk_reserve = "8M"; errors = 1000;',
            "checks": 'greylist = "off"; dns_wait = "1s"; tarpit = "0"; connection_rate = 1000000; command_rate = 1000000;',
        }
        self.host = Host(accounts=[ALICE], dir=where, groups=groups)
        self.host.init()
        with open(self.host.conf, "a") as f:
            f.write("aliases = ( %s );\n" % ", ".join(
                '{ address = "f%d@example.org"; to = [ "f%d.0@%s.example" ]; }' % (i, i, self.names[i % len(self.names)])
                for i in range(self.alias_count)))
        self.aliases = [("f%d@example.org" % i, "f%d.0@%s.example" % (i, self.names[i % len(self.names)]))
                        for i in range(self.alias_count)]
        self.host.start()

    def __exit__(self, kind, *_):
        self.enough.set()
        self.is_calm.set()
        if self.host:
            if kind is not None:
                self.host.show_log()
            self.host.stop()
        if self.named:
            os.kill(self.named.process.pid, signal.SIGCONT)
            self.named.stop()
        for p in self.peers:
            p.stop()
        subprocess.run(["umount", "-l", os.path.join(self.dir, "disk")], capture_output=True)
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def _drop(self, on):
        text = "table inet chaos\ndelete table inet chaos\n"
        if on:
            text += "table inet chaos {\nchain in {\ntype filter hook input priority 0;\nip daddr %s tcp flags syn drop\n}\n}\n" % DROPPED
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)

    # What breaks

    def kill(self, role):
        """SIGKILL of one process of a role; of monitor: with all below it, and a new start."""
        host = self.host
        if role == "monitor":
            self.ledger.kills.append((time.monotonic(), role, host.process.pid))
            host.process.kill()
            host.process.wait()
            self.ledger.kills.append((time.monotonic(), role, 0))
            host.process.stdout.close()
            host.process = None
            host.start()
            return
        pids = [p for name, ps in host.children().items() if name.split(":")[0] == role for p in ps]
        if pids:
            pid = self.random.choice(pids)
            self.ledger.kills.append((time.monotonic(), role, pid))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def dns(self, how):
        """For a second: down, without an answer, or SERVFAIL."""
        if how == "slow":
            freeze(self.named.process.pid)
            time.sleep(1)
            os.kill(self.named.process.pid, signal.SIGCONT)
            return
        self.named.stop()
        if how == "servfail":
            self.named.start("nowhere")
        time.sleep(1)
        if how == "servfail":
            self.named.stop()
        self.named.start()

    def disk_full(self, leave):
        """For a second."""
        filler = os.path.join(self.host.dir, "filler")
        with open(filler, "ab", buffering=0) as f:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                st = os.statvfs(self.host.dir)
                room = st.f_bavail * st.f_frsize - leave
                try:
                    if room > 0:
                        f.write(b"\1" * min(room, 1 << 20))
                    else:
                        time.sleep(0.01)
                except OSError:
                    time.sleep(0.01)
        os.unlink(filler)

    def events(self):
        """Each once, in the seed's order."""
        out = [(self.kill, role) for role in ROLES + ("send", "store", "monitor")]
        out += [(self.dns, how) for how in ("down", "servfail", "slow")] + [(self.disk_full, 7 << 20), (self.disk_full, 0)]
        self.random.shuffle(out)
        return out

    def storm(self, rounds=1, gap=0.4):
        threads = [Submitter(self, i) for i in range(self.submitters)]
        for t in threads:
            t.start()
        for _ in range(rounds):
            for fn, arg in self.events():
                time.sleep(gap * self.random.random() * 2)
                fn(arg)
        time.sleep(gap)
        self.enough.set()
        for t in threads:
            t.join(40)
        return sum(t.sent for t in threads)

    def queue(self):
        r = self.host.cli("--json", "queue", "list", check=False)
        return json.loads(r.stdout) if r.returncode == 0 and r.stdout.strip() else None

    def calm(self, timeout=60):
        """Every remote behaves from now on; until the queue is empty."""
        wait_until(lambda: self.host.cli("status", check=False).returncode in (0, 1) and self.queue() is not None, "all is up", 60)
        self.is_calm.set()
        self._drop(False)
        self.peers.append(ChaosPeer(REFUSED, self.port, self))
        end, queue = time.monotonic() + timeout, None
        while time.monotonic() < end:
            queue = self.queue()
            if queue == []:
                break
            self.host.cli("queue", "retry", "all", check=False)
            time.sleep(0.3)
        for entry in (queue or [])[:4]:
            diag("still queued: %s" % entry)
        if queue:
            for peer in self.peers:
                for mood, session in getattr(peer, "open", []):
                    diag("open: %s %s" % (mood, session.commands[-3:]))
        return queue

    # What is left to be seen

    def bounced(self):
        """Who is named by DSNs to the account and to the sender outside."""
        texts = [m.data for m in self.source.messages]
        imap = self.host.imap(ALICE)
        if imap.select("INBOX", readonly=True)[1][0] != b"0":
            texts += [part[1] for part in imap.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
        imap.logout()
        named = {}
        for text in texts:
            m = email.message_from_bytes(text)
            if m.get_content_type() != "multipart/report":
                continue
            for block in m.get_payload()[1].get_payload():
                if block["Final-Recipient"]:
                    address = block["Final-Recipient"].split(";")[1].strip()
                    named.setdefault(address, []).append("%s %s %s" % (block["Action"], block["Status"], block["Diagnostic-Code"]))
        return named

    def deaths(self):
        """Of processes that were not killed here."""
        killed = {pid for _, _, pid in self.ledger.kills}
        return [line for line in self.host.log().splitlines() if "event=died" in line
                and int(re.search(r"pid=(\d+)", line).group(1)) not in killed]

    def twice_for_nothing(self):
        out = []
        for address, all_taken in self.ledger.taken.items():
            for first in all_taken[:-1]:
                lost = not first.left_whole or self.ledger.near_kill(first.at, ("send", "monitor"))
                if not lost:
                    out.append((address, [(t.mood, round(t.at - all_taken[0].at, 2)) for t in all_taken],
                                [(round(when - all_taken[0].at, 2), role) for when, role, _ in self.ledger.kills]))
        return out

    def judge(self, queue):
        ledger, bounced = self.ledger, self.bounced()
        queued = {r["address"] for e in queue or [] for r in e["recipients"]}
        have = set(ledger.taken) | set(bounced) | queued
        double = sum(len(t) - 1 for t in ledger.taken.values())
        diag("promised %d, refused %d, unknown %d; taken %d (%d again), bounced %d, queued %d; kills %d, moods %d" % (
            len(ledger.promised), len(ledger.refused), len(ledger.unknown), len(ledger.taken), double, len(bounced), len(queued),
            len(ledger.kills), len(self.used)))
        ok(len(ledger.promised) > 20, "mail flowed")
        lost = sorted(ledger.promised - have)
        self._none(lost, "what was accepted is delivered, bounced or queued")
        for address in lost[:4]:
            diag("%s: peers said %s; the log:" % (address, ledger.said.get(address)))
            diag("\n".join([line for line in self.host.log().splitlines() if address in line][-6:]))
        self._none(self.twice_for_nothing(), "nothing is delivered twice whose first delivery was told")
        words = collections.Counter(words[:60] for _, _, words in ledger.refused.values())
        diag("refusals: %s" % dict(words.most_common(6)))
        self._none([(a, r[2]) for a, r in ledger.refused.items() if a in have
                    and not ledger.near_kill(r[0], ("smtp", "store", "monitor"), r[1] - r[0] + 0.1, 0.1)],
                   "what was refused is not delivered")
        self._none([(a, why) for a, why in bounced.items() if a not in ledger.rejected], "no bounce without a refusal")
        self._none([(a, why) for a, why in bounced.items() if len(why) > 1], "one bounce for a recipient")
        self._none([a for a in bounced if a in ledger.taken and not self._rejected_later(a)], "no bounce of what was delivered")
        self._none(self.deaths(), "no process died that was not killed")
        self._none(re.findall(r".*(?:Sanitizer|runtime error).*", self.host.log()), "no sanitizer has anything to say")
        self.host.stop()
        r = self.host.cli("store", "verify", check=False)
        is_(r.returncode, 0, "store verify finds nothing: " + r.stdout[-300:] + r.stderr[-300:])

    def _rejected_later(self, address):
        """A first delivery whose reply was lost, and the next attempt was refused."""
        first = self.ledger.taken[address][0]
        return not first.left_whole or self.ledger.near_kill(first.at, ("send", "monitor"))

    @staticmethod
    def _none(found, name):
        if not ok(not found, name):
            diag("%d of them:" % len(found))
            for f in list(found)[:8]:
                diag("  %r" % (f,))
