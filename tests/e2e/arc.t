#!/usr/bin/python3
"""ARC: the validation suite of the protocol's authors (tests/data/arc, from github.com/ValiMail/arc_test_suite), chains sealed in
turns with dkimpy, changes under way, 50 sets, failed chains, and changed chains that must not pass unless dkimpy agrees."""
import os
import random
import re
import sys
import time

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import ROOT, diag, done, is_, like, ok, skip_all  # noqa: E402
from dkim_peers import DOMAIN, dkimpy_can, signers  # noqa: E402

import dkim  # noqa: E402

try:
    import authres  # noqa: F401
except ImportError:
    skip_all("python3-authres is not installed")

SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
MUTATIONS = int(os.environ.get("MUTATIONS", 400))
ID = "mx.example.org"

MESSAGE = (b"Received: from a by b; Tue, 24 Nov 2026 06:44:48 +0000\r\n"
           b"From: Alice <alice@example.net>\r\nTo: list@example.org\r\nSubject: hello  there\r\n"
           b"Date: Tue, 24 Nov 2026 06:44:48 +0000\r\nMessage-ID: <1@example.net>\r\n\r\nHello world\r\nmore \r\n")

# Where the suite and this verifier differ, and why.
DIFFERENT = {
    "cv_fail_i1_as_cv_fail": ("", "fail"),   # the suite writes "" for a chain that ended: a failed one, which is closed
    "cv_fail_i2_as2_fail": ("", "fail"),
    "cv_fail_i2_as1_fail": ("", "fail"),
    "ams_fields_h_empty": ("pass", "fail"),  # a message signature that does not cover From says nothing of its author
}


