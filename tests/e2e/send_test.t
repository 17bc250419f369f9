#!/usr/bin/env python3
"""mailadm send --test: each step of sending, with a real named (signed zone), a real Postfix, MTA-STS over HTTPS, and hosts that
fail at every step; nothing is sent."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import MAILADM, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from postfix import Postfix, why_not  # noqa: E402
from send_peers import Peer, clear, free_port  # noqa: E402
from tls_peers import Authority, SignedNamed, Web, policy, tlsa  # noqa: E402

if why_not():
    skip_all(why_not())
for tool in ("named", "dnssec-signzone", "rndc", "openssl"):
    if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin") is None:
        skip_all(tool + " is missing")

ADDRESSES = ["127.0.6.%d" % i for i in range(1, 12)]
WEB = "127.0.6.20"
SITE = """
host = { name = "mail.example.org"; ipv4 = "127.0.0.1"; };
domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
aliases = ( { address = "out@example.org"; to = ( "x@good.example" ); } );
listen = { loopback = true; };
state_dir = "%(dir)s/state";
port_offset = 20000;
tls = { trust = "%(ca)s"; };
dns = { forward = [ "127.0.0.1@%(dns)d" ]; trust_anchors = [ "%(anchor)s" ]; };
relay = { port_out = %(port)d; https_port = %(web)d; family = "ipv4"; };
routes = ( { name = "gate"; to = ( "routed.example" ); hosts = ( "nobody.example:%(port)d", "good.example:%(port)d" ); tls = "encrypt"; },
  { name = "login"; to = ( "login.example" ); hosts = ( "auth.example:%(port)d" ); tls = "required"; user = "me"; },
  { name = "implicit"; to = ( "implicit.example" ); hosts = ( "plain465.example:465" ); } );
