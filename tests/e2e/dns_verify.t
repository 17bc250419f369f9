#!/usr/bin/python3
"""mailadm dns verify against real name servers below a root of the test's own, signed: right answers give only ok; then one
thing after the other is broken, and the right row says so while the others stay as they are."""
import hashlib
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dns_world  # noqa: E402
from dns_world import RESOLVER, ROOT, World, dig, run  # noqa: E402
from host import MAILADM, diag, done, is_, like, ok, wait_until  # noqa: E402
from send_peers import Peer  # noqa: E402

HOST, HOST6, SECONDARY = "192.0.2.10", "2001:db8::10", "192.0.2.2"
dns_world.enter([HOST, HOST6, SECONDARY])

ZONES = ["example.org", "null.org", "elsewhere.org"]
REVERSE = "10.2.0.192.in-addr.arpa"
REVERSE6 = "0.1." + "0.0.0.0." * 5 + "0.0." + "8.b.d.0.1.0.0.2.ip6.arpa"
SITE = """
host = { name = "mail.example.org"; ipv4 = "%s"; ipv6 = "%s"; };
domains = ( { name = "example.org"; mta_sts = "enforce"; records = ( "ns2 A %s", "ns1 A %s", "www A 192.0.2.80" ); },
            { name = "null.org"; mail = false; }, { name = "elsewhere.org"; dns = false; } );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
dns = { forward = [ "%s" ]; ttl = "1s"; sign = true; caa = "letsencrypt.org"; server = "bind"; block_lists = [ "bl.test", "dbl.test" ];
        nameservers = [ "ns1.example.org", "ns2.example.org" ]; };
""" % (HOST, HOST6, SECONDARY, HOST, RESOLVER)
DELEGATION = """
example.org. NS ns1.example.org.
example.org. NS ns2.example.org.
ns1.example.org. A %s
ns2.example.org. A %s
null.org. NS ns1.example.org.
null.org. NS ns2.example.org.
elsewhere.org. NS ns.root.
""" % (HOST, SECONDARY)
TOP = """
%s. PTR mail.example.org.
%s. PTR mail.example.org.
2.0.0.127.bl.test. A 127.0.0.2
2.0.0.127.dbl.test. A 127.0.0.2
_spf.many.test. TXT "v=spf1 a:a.test a:b.test a:c.test a:d.test a:e.test a:f.test mx:g.test exists:h.test include:_spf2.many.test ?all"
_spf2.many.test. TXT "v=spf1 a:i.test a:j.test -all"
_spf.ends.test. TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all include:_spf.many.test redirect=_spf.many.test"
_spf.exchangers.test. TXT "v=spf1 mx:crowd.test -all"
%s_spf.good.test. TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"
""" % (REVERSE, REVERSE6, "".join("crowd.test. MX 10 mx%d.test.\n" % i for i in range(11)))


class Policy(http.server.BaseHTTPRequestHandler):
    text = b""

    def do_GET(self):
        found = self.path == "/.well-known/mta-sts.txt" and Policy.text
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(Policy.text if found else b"")))
        self.end_headers()
        self.wfile.write(Policy.text if found else b"")

    def log_message(self, *_):
        pass


