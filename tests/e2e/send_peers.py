"""Peers for the tests of sending: a real named with one zone on loopback, and SMTP servers that note all they see."""
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

from host import Host, diag, wait_until


def free_port(addresses):
    """One port that is free on all of them."""
    for _ in range(100):
        taken = []
        try:
            port = 0
            for address in addresses:
                s = socket.socket()
                taken.append(s)
                s.bind((address, port))
                port = s.getsockname()[1]
            return port
        except OSError:
            continue
        finally:
            for s in taken:
                s.close()
    raise RuntimeError("no free port")


class Named:
    """Serves the zone `example` with these lines, on 127.0.0.1."""

    def __init__(self, dir, records):
        self.dir = os.path.join(dir, "named")
        os.makedirs(self.dir)
        self.port = free_port(["127.0.0.1"])
        with open(os.path.join(self.dir, "zone"), "w") as f:
            f.write("$TTL 60\n@ IN SOA ns.example. admin.example. 1 3600 600 86400 60\n@ IN NS ns.example.\n"
                    "ns IN A 127.0.0.1\n" + records)
        self.start()

    def start(self, zone="zone"):
        """With a zone file that is not there, all it says is SERVFAIL."""
        conf = os.path.join(self.dir, "named.conf")
        with open(conf, "w") as f:
            f.write('options { directory "%s"; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no;\n'
                    'pid-file none; session-keyfile none; };\ncontrols { };\n'
                    'zone "example" { type primary; file "%s"; };\n' % (self.dir, self.port, zone))
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.process = subprocess.Popen([shutil.which("named") or "/usr/sbin/named", "-g", "-n", "1", "-c", conf],
                                        stdout=self.log, stderr=self.log)

        def answers():
            if self.process.poll() is not None:
                with open(os.path.join(self.dir, "log"), errors="replace") as f:
                    diag(f.read())
                raise RuntimeError("named ended")
            return b"running" in open(os.path.join(self.dir, "log"), "rb").read()
        wait_until(answers, "named")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def certificate(dir):
    """A self-signed certificate with its key, in one file."""
    path = os.path.join(dir, "peer.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path, "-out", path + ".crt",
                    "-days", "2", "-subj", "/CN=peer.example"], check=True, stderr=subprocess.DEVNULL)
    with open(path, "a") as f, open(path + ".crt") as c:
        f.write(c.read())
    return path


class Message:
    def __init__(self, session, sender, recipients, data, parameters):
        self.session, self.sender, self.recipients, self.data, self.parameters = session, sender, recipients, data, parameters


class Session:
    def __init__(self):
        self.commands, self.tls, self.user, self.helo = [], False, None, None


