#!/usr/bin/env python3
"""What `mailadm fw load` puts into the kernel by netlink is what `nft -f` makes of `mailadm fw render`: the listing, its
JSON and the bytecode, for many sites.  Loading again changes nothing; another site leaves nothing of the first but bans."""
import json
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, diag, done, is_, ok  # noqa: E402
from netns import Net, need_namespaces, write  # noqa: E402

need_namespaces()

WORK = tempfile.mkdtemp(prefix="mailadm-fwidentity-")
HOST = 'host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; ipv6 = "2001:db8::10"; };\n'
NAT = """role = "gateway";
host = { name = "mail.example.org"; ipv4 = "10.1.0.10"; ipv6 = "2001:db8::10"; public_ipv4 = "192.0.2.10"; public_ipv6 = "2001:db8:f::10"; };
gateway = { outside = "wan0"; inside = "lan0"; network = ( %s ); %s };
"""
REST = """domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
"""
TWO = '"10.1.0.0/24", "10.2.0.0/24", "2001:db8::/64"'
ODD = '"10.1.0.0/24", "10.1.1.0/24", "10.1.2.0/24", "2001:db8::/63"'
LISTS = {
    "edges": "0.0.0.0/8\n203.0.113.0/25\n203.0.113.200\n255.255.255.0/24\n::/16\n2001:db8:bad::/48\nffff::/16\n",
    "last": "255.255.255.255\nffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n",
    "whole": "0.0.0.0/1\n128.0.0.0/1\n::/1\n8000::/1\n",
    "four": "198.51.100.0/24\n198.51.101.0/24\n198.51.103.7\n",
    "long": "".join("10.%d.%d.%d/31\n" % (i >> 10 & 255, i >> 2 & 255, (i & 3) * 64) for i in range(5000)),
}
ADMIN = 'admin_from = ( "198.51.100.0/28", "2001:db8:a::/48" ); '
EXTRA = 'extra = ( { name = "web"; port = 443; rate = 60; }, { name = "q"; port = 4430; protocol = "udp"; rate = 10; }, ' \
        '{ name = "adm"; port = 9100; admin = true; }, { name = "some"; port = 8080; from = ( "203.0.113.0/25", "2001:db8:c::/47" ); } ); '
OUT = 'egress = true; out = ( { name = "ntp"; port = 123; protocol = "udp"; }, ' \
      '{ name = "mirror"; port = 443; user = "root"; to = ( "203.0.113.5", "203.0.113.9", "2001:db8:d::1" ); } ); '


def host(firewall, more=""):
    return HOST + REST + "firewall = { %s };\n" % firewall + more


def gateway(firewall="", network=TWO, more=""):
    return NAT % (network, more) + REST + "firewall = { %s };\n" % firewall


