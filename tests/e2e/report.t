#!/usr/bin/python3
"""mailadm report: DMARC and TLS reports that came by mail, or as files; broken, huge and hostile ones."""
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from email import policy
from email.message import EmailMessage

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import MAILADM, Host, done, is_, like, ok  # noqa: E402

ROW = """<record><row><source_ip>%s</source_ip><count>%d</count><policy_evaluated><disposition>none</disposition><dkim>%s</dkim><spf>%s</spf>
<reason><type>forwarded</type></reason><reason><type>local_policy</type></reason></policy_evaluated></row>
<identifiers><header_from>example.org</header_from></identifiers>
<auth_results><dkim><domain>example.org</domain><selector>mail</selector><result>pass</result></dkim><spf><domain>example.org</domain><result>pass</result></spf></auth_results></record>"""


def feedback(id, rows, org="receiver.example", head=""):
    return ("""<?xml version="1.0" encoding="UTF-8"?>%s<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0"><version>1.0</version>
<report_metadata><org_name>%s</org_name><email>a@b.example</email><report_id>%s</report_id><date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>
<policy_published><domain>example.org</domain><p>reject</p></policy_published>%s</feedback>""" % (head, org, id, "".join(ROW % r for r in rows))).encode()


TLS = {"organization-name": "Receiver", "date-range": {"start-datetime": "2026-11-01T00:00:00Z", "end-datetime": "2026-11-01T23:59:59Z"},
       "contact-info": "a@b.example", "report-id": "tls-1",
       "policies": [{"policy": {"policy-type": "sts", "policy-domain": "example.org"},
                     "summary": {"total-successful-session-count": 50, "total-failure-session-count": 7},
                     "failure-details": [{"result-type": "certificate-expired", "receiving-mx-hostname": "mail.example.org", "failed-session-count": 5}]}]}


def mail(kind, subtype, content, name, author="receiver.example"):
    m = EmailMessage()
    m["From"], m["To"], m["Subject"] = "reports@" + author, "postmaster@example.org", "Report Domain: example.org"
    m.set_content("The report is attached.\n")
    m.add_attachment(content, maintype=kind, subtype=subtype, filename=name)
    return m.as_bytes(policy=policy.SMTP)


