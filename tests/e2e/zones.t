#!/usr/bin/python3
"""`mailadm dns push` against real name servers: every zone served, a secondary that follows with TSIG, signing by named,
serials that never fall, and all or nothing when named, rndc, named-checkzone, the disk or the process itself fails."""
import fcntl
import glob
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dns_world  # noqa: E402
from dns_world import Server, dig  # noqa: E402
from host import MAILADM, ROOT, diag, done, is_, like, ok, wait_until  # noqa: E402

PRIMARY, SECONDARY = "192.0.2.53", "192.0.2.54"
dns_world.enter([PRIMARY, SECONDARY])
SITE = """host = { name = "mail.example.org"; ipv4 = "192.0.2.53"; };
domains = ( { name = "example.org"; mta_sts = "testing"; records = ( %s ); }, { name = "example.net"; records = ( %s ); } %s );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
dns = { server = "bind"; zone_dir = "%s"; rndc = "%s"; nameservers = [ "ns1.example.org", "ns2.example.org" ]; %s };
"""
NS = '"ns1 A 192.0.2.53", "ns2 A 192.0.2.54"'
SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDEyMzQ="


class Site:
    """A site of two domains, its zone_dir and the named that serves it."""

    def __init__(self, dir, name, address=PRIMARY, more="", pushed=True):
        self.dir, self.more, self.zones = os.path.join(dir, name), more, os.path.join(dir, name, "zones")
        os.makedirs(os.path.join(self.dir, "state"))
        self.named = Server(dir, name + "-named", address, {}, globals='include "%s/named.conf.mailadm";' % self.zones)
        self.rndc = self.named.rndc_conf()
        self.write()
        if pushed:
            is_(self.push().returncode, 0, name + ": push exits 0 while named is down")
            self.named.start()

    def write(self, records=(), net=(), domains=""):
        words = ['"%s"' % r for r in records]
        with open(os.path.join(self.dir, "site.conf"), "w") as f:
            f.write(SITE % (", ".join([NS] + words), ", ".join('"%s"' % r for r in net), domains, self.zones, self.rndc, self.more))

    def cli(self, *args, wrap=(), path=None, limit=None):
        env = dict(os.environ, PATH=(path + ":" if path else "") + os.environ["PATH"], **({"MAILADM_TEST_TOOL_LIMIT": str(limit)} if limit else {}))
        return subprocess.run([*wrap, MAILADM, "-c", self.dir + "/site.conf", *args], capture_output=True, text=True, timeout=60, env=env)

    def push(self, **kw):
        return self.cli("dns", "push", **kw)

    def pushed(self, why, **kw):
        r = self.push(**kw)
        if not is_(r.returncode, 0, why):
            diag(r.stdout + r.stderr)
        return r

    def serial(self, zone="example.org", server=None):
        words = dig(server or self.named.address, zone, "SOA").split()
        return int(words[2]) if len(words) == 7 else 0

    def wait(self, name, want, server=None, type="A"):
        wait_until(lambda: dig(server or self.named.address, name, type) == want, "%s to be %s" % (name, want))

    def files(self):
        """Content of everything of ours, serials aside."""
        out = {}
        for path in glob.glob(self.zones + "/**", recursive=True) + glob.glob(self.zones + "/.*"):
            if os.path.isfile(path) and not path.endswith((".jnl", ".jbk", ".signed")) and "/keys/" not in path:
                with open(path, "rb") as f:
                    out[path] = re.sub(rb"(\tSOA\t\S+ \S+ )\d+", rb"\1N", f.read())
        return out


