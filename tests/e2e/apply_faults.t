#!/usr/bin/env python3
"""What apply meets on a bad day: state files that are truncated, binary, huge, links or of another version; a full disk; tools
that are missing, refuse, die or talk without end. Each time: an exit in time, an error that names what is wrong, and
no half change.  In a network and mount namespace of its own; what STATE/apply itself can meet is in apply.t."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import MAILADM, diag, done, is_, ok, skip_all  # noqa: E402

SITE = """host     = { name = "mail.example.org"; ipv4 = "192.0.2.10"; };
domains  = ( %s );
accounts = ( { address = "alice@example.org"; } );
state_dir = "%s/state";
dns      = { server = "bind"; zone_dir = "%s/zones"; rndc = "%s/bin/rndc"; ttl = "%s"; };
firewall = { admin_from = "198.51.100.0/24"; ssh_port = %d; };
"""
FAKE = "#!/bin/sh\n%s\n"
# name of the tool: [(what, its text, refuses)]
TOOLS = {
    "named-checkzone": [("missing", FAKE % "exit 127", True),
                        ("refusing", FAKE % 'echo "zone example.org/IN: not loaded due to errors."; exit 1', True),
                        ("killed", FAKE % "kill -9 $$", True),
                        ("talking without end", FAKE % "exec yes 'zone example.org/IN: no'", True),
                        ("hanging", FAKE % "sleep 600", True)],
    "rndc": [("refusing", FAKE % 'echo "rndc: \'reconfig\' failed: permission denied" >&2; exit 1', True),
             ("killed", FAKE % "kill -9 $$", True),
             ("hanging", FAKE % "sleep 600", True),
             ("away, since named does not run", FAKE % 'echo "rndc: connect failed: 127.0.0.1#953: connection refused" >&2; exit 1', False)],
    "named": [("too old", FAKE % "echo 'BIND 9.11.5-P4-5.1+deb10u11-Debian (Extended Support Version) <id:998753c>'", True),
              ("hanging", FAKE % "sleep 600", True)],
    "nft": [("too old", FAKE % """case "$1" in --version) echo 'nftables v0.8.8 (Fearless Fosdick II)'; exit 0;; esac; exec /usr/sbin/nft "$@\"""", True),
            ("missing", FAKE % "exit 127", True),
            ("refusing", FAKE % "echo 'Error: Could not process rule: Operation not supported' >&2; exit 1", True),
            ("hanging", FAKE % "sleep 600", True),
            ("hanging when it lists", FAKE % """case "$1" in --version) exec /usr/sbin/nft "$@";; esac; sleep 600""", True)],
}
TOOL_LIMIT = "2"  # seconds, instead of a minute
# What may stand in a state file instead of what mailadm wrote.
TAMPERED = {
    "empty": lambda old: b"",
    "truncated": lambda old: old[:len(old) // 2],
    "binary": lambda old: bytes(range(256)) * 16,
    "huge": lambda old: b"a 1 b\n" * 12_000_000,
    "of another version": lambda old: b"mailadm 99\n" + old,
    "of long lines": lambda old: b"x" * 1_000_000,
}
STATE_FILES = ("serials", "rollover", "bans", "alerts", "apply/pending", "apply/lock", "firewall.nft")


class Bench:
    def __init__(self, work):
        self.work, self.count = work, 0
        self.names = ["example.org"]
        os.makedirs(work + "/bin")
        self.tool("rndc", FAKE % "exit 0")
        self.write()

    def write(self, ssh=0):
        """Another site each time, so that zones and firewall both have something to change."""
        self.count += 1
        domains = ", ".join('{ name = "%s"; }' % n for n in self.names)
        with open(self.work + "/site.conf", "w") as f:
            f.write(SITE % (domains, self.work, self.work, self.work, "%dm" % (10 + self.count), ssh or 1000 + self.count))

    def tool(self, name, text):
        path = "%s/bin/%s" % (self.work, name)
        if text is None:
            if os.path.exists(path):
                os.unlink(path)
            return
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def cli(self, *args, wrap=()):
        env = dict(os.environ, PATH=self.work + "/bin:" + os.environ["PATH"], MAILADM_TEST_TOOL_LIMIT=TOOL_LIMIT)
        begin = time.monotonic()
        try:
            r = subprocess.run([*wrap, MAILADM, "-c", self.work + "/site.conf", *args], input="", capture_output=True, text=True, timeout=60, env=env)
        except subprocess.TimeoutExpired:
            ok(False, "mailadm %s ends within a minute" % " ".join(args))
            raise
        self.seconds = time.monotonic() - begin
        return r

    def live(self):
        """What is in force: the rules without their counters, and the zones without serials (which rise on the way back)."""
        rules = subprocess.run(["nft", "-s", "list", "ruleset"], capture_output=True, text=True, timeout=20).stdout
        zones = {}
        for at, _, names in os.walk(self.work + "/zones"):
            for n in names:
                with open(os.path.join(at, n), "rb") as f:
                    zones[n] = re.sub(rb"(\sSOA\s+\S+ \S+) \d+", rb"\1 N", f.read())
        return rules, zones

    def refused(self, r, before, name, says=""):
        good = is_(r.returncode, 2, name + ": apply fails")
        good = ok(says in r.stderr and r.stderr.strip(), name + ": with an error that names it") and good
        after = self.live()
        good = ok(after[0] == before[0], name + ": the firewall is as it was") and good
        good = ok(after[1] == before[1], name + ": the zones are as they were") and good
        if not good:
            diag("exit %d in %.1f s\n%s" % (r.returncode, self.seconds, (r.stdout + r.stderr)[-1500:]))

    def applied(self, name):
        r = self.cli("apply", "--yes")
        if not is_(r.returncode, 0, name + ": apply works"):
            diag((r.stdout + r.stderr)[-1500:])
        return r.returncode == 0


def tools(b):
    for name, ways in TOOLS.items():
        for what, text, refuses in ways:
            b.write()
            before = b.live()
            b.tool(name, text)
            r = b.cli("apply", "--yes")
            label = "%s is %s" % (name, what)
            if refuses:
                b.refused(r, before, label, name)
            elif not is_(r.returncode, 0, label + ": that is no error"):
                diag((r.stdout + r.stderr)[-1500:])
            b.tool(name, FAKE % "exit 0" if name == "rndc" else None)
            b.applied(label + ", and well again")


def old_kernel(b):
    b.write()
    before = b.live()
    b.refused(b.cli("apply", "--yes", wrap=("setarch", "--uname-2.6")), before, "a kernel that is too old", "boot a newer one")
    b.applied("and with this one")


def full_disk(b):
    """The zones' disk is full: what was there stays whole."""
    os.makedirs(b.work + "/small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", b.work + "/small"], check=True)
    kept = b.live()[1]
    for n, text in kept.items():
        with open(b.work + "/small/" + n, "wb") as f:
            f.write(text)
    shutil.rmtree(b.work + "/zones", ignore_errors=True)
    os.makedirs(b.work + "/zones")
    subprocess.run(["mount", "--move", b.work + "/small", b.work + "/zones"], check=True)
    b.names = ["example.org"] + ["full%d.example" % i for i in range(40)]
    b.write()
    before = b.live()
    b.refused(b.cli("apply", "--yes"), before, "the disk of the zones is full", "No space left")
    subprocess.run(["mount", "-o", "remount,size=16m", b.work + "/zones"], check=True)
    b.applied("the disk has room again")
    b.names = ["example.org"]
    b.write()
    b.applied("with one zone again")


