#!/usr/bin/python3
"""DKIM rollover through all its stages, against a real primary and a real secondary, with a fast clock and a running host
whose signatures verify before, during and after each; a secondary that lags or is down gates the step; kill -9 anywhere."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dns_world  # noqa: E402
from dns_world import RESOLVER, ROOT, World, dig  # noqa: E402
from host import MAILADM, PASSWORD, Host, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Peer, free_port  # noqa: E402

try:
    import dkim
except ImportError:
    skip_all("python3-dkim is not installed")

PRIMARY, SECONDARY = "192.0.2.53", "192.0.2.54"
dns_world.enter([PRIMARY, SECONDARY])

DAY = 86400
TTL, EXPIRE = 60, 5 * DAY
START = 1800000000
ORG = """
example.org. NS ns1.example.org.
example.org. NS ns2.example.org.
ns1.example.org. A %s
ns2.example.org. A %s
elsewhere.org. NS ns.root.
""" % (PRIMARY, SECONDARY)
ELSEWHERE = "elsewhere.org"


class Run:
    """The host, the world, and what both have seen."""

    def __init__(self, host, world, peer):
        self.host, self.world, self.peer = host, world, peer
        self.ed25519 = {}  # by domain: the selector that signs besides RSA's

    def rollover(self, now, *args, status=0):
        """One call: {domain: the last row of its RSA key}; self.second: the same of its Ed25519 key."""
        r = self.host.cli("dns", "rollover", "--json", "--now", str(now), *args, check=False)
        if not is_(r.returncode, status, "dns rollover %s exits %d" % (" ".join(args), status)):
            diag(r.stdout + r.stderr)
        try:
            rows = json.loads(r.stdout)
        except ValueError:
            rows = []
        self.rows = rows
        self.second = {row["domain"]: row for row in rows if row["key"] == "ed25519"}
        return {row["domain"]: row for row in rows if row["key"] == "rsa"}

    def signed_by(self, selector, domain="example.org"):
        """Mail leaves signed by the selector, and by that of self.ed25519, and every name server's keys verify all of it."""
        before = len(self.peer.messages)
        with self.host.smtp("submissions") as s:
            account = "alice@" + domain
            s.login(account, self.host.accounts[account])
            s.sendmail(account, ["x@one.example"], b"From: <" + account.encode() + b">\r\nSubject: " + selector.encode() + b"\r\n\r\nhi\r\n")
        wait_until(lambda: len(self.peer.messages) > before, "delivery")
        data = self.peer.messages[-1].data
        want = [("rsa-sha256", selector)] + [("ed25519-sha256", s) for s in [self.ed25519.get(domain)] if s]
        is_(signatures(data), want, "%s signs with %s" % (domain, ", ".join(s for _, s in want)))
        for server in ([PRIMARY, SECONDARY] if domain == "example.org" else [ROOT]):
            ok(verifies(data, server), "and it verifies by %s" % server)
        return data


def signatures(data):
    """(a=, s=) of each signature, from the top."""
    return [(a.decode(), s.decode()) for a, s in re.findall(rb"DKIM-Signature: v=1; a=([^;]+);.*?\bs=([^;\s]+)", data, re.S)]


def verifies(data, server):
    """Does every signature verify with the keys of this server?"""
    checker = dkim.DKIM(data)
    return all(checker.verify(idx=i, dnsfunc=lambda name, timeout=5: txt(server, name.decode())) for i in range(len(signatures(data))))


def txt(server, name):
    lines = [line for line in dig(server, name, "TXT").splitlines() if line.startswith('"')]
    return "".join(re.findall(r'"([^"]*)"', lines[0])).encode() if lines else b""


def still_verifies(data, name):
    for server in (PRIMARY, SECONDARY):
        ok(verifies(data, server), "%s, by %s" % (name, server))


def killed_everywhere(r, now, want, *args):
    """kill -9 at every rename: each time the next call goes on; at the end the stage is reached, once."""
    kills = 0
    for n in range(1, 60):
        argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,unlink", "-e",
                "inject=rename,unlink:signal=KILL:when=%d" % n, MAILADM, "-c", r.host.conf, "dns", "rollover", "--json", "--now", str(now), *args]
        p = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        if p.returncode in (0, 1):
            break
        kills += 1
    ok(kills > 0, "killed %d times on the way to %s" % (kills, want or "the Ed25519 key"))
    rows = r.rollover(now)
    if want:
        is_([x.get("example.org", {}).get("stage", "idle") for x in (rows, r.second)], [want] * 2, "and both came to be %s" % want)
    return rows