class Test:
    def __init__(self, world):
        self.w = world
        self.dir = world.path("site")
        self.serial = 100
        self.base = {}
        self.held = set()

    def cli(self, *args, check=True):
        return run(MAILADM, "-c", os.path.join(self.dir, "site.conf"), *args, check=check,
                   env=dict(os.environ, CURL_CA_BUNDLE=self.w.path("ca.pem")))

    # The world

    def make_site(self):
        os.makedirs(self.dir)
        with open(os.path.join(self.dir, "site.conf"), "w") as f:
            f.write(SITE)
        run(MAILADM, "-c", os.path.join(self.dir, "site.conf"), "dns", "keygen")
        os.makedirs(os.path.join(self.dir, "state/tls"), exist_ok=True)
        tls = os.path.join(self.dir, "state/tls/")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tls + "key.pem", "-out",
            tls + "cert.pem", "-days", "2", "-subj", "/CN=mail.example.org", "-addext", "subjectAltName=DNS:mail.example.org,DNS:mta-sts.example.org")
        run("cp", tls + "cert.pem", self.w.path("ca.pem"))
        with open(self.w.path("both.pem"), "w") as f:
            f.write(open(tls + "key.pem").read() + open(tls + "cert.pem").read())

    def tlsa(self):
        """The SHA-256 of the certificate's public key (3 1 1), as openssl has it."""
        der = subprocess.run(["sh", "-c", "openssl x509 -in '%s' -noout -pubkey | openssl pkey -pubin -outform DER" % self.w.path("ca.pem")],
                             check=True, stdout=subprocess.PIPE).stdout
        return hashlib.sha256(der).hexdigest()

    def render(self):
        """The zones as the site has them; the one that is kept elsewhere as if it were here."""
        here, conf = os.path.join(self.dir, "here.conf"), os.path.join(self.dir, "site.conf")
        site = SITE
        if " TLSA" not in run(MAILADM, "-c", conf, "dns", "render").stdout.replace("\t", " "):
            site = site.replace('"www A', '"_25._tcp.mail TLSA 3 1 1 %s", "www A' % self.tlsa())
        for path, text in ((conf, site), (here, site.replace("dns = false;", ""))):
            with open(path, "w") as f:
                f.write(text)
        run(MAILADM, "-c", here, "dns", "render", "--out", self.w.path("rendered"))
        for zone in ZONES:
            with open(self.w.path("rendered/%s.zone" % zone)) as f:
                self.base[zone] = f.read()
        text = self.base["example.org"]
        if "mta-sts.example.org" not in text:
            text += "mta-sts.example.org. 1 IN A %s\n" % HOST
        self.base["example.org"] = text
        elsewhere = self.base["elsewhere.org"]
        self.base["elsewhere.org"] = re.sub(r"(?m)^elsewhere\.org\.\s+\d+\s+IN\s+NS\s.*\n", "", elsewhere) + "elsewhere.org. 1 IN NS ns.root.\n"
        for name in ("mta-sts.txt", "rendered/example.org.mta-sts.txt"):
            if os.path.exists(self.w.path(name)):
                Policy.text = open(self.w.path(name), "rb").read()
        if not Policy.text:
            Policy.text = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 604800\r\n"

    def write(self, zone, edit=lambda text: text):
        """The zone with an edit, a new serial and new signatures; its DS."""
        self.serial += 1
        before = self.base[zone]
        text = edit(before)
        text = re.sub(r"(\sSOA\s+\S+\s+\S+\s+)\d+", r"\g<1>%d" % self.serial, text)
        return self.w.sign(zone, text, self.w.path(zone + ".zone"))

    def serve(self, edits=None, hold=False):
        """All zones anew, with edits by zone; the secondary follows unless it is held."""
        edits = edits or {}
        for zone in set(edits) | self.held:
            self.write(zone, edits.get(zone, lambda text: text))
            (self.w.servers["root"] if zone == "elsewhere.org" else self.w.servers["primary"]).rndc("reload", zone)
            self.w.wait_serial(ROOT if zone == "elsewhere.org" else HOST, zone, self.serial)
            if zone != "elsewhere.org" and not hold:
                self.w.wait_serial(SECONDARY, zone, self.serial)
        self.held = set(edits)
        self.w.flush()

    def root(self, org=lambda text: text, top=lambda text: text):
        self.w.root = {"org": org(self.org), ".": top(TOP)}
        self.w.update_root()

    def start(self):
        w = self.w
        w.root["."] = TOP
        self.make_site()
        self.render()
        ds = {zone: self.write(zone) for zone in ZONES}
        self.org = DELEGATION + "".join("%s. DS %s\n" % (zone, ds[zone]) for zone in ZONES)
        w.root["org"] = self.org
        w.start()
        w.servers["root"].zones["elsewhere.org"] = 'type primary; file "%s";' % w.path("elsewhere.org.zone")
        w.servers["root"].reload()
        own = ZONES[:2]
        w.server("primary", HOST, {z: 'type primary; file "%s"; notify explicit; also-notify { %s; }; allow-transfer { any; };'
                                   % (w.path(z + ".zone"), SECONDARY) for z in own})
        w.server("secondary", SECONDARY, {z: 'type secondary; primaries { %s; }; file "%s.zone";' % (HOST, z) for z in own})
        for z in own:
            wait_until(lambda zone=z: dig(SECONDARY, zone, "SOA"), "the secondary's transfer of " + z)
        w.flush()

    # Asking

    def verify(self, *args, status=None):
        r = self.cli("dns", "verify", "--json", *args, check=False)
        if status is not None and not is_(r.returncode, status, "dns verify exits %d" % status):
            diag(r.stderr)
        try:
            return json.loads(r.stdout)
        except ValueError:
            diag(r.stdout + r.stderr)
            return []

    def expect(self, name, wants, also=()):
        """wants: [(check, domain, state, seen, remedy)], each found; every other row is ok, or one of the checks in `also`."""
        rows = self.verify(status=1 if any(w[2] == "wrong" for w in wants) else 0)
        others = [r for r in rows if r["state"] != "ok" and r["check"] not in also]
        for check, domain, state, seen, remedy in wants:
            found = [r for r in rows if (r["check"], r["domain"], r["state"]) == (check, domain, state) and seen in r["seen"]]
            if not ok(found, "%s: %s of %s is %s: %s" % (name, check, domain, state, seen)):
                diag("\n".join("%(check)s %(domain)s %(state)s: %(seen)s" % r for r in rows if r["state"] != "ok" or r["check"] == check))
                continue
            like(found[0]["remedy"], remedy, "  what to do")
            others = [r for r in others if r not in found]
        if not is_([(r["check"], r["domain"], r["state"]) for r in others], [], "%s: and nothing else" % name):
            diag("\n".join("%(check)s %(domain)s %(state)s: %(seen)s" % r for r in others))


