#!/usr/bin/env python3
"""MTA-STS (RFC 8461): policies from a real HTTPS server with certificates of a CA of our own, hosts that keep them or not,
copies that outlive the server, the record and the process; and DANE, which comes first."""
import os
import re
import shutil
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Peer, clear, free_port  # noqa: E402
from tls_peers import Authority, SignedNamed, Web, policy, tlsa  # noqa: E402

for tool in ("named", "dnssec-signzone", "rndc", "openssl"):
    if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin") is None:
        skip_all(tool + " is missing")

ADDRESSES = ["127.0.4.%d" % i for i in range(1, 16)]
WEB, WEB_BAD = "127.0.4.20", "127.0.4.21"


def message(to):
    return ("From: <alice@example.org>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
            "Message-ID: <%s>\r\n\r\nhello\r\n" % (to, to, to)).encode()


class World:
    def __init__(self, dir):
        self.dir = dir
        self.port, self.web_port = free_port(ADDRESSES), free_port([WEB, WEB_BAD])
        self.ca, self.other = Authority(dir), Authority(dir, "Other CA")
        self.web = Web(WEB, self.web_port, self.ca.issue("*.example", *("mta-sts.%s.example" % d for d in CASES)))
        self.web_bad = Web(WEB_BAD, self.web_port, self.other.issue("mta-sts.badweb.example"))
        self.addresses = iter(ADDRESSES)
        self.peers, self.records, self.ids = {}, [], {}

    def host(self, name, pem, *tlsa_records):
        """An exchanger; its zone lines."""
        address = next(self.addresses)
        self.peers[name] = Peer(address, self.port, pem=pem)
        self.records.append("%s A %s" % (name, address))
        self.records.extend("_%d._tcp.%s %s" % (self.port, name, r) for r in tlsa_records)

    def domain(self, name, mx, answer):
        self.records.append("%s MX 10 %s" % (name, mx))
        self.records.append("mta-sts.%s A %s" % (name, WEB_BAD if name == "badweb" else WEB))
        self.ids[name] = "1"
        if answer is not None:
            self.web.answers["mta-sts.%s.example" % name] = answer

    def zone(self):
        ids = ['_mta-sts.%s TXT "v=STSv1; id=%s;"' % (n, i) for n, i in self.ids.items() if i is not None]
        return "\n".join(self.records + ids) + "\n"


TEXT = {"Content-Type": "text/plain; charset=utf-8"}
HTML = {"Content-Type": "text/html"}
BACKWARDS = "mode: enforce\nversion: STSv1\nmax_age: 3600\nmx: better.example\n"
CASES = {  # domain: its exchanger, what the policy's server says (None: 404); what becomes of mail, policy, result
    "ok": ("good", policy("enforce", "good.example"), "sent", "sts", "ok"),
    "wild": ("a.mxes", (200, TEXT, policy("enforce", "other.example", "*.mxes.example")), "sent", "sts", "ok"),
    "mismatch": ("good", policy("enforce", "better.example"), "deferred", "sts", "validation-failure"),
    "testing": ("selfmx", policy("testing", "selfmx.example"), "sent", "sts", "certificate-not-trusted"),
    "testmx": ("good", policy("testing", "better.example"), "sent", "sts", "validation-failure"),
    "plain": ("plainmx", policy("enforce", "plainmx.example"), "deferred", "sts", "starttls-not-supported"),
    "self": ("selfmx", policy("enforce", "selfmx.example"), "deferred", "sts", "certificate-not-trusted"),
    "expired": ("oldmx", policy("enforce", "oldmx.example"), "deferred", "sts", "certificate-expired"),
    "wrongname": ("badname", policy("enforce", "badname.example"), "deferred", "sts", "certificate-host-mismatch"),
    "none": ("plainmx", policy("none"), "sent", None, None),
    "missing": ("selfmx", None, "sent", "sts", "sts-policy-fetch-error"),
    "html": ("selfmx", (200, HTML, policy("enforce", "better.example")), "sent", "sts", "sts-policy-invalid"),
    "garbage": ("selfmx", BACKWARDS, "sent", "sts", "sts-policy-invalid"),
    "big": ("selfmx", policy("enforce", "better.example") + "x: %s\r\n" % ("y" * 70000), "sent", "sts", "sts-policy-fetch-error"),
    "badweb": ("selfmx", None, "sent", "sts", "sts-webpki-invalid"),  # a server that the CA does not vouch for
    "redirect": ("selfmx", None, "sent", "sts", "sts-policy-fetch-error"),
    "kept": ("good", policy("enforce", "good.example"), "sent", "sts", "ok"),
    "changed": ("good", policy("enforce", "good.example"), "sent", "sts", "ok"),
    "dane": ("danemx", policy("enforce", "better.example"), "sent", "tlsa", "ok"),
    "late": ("good", policy("enforce", "good.example"), "sent", "sts", "ok"),  # not before fetch was killed
}


