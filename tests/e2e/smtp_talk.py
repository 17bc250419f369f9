"""A bare SMTP client for tests that send what smtplib would not: whole replies, raw bytes, no opinion."""
import socket
import struct

from host import tls_context


class Talk:
    """Reads the greeting at once; .greeting is its (code, text).  source: the client's address."""

    def __init__(self, host, service="smtp", tls=False, greet=True, source=""):
        self.sock = socket.create_connection(("127.0.0.1", host.port(service)), 30, (source, 0))
        if tls:
            self.start_tls()
        self.data = b""
        self.greeting = self.reply() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _line(self):
        while b"\n" not in self.data:
            try:
                chunk = self.sock.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                return None
            self.data += chunk
        line, self.data = self.data.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def reply(self):
        """(code, text of all lines), or (0, "") when the server has closed."""
        text = []
        while True:
            line = self._line()
            if line is None:
                return 0, ""
            text.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(text)

    def cmd(self, line):
        """Sends one command (str or bytes, no CRLF) and gives its reply."""
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.reply()

    def codes(self, *lines):
        """Sends commands one after the other; the codes."""
        return [self.cmd(line)[0] for line in lines]

    def pipeline(self, data, replies):
        """Sends raw bytes at once; the codes of so many replies."""
        self.send(data)
        return [self.reply()[0] for _ in range(replies)]

    def start_tls(self):
        self.sock = tls_context().wrap_socket(self.sock)

    def closed(self):
        """True when the server closes without a further word."""
        return self.reply() == (0, "")

    def transaction(self, content, sender="s@example.net", to="alice@example.org"):
        """EHLO to the end of content (which carries its own end); the last reply."""
        want = [250, 250, 250, 354]
        got = self.codes("EHLO c.example", "MAIL FROM:<%s>" % sender, "RCPT TO:<%s>" % to, "DATA")
        if got != want:
            raise AssertionError("got %r, wanted %r" % (got, want))
        self.send(content)
        return self.reply()


BALANCER = "127.0.0.9"
PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxy_header(source, command=0x21, family=None, tlvs=b""):
    """PROXY v2: the client is source:4321."""
    six = ":" in source
    family = family if family is not None else 0x21 if six else 0x11
    pack = [socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, a) for a in (source, "::1" if six else "127.0.0.1")]
    body = b"".join(pack) + struct.pack("!HH", 4321, 25) + tlvs
    return PROXY_SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


class Outside(Talk):
    """From an address elsewhere, as the balancer in front says: listen.proxy_from holds BALANCER."""

    def __init__(self, host, address="203.0.113.9"):
        super().__init__(host, greet=False, source=BALANCER)
        self.send(proxy_header(address))
        self.greeting = self.reply()


def shutdown_write(talk):
    talk.sock.shutdown(socket.SHUT_WR)


def count(host, address, mailbox="INBOX"):
    """How many messages the account has."""
    imap = host.imap(address)
    try:
        return int(imap.select(mailbox)[1][0])
    finally:
        imap.logout()


def messages(host, address, mailbox="INBOX"):
    """All messages of an account, as bytes, in order."""
    imap = host.imap(address)
    try:
        n = int(imap.select(mailbox)[1][0])
        return [imap.fetch(str(i), "(BODY.PEEK[])")[1][0][1] for i in range(1, n + 1)]
    finally:
        imap.logout()
