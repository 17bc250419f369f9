#!/usr/bin/env python3
"""fw render and dns render from a git checkout (no private keys): real nft, named-checkzone and named judge them.  For every
good site the text is compared with tests/sites/good/NAME.nft and NAME.zones; GOLDEN_UPDATE=1 writes those anew."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, ROOT, done, is_, like, ok  # noqa: E402

GOOD = os.path.join(ROOT, "tests", "sites", "good")
WORK = tempfile.mkdtemp(prefix="mailadm-gen-")


def run(*argv, **kw):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, **kw)


def cli(*args):
    return run(MAILADM, "-c", WORK + "/checkout/site.conf", *args)


def loaded_rules(text):
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
    return run(*unshare, "sh", "-c", "nft -f - && nft list ruleset", input=text)


def golden(path, saw, name):
    if os.environ.get("GOLDEN_UPDATE") == "1":
        with open(path, "w") as f:
            f.write(saw)
    is_(saw.splitlines(), open(path).read().splitlines() if os.path.exists(path) else [], name)


def good_site(path):
    name = os.path.basename(path)[:-5]
    r = run(MAILADM, "-c", path, "fw", "render")
    golden(path[:-5] + ".nft", r.stdout, f"good/{name}: fw render")
    r = loaded_rules(r.stdout)
    is_(r.returncode, 0, f"good/{name}: nft loads it: {r.stderr}")
    r = run(MAILADM, "-c", path, "dns", "render")
    golden(path[:-5] + ".zones", re.sub(r"(\tSOA\t\S+ \S+) \d+ ", r"\1 SERIAL ", r.stdout), f"good/{name}: dns render")
    out = f"{WORK}/good-{name}"
    is_(run(MAILADM, "-c", path, "dns", "render", "--out", out).returncode, 0, f"good/{name}: dns render --out")
    for zone in sorted(glob.glob(out + "/*.zone")):
        r = run("named-checkzone", "-i", "local", os.path.basename(zone)[:-5], zone)
        is_(r.returncode, 0, f"good/{name}: named-checkzone {os.path.basename(zone)}: {r.stdout.strip()}")
        ok("warning" not in r.stdout, "without a warning: " + r.stdout.strip())


try:
    sites = sorted(glob.glob(GOOD + "/*.conf"))
    ok(len(sites) >= 8, f"there are good sites ({len(sites)})")
    for site in sites:
        good_site(site)
    r = run(MAILADM, "init", WORK + "/site", "--hostname", "mail.example.org", "--domain", "example.org", "--domain", "example.net",
            "--ipv4", "192.0.2.10", "--ipv6", "2001:db8::10", "--account", "alice@example.org")
    is_(r.returncode, 0, "init with two domains: " + r.stderr)
    # What stands in git: the site and its public keys.
    shutil.copytree(WORK + "/site", WORK + "/checkout", ignore=shutil.ignore_patterns("state"))
    with open(WORK + "/checkout/site.conf", "a") as f:
        f.write('firewall = { admin_from = ("198.51.100.0/24", "2001:db8:9::/48"); extra = ( { name = "node-exporter"; port = 9100; '
                'protocol = "tcp"; from = ("198.51.100.7"); } ); };\n')
    ok(not os.path.exists(WORK + "/checkout/state"), "the checkout holds no private key")
    r = cli("check", "--with-tools")
    is_(r.returncode, 0, "check --with-tools in the checkout: " + r.stdout + r.stderr)

    rules = cli("fw", "render").stdout
    r = loaded_rules(rules)
    is_(r.returncode, 0, "nft loads the firewall: " + r.stderr)
    once = r.stdout
    like(once, "policy drop", "the policy is drop")
    for port in ("25", "587", "465", "143", "993", "110", "995"):
        ok(f" {port}," in once or f" {port} " in once, f"port {port} is open")
    like(once, "ip saddr 198.51.100.0/24 tcp dport 22 accept", "ssh from admin_from only")
    like(once, "ip6 saddr 2001:db8:9::/48 tcp dport 22 accept", "for IPv6 too")
    like(once, "ip saddr 198.51.100.7 tcp dport 9100 accept", "an extra port from where it says")
    is_(loaded_rules(rules + rules).stdout, once, "loading it twice changes nothing")

    out = WORK + "/zones"
    is_(cli("dns", "render", "--out", out).returncode, 0, "dns render --out")
    zones = sorted(n for n in os.listdir(out) if n.endswith(".zone"))
    reverse6 = ".".join(reversed("20010db8000000000000000000000010")) + ".ip6.arpa.zone"
    is_(zones, sorted(["example.org.zone", "example.net.zone", "10.2.0.192.in-addr.arpa.zone", reverse6]), "the zones")
    for name in zones:
        r = run("named-checkzone", name[:-5], f"{out}/{name}")
        is_(r.returncode, 0, f"named-checkzone accepts {name}: {r.stdout}")
    with open(WORK + "/named.conf", "w") as f:
        f.write(f'options {{ directory "{WORK}"; }};\ninclude "{out}/named.conf.mailadm";\n')
    r = run("named-checkconf", "-z", WORK + "/named.conf")
    is_(r.returncode, 0, "named-checkconf -z accepts the fragment: " + r.stdout)
    with open(out + "/example.org.zone") as f:
        zone = f.read()
    for part in ("\tSOA\t", "\tNS\tns1.example.org.", "\tMX\t10 mail.example.org.", "mail.example.org.\t3600\tIN\tA\t192.0.2.10",
                 "mail.example.org.\t3600\tIN\tAAAA\t2001:db8::10", "v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 -all", "v=DKIM1; k=rsa; p=",
                 "v=DMARC1; p=quarantine", "_imaps._tcp"):
        like(zone, part, "example.org has " + part.replace("\t", " "))
    before = {n: open(f"{out}/{n}").read() for n in zones}
    cli("dns", "render", "--out", out)
    is_({n: open(f"{out}/{n}").read() for n in zones}, before, "rendering again changes nothing, the serial included")
    with open(WORK + "/checkout/site.conf") as f:
        site = f.read()
    with open(WORK + "/checkout/site.conf", "w") as f:
        f.write(site.replace("192.0.2.10", "192.0.2.11"))
    cli("dns", "render", "--out", out)

    def serial(text):
        return int(next(line for line in text.splitlines() if "\tSOA\t" in line).split()[6])
    after = open(out + "/example.org.zone").read()
    ok(serial(after) > serial(before["example.org.zone"]), "a changed zone gets a higher serial")
finally:
    shutil.rmtree(WORK, ignore_errors=True)
done()
