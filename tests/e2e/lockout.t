#!/usr/bin/env python3
"""The lock-out test.  A host in a network namespace with ssh open, an administrator in another one.  A site that closes ssh is
applied with --confirm, and mailadm is ended by kill -9 at every step (MAILADM_TEST_KILL_AT, apply/apply.h): the host must come
back each time, by its watchdogs; with the watchdogs killed too, by `apply --recover` as at boot; and with kills inside that
recovery.  Then over a real sshd: the change that would cut the administrator's own connection is refused, and only a new
connection confirms."""
import ctypes
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402

if os.geteuid() != 0:
    skip_all("network namespaces with addresses of their own need root")
for tool in ("ip", "nft", "unshare"):
    if shutil.which(tool) is None:
        skip_all("%s is missing" % tool)

TAG = "mailadm-lock-%d" % os.getpid()
HOST, ADMIN = "198.51.100.1", "198.51.100.2"
WORK = tempfile.mkdtemp(prefix="mailadm-lockout-")
os.chmod(WORK, 0o711)
STATE = os.path.join(WORK, "state")
CONF = os.path.join(WORK, "site.conf")
libc = ctypes.CDLL(None, use_errno=True)
started = []
SITE = """host = { name = "mail.example.org"; ipv4 = "%s"; };
domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
dns = { server = "%s"; rndc = "true"; };
limits = { errors = %%d; };
firewall = { admin_from = ( "%%s" ); %%s };
""" % (HOST, "bind" if shutil.which("named-checkzone") else "none")
OPEN, SHUT = "198.51.100.0/24", "203.0.113.0/24"


def run(*argv, **kw):
    return subprocess.run(argv, check=kw.pop("check", True), capture_output=True, text=True, timeout=60, **kw)


