#!/usr/bin/env python3
"""plan, apply, confirm, rollback: exit codes, plan files, generations, what a restart serves, a failure half-way, one apply at a
time, tampered and missing files, and a full disk at every size up to the one that suffices."""
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, MAILADM, diag, done, is_, like, ok, wait_until  # noqa: E402


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def edit(host, old, new):
    text = read(host.conf)
    assert old in text, old
    with open(host.conf, "w") as f:
        f.write(text.replace(old, new))


def served(host, key):
    """A setting of the running host, from the plan against a site that differs in it."""
    out = host.cli("--json", "plan", check=False)
    diffs = "".join(c["diff"] for c in json.loads(out.stdout)["changes"] if c["part"] == "daemon")
    found = re.search(r"- \s*%s = (.*);" % key, diffs)
    if found:
        return found.group(1)
    return re.search(r"%s = (\w+)" % key, host.cli("site", "print").stdout).group(1)


def exits(host, code, args, name, part=""):
    r = host.cli(*args, check=False)
    is_(r.returncode, code, name)
    if r.returncode != code:
        diag(r.stdout + r.stderr)
    if part:
        like(r.stdout + r.stderr, part, name + ", and says it")
    return r


def rows(host):
    return [line.split("\t") for line in host.cli("apply", "--list").stdout.splitlines()]


def states(host):
    return [r[1] for r in rows(host)]


def state(host, name):
    return os.path.join(host.dir, "state/apply", name)


def tree(folder):
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            found[os.path.relpath(os.path.join(at, name), folder)] = read(os.path.join(at, name))
    return found


def zone_files(host):
    return {n: t for n, t in tree(os.path.join(host.dir, "state/zones")).items()}


def plans(host):
    edit(host, "recipients = 99", "recipients = 98")
    exits(host, 1, ["plan"], "what the running host has otherwise is a change", "daemon: ")
    if ZONES:
        exits(host, 1, ["plan"], "what is not yet on the name server is one", "zones: ")
    exits(host, 0, ["apply", "--why", "the first"], "apply", "generation 1 is in force")
    exits(host, 0, ["plan"], "then there is none", "no change")
    is_(rows(host)[0][1:3] + rows(host)[0][5:], ["confirmed", "apply", "the first"], "the generation says what and why")
    like(rows(host)[0][4], "root" if os.geteuid() == 0 else "", "and who")
    exits(host, 0, ["apply"], "apply without a change", "no change")
    is_(len(rows(host)), 1, "makes no generation")
    edit(host, "errors = 20", "errors = 7")
    first = exits(host, 1, ["plan"], "another setting is a change", "+ \terrors = 7;")
    is_(host.cli("plan", check=False).stdout, first.stdout, "a second plan is the same, byte for byte")
    exits(host, 2, ["plan", "--nonsense"], "usage")
    exits(host, 2, ["apply", os.path.join(host.dir, "site.conf")], "a file that is no plan", "is no plan")


def plan_files(host):
    file = os.path.join(host.dir, "plan.json")
    exits(host, 1, ["plan", "--out", file], "a plan to a file")
    key = os.path.join(host.dir, "state/keys/example.org.mail.key")
    os.rename(key, key + ".away")
    r = exits(host, 1, ["apply", file], "refused since the live host has moved on", "moved on")
    ok(not os.path.exists(key), "and nothing was changed")
    os.rename(key + ".away", key)
    edit(host, "errors = 7", "errors = 8")
    exits(host, 1, ["apply", file], "refused since the site has", "moved on")
    edit(host, "errors = 8", "errors = 7")
    exits(host, 0, ["apply", file], "as it was planned it is done", "generation 2 is in force")
    is_(served(host, "errors"), "7", "the running host serves it")
    return r


