"""A program on a terminal of its own, for tests of clients with a screen: keys in, and what the screen shows out.

    with Terminal(["neomutt", "-F", path], env) as t:
        t.wait(lambda: "subject" in t.text(), "the list")
        t.type("q")
        code = t.exit()

Knows what TERM=xterm needs of a program that draws with curses or tcell; colours and titles are read and forgotten,
other character sets are not known.  Nothing here sleeps: wait reads what the program writes until the condition holds.
"""
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unicodedata

SEQUENCE = re.compile(r"\x1b(?:\[([?>=!]?)([0-9;:]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()*+#%].|P[^\x1b]*\x1b\\|([^\[\]()*+#%P]))")


class Terminal:
    def __init__(self, argv, env, rows=60, cols=120, cwd=None):
        self.rows, self.cols = rows, cols
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.rest = ""
        self.reset()
        self.code = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                if cwd:
                    os.chdir(cwd)
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
                os.execvpe(argv[0], argv, dict(env, TERM="xterm"))
            finally:
                os._exit(127)

    # The program

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def read(self, seconds):
        """What the program wrote, onto the screen; False at its end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.put(self.decoder.decode(data))
        return bool(data)

    def wait(self, condition, what, timeout=15):
        """Reads until condition() holds and returns its value; AssertionError with the screen when it does not."""
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError("waited %d s for %s; the screen:\n%s" % (timeout, what, self.text()))
            if not self.read(0.05):
                if condition():
                    return condition()
                raise AssertionError("ended while waiting for %s; the screen:\n%s" % (what, self.text()))

    def exit(self, timeout=15):
        """Waits for its end; the exit code, or minus the signal."""
        end = time.monotonic() + timeout
        while self.code is None:
            self.read(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise AssertionError("it does not end; the screen:\n" + self.text())
        return self.code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    # The screen

    def lines(self):
        return ["".join(row).rstrip() for row in self.screen]

    def text(self):
        return "\n".join(self.lines()).rstrip()

    def reset(self):
        self.screen = [self.blank() for _ in range(self.rows)]
        self.y = self.x = self.top = 0
        self.bottom = self.rows - 1
        self.saved = (0, 0)
        self.last = " "

    def blank(self):
        return [" "] * self.cols

    def put(self, text):
        text = self.rest + text
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                self.character(text[at])
                at += 1
                continue
            found = SEQUENCE.match(text, at)
            if not found:
                if len(text) - at < 4096:
                    break  # the rest of it comes later
                at += 1
                continue
            if found.group(3):
                self.control(found.group(1), found.group(2), found.group(3))
            elif found.group(4):
                self.escape(found.group(4))
            at = found.end()
        self.rest = text[at:]

    def character(self, c):
        if c == "\r":
            self.x = 0
        elif c == "\n":
            self.down()
        elif c == "\b":
            self.x = max(0, self.x - 1)
        elif c == "\t":
            self.x = min(self.cols - 1, self.x // 8 * 8 + 8)
        elif c >= " " and c != "\x7f":
            if self.x >= self.cols:
                self.x = 0
                self.down()
            self.screen[self.y][self.x] = self.last = c
            self.x += 1
            if unicodedata.east_asian_width(c) in "WF" and self.x < self.cols:
                self.screen[self.y][self.x] = ""  # the second half
                self.x += 1

    def down(self):
        if self.y == self.bottom:
            self.scroll(self.top, 1)
        elif self.y < self.rows - 1:
            self.y += 1

    def scroll(self, top, count):
        """Lines from top to the end of the region go up by count, down where it is negative."""
        for _ in range(min(abs(count), self.rows)):
            if count > 0:
                del self.screen[top]
                self.screen.insert(self.bottom, self.blank())
            else:
                del self.screen[self.bottom]
                self.screen.insert(top, self.blank())

    def escape(self, c):
        if c == "7":
            self.saved = (self.y, self.x)
        elif c == "8":
            self.y, self.x = self.saved
        elif c == "D":
            self.down()
        elif c == "E":
            self.x = 0
            self.down()
        elif c == "M":
            if self.y == self.top:
                self.scroll(self.top, -1)
            else:
                self.y = max(0, self.y - 1)
        elif c == "c":
            self.reset()

    def control(self, private, arguments, c):
        if private:
            if arguments == "1049" and c in "hl":
                self.reset()
            return
        given = [int(n) if n.isdigit() else 0 for n in arguments.split(";")]
        n = max(1, given[0])
        second = max(1, given[1]) if len(given) > 1 else 1
        self.x = min(self.x, self.cols - 1) if c not in "mhl" else self.x
        row = self.screen[self.y]
        if c in "Hf":
            self.y, self.x = min(n, self.rows) - 1, min(second, self.cols) - 1
        elif c == "A":
            self.y = max(0, self.y - n)
        elif c in "Be":
            self.y = min(self.rows - 1, self.y + n)
        elif c in "Ca":
            self.x = min(self.cols - 1, self.x + n)
        elif c == "D":
            self.x = max(0, self.x - n)
        elif c in "G`":
            self.x = min(n, self.cols) - 1
        elif c == "d":
            self.y = min(n, self.rows) - 1
        elif c == "J":
            self.erase_display(given[0])
        elif c == "K":
            first, end = ((self.x, self.cols), (0, self.x + 1), (0, self.cols))[min(given[0], 2)]
            row[first:end] = [" "] * (end - first)
        elif c == "X":
            row[self.x:self.x + n] = [" "] * len(row[self.x:self.x + n])
        elif c == "P":
            self.screen[self.y] = (row[:self.x] + row[self.x + n:] + self.blank())[:self.cols]
        elif c == "@":
            self.screen[self.y] = (row[:self.x] + [" "] * n + row[self.x:])[:self.cols]
        elif c == "L":
            self.scroll(self.y, -n)
        elif c == "M":
            self.scroll(self.y, n)
        elif c == "S":
            self.scroll(self.top, n)
        elif c == "T":
            self.scroll(self.top, -n)
        elif c == "b":
            for _ in range(n):
                self.character(self.last)
        elif c == "r":
            self.top = n - 1
            self.bottom = min(second if len(given) > 1 and given[1] else self.rows, self.rows) - 1
            self.y = self.x = 0

    def erase_display(self, what):
        for y in range(self.rows):
            if what >= 2 or (what == 0 and y > self.y) or (what == 1 and y < self.y):
                self.screen[y] = self.blank()
        first, end = ((self.x, self.cols), (0, self.x + 1), (0, 0))[min(what, 2)]
        self.screen[self.y][first:end] = [" "] * (end - first)