def sub(pattern, replacement):
    def edit(text):
        new, count = re.subn(pattern, replacement, text, flags=re.M)
        if count == 0:
            raise RuntimeError("nothing to break: %s in\n%s" % (pattern, text))
        return new
    return edit


def chain(*edits):
    def edit(text):
        for e in edits:
            text = e(text)
        return text
    return edit


def add(line):
    return lambda text: text + line + "\n"


def all_right(t):
    rows = t.verify(status=0)
    bad = [r for r in rows if r["state"] != "ok"]
    if not is_([(r["check"], r["domain"]) for r in bad], [], "right answers: all ok"):
        diag("\n".join("%(check)s %(domain)s %(state)s: %(seen)s -> %(remedy)s" % r for r in bad))
    want = {"address", "ptr", "block-list", "delegation", "serial", "dnssec", "mx", "spf", "dkim", "dmarc", "mta-sts", "tlsa", "srv", "caa"}
    is_(want - {r["check"] for r in rows}, set(), "every check has a row")
    is_({r["domain"] for r in rows if r["check"] == "mx"}, set(ZONES), "every domain")
    is_({r["domain"] for r in t.verify("null.org", "--timeout", "10", status=0) if r["check"] == "mx"}, {"null.org"}, "only the domain that was named")
    text = t.cli("dns", "verify", "null.org").stdout
    like(text, "mx\tnull.org\tok\tnull.org. IN MX 0 .\t", "plain rows in a pipe")
    is_(t.cli("dns", "verify", "--problems").stdout, "", "--problems: there are none")
    r = t.cli("dns", "verify", "example.com", check=False)
    is_((r.returncode, "no domain of the site" in r.stderr), (2, True), "a stranger's domain")