def suite(folder, keys, ours, now):
    wrong, count = [], 0
    with open(os.path.join(ROOT, "tests/data/arc/validation.yml")) as f:
        groups = [g for g in yaml.load_all(f, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if g]
    for group in groups:
        path = os.path.join(folder, "suite")
        with open(path, "w") as f:
            for name, text in (group.get("txt-records") or {}).items():
                f.write("%s %s\n" % (name, text.replace("\n", " ")))
        ours.records(path)
        for name, test in group["tests"].items():
            got = ours.verify(test["message"].replace("\n", "\r\n").encode(), now)["arc"]
            want = DIFFERENT[name] if name in DIFFERENT else (test["cv"].lower(),) * 2
            count += 1
            if (test["cv"].lower(), got["result"]) != want:
                wrong.append((name, test["description"], "want", want, "got", got))
    is_(wrong, [], "the %d validation tests of the suite" % count)
    ours.records(keys.records_file)


def dkimpy_says(keys, message):
    """Its verdict, or why there is none; None where it trips over a field whose i= has no blank before it."""
    try:
        return (dkim.arc_verify(message, dnsfunc=keys.txt)[0] or b"ended").decode()
    except IndexError:
        return None
    except Exception as e:  # whatever it trips over
        return "%s: %s" % (type(e).__name__, e)


def dkimpy_seal(keys, message, cv):
    with open(keys.pem("rsa"), "rb") as f:
        key = f.read()
    field = b"Authentication-Results: %s; arc=%s; spf=pass smtp.mailfrom=a@example.net\r\n" % (ID.encode(), cv)
    fields = dkim.arc_sign(field + message, b"rsa", DOMAIN.encode(), key, ID.encode())
    return b"".join(fields) + message


def seal(ours, message, results=b"spf=pass smtp.mailfrom=a@example.net", received=None):
    return ours.seal(message, ID, results, received=received)["fields"].encode() + message


def in_turns(keys, ours, now):
    """A chain of 8, each of the two sealing what the other did; both verify every step."""
    message, wrong, chain = MESSAGE, [], []
    arc = ours.verify(message, now)["arc"]
    is_((arc["result"], arc["instance"], arc["closed"]), ("none", 0, False), "no set: none")
    for i in range(1, 9):
        message = seal(ours, message) if i % 2 else dkimpy_seal(keys, message, b"none" if i == 1 else b"pass")
        arc = ours.verify(message, now)["arc"]
        chain.append(message)
        if (arc["result"], arc["instance"], arc["oldest_pass"]) != ("pass", i, 0) or dkimpy_says(keys, message) != "pass":
            wrong.append((i, arc, dkimpy_says(keys, message)))
    is_(wrong, [], "8 sets, sealed in turns: both find each step right")
    is_((arc["sealer"], arc["sealers"]), (DOMAIN, ":".join([DOMAIN] * 8)), "who sealed")
    return chain


def fields_of_ours(ours):
    fields = ours.seal(MESSAGE, ID, b"spf=pass smtp.mailfrom=a@example.net;\r\n\tdkim=fail reason=\"" + b"long " * 30 + b"\"")["fields"]
    is_(re.findall(r"(?m)^(\S+?):", fields), ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"], "the set's fields, in order")
    ok(all(len(line) <= 78 for line in fields.split("\r\n")), "in lines of at most 78")
    like(fields, "ARC-Authentication-Results: i=1; mx.example.org; spf=pass", "the results are in it")
    like(fields, "cv=none;", "the first says cv=none")
    like(ours.seal(MESSAGE, ID, b"")["fields"], "i=1; mx.example.org; none\r\n", "no results are none")
    is_(ours.seal(MESSAGE, ID, b"", selector="nokey")["status"], "no key", "without a key there is no set")


def under_way(keys, ours, now):
    """A list changes the message between two sets."""
    message = seal(ours, seal(ours, MESSAGE))
    message = seal(ours, message.replace(b"Subject: ", b"Subject: [list] ") + b"-- \r\nthe list\r\n", received=message)
    arc = ours.verify(message, now)["arc"]
    is_((arc["result"], arc["instance"], arc["oldest_pass"]), ("pass", 3, 3), "changed before the third set: it passes, the oldest match is 3")
    message = seal(ours, message)
    arc = ours.verify(message, now)["arc"]
    is_((arc["result"], arc["oldest_pass"]), ("pass", 3), "and so behind the fourth")
    is_(dkimpy_says(keys, message), "pass", "dkimpy agrees")


def failed(keys, ours, now):
    message = seal(ours, MESSAGE) + b"added\r\n"
    arc = ours.verify(message, now)["arc"]
    is_((arc["result"], arc["reason"], arc["closed"]), ("fail", "ARC-Message-Signature 1: the body does not match", False), "a changed message fails")
    fields = ours.seal(message, ID)["fields"]
    like(fields, "cv=fail;", "its next seal says so")
    like(fields, "i=2;", "as set 2")
    message = fields.encode() + message
    arc = ours.verify(message, now)["arc"]
    is_((arc["result"], arc["closed"]), ("fail", True), "which fails, and is closed")
    only = message[:len(fields)].replace(b"i=2", b"i=1") + MESSAGE
    is_(ours.verify(only, now)["arc"]["result"], "fail", "so on its own")
    is_(ours.seal(message, ID), {"status": "no key", "fields": ""}, "and gets no further set")
    broken = re.sub(rb"(?s)ARC-Seal:.*?(?=ARC-M)", b"", seal(ours, MESSAGE))
    is_(ours.verify(broken, now)["arc"]["reason"], "a set is not whole", "a set without its seal")
    ours.records("/dev/null")
    is_(ours.verify(seal(ours, MESSAGE), now)["arc"]["reason"], "ARC-Message-Signature 1: there is no such key", "a key that is gone")
    with open(keys.records_file + ".away", "w") as f:
        f.write("rsa._domainkey.%s\n" % DOMAIN)
    sealed = seal(ours, MESSAGE)
    ours.records(keys.records_file + ".away")
    arc = ours.verify(sealed, now)["arc"]
    is_((arc["result"], arc["temporary"]), ("fail", True), "DNS is away: it fails for now")
    is_(ours.seal(sealed, ID)["status"], "no key", "and is not sealed: that would be for good")
    ours.records(keys.records_file)


def fifty(keys, ours, now):
    message = MESSAGE
    for _ in range(50):
        message = seal(ours, message)
    arc = ours.verify(message, now)["arc"]
    is_((arc["result"], arc["instance"], arc["oldest_pass"], arc["closed"]), ("pass", 50, 0, True), "50 sets pass, and no more may be added")
    is_(ours.seal(message, ID)["status"], "no key", "nor are")
    is_(dkimpy_says(keys, message), "pass", "dkimpy agrees on the 50")
    more = message.replace(b"i=50;", b"i=51;")
    is_(ours.verify(more, now)["arc"]["result"], "fail", "an instance of 51 fails")
    # The seals are a chain: a set out of the middle is missed by all above it.
    gap = re.sub(rb"(?s)ARC-Seal: i=25;.*?ARC-Authentication-Results: i=25;.*?\r\n(?![ \t])", b"", message)
    ok(gap != message and ours.verify(gap, now)["arc"]["result"] == "fail", "a set taken out fails")


STRICTER = ("a line that is no field", "a CR or LF alone", "a From that is not signed", "there is no From", "it is no list of tags", "b= is no base64", "bh= is no hash",
            "is no name", "a field has no instance", "From is not signed", "is no time", "a field is there twice", "h= is missing", "there is no ARC set",
            "q= is", "c= is", "has the wrong cv", "a set is not whole", "bytes of the body")


def covered(message):
    """What a chain stands for, whatever the order of its fields: told apart from the daemon's code."""
    fields = re.findall(rb"(?s)[^\r\n][^\n]*\n(?:[ \t][^\n]*\n)*", message.partition(b"\r\n\r\n")[0] + b"\r\n")
    canonical = []
    for f in fields:
        name, _, value = f.partition(b":")
        value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" ")
        canonical.append((name.strip().lower(), re.sub(rb"\bb=[^;]*", lambda m: re.sub(rb"\s", b"", m.group(0)), value)))
    body = re.sub(rb"(\r\n)+\Z", b"\r\n", re.sub(rb"[ \t]+", b" ", re.sub(rb"[ \t]+\r\n", b"\r\n", message.partition(b"\r\n\r\n")[2] + b"\r\n")))
    return (sorted(f for f in canonical if f[0].startswith(b"arc-")),
            [[v for n, v in canonical if n == name][-1:] for name in (b"to", b"subject", b"date", b"message-id")],
            [v for n, v in canonical if n == b"from"], body)


def mutations(keys, ours, chain, now):
    rng = random.Random(SEED)
    alphabet = [b" ", b"\t", b"\r\n ", b"x", b";", b"=", b"i=1;", b"\xc3\xbc", b"none", b"\r\n"]
    unlike, leaked, passes = [], [], 0
    for _ in range(MUTATIONS):
        message = rng.choice(chain)
        fields = re.findall(rb"(?s)[^\r\n][^\n]*\n(?:[ \t][^\n]*\n)*", message.partition(b"\r\n\r\n")[0] + b"\r\n")
        kind = rng.randrange(5)
        if kind < 3:
            at = rng.randrange(len(message) - 1)
            after = message[:at] + rng.choice([bytes([message[at] ^ 1 << rng.randrange(8)]), b"", rng.choice(alphabet) + message[at:at + 1]]) + message[at + 1:]
        else:
            i, j = rng.randrange(len(fields)), rng.randrange(len(fields))
            if kind == 3:
                fields[i], fields[j] = fields[j], fields[i]
            else:
                fields.insert(j, fields.pop(i) if rng.randrange(2) else fields[i])
            after = b"".join(fields) + b"\r\n" + message.partition(b"\r\n\r\n")[2]
        arc = ours.verify(after, now)["arc"]
        passes += arc["result"] == "pass"
        if arc["result"] == "pass" and covered(after) != covered(message):
            leaked.append((message, after))
        if kind >= 3 or not dkimpy_can(after):
            continue  # dkimpy takes the fields of seals by their places, not by their instances
        theirs = dkimpy_says(keys, after)
        if theirs is not None and (arc["result"] == "pass") != (theirs == "pass") and (arc["result"] == "pass" or not any(s in arc["reason"] for s in STRICTER)):
            unlike.append((arc, theirs, after[:1200]))
    is_(leaked[:1], [], "of %d changed chains none passes with a signed byte changed (%d pass)" % (MUTATIONS, passes))
    is_(len(unlike), 0, "and the verdicts are those of dkimpy, or stricter with a reason")
    for u in unlike[:5]:
        diag(repr(u)[:2000])


def main():
    print("# SEED=%d" % SEED)
    now = int(time.time())
    with signers("arc-") as (keys, ours):
        suite(keys.folder, keys, ours, 1500000000)
        chain = in_turns(keys, ours, now)
        fields_of_ours(ours)
        under_way(keys, ours, now)
        failed(keys, ours, now)
        fifty(keys, ours, now)
        mutations(keys, ours, chain[:4], now)
    done()


main()
