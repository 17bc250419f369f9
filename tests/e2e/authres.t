#!/usr/bin/python3
"""Content checks of mail from outside: DKIM, ARC and DMARC (signatures by dkimpy, records from a real named), what becomes of
mail by the rules and by the domains' policies, Authentication-Results, Junk, and the ARC seal of what is sent on."""
import base64
import json
import os
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from dns_world import World, enter  # noqa: E402
from host import Host, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402
from smtp_talk import Talk, messages  # noqa: E402

try:
    import authres  # noqa: F401  (what dkimpy needs for ARC)
    import dkim
except ImportError:
    skip_all("python3-dkim or python3-authres is not installed")

PEER = "192.0.2.50"
enter((PEER,))

KEY = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
PUBLIC = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=KEY, capture_output=True, check=True).stdout
P = base64.b64encode(PUBLIC).decode()
TXT = 'TXT "v=DKIM1; k=rsa; p=%s" "%s"' % (P[:200], P[200:])
ZONE = """
50.2.0.192.in-addr.arpa. PTR mx.good.example.
mx.good.example. A 192.0.2.50
remote.example. MX 10 mx.good.example.
bounces.example. TXT "v=spf1 ip4:192.0.2.50 -all"
refused.example. TXT "v=spf1 -all"
good.example. TXT "v=spf1 ip4:192.0.2.50 -all"
silent.example. NS ns.silent.example.
dead.good.example. NS ns.silent.example.
macro.example. TXT "v=spf1 exists:%{l} -all"
junk-macro.example. TXT "v=spf1 exists:%{l} -all"
ns.silent.example. A 192.0.2.50
""" + "".join('s._domainkey.%s. %s\n' % (d, TXT) for d in ("good.example", "lists.example", "quarantine.example"))
for domain, record in {"good.example": "p=reject", "quarantine.example": "p=quarantine", "none.example": "p=none", "testing.example": "p=reject; t=y",
                       "macro.example": "p=reject", "junk-macro.example": "p=quarantine"}.items():
    ZONE += '_dmarc.%s. TXT "v=DMARC1; %s"\n' % (domain, record)
OFF = 'early_talker = "off"; helo = "off"; reverse_dns = "off"; greylist = "off"; tarpit = "0"; '


def rules(host, text=""):
    host.groups["checks"] = OFF + text
    with open(host.conf, "w") as f:
        f.write(host.site_text())
    host.cli("reload")


def send(host, content, to="alice@example.org", sender="s@bounces.example"):
    with Talk(host, source=PEER) as t:
        return t.transaction(content + b".\r\n", sender=sender, to=to)


def mail(author, subject="x", extra=b""):
    return b"From: <%s>\r\nTo: <alice@example.org>\r\nSubject: %s\r\n" % (author.encode(), subject.encode()) + extra + b"\r\nHello.\r\n"


def signed(message, domain):
    return dkim.sign(message, b"s", domain.encode(), KEY, include_headers=[b"from", b"to", b"subject"]) + message


def last(host, mailbox="INBOX"):
    return re.sub(r"\r\n[ \t]+", " ", messages(host, "alice@example.org", mailbox)[-1].decode())


def results(host, mailbox="INBOX"):
    """The Authentication-Results of the last message, which stand in front of our Received."""
    m = re.search(r"Authentication-Results: mail\.example\.org; *(.*?)\r\n(X-Mailadm-Checks: .*?\r\n)?Received: from \S+ \(\[192", last(host, mailbox), re.S)
    return m.group(1) if m else "none in " + last(host, mailbox)


def checked(host):
    return [line for line in host.log().splitlines() if "event=checked" in line][-1]


def junk(host):
    try:
        return len(messages(host, "alice@example.org", "Junk"))
    except ValueError:
        return 0