def records(t):
    other = 'mail._domainkey.example.org. 1 IN TXT "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"'
    t.serve({"example.org": chain(
        sub(r"^(example\.org\.\s.*\sMX\s+)10 mail\.example\.org\.", r"\g<1>10 mail.example.net."), sub(r"^(example\.org\..*TXT\s+)\"v=spf1[^\"]*\"",
            r'\g<1>"v=spf1 ip4:203.0.113.0/24 -all"'), sub(r"^mail\._domainkey\.example\.org\..*$", other),
        sub(r'^(_dmarc\.example\.org\..*)p=quarantine', r"\g<1>p=none"), sub(r"^_imaps\._tcp\.example\.org\..*\n", ""),
        add('example.org. 1 IN CAA 0 issue "evil.example"'), sub(r"^www\.example\.org\..*\n", "")),
        "null.org": add("null.org. 1 IN MX 10 mail.example.org.\n"), "elsewhere.org": sub(r"^_dmarc\.elsewhere\.org\..*\n", "")})
    t.expect("records", [
        ("mx", "example.org", "wrong", "mail.example.net", "mailadm dns push; it should be: example.org. IN MX 10 mail.example.org."),
        ("spf", "example.org", "wrong", "does not let 192.0.2.10 send", "add ip4:192.0.2.10"),
        ("dkim", "example.org", "wrong", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "mail._domainkey.example.org."),
        ("dmarc", "example.org", "wrong", "policy is none", "p=quarantine"),
        ("srv", "example.org", "wrong", "missing: _imaps._tcp.example.org.", "mailadm dns push"),
        ("caa", "example.org", "warning", "evil.example", "letsencrypt.org"),
        ("records", "example.org", "wrong", "missing: www.example.org. IN A 192.0.2.80", "mailadm dns push"),
        ("mx", "null.org", "wrong", "MX 10 mail.example.org.", "MX 0 ."),
        ("dmarc", "elsewhere.org", "wrong", "missing: _dmarc.elsewhere.org.", "enter it where the zone is kept: _dmarc.elsewhere.org.")])
    t.serve({"example.org": chain(add('example.org. 1 IN TXT "v=spf1 -all"'), add("example.org. 1 IN MX 20 backup.example.net."),
                                  sub(r"^mail\._domainkey\.example\.org\..*\n", ""), add('_dmarc.example.org. 1 IN TXT "v=DMARC1; p=reject"'),
                                  add('example.org. 1 IN TXT "others=may stand beside"')),
             "elsewhere.org": sub(r'^(elsewhere\.org\..*TXT\s+)"v=spf1[^"]*"', r'\g<1>"v=spf1 include:_spf.many.test -all"')})
    t.expect("more records", [
        ("spf", "example.org", "wrong", "has 2 v=spf1 records", "take all but one away"),
        ("mx", "example.org", "wrong", "backup.example.net", "MX 10 mail"),
        ("dkim", "example.org", "wrong", "missing: mail._domainkey.example.org.", "mailadm dns push"),
        ("dmarc", "example.org", "wrong", "has 2 v=DMARC1 records", "take all but one away"),
        ("spf", "elsewhere.org", "wrong", "it takes 12 lookups", "replace includes")])
    t.serve({"example.org": sub(r'^(example\.org\..*TXT\s+)"v=spf1[^"]*"', r'\g<1>"v=spf1 include:_spf.nowhere.test -all"'),
             "elsewhere.org": sub(r'^(elsewhere\.org\..*TXT\s+)"v=spf1[^"]*"', r'\g<1>"v=spf1 include:_spf.good.test -all"')})
    t.expect("includes", [
        ("spf", "example.org", "wrong", "includes _spf.nowhere.test, which has 0 SPF records", "correct it"),
        ("spf", "elsewhere.org", "warning", "not what the site publishes", "domains[].records")])
    t.serve({"example.org": sub(r'^(example\.org\..*TXT\s+)"v=spf1[^"]*"', r'\g<1>"v=spf1 include:_spf.exchangers.test -all"'),
             "elsewhere.org": sub(r'^(elsewhere\.org\..*TXT\s+)"v=spf1[^"]*"', r'\g<1>"v=spf1 include:_spf.ends.test -all"')})
    t.expect("includes that end", [
        ("spf", "example.org", "wrong", "crowd.test has 11 MX records, ten are allowed", "correct it"),
        ("spf", "elsewhere.org", "warning", "not what the site publishes", "domains[].records")])
    t.serve()


def lists(t):
    """A block list that is dead says nothing, or yes, to everything; RFC 5782 5 tells that from an answer."""
    t.root(top=lambda text: text.replace("2.0.0.127.bl.test. A 127.0.0.2\n", "").replace("2.0.0.127.dbl.test.", "*.dbl.test."))
    t.expect("dead block lists", [
        ("block-list", HOST, "unknown", "bl.test does not answer: its test point 127.0.0.2", "dns.block_lists"),
        ("block-list", HOST6, "unknown", "bl.test does not answer: its test point 127.0.0.2", "dns.block_lists"),
        ("block-list", HOST, "unknown", "dbl.test has every address on it, 127.0.0.1 too", "dns.block_lists"),
        ("block-list", HOST6, "unknown", "dbl.test has every address on it, 127.0.0.1 too", "dns.block_lists")])
    t.root()


