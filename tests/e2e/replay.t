#!/usr/bin/python3
"""mailadm replay: what a site would do to a kept message, by the smtp role's own session: envelope, routes, checks with real DNS,
Junk and refusals as the running daemon decides them, and the difference to a proposed site."""
import base64
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from dns_world import World, enter  # noqa: E402
from host import MAILADM, Host, diag, done, is_, like, ok, skip_all  # noqa: E402
from smtp_talk import Talk, messages  # noqa: E402

try:
    import authres  # noqa: F401
    import dkim
except ImportError:
    skip_all("python3-dkim or python3-authres is not installed")

PEER, LISTED = "192.0.2.50", "192.0.2.80"
enter((PEER, LISTED))

KEY = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
PUBLIC = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=KEY, capture_output=True, check=True).stdout
P = base64.b64encode(PUBLIC).decode()
ZONE = """
50.2.0.192.in-addr.arpa. PTR mx.good.example.
mx.good.example. A 192.0.2.50
good.example. TXT "v=spf1 ip4:192.0.2.50 -all"
strict.example. TXT "v=spf1 -all"
80.2.0.192.bl.example. A 127.0.0.2
80.2.0.192.bl.example. TXT "spam"
s._domainkey.good.example. TXT "v=DKIM1; k=rsa; p=%s" "%s"
_dmarc.good.example. TXT "v=DMARC1; p=reject"
_dmarc.quarantine.example. TXT "v=DMARC1; p=quarantine"
""" % (P[:200], P[200:])
ENTRIES = """
aliases = ( { address = "out@example.org"; to = ( "x@remote.example" ); } );
lists = ( { address = "all@example.org"; members = ( "alice@example.org", "y@other.example" ); } );
"""
MORE = """
routes = ( { name = "via"; to = ( "remote.example" ); hosts = ( "gate.example:2525" ); tls = "encrypt"; } );
"""
DNS = 'dns = { forward = ( "127.0.0.1" ); dnssec = false; };\n'


def deliver(host, content, to="alice@example.org", sender="s@good.example"):
    with Talk(host, source=PEER) as t:
        return t.transaction(content + b".\r\n", sender=sender, to=to)


def mail(author, subject="x"):
    return b"From: <%s>\r\nTo: <alice@example.org>\r\nSubject: %s\r\n\r\nHello.\r\n" % (author.encode(), subject.encode())


def signed(message, domain):
    return dkim.sign(message, b"s", domain.encode(), KEY, include_headers=[b"from", b"to", b"subject"]) + message


def replay(host, content, *options, json_=True, check=False):
    path = os.path.join(host.dir, "message.eml")
    with open(path, "wb") as f:
        f.write(content)
    return host.cli(*(["--json"] if json_ else []), "replay", *options, path, check=check)


def now(host, content, *options):
    r = replay(host, content, *options)
    try:
        return r.returncode, json.loads(r.stdout)["now"]
    except ValueError:
        diag(r.stderr + r.stdout)
        return r.returncode, {}


def proposal(host, change):
    """The path of a site that is the host's with something else in it."""
    path = os.path.join(host.dir, "proposed.conf")
    with open(path, "w") as f:
        f.write(change(host.site_text()))
    return path


def authentication(text):
    m = re.search(r"Authentication-Results: (.*)", re.sub(r"\r\n[ \t]+", " ", text))
    return " ".join(m[1].split()) if m else ""


def as_the_daemon(host):
    """What was delivered, replayed as it lies in the mailbox, is judged as it was."""
    for content, mailbox in ((signed(mail("s@good.example"), "good.example"), "INBOX"), (mail("a@quarantine.example"), "Junk")):
        is_(deliver(host, content)[0], 250, "delivered")
        kept = messages(host, "alice@example.org", mailbox)[-1]
        code, r = now(host, kept)
        is_((code, r["outcome"], r["accounts"]), (0, "accepted" if mailbox == "INBOX" else "junk", {"alice@example.org": mailbox}), "stored in " + mailbox)
        is_(r["envelope"], {"peer": PEER, "helo": r["envelope"]["helo"], "from": "s@good.example", "to": ["alice@example.org"]}, "the envelope, of its header")
        is_(" ".join(r["authentication_results"].split()), authentication(kept.decode()), "Authentication-Results as the daemon wrote them")
        is_(r["size"], len(content), "without what delivery put in front")
    like(r["marks"], "result=junk", "the mark says so")
    is_((r["checks"]["dmarc"], r["checks"]["dmarc-policy"], r["checks"]["result"]), ("fail", "quarantine", "junk"), "and the checks why")
    refused = mail("a@good.example").replace(b"Subject", b"X-Unsigned: 1\r\nSubject")
    code, text = deliver(host, refused, sender="s@strict.example")
    is_(code, 550, "DMARC refuses")
    code, r = now(host, refused, "--peer", PEER, "--helo", "mx.good.example", "--from", "s@strict.example", "--to", "alice@example.org")
    is_((code, r["outcome"], r["reply"]), (1, "refused", "550 " + text), "and so does replay, in the same words")
    is_((r["checks"]["spf"], r["checks"]["result"]), ("fail", "refused"), "with the checks")
    ok("accounts" not in r, "nothing would be stored")


