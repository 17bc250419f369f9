#!/usr/bin/env python3
"""A snapshot of a running host under load, restored into an empty folder, and served from there."""
import os
import re
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, Host, done, is_, like, ok  # noqa: E402

ALICE = "alice@example.org"


def subjects(host):
    m = host.imap(ALICE)
    m.select("INBOX", readonly=True)
    answer = m.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])")[1]
    m.logout()
    return [(re.search(rb"Subject: (\S+)", part[1]).group(1), b"\\Flagged" in part[0]) for part in answer if isinstance(part, tuple)]


with Host(accounts=[ALICE]) as host:
    with open(host.conf, "a") as f:
        f.write(f'backup = ( {{ name = "nightly"; repository = "{host.dir}/repository"; keep_daily = 7; }} );\n')
    # What a site may have beside itself: an include and a drop-in.
    os.makedirs(host.dir + "/people")
    os.makedirs(host.dir + "/site.d", exist_ok=True)
    with open(host.dir + "/people/more.inc", "w") as f:
        f.write('aliases = ( { address = "included@example.org"; to = "alice@example.org"; } );\n')
    with open(host.dir + "/site.d/50-more.conf", "w") as f:
        f.write('aliases = ( { address = "dropped-in@example.org"; to = "alice@example.org"; } );\n')
    with open(host.conf, "a") as f:
        f.write('@include "people/more.inc"\n')
    is_(host.cli("reload", check=False).returncode, 0, "the site with a backup is taken over")
    for i in range(20):
        host.deliver(ALICE, f"Subject: before-{i}\r\n\r\nbody\r\n".encode())
    m = host.imap(ALICE)
    m.select("INBOX")
    m.store("3,7", "+FLAGS", "\\Flagged")
    m.create("Archive/2026")
    m.copy("1:5", "Archive/2026")
    m.logout()
    before = subjects(host)

    stop = threading.Event()

    def load():
        n = 0
        while not stop.is_set():
            host.deliver(ALICE, f"Subject: during-{n}\r\n\r\n{'x' * 5000}\r\n".encode())
            n += 1
    loader = threading.Thread(target=load)
    loader.start()
    r = host.cli("backup", "run", "nightly", check=False)
    stop.set()
    loader.join()
    is_(r.returncode, 0, "backup run on a running host: " + r.stdout + r.stderr)
    like(r.stdout, "snapshot", "it says which snapshot it made")
    r = host.cli("backup", "run", "nightly", check=False)
    is_(r.returncode, 0, "a second run: " + r.stderr)
    r = host.cli("--json", "backup", "list", check=False)
    # Two of one day: keep_daily keeps the newer one (and both, if midnight fell between them).
    ok(r.returncode == 0 and r.stdout.count('"nightly"') in (1, 2), "backup list shows what is kept: " + r.stdout + r.stderr)
    ok(not os.path.exists(host.dir + "/state/backup/nightly"), "the staging folder is gone")

    target = host.dir + "/restored"
    os.makedirs(target + "/occupied")
    r = host.cli("backup", "restore", "latest", "--to", target, check=False)
    ok(r.returncode == 2 and "not empty" in r.stderr, "a restore onto something is refused: " + r.stderr)
    os.rmdir(target + "/occupied")
    r = host.cli("backup", "restore", "latest", "--to", target, check=False)
    is_(r.returncode, 0, "restore into an empty folder: " + r.stderr)
    ok(not os.path.exists(target + "/.restoring"), "nothing else is left in it")
    # As on another machine, where the users have other numbers: nothing is anybody's but root's.
    foreign = [p for p, _, _ in os.walk(target) if os.lstat(p).st_uid != os.geteuid()]
    is_(foreign, [], "it belongs to whoever restored it")
    # What a wrong password says must not be that there is a repository already.
    password = f"{host.dir}/state/backup-nightly.password"
    os.rename(password, password + ".kept")
    with open(password, "w") as f:
        f.write("wrong\n")
    r = host.cli("backup", "run", "nightly", check=False)
    ok(r.returncode == 2 and "wrong password" in r.stderr, "a wrong repository password is said: " + r.stderr)
    os.rename(password + ".kept", password)
    # On a new machine there is only a site of a few lines, with another state_dir, and the password that was kept.
    os.makedirs(host.dir + "/rescue")
    with open(host.dir + "/rescue/site.conf", "w") as f:
        f.write(f"""host = {{ name = "mail.example.org"; ipv4 = "192.0.2.10"; }}; domains = ( {{ name = "example.org"; }} );
            accounts = ( {{ address = "{ALICE}"; }} ); state_dir = "empty";
            backup = ( {{ name = "nightly"; repository = "{host.dir}/repository"; password_file = "{password}"; }} );""")
    empty = host.dir + "/mounted"
    os.mkdir(empty)
    r = subprocess.run([MAILADM, "-c", host.dir + "/rescue/site.conf", "backup", "restore", "latest", "--to", empty],
                       capture_output=True, text=True, timeout=60)
    ok(r.returncode == 0 and os.path.isdir(empty + "/state/store/log"), "a restore with another state_dir, into a folder that is there: "
       + r.stderr)
    os.chmod(target, 0o711)
    os.chmod(host.dir, 0o711)
    host.stop()

    again = Host(accounts={ALICE: host.accounts[ALICE]}, dir=target, offset=host.offset)
    again.start()
    try:
        after = subjects(again)
        is_(after[:20], before, "the restored host has the messages, in order, with their flags")
        ok(all(s.startswith(b"during-") for s, _ in after[20:]), f"and what came during the backup, as far as it got ({len(after) - 20})")
        m = again.imap(ALICE)
        is_(m.select('"Archive/2026"')[1], [b"5"], "the other mailbox is there")
        m.logout()
        for address in ("included@example.org", "dropped-in@example.org"):
            like(again.cli("alias", "list").stdout, address, address + " came along")
        log = os.stat(target + "/state/store/log")
        ok(os.geteuid() != 0 or log.st_uid == os.stat(target + "/state/store").st_uid != 0, "the log is store's own again")
        again.deliver(ALICE, b"Subject: after\r\n\r\nnew\r\n")
        is_(len(subjects(again)), len(after) + 1, "and new mail arrives")
    finally:
        again.stop()
    is_(again.cli("store", "verify", check=False).returncode, 0, "store verify finds nothing")
done()
