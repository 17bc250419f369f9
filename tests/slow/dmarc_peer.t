#!/usr/bin/python3
"""Random DMARC records and identifiers: alignment and policy are those of authheaders (Debian: python3-authheaders).

The peer finds organisational domains by a list of public suffixes (RFC 7489), so the records are such that the tree walk
comes to the same: every organisational domain has one.  Prints its seed; SEED=N repeats a run, COUNT=N says how many.
(libopendmarc 1.4.2 is no peer: it takes x.ba.example and b.example for aligned, and strict for relaxed.)"""
import os
import random
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import authheaders

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import done, is_, ok  # noqa: E402

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
COUNT = int(os.environ.get("COUNT", 20000))
PROGRAM = os.path.join(os.environ.get("BUILD", "build"), "tests/unit/test_policy_dmarc")
ORGANISATIONS = ["a.example", "b.example", "a.co.example", "ba.example", "a.test"]
rnd = random.Random(SEED)
pick = rnd.choice


def record():
    tags = ["p=" + pick(["none", "quarantine", "reject"])]
    tags += pick([[], [], ["sp=" + pick(["none", "quarantine", "reject"])]])
    tags += pick([[], ["adkim=" + pick("rs")]]) + pick([[], ["aspf=" + pick("rs")]])
    tags += pick([[], ["rua=mailto:d@a.example"], ["fo=1"]])
    return "v=DMARC1" + pick([";", "; ", " ; "]) + pick(["; ", ";"]).join(tags) + pick(["", ";"])


def domain():
    return pick(["", "", "x.", "y.", "z.y.", "q.r.s."]) + pick(ORGANISATIONS)


def organisation(name):
    return max((o for o in ORGANISATIONS if name == o or name.endswith("." + o)), key=len)


def peer(records, author, spf, signature):
    """Alignment of each alone, and the policy; not of a record with sp= at the author's own domain, which it applies there."""
    def ask(spf_result, dkim_result):
        return authheaders.dmarc_per_from(author, spf_result, dkim_result, dnsfunc=lambda name: records.get(name[len("_dmarc."):]))
    spf_to, _, _, policy = ask(SimpleNamespace(result="pass", smtp_mailfrom="x@" + spf) if spf != "-" else None, None)
    dkim_to = ask(None, SimpleNamespace(result="pass", header_d=signature) if signature != "-" else None)[0]
    return spf_to == "pass", dkim_to == "pass", None if "sp=" in records.get(author, "") else policy


def main():
    lines, cases, seen, differ = [], [], {}, 0
    authheaders.get_org_domain = authheaders.dmarc_lookup.get_org_domain = organisation
    print("# SEED=%d COUNT=%d" % (SEED, COUNT))
    for i in range(COUNT):
        if i % 10 == 0:
            records = {o: record() for o in ORGANISATIONS}
            records.update({pick("xyz") + "." + pick(ORGANISATIONS): record() for _ in range(3)})
            lines += ["clear"] + ["record %s %s" % r for r in records.items()]
        author = domain()
        near = [author, pick(["", "x.", "y."]) + organisation(author), organisation(author)]
        spf, signature = (pick(["-", domain()] + near) for _ in range(2))
        cases.append((records, author, spf, signature))
        lines.append("test %d %s %s %s" % (i, author, spf, signature))
    with tempfile.TemporaryDirectory(prefix="mailadm-dmarc-") as folder:
        with open(folder + "/cases", "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        out = subprocess.run([PROGRAM, folder + "/cases"], capture_output=True, text=True, check=True).stdout.splitlines()
    for line in out:
        number, result, policy, spf_to, dkim_to = line.split()
        case = cases[int(number)]
        got = spf_to == "1", dkim_to == "1", policy
        want = peer(*case)
        seen[got] = seen.get(got, 0) + 1
        if got[:2] == want[:2] and want[2] in (None, policy) and (result == "pass") == (got[0] or got[1]):
            continue
        differ += 1
        if differ <= 10:
            print("# %s %s, authheaders %s: author %s, SPF %s, signature %s\n#    %s" % (number, got, want, *case[1:], case[0]))
    is_(len(out), COUNT, "every case has an answer")
    is_(differ, 0, "alignment and policy are the peer's")
    ok(len(seen) == 12 and min(seen.values()) > COUNT / 100, "and all kinds of them came up: %s" % seen)
    done()


main()