def confirms(host):
    edit(host, "errors = 7", "errors = 9")
    exits(host, 0, ["apply", "--confirm", "60s"], "apply --confirm", "waits 60 s")
    ok(os.path.exists(state(host, "serving")), "a start would serve another site meanwhile")
    exits(host, 2, ["apply"], "no second apply", "still waits")
    edit(host, "errors = 9", "errors = 10")
    is_(served(host, "errors"), "9", "the running host has the new site")
    exits(host, 1, ["reload"], "a reload does not take the file", "is not confirmed")
    is_(served(host, "errors"), "9", "and keeps what runs")
    host.restart()
    is_(served(host, "errors"), "7", "a restart comes back with the old one")
    like(host.log(), "is not what is served", "and says so")
    exits(host, 0, ["confirm", "--console"], "confirm", "generation 3 is in force")
    ok(not os.path.exists(state(host, "serving")), "then the file counts again")
    exits(host, 1, ["confirm", "--console"], "a second confirm", "nothing waits")
    edit(host, "errors = 10", "errors = 9")
    host.cli("reload")
    exits(host, 0, ["plan"], "which a reload takes")
    host.restart()
    exits(host, 0, ["plan"], "and a restart")


def strange_bytes(host):
    """Words that are not UTF-8 must not keep a generation from being written, or a plan from being told."""
    edit(host, "errors = 9", "errors = 10")
    exits(host, 0, ["apply", "--confirm", "60s", "--why", b"caf\xe9"], "a reason that is not UTF-8", "waits 60 s")
    is_(rows(host)[-1][1:2] + rows(host)[-1][5:], ["pending", "caf?"], "is kept all the same")
    exits(host, 0, ["rollback"], "and goes back", "is taken back")
    edit(host, "errors = 10", "errors = 9")
    exits(host, 0, ["apply"], "as before")
    if ZONES:
        zone = os.path.join(host.dir, "state/zones/example.org.zone")
        with open(zone, "ab") as f:
            f.write(b"x TXT \"caf\xe9\"\n")
        out = json.loads(exits(host, 1, ["--json", "plan"], "a zone with such a byte").stdout)
        is_([c["part"] for c in out["changes"]], ["zones"], "is a change in JSON, too")
        exits(host, 0, ["apply"], "which apply ends")


def expires(host):
    told = os.path.join(host.dir, "told")
    edit(host, "errors = 9", "errors = 11")
    with open(host.conf, "a") as f:
        f.write('admin = { contact = "bob@example.org"; command = "cat >> %s"; };\n' % told)
    with open(told, "w"):
        os.chmod(told, 0o666)
    os.chmod(host.dir, 0o711)  # the command runs as a user without rights
    exits(host, 0, ["apply", "--confirm", "1s"], "apply that nobody confirms")
    wait_until(lambda: not os.path.exists(state(host, "pending")), "the watchdog")
    is_(states(host)[-1], "rolled-back", "is taken back")
    is_(served(host, "errors"), "9", "the host serves what it served")
    wait_until(lambda: "in time" in read(told), "admin.command")
    ok(True, "the administrator's command was told")
    wait_until(lambda: host.imap("bob@example.org").select("INBOX")[1][0] != b"0", "the mail")
    ok(True, "and mail was sent")
    host.restart()
    is_(served(host, "errors"), "9", "also after a restart")
    exits(host, 1, ["reload"], "a reload says what to do", "mailadm apply")
    exits(host, 0, ["apply", "--confirm", "1m"], "once more")
    exits(host, 0, ["rollback"], "rollback takes back what waits at once", "is taken back")
    exits(host, 0, ["apply"], "and without --confirm it counts")
    is_(states(host)[-1], "confirmed", "as the list says")


def rollbacks(host):
    n = len(rows(host))
    exits(host, 0, ["rollback", "2"], "rollback to generation 2", "is in force")
    is_(served(host, "errors"), "7", "the host serves that site")
    is_(rows(host)[-1][2], "rollback to 2", "it is a generation itself")
    host.restart()
    is_(served(host, "errors"), "7", "a restart too")
    exits(host, 0, ["rollback"], "without a number to the one before", "is in force")
    is_(rows(host)[-1][2], "rollback to 1", "which is 1")
    is_(served(host, "errors"), "20", "with its site")
    exits(host, 0, ["rollback"], "and once more", "as it was before")
    is_(zone_files(host), {}, "to before the first: no zones")
    exits(host, 2, ["rollback", "99"], "a generation that is not there", "--list")
    exits(host, 2, ["rollback", str(n + 1)], "one that was a rollback", "choose another")
    exits(host, 0, ["apply"], "and back to the file")
    exits(host, 0, ["plan"], "completely")