def selectors(host):
    return sorted(f for f in os.listdir(os.path.join(host.dir, "dkim")) if f.startswith("example.org."))


def second_key(r):
    """The first Ed25519 key: published from the beginning, signed with when every server has had it for the TTL."""
    host, secondary = r.host, r.world.servers["secondary"]
    like(txt(SECONDARY, "mail-ed25519._domainkey.example.org").decode(), "k=ed25519; p=", "the Ed25519 key is published")
    r.signed_by("mail")
    secondary.stop()
    is_(r.rollover(START - DAY), {}, "the RSA key is not due")
    row = r.second["example.org"]
    is_((row["stage"], row["result"], row["current"], row["next"]), ("published", "waits", "", "mail-ed25519"), "the first Ed25519 key waits")
    like(row["message"], "ns2.example.org cannot be asked", "for the secondary that is down")
    secondary.start()
    r.rollover(START - DAY + 10)
    row = r.second["example.org"]
    is_((row["stage"], row["result"]), ("visible", "waits"), "every server has it")
    like(row["message"], "another 60s", "it waits for the TTL")
    r.signed_by("mail")
    killed_everywhere(r, START - DAY + 10 + TTL, None)
    status = json.loads(host.cli("dns", "rollover", "--status", "--json").stdout)
    is_([(s["key"], s["stage"], s["current"]) for s in status if s["domain"] == "example.org"],
        [("rsa", "idle", "mail"), ("ed25519", "idle", "mail-ed25519")], "now it is in use")
    r.ed25519["example.org"] = "mail-ed25519"


def unapplied(r):
    """What was edited and not applied is not published with a key."""
    with open(r.host.conf) as f:
        text = f.read()
    with open(r.host.conf, "w") as f:
        f.write(text.replace('"ns1 A', '"edited A 192.0.2.7", "ns1 A'))
    row = r.rollover(START, "--start", "example.org", status=1)["example.org"]
    is_((row["stage"], row["result"]), ("published", "failed"), "an edit that was not applied holds the key back")
    like(row["message"], "the site has changes of example.org that were not applied", "and is said")
    is_(txt(PRIMARY, row["next"] + "._domainkey.example.org") + dig(PRIMARY, "edited.example.org", "A").encode(), b"", "nothing was published")
    with open(r.host.conf, "w") as f:
        f.write(text)


