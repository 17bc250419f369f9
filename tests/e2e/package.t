#!/usr/bin/env python3
"""The Debian package: what is in it, and its programs from where it was unpacked serve a host."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import BUILD, ROOT, diag, done, free_offset, is_, like, ok, wait_until  # noqa: E402

WORK = tempfile.mkdtemp(prefix="mailadm-deb-")
os.chmod(WORK, 0o755)
FILES = ("usr/sbin/mailadm usr/sbin/mailsvc usr/sbin/sendmail usr/lib/sendmail usr/bin/mailq usr/bin/newaliases "
         "usr/share/man/man8/mailadm.8.gz usr/share/man/man8/mailsvc.8.gz usr/share/man/man5/mailadm-site.5.gz "
         "lib/systemd/system/mailadm.service lib/systemd/system/mailadm-backup@.service lib/systemd/system/mailadm-backup@.timer "
         "lib/systemd/system/mailadm-firewall.service lib/systemd/system/mailadm-status.timer "
         "lib/systemd/system/mailadm-rollover.timer lib/systemd/system/mailadm-doctor.timer usr/share/mailadm/load-firewall "
         "usr/share/mailadm/cron/mailadm usr/share/mailadm/certbot/mailadm-deploy usr/share/mailadm/create-users "
         "usr/share/mailadm/examples/small.conf usr/share/doc/mailadm/LICENSE").split()


def run(*argv, **kw):
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, **kw)


serving = None
try:
    version = re.search(r"^VERSION := (\S+)", open(ROOT + "/Makefile").read(), re.M).group(1)
    # Under a umask that would shut everybody else out.
    r = run("sh", "-c", 'umask 077; exec share/make-deb "$@"', "make-deb", version, os.path.relpath(BUILD, ROOT), cwd=ROOT,
            env=dict(os.environ, DIST=WORK + "/dist"))
    debs = glob.glob(WORK + "/dist/*.deb")
    ok(r.returncode == 0 and len(debs) == 1, "the package is built")
    diag(r.stderr)
    root = WORK + "/root"
    is_(run("dpkg", "-x", debs[0], root).returncode, 0, "and unpacked")
    for name in FILES:
        ok(os.path.lexists(f"{root}/{name}"), name)
    shut = [p for p, _, names in os.walk(root) for f in [p] + [p + "/" + n for n in names]
            if not os.path.islink(f) and not os.stat(f).st_mode & 0o004]
    is_(shut, [], "everybody can read it")
    fields = run("dpkg", "-f", debs[0]).stdout
    like(fields, "Version: " + version, "it has the version")
    ok(re.search(r"^Depends: .*libevent.*liblmdb.*libunbound", fields, re.M), "and depends on its libraries")

    # Removed and installed again, the host has its firewall at boot: what is enabled stays so until the package is purged.
    is_(run("dpkg", "-e", debs[0], WORK + "/control").returncode, 0, "its scripts")
    os.makedirs(WORK + "/bin")
    with open(WORK + "/bin/systemctl", "w") as f:
        f.write(f'#!/bin/sh\necho "$@" >>{WORK}/systemctl\n')
    os.chmod(WORK + "/bin/systemctl", 0o755)
    env = dict(os.environ, PATH=WORK + "/bin:" + os.environ["PATH"])
    is_(run(WORK + "/control/prerm", "remove", env=env).returncode, 0, "prerm remove")
    said = open(WORK + "/systemctl").read() if os.path.exists(WORK + "/systemctl") else ""
    ok("disable" not in said, "nothing is disabled: " + said.strip())
    if os.geteuid() == 0:
        r = run("unshare", "-m", "sh", "-c", 'd=/etc/systemd/system; mkdir -p $d; mount -t tmpfs none $d; mkdir $d/a.wants; '
                '[ ! -d /etc/cron.d ] || mount -t tmpfs none /etc/cron.d; '
                'for i in mailadm-firewall.service other.service; do ln -s /nowhere/$i $d/a.wants/; done; '
                f'{WORK}/control/postrm remove; ls $d/a.wants; {WORK}/control/postrm purge >/dev/null; ls $d/a.wants', env=env)
        is_(r.stdout.split(), ["mailadm-firewall.service", "other.service", "other.service"], "postrm purge takes the links away: " + r.stderr)

    mailadm, conf, offset = root + "/usr/sbin/mailadm", WORK + "/h/site.conf", free_offset()
    r = run(mailadm, "init", WORK + "/h", "--hostname", "mail.example.org", "--domain", "example.org", "--ipv4", "192.0.2.10",
            "--account", "alice", "--port-offset", str(offset))
    is_(r.returncode, 0, "init from the package: " + r.stderr)
    with open(WORK + "/log", "w") as log:
        serving = subprocess.Popen([mailadm, "-c", conf, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_until(lambda: serving.poll() is not None or "\nready" in "\n" + open(WORK + "/log").read(), "ready", 60)
    ok(serving.poll() is None, "serve from the package")
    r = run(mailadm, "-c", conf, "status", "--json")
    is_(json.loads(r.stdout)["version"], version, "status of the package's version")
    r = run(mailadm, "-c", conf, "sendmail", "alice@example.org", input="Subject: cron\n\nhello\n")
    is_(r.returncode, 0, "sendmail takes a message: " + r.stderr)
    is_(run(root + "/usr/bin/newaliases").returncode, 0, "newaliases has nothing to do")
    is_(run(root + "/usr/share/mailadm/create-users").returncode if os.geteuid() == 0 else 0, 0, "create-users a second time changes nothing")
    serving.terminate()
    is_(serving.wait(30), 0, "it ends")
finally:
    if serving and serving.poll() is None:
        serving.kill()
        serving.wait()
    shutil.rmtree(WORK, ignore_errors=True)
done()