"""


class Case:
    """One run: its steps by name."""

    def __init__(self, conf, to, *options, code=None):
        r = subprocess.run([MAILADM, "-c", conf, "--json", "send", "--test", to, *options], capture_output=True, text=True, timeout=100)
        self.code, self.stderr = r.returncode, r.stderr
        try:
            self.out = json.loads(r.stdout)
        except ValueError:
            diag(r.stdout + r.stderr)
            self.out = {"steps": [], "taken": None}
        self.steps = self.out["steps"]
        if code is not None and not is_(self.code, code, "%s: exit %d" % (to, code)):
            self.show()

    def show(self):
        for s in self.steps:
            diag("%(host)s %(step)s %(result)s %(ms)d %(text)s | %(meaning)s" % s)
        diag(self.stderr)

    def names(self):
        return [s["step"] for s in self.steps]

    def find(self, step, n=0):
        found = [s for s in self.steps if s["step"] == step]
        return found[n] if n < len(found) else {"text": "(no %s)" % step, "result": "", "meaning": "", "host": "", "ms": -1}

    def has(self, step, text, name, n=0, result=None):
        s = self.find(step, n)
        if not ok(text in s["text"] and result in (None, s["result"]), name):
            self.show()
        return s


def good(conf, peers, mta):
    c = Case(conf, "x@good.example", code=0)
    is_(c.names(), ["route", "MX", "addresses", "A", "TLS policy", "connect", "greeting", "EHLO", "STARTTLS", "TLS", "certificate", "EHLO", "MAIL", "RCPT", "RSET"],
        "every step")
    c.has("route", "by MX of good.example, smtp, TLS as the domain says", "the route")
    c.has("MX", "10 good.example (DNSSEC: proved)", "DNS")
    c.has("connect", "from 127.", "the source address")
    c.has("EHLO", "PIPELINING", "the extensions")
    c.has("A", "127.0.6.1 (DNSSEC: proved)", "the address")
    c.has("TLS policy", "tlsa: TLS with a certificate that fits the TLSA records 3 1 1", "DANE")
    c.has("TLS", "TLSv1.3 ", "TLS")
    c.has("TLS", "certificate for good.example by Test CA until 20", "the certificate")
    c.has("certificate", "it fits the policy", "and that it fits")
    ok(all(isinstance(s["ms"], int) and s["ms"] >= 0 for s in c.steps), "each with its time")
    wait_until(lambda: peers["good"].sessions[0].commands[-1] == "QUIT", "QUIT")
    is_([(s.commands[0], s.commands[-2:]) for s in peers["good"].sessions], [("EHLO mail.example.org", ["RSET", "QUIT"])], "nothing is sent, and it leaves well")
    is_(peers["good"].messages, [], "no message")
    c = Case(conf, "out@example.org", code=0)
    c.has("address", "leads to x@good.example", "an alias is followed")
    c = Case(conf, "alice@example.org", code=0)
    is_(c.names(), ["address"], "an account stays here")
    c = Case(conf, "nobody@example.org", code=1)
    c.has("address", "nobody there has this address", "one that is unknown is refused", result="failed")
    # A real Postfix
    c = Case(conf, "x@real.example", code=0)
    c.has("greeting", "ESMTP Postfix", "a real Postfix")
    c.has("EHLO", "SMTPUTF8", "what it offers")
    c.has("RCPT", "250 2.1.5 Ok", "and it would take it")
    is_(mta.messages(), [], "and got nothing")
    c = Case(conf, "x@unknown.real.example", code=1)
    c.has("RCPT", "554 5.7.1", "but not for others", result="failed")
    like(c.find("RCPT")["meaning"], "relaying is not allowed", "which is told in plain words")


def policies(conf, peers):
    c = Case(conf, "x@mismatch.example", code=1)
    c.has("certificate", "validation-failure", "a certificate that does not fit TLSA", result="failed")
    is_(c.names()[-1], "certificate", "ends it")
    like(c.find("certificate")["meaning"], "nothing would be sent to this host", "in plain words")
    is_([x for s in peers["wrong"].sessions for x in s.commands if x.startswith("MAIL")], [], "before MAIL")
    c = Case(conf, "x@second.example", code=0)
    is_([s["host"].split("[")[0] for s in c.steps if s["step"] == "connect"], ["wrong.example", "good.example"], "every host in order, the second would take it")
    c = Case(conf, "x@bogus.example", code=1)
    c.has("TLS policy", "this host may not be used", "bogus TLSA records", result="failed")
    c = Case(conf, "x@fits.example", code=0)
    c.has("TLS policy", "tlsa", "DANE before MTA-STS")
    c = Case(conf, "x@astray.example", code=1)
    c.has("TLS policy", "sts: this host may not be used", "MTA-STS: a host that the policy does not name", result="failed")
    c = Case(conf, "x@selfsigned.example", code=0)
    c.has("TLS policy", "none: TLS where it is offered", "no policy")
    c.has("certificate", "any will do", "a certificate of anybody will do")
    c = Case(conf, "x@broken.example", code=0)
    c.has("connection", "TLS", "TLS that breaks", result="note")
    is_(c.names().count("RCPT"), 1, "then it is tried without")
    if "plain465" in peers:
        c = Case(conf, "x@implicit.example", code=1)
        c.has("TLS policy", "none: TLS or nothing, any certificate", "port 465: TLS from the first byte")
        c.has("TLS", "wrong version number", "a host without it there", result="failed")
        is_([s.commands for s in peers["plain465"].sessions if s.commands[:1] == ["EHLO mail.example.org"]], [], "is never tried without")


def failures(conf):
    c = Case(conf, "x@nowhere.example", code=1)
    c.has("MX", "there is no such domain", "no such domain", result="failed")
    c.has("addresses", "5.1.2", "and no addresses")
    c = Case(conf, "x@null.example", code=1)
    c.has("addresses", "null MX", "null MX")
    c = Case(conf, "x@away.example", code=1)
    s = c.has("connect", "Connection refused", "nothing listens", result="failed")
    like(s["meaning"], "nothing listens there", "in plain words")
    c = Case(conf, "x@unwanted.example", code=1)
    s = c.has("greeting", "554 go away", "turned away", result="failed")
    like(s["meaning"], "block lists", "in plain words")
    c = Case(conf, "grey@selfsigned.example", code=1)
    s = c.has("RCPT", "450 4.2.0 later", "greylisted", result="failed")
    like(s["meaning"], "would try again", "in plain words")
    c = Case(conf, "x@routed.example", code=0)
    c.has("route", "gate: by nobody.example:", "a route of the site, with hosts")
    c.has("TLS policy", "tlsa", "DANE there")
    c = Case(conf, "x@login.example", "--from", "", code=0)
    c.has("route", ", login as me", "a login")
    c.has("AUTH", "235", "which works")
    c.has("MAIL", "250", "the sender <>")
    ok("c2VjcmV0" not in json.dumps(c.out) and "secret" not in json.dumps(c.out), "no password is told")
    r = subprocess.run([MAILADM, "-c", conf, "send", "--test", "x@selfsigned.example"], capture_output=True, text=True)
    lines = r.stdout.splitlines()
    is_((r.returncode, lines[-1]), (0, "x@selfsigned.example would be taken"), "as text")
    ok(re.match(r"\troute\tok\t\d+\tby MX of selfsigned.example", lines[0]), "columns: " + lines[0])
    for wrong in ([], ["--test"], ["--test", "nobody"], ["--test", "a@b.example", "more"], ["--test", "a@b.example", "--from", "x y"]):
        is_(subprocess.run([MAILADM, "-c", conf, "send", *wrong], capture_output=True).returncode, 2, "cannot: %s" % wrong)


def main():
    dir = tempfile.mkdtemp(prefix="send-test-", dir="/tmp")
    port, web_port = free_port(ADDRESSES), free_port([WEB])
    ca, other = Authority(dir), Authority(dir, "Other CA")
    peers, zone, addresses = {}, [], iter(ADDRESSES)

    def host(name, pem, *records, **kw):
        address = next(addresses)
        peers[name] = Peer(address, port, pem=pem, **kw)
        zone.append("%s A %s\n%s MX 10 %s" % (name, address, name, name))
        zone.extend("_%d._tcp.%s %s" % (port, name, r) for r in records)

    pem = ca.issue("good.example")
    host("good", pem, tlsa(pem, 3, 1, 1))
    host("wrong", pem, "TLSA 3 1 1 " + "ab" * 32)
    host("spoilt", pem, tlsa(pem, 3, 1, 1))
    host("selfsigned", other.issue("other.example"))
    peers["selfsigned"].refuse = {"grey@selfsigned.example": "450 4.2.0 later"}
    host("broken", pem, break_tls=True)
    host("unwanted", None, greeting="554 go away")
    if os.geteuid() == 0:
        peers["plain465"] = Peer(next(addresses), 465)
        zone.append("plain465 A " + ADDRESSES[len(peers) - 1])
    host("auth", ca.issue("auth.example"), auth=("PLAIN", "me", "secret"))
    postfix_address = next(addresses)
    zone.append("mx.real A %s\nreal MX 10 mx.real\nunknown.real MX 10 mx.real" % postfix_address)
    zone.append("mismatch MX 10 wrong\nsecond MX 10 wrong\nsecond MX 20 good\nbogus MX 10 spoilt\nnull MX 0 .\naway MX 10 awayhost\nawayhost A 127.0.6.30")
    for name, mx in (("fits", "good"), ("astray", "selfsigned")):
        zone.append('%s MX 10 %s\nmta-sts.%s A %s\n_mta-sts.%s TXT "v=STSv1; id=1;"' % (name, mx, name, WEB, name))
    named = SignedNamed(dir, "\n".join(zone) + "\n", "", "", spoil=["_%d._tcp.spoilt.example" % port])
    server = Web(WEB, web_port, ca.issue("mta-sts.fits.example", "mta-sts.astray.example"))
    server.answers = {"mta-sts.fits.example": policy("enforce", "good.example"), "mta-sts.astray.example": policy("enforce", "better.example")}
    conf = os.path.join(dir, "site.conf")
    os.makedirs(os.path.join(dir, "state"))
    with open(os.path.join(dir, "state", "secrets"), "w") as f:
        f.write('route.login.password = "secret"\n')
    os.chmod(os.path.join(dir, "state", "secrets"), 0o600)
    with open(conf, "w") as f:
        f.write(SITE % {"dir": dir, "ca": ca.cert, "dns": named.port, "anchor": named.anchor, "port": port, "web": web_port})
    try:
        with Postfix(dir, ["real.example"], port=port, address=postfix_address, settings="mynetworks = 192.0.2.1/32\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n") as mta:
            good(conf, peers, mta)
            policies(conf, peers)
            failures(conf)
    finally:
        clear(dir, named, server, *peers.values())
    done()


main()
