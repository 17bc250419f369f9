#!/usr/bin/env python3
"""mailadm status and its alerts: a zone edited by hand, a rule added by hand, another's firewall, an apply that waits, a certificate that
ends, a stopped host; the administrator is told once when it changes, once a day, and once when it is well again, by mail and by a command."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, ROOT, Host, diag, done, is_, like, ok, wait_until  # noqa: E402

ALICE = "alice@example.org"


def rows(host, **kw):
    """{"check subject": row} and the exit status."""
    r = host.cli("status", "--json", check=False, **kw)
    top = json.loads(r.stdout)
    return {f"{c['check']} {c['subject']}".strip(): c for c in top["checks"]}, r.returncode


def wrong(host):
    return sorted(name for name, row in rows(host)[0].items() if row["state"] not in ("ok", "unknown"))


def shim(work):
    """A library that moves the clock of one process by SHIFT seconds."""
    with open(work + "/shift.c", "w") as f:
        f.write("""#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t c, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, c, t);
	if (r == 0 && c == CLOCK_REALTIME && getenv("SHIFT"))
		t->tv_sec += atol(getenv("SHIFT"));
	return r;
}
""")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", work + "/shift.so", work + "/shift.c"], check=True)


class Alerted(Host):
    """A host whose admin.command keeps what it is told, and an alert run."""

    def alert(self, want, shift=0):
        env = dict(os.environ, LD_PRELOAD=self.dir + "/shift.so", SHIFT=str(shift)) if shift else os.environ
        r = subprocess.run([MAILADM, "-c", self.conf, "status", "--alert"], capture_output=True, text=True, timeout=60, env=env)
        if r.returncode != want:
            diag(f"status --alert: exit {r.returncode}\n{r.stdout}{r.stderr}")
        return r

    def told(self):
        """What the command was given, one text after the other."""
        path = self.dir + "/drop/told"
        return open(path).read().split("====\n")[:-1] if os.path.exists(path) else []

    def mailed(self):
        """Subjects and bodies of alice's mails."""
        m = self.imap(ALICE)
        m.select("INBOX", readonly=True)
        parts = m.fetch("1:*", "(BODY.PEEK[])")[1]
        m.logout()
        return [p[1].decode() for p in parts if isinstance(p, tuple)]

    def give_certificate(self, days):
        tls = self.dir + "/state/tls"
        with open(self.dir + "/ext", "w") as f:
            f.write("subjectAltName=DNS:mail.example.org\n")
        subprocess.run(["openssl", "req", "-subj", "/CN=mail.example.org", "-new", "-key", tls + "/key.pem", "-out", self.dir + "/req"], check=True, capture_output=True)
        subprocess.run(["openssl", "x509", "-req", "-in", self.dir + "/req", "-signkey", tls + "/key.pem", "-days", str(days), "-extfile",
                        self.dir + "/ext", "-out", tls + "/cert.pem"], check=True, capture_output=True)


def alerts(host):
    cert = host.dir + "/state/tls/cert.pem"
    r = host.alert(0)
    ok(r.returncode == 0 and r.stdout == "" and host.told() == [], "all is well: nothing is said")
    shutil.copy(cert, host.dir + "/good.pem")
    host.give_certificate(5)
    is_(host.alert(1).returncode, 1, "a certificate that ends soon: exit 1")
    is_(len(host.told()), 1, "the command is told")
    like(host.told()[0], "[mail.example.org] 1 thing is wrong\n\nNew:\n  certificate ", "what is new")
    like(host.told()[0], "expires on", "and what was seen")
    like(host.told()[0], "mailadm reload", "and what to do")
    wait_until(lambda: len(host.mailed()) == 1, "the mail")
    mail = host.mailed()[0]
    ok("Subject: [mail.example.org] 1 thing is wrong" in mail and "expires on" in mail and "Auto-Submitted: auto-generated" in mail
       and "Return-Path: <>" in mail, "the same by mail, from the null sender") or diag(mail)
    for _ in range(2):
        host.alert(1)
    is_(len(host.told()), 1, "the same is not told again")
    host.alert(1, shift=3600 * 23)
    is_(len(host.told()), 1, "not within a day")
    host.alert(1, shift=3600 * 25)
    is_(len(host.told()), 2, "after a day it is")
    like(host.told()[-1], "(reminder)", "as a reminder")
    shutil.copy(host.conf, host.dir + "/kept")
    with open(host.conf, "a") as f:
        f.write("limits = { errors = 7; };\n")
    host.alert(1)
    like(host.told()[-1], "New:\n  drift daemon", "one thing more is a change")
    like(host.told()[-1], "Still so:\n  certificate ", "and the other is still so")
    shutil.copy(host.dir + "/kept", host.conf)
    shutil.copy(host.dir + "/good.pem", cert)
    is_(host.alert(0).returncode, 0, "all is well again: exit 0")
    like(host.told()[-1], "[mail.example.org] all is well again", "that is told")
    like(host.told()[-1], "Well again:\n  certificate ", "with what it was")
    count = len(host.told())
    host.alert(0)
    is_(len(host.told()), count, "once")
    wait_until(lambda: len(host.mailed()) == count, "a mail each")


