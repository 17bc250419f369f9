#!/usr/bin/env python3
"""DANE (RFC 7672): a real named with a signed zone, hosts whose certificates fit their TLSA records or not, and ways to
be led to a host that is not the one: nothing is sent to it."""
import json
import os
import re
import shutil
import signal
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import Host, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from send_peers import Peer, clear, free_port  # noqa: E402
from tls_peers import Authority, SignedNamed, tlsa  # noqa: E402

for tool in ("named", "dnssec-signzone", "rndc", "openssl"):
    if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin") is None:
        skip_all(tool + " is missing")

ADDRESSES = ["127.0.3.%d" % i for i in range(1, 20)]


def message(to):
    return ("From: <alice@example.org>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
            "Message-ID: <%s>\r\n\r\nhello\r\n" % (to, to, to)).encode()


class Case:
    """What the log says of a recipient."""

    def __init__(self, host, to):
        self.host, self.to = host, to

    def outcome(self):
        m = wait_until(lambda: re.search(r"event=(sent|deferred|bounced) id=\S+ to=%s .*" % re.escape(self.to), self.host.log()),
                       "the end of " + self.to, 60)
        return m[1], m[0]


def submit(host, recipients):
    with host.smtp("submissions") as s:
        s.login("alice@example.org", host.accounts["alice@example.org"])
        for to in recipients:
            s.sendmail("alice@example.org", [to], message(to))


def build(dir, port):
    """The world: peers by name, the lines of the zone, and what is expected of each domain."""
    ca, other = Authority(dir), Authority(dir, "Other CA")
    peers, zone, open_, bad, expected = {}, [], [], [], {}
    addresses = iter(ADDRESSES)

    def host(name, pem, *records, to=None, parent="example"):
        address = next(addresses)
        peers[name] = Peer(address, port, pem=pem)
        lines = zone if to is None else to
        lines.append("%s A %s" % (name, address))
        lines.extend("_%d._tcp.%s %s" % (port, name, r) for r in records)
        return name + "." + parent

    def domain(name, outcome, policy, result, *mx, to=None):
        lines = zone if to is None else to
        lines.extend("%s MX %d %s." % (name, 10 + i, m) for i, m in enumerate(mx))
        expected["x@%s.example" % name] = (outcome, policy, result)

    ee = ca.issue("whoever.example")
    good = host("good", ee, tlsa(ee, 3, 1, 1))
    domain("ee", "sent", "tlsa", "ok", good)
    pem = ca.issue("x.example", days=-1)
    domain("expired", "sent", "tlsa", "ok", host("late", pem, tlsa(pem, 3, 0, 2)))
    pem = ca.issue("x.example")
    domain("full", "sent", "tlsa", "ok", host("whole", pem, tlsa(pem, 3, 1, 0), "TLSA 3 1 1 " + "00" * 32))
    pem = ca.issue("x.example")
    wrong = host("wrong", pem, "TLSA 3 1 1 " + "ab" * 32)
    domain("mismatch", "deferred", "tlsa", "validation-failure", wrong)
    domain("second", "sent", "tlsa", "ok", wrong, good)
    domain("nostarttls", "deferred", "tlsa", "starttls-not-supported", host("plain", None, tlsa(ee, 3, 1, 1)))
    pem = ca.issue("anchored.example")
    domain("ta", "sent", "tlsa", "ok", host("anchored", pem, tlsa(ca.cert, 2, 0, 1)))
    pem = ca.issue("nexthop.example")
    domain("nexthop", "sent", "tlsa", "ok", host("hosted", pem, tlsa(ca.cert, 2, 1, 2)))
    pem = ca.issue("elsewhere.example")
    domain("taname", "deferred", "tlsa", "certificate-host-mismatch", host("misnamed", pem, tlsa(ca.cert, 2, 0, 1)))
    pem = other.issue("foreign.example")
    domain("tachain", "deferred", "tlsa", None, host("foreign", pem, tlsa(ca.cert, 2, 0, 1)))
    domain("unusable", "sent", "tlsa", "tlsa-invalid",
           host("pkix", ee, tlsa(ee, 1, 1, 1), tlsa(ee, 3, 1, 1).replace("3 1 1", "3 1 9"), "TLSA 3 1 1 abcd"))
    domain("unusableplain", "deferred", "tlsa", "starttls-not-supported", host("pkixplain", None, tlsa(ee, 1, 1, 1)))
    zone.append("alias CNAME good")
    domain("cname", "sent", "tlsa", "ok", "alias.example")
    zone.append("_%d._tcp.astray %s" % (port, tlsa(ee, 3, 1, 1)))
    domain("bogus", "deferred", "tlsa", "dnssec-invalid", host("spoilt", ee, tlsa(ee, 3, 1, 1)))
    # What is not proved does not count, be it right or wrong.
    openmx = host("mx", ee, "TLSA 3 1 1 " + "ab" * 32, to=open_, parent="open.example")
    domain("toopen", "sent", None, None, openmx)
    open_.append("@ MX 10 %s." % wrong)
    expected["x@open.example"] = ("sent", None, None)
    bad.append("@ MX 10 %s." % good)
    expected["x@bad.example"] = ("deferred", None, None)
    zone.append("inner CNAME mx.open")  # an alias that is proved, to an address that is not: the alias' own records
    zone.append("_%d._tcp.inner %s" % (port, tlsa(ee, 3, 1, 1)))
    domain("halfway", "sent", "tlsa", "ok", "inner.example")
    zone.append("off MX 10 plain.example.")  # asked for when dane is off
    # Without MX the domain itself is the host.
    host("implicit", ee, tlsa(ee, 3, 1, 1))
    expected["x@implicit.example"] = ("sent", "tlsa", "ok")
    return peers, zone, open_, bad, expected