def routes(host):
    options = ["--peer", PEER, "--helo", "mx.good.example", "--from", "s@good.example"]
    code, r = now(host, signed(mail("s@good.example"), "good.example"), *options, "--to", "alice+x@example.org", "--to", "out@example.org", "--to", "all@example.org",
                  "--to", "nobody@example.org", "--to", "else@where.example")
    is_((code, r["outcome"]), (1, "refused for some"), "some are refused")
    to = r["recipients"]
    is_([(to[a]["status"], to[a]["by"]) for a in to], [("ours", "account, with a tag"), ("ours", "alias"), ("ours", "list"), ("unknown here", ""), ("not ours", "")],
        "what each recipient is")
    is_([to[a]["reply"][:9] for a in to], ["250 2.1.5"] * 3 + ["550 5.1.1", "550 5.7.1"], "and the replies")
    is_(sorted(to["all@example.org"]["leads_to"]), ["alice@example.org", "y@other.example"], "where the list leads")
    is_(r["accounts"], {"alice@example.org": "INBOX"}, "the account once")
    leaves = r["leaves"]
    is_((leaves["x@remote.example"]["hosts"], leaves["x@remote.example"]["route"]), (["MX of remote.example"], ""), "a forward leaves by MX")
    ok(re.match(r"SRS0=.*=good.example=s@mail.example.org$", leaves["x@remote.example"]["sender"]), "with an SRS sender: " + leaves["x@remote.example"]["sender"])
    is_(leaves["y@other.example"]["sender"], "alice@example.org", "a list's mail with the owner's")
    is_((r.get("arc_sealed"), r.get("signed_by")), (True, "example.org with the key mail"), "sealed by ARC")
    path = proposal(host, lambda text: text + 'submission = { trusted = ( { from = ( "%s" ); account = "alice@example.org"; } ); };\n' % PEER)
    r = json.loads(replay(host, mail("alice@example.org"), "--site", path, "--peer", PEER, "--from", "alice@example.org", "--to", "z@where.example").stdout)["proposed"]
    is_((r["checked"], r["outcome"], list(r["leaves"])), ("no: submission.trusted", "accepted", ["z@where.example"]), "a printer may send out")
    ok("arc_sealed" not in r and r["signed_by"].startswith("example.org with the key mail"), "signed by DKIM")
    code, r = now(host, mail("s@good.example"), *options, "--to", leaves["x@remote.example"]["sender"])
    like(r["recipients"][leaves["x@remote.example"]["sender"]]["reply"], "550 5.7.1 Only bounces", "the SRS address is known, for bounces")
    is_(now(host, mail("d@none.example"), "--peer", PEER, "--from", "", "--to", leaves["x@remote.example"]["sender"])[1]["leaves"]["s@good.example"]["hosts"],
        ["MX of good.example"], "which go back")


def limits(host):
    options = ["--peer", PEER, "--from", "s@good.example", "--to", "alice@example.org"]
    code, r = now(host, mail("s@good.example") + b"x" * 70000 + b"\r\n", *options)
    is_((code, r["refused"][:9]), (1, "552 5.3.4"), "too large")
    code, r = now(host, b"Received: x\r\n" * 60 + mail("s@good.example"), *options)
    is_((code, r["outcome"], r["reply"][:3]), (1, "refused", "554"), "too many hops: " + r["reply"])
    code, r = now(host, mail("s@good.example").replace(b"\r\n", b"\n"), *options)
    is_(r["size"], len(mail("s@good.example")), "a file without CR")
    code, r = now(host, mail("s@good.example").replace(b"Hello.", b"a\nb"), *options)
    is_((code, r["reply"][:9]), (1, "550 5.6.0"), "a bare LF")
    code, r = now(host, mail("s@good.example"), "--peer", "127.0.0.1", "--from", "s@good.example", "--to", "alice@example.org")
    is_((r["checked"], r["checks"]), ("no: the peer is this machine", {}), "who is not checked")
    code, r = now(host, mail("s@good.example"), "--no-dns", *options)
    is_((code, r["checked"], r["outcome"]), (0, "no: without DNS", "accepted"), "without DNS")
    for missing, word in ((["--peer", PEER, "--from", ""], "--to"), (["--peer", PEER, "--to", "alice@example.org"], "--from"), (options[2:], "--peer")):
        r = replay(host, mail("s@good.example"), *missing)
        is_((r.returncode, word in r.stderr), (2, True), "without an envelope it asks for %s: %s" % (word, r.stderr.strip()))
    for wrong in (["--peer", "nobody", "x"], ["--from", "a b", "x"], ["--helo", "a\r\nb", "x"], ["/nowhere/x.eml"], []):
        is_(host.cli("replay", *wrong, check=False).returncode, 2, "cannot: %s" % wrong)
    hostile = b"Return-Path: <" + b"a" * 5000 + b">\r\nReceived: from \x1b[2J ([1.2.3.4\r\n\tby " + b"[" * 5000 + b"\r\n" + bytes(range(256)) * 12
    r = replay(host, hostile, *options, json_=False)
    ok(r.returncode in (0, 1) and "\x1b" not in r.stdout, "a hostile message is only a message (%d)" % r.returncode)


