"""A whole mail host in a temporary folder, for end-to-end tests, and the few TAP functions they need.

    from host import Host, ok, is_, diag, done

    with Host(accounts={"alice@example.org": "secret"}) as host:
        imap = host.imap("alice@example.org")        # imaplib, TLS, logged in
        host.smtp().sendmail(...)                    # smtplib on port 25
        is_(imap.select("INBOX")[0], "OK", "INBOX opens")
    done()

The host listens on loopback with a free port offset, its state is below host.dir, its log in host.dir/log (the last
lines are printed as diagnostics when it does not start).  BUILD names the build folder (default: build).
KEEP=1 leaves the folder.  Nothing here sleeps: readiness is the line `ready`, and wait_until polls a condition.
"""
import imaplib
import os
import poplib
import random
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
MAILADM = os.path.join(BUILD, "mailadm")
PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
PASSWORD = "correct horse 1"

_count = 0
_failed = 0


def ok(condition, name):
    """One TAP line; returns the condition."""
    global _count, _failed
    _count += 1
    if not condition:
        _failed += 1
    print("%sok %d - %s" % ("" if condition else "not ", _count, name.replace("#", "\\#")), flush=True)
    return bool(condition)


def is_(got, want, name):
    """Equality; a failure prints what was seen and wanted."""
    if not ok(got == want, name):
        diag("   got: %.2000r" % (got,))
        diag("wanted: %.2000r" % (want,))
    return got == want


def like(got, part, name):
    """part is contained in got."""
    if not ok(part in got, name):
        diag("   got: %.2000r" % (got,))
        diag("wanted to contain: %.2000r" % (part,))
    return part in got


def diag(text):
    for line in str(text).splitlines():
        print("# " + line, flush=True)


def plan(n):
    print("1..%d" % n, flush=True)


def skip_all(reason):
    print("1..0 # SKIP " + reason, flush=True)
    sys.exit(0)


def done():
    """Ends a test file that gave no plan before."""
    plan(_count)
    sys.exit(1 if _failed else 0)


def wait_until(condition, what, timeout=20):
    """Polls until condition() is true; returns its value, or fails the test file."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError("waited %d s for %s" % (timeout, what))
        select.select([], [], [], 0.02)


def freeze(pid):
    """SIGSTOP, seen by every thread: kill() comes back before a loaded machine has stopped the last of them."""
    os.kill(pid, signal.SIGSTOP)

    def stopped(thread):
        try:
            with open("/proc/%d/task/%s/stat" % (pid, thread)) as f:
                return f.read().rpartition(")")[2].split()[0] == "T"
        except FileNotFoundError:
            return True  # it has ended
    wait_until(lambda: all(map(stopped, os.listdir("/proc/%d/task" % pid))), "process %d to stop" % pid)


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def free_offset(address="127.0.0.1"):
    """A port offset with which every service's port is free."""
    for _ in range(200):
        offset = random.randrange(10000, 31000)
        taken = []
        try:
            for port in PORTS.values():
                s = socket.socket()
                taken.append(s)
                s.bind((address, port + offset))
            return offset
        except OSError:
            continue
        finally:
            for s in taken:
                s.close()
    raise RuntimeError("no free port offset")


