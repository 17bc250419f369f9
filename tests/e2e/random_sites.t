#!/usr/bin/env python3
"""Random sites of up to 500 domains and 10,000 accounts (tests/random_site.py): check, print, firewall and zones of each; then,
in a network namespace with a real named, plan -> apply -> plan says no change and status says no drift.  How
long a plan without a change takes for the largest is said.  SEED and SEEDS choose others."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import MAILADM, ROOT, diag, done, is_, ok, skip_all, wait_until  # noqa: E402

sys.path.insert(0, os.path.join(ROOT, "tests"))
import random_site  # noqa: E402

SEED, SEEDS = int(os.environ.get("SEED", "1")), int(os.environ.get("SEEDS", "8"))
ZONES_A_SITE = 6


def run(*argv, **kw):
    return subprocess.run(argv, input=kw.pop("input", ""), capture_output=True, text=True, timeout=120, **kw)


def cli(folder, *args):
    return run(MAILADM, "-c", folder + "/site.conf", *args)


def fails(r, code, name):
    if not is_(r.returncode, code, name):
        diag("\n".join([l for l in (r.stderr + r.stdout).splitlines() if "warning:" not in l][:12]))
    return r.returncode != code


def prints(folder, name):
    flat = cli(folder, "site", "print").stdout
    os.makedirs(folder + "/again", exist_ok=True)
    with open(folder + "/again/site.conf", "w") as f:
        f.write(flat)
    ok(flat and cli(folder + "/again", "site", "print").stdout == flat, name + ": what is printed loads to the same")


def renders(folder, name):
    r = cli(folder, "fw", "render")
    if not fails(r, 0, name + ": fw render"):
        fails(run("nft", "-c", "-f", "-", input=r.stdout), 0, name + ": nft takes it")
    if fails(cli(folder, "dns", "render", "--out", folder + "/zones"), 0, name + ": dns render"):
        return
    zones = sorted(n for n in os.listdir(folder + "/zones") if n.endswith(".zone"))
    bad = ""
    for zone in zones[::max(1, len(zones) // ZONES_A_SITE)]:
        r = run("named-checkzone", "-i", "local", zone[:-5], folder + "/zones/" + zone)
        if r.returncode:
            bad += r.stdout + r.stderr
    is_(bad, "", "%s: named-checkzone takes the zones (%d)" % (name, len(zones)))


def offline(work):
    for seed in range(SEED, SEED + SEEDS):
        folder = "%s/%d" % (work, seed)
        random_site.write(folder, seed)
        name = "seed %d" % seed
        if not fails(cli(folder, "check"), 0, name + ": check"):
            prints(folder, name)
            renders(folder, name)


def keys(work, folder):
    """One pair of DKIM keys for all domains, so that no hour goes by with making them."""
    one = work + "/one"
    random_site.write(one, "one", 1, 1)
    fails(cli(one, "dns", "keygen"), 0, "a DKIM key")
    made = json.loads(cli(one, "--json", "site", "print").stdout)["domains"][0]
    os.makedirs(folder + "/state/keys", mode=0o700)
    os.makedirs(folder + "/dkim")
    for d in json.loads(cli(folder, "--json", "site", "print").stdout)["domains"]:
        for row in ("dkim_selector", "dkim_ed25519"):
            shutil.copy("%s/state/keys/%s.%s.key" % (one, made["name"], made[row]), "%s/state/keys/%s.%s.key" % (folder, d["name"], d[row]))
            shutil.copy("%s/dkim/%s.%s.pub" % (one, made["name"], made[row]), "%s/dkim/%s.%s.pub" % (folder, d["name"], d[row]))


class Named:
    """A name server for the host's zones, with a control channel of its own."""

    def __init__(self, work):
        self.dir, self.process = work, None
        self.rndc = "rndc -c %s/rndc.conf" % work
        key = 'key "control" { algorithm hmac-sha256; secret "c2VjcmV0IG9mIGEgdGVzdCBvbmx5LCAzMiBieXRlcyE="; };\n'
        with open(work + "/rndc.conf", "w") as f:
            f.write(key + 'options { default-key "control"; default-server 127.0.0.1; default-port 953; };\n')
        with open(work + "/named.conf", "w") as f:
            f.write(key + 'controls { inet 127.0.0.1 port 953 allow { 127.0.0.1; } keys { "control"; }; };\n'
                    'options { directory "%s"; pid-file none; recursion no; listen-on { any; }; listen-on-v6 { any; }; session-keyfile none; };\n'
                    'include "%s/zones/named.conf.mailadm";\n' % (work, work))

    def start(self):
        self.log = open(self.dir + "/named.log", "ab")
        self.process = subprocess.Popen(["named", "-g", "-c", self.dir + "/named.conf"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(lambda: "all zones loaded" in open(self.dir + "/named.log", errors="replace").read() or self.process.poll() is not None, "named")

    def serial(self, zone):
        r = run("dig", "+short", "+time=2", "@127.0.0.1", zone, "SOA")
        return int((r.stdout.split() + ["0"] * 3)[2] or 0)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.log.close()


def timed_plan(folder, name):
    best, r = 1e9, None
    for _ in range(3):
        begin = time.monotonic()
        r = cli(folder, "plan")
        best = min(best, time.monotonic() - begin)
    fails(r, 0, name + ": plan says no change")
    return best


def drift(folder, name):
    """Each part is as the site says; whether mail flows is not asked here."""
    r = cli(folder, "--json", "status")
    rows = [c for c in json.loads(r.stdout or "{}").get("checks", []) if c["check"] == "drift"]
    ok(any(c["state"] == "ok" for c in rows), name + ": status looks for drift") or diag((r.stdout + r.stderr)[:2000])
    is_([c for c in rows if c["state"] == "wrong"], [], name + ": and finds none")


def live(work, seed, domains=None, accounts=None):
    folder, name = "%s/live-%s" % (work, seed), "live %s" % seed
    os.makedirs(folder)
    named = Named(folder)
    made = random_site.write(folder, seed, domains, accounts, live=True,
                             more_dns={"zone_dir": folder + "/zones", "rndc": named.rndc, "server": "bind"})
    if made.want_domains > 50:
        keys(work, folder)
    try:
        fails(cli(folder, "plan"), 1, name + ": plan of a new host has changes")
        if fails(cli(folder, "apply", "--yes"), 0, name + ": apply"):
            return
        named.start()
        seconds = timed_plan(folder, name)
        drift(folder, name)
        zone = next(l.split('"')[1] for l in open(folder + "/zones/named.conf.mailadm") if l.startswith("zone "))
        before = named.serial(zone)
        ok(before > 0, "%s: named serves %s" % (name, zone)) or diag(open(folder + "/named.log", errors="replace").read()[-1500:])
        text = open(folder + "/site.conf").read()
        with open(folder + "/site.conf", "w") as f:
            f.write(re.sub(r'\tttl = "[^"]*"', '\tttl = "47m"', text))
        fails(cli(folder, "plan"), 1, name + ": another TTL is a change")
        fails(cli(folder, "apply", "--yes"), 0, name + ": apply it")
        wait_until(lambda: named.serial(zone) > before, "a new serial")
        fails(cli(folder, "plan"), 0, name + ": and plan says no change")
        if made.want_domains >= 500: # a figure; what it should be is for a quiet machine
            diag("%s: a plan without a change of %d domains and %d accounts takes %.2f s" % (name, made.want_domains, made.want_accounts, seconds))
    finally:
        named.stop()


def main():
    if os.geteuid() != 0:
        skip_all("needs root, for a network namespace of its own")
    if not os.environ.get("MAILADM_TEST_NETNS"):
        os.environ["MAILADM_TEST_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", "--", sys.executable, os.path.abspath(__file__)])
    for args in (("link", "set", "lo", "up"), ("addr", "add", "192.0.2.10/32", "dev", "lo"), ("addr", "add", "2001:db8::10/128", "dev", "lo")):
        subprocess.run(["ip", *args], check=True)
    work = tempfile.mkdtemp(prefix="mailadm-random-")
    os.chmod(work, 0o755)
    try:
        offline(work)
        for seed in range(SEED, SEED + 2):
            live(work, seed)
        live(work, "largest", random_site.MAX_DOMAINS, random_site.MAX_ACCOUNTS)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    done()


main()
