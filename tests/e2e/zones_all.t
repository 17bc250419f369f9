#!/usr/bin/python3
"""A real named serves every zone of every good site and of random ones: it loads the fragment as rendered, transfers exactly the
records that were rendered, and answers each of them when asked.  SEED and SEEDS choose other random sites."""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dns_world  # noqa: E402
from dns_world import Server, dig  # noqa: E402
from host import MAILADM, ROOT, diag, done, is_, ok, wait_until  # noqa: E402

sys.path.insert(0, os.path.join(ROOT, "tests"))
import random_site  # noqa: E402

ADDRESS = "127.0.0.1"
SEED, SEEDS = int(os.environ.get("SEED", "1")), int(os.environ.get("SEEDS", "6"))
BY_NAMED = {"DNSKEY", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "CDS", "CDNSKEY", "TYPE65534"}
dns_world.enter()


def canonical(zone, path):
    """The records of a zone file as named prints them, without the serial and what named adds."""
    r = dns_world.run("named-compilezone", "-q", "-i", "none", "-s", "full", "-o", "-", zone, path)
    out = set()
    for line in r.stdout.splitlines():
        if line.startswith(";"):
            continue
        owner, ttl, _, type, data = line.split(None, 4)
        if type == "SOA":
            data = re.sub(r"^(\S+ \S+) \d+", r"\1 N", data)
        if type not in BY_NAMED:
            out.add((owner, ttl, type, data))
    return out


def transferred(work, zone):
    r = dns_world.run("dig", "+noall", "+answer", "+onesoa", "@" + ADDRESS, zone, "AXFR", check=False)
    path = os.path.join(work, "axfr")
    with open(path, "w") as f:
        f.write(r.stdout)
    return canonical(zone, path) if "\tSOA\t" in r.stdout or " SOA " in r.stdout else set()


def asked(work, records):
    """Every name and type of all zones, in one run of dig; what is answered otherwise than rendered."""
    sets = {}
    for owner, _, type, data in records:
        sets.setdefault((owner, type), set()).add(data)
    keys = sorted(sets)
    with open(work + "/questions", "w") as f:
        f.writelines("%s %s\n" % key for key in keys)
    r = dns_world.run("dig", "+noall", "+answer", "+nosplit", "+norec", "+tries=1", "+time=3", "@" + ADDRESS, "-f", work + "/questions")
    got, soa = {}, re.compile(r"^(\S+)\s+\d+\s+IN\s+SOA\s+(\S+ \S+) \d+( .*)\n", re.M)
    for owner, names, times in soa.findall(r.stdout):
        got[(owner, "SOA")] = {names + " N" + times}
    with open(work + "/answers", "w") as f:  # as one zone, so that they are printed as the rendered ones are
        f.write(". 60 IN SOA a. b. 1 2 3 4 5\n. 60 IN NS a.\na. 60 IN A 127.0.0.1\n" + soa.sub("", r.stdout))
    for owner, _, type, data in canonical(".", work + "/answers"):
        got.setdefault((owner, type), set()).add(data)
    return {k: (sets[k], got.get(k)) for k in keys if got.get(k) != sets[k]}


def serves(work, conf, name):
    """One site, one named."""
    out = os.path.join(work, name + "-zones")
    r = subprocess.run([MAILADM, "-c", conf, "dns", "render", "--out", out], capture_output=True, text=True, timeout=60)
    if not is_(r.returncode, 0, name + ": dns render"):
        diag(r.stderr)
        return 0
    with open(out + "/named.conf.mailadm") as f:
        fragment = f.read()
    zones = re.findall(r'^zone "([^"]+)"', fragment, re.M)
    # Everything as it is, but for who may transfer; a secret is not in the checkout.
    with open(work + "/fragment", "w") as f:
        f.write(re.sub(r" key \"[^\"]+\"", "", re.sub(r"allow-transfer \{.*\};", "allow-transfer { any; };", fragment)))
    named = Server(work, name, ADDRESS, {}, globals='include "%s/fragment";' % work).start()
    try:
        bad, records = "", set()
        for zone in zones:
            want = canonical(zone, "%s/%s.zone" % (out, zone))
            records |= want
            try:
                wait_until(lambda: transferred(work, zone) == want, zone, 10)  # a signed zone comes a moment later
            except TimeoutError:
                bad += "%s: %s\n" % (zone, sorted(transferred(work, zone) ^ want)[:6])
        if not ok(not bad, "%s: AXFR of each of %d zones is what was rendered" % (name, len(zones))):
            diag(bad)
        wrong = asked(work, records)
        if not ok(not wrong, "%s: each of %d records is answered" % (name, len(records))):
            diag("\n".join("%s %s: wanted %s, got %s" % (*k, *v) for k, v in list(wrong.items())[:10]))
        if "dnssec-policy" in fragment:
            ok(dig(ADDRESS, zones[0], "DNSKEY"), name + ": and is signed")
    finally:
        named.stop()
    return len(zones)


def main():
    with dns_world.World() as w:
        sites = sorted(glob.glob(ROOT + "/tests/sites/good/*.conf"))
        count = sum(serves(w.dir, conf, os.path.basename(conf)[:-5]) for conf in sites)
        ok(count > 2 * len(sites), "%d zones of %d sites" % (count, len(sites)))
        for seed in range(SEED, SEED + SEEDS):
            folder = os.path.join(w.dir, "random-%d" % seed)
            random_site.write(folder, seed, domains=(2, 25)[seed % 2], accounts=5)
            if seed % 2 == 0:  # with DKIM keys
                dns_world.run(MAILADM, "-c", folder + "/site.conf", "dns", "keygen")
            serves(w.dir, folder + "/site.conf", "seed-%d" % seed)
    done()


main()