def hostile(host):
    """STATE/alerts is read with care: what is not ours is put aside, and told."""
    path = host.dir + "/state/alerts"
    entry = '{"version": 1, "told": 5, "wrong": [%s]}'
    for text in ("", "garbage", "[]", '{"version": 2, "told": 1, "wrong": []}', '{"version": 1, "told": -1, "wrong": []}',
                 '{"version": 1, "told": 1}', '{"version": 1, "told": 1, "wrong": [], "more": 1}', '{"version": 1, "version": 1, "told": 1, "wrong": []}',
                 entry % '{"key": "a\\nBcc: x@y", "text": "t", "since": 1}', entry % '{"key": "a", "text": "\\u001b[2J", "since": 1}',
                 entry % '{"key": "a", "text": 3, "since": 1}', entry % ('{"key": "%s", "text": "t", "since": 1}' % ("k" * 5000)),
                 entry % ", ".join(['{"key": "a", "text": "t", "since": 1}'] * 2000), "[" * 100000):
        with open(path, "w") as f:
            f.write(text)
        before = len(host.told())
        r = host.alert(0)
        good = "is not what mailadm writes" in r.stderr and os.path.exists(path + ".refused") and len(host.told()) == before + 1
        ok(good and "is not what mailadm writes" in host.told()[-1], f"STATE/alerts = {text[:60]!r}: refused, put aside and told") or diag(r.stderr)
        os.rename(path + ".refused", host.dir + "/refused")
    host.alert(0)
    like(host.told()[-1], "all is well again", "and then it is well again")


def nobody(host):
    """A stopped host: the command alone is told; without one nobody is, and that is tried again."""
    host.stop()
    r = host.alert(1)
    ok(r.returncode == 1 and "does not run" in host.told()[-1], "a stopped host: the command is told what mail cannot say") or diag(host.told()[-1])
    like(r.stderr, "the mail to alice@example.org was not taken", "and it says why there is no mail")
    kept = open(host.conf).read()
    os.remove(host.dir + "/state/alerts")
    for command, why in (("", "nobody could be told"), ("exit 7", "status 7")):
        with open(host.conf, "w") as f:
            f.write(kept.replace(host.command, command))
        r = host.alert(2)
        ok(r.returncode == 2 and why in r.stderr, f"admin.command = {command!r}: exit 2, {why}")
        ok(not os.path.exists(host.dir + "/state/alerts"), "and it is not taken for told")
    with open(host.conf, "w") as f:
        f.write(kept)
    host.start()


def role_alert(host):
    """What a role reports reaches the command too."""
    with open(host.conf, "a") as f:
        f.write('limits = { disk_reserve = "100T"; };\n')
    before = len(host.told())
    host.cli("reload")
    with host.smtp() as s:
        s.ehlo("elsewhere.example")
        s.mail("x@elsewhere.example")
        s.rcpt(ALICE)
        s.data(b"Subject: x\r\n\r\nx\r\n")
    wait_until(lambda: len(host.told()) > before, "the command to be told of the full disk")
    like(host.told()[-1], "[mail.example.org] disk-reserve", "a full disk is told at once, by the role that sees it")
    is_(subprocess.run(["pgrep", "-P", str(host.process.pid), "-f", "sh -c"], capture_output=True, text=True).stdout, "", "and no process stays")
    ok("event=alert role=store" in host.log() and "command=yes" in host.log(), "the log has it")


# Drift: a host with the ports of a real one, in a network namespace of its own.

