#!/usr/bin/env python3
"""The command line: options, init, account, alias, client, check: what they print, what they change, and what they refuse."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, diag, done, is_, ok  # noqa: E402

WORK = tempfile.mkdtemp(prefix="site-cli-")


def like(got, pattern, name):
    if not ok(re.search(pattern, got, re.S), name):
        diag("   got: " + got[:2000])
        diag("wanted: " + pattern)


def run(*args, stdin=""):
    return subprocess.run([MAILADM, *args], cwd=WORK, capture_output=True, text=True, timeout=60, input=stdin)


def cli(*args, stdin=""):
    return run("-c", "h/site.conf", *args, stdin=stdin)


def read(name):
    path = os.path.join(WORK, name)
    return open(path).read() if os.path.exists(path) else ""


def on_terminal(*args):
    """stdout of a run whose stdout is a terminal."""
    parent, child = pty.openpty()
    p = subprocess.Popen([MAILADM, *args], cwd=WORK, stdout=child, stdin=subprocess.DEVNULL, env=dict(os.environ, LC_ALL="C"))
    os.close(child)
    text = b""
    while True:
        try:
            data = os.read(parent, 4096)
        except OSError:
            break
        if not data:
            break
        text += data
    p.wait(60)
    os.close(parent)
    return text.decode()


def usage():
    r = run("--version")
    like(r.stdout, r"^mailadm \d+\.\d+", "--version")
    r = run("--help")
    is_(r.returncode, 0, "--help exits 0")
    commands = re.findall(r"^  ([a-z]+) +\S", r.stdout, re.M)
    for name in ("init", "check", "serve", "queue", "backup", "store", "sendmail", "mailq"):
        ok(name in commands, f"--help lists {name}")
    for name in commands:
        r = run(name, "--help")
        ok(r.returncode == 0 and r.stdout.startswith(f"usage: mailadm [-c FILE] [--json] {name}") and
           re.search("example", r.stdout, re.I), f"{name} --help, with an example")
    is_(run().returncode, 2, "no command is a usage error")
    r = run("acount", "list")
    is_((r.returncode, r.stderr), (2, "mailadm: there is no command 'acount'; did you mean 'account'?\n"), "did you mean")
    r = run("--frob", "check")
    is_((r.returncode, r.stdout), (2, ""), "an unknown option")
    r = run("-c", "nowhere.conf", "check")
    is_(r.returncode, 2, "a site that is not there: exit 2")
    like(r.stderr, r"^nowhere.conf: cannot read nowhere.conf: No such file.*mailadm init", "and what to do")
    r = run("-c", "nowhere.conf", "account", "list")
    is_((r.returncode, r.stdout), (2, ""), "commands need a site")
    is_(run("account", "frob").returncode, 2, "an unknown verb is a usage error")


def init():
    r = run("init", "h", "--hostname", "Mail.Example.org", "--domain", "example.org", "--domain", "bücher.example",
            "--ipv4", "127.0.0.1", "--account", "alice", "--account", "Jörg@bücher.example", "--port-offset", "20000")
    is_((r.returncode, r.stderr), (0, ""), "init")
    found = re.findall(r"^  (\S+@\S+)  ((?:[a-z2-7]{5}-){3}[a-z2-7]{5})$", r.stdout, re.M)
    is_([a for a, _ in found], ["alice@example.org", "jörg@xn--bcher-kva.example"], "init prints a password for each account")
    like(r.stdout, r"DNS records.*_domainkey\.example\.org\..*v=DKIM1", "and DNS records with the DKIM key")
    like(r.stdout, r"imap\s+mail.example.org\s+20993\s+TLS", "and client settings with the port offset")
    mode = os.stat(os.path.join(WORK, "h/state/credentials")).st_mode & 0o777
    is_(mode, 0o600, "credentials are 0600")
    ok(all(pw not in read("h/site.conf") + read("h/state/credentials") for _, pw in found), "passwords are stored nowhere in the clear")
    hashes = dict(line.split(":", 1) for line in read("h/state/credentials").splitlines() if line and line[0] != "#")
    is_(sorted(hashes), sorted(a for a, _ in found), "credentials name the accounts")
    ok(all(h.startswith("$y$") for h in hashes.values()), "hashes are yescrypt")
    r = cli("check")
    is_((r.returncode, r.stdout), (0, "h/site.conf: ok (2 domains, 2 accounts, 0 aliases, 0 lists)\n"), "the new site is right")
    before = read("h/site.conf"), read("h/state/credentials")
    r = run("init", "h", "--hostname", "other.example.org", "--domain", "example.org", "--ipv4", "127.0.0.1")
    is_(r.returncode, 2, "init again is refused")
    like(r.stderr, r"h/site.conf is there already", "and says what is there")
    os.rename(os.path.join(WORK, "h/site.conf"), os.path.join(WORK, "h/away"))
    r = run("init", "h", "--hostname", "other.example.org", "--domain", "example.org", "--ipv4", "127.0.0.1")
    like(r.stderr, r"h/state/credentials is there already", "nor over a state folder")
    os.rename(os.path.join(WORK, "h/away"), os.path.join(WORK, "h/site.conf"))
    is_((read("h/site.conf"), read("h/state/credentials")), before, "nothing was changed")
    for args, why in ((["--domain", "example.org", "--ipv4", "127.0.0.1"], "add --hostname"),
                      (["--hostname", "m.example.org", "--ipv4", "127.0.0.1"], "add --domain"),
                      (["--hostname", "m.example.org", "--domain", "example.org"], "add --ipv4"),
                      (["--hostname", "m.example.org", "--domain", "example.org", "--ipv4", "::1"], "no IPv4 address"),
                      (["--hostname", "m", "--domain", "example.org", "--ipv4", "127.0.0.1"], "no full host name"),
                      (["--hostname", "m.example.org", "--domain", "example.org", "--ipv4", "127.0.0.1", "--account", "a@b@c"],
                       "no mail address"),
                      (["--hostname", "m.example.org", "--domain", "example.org", "--ipv4", "127.0.0.1", "--account",
                        "a@elsewhere.net"], "not declared")):
        r = run("init", "bad", *args)
        ok(r.returncode == 2 and why in r.stderr and not os.path.exists(os.path.join(WORK, "bad")),
           f"init refused, nothing written: {why}")
    r = run("--json", "init", "j", "--hostname", "m.example.org", "--domain", "example.org", "--ipv4", "127.0.0.1")
    is_([a["address"] for a in json.loads(r.stdout)["accounts"]], ["admin@example.org"], "init --json; the account is admin by default")


def accounts():
    own = "h/site.d/90-mailadm.conf"
    r = cli("account", "add", "Bob@Example.ORG", "--name", 'Bob "the \\ Builder" Müller', "--quota", "10G", "--protocols", "imap,submission")
    is_((r.returncode, r.stderr), (0, ""), "account add")
    like(read(own), r"^# Written by mailadm account", "the drop-in says whose it is")
    r = cli("account", "list")
    like(r.stdout, r'(?m)^bob@example.org\tBob "the \\ Builder" Müller\t10.0 GiB\timap,submission\tno\th/site.d/90-mailadm.conf:\d+\tactive$',
         "account list: a line of tab-separated fields")
    like(r.stdout, r"(?m)^alice@example.org\t\tnone\timap,pop3,submission\tyes\th/site.conf:\d+\tactive$", "and who has a password")
    listed = {a["address"]: a for a in json.loads(cli("account", "list", "--json").stdout)}
    is_(listed["bob@example.org"]["name"], 'Bob "the \\ Builder" Müller', "account list --json")
    before = read(own)
    for args, status, why in ((["add", "bob@example.org"], 1, "already"),
                              (["add", "alice@example.org"], 2, "is already the account of h/site.conf:"),
                              (["add", "x@elsewhere.net"], 2, "not declared"),
                              (["add", "x@example.org", "--quota", "lots"], 2, "no size"),
                              (["add", "x@example.org", "--protocols", "imap,smtp"], 2, "no protocol"),
                              (["add", "x@example.org", "--name", "a\nb"], 2, "control character"),
                              (["add", "no address"], 2, "no mail address"),
                              (["remove", "alice@example.org"], 1, "was written by hand"),
                              (["remove", "nobody@example.org"], 1, "there is no account"),
                              (["passwd", "nobody@example.org"], 1, "there is no account")):
        r = cli("account", *args, stdin="long enough\n")
        ok(r.returncode == status and why in r.stderr and not r.stdout, f"account {' '.join(args)!r} refused: {why}")
    is_(read(own), before, "and nothing was changed")
    like(cli("account", "remove", "alice@example.org").stderr, r"^mailadm: h/site.conf:\d+: ", "by hand: the message says where")
    is_(cli("account", "add", "ünï@bücher.example").returncode, 0, "an accented account")
    r = cli("account", "passwd", "Bob@example.org", stdin="seven77\n")
    is_(r.returncode, 2, "a password of 7 bytes is refused")
    is_(cli("account", "passwd", "Bob@example.org", stdin="").returncode, 2, "so is none")
    r = cli("account", "passwd", "Bob@example.org", stdin="a long password\nnot read\n")
    is_((r.returncode, r.stdout, r.stderr), (0, "", ""), "account passwd reads a line")
    like(read("h/state/credentials"), r"(?m)^bob@example.org:\$y\$", "and stores a hash")
    is_(cli("account", "remove", "BOB@example.org").returncode, 0, "account remove")
    ok("bob@" not in read("h/state/credentials") and "bob@" not in read(own), "removes the account and its password")


def password_on_terminal():
    """Asks twice, shows nothing, and takes only the same password twice."""
    def answers(first, second):
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(WORK)
            os.execv(MAILADM, [MAILADM, "-c", "h/site.conf", "account", "passwd", "alice@example.org"])
        seen = ""
        for prompt, answer in (("New password for alice@example.org: ", first), ("The same again: ", second)):
            while not seen.endswith(prompt):
                seen += os.read(fd, 1000).decode()
            os.write(fd, (answer + "\n").encode())
        try:
            while data := os.read(fd, 1000):
                seen += data.decode()
        except OSError:
            pass
        os.close(fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen

    before = read("h/state/credentials")
    status, seen = answers("the first password", "another password")
    is_(status, 2, "two passwords that differ are refused")
    like(seen, "the two are not the same", "and it says so")
    is_(read("h/state/credentials"), before, "nothing was changed")
    status, seen = answers("the first password", "the first password")
    is_(status, 0, "the same twice is taken")
    ok("first" not in seen, "nothing is echoed")
    ok(read("h/state/credentials") != before, "the hash is new")


def aliases():
    is_(cli("alias", "add", "info@example.org", "alice@example.org").returncode, 0, "alias add")
    is_(cli("alias", "add", "Info@example.org", "someone@elsewhere.net", "alice@EXAMPLE.org").returncode, 0, "alias add: more targets")
    r = json.loads(cli("alias", "list", "--json").stdout)
    is_([(a["address"], a["targets"]) for a in r], [("info@example.org", ["alice@example.org", "someone@elsewhere.net"])],
        "alias list --json: each target once")
    before = read("h/site.d/90-mailadm.conf")
    for args, why in ((["add", "sales@example.org", "nobody@example.org"], "who is nobody here"),
                      (["add", "a@example.org", "a@example.org"], "in a circle"),
                      (["add", "alice@example.org", "x@elsewhere.net"], "is already the account"),
                      (["remove", "info@example.org", "other@elsewhere.net"], "does not lead to"),
                      (["remove", "sales@example.org"], "there is no alias"),
                      (["add", "info@example.org"], "usage")):
        r = cli("alias", *args)
        ok(r.returncode != 0 and why in r.stderr, f"alias {' '.join(args)} refused: {why}")
    is_(read("h/site.d/90-mailadm.conf"), before, "and nothing was changed")
    is_(cli("alias", "remove", "info@example.org", "alice@example.org").returncode, 0, "alias remove a target")
    is_(cli("alias", "list").stdout.split("\t")[:3], ["info@example.org", "alias", "someone@elsewhere.net"], "the other stays")
    is_(cli("alias", "remove", "info@example.org", "someone@elsewhere.net").returncode, 0, "alias remove the last target")
    is_(cli("alias", "list").stdout, "", "removes the alias")


def together():
    """Commands at once wait for each other: no edit is lost."""
    names = [f"user{i}@example.org" for i in range(12)]
    running = [subprocess.Popen([MAILADM, "-c", "h/site.conf", "account", "add", n], cwd=WORK, stdout=subprocess.DEVNULL) for n in names]
    is_([p.wait(60) for p in running], [0] * len(names), "twelve commands at once")
    listed = {a["address"] for a in json.loads(cli("account", "list", "--json").stdout)}
    ok(set(names) <= listed, "every account is there")
    ok(not [f for f in os.listdir(os.path.join(WORK, "h/site.d")) if f not in ("90-mailadm.conf", ".lock")], "no temporary file is left")


def from_nothing():
    """account add makes the first account of a site that has none yet."""
    os.mkdir(os.path.join(WORK, "n"))
    with open(os.path.join(WORK, "n/site.conf"), "w") as f:
        f.write('host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; };\ndomains = ( { name = "example.org"; } );\nstate_dir = "state";\n')
    is_(run("-c", "n/site.conf", "check").returncode, 1, "a site without an account has an error")
    is_(run("-c", "n/site.conf", "account", "add", "alice@example.org").returncode, 0, "account add makes the first")
    r = run("-c", "n/site.conf", "check")
    is_(r.returncode, 0, "then it is right")
    is_(run("-c", "n/site.conf", "check", "--strict").returncode, 1, "but for warnings, which --strict counts")
    r = json.loads(run("-c", "n/site.conf", "check", "--json").stdout)
    is_((r["ok"], r["errors"], [f["severity"] for f in r["findings"]]), (True, 0, ["warning", "warning"]), "check --json")
    ok(all(f["text"].startswith(f["file"]) for f in r["findings"]), "findings have their place")


def client():
    r = cli("client", "alice@example.org")
    is_(r.stdout.splitlines()[0].split("\t"), ["imap", "mail.example.org", "20993", "TLS", "alice@example.org"], "client")
    is_(cli("client", "nobody@example.org").returncode, 1, "client: nobody")
    cli("account", "add", "scanner@example.org", "--protocols", "submission")
    r = json.loads(cli("client", "scanner@example.org", "--json").stdout)
    is_([(s["use"], s["port"]) for s in r], [("submission", 20465), ("submission", 20587)], "client --json: what the account may use")
    text = on_terminal("-c", "h/site.conf", "account", "list")
    like(text, r"^ADDRESS +NAME +QUOTA +PROTOCOLS +PASSWORD +DEFINED", "on a terminal there is a header")
    like(text, r"jörg@xn--bcher-kva.example ", "and UTF-8, whatever the locale")


def machine_readable():
    """--json works for every command, before and behind it; exit statuses are 0 yes, 1 no, 2 usage or cannot."""
    with open(os.path.join(WORK, "h/site.conf"), "a") as f:
        f.write('backup = ( { name = "nightly"; repository = "repository"; } );\n')
    for args, kind in ((["check"], dict), (["check", "--with-tools"], dict), (["site", "print"], dict), (["site", "schema"], list),
                       (["account", "list"], list), (["account", "add", "json@example.org"], dict),
                       (["account", "passwd", "json@example.org"], dict), (["alias", "add", "j@example.org", "json@example.org"], dict),
                       (["alias", "list"], list), (["alias", "remove", "j@example.org"], dict),
                       (["account", "remove", "json@example.org"], dict), (["client"], list), (["fw", "render"], dict),
                       (["dns", "render"], list), (["dns", "render", "--out", "zones"], dict), (["dns", "keygen"], dict),
                       (["backup", "run", "nightly"], dict), (["backup", "list"], list),
                       (["backup", "restore", "latest", "--to", "restored"], dict), (["backup", "timer", "nightly"], dict)):
        r = cli("--json", *args, stdin="a long password\n")
        try:
            ok(r.returncode == 0 and isinstance(json.loads(r.stdout), kind), f"--json {' '.join(args)}: exit {r.returncode} {r.stderr}".strip())
        except ValueError:
            ok(False, f"--json {' '.join(args)}: {r.stdout!r} {r.stderr}")
    is_(cli("backup", "timer", "nightly").stdout, "[Timer]\nOnCalendar=\nOnCalendar=*-*-* 03:30:00\n", "backup timer")
    is_(run("-c", "restored/site.conf", "check").returncode, 0, "what was restored is a right site")
    for args, status, why in ((["alias", "remove", "info@example.org", "no address"], 2, "no mail address"),
                              (["alias", "remove", "nobody@example.org"], 1, "there is no alias"),
                              (["dns", "keygen", "--out", "x"], 2, "usage"), (["dns", "frob"], 2, "usage"), (["fw"], 2, "usage"),
                              (["backup", "run", "weekly"], 2, "no backup named weekly"), (["backup", "run"], 2, "usage"),
                              (["backup", "restore", "latest", "--to", "restored"], 2, "not empty"),
                              (["backup", "restore", "ffffffff", "--to", "nowhere"], 2, "restic restore"),
                              (["status"], 1, "start it with: mailadm"), (["reload"], 2, "start it with: mailadm"),
                              (["queue", "list"], 2, "start it with: mailadm"), (["store", "verify"], 2, "has the host been started once?"),
                              (["client", "nobody@example.org"], 1, "account list"), (["site", "frob"], 2, "usage")):
        if args[0] == "alias" and status == 2:
            cli("alias", "add", "info@example.org", "alice@example.org")
        r = cli(*args)
        ok(r.returncode == status and why in r.stderr and (r.stdout == "" or args == ["status"]), f"{' '.join(args)}: exit {status}, {why}")
        if r.returncode != status or why not in r.stderr:
            diag(f"exit {r.returncode}: {r.stdout}{r.stderr}")
    ok(not os.path.exists(os.path.join(WORK, "nowhere")), "a restore that fails leaves no folder")


signal.alarm(300)  # a prompt that never comes ends the test
try:
    usage()
    init()
    accounts()
    password_on_terminal()
    aliases()
    together()
    from_nothing()
    client()
    machine_readable()
finally:
    shutil.rmtree(WORK)
done()