def tool(dir, name, text):
    """A program of that name in a folder to be put in front of PATH."""
    folder = os.path.join(dir, "fake-" + name + str(len(os.listdir(dir))))
    os.makedirs(folder)
    with open(os.path.join(folder, name), "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(os.path.join(folder, name), 0o755)
    return folder


def served(dir):
    s = Site(dir, "plain")
    for zone in ("example.org", "example.net", "53.2.0.192.in-addr.arpa"):
        ok(s.serial(zone) > 0, zone + " is served")
    r = s.cli("dns", "diff", "--json")
    is_((r.returncode, r.stdout.strip()), (0, "[]"), "then diff finds nothing")
    last = {z: s.serial(z) for z in ("example.org", "example.net")}
    for n in range(4):
        s.write(["w%d A 192.0.2.%d" % (n, 80 + n)])
        is_(s.cli("dns", "diff").returncode, 1, "diff sees the record")
        s.pushed("push %d" % n)
        s.wait("w%d.example.org" % n, "192.0.2.%d" % (80 + n))
        ok(s.serial() > last["example.org"], "the serial rose")
        last["example.org"] = s.serial()
        is_(s.serial("example.net"), last["example.net"], "that of the zone without a change did not")
    s.pushed("the same again")
    is_(s.serial(), last["example.org"], "changes nothing")
    os.unlink(s.zones + "/example.org.zone")
    s.pushed("a lost file")
    is_(s.serial(), last["example.org"], "comes back with its serial")
    return s


def foreign(s):
    theirs = {"theirs.example.zone": "$ORIGIN theirs.example.\n@ SOA a b 1 2 3 4 5\n", "mta-sts/theirs.example.txt": "version: STSv1\nmode: none\n"}
    for name, text in theirs.items():
        with open(os.path.join(s.zones, name), "w") as f:
            f.write(text)
    s.write(domains=', { name = "example.com"; mta_sts = "testing"; }')
    s.pushed("a domain more")
    wait_until(lambda: s.serial("example.com"), "example.com")
    s.write()
    s.pushed("and gone again")
    ok(not os.path.exists(s.zones + "/example.com.zone") and not os.path.exists(s.zones + "/mta-sts/example.com.txt"), "its files are removed")
    wait_until(lambda: s.serial("example.com") == 0, "example.com to be gone")
    for name, text in theirs.items():
        ok(os.path.exists(os.path.join(s.zones, name)) and open(os.path.join(s.zones, name)).read() == text, name + " of somebody else stands")
    path = s.zones + "/example.com.zone"
    with open(path, "w") as f:
        f.write("; by hand\n")
    s.write(domains=', { name = "example.com"; }')
    r = s.push()
    is_((r.returncode, open(path).read()), (2, "; by hand\n"), "a zone written by hand is not written over")
    like(r.stderr, "was not written by mailadm", "the reason")
    os.unlink(path)
    s.write()
    s.pushed("without it")


def nothing_changed(s, why, reason, record, status=2, after=None, again=True, **kw):
    """The push fails, and all stands as before."""
    before, serial = s.files(), s.serial()
    s.write([record], ["also A 192.0.2.7"])
    r = s.push(**kw)
    is_(r.returncode, status, why + ": push fails")
    like(r.stderr, reason, why + ": the reason")
    is_(s.files() == before, True, why + ": the old files stand, nothing beside them")
    ok(s.serial() >= serial, why + ": the served serial did not fall")
    if after:
        after()
    s.rndc = s.named.rndc_conf()
    s.write()
    if not again:
        return
    s.pushed(why + ": push of the old content")
    ok(s.serial() >= serial, why + ": nor after it")


def faults(dir, s):
    nothing_changed(s, "checkzone refuses", "named-checkzone refuses", "a A 192.0.2.1", path=tool(dir, "named-checkzone", "echo no; exit 1\n"))
    nothing_changed(s, "checkzone missing", "cannot be run", "b A 192.0.2.1", path=tool(dir, "named-checkzone", "exit 127\n"))
    s.rndc = tool(dir, "rndc", "echo 'rndc: connect failed: 127.0.0.1#953: timed out' >&2; exit 1\n") + "/rndc"
    nothing_changed(s, "rndc times out", "timed out", "c A 192.0.2.1")
    s.rndc = "rndc -s nohost.invalid"
    nothing_changed(s, "rndc knows no such host", "nohost.invalid", "d A 192.0.2.1")
    s.rndc = s.named.rndc_conf() + " -y nokey"
    nothing_changed(s, "rndc without its key", "nokey", "e A 192.0.2.1")
    s.named.globals = ""
    s.named.reload()
    s.write(["f A 192.0.2.1"])
    before = s.files()
    r = s.push()
    is_((r.returncode, s.files() == before), (2, True), "a zone that named does not know: all comes back")
    like(r.stderr, "does named.conf include", "the reason")
    s.named.globals = 'include "%s/named.conf.mailadm";' % s.zones
    s.named.reload()
    s.write()
    s.pushed("with the include again")
    # named loads the new zone, then rndc fails for the next: what is put back must be above
    loads = s.named.rndc_conf() + " \"$@\" || exit 1; case \"$*\" in *example.org) : > %s/loaded;; *example.net) echo broken >&2; exit 1;; esac\n" % dir
    s.rndc = tool(dir, "rndc", loads) + "/rndc"
    s.write(["g A 192.0.2.1"], ["g A 192.0.2.1"])
    before = s.serial()
    r = s.push()
    is_(r.returncode, 2, "rndc fails after the first zone")
    s.wait("g.example.org", "")
    ok(s.serial() > before, "named serves the old content again, with a serial above what it had loaded")
    s.rndc = s.named.rndc_conf()
    s.write()
    s.pushed("the old content again")
    s.wait("g.example.org", "")
    ok(s.serial() > before, "with a serial above what named had loaded")
    s.named.stop()
    s.write(["down A 192.0.2.9"])
    r = s.pushed("named is down: push exits 0")
    like(r.stderr, "warning: named does not run", "with a warning")
    s.named.start()
    s.wait("down.example.org", "192.0.2.9")


def limits(dir, s):
    """A tool that hangs is killed and is an error; so is a push that does not let go of the lock."""
    for name in ("named", "named-checkzone"):
        hangs = tool(dir, name, "exec sleep 600\n")
        nothing_changed(s, name + " hangs", name + " did not end within 1 seconds and was killed", "h A 192.0.2.1", path=hangs, limit=1)
    s.rndc = tool(dir, "rndc", "sleep 600\n") + "/rndc"
    nothing_changed(s, "rndc hangs", "rndc did not end within 1 seconds and was killed", "i A 192.0.2.1", limit=1)
    with open(s.dir + "/state/serials.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        nothing_changed(s, "the lock is held", "another push holds it", "j A 192.0.2.1", limit=1, after=lambda: fcntl.flock(lock, fcntl.LOCK_UN))


def versions(dir, s):
    """A named that is too old is noticed before anything is changed; what cannot be judged is left alone."""
    old = tool(dir, "named", "echo 'BIND 9.11.5-P4-5.1+deb10u11-Debian (Extended Support Version) <id:998753c>'\n")
    nothing_changed(s, "named 9.11", "named is BIND 9.11, but its part of named.conf needs 9.14; install a newer bind9", "v A 192.0.2.1", path=old)
    is_(s.cli("dns", "diff", path=old).returncode, 2, "diff says it too")
    middle = tool(dir, "named", "echo 'BIND 9.14.1 (Stable Release) <id:1>'\n")
    s.write(["v14 A 192.0.2.1"])
    s.pushed("named 9.14 serves plain zones", path=middle)
    s.more = "sign = true;"
    nothing_changed(s, "named 9.14 and dns.sign", "dns.sign needs 9.16; install a newer bind9 (nothing was changed), or set dns.sign = false",
                    "v A 192.0.2.1", path=middle, after=lambda: setattr(s, "more", ""))
    s.write(["v0 A 192.0.2.1"])
    s.pushed("a named that says no version is not judged", path=tool(dir, "named", "echo hello\n"))
    s.write()
    s.pushed("as it was")


def unreadable(s):
    """What is there and cannot be read is no absent file, whose zone would begin anew."""
    path = s.zones + "/example.org.zone"
    # -P: calls on this file alone
    nothing_changed(s, "EIO", "Input/output error", "u A 192.0.2.1",
                    wrap=["strace", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=read", "-e", "inject=read:error=EIO"])
    eio = ["strace", "-qq", "-o", "/dev/null", "-P", s.dir + "/out/example.org.zone", "-e", "trace=read", "-e", "inject=read:error=EIO"]
    is_(s.cli("dns", "render", "--out", s.dir + "/out").returncode, 0, "render --out")
    like(s.cli("dns", "render", "--out", s.dir + "/out", wrap=eio).stderr, "Input/output error", "render --out: EIO is an error")
    shutil.rmtree(s.dir + "/out")
    for what, make in (("a folder", os.mkdir), ("a pipe", os.mkfifo)):
        os.rename(path, s.dir + "/aside")
        make(path)
        nothing_changed(s, what, "is not a file; move it away", "u A 192.0.2.1", again=False)
        is_(s.cli("dns", "diff").returncode, 2, "diff says it too")
        (os.rmdir if what == "a folder" else os.unlink)(path)
        os.rename(s.dir + "/aside", path)
    os.mkdir(s.zones + "/folder.zone")
    os.mkfifo(s.zones + "/pipe.example.zone")
    s.pushed("a folder and a pipe of others keep nobody waiting")
    os.rmdir(s.zones + "/folder.zone")
    os.unlink(s.zones + "/pipe.example.zone")
    with open(s.zones + "/.gone.example.zone.old", "w"):
        pass
    s.pushed("what a killed push left of a zone that went")
    ok(not os.path.exists(s.zones + "/.gone.example.zone.old"), "is removed by the next")


def edited(s):
    """A file that was edited is shown without what a terminal would obey."""
    with open(s.zones + "/example.org.zone", "ab") as f:
        f.write(b'x TXT "\x1b[2J\xff"\n')
    r = s.cli("dns", "diff")
    is_((r.returncode, "\x1b" in r.stdout, "\\027[2J\\255" in r.stdout), (1, False, True), "diff of control bytes")
    ok("255" in json.loads(s.cli("dns", "diff", "--json").stdout)[0]["diff"], "and in JSON")
    s.pushed("pushed over")


def folders(s):
    """named may write beside the zones; a link that it makes leads nowhere."""
    victim = s.dir + "/victim"
    os.mkdir(victim, 0o700)
    s.more = "sign = true;"
    os.symlink(victim, s.zones + "/keys")
    s.write()
    r = s.push()
    is_((r.returncode, os.stat(victim).st_mode & 0o7777, os.listdir(victim)), (2, 0o700, []), "a link in place of keys is not followed")
    like(r.stderr, "keys: is a link", "the reason")
    os.unlink(s.zones + "/keys")
    s.pushed("with a folder")
    is_(os.stat(s.zones).st_mode & 0o7777, 0o1775, "named can make files there and not take ours away")
    s.more = ""
    s.write()
    s.pushed("unsigned again")


def killed(s):
    """kill -9 at each rename, write and unlink: the next push makes it whole, and named has it."""
    kills = 0
    for n in range(1, 40):
        serial = s.serial()
        s.write(["k%d A 192.0.2.66" % n], ["k%d A 192.0.2.66" % n])
        call = "rename,link,pwrite64,ftruncate"
        r = s.push(wrap=["strace", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", "inject=%s:signal=KILL:when=%d" % (call, n)])
        if r.returncode == 0:
            break
        kills += 1
        r = s.push()
        if r.returncode != 0 or s.serial() < serial:
            ok(False, "push after kill %d: %d" % (n, s.serial()))
            diag(r.stderr)
        for zone in ("example.org", "example.net"):
            s.wait("k%d.%s" % (n, zone), "192.0.2.66")
    ok(kills > 4, "killed at %d places, each time the next push was served" % kills)
    is_([f for f in s.files() if "/." in f[len(s.zones):] or f.endswith((".new", ".old"))], [], "nothing is left beside the files")
    many = [subprocess.Popen([MAILADM, "-c", s.dir + "/site.conf", "dns", "push"]) for _ in range(4)]
    is_([p.wait() for p in many], [0, 0, 0, 0], "four at once")


def full(s):
    """zone_dir on a tmpfs too small for the change."""
    s.write()
    s.pushed("before the disk is full")
    script = """mount -t tmpfs -o size=64k none %(z)s && mkdir %(z)s/mta-sts && cp -p %(k)s/* %(z)s/ 2>/dev/null; cat %(z)s/*.zone > %(k)s/before
head -c 65536 /dev/zero > %(z)s/filler 2>/dev/null; "$@"; r=$?; cat %(z)s/*.zone > %(k)s/after; rm -f %(z)s/filler
"$@" && grep -q full %(z)s/example.org.zone || exit 90; exit $r""" % {"z": s.zones, "k": s.dir + "/kept"}
    shutil.copytree(s.zones, s.dir + "/kept")
    s.write(["full TXT " + "x" * 200])
    r = s.push(wrap=["unshare", "-m", "sh", "-c", script, "sh"])
    is_(r.returncode, 2, "a full disk: push fails, and works when there is room")
    like(r.stderr, "No space left", "the reason")
    is_(open(s.dir + "/kept/before").read() == open(s.dir + "/kept/after").read(), True, "the old files stand")
    s.pushed("and on the real folder")


def signed(dir):
    more = 'sign = true; tsig_key = "xfer"; secondaries = [ "%s" ];' % SECONDARY
    s = Site(dir, "signed", more=more, pushed=False)
    with open(s.dir + "/state/secrets", "w") as f:
        f.write('dns.tsig_secret = "%s"\n' % SECRET)
    os.chmod(s.dir + "/state/secrets", 0o600)
    s.pushed("the signed site is pushed")
    s.named.start()
    r = s.cli("dns", "render", "--secondary")
    with open(dir + "/secondary.conf", "w") as f:
        f.write(r.stdout)
    second = Server(dir, "second", SECONDARY, {}, globals='include "%s/secondary.conf";' % dir).start()
    try:
        wait_until(lambda: dig(SECONDARY, "example.org", "DNSKEY"), "the secondary's signed copy", 30)
        is_(dig(PRIMARY, "example.org", "AXFR").find("SOA"), -1, "nobody else may transfer")
        last = s.serial()
        for n in range(3):
            s.write(["s%d A 192.0.2.%d" % (n, 80 + n)])
            s.pushed("signed push %d" % n)
            s.wait("s%d.example.org" % n, "192.0.2.%d" % (80 + n), SECONDARY)
            ok(s.serial() > last, "the signed serial rose")
            last = s.serial()
        key = dns_world.run("dig", "+noall", "+answer", "-b", SECONDARY, "-y", "hmac-sha256:xfer:" + SECRET, "@" + PRIMARY, "example.org", "AXFR").stdout
        with open(dir + "/axfr", "w") as f:
            f.write("\n".join(key.splitlines()[:-1]) + "\n")
        v = dns_world.run("dnssec-verify", "-z", "-o", "example.org", dir + "/axfr", check=False)
        if not is_(v.returncode, 0, "dnssec-verify accepts what is served"):
            diag(v.stderr + v.stdout)
        ds = s.cli("dns", "ds", "--json")
        is_(ds.returncode, 0, "ds has the keys of every domain")
        ok(any(row.startswith("example.org. IN DS ") for row in json.loads(ds.stdout or "[]")), "in JSON")
    finally:
        second.stop()
        s.named.stop()


def shown(s):
    """What push and render say; who serves."""
    s.more, text = "local_resolver = true;", open(s.dir + "/site.conf").read()
    s.write(domains=', { name = "elsewhere.example"; dns = false; }, { name = "example.com"; reports = "dmarc@reports.example"; }')
    like(s.pushed("reports that go elsewhere").stderr, "example.com._report._dmarc.reports.example", "push shows what validation warns of")
    ok(os.path.exists(s.zones + "/named.conf.options.mailadm"), "the options stand")
    conf = tool(s.dir, "named-checkconf", "case $1 in *.check) echo bad options; exit 1;; esac\n")
    os.unlink(s.zones + "/named.conf.options.mailadm")
    like(s.push(path=conf).stderr, "bad options", "the options are checked, inside options { }")
    s.pushed("with the real tool")
    rows = json.loads(s.cli("dns", "render", "--json").stdout)
    is_([r["zone"] for r in rows if r["elsewhere"]], ["elsewhere.example"], "render --json has the records for elsewhere")
    s.cli("dns", "render", "--out", s.dir + "/out")
    ok(os.path.exists(s.dir + "/out/elsewhere.example.records"), "and --out its file")
    with open(s.dir + "/site.conf", "w") as f:
        f.write(text.replace('server = "bind"', 'server = "auto"') + "port_offset = 20000;\n")
    r = s.push()
    is_((r.returncode, "port_offset is set" in r.stderr), (2, True), "auto with port_offset: not served here")
    with open(s.dir + "/site.conf", "w") as f:
        f.write(text + "port_offset = 20000;\n")
    s.pushed("bind with port_offset: served here")
    s.more = ""
    s.write()


def good_sites(dir):
    for conf in sorted(glob.glob(ROOT + "/tests/sites/good/*.conf")):
        out = os.path.join(dir, "out-" + os.path.basename(conf))
        r = subprocess.run([MAILADM, "-c", conf, "dns", "render", "--out", out], capture_output=True, text=True)
        bad = r.stderr if r.returncode else ""
        for path in glob.glob(out + "/*.zone"):
            bad += dns_world.run("named-checkzone", "-q", "-i", "local", os.path.basename(path)[:-5], path, check=False).stdout
        if not bad and os.path.exists(out + "/named.conf.mailadm"):
            bad = dns_world.run("named-checkconf", out + "/named.conf.mailadm", check=False).stdout
        is_(bad, "", "named's tools accept " + os.path.basename(conf))


def main():
    with dns_world.World() as w:
        s = served(w.dir)
        try:
            foreign(s)
            faults(w.dir, s)
            limits(w.dir, s)
            versions(w.dir, s)
            unreadable(s)
            edited(s)
            killed(s)
            full(s)
            shown(s)
            folders(s)
        finally:
            s.named.stop()
        signed(w.dir)
        good_sites(w.dir)
    done()


main()