def host(t):
    t.serve({"example.org": chain(sub(r"^(mail\.example\.org\..*\sA\s+).*", r"\g<1>192.0.2.99"), sub(r"^mail\.example\.org\..*\sAAAA\s.*\n", ""))})
    t.root(top=lambda text: text.replace(REVERSE6 + ". PTR mail.example.org.", REVERSE6 + ". PTR host10.provider.test.") +
           "10.2.0.192.bl.test. A 127.0.0.2\n10.2.0.192.bl.test. TXT \"spam seen; ask us\"\n10.2.0.192.dbl.test. A 127.255.255.254\n")
    t.expect("the host", [
        ("address", "mail.example.org", "wrong", "it is 192.0.2.99", "make it A 192.0.2.10"),
        ("address", "mail.example.org", "wrong", "it has no AAAA record", "make it AAAA 2001:db8::10"),
        ("ptr", HOST, "wrong", "does not lead back", "see the row address"),
        ("ptr", HOST6, "wrong", "host10.provider.test", "set its reverse name to mail.example.org"),
        ("block-list", HOST, "wrong", "bl.test lists it (127.0.0.2): spam seen; ask us", "ask bl.test"),
        ("block-list", HOST, "unknown", "dbl.test answers with an error (127.255.255.254)", "dns.local_resolver"),
        ("mx", "example.org", "wrong", "mail.example.org does not lead to this host", "row address"),
        ("mx", "elsewhere.org", "wrong", "mail.example.org does not lead to this host", "row address")])
    t.serve({"example.org": chain(sub(r"^mail\.example\.org\..*\n", ""), add("mail.example.org. 1 IN CNAME real.example.org."),
                                  add("real.example.org. 1 IN A %s" % HOST), add("real.example.org. 1 IN AAAA %s" % HOST6))})
    t.root(top=lambda text: text.replace(REVERSE + ". PTR mail.example.org.", ""))
    t.expect("an alias", [
        ("address", "mail.example.org", "wrong", "it is an alias", "make it A"), ("address", "mail.example.org", "wrong", "it is an alias", "make it A"),
        ("ptr", HOST, "wrong", "it has no reverse name", "mail.example.org"),
        ("mx", "example.org", "wrong", "is an alias", "row address"), ("mx", "elsewhere.org", "wrong", "is an alias", "row address")],
        also=("spf", "tlsa", "address"))
    t.root()
    t.serve()


def delegation(t):
    t.root(org=lambda text: re.sub(r"(?m)^null\.org\. .*\n", "", text) + "example.org. NS ns.gone.test.\n")
    t.expect("delegation", [
        ("delegation", "example.org", "warning", "org names ns.gone.test, ns1.example.org, ns2.example.org; the zone ns1", "registrar"),
        ("delegation", "example.org", "wrong", "ns.gone.test does not serve the zone: it has no address", "start the server"),
        ("delegation", "null.org", "wrong", "org does not delegate it", "where the domain is registered")])
    t.root(org=lambda text: text.replace("ns2.example.org. A %s" % SECONDARY, "ns2.example.org. A 192.0.2.77")
           .replace("null.org. DS", "null.org. DS 1 13 2 %s\n;" % ("00" * 32)).replace("elsewhere.org. DS", ";"))
    t.expect("glue and DS", [
        ("delegation", "example.org", "wrong", "org says ns2.example.org is 192.0.2.77, which it is not", "glue"),
        ("delegation", "null.org", "wrong", "org says ns2.example.org is 192.0.2.77", "glue"),
        ("dnssec", "null.org", "wrong", "no DS at org fits a key of the zone", "mailadm dns ds"),
        ("dnssec", "elsewhere.org", "warning", "has no DS", "enter the DS")],
        also=("mx", "spf", "dmarc", "dkim", "srv", "caa", "records"))
    t.root()
    t.w.servers["secondary"].stop()
    t.w.flush()
    t.expect("a secondary that is down", [
        ("delegation", "example.org", "wrong", "ns2.example.org does not serve the zone", "start the server"),
        ("delegation", "null.org", "wrong", "ns2.example.org does not serve the zone", "start the server")])
    t.w.servers["secondary"].start()
    for zone in ZONES[:2]:
        wait_until(lambda z=zone: dig(SECONDARY, z, "SOA"), "the secondary")


