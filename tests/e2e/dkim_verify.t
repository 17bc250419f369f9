#!/usr/bin/python3
"""DKIM verification, cross-checked both ways with dkimpy and OpenDKIM: all canonicalisations, l=, RSA and Ed25519; then 1,000
messages changed at random, where no changed signed byte may pass, and where the peers differ the reason is one of a few."""
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host import diag, done, is_, ok  # noqa: E402
from dkim_peers import OpenDKIM, dkimpy_can, dkimpy_sign, dkimpy_verify, signers  # noqa: E402

SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
MUTATIONS = int(os.environ.get("MUTATIONS", 1000))
CANONS = [(h, b) for h in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")]

HEADER = (b"From: Alice  Example <alice@example.org>\r\n"
          b"To: bob@example.net,\r\n\t carol@example.net\r\n"
          b"Subject: hello   there \t \r\n  again\r\n"
          b"Date: Tue, 24 Nov 2026 06:44:48 +0000\r\n"
          b"Message-ID: <1@example.org>\r\n"
          b"Received: from a by b;\r\n\tTue, 24 Nov 2026 06:44:48 +0000\r\n"
          b"MIME-Version: 1.0\r\n")
ODD_HEADER = HEADER.replace(b"Subject: ", b"SUBJECT:\t ").replace(b"Date: ", b"Date:") + b"To: twice\r\nReply-To:\r\n x@y \r\n"
BODIES = {
    "plain": b"Hello  world \t\r\nmore\t \ttext\r\n",
    "empty lines": b"\r\n\r\n one\r\n\r\n \t\r\n\r\n\r\n",
    "none": b"",
    "only empty lines": b"\r\n\r\n\r\n",
    "8-bit": "grün  und\tblau \r\nüüü\r\n".encode() * 3,
    "long": b"0123456789 abcdefghij \r\n" * 900,
    "dots": b".\r\n..\r\n. \r\n",
}


# What is signed, told apart from the daemon's code: a second, plain reading of RFC 6376 3.4 and 3.7.
def split(message):
    head, sep, body = message.partition(b"\r\n\r\n")
    if message.startswith(b"\r\n"):
        return [], message[2:]
    return re.findall(rb"(?s)[^\r\n][^\n]*\n(?:[ \t][^\n]*\n)*", head + b"\r\n"), body


def canon_field(field, relaxed):
    if not relaxed:
        return field
    name, _, value = field.partition(b":")
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + value + b"\r\n"


def canon_body(body, relaxed):
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    if relaxed:
        body = re.sub(rb"[ \t]+", b" ", re.sub(rb"[ \t]+\r\n", b"\r\n", body))
    body = re.sub(rb"(\r\n)+\Z", b"\r\n", body)
    if body == b"\r\n" and relaxed:
        body = b""
    return body or (b"" if relaxed else b"\r\n")


def signed_bytes(message):
    """What the first signature covers, as (fields, body); None: there is none to make out."""
    fields, body = split(message)
    at = [i for i, f in enumerate(fields) if f.partition(b":")[0].strip().lower() == b"dkim-signature"]
    if not at:
        return None
    mine = fields.pop(at[0])
    tags = dict((k.strip(), v) for k, _, v in (t.partition(b"=") for t in mine.partition(b":")[2].split(b";")))
    canon = re.sub(rb"\s", b"", tags.get(b"c", b"simple")).split(b"/")
    relaxed_body = len(canon) > 1 and canon[1] == b"relaxed"
    body = canon_body(body, relaxed_body)
    if b"l" in tags:
        body = body[:int(tags[b"l"])]
    out = []
    for name in re.sub(rb"\s", b"", tags[b"h"]).lower().split(b":"):
        for i in range(len(fields) - 1, -1, -1):
            if fields[i].partition(b":")[0].strip().lower() == name:
                out.append(canon_field(fields.pop(i), canon[0] == b"relaxed"))
                break
    mine = re.sub(rb"(?s)(\A[^:]*:|;)(\s*b\s*=)[^;]*?(;|(?=\r\n\Z))", rb"\1\2\3", mine)
    out.append(canon_field(mine, canon[0] == b"relaxed").rstrip(b"\r\n"))
    return out, body


def theirs_verify_here(keys, ours, opendkim, now):
    """[(name, message)] of what the peers signed; each passes."""
    pool = []
    wrong = []
    for name, body in BODIES.items():
        for canon in CANONS:
            message = (ODD_HEADER if name in ("8-bit", "dots") else HEADER) + b"\r\n" + body
            for kind in ("rsa", "rsa1024", "ed"):
                for length in (False, True):
                    field = dkimpy_sign(keys, message, canon, kind, length)
                    pool.append(("dkimpy %s %s %s l=%d" % (name, b"/".join(canon).decode(), kind, length), field + message))
    for canon in CANONS:
        # Its Ed25519 signatures over a simple header are wrong: neither dkimpy nor itself verifies them.
        for kind in ("rsa", "ed") if canon[0] == b"relaxed" else ("rsa",):
            for name in ("plain", "empty lines"):
                message = HEADER + b"\r\n" + BODIES[name]
                for length in (None, 5, 100000):
                    field = opendkim.sign(message, b"/".join(canon).decode(), kind, length)
                    pool.append(("opendkim %s %s %s l=%s" % (name, b"/".join(canon).decode(), kind, length), field + message))
    for name, message in pool:
        r = ours.verify(message, now)["dkim"]
        want = "policy" if name.endswith("l=5") else "pass"
        if len(r) != 1 or r[0]["verdict"] != want:
            wrong.append((name, r))
    is_(wrong[:3], [], "%d messages of dkimpy and OpenDKIM verify here (those whose l= leaves some out: policy)" % len(pool))
    return pool


def ours_verify_there(keys, ours, opendkim, now):
    pool = []
    wrong = []
    for name, body in BODIES.items():
        message = HEADER + b"\r\n" + body
        fields = ours.sign(message)
        both = re.findall(rb"(?s)DKIM-Signature:.*?\r\n(?![ \t])", fields)
        if len(both) != 2:
            wrong.append((name, "%d fields" % len(both)))
        r = ours.verify(fields + message, now)["dkim"]
        if [x["verdict"] for x in r] != ["pass", "pass"]:
            wrong.append((name, "ours", r))
        for i in range(2):
            verdict = dkimpy_verify(keys, fields + message, i)
            if verdict[0] is not True:
                wrong.append((name, "dkimpy", i, verdict))
        pool += [("mailadm %s %d" % (name, i), field + message) for i, field in enumerate(both)]
    for (name, message), verdict in zip(pool, opendkim.verify([m for _, m in pool])):
        if verdict is None or not verdict[0]:
            wrong.append((name, "opendkim", verdict))
    is_(wrong[:3], [], "%d messages signed here verify with dkimpy and OpenDKIM" % len(pool))
    return pool


class Mutator:
    """One change to a message, somewhere."""

    def __init__(self, rng):
        self.rng = rng

    def byte(self, data, at):
        kind = self.rng.randrange(4)
        if kind == 0:
            return data[:at] + bytes([data[at] ^ (1 << self.rng.randrange(8))]) + data[at + 1:]
        if kind == 1:
            return data[:at] + data[at + 1:]
        if kind == 2:
            return data[:at] + self.rng.choice([b" ", b"\t", b"\r\n", b"\r\n ", b"x", b";", b"=", b"\n", b"\r", b"\0", b"\xc3\xbc"]) + data[at:]
        return data[:at] + bytes([self.rng.randrange(256)]) + data[at + 1:]

    def in_signature(self, message):
        end = re.search(rb"\r\n(?![ \t])", message).end()
        return self.byte(message, self.rng.randrange(end))

    def in_header(self, message):
        end = message.index(b"\r\n\r\n") + 4
        return self.byte(message, self.rng.randrange(end))

    def in_body(self, message):
        start = message.index(b"\r\n\r\n") + 4
        if start == len(message):
            return message + self.rng.choice([b"x\r\n", b"\r\n", b" \r\n", b"\r\n\r\n"])
        return self.byte(message, self.rng.randrange(start, len(message)))

    def append(self, message):
        return message + self.rng.choice([b"x\r\n", b"\r\n", b" ", b" \t\r\n", b"\r\n\r\n", b"\n", b"\r"])

    def fields(self, message):
        fields, body = split(message)
        i, j = self.rng.randrange(len(fields)), self.rng.randrange(len(fields))
        kind = self.rng.randrange(4)
        if kind == 0:
            fields[i], fields[j] = fields[j], fields[i]
        elif kind == 1:
            del fields[i]
        elif kind == 2:
            fields.insert(j, fields[i])
        else:
            fields.insert(j, self.rng.choice([b"From: mallory@example.net\r\n", b"Subject: other\r\n", b"X-New: x\r\n", b"from : m\r\n",
                                              b"To:\r\n", b"no field\r\n", b"Date: now\r\n"]))
        return b"".join(fields) + b"\r\n" + body

    def tag(self, message):
        end = re.search(rb"\r\n(?![ \t])", message).end()
        field, rest = message[:end], message[end:]
        old, new = self.rng.choice([
            (rb"c=relaxed", b"c=simple"), (rb"c=simple", b"c=relaxed"), (rb"/relaxed", b"/simple"), (rb"/simple", b"/relaxed"),
            (rb"c=[^;]*;", b""), (rb"d=example.org", b"d=org"), (rb"d=example.org", b"d=EXAMPLE.org"), (rb"l=\d+", b"l=0"),
            (rb"l=(\d+)", rb"l=0\1"), (rb"l=\d+;", b""), (rb"v=1", b"v=1; l=0"), (rb"v=1", b"v=1; x=1"), (rb"v=1;", b""), (rb"t=\d+", b"t=0"),
            (rb"sha256", b"sha1"), (rb"rsa-", b"ed25519-"), (rb"[Ff]rom *:", b""), (rb"h=", b"h=x-new:"), (rb"bh=", b"bh=A"), (rb"b=\S", b"b=A"),
            (rb"b=", b"b= \r\n\t "), (rb"v=1;", b"v=1;;"), (rb"v=1", b"v=1; q=dns"), (rb"i=@", b"i=x@"), (rb"v=1", b"v=1; i=@b.example.org")])
        return re.sub(old, new, field, count=1) + rest

    def change(self, message):
        kinds = [self.in_signature, self.in_header, self.in_body, self.append, self.fields, self.tag]
        for _ in range(100):
            out = self.rng.choice(kinds)(message)
            if out != message:
                return out
        return message + b"x"


# Where dkimpy or OpenDKIM lets pass what does not here: the reasons of this verifier.
STRICTER = ("a line that is no field", "bytes of the body unsigned", "a CR or LF alone", "a From that is not signed", "the signature has expired", "it is no list of tags",
            "a tag is there twice", "From is not signed", "b= is no base64", "bh= is no hash", "is no name", "shorter than l=", "x= is no time",
            "i= is not within", "RFC 8301")


def mutations(keys, ours, opendkim, pool, now):
    rng = random.Random(SEED)
    mutator = Mutator(rng)
    cases = []
    for _ in range(MUTATIONS):
        name, message = rng.choice(pool)
        cases.append((name, message, mutator.change(message)))
    theirs = opendkim.verify([c[2] for c in cases])
    leaked, unlike, passes, told = [], [], 0, 0
    for (name, before, after), od in zip(cases, theirs):
        r = ours.verify(after, now)["dkim"]
        passed = bool(r) and r[0]["verdict"] == "pass"
        reason = r[0]["reason"] if r else "not signed"
        passes += passed
        told += od is not None
        if passed and signed_bytes(before) != signed_bytes(after):
            leaked.append((name, before[:600], after[:600]))
        for who, verdict in (("dkimpy", dkimpy_verify(keys, after) if dkimpy_can(after) else None), ("opendkim", od)):
            if verdict is None or verdict[0] == passed:
                continue
            if passed or not any(s in reason for s in STRICTER):
                unlike.append((name, who, verdict, r, after[:900]))
    is_(leaked[:2], [], "of %d changed messages none passes with a signed byte changed (%d pass: what changed was not signed)" % (
        len(cases), passes))
    is_(len(unlike), 0, "and the verdicts are those of dkimpy and OpenDKIM (which could be asked for %d), or stricter with a reason" % told)
    for u in unlike[:6]:
        diag(repr(u)[:1800])


def main():
    print("# SEED=%d" % SEED)
    now = int(time.time())
    with signers("dkim-verify-") as (keys, ours):
        opendkim = OpenDKIM(keys)
        pool = theirs_verify_here(keys, ours, opendkim, now)
        pool += ours_verify_there(keys, ours, opendkim, now)
        wrong = [n for n, m in pool if n.endswith("l=5") is False and (signed_bytes(m) is None)]
        ok(not wrong, "the test's own reading of what is signed works on them all")
        mutations(keys, ours, opendkim, pool, now)
    done()


main()