def stages(r):
    world, host = r.world, r.host
    second_key(r)
    first = r.signed_by("mail")
    rows = r.rollover(START)
    is_(rows, {}, "nothing is due: nothing is said")
    is_(r.second.get("example.org"), None, "nor of the Ed25519 key")
    unapplied(r)
    # a secondary that is down gates
    world.servers["secondary"].stop()
    rows = r.rollover(START, "--start", "example.org")
    row = rows["example.org"]
    is_((row["stage"], row["result"]), ("published", "waits"), "made and published; it waits")
    like(row["message"], "ns2.example.org cannot be asked", "for the secondary that is down")
    new, ed25519 = row["next"], r.second["example.org"]["next"]
    like(new, "mail-2027", "the selector has the day")
    like(ed25519, "mail-ed25519-2027", "and so has the other's")
    ok(txt(PRIMARY, new + "._domainkey.example.org").startswith(b"v=DKIM1"), "the primary has the next key")
    # a secondary that lags gates: it is back, but gets no notify and may not transfer
    world.servers["secondary"].zones["example.org"] = 'type secondary; primaries port 54 { %s; }; file "example.org.zone"; masterfile-format text;' % PRIMARY
    world.servers["secondary"].start()
    row = r.rollover(START + 10)["example.org"]
    is_((row["stage"], row["result"]), ("published", "waits"), "it still waits")
    like(row["message"], "ns2.example.org (%s) does not answer with" % SECONDARY, "for the secondary that lags")
    world.servers["secondary"].stop()
    world.servers["secondary"].zones["example.org"] = 'type secondary; primaries { %s; }; file "example.org.zone"; masterfile-format text;' % PRIMARY
    world.servers["secondary"].start()
    world.servers["secondary"].rndc("refresh", "example.org")  # it would ask by itself when SOA refresh is over
    wait_until(lambda: txt(SECONDARY, new + "._domainkey.example.org"), "the secondary to follow")
    row = r.rollover(START + 20)["example.org"]
    is_((row["stage"], row["result"]), ("visible", "waits"), "now every server has it")
    like(row["message"], "another 60s", "it waits for the TTL")
    r.signed_by("mail")
    # the switch, killed everywhere
    is_(r.rollover(START + 20 + TTL - 1)["example.org"]["stage"], "visible", "a second before the TTL is over")
    killed_everywhere(r, START + 20 + TTL, "active")
    r.ed25519["example.org"] = ed25519
    second = r.signed_by(new)
    still_verifies(first, "what the old key signed still verifies")
    row = r.rollover(START + 20 + TTL + EXPIRE)["example.org"]
    is_((row["stage"], row["result"]), ("active", "waits"), "the old key stays while mail may be on its way")
    host.restart()
    r.signed_by(new)
    end = START + 20 + TTL + EXPIRE + TTL
    killed_everywhere(r, end, "revoked")
    for old in ("mail", "mail-ed25519"):
        wait_until(lambda: dig(SECONDARY, old + "._domainkey.example.org", "TXT").replace(" ", "") == '"v=DKIM1;p="', "the secondary says revoked")
        ok(not os.path.exists(os.path.join(host.dir, "state/keys/example.org.%s.key" % old)), "the old private key is gone")
    for i in range(2):
        ok(not dkim.DKIM(first).verify(idx=i, dnsfunc=lambda n, timeout=5: txt(PRIMARY, n.decode())), "the old signature does not count any more")
    still_verifies(second, "the new ones do")
    r.signed_by(new)
    end += 14 * DAY
    killed_everywhere(r, end, "idle")
    wait_until(lambda: dig(SECONDARY, "mail._domainkey.example.org", "TXT") == "", "the old record to go")
    r.signed_by(new)
    left = ["example.org.%s.pub" % s for s in (new, ed25519)]
    is_(selectors(host), left, "one key of each is left")
    host.cli("dns", "keygen")
    is_(selectors(host), left, "keygen does not bring the old ones back")
    p = host.cli("check", check=False)
    ok("no DKIM key" not in p.stdout + p.stderr, "nor does site check miss one")
    return new, end


def by_itself(r, new, end):
    """dns.rollover begins one by itself when the key is old."""
    host = r.host
    with open(host.conf) as f:
        text = f.read()
    with open(host.conf, "w") as f:
        f.write(text.replace("dns = {", 'dns = { rollover = "90d";'))
    is_([row for d, row in r.rollover(end + 90 * DAY - 1).items() if d == "example.org"], [], "not before its time")
    row = r.rollover(end + 90 * DAY)["example.org"]
    is_(row["current"], new, "a key of 90 days is replaced by itself")
    ok(row["next"] not in (new, "mail", ""), "by " + row["next"])
    with open(host.conf, "w") as f:
        f.write(text)
    status = json.loads(host.cli("dns", "rollover", "--status", "--json").stdout)
    is_([s["current"] for s in status if s["domain"] == "example.org" and s["key"] == "rsa"], [new], "--status says so")


def elsewhere(r):
    """A domain that is kept elsewhere: the record is said, and waited for."""
    row = r.rollover(START, "--start", ELSEWHERE)[ELSEWHERE]
    is_((row["stage"], row["result"]), ("published", "waits"), "kept elsewhere: it waits")
    m = re.search(r"publish where the zone is kept: (\S+ \d+ IN TXT .*)", row["message"])
    if not ok(m is not None, "and says what to publish"):
        diag(row)
        return
    path = r.world.path("elsewhere.zone")
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace(" 1 3600", " 2 3600") + m.group(1) + "\n")
    r.world.servers["root"].rndc("reload")
    r.world.wait_serial(ROOT, ELSEWHERE, 2)
    is_(r.rollover(START + 5)[ELSEWHERE]["stage"], "visible", "once it is there it goes on")
    is_(r.rollover(START + 5 + TTL)[ELSEWHERE]["stage"], "active", "and signs with it")
    is_(r.second[ELSEWHERE]["stage"], "published", "the Ed25519 key, which is not there, is still waited for")
    like(r.second[ELSEWHERE]["message"], 'publish where the zone is kept: mail-ed25519._domainkey.elsewhere.org. %d IN TXT "v=DKIM1; k=ed25519; p=' % TTL,
         "its record is said too")
    r.signed_by(row["next"], ELSEWHERE)