def judge(host, peers, expected):
    submit(host, expected)
    for to, (outcome, policy, result) in expected.items():
        case = Case(host, to)
        got, line = case.outcome()
        name = to.split("@")[1]
        if not is_(got, outcome, "%s is %s" % (name, outcome)):
            diag(line)
        counted = re.findall(r"event=tls domain=%s .*" % re.escape(name), host.log())
        if policy is None:
            is_(counted, [], "%s: there is no policy" % name)
        else:
            seen = [re.search(r"policy=(\S+) result=(\S+)", c).groups() for c in counted]
            ok((policy, result) in seen if result else any(r != "ok" for _, r in seen),
               "%s: %s %s" % (name, policy, result or "fails")) or diag(counted)
        if outcome == "sent" and policy:
            like(line, "tls=TLSv1", name + ": inside TLS")
    said = [c for s in peers["wrong"].sessions for c in s.commands if c.upper().startswith("RCPT")]
    is_(said, ["RCPT TO:<x@open.example>"], "where nothing is proved any certificate will do")
    for name in ("plain", "misnamed", "foreign", "pkixplain", "spoilt"):
        said = [c for s in peers[name].sessions for c in s.commands if c.upper().startswith("MAIL")]
        is_(said, [], "%s has not seen a sender's address" % name)
    is_(len(peers["spoilt"].sessions), 0, "a host whose TLSA records are bogus is not even connected to")
    second = Case(host, "x@second.example").outcome()[1]
    like(second, "relay=good.example[", "the second exchanger took what the first one's certificate did not earn")


def counted(host):
    """today's sums in status."""
    roles = json.loads(host.cli("--json", "status", check=False).stdout)["roles"]
    return [r for r in roles if r["role"] == "send"][0].get("tls")


def written(host):
    """(ok, failed) of each kind of policy, as STATE/tls-counts has them (send/tls_count_file.c)."""
    with open(os.path.join(host.dir, "state", "tls-counts"), "rb") as f:
        data = f.read()
    slots = [data[:len(data) // 2], data[len(data) // 2:]]
    newest = max(slots, key=lambda s: struct.unpack_from("<Q", s, 8)[0])
    tallies = [struct.unpack_from("<11I", newest, 24 + 8 + 44 * kind) for kind in range(4)]
    return [(t[0], sum(t[1:])) for t in tallies]


def kept(host):
    """The counts outlive the process and the host."""
    sums = counted(host)
    want = [(sums[k]["ok"], sums[k]["failed"]) for k in ("no-policy-found", "tlsa", "sts", "route")]
    wait_until(lambda: written(host) == want, "the counts on the disk")
    pid = host.children()["send"][0]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in host.children().get("send", [pid]) and counted(host), "a new send")
    is_(counted(host), sums, "a send that was killed leaves its counts")
    host.restart()
    is_(counted(host), sums, "and so does the host")
    host.stop()
    with open(os.path.join(host.dir, "state", "tls-counts"), "r+b") as f:
        f.write(b"another's" * 100000)
    host.start()
    is_(counted(host)["tlsa"], {"ok": 0, "failed": 0}, "a file that is none of ours: from zero")
    like(host.log(), "event=tls-counts reason=", "with a warning")


def main():
    dir = tempfile.mkdtemp(prefix="dane-test-", dir="/tmp")
    port = free_port(ADDRESSES)
    peers, zone, open_, bad, expected = build(dir, port)
    named = SignedNamed(dir, "\n".join(zone) + "\n", "\n".join(open_) + "\n", "\n".join(bad) + "\n",
                        spoil=["_%d._tcp.spoilt.example" % port])
    groups = {"dns": 'forward = [ "127.0.0.1@%d" ]; trust_anchors = [ "%s" ];' % (named.port, named.anchor),
              "relay": "port_out = %d;" % port}
    try:
        with Host(accounts=["alice@example.org"], groups=groups) as host:
            judge(host, peers, expected)
            sums = counted(host)
            ok(sums and sums["tlsa"]["ok"] >= 7 and sums["tlsa"]["failed"] >= 5, "status counts sessions by policy") or diag(sums)
            ok(sums and "mismatch.example" in [f["domain"] for f in sums["failing"]], "and names who fails") or diag(sums)
            kept(host)
            # Switched off, the records do not count.
            host.groups["relay"] += " dane = false;"
            with open(host.conf, "w") as f:
                f.write(host.site_text())
            host.cli("reload")
            submit(host, ["x@off.example"])
            is_(Case(host, "x@off.example").outcome()[0], "sent", "with relay.dane off a plain host will do")
    finally:
        clear(dir, named, *peers.values())
    done()


main()