def build(w):
    good = w.ca.issue("good.example")
    w.host("good", good)
    w.host("plainmx", None)
    w.host("selfmx", w.other.issue("selfmx.example"))
    w.host("oldmx", w.ca.issue("oldmx.example", days=-1))
    w.host("badname", w.ca.issue("somebody.example"))
    w.host("a.mxes", w.ca.issue("*.mxes.example"))
    ee = w.other.issue("danemx.example")
    w.host("danemx", ee, tlsa(ee, 3, 1, 1))

    for name, (mx, answer, *_) in CASES.items():
        w.domain(name, mx, answer)
    w.web_bad.answers["mta-sts.badweb.example"] = policy("enforce", "better.example")
    moved = {"Location": "https://mta-sts.mismatch.example:%d/.well-known/mta-sts.txt" % w.web_port}
    w.web.answers["mta-sts.redirect.example"] = (301, moved, "")


def submit(host, *recipients):
    with host.smtp("submissions") as s:
        s.login("alice@example.org", host.accounts["alice@example.org"])
        for to in recipients:
            s.sendmail("alice@example.org", [to], message(to))


def outcome(host, to):
    m = wait_until(lambda: re.search(r"event=(sent|deferred|bounced) id=\S+ to=%s .*" % re.escape(to), host.log()),
                   "the end of " + to, 60)
    return m[1], m[0]


def sessions(host, domain):
    return [m.groups() for m in re.finditer(r"event=tls domain=%s\.example .*policy=(\S+) result=(\S+)" % domain, host.log())]


def judge(host, w):
    now = {name: case for name, case in CASES.items() if name != "late"}
    submit(host, *("x@%s.example" % d for d in now))
    for domain, (_, _, want, kind, result) in now.items():
        got, line = outcome(host, "x@%s.example" % domain)
        if not is_(got, want, "%s is %s" % (domain, want)):
            diag(line)
        seen = sessions(host, domain)
        ok(seen == [] if kind is None else (kind, result) in seen, "%s: %s %s" % (domain, kind, result)) or diag(seen)
    for name, mine in (("oldmx", 0), ("badname", 0)):
        is_(len([c for s in w.peers[name].sessions for c in s.commands if c.upper().startswith("MAIL")]), mine,
            name + " has not seen a sender's address")
    paths = {p for _, p in w.web.asked}
    is_(paths, {"/.well-known/mta-sts.txt"}, "policies are asked for where they are, and nothing is followed")
    ok("mta-sts.dane.example" not in [n for n, _ in w.web.asked], "a host with TLSA records is asked for no policy")
    is_(len([n for n, _ in w.web_bad.asked]), 0, "no request goes to a server whose certificate is not trusted")


def copies(host, w, named):
    fetch = host.children()["fetch"][0]
    os.kill(fetch, signal.SIGKILL)
    wait_until(lambda: host.children().get("fetch", [fetch]) != [fetch], "fetch to be back")
    submit(host, "x@late.example")
    is_(outcome(host, "x@late.example")[0], "sent", "after a kill -9 of fetch")
    is_(sessions(host, "late"), [("sts", "ok")], "a policy is fetched again")
    asked = len(w.web.asked)
    submit(host, "again@ok.example")
    is_(outcome(host, "again@ok.example")[0], "sent", "a second message")
    is_(len(w.web.asked), asked, "the copy is used: nothing is fetched")
    # The web server gone, the record gone, the process killed, the exchanger changed: the copy holds.
    w.web.answers.clear()
    w.ids["kept"] = None
    w.records = [r.replace("kept MX 10 good", "kept MX 10 selfmx") for r in w.records]
    w.ids["changed"] = "2"
    w.web.answers["mta-sts.changed.example"] = policy("enforce", "better.example")
    named.change(w.zone())
    resolver, send = (host.children()[r][0] for r in ("resolver", "send"))
    for pid in (resolver, send):  # forgets what it had heard, and what it had in memory
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(host.children().get(r, [p]) != [p] for r, p in (("resolver", resolver), ("send", send))),
               "both to be back")
    submit(host, "later@kept.example", "later@changed.example")
    is_(outcome(host, "later@kept.example")[0], "deferred", "without a record the copy still holds, over a kill -9")
    got, line = outcome(host, "later@changed.example")
    is_(got, "deferred", "another id brings another policy")
    like(line, "does not name good.example", "which no longer names the host")


def main():
    dir = tempfile.mkdtemp(prefix="sts-test-", dir="/tmp")
    os.chmod(dir, 0o755)
    w = World(dir)
    build(w)
    named = SignedNamed(dir, w.zone())
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; trust_anchors = [ "%s" ];' % (named.port, named.anchor),
              "tls": 'trust = "%s";' % w.ca.cert,
              "relay": 'port_out = %d; https_port = %d;' % (w.port, w.web_port)}
    try:
        with Host(accounts=["alice@example.org"], groups=groups) as host:
            judge(host, w)
            copies(host, w, named)
    finally:
        clear(dir, named, w.web, w.web_bad, *w.peers.values())
    done()


main()