def hostile(r):
    """A state that was tampered with is refused with the reason; nothing is done."""
    for name, text, why in (("rollover", '{"version": 1, "items": [{"kind": "dkim", "subject": "../../etc", "current": "a", "next": "", '
                                         '"stage": "idle", "done": true, "since": 1}]}', "item 1 has no right kind and subject"),
                            ("rollover", "{", "is no JSON"), ("rollover", '{"version": 9, "items": []}', "newer mailadm"),
                            ("rollover", "[" * 100000, "is no JSON"),
                            ("keys/active", "example.org mail ../../x -\n", "active:1: is not")):
        path = os.path.join(r.host.dir, "state", name)
        with open(path) as f:
            good = f.read()
        with open(path, "w") as f:
            f.write(text)
        p = r.host.cli("dns", "rollover", "--now", str(START), check=False)
        is_(p.returncode, 2, "%s: %s" % (name, why))
        like(p.stderr, why, "the reason")
        with open(path, "w") as f:
            f.write(good)
    for args, why in ((["--start", "example.com"], "no domain of the site"), (["--start", "a", "--all"], "usage"), (["x"], "usage")):
        p = r.host.cli("dns", "rollover", *args, check=False)
        is_(p.returncode, 2, "rollover " + " ".join(args))
        like(p.stderr, why, "the reason")


def begin(host, w, primary):
    """Site, keys and zones; then the name servers that serve them."""
    host.init()
    with open(host.conf) as f:
        text = f.read()
    records = 'records = ( "ns1 A %s", "ns2 A %s" );' % (PRIMARY, SECONDARY)
    with open(host.conf, "w") as f:
        f.write(text.replace('{ name = "example.org"; }', '{ name = "example.org"; %s }, { name = "%s"; dns = false; }' % (records, ELSEWHERE)))
    with open(host.conf) as f:
        text = f.read()
    account = "alice@" + ELSEWHERE
    host.accounts[account] = PASSWORD
    with open(host.conf, "w") as f:
        f.write(text.replace("accounts = (", 'accounts = ( { address = "%s"; },' % account))
    host.cli("account", "passwd", account, input=PASSWORD + "\n")
    host.cli("dns", "keygen")
    host.cli("dns", "push")
    primary.globals = 'include "%s/named.conf.mailadm";' % w.path("zones")
    w.servers["primary"] = primary.start()
    w.server("secondary", SECONDARY, {"example.org": 'type secondary; primaries { %s; }; file "example.org.zone"; masterfile-format text;' % PRIMARY})
    wait_until(lambda: dig(SECONDARY, "example.org", "SOA"), "the secondary's first transfer")


def main():
    with World() as w:
        port = free_port(["127.0.0.2"])
        w.root["."] = "one.example. MX 10 mx.one.example.\nmx.one.example. A 127.0.0.2\n"
        w.root["org"] = ORG
        w.start()
        with open(w.path("elsewhere.zone"), "w") as f:
            f.write("$TTL 60\n@ SOA ns.root. admin.root. 1 3600 600 86400 1\n@ NS ns.root.\n")
        w.servers["root"].zones[ELSEWHERE] = 'type primary; file "%s";' % w.path("elsewhere.zone")
        w.servers["root"].reload()
        os.makedirs(w.path("zones"))
        primary = dns_world.Server(w.dir, "primary", PRIMARY, {})
        host = Host(accounts=["alice@example.org"], domains=["example.org"], groups={
            "dns": 'forward = [ "%s" ]; dnssec = false; server = "bind"; ttl = "%ds"; zone_dir = "%s"; rndc = "%s";\n'
                   'nameservers = [ "ns1.example.org", "ns2.example.org" ]; secondaries = [ "%s" ];'
                   % (RESOLVER, TTL, w.path("zones"), primary.rndc_conf(), SECONDARY),
            "relay": 'port_out = %d; expire = "%dd";' % (port, EXPIRE // DAY)})
        peer = Peer("127.0.0.2", port)
        try:
            begin(host, w, primary)
            with host:
                r = Run(host, w, peer)
                new, end = stages(r)
                by_itself(r, new, end)
                elsewhere(r)
                hostile(r)
        finally:
            host.cleanup()
            peer.stop()
    done()


main()
