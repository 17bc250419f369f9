#!/usr/bin/env python3
"""mailadm fw: render, load, diff, status and test, their exit codes and JSON; other programs' tables, which are recognised and stay as
they are.  Everything in network namespaces of this test."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
import foreign  # noqa: E402
from host import MAILADM, diag, done, is_, like, ok  # noqa: E402
from netns import Net, need_namespaces, write  # noqa: E402

need_namespaces()

WORK = tempfile.mkdtemp(prefix="mailadm-fwcli-")
SITE = """host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; ipv6 = "2001:db8::10"; };
domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
"""
FIREWALL = 'firewall = { admin_from = ( "198.51.100.0/28", "2001:db8:a::/48" ); %s };\n'


def site(name, firewall="", more=""):
    return write(WORK, name + ".conf", SITE + FIREWALL % firewall + more)


def fw(net, conf, *args):
    return net.fw("host", conf, *args)


def exits(r, want, name):
    if not is_(r.returncode, want, name):
        diag(r.stdout[-2000:] + r.stderr[-2000:])


def ruleset(net, *what):
    """As nft lists it, counters left out."""
    return net.run("host", "nft", "-s", "list", *(what or ("ruleset",))).stdout


def renders(net, conf):
    r = fw(net, conf, "render")
    exits(r, 0, "render")
    like(r.stdout, "table inet mailadm", "render prints nft text")
    got = json.loads(fw(net, conf, "render", "--json").stdout)
    is_((got["table"], got["role"], got["text"] == r.stdout), ("mailadm", "host", True), "with --json the same text")
    ok(isinstance(got["model"], dict) and got["model"], "and the model beside it")
    exits(fw(net, conf, "render", "--role", "router"), 2, "a role that is not there is an error of usage")
    r = fw(net, conf, "render", "--role", "gateway")
    exits(r, 2, "and gateway where the site has none")
    like(r.stderr, "gateway.outside", "says what to set")
    both = site("both", more='gateway = { outside = "wan0"; inside = "lan0"; network = ( "192.0.2.0/24", "2001:db8::/64" ); };\n')
    r = fw(net, both, "render", "--role=gateway")
    exits(r, 0, "with a gateway its rules are rendered")
    like(r.stdout, "wan0", "by its interfaces")
    exits(fw(net, conf, "nonsense"), 2, "no such subcommand")
    exits(fw(net, conf, "diff", "more"), 2, "diff takes no words")
    exits(fw(net, "/nowhere/site.conf", "diff"), 2, "no site")


def loads(net, conf):
    r = fw(net, conf, "status")
    exits(r, 1, "status says no where nothing is loaded")
    like(r.stderr, "mailadm fw load", "and what to do")
    r = fw(net, conf, "diff")
    exits(r, 1, "diff too")
    ok(r.stdout and all(line[:2] == "+ " for line in r.stdout.splitlines()), "all of it is in the site alone")
    exits(fw(net, conf, "load"), 0, "load")
    first = ruleset(net)
    like(first, "table inet mailadm", "the table is there")
    exits(fw(net, conf, "diff"), 0, "diff says yes")
    is_(fw(net, conf, "diff").stdout, "", "and nothing")
    is_(json.loads(fw(net, conf, "diff", "--json").stdout), {"same": True, "diff": []}, "in JSON too")
    exits(fw(net, conf, "load"), 0, "load again")
    is_(ruleset(net), first, "changes nothing")
    net.nft("host", fw(net, conf, "render").stdout)
    exits(fw(net, conf, "diff"), 0, "what nft loads of the rendered text is the same")
    r = fw(net, conf, "status")
    exits(r, 0, "status says yes")
    like(r.stdout, "loaded, as the site says", "in words")
    got = json.loads(fw(net, conf, "status", "--json").stdout)
    is_((got["loaded"], got["drift"], got["bans"], got["others"]), (True, [], 0, []), "and in JSON")
    ok(got["counters"] and all(set(c) == {"name", "packets", "bytes"} for c in got["counters"]), "with counters by name")


def without_user(net, conf):
    """On a machine without the user of the sending process."""
    with open("/etc/passwd") as f:
        passwd = write(WORK, "passwd", "".join(line for line in f if not line.startswith("mailadm-send:")))

    def mailadm(c, *args):
        return net.run("host", "unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', passwd, MAILADM, "-c", c, *args, check=False)

    def there(c, *args):
        return mailadm(c, "fw", *args)
    note = "there is no user mailadm-send: port 25 out is not held for it and stays open to all; create it and load the rules again"
    r = there(conf, "render")
    exits(r, 0, "render without mailadm-send")
    ok("# %s\n" % note in r.stdout and "mailadm: warning: %s\n" % note == r.stderr, "says that port 25 is open to all")
    is_(json.loads(there(conf, "render", "--json").stdout)["notes"], [note], "in JSON too")
    is_(there(conf, "load").stderr, "mailadm: warning: %s\n" % note, "load says it")
    is_(json.loads(there(conf, "status", "--json").stdout)["notes"], [note], "status says it")
    like(there(conf, "status").stdout, "note\t" + note, "in words too")
    like(mailadm(conf, "plan").stderr, "mailadm: warning: " + note, "plan says it")
    rows = json.loads(mailadm(conf, "status", "--json").stdout)["checks"]
    is_([(c["state"], c["seen"]) for c in rows if (c["check"], c["subject"]) == ("firewall", "users")], [("warning", note)], "and status of the host")
    r = there(site("egress", "egress = true;"), "render")
    like(r.stderr, "no user mailadm-send: nothing goes out as it (mail goes out, by mailadm-send)", "with egress no mail goes out, which is said")
    is_(json.loads(fw(net, conf, "render", "--json").stdout)["notes"], [], "with the user there is nothing to say")
    exits(fw(net, conf, "load"), 0, "load with the user")


def differs(net, conf):
    net.nft("host", "add rule inet mailadm input tcp dport 8080 accept comment \"by hand\"")
    r = fw(net, conf, "diff")
    exits(r, 1, "a rule added by hand is a difference")
    ok(any(line.startswith("- ") and "8080" in line for line in r.stdout.splitlines()), "that the kernel has and the site has not")
    is_([line for line in r.stdout.splitlines() if line.startswith("+ ")], [], "and nothing else is missing")
    got = json.loads(fw(net, conf, "diff", "--json").stdout)
    is_((got["same"], got["diff"]), (False, r.stdout.splitlines()), "JSON has the same lines")
    r = fw(net, conf, "status")
    exits(r, 1, "status says no")
    like(r.stdout, "8080", "and shows it")
    net.nft("host", "add element inet mailadm bans4 { 203.0.113.66 timeout 1h }")
    is_(json.loads(fw(net, conf, "status", "--json").stdout)["bans"], 1, "status counts bans")
    exits(fw(net, conf, "load"), 0, "load repairs it")
    exits(fw(net, conf, "diff"), 0, "and a ban is no difference")
    like(ruleset(net, "set", "inet", "mailadm", "bans4"), "203.0.113.66", "and the ban stays")
    other = site("other", 'extra = ( { name = "web"; port = 443; } );')
    r = fw(net, other, "diff")
    exits(r, 1, "another site is a difference")
    ok(any(line.startswith("+ ") and "443" in line for line in r.stdout.splitlines()), "which is shown from the site's side")
    net.run("host", "nft", "delete", "table", "inet", "mailadm")


def one_after_another(net):
    """Every good site over the one before: nothing of that stays, and what is loaded is what its file says."""
    good = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sites", "good")
    confs = sorted(os.path.join(good, f) for f in os.listdir(good) if f.endswith(".conf"))
    for conf in confs + confs[::-1]:
        r = fw(net, conf, "load")
        d = fw(net, conf, "diff")
        if not is_((r.returncode, d.returncode, d.stdout), (0, 0, ""), os.path.basename(conf) + " over another"):
            diag(r.stderr + d.stderr)
    net.nft("host", "add table inet mailadm { flags dormant; }")
    is_(fw(net, confs[0], "diff").stdout, "- flags dormant\n", "a table that somebody put to sleep is told")
    exits(fw(net, confs[0], "load"), 0, "and load wakes it")
    exits(fw(net, confs[0], "diff"), 0, "so that it is as the site says")
    net.run("host", "nft", "delete", "table", "inet", "mailadm")


def others(net, conf):
    for name, text, want in foreign.ALL:
        net.nft("host", text)
        before = ruleset(net)
        r = fw(net, conf, "load")
        exits(r, 0, "load beside %s" % name)
        is_([n for n, c in want if c and "warning: %s: " % n not in r.stderr], [], "%s: load warns of what conflicts" % name)
        r = fw(net, conf, "status", "--json")
        got = json.loads(r.stdout)["others"]
        is_([(o["name"], o["conflicts"]) for o in got], want, "%s: recognised" % name)
        ok(all(len(o["text"]) > 20 for o in got), "%s: said what it means" % name)
        exits(r, 0, "%s: no drift" % name)
        after = ruleset(net)
        is_(after[:len(before)] == before, True, "%s: untouched" % name)
        net.run("host", "nft", "flush", "ruleset")
    for _, text, _ in foreign.ALL[:4]:
        net.nft("host", text)
    before = ruleset(net)
    exits(fw(net, conf, "load"), 0, "load beside four of them")
    r = fw(net, conf, "status")
    ok(all(n in r.stdout for n in ("conflict\tufw:", "conflict\tfirewalld:", "conflict\tfail2ban:", "docker:")), "all are named")
    is_(ruleset(net)[:len(before)], before, "and stay")
    net.run("host", "nft", "flush", "ruleset")


def old_iptables(net, conf):
    if shutil.which("iptables-legacy") is None or net.run("host", "iptables-legacy", "-S", check=False).returncode != 0:
        diag("iptables-legacy is not here: not tried")
        return
    exits(fw(net, conf, "load"), 0, "load")
    is_(json.loads(fw(net, conf, "status", "--json").stdout)["others"], [], "empty tables of the old iptables are nobody's")
    net.run("host", "iptables-legacy", "-A", "INPUT", "-p", "tcp", "--dport", "111", "-j", "DROP")
    got = json.loads(fw(net, conf, "status", "--json").stdout)["others"]
    is_([(o["name"], o["conflicts"]) for o in got], [("iptables-legacy", True)], "a rule of the old iptables is seen")
    net.run("host", "iptables-legacy", "-F")
    net.run("host", "iptables-legacy", "-P", "INPUT", "DROP")
    got = json.loads(fw(net, conf, "status", "--json").stdout)["others"]
    is_([(o["name"], o["conflicts"]) for o in got], [("iptables-legacy", True)], "and a policy")
    net.run("host", "nft", "flush", "ruleset")


TESTS = """tests = (
  { from = "203.0.113.7"; to_port = 25; expect = "accept"; },
  { from = "203.0.113.7"; to_port = 5432; expect = "drop"; },
  { from = "203.0.113.7"; to_port = 22; expect = "drop"; },
  { from = "198.51.100.7"; to_port = 22; expect = "accept"; },
  { from = "2001:db8:a::7"; to_port = 22; expect = "accept"; },
  { from = "2001:db8:b::7"; to_port = 22; expect = "drop"; },
  { from = "2001:db8:b::7"; to_port = 993; expect = "accept"; },
  { from = "203.0.113.7"; to_port = 53; protocol = "udp"; expect = "accept"; },
  { from = "203.0.113.7"; to_port = 123; protocol = "udp"; expect = "drop"; },
  { to = "203.0.113.25"; to_port = 25; expect = "drop"; },
  { to = "203.0.113.25"; to_port = 25; user = "nobody"; expect = "drop"; },
  { to = "203.0.113.25"; to_port = 25; user = "mailadm-send"; expect = "accept"; },
  { to = "2001:db8:25::25"; to_port = 25; user = "mailadm-send"; expect = "accept"; },
  { to = "203.0.113.53"; to_port = 53; protocol = "udp"; user = "nobody"; expect = "accept"; }
);"""
# What mailadm check cannot see, since it knows neither block lists nor users nor bogons nor nft.
WRONG = """include = ( "custom.nft" ); block_lists = ( "drop.txt" ); tests = (
  { from = "10.1.2.3"; to_port = 25; expect = "accept"; },
  { from = "203.0.113.66"; to_port = 25; expect = "accept"; },
  { to = "203.0.113.25"; to_port = 25; user = "nobody"; expect = "accept"; },
  { from = "203.0.113.7"; to_port = 465; expect = "accept"; },
  { from = "203.0.113.7"; to_port = 993; expect = "accept"; }
);"""
RULES = (("input", "bogons"), ("banned", "block_lists"), ("output", "port 25"))


def policy(net):
    conf = site("tests", TESTS)
    r = fw(net, conf, "test")
    exits(r, 0, "policy tests that hold")
    is_([line.split("\t")[0] for line in r.stdout.splitlines()], ["pass"] * 14, "each passes")
    got = json.loads(fw(net, conf, "test", "--json").stdout)
    is_([t["sent"] for t in got], [True] * 14, "all by packets")
    is_([t["note"] for t in got], [""] * 14, "and the model says the same of each")
    write(WORK, "custom.nft", "tcp dport 465 drop\n")
    write(WORK, "drop.txt", "203.0.113.64/28\n")
    conf = site("wrong", WRONG)
    r = fw(net, conf, "test")
    exits(r, 1, "policy tests that do not hold")
    like(r.stderr, "4 of 5 tests failed", "are counted")
    got = json.loads(fw(net, conf, "test", "--json").stdout)
    is_([(t["passed"], t["got"]) for t in got], [(False, "drop")] * 2 + [(False, "drop")] * 2 + [(True, "accept")], "are the right ones")
    for i, (chain, rule) in enumerate(RULES):
        if not is_((got[i]["chain"], rule in got[i]["rule"]), (chain, True), "and the rule that decided is named: " + rule):
            diag(got[i])
    like(got[3]["note"], "firewall.include", "or that it is a line of the site's own nft")
    is_([t["line"] for t in got], [6, 7, 8, 9, 10], "with its line in the site")
    many = "tests = ( " + ", ".join('{ from = "203.0.113.7"; to_port = %d; expect = "drop"; }' % (6000 + i) for i in range(50)) + " );"
    conf = site("many", many)
    start = time.monotonic()
    r = fw(net, conf, "test")
    took = time.monotonic() - start
    exits(r, 0, "fifty tests of one source, all of them drops")
    ok(took < 10, "take %.1f s" % took)
    exits(fw(net, site("none"), "test"), 0, "no tests, nothing failed")
    bad = site("bad", 'tests = ( { to = "203.0.113.1"; to_port = 25; user = "nobody-here"; expect = "drop"; } );')
    r = fw(net, bad, "test")
    ok(r.returncode in (1, 2) and "nobody-here" in r.stdout + r.stderr, "a user who is not there does not pass")
    link = write(WORK, "link.conf", SITE + 'firewall = { admin_from = ( "fe80::/10" ); tests = ( { from = "fe80::7"; to_port = 22; expect = "drop"; }, '
                 '{ from = "fe80::7"; to_port = 23; expect = "drop"; } ); };\n')
    r = fw(net, link, "test", "--json")
    is_([(t["passed"], t["sent"], t["got"]) for t in json.loads(r.stdout)], [(False, False, "accept"), (True, False, "drop")],
        "what cannot be sent in a scratch network is judged by the model, and does not pass as a drop")
    is_(ruleset(net), "", "and nothing was loaded here")


def by_others(net):
    """As a user without rights: packets in a user namespace, and everything that needs the kernel's rules refused."""
    conf = site("user", TESTS)
    public = tempfile.mkdtemp(prefix="mailadm-fwcli-public-")
    os.chmod(public, 0o755)
    for f in (MAILADM, conf):
        shutil.copy(f, public)
        os.chmod(os.path.join(public, os.path.basename(f)), 0o755)
    def run(*args):
        return subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", public + "/mailadm", "-c", public + "/user.conf",
                               "fw", *args], capture_output=True, text=True, timeout=60)
    if subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "unshare", "-Urn", "true"]).returncode != 0:
        diag("no user namespaces for everybody here: not tried")
    else:
        r = run("test", "--json")
        exits(r, 0, "policy tests as nobody")
        is_([t["sent"] for t in json.loads(r.stdout or "[]")].count(True), 10, "by packets but for what other users send")
    for command in ("load", "diff", "status"):
        r = run(command)
        exits(r, 2, command + " as nobody cannot")
        ok(r.stderr.startswith("mailadm: "), "and says why: " + r.stderr.strip())
    shutil.rmtree(public)


try:
    with Net("fwcli", "host") as net:
        conf = site("site")
        renders(net, conf)
        loads(net, conf)
        without_user(net, conf)
        differs(net, conf)
        one_after_another(net)
        others(net, conf)
        old_iptables(net, conf)
        policy(net)
        by_others(net)
finally:
    shutil.rmtree(WORK, ignore_errors=True)
done()
