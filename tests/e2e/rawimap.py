"""A bare IMAP client for tests that must see every line: commands by tag, literals, nothing interpreted."""
import re


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

    def close(self):
        self.file.close()
        self.sock.close()