def half_way(host):
    zones = zone_files(host)
    edit(host, 'domains = ( { name = "example.org"; }', 'domains = ( { name = "example.org"; }, { name = "example.net"; }')
    edit(host, "pop3 = false;", "pop3 = true;")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", host.port("pop3")))
        taken.listen()
        r = exits(host, 2, ["apply"], "a part in the middle refuses", "daemon: ")
        like(r.stderr, "everything is as it was", "and everything goes back")
    is_(states(host)[-1], "failed", "the generation says so")
    now = zone_files(host)
    is_(sorted(now), sorted(zones), "the zone that had been written is gone again")
    ok(not os.path.exists(state(host, "pending")), "nothing is left waiting")
    exits(host, 0, ["apply"], "when the reason is gone it works")
    exits(host, 0, ["plan"], "in full")
    if ZONES:
        ok("example.net.zone" in zone_files(host), "with the new zone")


def refuses(host):
    edit(host, "errors = 11", "errors = 12")
    with open(state(host, "lock"), "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        exits(host, 2, ["apply"], "one at a time", "at this moment")
    exits(host, 0, ["apply", "--confirm", "60s"], "a change that waits")
    n = rows(host)[-1][0]
    kept = state(host, "generations/%s/captured/daemon/site.conf" % n)
    text = read(kept)
    for name, tampered in (("was changed by another hand", text.replace("errors", "error5")), ("is missing", None)):
        os.unlink(kept)
        if tampered is not None:
            with open(kept, "w") as f:
                f.write(tampered)
        exits(host, 2, ["rollback"], "a captured file that %s" % name, name)
        is_(served(host, "errors"), "12", "is not restored")
        with open(kept, "w") as f:
            f.write(text)
    meta = state(host, "generations/%s/meta" % n)
    good = read(meta)
    with open(meta, "w") as f:
        f.write(good.replace('"pending"', '"confirmed"'))
    exits(host, 2, ["confirm", "--console"], "a meta that was changed", "by another hand")
    with open(meta, "w") as f:
        f.write("{" * 100000)
    exits(host, 2, ["rollback"], "a meta that is no JSON", "is damaged")
    with open(meta, "w") as f:
        f.write(good)
    exits(host, 0, ["rollback"], "with the true ones it goes back", "is taken back")
    with open(state(host, "pending"), "w") as f:
        f.write("x\n")
    exits(host, 2, ["apply"], "a damaged pending", "is damaged")
    os.unlink(state(host, "pending"))
    os.rename(state(host, ""), state(host, "") .rstrip("/") + ".away")
    with open(state(host, "").rstrip("/"), "w"):
        pass
    exits(host, 2, ["apply"], "a state that cannot be written", "not a folder")
    os.unlink(state(host, "").rstrip("/"))
    os.rename(state(host, "").rstrip("/") + ".away", state(host, "").rstrip("/"))
    exits(host, 0, ["apply"], "and all is well again")


def full_disk(host):
    """STATE/apply is a tiny file system, larger each time; the host must be as before, or as the site says."""
    if os.geteuid() != 0:
        return
    edit(host, "errors = 12", "errors = 13")
    failed = half = 0
    for pages in range(1, 60):
        script = ("mount -t tmpfs -o size=%dk none %s && %s -c %s apply; e=$?; ls %s/pending 2>/dev/null; exit $e"
                  % (4 * pages, state(host, ""), MAILADM, host.conf, state(host, "")))
        r = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60)
        if r.returncode == 0:
            break
        failed += 1
        if "No space left" not in r.stderr or served(host, "errors") != "12" or r.stdout.endswith("pending\n"):
            half += 1
            diag("%d pages: exit %d\n%s%s" % (pages, r.returncode, r.stdout, r.stderr))
    ok(failed > 2, "a full disk refuses an apply (%d sizes)" % failed)
    is_(half, 0, "each time it says so, and nothing has changed")
    is_(r.returncode, 0, "until there is room")
    is_(served(host, "errors"), "13", "and then it is done")


ZONES = shutil.which("named-checkzone") is not None
groups = {"dns": 'server = "%s"; rndc = "true";' % ("bind" if ZONES else "none"), "limits": "errors = 20; recipients = 99;",
          "listen": "pop3 = false;"}
with Host(groups=groups) as h:
    for step in (plans, plan_files, confirms, strange_bytes, expires, rollbacks, half_way, refuses, full_disk):
        step(h)
done()