VARIANTS = {
    "plain": host(""), "admin": host(ADMIN), "admin-one": host('admin_from = ( "198.51.100.7" ); '),
    "admin-many": host('admin_from = ( "198.51.100.7", "198.51.100.9", "203.0.113.7", "2001:db8:a::1", "2001:db8:a::3" ); '),
    "admin-mixed": host('admin_from = ( "198.51.100.77", "198.51.100.0/28", "2001:db8:a::1", "2001:db8:b::/60" ); '),
    "admin-bits": host('admin_from = ( "198.51.100.0/23", "2001:db8:8::/45" ); '),
    "admin-byte": host('admin_from = ( "11.0.0.0/8", "2001:db8::/32" ); '),
    "admin-range": host('admin_from = ( "203.0.113.1", "203.0.113.2", "203.0.113.3" ); '),
    "admin-last": host('admin_from = ( "255.255.255.0/24", "203.0.113.1", "ffff::/16", "2001:db8::1" ); '),
    "admin-all": host('admin_from = ( "0.0.0.0/0", "::/0" ); '), "halves": host('never_ban = ( "0.0.0.0/1", "128.0.0.0/1", "::/1" ); '),
    "never-ban": host(ADMIN + 'never_ban = ( "203.0.113.0/29", "203.0.113.77", "2001:db8:e::/64" ); '),
    "ipv4": host(ADMIN + 'family = "ipv4"; '), "ipv6": host(ADMIN + 'family = "ipv6"; '),
    "ipv4-egress": host(OUT + 'family = "ipv4"; '), "egress": host("egress = true; "), "egress-out": host(ADMIN + OUT),
    "no-bogons": host("bogons = false; "), "no-log": host(ADMIN + "log = false; "),
    "quiet": host("bogons = false; log = false; egress = true; "), "extra": host(EXTRA), "extra-admin": host(ADMIN + EXTRA),
    "extra-egress": host(ADMIN + EXTRA + OUT), "rates": host("syn_rate = 7; smtp_rate = 3; login_rate = 5; connections = 2; "),
    "ssh": host(ADMIN + "ssh_port = 2222; "),
    "lists": host('block_lists = ( "edges" ); '), "list-last": host('block_lists = ( "last" ); '),
    "list-whole": host('block_lists = ( "whole" ); '), "list-four": host('block_lists = ( "four" ); '),
    "list-two": host('block_lists = ( "edges", "four", "last" ); ' + ADMIN), "list-long": host('block_lists = ( "long" ); '),
    "include": host('include = ( "rules" ); ' + ADMIN), "include-lists": host('include = ( "rules" ); block_lists = ( "edges" ); ' + OUT),
    "gateway": gateway(), "gateway-admin": gateway(ADMIN), "gateway-masquerade": gateway("", TWO, "masquerade = true; "),
    "gateway-hairpin": gateway(ADMIN, TWO, "hairpin = true; masquerade = true; "), "gateway-egress": gateway(ADMIN + OUT + EXTRA),
    "gateway-odd": gateway("", ODD, "hairpin = true; masquerade = true; "), "gateway-ipv4": gateway('family = "ipv4"; '),
    "gateway-lists": gateway('bogons = false; log = false; block_lists = ( "edges" ); '),
}


def without_handles(value):
    if isinstance(value, dict):
        return {k: without_handles(v) for k, v in value.items() if k != "handle"}
    return [without_handles(v) for v in value] if isinstance(value, list) else value


def bytecode(text):
    """Without handles of rules and their places; elements sorted, since a hash set lists them as its random seed has it."""
    text = re.sub(r"(?m)^(inet \w+ \w+)( \d+)+ *$", r"\1", text)
    return re.sub(r"(?m)(?:^\telement .*\n)+", lambda m: "".join(sorted(m.group().splitlines(True))), text)


def ruleset(net, name):
    return (net.run(name, "nft", "list", "ruleset").stdout,
            without_handles(json.loads(net.run(name, "nft", "-j", "list", "ruleset").stdout)),
            bytecode(net.run(name, "nft", "--debug=netlink", "list", "ruleset").stdout))


def blocks(text):
    """Whatever the order in which sets and chains were made."""
    return sorted(re.findall(r"(?ms)^\t\w+ \w+ \{.*?^\t\}$", text))


def differ(a, b):
    a, b = (x if isinstance(x, str) else json.dumps(x, indent=0) for x in (a, b))
    a, b = a.splitlines(), b.splitlines()
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            diag("line %d\nnetlink: %s\nnft:     %s" % (i, x, y))
            return
    diag("%d lines by netlink, %d by nft" % (len(a), len(b)))


def flush(net, name):
    net.run(name, "nft", "flush", "ruleset")


def identical(net, name, conf):
    for n in ("a", "b"):
        flush(net, n)
    if not ok(net.load("a", conf), name + ": loads"):
        return
    net.nft("b", net.fw("b", conf, "render").stdout)
    mine, theirs = ruleset(net, "a"), ruleset(net, "b")
    for what, a, b in zip(("listing", "JSON", "bytecode"), mine, theirs):
        if not ok(a == b and len(a) > 0, "%s: the same %s" % (name, what)):
            differ(a, b)
    for n, how in (("a", "netlink"), ("b", "nft")):
        r = net.run(n, "env", "PATH=/nowhere", MAILADM, "-c", conf, "fw", "diff", check=False)
        if not ok((r.returncode, r.stdout) == (0, "") or "include" in name, "%s: loaded by %s it is the same, told without nft" % (name, how)):
            diag(r.stdout + r.stderr)
    net.load("a", conf)
    again = ruleset(net, "a")
    if not ok(again == mine, name + ": loading it again changes nothing"):
        differ(again[2], mine[2])