def zipped(content, stream=False):
    out = io.BytesIO()

    class Pipe(io.RawIOBase):  # not seekable: sizes stand behind the content
        def writable(self):
            return True

        def write(self, b):
            return out.write(b)
    with zipfile.ZipFile(Pipe() if stream else out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("report.xml", content)
    return out.getvalue()


def cells(r):
    return [line.split("\t") for line in r.stdout.splitlines()]


def arrive(host, *mails):
    """Into the INBOX as the smtp role leaves them: pairs of results and a mail; authres.t has the whole way."""
    c = host.imap("alice@example.org")
    for results, m in mails:
        field = ("Authentication-Results: mail.example.org;%s\r\n" % results).encode() if results else b""
        is_(c.append("INBOX", None, None, field + b"Received: from x by mail.example.org\r\n" + m)[0], "OK", "a mail arrives")
    c.logout()


GOOD = "\r\n\tspf=pass smtp.mailfrom=receiver.example;\r\n\tdmarc=pass header.from=receiver.example;\r\n\tdkim=pass header.d=receiver.example"


def mailed(host):
    good = [GOOD, GOOD.replace("receiver", "other"), GOOD.replace("receiver", "other"), GOOD, GOOD]
    arrive(host, *zip(good,
                 (mail("application", "gzip", gzip.compress(feedback("one", [("192.0.2.1", 3, "pass", "fail"), ("198.51.100.7", 2, "fail", "fail")])), "r.xml.gz"),
                  mail("application", "zip", zipped(feedback("two", [("192.0.2.1", 4, "pass", "fail")], org="other.example")), "r.zip", "other.example"),
                  mail("application", "zip", zipped(feedback("two", [("192.0.2.1", 4, "pass", "fail")], org="other.example")), "again.zip", "other.example"),
                  mail("application", "tlsrpt+gzip", gzip.compress(json.dumps(TLS).encode()), "r.json.gz"),
                  mail("image", "png", b"\x89PNG", "x.png"))))
    r = host.cli("report", "dmarc")
    ok("left out" not in r.stderr, "nothing is left out")
    is_(r.returncode, 0, "reports that came by mail")
    is_(cells(r), [["example.org", "198.51.100.7", "example.org", "fail", "fail", "none", "2", "receiver.example"],
                   ["example.org", "192.0.2.1", "example.org", "pass", "fail", "none", "7", "receiver.example, other.example"]],
        "are added up, what failed first, and one that came twice counts once")
    r = host.cli("report", "tls")
    is_(cells(r), [["example.org", "sts", "certificate-expired", "mail.example.org", "5", "Receiver (receiver.example)"], ["example.org", "sts", "not-said", "", "2", "Receiver (receiver.example)"],
                   ["example.org", "sts", "success", "", "50", "Receiver (receiver.example)"]], "TLS reports")
    report = json.loads(host.cli("--json", "report", "dmarc").stdout)["reports"][0]
    is_({k: report[k] for k in ("org", "id", "begin", "end", "domain", "policy")},
        {"org": "receiver.example", "id": "one", "begin": 1700000000, "end": 1700086399, "domain": "example.org", "policy": "reject"}, "the report as JSON")
    is_(report["signer"], "receiver.example", "and whose mail it was")
    is_(report["rows"][0], {"source": "192.0.2.1", "count": 3, "disposition": "none", "dkim": "pass", "spf": "fail", "from": "example.org", "domain": "example.org",
                            "dkim_domains": "example.org", "spf_domain": "example.org", "reasons": "forwarded, local_policy"}, "and its rows")
    is_(host.cli("report", "dmarc", "--domain", "else.example", "--account", "alice@example.org").stdout, "", "rows of another domain: none")
    is_(host.cli("report", "dmarc", "--mailbox", "Archive", check=False).returncode, 1, "a mailbox that is not there has none")


def forged(host):
    """What looks like a report, but nobody stands by it."""
    def count(kind, *options):
        return sum(int(c[-2]) for c in cells(host.cli("report", kind, *options)))
    before, tls_before = count("dmarc"), count("tls")
    row = [("203.0.113.9", 1000, "fail", "fail")]
    received = b"Received: from y by x\r\nAuthentication-Results: mail.example.org; dmarc=pass header.from=receiver.example\r\n"

    def xml(id, org="receiver.example"):
        return mail("text", "xml", feedback(id, row, org), "r.xml")
    arrive(host, ("", xml("f0")), (GOOD.replace("dmarc=pass", "dmarc=fail"), xml("f1")), (GOOD.replace("dmarc=pass", "dmarc=fail (dmarc=pass)"), xml("f2")), ("", received + xml("f3")),
           (" none", xml("f4")), ("dkim=pass header.d=receiver.example", xml("f5")), (GOOD, xml("f6").replace(b"From: ", b"From: <a@b.example> ")))
    is_(count("dmarc"), before, "a report whose mail did not pass DMARC here does not count")
    like(host.cli("report", "dmarc").stderr, "mailadm: 7 reports without a passing DMARC result left out; --unverified counts them\n", "which is told")
    is_(json.loads(host.cli("--json", "report", "dmarc").stdout)["left_out"], 7, "in JSON too")
    is_(count("dmarc", "--unverified"), before + 7000, "--unverified counts them")
    arrive(host, (GOOD, xml("f8", "google.example")))
    like(host.cli("report", "dmarc").stdout, "google.example (receiver.example)", "whose mail it was stands beside who it says it is of")

    def tls(id, author="receiver.example"):
        return mail("application", "tlsrpt+json", json.dumps(dict(TLS, **{"report-id": id})).encode(), "r.json", author)
    arrive(host, (GOOD.replace("dkim=pass", "dkim=fail"), tls("t1")), (GOOD.replace("d=receiver", "d=other"), tls("t2")), ("", tls("t3")))
    is_(count("tls"), tls_before, "a TLS report without a signature of its author's domain does not count")
    like(host.cli("report", "tls").stderr, "3 reports without a passing DKIM signature left out", "which is told")
    arrive(host, (GOOD.replace("dmarc=pass", "dmarc=none"), tls("t4", "mail.receiver.example")))
    is_(count("tls"), 2 * tls_before, "one of the domain above it does")


def files(host, dir):
    def report(name, content, kind="dmarc"):
        path = os.path.join(dir, name)
        with open(path, "wb") as f:
            f.write(content)
        return host.cli("report", kind, path, check=False)
    one = feedback("f", [("2001:DB8::1", 1, "pass", "pass")])
    for name, content in (("plain", one), ("gzip", gzip.compress(one)), ("zip", zipped(one)), ("zip stream", zipped(one, True)), ("bom", b"\xef\xbb\xbf" + one),
                          ("mail", mail("text", "xml", one, "r.xml"))):
        r = report(name.replace(" ", "-"), content)
        is_((r.returncode, [c[1] for c in cells(r)]), (0, ["2001:db8::1"]), "a file: " + name)
    bomb = gzip.compress(b"<feedback>" + b" " * (64 << 20))
    ok(len(bomb) < 200000, "a bomb is small: %d" % len(bomb))
    entity = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    deep = b"<feedback>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</feedback>"
    for name, content, want in (("bomb", bomb, "larger than 32 MiB"), ("cut", gzip.compress(one)[:100], "broken or cut"),
                                ("entity", feedback("e", [], head=entity.decode()), "declares a document type"), ("deep", deep, "nested too deeply"),
                                ("half", one[:300], "line "), ("none", b"hello\n", "there is no report in it"), ("empty", b"", "there is no report in it"),
                                ("nodomain", b"<feedback></feedback>", "without a domain"), ("zipcut", zipped(one)[:60], "zip"),
                                ("many", feedback("m", [("192.0.2.1", 1, "pass", "pass")] * 50001), "more rows than are read")):
        r = report(name, content)
        is_(r.returncode, 1, name + ": no report")
        like(r.stderr, want, name + " is told")
    r = report("tls", json.dumps(TLS).encode(), "tls")
    is_(len(cells(r)), 3, "a TLS report as a file")
    for name, content in (("deepjson", b"[" * 100000), ("dup", b'{"policies":[],"policies":[]}'), ("nopolicies", b"{}")):
        is_(report(name, content, "tls").returncode, 1, name + ": no TLS report")
    odd = EmailMessage()
    odd["From"], odd["To"] = "a@b.example", "postmaster@example.org"
    odd.set_content("Many.\n")
    for i in range(40):
        odd.add_attachment(b"no report", maintype="application", subtype="xml", filename="x")
    odd.add_attachment(one, maintype="application", subtype="xml", filename="r.xml")
    is_(report("parts", odd.as_bytes(policy=policy.SMTP)).returncode, 1, "a report behind 40 parts that are none is not looked for")
    r = report("json", b'{"policies" "\xc2\x9b31m\x07": 1}', "tls")
    ok(r.returncode == 1 and r.stderr.isascii() and "\x07" not in r.stderr, "a parser's words about a broken report are printable: %r" % r.stderr)
    escape = feedback("x", [("192.0.2.1", 1, "pass", "pass")], org="evil\u009b2J")
    r = report("c1", escape)
    ok(r.returncode == 0 and "\u009b" not in r.stdout, "nor does U+009B reach the terminal: %r" % r.stdout)
    escape = feedback("x", [("192.0.2.1", 1, "pass", "pass")], org="evil&#x1b;[2J".replace("&#x1b;", "\x7f"))
    ok("\x7f" not in report("escape", escape).stdout, "no control bytes reach the terminal")


def killed(host, dir):
    """The reader dies of the first report: the second is read."""
    fifo, good = os.path.join(dir, "fifo"), os.path.join(dir, "good")
    os.mkfifo(fifo)
    with open(good, "wb") as f:
        f.write(feedback("k", [("192.0.2.9", 1, "pass", "pass")]))
    p = subprocess.Popen([MAILADM, "-c", host.conf, "report", "dmarc", fifo, good], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with open(fifo, "wb") as f:  # opens once mailadm, whose reader is there, reads it
        with open("/proc/%d/task/%d/children" % (p.pid, p.pid)) as c:
            children = c.read().split()
        is_(len(children), 1, "the reader")
        os.kill(int(children[0]), signal.SIGKILL)
        f.write(b"<feedback>")
    out, err = p.communicate(timeout=60)
    ok(p.returncode == 0 and "192.0.2.9" in out, "another reads what is left: %d %s %s" % (p.returncode, out, err))
    like(err, "fifo: the process that reads reports ended", "and what it died of is told")


def main():
    dir = tempfile.mkdtemp(prefix="report-test-", dir="/tmp")
    try:
        with Host(accounts=["alice@example.org"]) as host:
            is_(host.cli("report", "dmarc", check=False).returncode, 1, "no reports: 1")
            is_(host.cli("report", check=False).returncode, 2, "neither dmarc nor tls: 2")
            mailed(host)
            forged(host)
            files(host, dir)
            killed(host, dir)
    finally:
        shutil.rmtree(dir)
    done()


main()