def dkim_and_dmarc(host):
    is_(send(host, signed(mail("a@good.example", "pass"), "good.example"))[0], 250, "a right signature of the author's domain is taken")
    for part in ("spf=pass", "dkim=pass", "header.d=good.example", "header.s=s", "dmarc=pass", "header.from=good.example", "arc=none"):
        like(results(host), part, "Authentication-Results has " + part)
    ok("X-Mailadm-Checks" not in last(host), "without a mark")
    line = checked(host)
    for part in ("result=taken", "spf=pass", 'dkim="pass good.example/s rsa-sha256 2048', "dmarc=pass", "dmarc-record=good.example", "author=good.example"):
        like(line, part, "the log has " + part)
    is_(send(host, mail("a@good.example", "by spf"), sender="s@good.example")[0], 250, "SPF alone, aligned, is enough")
    like(results(host), "dmarc=pass", "by Authentication-Results too")
    code, text = send(host, mail("a@good.example", "forged"))
    is_((code, text[:6]), (550, "5.7.26"), "not vouched for, p=reject: " + text)
    like(checked(host), "result=refused", "the log has it")
    broken = signed(mail("a@good.example", "before"), "good.example").replace(b"Subject: before", b"Subject: after")
    is_(send(host, broken)[0], 550, "a signature that is wrong is none")
    is_(send(host, mail("a@sub.good.example"))[0], 550, "the policy holds for subdomains")
    is_(send(host, signed(mail("a@sub.good.example"), "good.example"))[0], 250, "which relaxed alignment allows")
    is_(send(host, mail("a@none.example", "p none"))[0], 250, "p=none is taken")
    like(last(host), "X-Mailadm-Checks: dmarc=fail (none)\r\n", "and marked")
    is_(send(host, mail("a@nothing.example"))[0], 250, "no record: taken")
    like(results(host), "dmarc=none", "dmarc=none")
    ok("X-Mailadm-Checks" not in last(host), "without a mark")


def silent(host):
    """A domain of the forger's own whose name server never answers hides nothing."""
    rules(host, 'dns_wait = "1s"; ')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind((PEER, 53))
        code, text = send(host, signed(mail("a@good.example", "hidden"), "silent.example"), sender="s@silent.example")
        is_((code, text[:6]), (550, "5.7.26"), "p=reject holds when SPF and a signature of others get no answer: " + text)
        like(checked(host), 'spf=temperror', "which the log has")
        like(checked(host), 'dkim="temperror silent.example', "of both")
        both = signed(signed(mail("a@good.example", "both"), "good.example"), "silent.example")
        is_(send(host, both)[0], 250, "a right signature beside one without an answer is taken")
        like(results(host), "dmarc=pass", "and counts")
        unproven(host)
    rules(host)


def unproven(host):
    """What is aligned, but made unanswerable by the forger: the author's SPF asks for names of his choice, a selector is below a dead name."""
    spf = dict(content=mail("a@macro.example", "spf"), sender="x.silent.example@macro.example")
    code, text = send(host, **spf)
    is_((code, text[:6]), (451, "4.7.26"), "p=reject and an aligned SPF without an answer: again later: " + text)
    like(checked(host), "dmarc=temperror dmarc-record=macro.example dmarc-policy=reject", "the log says why")
    code, text = send(host, signed(mail("a@good.example", "dkim"), "dead.good.example"))
    is_((code, text[:6]), (451, "4.7.26"), "and so an aligned signature, where the walk gets no answer either: " + text)
    is_(send(host, signed(signed(mail("a@good.example", "right"), "good.example"), "dead.good.example"))[0], 250, "a right one beside it is enough")
    like(results(host), "dmarc=pass", "to pass")
    before = junk(host)
    is_(send(host, mail("a@junk-macro.example", "junk"), sender="x.silent.example@junk-macro.example")[0], 250, "p=quarantine: taken")
    is_(junk(host), before + 1, "into Junk")
    like(last(host, "Junk"), "X-Mailadm-Checks: spf=temperror; dmarc=temperror; result=junk\r\n", "and marked")
    is_(send(host, mail("a@junk-macro.example", "out"), sender="x.silent.example@junk-macro.example", to="out@example.org")[0], 451, "and for an address that only leads elsewhere: again later")
    code, text = send(host, mail("a@dead.good.example", "author"))
    is_((code, text[:6]), (451, "4.7.26"), "an author below a dead delegation: the policy above holds: " + text)
    is_(send(host, mail("a@x.y.dead.good.example", "deep author"))[0], 451, "however far below")
    is_(send(host, signed(mail("a@dead.good.example", "own"), "good.example"))[0], 250, "what the domain above has signed is taken")
    is_(send(host, mail("a@silent.example", "none"))[0], 250, "a policy that cannot be looked up holds back nothing")
    like(results(host), "dmarc=temperror", "dmarc=temperror")
    rules(host, 'dns_wait = "1s"; dmarc = "mark"; ')
    is_(send(host, **spf)[0], 250, "dmarc = mark: taken")
    like(last(host), "X-Mailadm-Checks: spf=temperror; dmarc=temperror\r\n", "and marked")
    rules(host, 'dns_wait = "1s"; dmarc = "off"; ')
    is_(send(host, **spf)[0], 250, "dmarc = off: taken")
    ok("dmarc" not in last(host), "without a word of DMARC")