def inside(name, fn):
    """Calls fn with this thread in the network namespace of name."""
    with open("/proc/self/ns/net") as back, open("/run/netns/%s-%s" % (TAG, name)) as there:
        if libc.setns(there.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return fn()
        finally:
            libc.setns(back.fileno(), 0x40000000)


def network():
    for name in ("host", "admin"):
        run("ip", "netns", "add", "%s-%s" % (TAG, name))
        run("ip", "-n", "%s-%s" % (TAG, name), "link", "set", "lo", "up")
    run("ip", "-n", TAG + "-host", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", TAG + "-admin")
    for name, address in (("host", HOST), ("admin", ADMIN)):
        run("ip", "-n", "%s-%s" % (TAG, name), "addr", "add", address + "/24", "dev", "eth0")
        run("ip", "-n", "%s-%s" % (TAG, name), "link", "set", "eth0", "up")


def on_host(*argv, env=None, check=False, **kw):
    return inside("host", lambda: run(*argv, check=check, env=dict(os.environ, **(env or {})), **kw))


def mailadm(*args, kill_at=None):
    return on_host(MAILADM, "-c", CONF, *args, env={"MAILADM_TEST_KILL_AT": str(kill_at)} if kill_at else None)


def reachable(timeout=0.15):
    """Does a new connection to port 22 get through?"""
    def connect():
        try:
            socket.create_connection((HOST, 22), timeout).close()
            return True
        except (socket.timeout, ConnectionError, OSError):
            return False
    return inside("admin", connect)


def write_site(errors, admin, more=""):
    with open(CONF, "w") as f:
        f.write(SITE % (errors, admin, more))


def start_daemon():
    log = open(os.path.join(WORK, "log"), "ab")
    p = inside("host", lambda: subprocess.Popen([MAILADM, "-c", CONF, "serve"], stdin=subprocess.DEVNULL,
                                                 stdout=subprocess.PIPE, stderr=log))
    started.append(p)
    for line in p.stdout:
        if line == b"ready\n":
            return p
    raise RuntimeError("the host did not become ready: " + open(os.path.join(WORK, "log")).read()[-2000:])


def stop(p):
    started.remove(p)
    p.terminate()
    p.wait(20)
    p.stdout.close()


def listener():
    def listen():
        s = socket.create_server((HOST, 22), backlog=512)
        return s
    return inside("host", listen)


def fingerprint():
    """What must come back: the loaded rules, the zones, and what a boot loads."""
    rules = re.sub(r"packets \d+ bytes \d+", "", on_host("nft", "list", "ruleset").stdout)
    files = {}
    for folder in ("zones",):
        for at, _, names in os.walk(os.path.join(STATE, folder)):
            for name in names:
                text = open(os.path.join(at, name), errors="replace").read()
                files[name] = re.sub(r"(?s)SOA.*?\n", "SOA\n", text, count=1)  # a serial only rises
    boot = os.path.join(STATE, "firewall.nft")
    return rules, files, open(boot).read() if os.path.exists(boot) else None


def served():
    out = mailadm("--json", "plan").stdout
    diff = "".join(c["diff"] for c in json.loads(out)["changes"] if c["part"] == "daemon")
    found = re.search(r"- \s*errors = (\d+)", diff)
    return int(found.group(1) if found else re.search(r"errors = (\d+)", open(CONF).read()).group(1))


def pending():
    return os.path.exists(os.path.join(STATE, "apply/pending"))


def watchdogs():
    """The pids that hold their files locked, of the newest generation."""
    folder = os.path.join(STATE, "apply/generations")
    newest = max(map(int, os.listdir(folder)))
    pids = []
    for name in ("watchdog-a", "watchdog-b"):
        try:
            pid = int(open(os.path.join(folder, str(newest), name)).read() or 0)
            if pid and b"--watchdog" in open("/proc/%d/cmdline" % pid, "rb").read():
                pids.append(pid)
        except OSError:
            pass
    return pids


def kill_watchdogs():
    for pid in watchdogs():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not watchdogs(), "the watchdogs' end", 5)


def killed_everywhere(before, name, confirm, come_back):
    """Applies with a kill at step 1, 2, ... until the apply gets through; come_back() each time."""
    step, bad, cut = 0, [], 0
    while True:
        step += 1
        write_site(21, SHUT)
        r = mailadm("apply", "--confirm", confirm, "--yes", kill_at=step)
        through = r.returncode == 0
        if not through and r.returncode != -signal.SIGKILL:
            bad.append("step %d: exit %d %s" % (step, r.returncode, r.stderr))
            break
        cut += not reachable()
        come_back(step)
        write_site(20, OPEN)
        problems = []
        if pending():
            problems.append("still pending")
        if not reachable(2):
            problems.append("not reachable")
        if fingerprint() != before:
            problems.append("not as before: %r" % (fingerprint(),))
        if served() != 20:
            problems.append("serves %d" % served())
        if problems:
            bad.append("step %d: %s" % (step, ", ".join(problems)))
        if through:
            break
    ok(step > 12, "%s: apply is killed at %d steps" % (name, step - 1))
    ok(cut >= 2, "%s: after %d of them the administrator was locked out" % (name, cut))
    is_(bad, [], "%s: the host came back each time" % name)


def by_watchdog(step):
    if pending() and not watchdogs():  # killed before they were armed, so before the first change
        ok(reachable(), "step %d: nothing was changed" % step)
        mailadm("plan")  # any later command tidies up
    wait_until(lambda: not pending(), "step %d: the watchdog" % step, 20)


def by_recover(step):
    """As after a power cut: nobody is left, and the boot unit runs."""
    if pending():
        kill_watchdogs()
        r = mailadm("apply", "--recover", "--boot")
        if r.returncode != 0:
            diag("step %d: %s" % (step, r.stderr))


def killed_in_recovery(before):
    bad, step = [], 0
    while step < 40:
        step += 1
        write_site(21, SHUT)
        mailadm("apply", "--confirm", "60s", "--yes")
        kill_watchdogs()
        r = mailadm("apply", "--recover", "--boot", kill_at=step)
        if r.returncode != 0:
            mailadm("apply", "--recover", "--boot")
        write_site(20, OPEN)
        if pending() or not reachable(2) or fingerprint() != before or served() != 20:
            bad.append(step)
        if r.returncode == 0:
            break
    ok(step > 5, "recovery is killed at %d steps" % (step - 1))
    is_(bad, [], "and the next one ends it each time")


def killed_in_confirm(before):
    """Either all of the old or all of the new."""
    bad, step = [], 0
    while step < 40:
        step += 1
        write_site(21, OPEN)
        mailadm("apply", "--confirm", "60s", "--yes")
        r = mailadm("confirm", "--console", kill_at=step)
        kill_watchdogs()
        mailadm("apply", "--recover", "--boot")
        rules, _, boot = fingerprint()
        if pending() or os.path.exists(os.path.join(STATE, "apply/serving")) != (served() == 20) or boot != before[2]:
            bad.append(step)
        write_site(20, OPEN)
        mailadm("apply", "--yes")
        if r.returncode == 0:
            break
    ok(step > 3, "confirm is killed at %d steps" % (step - 1))
    is_(bad, [], "and leaves all of the old or all of the new each time")


def one_watchdog(before):
    write_site(21, SHUT)
    mailadm("apply", "--confirm", "1s", "--yes")
    is_(len(watchdogs()), 2, "two watchdogs")
    os.kill(watchdogs()[0], signal.SIGKILL)
    by_watchdog(0)
    ok(reachable(2), "one is enough")
    write_site(21, SHUT)
    mailadm("apply", "--confirm", "1s", "--yes")
    kill_watchdogs()
    ok(not reachable(), "with both gone the change would stay")

    def any_command():
        mailadm("plan")
        return not pending()
    wait_until(any_command, "a later command", 10)
    ok(reachable(2), "but any later command takes it back")
    write_site(21, SHUT)
    mailadm("apply", "--confirm", "1s", "--yes")
    kill_watchdogs()
    time.sleep(1.2)  # its time is over, whoever looks
    r = mailadm("confirm", "--console")
    is_((r.returncode, "not confirmed in time" in r.stderr), (1, True), "a confirm that comes too late is told so")
    ok(reachable(2), "and takes it back")
    write_site(20, OPEN)
    is_(fingerprint(), before, "completely")


def nobody_reads(before):
    """Who applies is stuck in writing its result to a terminal: that must not keep the watchdogs from acting."""
    write_site(21, SHUT)
    reader, writer = os.openpty()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x")
    except BlockingIOError:
        os.set_blocking(writer, True)
    p = inside("host", lambda: subprocess.Popen([MAILADM, "-c", CONF, "--json", "apply", "--confirm", "1s", "--yes"], stdout=writer,
                                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    started.append(p)
    os.close(writer)
    wait_until(pending, "the change", 20)
    wait_until(lambda: not pending(), "the watchdog, past an apply that hangs", 20)
    ok(reachable(2), "an apply that hangs behind its change is taken back in time")
    os.close(reader)
    started.remove(p)
    p.wait(10)
    write_site(20, OPEN)
    is_(fingerprint(), before, "completely")


def site_unreadable(before):
    """The site of the generation cannot be read: the firewall comes back all the same."""
    write_site(21, SHUT)
    mailadm("apply", "--confirm", "60s", "--yes")
    kill_watchdogs()
    folder = os.path.join(STATE, "apply/generations")
    path = os.path.join(folder, str(max(map(int, os.listdir(folder)))), "site.conf")
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write("{")
    ok(not reachable(), "the administrator is locked out")
    is_(mailadm("rollback").returncode, 2, "a generation whose site was damaged does not go back in full")
    ok(reachable(2), "but its firewall does")
    with open(path, "w") as f:
        f.write(text)
    is_(mailadm("rollback").returncode, 0, "repaired, it does")
    write_site(20, OPEN)
    is_(fingerprint(), before, "completely")


def slow_child(before):
    """kill -9 while nft still reads the new rules: it must not load them once the old ones are back."""
    real, started_at = shutil.which("nft"), os.path.join(WORK, "nft-pid")
    os.makedirs(WORK + "/slow")
    with open(WORK + "/slow/nft", "w") as f:
        f.write('#!/bin/sh\nn=$(cat %s/apply/pending 2>/dev/null) && grep -q firewall %s/apply/generations/$n/touched 2>/dev/null &&\n'
                '{ echo $$ > %s.new; mv %s.new %s; sleep 3; }\nexec %s "$@"\n' % (STATE, STATE, started_at, started_at, started_at, real))
    os.chmod(WORK + "/slow/nft", 0o755)
    with open(os.path.join(WORK, "own.nft"), "w") as f:
        f.write("tcp dport 7001 accept\n")
    write_site(21, SHUT, 'include = ( "own.nft" );')
    p = inside("host", lambda: subprocess.Popen([MAILADM, "-c", CONF, "apply", "--confirm", "60s", "--yes"], stdin=subprocess.DEVNULL,
                                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                                 env=dict(os.environ, PATH=WORK + "/slow:" + os.environ["PATH"])))
    wait_until(lambda: os.path.exists(started_at), "nft", 20)
    p.kill()
    p.wait()
    wait_until(lambda: not pending(), "the watchdog", 20)
    wait_until(lambda: not os.path.exists("/proc/" + open(started_at).read().strip()), "the end of nft", 10)
    ok(reachable(2), "rules that were still being loaded do not come behind the way back")
    write_site(20, OPEN)
    is_(fingerprint(), before, "completely")


def kept_includes():
    """A rollback brings back the include that the generation was made from."""
    include = os.path.join(WORK, "own.nft")

    def rules():
        return on_host("nft", "list", "chain", "inet", "mailadm", "custom").stdout

    with open(include, "w") as f:
        f.write("tcp dport 7001 accept\n")
    write_site(20, OPEN, 'include = ( "own.nft" );')
    is_(mailadm("apply", "--yes").returncode, 0, "a site with an include")
    number = max(map(int, os.listdir(os.path.join(STATE, "apply/generations"))))
    with open(include, "w") as f:
        f.write("tcp dport 7002 accept\n")
    is_(mailadm("apply", "--yes").returncode, 0, "another include")
    ok("7002" in rules() and "7001" not in rules(), "is in force")
    r = mailadm("rollback", str(number), "--yes")
    is_(r.returncode, 0, "rollback " + r.stderr)
    ok("7001" in rules() and "7002" not in rules(), "brings back the old one")
    os.unlink(include)
    is_(mailadm("rollback", str(number + 1), "--yes").returncode, 0, "also when the file is gone")
    ok("7002" in rules() and "7001" not in rules(), "with its rules")
    write_site(20, OPEN)
    is_(mailadm("apply", "--yes").returncode, 0, "and without any")


def before_the_first():
    """Generation 1 of a new state folder keeps rules as text, which nothing can judge: no way back without a net."""
    shutil.move(os.path.join(STATE, "apply"), os.path.join(WORK, "away"))
    write_site(22, OPEN)
    is_(mailadm("apply", "--yes").returncode, 0, "the first apply of a host that has rules")
    env = {"SSH_CONNECTION": "%s 40000 %s 22" % (ADMIN, HOST)}
    r = on_host(MAILADM, "-c", CONF, "rollback", "0", "--yes", env=env)
    is_(r.returncode, 1, "rollback 0 over ssh is refused")
    like(r.stderr, "might refuse your own ssh connection; add --confirm 60s", "and says what to do")
    r = on_host(MAILADM, "-c", CONF, "rollback", "0", "--yes", "--confirm", "60s", env=env)
    is_(r.returncode, 0, "with --confirm it works " + r.stderr)
    mailadm("rollback")
    shutil.rmtree(os.path.join(STATE, "apply"))
    shutil.move(os.path.join(WORK, "away"), os.path.join(STATE, "apply"))
    write_site(20, OPEN)
    is_(mailadm("apply", "--yes").returncode, 0, "back to the site")


class Ssh:
    """A real sshd in the host's namespace, and connections of the administrator's."""

    def __init__(self):
        self.dir = os.path.join(WORK, "ssh")
        os.mkdir(self.dir, 0o700)
        for name in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "%s/%s" % (self.dir, name))
        shutil.copy(self.dir + "/user.pub", self.dir + "/authorized")
        os.makedirs("/run/sshd", exist_ok=True)
        with open(self.dir + "/config", "w") as f:
            f.write("ListenAddress %s:22\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\n"
                    "PidFile none\nPermitRootLogin yes\nPrintMotd no\n" % (HOST, self.dir, self.dir))
        self.sshd = inside("host", lambda: subprocess.Popen(
            [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-f", self.dir + "/config"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.dir + "/log", "w")))
        wait_until(lambda: reachable(), "sshd")

    def connect(self):
        return Connection(self)

    def argv(self):
        return ["ssh", "-T", "-F", "none", "-i", self.dir + "/user", "-o", "StrictHostKeyChecking=no", "-o",
                "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=2", "root@" + HOST]


class Connection:
    """One shell over one connection: commands in, output and exit status back."""

    def __init__(self, ssh):
        self.p = inside("admin", lambda: subprocess.Popen(ssh.argv() + ["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                           text=True))
        is_(self.do("true")[0], 0, "an ssh connection")

    def do(self, command):
        self.p.stdin.write("{ %s; } 2>&1; echo; echo =$?=\n" % command.replace("; echo =", ""))
        self.p.stdin.flush()
        out = []
        for line in self.p.stdout:
            if re.match(r"=\d+=$", line):
                return self.status("".join(out))
            out.append(line)
        raise RuntimeError("the connection ended: " + "".join(out))

    @staticmethod
    def status(text):
        found = re.search(r"exit (\d+)\n", text)
        return int(found.group(1)) if found else 0, text

    def mailadm(self, *args):
        return self.do("%s -c %s %s; echo exit $?" % (MAILADM, CONF, " ".join(args)))

    def close(self):
        self.p.stdin.close()
        self.p.stdout.close()
        self.p.wait(10)


def over_ssh(before):
    if not shutil.which("ssh") or not (shutil.which("sshd") or os.path.exists("/usr/sbin/sshd")):
        diag("no sshd and ssh here: the connections' part is left out")
        return
    try:
        pwd.getpwnam("sshd")
    except KeyError:
        diag("no user sshd: the connections' part is left out")
        return
    ssh = Ssh()
    first = old = new = None
    try:
        first, old = ssh.connect(), ssh.connect()
        write_site(21, SHUT)
        code, text = first.mailadm("apply", "--yes", "--confirm", "60s")
        is_(code, 1, "a site that would cut the administrator's own ssh connection is refused")
        like(text, "your own ssh connection, from %s to port 22" % ADMIN, "with the connection")
        like(text, "--force-lockout", "and the way to do it nevertheless")
        is_(fingerprint(), before, "nothing was changed")
        code, text = first.mailadm("apply", "--yes", "--confirm", "1s", "--force-lockout")
        is_(code, 0, "which works")
        by_watchdog(0)
        write_site(21, OPEN)
        is_(first.mailadm("apply", "--yes", "--confirm", "60s", "--why", "one")[0], 0, "a change that keeps ssh open")
        code, text = first.mailadm("confirm")
        is_((code, "open a new connection" in text), (1, True), "the connection that applied it cannot confirm")
        code, text = old.mailadm("confirm")
        is_((code, "older than the change" in text), (1, True), "nor one that was open before")
        code, text = old.do("setsid sh -c '%s -c %s confirm'; echo exit $?" % (MAILADM, CONF))
        is_(code, 1, "nor a new session on it")
        new = ssh.connect()
        code, text = new.mailadm("confirm")
        is_(code, 0, "a new one can")
        like(mailadm("apply", "--list").stdout, "root from %s" % ADMIN, "the list says from where it came")
        write_site(20, OPEN)
        mailadm("apply", "--yes")
    finally:
        for c in (first, old, new):
            if c is not None:
                c.close()
        ssh.sshd.terminate()
        ssh.sshd.wait(10)


def main():
    network()
    write_site(20, OPEN)
    daemon = start_daemon()
    r = mailadm("apply", "--yes", "--why", "the first")
    is_(r.returncode, 0, "the first apply: " + r.stderr)
    is_(mailadm("plan").returncode, 0, "then there is no change")
    before = fingerprint()
    ssh = listener()
    ok(reachable(2), "the administrator reaches port 22")
    killed_everywhere(before, "watchdogs", "1s", by_watchdog)
    killed_everywhere(before, "no watchdogs, recovery at boot", "60s", by_recover)
    killed_in_recovery(before)
    killed_in_confirm(before)
    one_watchdog(before)
    nobody_reads(before)
    site_unreadable(before)
    slow_child(before)
    write_site(21, SHUT)
    mailadm("apply", "--yes", "--confirm", "60s")
    stop(daemon)
    kill_watchdogs()
    daemon = start_daemon()
    is_(served(), 20, "a host that restarts before the confirmation serves the old site")
    mailadm("apply", "--recover", "--boot")
    write_site(20, OPEN)
    is_(fingerprint(), before, "and the boot unit puts back the rest")
    ssh.close()
    over_ssh(before)
    kept_includes()
    before_the_first()
    stop(daemon)


try:
    main()
finally:
    for p in list(started):
        p.kill()
        p.wait()
    for name in ("host", "admin"):
        subprocess.run(["ip", "netns", "del", "%s-%s" % (TAG, name)], capture_output=True)
    if not os.environ.get("KEEP"):
        shutil.rmtree(WORK, ignore_errors=True)
done()
