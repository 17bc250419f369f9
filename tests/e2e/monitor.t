#!/usr/bin/env python3
"""monitor: readiness, status, restarts, roles that misbehave, reload without dropping, the log file, one host a state, and the end of all children."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import BUILD, MAILADM, Host, diag, done, free_offset, freeze, is_, like, ok, wait_until  # noqa: E402

ALICE = "alice@example.org"
SENDTO = 44  # of x86-64
ROLES = ["auth", "fetch", "fts", "guard", "hash", "imap", "keys", "login", "resolver", "send", "smtp", "store"]


def status(host):
    return json.loads(host.cli("--json", "status", check=False).stdout)


def role(host, name):
    return [r for r in status(host)["roles"] if r["role"] == name]


def all_up(host):
    return host.cli("status", check=False).returncode == 0


def gone(pids):
    return all(not os.path.exists("/proc/%d" % p) for p in pids)


def is_open(host, service):
    try:
        host.connect(service).close()
        return True
    except ConnectionRefusedError:
        return False


def write_site(host, text):
    with open(host.conf, "w") as f:
        f.write(text)


def shows(host):
    s = status(host)
    is_(sorted({r["role"] for r in s["roles"]}), ROLES, "status shows every role")
    is_({r["state"] for r in s["roles"]}, {"up"}, "all of them up")
    ok(all("seccomp" in r["sandbox"] for r in s["roles"]), "each in a sandbox")
    is_(sorted({x["service"] for x in s["listeners"]}), sorted(["imap", "imaps", "pop3", "pop3s", "smtp", "submission", "submissions"]),
        "and every listener")
    is_((s["certificate"]["self_signed"], s["current"], s["pid"]), (True, True, host.process.pid), "the certificate, the site, the process")
    is_(host.cli("status").returncode, 0, "status: exit 0")
    like(host.cli("status").stdout, "certificate\t", "the plain form ends with the certificate")


def restarts(host):
    for name in ROLES:
        before = role(host, name)[0]
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(lambda: role(host, name)[0]["pid"] not in (0, before["pid"]) and all_up(host), name + " is back", 60)
        after = role(host, name)[0]
        is_(after["restarts"], before["restarts"] + 1, "%s is started again after kill -9" % name)
        host.imap(ALICE).logout()
        host.deliver(ALICE, b"Subject: after the end of %s\r\n\r\nx\r\n" % name.encode())
    like(host.log(), "event=died role=smtp instance=0", "the log names who died")
    like(host.log(), "signal=KILL", "and of what")


def backs_off(host):
    seen = role(host, "keys")[0]["restarts"]
    for n in range(1, 3):
        pid = wait_until(lambda: role(host, "keys")[0]["state"] == "up" and role(host, "keys")[0]["pid"], "keys is up", 30)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: role(host, "keys")[0]["restarts"] == seen + n, "the death is seen")
    is_((role(host, "keys")[0]["state"], host.cli("status", check=False).returncode), ("down", 1),
        "a role that dies again and again is left down for a while, and status says 1")
    wait_until(lambda: all_up(host), "keys is up again", 30)


def garbage(pid):
    """Makes the process send a datagram that is no message to each role it talks to; how many those were."""
    with open("/proc/net/unix") as f:
        seqpacket = {line.split()[6] for line in f if line.split()[4] == "0005"}
    fds = [fd for fd in map(int, os.listdir("/proc/%d/fd" % pid)) if fd > 3]  # 3 is monitor's
    fds = [fd for fd in fds if os.readlink("/proc/%d/fd/%d" % (pid, fd))[8:-1] in seqpacket]
    for fd in fds:
        r = subprocess.run([os.path.join(BUILD, "tests/tools/syscall_in"), str(pid), str(SENDTO), str(fd), "=rubbish", "7", "0", "0", "0"],
                           capture_output=True, text=True, timeout=60)
        is_(r.stdout.strip() + r.stderr, "7", "descriptor %d of process %d takes garbage" % (fd, pid))
    return len(fds)


def misbehaves(host):
    """A role that breaks the protocol is killed on the word of whom it asks, once, and has all its peers again."""
    if os.geteuid() != 0 or os.uname().machine != "x86_64":
        diag("skipped: needs root and x86-64")
        return
    for name, peers in (("smtp", 3), ("login", 2), ("imap", 3), ("send", 3), ("hash", 1)):
        wait_until(lambda: all_up(host), "all are up", 60)
        before, others = role(host, name)[0], {r["pid"] for r in status(host)["roles"]}
        freeze(host.process.pid)  # it hears of all at once
        try:
            ok(garbage(before["pid"]) >= peers, "%s sends garbage" % name)
        finally:
            os.kill(host.process.pid, signal.SIGCONT)
        wait_until(lambda: "event=peer-killed role=%s instance=0 pid=%d by=" % (name, before["pid"]) in host.log(), name + " is killed")
        wait_until(lambda: all_up(host) and role(host, name)[0]["pid"] != before["pid"], name + " is back", 10)
        after = status(host)["roles"]
        is_(len(others - {r["pid"] for r in after}), 1, "only %s is killed" % name)
        is_(role(host, name)[0]["restarts"], before["restarts"] + 1, "once, whoever asked for it")
        host.imap(ALICE).logout()
        host.deliver(ALICE, b"Subject: after garbage of %s\r\n\r\nx\r\n" % name.encode())


def reloads(host):
    good = host.site_text()
    held = host.imap(ALICE)
    write_site(host, good + 'limits = { connectoins = 3; };\n')
    is_(host.cli("status", check=False).returncode, 2, "status with a bad site: exit 2")
    r = host.cli("reload", check=False)
    is_(r.returncode, 2, "reload with a bad site is refused")
    like(r.stderr, "connectoins", "and says why")
    os.kill(host.process.pid, signal.SIGHUP)
    wait_until(lambda: "event=reload result=refused" in host.log(), "the log has the refusal")
    like(host.log(), "connectoins", "SIGHUP logs the same finding")
    write_site(host, good)
    host.imap(ALICE).logout()
    ok(all_up(host), "the old site goes on")
    write_site(host, good + "limits = { errors = 7; };\n")
    r = host.cli("status", check=False)
    is_((r.returncode, "mailadm reload" in r.stderr), (1, True), "status sees that the site changed")
    is_(host.cli("reload").returncode, 0, "reload")
    ok(all_up(host), "and then it is current")
    write_site(host, good.replace("listen = {", "listen = { pop3 = false; pop3s = false;"))
    is_(host.cli("reload").returncode, 0, "reload without POP3")
    is_((is_open(host, "pop3"), is_open(host, "pop3s"), is_open(host, "imap")), (False, False, True), "its ports are closed, others not")
    write_site(host, good)
    host.cli("reload")
    ok(is_open(host, "pop3"), "and open again after another reload")
    host.pop3(ALICE).quit()
    is_(held.noop()[0], "OK", "a connection from before lives through it all")
    held.logout()


def certificate(host):
    good = host.site_text()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/CN=mail.example.org", "-addext", "subjectAltName=DNS:mail.example.org", "-keyout", host.dir + "/new.key",
                    "-out", host.dir + "/new.pem"], check=True, stderr=subprocess.DEVNULL)
    shutil.copy(host.dir + "/state/tls/key.pem", host.dir + "/other.key")

    def served():
        with host.connect_tls("submissions") as a, host.connect_tls("imaps") as b:
            return a.getpeercert(True), b.getpeercert(True)
    before = served()
    write_site(host, good + 'tls = { certificate = "new.pem"; key = "other.key"; };\n')
    r = host.cli("reload", check=False)
    is_(r.returncode == 0, False, "a key of another certificate is refused")
    is_(served(), before, "and the former certificate served")
    write_site(host, good + 'tls = { certificate = "new.pem"; key = "new.key"; };\n')
    is_(host.cli("reload").returncode, 0, "a new certificate")
    after = served()
    ok(after[0] == after[1] and after != before, "smtp and login serve it without a restart")
    write_site(host, good)
    host.cli("reload")


def alerts(host):
    """Credentials that cannot be read: the old ones stay, and the administrator gets one mail."""
    path = host.dir + "/state/credentials"
    with open(path) as f:
        good = f.read()
    for _ in range(2):
        with open(path, "a") as f:
            f.write("this is no line of it\n")
        is_(host.cli("reload").returncode, 0, "reload with a wrong credentials file")
    with open(path, "w") as f:
        f.write(good)
    host.cli("reload")
    m = host.imap(ALICE)

    def mails():
        m.select("INBOX")
        return m.search(None, "SUBJECT", "credentials")[1][0].split()
    wait_until(mails, "a mail to the administrator")
    is_(len(mails()), 1, "one mail an hour, to the administrator")
    like(m.fetch(mails()[0], "(BODY.PEEK[TEXT])")[1][0][1].decode(), "is not `address:hash`", "that says what is wrong")
    m.logout()


def log_file(host):
    path = host.dir + "/mail.log"
    good = host.site_text()
    write_site(host, good + 'log = { destination = "%s"; };\n' % path)
    host.cli("reload")
    host.imap(ALICE).logout()
    wait_until(lambda: "event=login" in open(path).read(), "the log file has lines of the roles")
    is_(os.stat(path).st_mode & 0o777, 0o640, "its mode")
    os.rename(path, path + ".1")
    os.kill(host.process.pid, signal.SIGUSR1)
    wait_until(lambda: os.path.exists(path), "SIGUSR1 opens it anew")
    host.imap(ALICE).logout()
    wait_until(lambda: "event=login" in open(path).read(), "and the roles write there")
    ok(host.accounts[ALICE] not in open(path).read() + open(path + ".1").read() + host.log(), "no password in any log")
    write_site(host, good)
    host.cli("reload")


def only_one(host):
    def serve(*args):
        return subprocess.run([os.path.join(BUILD, "mailsvc"), *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    r = serve("-c", host.conf)
    is_(r.returncode, 2, "a second host of the same state_dir: exit 2")
    like(r.stderr, "process %d already serves" % host.process.pid, "and it names the first")
    other = host.dir + "/other.conf"
    with open(other, "w") as f:
        f.write(host.site_text().replace('state_dir = "state"', 'state_dir = "state2"'))
    r = serve("--config", other)
    is_(r.returncode, 2, "ports that are taken: exit 2")
    like(r.stderr, "cannot listen on 127.0.0.1 port %d (smtp): Address already in use" % host.port("smtp"), "with address, port and service")
    with open(other, "w") as f:
        f.write(host.site_text().replace("loopback = true; insecure_", "insecure_").replace('state_dir = "state"', 'state_dir = "state2"'))
    r = serve("-c", other)
    is_(r.returncode, 2, "an address of another machine: exit 2")
    like(r.stderr, "192.0.2.10: host.ipv4 is not an address of this machine", "with what to do")
    is_((serve("--help").returncode, serve("--version").returncode, serve("--nonsense").returncode, serve("-R", "nobody").returncode),
        (0, 0, 2, 2), "--help, --version, and what is no option")


def control_socket(host):
    """A client that sends rubbish is closed; nobody else notices."""
    path = host.dir + "/state/run/control.sock"
    is_(os.stat(path).st_mode & 0o777, 0o600, "the control socket is for its owner alone")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(path)
    s.send(b"\xff" * 40)
    is_(s.recv(100), b"", "a malformed request closes its client")
    ok(all_up(host), "and nothing else")


def ends(host):
    pids = [p for ps in host.children().values() for p in ps]
    process, host.process = host.process, None
    held = socket.create_connection(("127.0.0.1", host.port("smtp")))
    process.send_signal(signal.SIGTERM)
    is_(process.wait(15), 0, "SIGTERM: exit 0")
    process.stdout.close()
    ok(len(pids) >= len(ROLES) and gone(pids), "and every child is gone")
    held.close()
    is_(sorted(os.listdir(host.dir + "/state/run")), [], "and the sockets")
    r = host.cli("status", check=False)
    is_(r.returncode, 1, "status of a host that does not run: exit 1")
    like(r.stderr, "serve", "and how to start it")


def dies_with_monitor(host):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(host.dir + "/notify")
    notify.settimeout(30)
    os.environ["NOTIFY_SOCKET"] = host.dir + "/notify"
    host.start()
    del os.environ["NOTIFY_SOCKET"]
    is_(notify.recv(100), b"READY=1", "systemd hears READY=1")
    notify.close()
    pids = [p for ps in host.children().values() for p in ps]
    host.process.kill()
    host.process.wait()
    wait_until(lambda: gone(pids), "no child outlives a killed monitor")
    ok(True, "no child outlives a killed monitor")
    host.stop()
    host.start()
    ok(all_up(host), "and a new one starts over what was left")


with Host(accounts=[ALICE], offset=free_offset()) as host:
    for step in (shows, misbehaves, restarts, backs_off, reloads, certificate, alerts, log_file, only_one, control_socket, ends, dies_with_monitor):
        diag(step.__name__)
        step(host)
done()