def quarantine(host):
    before = junk(host)
    inbox = len(messages(host, "alice@example.org"))
    is_(send(host, mail("a@quarantine.example", "junk 1"))[0], 250, "p=quarantine is taken")
    is_((junk(host), len(messages(host, "alice@example.org"))), (before + 1, inbox), "into Junk")
    like(last(host, "Junk"), "X-Mailadm-Checks: dmarc=fail (quarantine); result=junk\r\n", "and marked")
    like(results(host, "Junk"), "dmarc=fail", "and in Authentication-Results")
    is_(send(host, mail("a@testing.example", "junk 2"))[0], 250, "p=reject t=y is taken")
    is_(junk(host), before + 2, "into Junk")
    is_(send(host, mail("a@good.example", "two").replace(b"Subject", b"From: <b@none.example>\r\nSubject"))[0], 250, "two From fields are taken")
    is_(junk(host), before + 3, "into Junk")
    code, text = send(host, mail("a@good.example", "two").replace(b"Subject", b"From: <b@none.example>\r\nSubject"), to="out@example.org")
    is_((code, text[:5]), (550, "5.6.0"), "and for an address that only leads elsewhere they are refused: " + text)
    is_(send(host, signed(mail("a@quarantine.example", "fine"), "quarantine.example"))[0], 250, "signed it is taken")
    is_((junk(host), len(messages(host, "alice@example.org"))), (before + 3, inbox + 1), "into INBOX")
    code, text = send(host, mail("a@quarantine.example", "outwards"), to="out@example.org")
    is_((code, text[:6]), (550, "5.7.26"), "for an address that only leads elsewhere it is refused: " + text)
    is_(send(host, mail("a@quarantine.example", "both ways"), to="both@example.org")[0], 250, "for one that leads here too it is taken")
    is_(junk(host), before + 4, "into Junk")
    is_(queue(host), [], "and not sent on")


def junk_elsewhere(host):
    """Junk is the mailbox that the account uses for it, whatever it is called."""
    forgery = mail("a@quarantine.example", "elsewhere")
    c = host.imap("alice@example.org")
    is_(c.rename("Junk", "Spam")[0], "OK", "Junk is called Spam now")
    is_(send(host, forgery)[0], 250, "p=quarantine is taken")
    like(last(host, "Spam"), "result=junk", "into Spam")
    is_(c.list('""', "Junk")[1], [None], "and there is no Junk again")
    is_(c.create("Junk")[0], "OK", "one of that name without its use")
    is_(send(host, forgery)[0], 250, "p=quarantine is taken")
    is_(junk(host), 0, "does not get it")
    is_((c.delete("Spam")[0], send(host, forgery)[0]), ("OK", 250), "when none has the use")
    is_(junk(host), 1, "the name decides")
    is_((c.delete("Junk")[0], send(host, forgery)[0]), ("OK", 250), "when there is neither")
    made = wait_until(lambda: c.list('""', "Junk RETURN (SPECIAL-USE)")[1][0], "Junk, a moment after the 250")
    like(made.decode(), "\\Junk", "it comes into being, with its use")
    c.logout()


def reported(host):
    """A report that came by mail counts by what was found when it came."""
    xml = b"<feedback><report_metadata><org_name>r</org_name><report_id>%s</report_id></report_metadata><policy_published><domain>example.org</domain></policy_published>" \
          b"<record><row><source_ip>192.0.2.9</source_ip><count>3</count></row></record></feedback>\r\n"
    for author, key in (("good.example", "good.example"), ("none.example", "good.example")):
        content = mail("a@" + author, "report", b"Content-Type: text/xml\r\n").replace(b"Hello.\r\n", xml % author.encode())
        is_(send(host, signed(content, key))[0], 250, "a report of %s comes" % author)
    r = host.cli("report", "dmarc", "--account", "alice@example.org")
    is_([line.split("\t")[-2:] for line in r.stdout.splitlines()], [["3", "r (good.example)"]], "that whose author stands by it counts")
    like(r.stderr, "1 report without a passing DMARC result left out", "the other is left out")