def servers(t):
    """A secondary that does not follow, and one that does not serve; a signature that is wrong; a cache that is old."""
    s = t.w.servers["secondary"]
    zones = dict(s.zones)
    s.zones = {"example.org": 'type primary; file "%s";' % t.w.path("old.zone")}
    run("cp", t.w.path("example.org.zone"), t.w.path("old.zone"))
    s.reload()
    t.serve({"example.org": lambda text: text}, hold=True)
    t.expect("a secondary that lags", [
        ("serial", "example.org", "wrong", "the servers differ", "notify"),
        ("delegation", "null.org", "wrong", "ns2.example.org does not serve the zone: it answers REFUSED", "let the server serve the zone")])
    s.zones = zones
    s.reload()
    t.serve()

    def forge(text):
        return re.sub(r"(?m)^(www\.example\.org\..*\sA\s+).*", r"\g<1>192.0.2.80", text)
    path = t.w.path("null.org.zone")
    t.serve({"null.org": forge})
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f: # signatures of the SOA that do not fit
        f.write(re.sub(r"(SOA\s+\S+\s+)postmaster", r"\g<1>forged", text).replace(" %d" % t.serial, " %d" % (t.serial + 1))
                .replace("%d " % t.serial, "%d " % (t.serial + 1)))
    t.serial += 1
    t.w.servers["primary"].rndc("reload", "null.org")
    t.w.wait_serial(HOST, "null.org", t.serial)
    t.w.wait_serial(SECONDARY, "null.org", t.serial)
    t.w.flush()
    t.expect("a forged zone", [("dnssec", "null.org", "wrong", "the resolver does not validate the zone", "look at the signatures")],
             also=("mx", "spf", "dmarc", "delegation", "serial", "caa", "srv", "dkim")) # negative answers carry the SOA
    t.serve()
    with open(t.w.path("stale.zone"), "w") as f:
        f.write('$TTL 1\n@ SOA a. b. 1 1 1 1 1\n@ NS a.\n@ TXT "v=DMARC1; p=none"\n')
    r = t.w.servers["resolver"]
    r.zones["_dmarc.example.org"] = 'type primary; file "%s";' % t.w.path("stale.zone")
    r.reload()
    t.expect("an old answer", [("dmarc", "example.org", "warning", "the resolver still has", "wait until")])
    del r.zones["_dmarc.example.org"]
    r.reload()


def web_and_mail(t, peer):
    """What is fetched: the MTA-STS policy and the certificate."""
    good = Policy.text
    for text, state, seen in ((good.replace(b"mode: enforce", b"mode: testing"), "wrong", "mode is testing, the site's enforce"),
                              (good.replace(b"mail.example.org", b"mx.example.net"), "wrong", "does not name mail.example.org"),
                              (b"", "wrong", "404"), (b"<html>", "wrong", "no policy")):
        Policy.text = text
        rows = [r for r in t.verify("example.org", status=1) if r["check"] == "mta-sts" and r["state"] != "ok"]
        is_([(r["state"], seen in r["seen"]) for r in rows], [(state, True)], "mta-sts: " + seen)
    Policy.text = good
    peer.stop()
    wait_until(lambda: not dns_world.is_open(HOST, 25), "the mail server's end")
    rows = [r for r in t.verify("example.org", status=0) if r["check"] == "tlsa" and r["state"] != "ok"]
    is_([(r["state"], "cannot be reached" in r["seen"]) for r in rows], [("unknown", True)], "tlsa: no mail server")
    t.serve({"example.org": sub(r"^(_25\._tcp\.mail\.example\.org\..*TLSA\s+3 1 1 ).*", r"\g<1>" + "ab" * 32)})
    other = Peer(HOST, 25, pem=t.w.path("both.pem"))
    rows = [r for r in t.verify("example.org", status=1) if r["check"] == "tlsa" and r["state"] == "wrong"]
    ok(any("no TLSA record fits" in r["seen"] for r in rows), "tlsa: the certificate does not fit")
    other.stop()
    t.serve()


def silent(t):
    """Nobody answers: it ends in time, and says so."""
    t.w.servers["resolver"].stop()
    r = t.cli("dns", "verify", "--timeout", "2", check=False)
    is_(r.returncode, 2, "nothing could be asked: exit 2")
    like(r.stderr, "is the resolver reachable", "and why")


def main():
    with World(signed=True) as w:
        t = Test(w)
        t.start()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(w.path("both.pem"))
        web = http.server.ThreadingHTTPServer((HOST, 443), Policy)
        web.socket = context.wrap_socket(web.socket, server_side=True)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        peer = Peer(HOST, 25, pem=w.path("both.pem"))
        all_right(t)
        records(t)
        host(t)
        lists(t)
        delegation(t)
        servers(t)
        all_right(t)
        web_and_mail(t, peer)
        silent(t)
        web.shutdown()
        peer.stop()
    done()


main()