class Peer:
    """An SMTP server on address:port.  What it does can be changed while it runs:

    refuse   {recipient: reply} at RCPT, or a function of the recipient that returns a reply or None
    final    reply after the message; a function(peer, message) may return one too
    hold     an Event: the reply after the message waits for it
    drip     replies leave one byte at a time
    """

    def __init__(self, address, port, pem=None, pipelining=True, ehlo=True, auth=None, greeting="220 peer.example ESMTP",
                 break_tls=False):
        self.messages, self.sessions, self.refuse, self.final = [], [], {}, "250 2.0.0 taken"
        self.hold, self.drip, self.received = None, False, 0
        self.bdat = False  # knows BDAT n LAST
        self.extensions = []  # further lines of EHLO's reply; it need not know what they mean
        self.pem, self.pipelining, self.ehlo, self.auth = pem, pipelining, ehlo, auth
        self.greeting, self.break_tls = greeting, break_tls
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        session = Session()
        self.sessions.append(session)
        try:
            self._talk(s, session)
        except (OSError, ssl.SSLError):
            pass
        finally:
            s.close()

    def _say(self, s, text):
        """Sends a reply; answers what was sent, which a peer of another mind may have changed."""
        data = (text + "\r\n").encode()
        if self.drip:
            for i in range(len(data)):
                s.sendall(data[i:i + 1])
        else:
            s.sendall(data)
        return text

    def _talk(self, s, session):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._say(s, self.greeting)
        f = s.makefile("rb")
        sender, recipients, parameters = None, [], ""
        while True:
            line = f.readline()
            if not line:
                return
            command = line.decode("utf-8", "replace").rstrip("\r\n")
            session.commands.append(command)
            verb = command.upper()
            if verb.startswith(("EHLO", "LHLO")):
                session.helo = command[5:]
                if not self.ehlo:
                    self._say(s, "502 5.5.1 what?")
                    continue
                words = ["250-peer.example", "250-8BITMIME", "250-SIZE 100000000"]
                words += ["250-PIPELINING"] if self.pipelining else []
                words += ["250-" + x for x in self.extensions]
                words += ["250-STARTTLS"] if self.pem and not session.tls else []
                words += ["250-AUTH " + self.auth[0]] if self.auth else []
                self._say(s, "\r\n".join(words) + "\r\n250 ENHANCEDSTATUSCODES")
            elif verb.startswith("HELO"):
                self._say(s, "250 peer.example")
            elif verb == "STARTTLS":
                if not self._say(s, "220 go").startswith("220"):
                    continue
                if self.break_tls:
                    s.sendall(b"this is no handshake\r\n")
                    return
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.pem)
                f.close()
                s = context.wrap_socket(s, server_side=True)
                f = s.makefile("rb")
                session.tls = True
            elif verb.startswith("AUTH"):
                self._auth(s, f, session, command)
            elif verb.startswith("MAIL FROM:"):
                sender, recipients = command[10:].split(">")[0].lstrip("<"), []
                parameters = command.split(">", 1)[1].strip()
                self._say(s, "250 2.1.0 ok")
            elif verb.startswith("RCPT TO:"):
                recipient = command[8:].split(">")[0].lstrip("<")
                reply = self.refuse(recipient) if callable(self.refuse) else self.refuse.get(recipient)
                if self._say(s, reply or "250 2.1.5 ok").startswith("2"):
                    recipients.append(recipient)
            elif verb == "DATA":
                if not self._say(s, "354 go ahead" if recipients else "503 5.5.1 nobody to send to").startswith("354"):
                    continue
                data = b""
                while True:
                    line = f.readline()
                    if not line:
                        return
                    if line == b".\r\n":
                        break
                    data += line[1:] if line.startswith(b".") else line
                self._take(s, Message(session, sender, recipients, data, parameters))
            elif verb.startswith("BDAT ") and self.bdat:
                data = f.read(int(verb.split()[1]))
                if len(data) < int(verb.split()[1]) or not verb.endswith(" LAST"):
                    return
                self._take(s, Message(session, sender, recipients, data, parameters))
            elif verb == "RSET":
                self._say(s, "250 2.0.0 ok")
            elif verb == "QUIT":
                self._say(s, "221 2.0.0 bye")
                return
            else:
                self._say(s, "500 5.5.1 what?")

    def _take(self, s, message):
        """The whole message is here: the last reply."""
        self.received += 1
        if self.hold:
            self.hold.wait(60)
        reply = self.final(self, message) if callable(self.final) else self.final
        if self._say(s, reply).startswith("2"):
            self.messages.append(message)

    def _auth(self, s, f, session, command):
        import base64
        mechanism, user, password = self.auth
        if command.startswith("AUTH PLAIN "):
            _, u, p = base64.b64decode(command[11:]).decode().split("\0")
        elif command == "AUTH LOGIN":
            self._say(s, "334 VXNlcm5hbWU6")
            u = base64.b64decode(f.readline()).decode()
            self._say(s, "334 UGFzc3dvcmQ6")
            p = base64.b64decode(f.readline()).decode()
        else:
            self._say(s, "504 5.5.4 no")
            return
        if (u, p) == (user, password):
            session.user = u
            self._say(s, "235 2.7.0 welcome")
        else:
            self._say(s, "535 5.7.8 no")


def clear(dir, *started):
    """The end of a test: what was started stops, and the folder goes (KEEP=1 leaves it)."""
    for thing in started:
        if thing:
            thing.stop()
    if not os.environ.get("KEEP"):
        shutil.rmtree(dir, ignore_errors=True)


@contextlib.contextmanager
def stuck_host(zone, accounts):
    """host, peer, folder: whatever has mx.example for its exchanger goes to the peer, which puts it off until .refuse is
    another."""
    dir = tempfile.mkdtemp(prefix="queue-test-", dir="/tmp")
    port = free_port(["127.0.0.2"])
    peer, named = Peer("127.0.0.2", port), Named(dir, zone + "mx A 127.0.0.2\n")
    peer.refuse = put_off
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; dnssec = false;' % named.port, "relay": "port_out = %d;" % port}
    try:
        with Host(accounts=accounts, groups=groups) as host:
            yield host, peer, dir
    finally:
        clear(dir, named, peer)


def put_off(recipient):
    return "450 4.2.1 later please"


def bounces(host, address):
    """The delivery status notifications in an account's inbox, as email messages."""
    import email
    imap = host.imap(address)
    imap.select("INBOX", readonly=True)
    out = []
    for number in imap.search(None, "ALL")[1][0].split():
        m = email.message_from_bytes(imap.fetch(number, "(BODY.PEEK[])")[1][0][1])
        if m.get_content_type() == "multipart/report":
            out.append(m)
    imap.logout()
    return out


def report(m):
    """The per-recipient fields of a notification: {recipient: {field: value}}."""
    status = m.get_payload()[1].get_payload()
    return {block["Final-Recipient"].split(";")[1].strip(): block for block in status[1:] if block["Final-Recipient"]}
