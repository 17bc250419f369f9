"""A bare IMAP client for tests that must see every line: commands by tag, literals, nothing interpreted."""
import io
import re
import zlib


class RawImap:
    def __init__(self, sock, greeting=True):
        self.sock = sock
        self.file = sock.makefile("rb")
        self.count = 0
        self.greeting = self.line() if greeting else None

    def line(self):
        """One response line with its literals inside; b'' at the end of the stream."""
        whole = b""
        while True:
            part = self.file.readline()
            whole += part
            literal = re.search(rb"\{(\d+)\}\r\n$", part)
            if not literal:
                return whole[:-2] if whole.endswith(b"\r\n") else whole
            whole += self.file.read(int(literal.group(1)))

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def start(self, command):
        """Sends a command without waiting; returns its tag."""
        self.count += 1
        tag = b"t%d" % self.count
        self.send(tag + b" " + (command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return tag

    def finish(self, tag):
        """Reads up to the tagged line: (status line without the tag, untagged lines)."""
        untagged = []
        while True:
            line = self.line()
            if line == b"":
                return b"EOF", untagged
            if line.startswith(tag + b" "):
                return line[len(tag) + 1:], untagged
            untagged.append(line)

    def cmd(self, command):
        return self.finish(self.start(command))

    def ok(self, command):
        status, untagged = self.cmd(command)
        if not status.startswith(b"OK"):
            raise AssertionError("%r: %r %r" % (command, status, untagged))
        return untagged

    def append(self, mailbox, message, args=""):
        """APPEND by LITERAL+; returns the status line."""
        return self.cmd(b"APPEND %s %s{%d+}\r\n%s" % (mailbox.encode(), args.encode(), len(message), message))[0]

    def compress(self):
        """COMPRESS DEFLATE: from here on everything goes through zlib."""
        status = self.cmd("COMPRESS DEFLATE")[0]
        if status.startswith(b"OK"):
            self.sock = Deflated(self.sock)
            self.file = io.BufferedReader(self.sock)
        return status

    def close(self):
        self.file.close()
        self.sock.close()


class Deflated(io.RawIOBase):
    """A socket whose bytes are raw deflate streams (RFC 4978)."""

    def __init__(self, sock):
        self.sock = sock
        self.reader = zlib.decompressobj(-15)
        self.writer = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.sent = self.received = 0

    def readable(self):
        return True

    def readinto(self, into):
        data = b""
        while not data:
            if self.reader.unconsumed_tail:
                data = self.reader.decompress(self.reader.unconsumed_tail, len(into))
                continue
            raw = self.sock.recv(65536)
            if not raw:
                return 0
            self.received += len(raw)
            data = self.reader.decompress(raw, len(into))
        into[:len(data)] = data
        return len(data)

    def sendall(self, data):
        raw = self.writer.compress(data) + self.writer.flush(zlib.Z_SYNC_FLUSH)
        self.sent += len(raw)
        self.sock.sendall(raw)