def in_namespace(ns, work):
    conf = work + "/h/site.conf"

    def run(*argv, check=True, **kw):
        r = subprocess.run(["ip", "netns", "exec", ns] + list(argv), capture_output=True, text=True, timeout=60, **kw)
        if check and r.returncode != 0:
            diag(f"{argv}: exit {r.returncode}\n{r.stdout}{r.stderr}")
        return r

    def status():
        r = run(MAILADM, "-c", conf, "status", "--json", check=False)
        found = {f"{c['check']} {c['subject']}".strip(): c for c in json.loads(r.stdout)["checks"]}
        return r.returncode, found

    def sees(key, part, name):
        code, found = status()
        row = found.get(key, {"state": "missing", "seen": ""})
        good = ok(code == 1 and row["state"] in ("wrong", "warning") and part in row["seen"] and row["remedy"], f"{name}: {key}: {row['seen']}")
        return good or diag("\n".join(f"{k}: {v['state']} {v['seen']}" for k, v in found.items()))

    def well(name):
        code, found = status()
        return ok(code == 0, f"{name}: exit 0") or diag("\n".join(f"{k}: {v['state']} {v['seen']}" for k, v in found.items() if v["state"] != "ok"))

    def apply(*args, check=True):
        return run(MAILADM, "-c", conf, "apply", "--yes", "--force-lockout", *args, check=check)

    def add_to_site(text):
        with open(conf, "a") as f:
            f.write(text)

    subprocess.run(["ip", "-n", ns, "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "-n", ns, "addr", "add", "198.51.100.10/24", "dev", "lo"], check=True)
    run(MAILADM, "init", work + "/h", "--hostname", "mail.example.org", "--domain", "example.org", "--ipv4", "198.51.100.10", "--account", ALICE)
    os.chmod(work + "/h", 0o711)
    add_to_site('firewall = { admin_from = ("198.51.100.0/24"); };\n')
    log = open(work + "/log", "w")
    serving = subprocess.Popen(["ip", "netns", "exec", ns, MAILADM, "-c", conf, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: serving.poll() is not None or "\nready" in "\n" + open(work + "/log").read(), "ready", 60)
        sees("drift firewall", "", "nothing was applied yet")
        is_(apply().returncode, 0, "apply")
        well("as it was applied")
        zones = [os.path.join(d, n) for d, _, names in os.walk(work + "/h/state/zones") for n in names if n.startswith("example.org")]
        if ok(zones, f"there are zone files: {zones}"):
            with open(zones[0], "a") as f:
                f.write('by-hand.example.org. 3600 IN TXT "x"\n')
            sees("drift zones example.org", "differ", "a zone edited by hand")
        apply()
        well("applied again")
        run("nft", "add", "rule", "inet", "mailadm", "input", "tcp", "dport", "9999", "accept")
        sees("drift firewall", "rules differ", "a rule added by hand")
        apply()
        well("applied again")
        run("nft", "-f", "-", input="table inet other { chain in { type filter hook input priority 0; policy drop; }; }")
        _, found = status()
        ok(any(k.startswith("firewall ") and v["state"] == "warning" for k, v in found.items()), "another's firewall that drops too is said") or diag(found)
        run("nft", "delete", "table", "inet", "other")
        os.remove(work + "/h/state/firewall.nft")
        sees("drift firewall", "at boot", "what is loaded at boot is gone")
        apply()
        add_to_site("limits = { errors = 7; };\n")
        sees("drift daemon", "serves site", "a site that was not read")
        apply("--confirm", "60s")
        _, found = status()
        ok(any(k.startswith("apply generation") and "waits" in v["seen"] for k, v in found.items()), "an apply that waits for its confirmation") or diag(found)
        is_(run(MAILADM, "-c", conf, "confirm", "--console").returncode, 0, "confirm")
        well("confirmed")
        run("nft", "delete", "table", "inet", "mailadm")
        sees("drift firewall", "not loaded", "no rules, as after a restart of the machine")
        is_(run(MAILADM, "-c", conf, "apply", "--recover", "--boot").returncode, 0, "what the boot unit runs first has nothing to do")
        is_(run(ROOT + "/share/load-firewall", work + "/h/state/firewall.nft").returncode, 0, "what it runs then loads the confirmed rules")
        well("after the boot unit")
    finally:
        serving.terminate()
        serving.wait(20)


def drift():
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "named-checkzone", "named"))):
        ok(True, "no root, or no nft or named: # SKIP drift of a whole host")
        return
    ns, work = f"mailadm-status-{os.getpid()}", tempfile.mkdtemp(prefix="mailadm-status-")
    os.chmod(work, 0o711)
    subprocess.run(["ip", "netns", "add", ns], check=True)
    try:
        in_namespace(ns, work)
    finally:
        subprocess.run(["ip", "netns", "del", ns])
        if not os.environ.get("KEEP"):
            shutil.rmtree(work, ignore_errors=True)


host = Alerted(accounts=[ALICE], groups={})
os.chmod(host.dir, 0o711)
os.makedirs(host.dir + "/drop")
os.chmod(host.dir + "/drop", 0o777)
host.command = f"{{ cat; echo ====; }} >>{host.dir}/drop/told"
host.site = f'admin = {{ contact = "{ALICE}"; command = "{host.command}"; }};\n'
shim(host.dir)
with host:
    found, status = rows(host)
    is_((status, wrong(host)), (0, []), "a host that is well: exit 0") or diag(found)
    ok("certificate" in " ".join(found) and "drift daemon" in found, "the certificate and the parts have rows") or diag(found)
    alerts(host)
    hostile(host)
    nobody(host)
    role_alert(host)
drift()
done()