def by_rules(host):
    inbox = len(messages(host, "alice@example.org"))
    rules(host, 'dmarc = "mark"; ')
    is_(send(host, mail("a@good.example", "marked"))[0], 250, "dmarc = mark: p=reject is taken")
    like(last(host), "X-Mailadm-Checks: dmarc=fail (reject)\r\n", "and marked")
    rules(host, 'dmarc = "off"; ')
    is_(send(host, mail("a@good.example", "off"))[0], 250, "dmarc = off: taken")
    ok("dmarc" not in last(host), "without a word of DMARC")
    broken = signed(mail("a@nothing.example", "before"), "good.example").replace(b"Subject: before", b"Subject: after")
    is_(send(host, broken)[0], 250, "dkim = mark: a wrong signature is taken")
    like(last(host), "X-Mailadm-Checks: dkim=fail\r\n", "and marked")
    rules(host, 'dkim = "refuse"; ')
    code, text = send(host, broken)
    is_((code, text[:6]), (550, "5.7.20"), "dkim = refuse: refused: " + text)
    is_(send(host, mail("a@nothing.example"))[0], 250, "but not without any")
    is_(send(host, signed(broken, "good.example"))[0], 250, "nor with another that is right")
    rules(host, 'dkim = "off"; dmarc = "off"; spf = "off"; ')
    is_(send(host, broken)[0], 250, "all off: taken")
    like(results(host), "none", "Authentication-Results: none")
    is_(len(messages(host, "alice@example.org")), inbox + 6, "all in INBOX")


def forged(host):
    rules(host)
    extra = b"".join(b"%s\r\n" % f for f in (
        b"Authentication-Results: mail.example.org; dmarc=pass header.from=bank.example", b"authentication-results:\r\n\tMAIL.example.org 1;\r\n\tspf=pass smtp.mailfrom=bank.example",
        b"Authentication-Results: (bank.example) \"mail.example.org\"; dkim=pass header.d=bank.example", b"X-MAILADM-checks: bank.example",
        b"Authentication-Results: other.example; spf=pass smtp.mailfrom=other.example"))
    is_(send(host, mail("a@nothing.example", "forged", extra))[0], 250, "mail with fields that claim to be ours is taken")
    ok("bank.example" not in last(host), "without them")
    like(last(host), "Authentication-Results: other.example; spf=pass", "another host's stays")
    is_(send(host, mail("a@nothing.example", "many", b"Authentication-Results: mail.example.org; spf=pass\r\n" * 15000))[0], 250, "15,000 of them")
    is_(last(host).count("Authentication-Results"), 1, "are gone too")


def arc(host):
    rules(host)
    body = signed(mail("a@good.example", "list"), "good.example")
    authres = b"Authentication-Results: lists.example; dmarc=pass header.from=good.example\r\n"
    changed = authres + body.replace(b"Subject: list", b"Subject: [list] list")
    sealed = b"".join(dkim.arc_sign(changed, b"s", b"lists.example", KEY, b"lists.example", include_headers=[b"from", b"to", b"subject"])) + changed
    is_(send(host, sealed)[0], 550, "a list broke the signature: p=reject")
    like(checked(host), "arc=pass arc-sealer=lists.example", "the log says what ARC says")
    rules(host, 'arc_sealers = ( "lists.example" ); ')
    is_(send(host, sealed)[0], 250, "from a sealer that is believed it is taken")
    like(last(host), "X-Mailadm-Checks: dkim=fail; dmarc=fail (arc)\r\n", "and marked")
    like(results(host), "arc=pass", "and in Authentication-Results")
    is_(send(host, sealed.replace(b"[list]", b"[liar]"))[0], 550, "when the seal is wrong it is not")
    bad = changed.replace(b"dmarc=pass", b"dmarc=fail (dmarc=pass)")
    sealed = b"".join(dkim.arc_sign(bad, b"s", b"lists.example", KEY, b"lists.example", include_headers=[b"from", b"to", b"subject"])) + bad
    is_(send(host, sealed)[0], 550, "nor when it says that DMARC failed there: a forwarder seals what is forged too")
    like(checked(host), "arc=pass arc-sealer=lists.example", "whose seal is right")
    rules(host, 'arc_sealers = ( "silent.example" ); dns_wait = "1s"; ')
    sealed = b"".join(dkim.arc_sign(changed, b"s", b"silent.example", KEY, b"lists.example", include_headers=[b"from", b"to", b"subject"])) + changed
    is_(send(host, sealed)[0], 451, "while a sealer's key cannot be looked up the mail waits")
    rules(host, 'dns_wait = "1s"; ')
    is_(send(host, sealed)[0], 550, "where no sealer is believed there is nothing to wait for")