METERED = """add element inet mailadm smtp4 { 203.0.113.67 limit rate over 30/minute burst 30 packets }
add element inet mailadm connections4 { 203.0.113.68 ct count over 7 }
"""


def metered(net):
    """Are the sources of METERED still there?"""
    return ["203.0.113.6%d" % n in net.run("a", "nft", "list", "set", "inet", "mailadm", s).stdout for n, s in ((7, "smtp4"), (8, "connections4"))]


def bans_stay(net, confs):
    foreign = "table inet other { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook input priority 10; tcp dport 1 drop; }; }"
    flush(net, "a")
    net.nft("a", foreign)
    others = net.run("a", "nft", "list", "table", "inet", "other").stdout
    net.load("a", confs["egress-out"])
    net.nft("a", "add element inet mailadm bans4 { 203.0.113.66 timeout 1h }\nadd element inet mailadm bans6 { 2001:db8:bad:: timeout 1h }\n")
    for name in ("egress-out", "lists", "include-lists", "gateway-hairpin", "plain"):
        net.nft("a", METERED)
        net.load("a", confs[name])
        held = [net.run("a", "nft", "list", "set", "inet", "mailadm", s).stdout for s in ("bans4", "bans6")]
        ok("203.0.113.66" in held[0] and "2001:db8:bad::" in held[1], "bans stay through " + name)
        is_(metered(net), [name != "include-lists", True], "and meters; where nft loads text, rates begin anew")
        is_(net.run("a", "nft", "list", "table", "inet", "other").stdout, others, "and the table of somebody else")


def rates_change(net, confs):
    """A source keeps the rate that its meter began with: with another rate the meter has to begin anew."""
    flush(net, "a")
    net.load("a", confs["plain"])
    net.nft("a", METERED)
    net.load("a", confs["plain"])
    is_(metered(net), [True, True], "the same rates: meters keep who they know")
    net.load("a", confs["rates"])
    is_(metered(net), [False, False], "other rates: nobody keeps the old one")
    net.nft("a", METERED)
    net.nft("a", net.fw("a", confs["plain"], "render").stdout)
    is_(metered(net)[0], False, "nor where the text is loaded")


def switches(net, confs):
    """Each to the next, and what is left is the next alone."""
    names = ["plain", "extra-egress", "list-two", "gateway-hairpin", "include", "ipv6", "gateway-egress", "lists", "list-four", "no-log", "quiet"]
    flush(net, "a")
    for before, name in zip(["nothing"] + names, names):
        flush(net, "b")
        net.load("a", confs[name])
        net.load("b", confs[name])
        a, b = (blocks(net.run(n, "nft", "list", "ruleset").stdout) for n in ("a", "b"))
        if not ok(a == b and len(a) > 10, "from %s to %s: nothing of the first is left" % (before, name)):
            diag("\n".join([x for x in a if x not in b] + ["--- wanted"] + [x for x in b if x not in a])[:2000])
    for name in ("quiet", "include"):
        by_hand(net, name, confs[name])


def by_hand(net, name, conf):
    net.nft("a", "add chain inet mailadm mine { type filter hook input priority 5; }\nadd rule inet mailadm mine drop\nadd chain inet mailadm to\n"
                 "add map inet mailadm m { type inet_service : verdict; elements = { 1 : goto to }; }\nadd counter inet mailadm n")
    flush(net, "b")
    net.load("b", conf)
    ok(net.load("a", conf), name + ": with a chain, a map and a counter by hand in the table")
    a, b = (blocks(net.run(n, "nft", "list", "ruleset").stdout) for n in ("a", "b"))
    if not ok(a == b, "they go"):
        diag("\n".join([x for x in a if x not in b] + ["--- wanted"] + [x for x in b if x not in a])[:2000])


for name, text in LISTS.items():
    write(WORK, name, text)
write(WORK, "rules", 'tcp dport 7777 accept\n# a comment\nip saddr 203.0.113.9 udp dport { 1, 2 } drop\n')
confs = {name: write(WORK, name + ".conf", text) for name, text in VARIANTS.items()}
try:
    with Net("fwidentity", "a", "b") as net:
        for name, conf in confs.items():
            identical(net, name, conf)
        bans_stay(net, confs)
        rates_change(net, confs)
        switches(net, confs)
finally:
    shutil.rmtree(WORK)
done()
