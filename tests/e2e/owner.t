#!/usr/bin/env python3
"""Who owns which file of a site that is kept in git: the commands write site.d/90-mailadm.conf and nothing else, refuse it when it
is not theirs or was edited by hand, and say whose each file is."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, done, is_, like, ok  # noqa: E402

WORK = tempfile.mkdtemp(prefix="mailadm-owner-")
SITE = """# ours, by hand
host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; };
domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
aliases = ( { address = "info@example.org"; to = ( "alice@example.org" ); } );
port_offset = 21000;
state_dir = "state";
"""
HAND = """# the sales team, see ticket 12
accounts = ( { address = "carol@example.org"; } );
"""
MARK = "# Written by mailadm account and mailadm alias"


def path(name):
    return os.path.join(WORK, name)


def write(name, text):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "w") as f:
        f.write(text)


def read(name):
    with open(path(name)) as f:
        return f.read()


def cli(*args):
    return subprocess.run([MAILADM, "-c", "site.conf"] + list(args), cwd=WORK, capture_output=True, text=True, timeout=30)


def files():
    """Everything of the site but the drop-in: no command may change it."""
    return {name: read(name) for name in ("site.conf", "site.d/50-sales.conf")}


OWN = "site.d/90-mailadm.conf"
try:
    write("site.conf", SITE)
    write("site.d/50-sales.conf", HAND)
    before = files()
    is_(cli("account", "add", "bob@example.org", "--name", "Bob").returncode, 0, "account add")
    is_(cli("alias", "add", "sales@example.org", "carol@example.org", "bob@example.org").returncode, 0, "alias add")
    like(read(OWN).splitlines()[0], MARK, "the first line of the drop-in says whose it is")
    is_(files(), before, "the files written by hand are as they were")

    r = cli("site", "print", "--origin")
    is_(r.stdout.splitlines()[:3], ["# site.conf: yours (mailadm never writes it)", "# site.d/50-sales.conf: yours (mailadm never writes it)",
                                    "# site.d/90-mailadm.conf: mailadm's (account and alias write it)"], "site print --origin: whose each file is")
    write("printed.conf", r.stdout)
    r = subprocess.run([MAILADM, "-c", "printed.conf", "site", "print"], cwd=WORK, capture_output=True, text=True, timeout=30)
    is_(r.returncode, 0, "and what it prints is a site file: " + r.stderr)

    for args, where in ((["account", "add", "alice@example.org"], "site.conf:4"), (["account", "add", "carol@example.org"], "site.d/50-sales.conf:2"),
                        (["account", "remove", "alice@example.org"], "site.conf:4"), (["account", "remove", "carol@example.org"], "site.d/50-sales.conf:2"),
                        (["alias", "add", "info@example.org", "bob@example.org"], "site.conf:5"), (["alias", "remove", "info@example.org"], "site.conf:5")):
        r = cli(*args)
        ok(r.returncode != 0 and where in r.stderr, f"{' '.join(args)}: refused, it stands in {where}: {r.stderr.splitlines()[0]}")
    is_(files(), before, "the files written by hand are still as they were")

    # Who gets an address that git took out of the site does not inherit the password that it had.
    has = lambda: [x.split("\t")[4] for x in cli("account", "list").stdout.splitlines() if x.startswith("bob@")]  # noqa: E731
    r = subprocess.run([MAILADM, "-c", "site.conf", "account", "passwd", "bob@example.org"], cwd=WORK, input="correct horse\n", text=True)
    is_((r.returncode, has()), (0, ["yes"]), "account passwd")
    good = read(OWN)
    os.chmod(path(OWN), 0o640)
    is_(cli("account", "add", "eve@example.org").returncode, 0, "account add, the file is 0640")
    is_(os.stat(path(OWN)).st_mode & 0o777, 0o640, "its mode stays")
    write(OWN, good.replace("bob@example.org", "eve@example.org"))
    is_((cli("account", "list").returncode, has()), (0, []), "a checkout without that account")
    is_((cli("account", "add", "bob@example.org").returncode, has()), (0, ["no"]), "the address for somebody new: no password")
    write(OWN, good)

    good = read(OWN)
    write(OWN, good.replace("accounts", "\n\n   accounts"))
    is_(cli("account", "add", "dora@example.org").returncode, 0, "blanks alone are no edit by hand")
    good = read(OWN)
    line = good.splitlines().index(next(x for x in good.splitlines() if "bob@example.org" in x)) + 1
    for text, why, what in (
            (good.replace('address = "bob@example.org";', 'address = "bob@example.org"; # leaves in May'), f"{OWN}:{line}: edited by hand", "a comment"),
            (good + "# nobody else here\n", ": edited by hand", "a comment at the end"),
            (good.replace("\n\n", "\n# mine\n\n", 1), ": edited by hand", "a comment in its head"),
            (good + '@include "../more.conf"\n', "correct it by hand", "an include"),
            (good.split("\n", 1)[1], f"{OWN}:1: this file is not mailadm's own", "no mark in the first line"),
            ("accounts = ( { address = \"bob@example.org\"; } );\n", f"{OWN}:1: this file is not mailadm's own", "a file of somebody else's"),
            (good.replace("(", "((", 1), "correct it by hand", "a file that cannot be read")):
        write(OWN, text)
        for args in (["account", "add", "eve@example.org"], ["account", "remove", "bob@example.org"], ["alias", "add", "x@example.org", "bob@example.org"]):
            r = cli(*args)
            ok(r.returncode == 2 and why in r.stderr, f"{what}: {args[0]} {args[1]} is refused: {r.stderr.strip()[:160]}")
        is_(read(OWN), text, f"{what}: and the file is as it was")
    write(OWN, good + "# nobody else here\n")
    like(cli("site", "print", "--origin").stdout, OWN + ": mailadm's", "it is still mailadm's")
    os.rename(path(OWN), path("site.d/60-mine.conf"))
    r = cli("account", "add", "eve@example.org")
    is_(r.returncode, 0, "renamed, as the message said, it is yours, and mailadm begins its own: " + r.stderr)
    like(cli("account", "list").stdout, "bob@example.org", "and the accounts in it stay")
    like(read("site.d/60-mine.conf"), "# nobody else here", "with the comment")
finally:
    shutil.rmtree(WORK, ignore_errors=True)
done()