def queue(host):
    return json.loads(host.cli("queue", "list", "--json").stdout)


def answers(host):
    os.makedirs(os.path.join(host.dir, "site.d"), exist_ok=True)
    with open(os.path.join(host.dir, "site.d", "carol.conf"), "w") as f:
        f.write('accounts = ( { address = "carol@example.org"; auto_reply = { text = "away"; }; } );\n')
    rules(host)

    def answered(author, sender):
        before = host.log().count("event=auto-reply account=carol")
        code = send(host, mail(author).replace(b"alice@", b"carol@"), to="carol@example.org", sender=sender)[0]
        return code, host.log().count("event=auto-reply account=carol") - before
    is_(answered("a@quarantine.example", "s@bounces.example"), (250, 0), "junk is never answered automatically")
    is_(answered("a@none.example", "s@bounces.example"), (250, 0), "nor what fails DMARC")
    is_(answered("a@nothing.example", "s@refused.example"), (250, 0), "nor what fails SPF")
    is_(answered("a@nothing.example", "s@bounces.example"), (250, 1), "what is as it says is")


def seal(host):
    rules(host)
    text = host.cli("dns", "render").stdout
    m = re.search(r"^mail\._domainkey\S*.*?TXT\s*\(?((?:\s*\"[^\"]*\")+)", text, re.M)
    records = {b"mail._domainkey.example.org.": "".join(re.findall(r'"([^"]*)"', m.group(1))).encode(),
               b"s._domainkey.good.example.": ("v=DKIM1; k=rsa; p=" + P).encode(), b"s._domainkey.lists.example.": ("v=DKIM1; k=rsa; p=" + P).encode()}
    message = signed(mail("a@good.example", "on"), "good.example")
    first = b"".join(dkim.arc_sign(b"Authentication-Results: lists.example; dkim=pass header.d=good.example\r\n" + message, b"s", b"lists.example", KEY, b"lists.example",
                                   include_headers=[b"from", b"to", b"subject"])) + message
    for content, instance, what in ((message, 1, "mail that is sent on"), (first, 2, "one that has a seal already")):
        is_(send(host, content, to="out@example.org")[0], 250, what + " is taken")
        entry = wait_until(lambda: queue(host), "the queue entry")
        is_(len(entry), 1, "and queued")
        text = host.cli("queue", "show", str(entry[0]["id"])).stdout
        sent = text[text.index("ARC-"):].encode() if "ARC-" in text else b""
        sent = re.sub(b"\r?\n", b"\r\n", sent)
        host.cli("queue", "drop", str(entry[0]["id"]))
        like(sent.decode(), "ARC-Seal: i=%d" % instance, "with a seal")
        like(re.sub(r"\r\n\s+", " ", sent.decode()), "ARC-Authentication-Results: i=%d; mail.example.org; " % instance, "and what was found")
        cv, steps, reason = dkim.arc_verify(sent, dnsfunc=lambda name, timeout=5: records.get(name))
        if not is_(cv, b"pass", "dkimpy: the chain is right"):
            diag("%s %s\n%s" % (reason, steps, sent.decode()))


with World() as world:
    world.root["."] = ZONE
    world.start()
    site = 'dns = { forward = ( "127.0.0.1" ); dnssec = false; };\n' \
           'aliases = ( { address = "out@example.org"; to = "x@remote.example"; }, { address = "both@example.org"; to = ( "alice@example.org", "x@remote.example" ); } );\n'
    with Host(groups={"checks": OFF}, site=site) as host:
        for part in (dkim_and_dmarc, silent, quarantine, junk_elsewhere, reported, by_rules, forged, arc, seal, answers):
            part(host)
        for line in host.log().splitlines():
            if re.search(r"event=(died|crash)", line):
                ok(False, line)
done()