def tampered(b):
    """A state file that another hand made: never a crash, never a hang, and either a clear error or a full success."""
    for name in STATE_FILES:
        path = b.work + "/state/" + name
        kept = open(path, "rb").read() if os.path.isfile(path) else None
        ways = list(TAMPERED.items()) + [("a link", None), ("a folder", None)]
        wrong = ""
        for what, change in ways:
            b.write()
            before = b.live()
            if os.path.lexists(path):
                os.unlink(path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            victim = b.work + "/victim"
            with open(victim, "wb") as f:
                f.write(b"victim\n")
            if change:
                with open(path, "wb") as f:
                    f.write(change(kept or b"example.org 2026112401\n"))
            elif what == "a link":
                os.symlink(victim, path)
            else:
                os.makedirs(path)
            for args in (("plan",), ("apply", "--yes"), ("status",)):
                r = b.cli(*args)
                if r.returncode not in (0, 1, 2) or b.seconds > 15 or (r.returncode == 2 and not r.stderr.strip()):
                    wrong += "%s %s: %s exits %d after %.1f s: %s\n" % (name, what, args[0], r.returncode, b.seconds, r.stderr[-300:])
                if args[0] == "apply" and r.returncode == 2 and b.live() != before:
                    wrong += "%s %s: a refused apply has changed something\n" % (name, what)
            if open(victim, "rb").read() != b"victim\n":
                wrong += "%s: a link was followed and its target written\n" % name
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
            if kept is not None:
                with open(path, "wb") as f:
                    f.write(kept)
        if not ok(not wrong, "STATE/%s in %d bad ways: clear errors, no half change" % (name, len(ways))):
            diag(wrong[:4000])
        b.applied("STATE/%s is as it was" % name)


def main():
    if os.geteuid() != 0:
        skip_all("needs root, for namespaces of its own")
    if not os.environ.get("MAILADM_TEST_NETNS"):
        os.environ["MAILADM_TEST_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", "--", sys.executable, os.path.abspath(__file__)])
    for args in (("link", "set", "lo", "up"), ("addr", "add", "192.0.2.10/32", "dev", "lo")):
        subprocess.run(["ip", *args], check=True)
    work = tempfile.mkdtemp(prefix="mailadm-faults-")
    os.chmod(work, 0o755)
    try:
        b = Bench(work)
        if b.applied("a new host"):
            tools(b)
            old_kernel(b)
            tampered(b)
            full_disk(b)
    finally:
        subprocess.run(["umount", work + "/zones"], capture_output=True)
        shutil.rmtree(work, ignore_errors=True)
    done()


main()