class Host:
    """accounts: {address: password} or a list (password PASSWORD).  site: more text for site.conf (groups of its own);
    groups: {"limits": "errors = 5;"} adds settings to a group, also to host, listen and log."""

    def __init__(self, accounts=("alice@example.org", "bob@example.org"), hostname="mail.example.org",
                 domains=("example.org",), site="", groups=None, insecure_loopback=True, offset=None, dir=None):
        self.accounts = accounts if isinstance(accounts, dict) else {a: PASSWORD for a in accounts}
        self.hostname = hostname
        self.domains = list(domains)
        self.site = site
        self.groups = dict(groups or {})
        self.insecure_loopback = insecure_loopback
        self.offset = offset or free_offset()
        self.own_dir = dir is None
        self.dir = dir or tempfile.mkdtemp(prefix="mailadm-test-", dir="/tmp")
        self.conf = os.path.join(self.dir, "site.conf")
        self.log_path = os.path.join(self.dir, "log")
        self.process = None

    # Setting up and running

    def site_text(self):
        def group(name, text):
            return "%s = { %s %s };\n" % (name, text, self.groups.get(name, ""))
        text = group("host", 'name = "%s"; ipv4 = "192.0.2.10";' % self.hostname)
        text += "domains = ( %s );\n" % ", ".join('{ name = "%s"; }' % d for d in self.domains)
        text += "accounts = ( %s );\n" % ", ".join('{ address = "%s"; }' % a for a in self.accounts)
        text += 'port_offset = %d;\nstate_dir = "state";\n' % self.offset
        text += group("listen", "loopback = true; insecure_loopback = %s;" % str(self.insecure_loopback).lower())
        for name, body in self.groups.items():
            if name not in ("host", "listen"):
                text += group(name, "")
        return text + self.site

    def init(self):
        """Writes the site and sets the passwords; called by start when needed."""
        args = ["init", self.dir, "--hostname", self.hostname, *(w for d in self.domains for w in ("--domain", d)), "--ipv4", "192.0.2.10",
                "--port-offset", str(self.offset)]
        for address in self.accounts:
            args += ["--account", address]
        self._run([MAILADM] + args)
        with open(self.conf, "w") as f:
            f.write(self.site_text())
        for address, password in self.accounts.items():
            self.cli("account", "passwd", address, input=password + "\n")

    def _run(self, argv, input=None, check=True):
        r = subprocess.run(argv, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        if check and r.returncode != 0:
            raise RuntimeError("%s: exit %d\n%s%s" % (" ".join(argv), r.returncode, r.stdout, r.stderr))
        return r

    def cli(self, *args, input=None, check=True):
        """mailadm -c SITE args; returns the CompletedProcess."""
        return self._run([MAILADM, "-c", self.conf] + list(args), input=input, check=check)

    def start(self, timeout=60):
        if not os.path.exists(self.conf):
            self.init()
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen([MAILADM, "-c", self.conf, "serve"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=log)
        log.close()
        end = time.monotonic() + timeout
        seen = b""
        while b"ready" not in seen.split(b"\n"):
            left = end - time.monotonic()
            chunk = b""
            if left > 0 and select.select([self.process.stdout], [], [], left)[0]:
                chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                self.show_log()
                self.stop()
                raise RuntimeError("the host did not become ready")
            seen += chunk
        return self

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                diag("serve did not stop on SIGTERM within 20 s: killed")
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def children(self):
        """{role name: [pids]} of the running host, from the command lines of serve's descendants."""
        roles = {}
        parents = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/stat" % pid) as f:
                    parents[int(pid)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue

        def below(pid):
            while pid > 1:
                if pid == self.process.pid:
                    return True
                pid = parents.get(pid, 0)
            return False
        for pid in parents:
            if pid != self.process.pid and below(pid):
                try:
                    with open("/proc/%d/cmdline" % pid, "rb") as f:
                        argv = f.read().split(b"\0")
                except OSError:
                    continue
                for word in argv[:0:-1]:
                    if word and not word.startswith(b"-"):
                        roles.setdefault(word.decode(errors="replace"), []).append(pid)
                        break
        return roles

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def show_log(self, lines=40):
        if os.path.exists(self.log_path):
            diag("last lines of the log:")
            diag("\n".join(self.log().splitlines()[-lines:]))

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.cleanup()
            raise

    def __exit__(self, kind, *_):
        if kind is not None:
            self.show_log()
        self.cleanup()

    def cleanup(self):
        self.stop()
        if self.own_dir and not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    # Clients

    def port(self, service):
        return PORTS[service] + self.offset

    def connect(self, service, timeout=30):
        """A plain socket to a service."""
        return socket.create_connection(("127.0.0.1", self.port(service)), timeout)

    def connect_tls(self, service, timeout=30):
        return tls_context().wrap_socket(self.connect(service, timeout))

    def smtp(self, service="smtp", timeout=60):
        if service == "submissions":
            return smtplib.SMTP_SSL("127.0.0.1", self.port(service), timeout=timeout, context=tls_context())
        return smtplib.SMTP("127.0.0.1", self.port(service), timeout=timeout)

    def imap(self, address=None, tls=True, timeout=60):
        """imaplib; logged in when an address is given."""
        if tls:
            c = imaplib.IMAP4_SSL("127.0.0.1", self.port("imaps"), ssl_context=tls_context(), timeout=timeout)
        else:
            c = imaplib.IMAP4("127.0.0.1", self.port("imap"), timeout=timeout)
        if address:
            c.login(address, self.accounts[address])
        return c

    def pop3(self, address=None, tls=True, timeout=60):
        """poplib; logged in when an address is given."""
        if tls:
            c = poplib.POP3_SSL("127.0.0.1", self.port("pop3s"), context=tls_context(), timeout=timeout)
        else:
            c = poplib.POP3("127.0.0.1", self.port("pop3"), timeout=timeout)
        if address:
            c.user(address)
            c.pass_(self.accounts[address])
        return c

    def deliver(self, to, message, sender="sender@example.net"):
        """Hands one message (bytes) to port 25."""
        with self.smtp() as s:
            s.sendmail(sender, [to], message)