def differences(host):
    options = ["--peer", LISTED, "--helo", "mx.good.example", "--from", "s@good.example", "--to", "out@example.org", "--to", "alice@example.org"]
    content = signed(mail("s@good.example"), "good.example")
    same = proposal(host, lambda text: text)
    r = replay(host, content, "--site", same, *options, json_=False)
    is_((r.returncode, r.stdout.splitlines()[-1]), (0, "no difference"), "the same site: " + r.stderr)
    path = proposal(host, lambda text: text + MORE)
    r = replay(host, content, "--site", path, *options, json_=False)
    is_(r.returncode, 1, "another route")
    lines = r.stdout.split("difference\n")[1].splitlines()
    is_(lines, ['- leaves x@remote.example route: ', '+ leaves x@remote.example route: via', '- leaves x@remote.example hosts: ["MX of remote.example"]',
                '+ leaves x@remote.example hosts: ["gate.example:2525"]', "- leaves x@remote.example tls: as the domain says", "+ leaves x@remote.example tls: encrypt"],
        "as lines")
    path = proposal(host, lambda text: text.replace("checks = {", 'checks = { block_lists = ( { name = "bl.example"; } ); '))
    r = json.loads(replay(host, content, "--site", path, *options).stdout)
    is_((r["now"]["outcome"], r["proposed"]["outcome"]), ("accepted", "refused"), "a block list")
    what = {d["what"]: (d["now"], d["proposed"]) for d in r["difference"]}
    is_(what["recipients alice@example.org reply"], ("250 2.1.5 Ok", "550 5.7.1 192.0.2.80 is listed by bl.example: spam"), "the reply that differs")
    path = proposal(host, lambda text: text.replace('greylist = "off"', 'greylist = "refuse"'))
    r = json.loads(replay(host, content, "--site", path, *options).stdout)
    ok("greylisted" in r["proposed"] and r["proposed"]["outcome"] == "accepted", "greylisting: later")
    path = proposal(host, lambda text: text.replace('{ name = "example.org"; }', '{ name = "example.org"; elsewhere = "old.example:2525"; }'))
    r = json.loads(replay(host, content, "--site", path, "--peer", PEER, "--from", "s@good.example", "--to", "nobody@example.org").stdout)
    is_((r["now"]["outcome"], r["proposed"]["outcome"]), ("refused", "accepted"), "a staged move")
    is_((r["proposed"]["recipients"]["nobody@example.org"]["by"], r["proposed"]["leaves"]["nobody@example.org"]["hosts"]), ("known elsewhere", ["old.example:2525"]),
        "leads to the old host")
    is_((r["proposed"]["recipients"]["nobody@example.org"]["verified_by"], r["proposed"]["recipients"]["nobody@example.org"]["reply"]), ("old.example:2525", "250 2.1.5 Ok"),
        "which would be asked, and is not")
    r = replay(host, content, "--site", path, "--peer", PEER, "--from", "s@good.example", "--to", "nobody@example.org", json_=False)
    ok("taken only if old.example:2525 takes it, which is not asked here" in r.stdout, "in words: %r" % r.stdout)
    with open(os.path.join(host.dir, "bad.conf"), "w") as f:
        f.write("nonsense = 1;\n")
    r = replay(host, content, "--site", os.path.join(host.dir, "bad.conf"), *options)
    is_((r.returncode, "nonsense" in r.stderr), (2, True), "a proposed site with errors")


with World() as world:
    world.root["."] = ZONE
    world.start()
    checks = 'early_talker = "off"; greylist = "off"; tarpit = "0"; dns_wait = "3s";'
    with Host(groups={"checks": checks, "limits": 'message_size = "64k";', "admin": 'contact = "alice@example.org";'}, site=DNS + ENTRIES) as host:
        for part in (as_the_daemon, routes, limits, differences):
            part(host)
done()
