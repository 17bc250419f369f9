#!/usr/bin/env python3
"""The part `timers` of apply on a machine of its own (mount and network namespaces with an /etc above the real one): without
systemd /etc/cron.d/mailadm, with it (a made-up systemctl that keeps links as the real one does) the enabled timers; drift by
hand is seen, a rollback brings back what was there; the watchdogs start as units."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import MAILADM, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402

if os.geteuid() != 0:
    skip_all("a mount namespace needs root")
if "MAILADM_TEST_INSIDE" not in os.environ:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "true"]).returncode != 0:
        skip_all("unshare -m -n -p is refused here")
    work = tempfile.mkdtemp(prefix="mailadm-timers-")
    r = subprocess.run(["unshare", "-m", "-n", "-p", "-f", "--mount-proc", sys.executable, __file__], env=dict(os.environ, MAILADM_TEST_INSIDE=work))
    shutil.rmtree(work, ignore_errors=True)
    sys.exit(r.returncode)

WORK = os.environ["MAILADM_TEST_INSIDE"]
WANTS = "/etc/systemd/system/timers.target.wants"
SYSTEMCTL = """#!/bin/sh
# enable|disable --now UNIT..., restart UNIT..., is-active UNIT..., daemon-reload
verb=$1; shift; while case ${1-} in --*) true ;; *) false ;; esac; do shift; done
mkdir -p %(wants)s %(work)s/active
for unit; do
	case $verb in
	enable) ln -sf /lib/systemd/system/x "%(wants)s/$unit"; touch "%(work)s/active/$unit" ;;
	disable) rm -f "%(wants)s/$unit" "%(work)s/active/$unit" ;;
	restart) touch "%(work)s/active/$unit" ;;
	is-active) if [ -e "%(work)s/active/$unit" ]; then echo active; else echo inactive; fi ;;
	esac
done
""" % {"wants": WANTS, "work": WORK}
SYSTEMD_RUN = """#!/bin/sh
for word; do case $word in --unit=*|--property=*) echo "$word" >> %s/units ;; --*) ;; *) break ;; esac; shift; done
setsid "$@" >/dev/null 2>&1 &
""" % WORK


def mailadm(*args):
    return subprocess.run([MAILADM, *args], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, PATH=WORK + "/bin:" + os.environ["PATH"]))


def site(schedule, rollover="0", more=""):
    with open("/etc/mailadm/site.conf", "w") as f:
        f.write('host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; };\ndomains = ( { name = "example.org"; } );\n'
                'accounts = ( { address = "alice@example.org"; } );\nstate_dir = "%s/state";\n'
                'dns = { server = "none"; rollover = "%s"; };\nfirewall = { admin_from = ( "192.0.2.0/24" ); };\n'
                'backup = ( { name = "nightly"; repository = "%s/repo"; schedule = "%s"; } %s );\n'
                % (WORK, rollover, WORK, schedule, more))


def part(name):
    r = mailadm("plan")
    return [line for line in r.stdout.splitlines() if line.startswith(name + ":")]


def changed(args, code, name):
    r = mailadm(*args)
    is_(r.returncode, code, name)
    if r.returncode != code:
        diag(r.stdout + r.stderr)
    return r


def enabled():
    return sorted(name for name in os.listdir(WANTS) if name.startswith("mailadm-"))


def cron():
    with open("/etc/cron.d/mailadm") as f:
        return f.read()


def without_systemd():
    shutil.rmtree("/run/systemd", ignore_errors=True)
    os.makedirs("/etc/cron.d", exist_ok=True)
    site("*-*-* 02:15:00")
    ok(part("timers") == ["timers: /etc/cron.d/mailadm is not there"], "cron has nothing yet")
    changed(["apply", "--yes"], 0, "apply")
    like(cron(), "15 2 * * *\troot\tmailadm backup run nightly", "writes the backup's time")
    like(cron(), "mailadm status --alert", "and status")
    like(cron(), "@reboot\troot\tmailadm apply --recover --boot;", "and what a boot does")
    like(cron(), "* * * * *\troot\t[ ! -e %s/state/apply/pending ] || mailadm apply --recover >/dev/null 2>&1\n" % WORK, "and a third net")
    changed(["plan"], 0, "then there is no change")
    with open("/etc/cron.d/mailadm", "a") as f:
        f.write("* * * * * root true\n")
    like("\n".join(part("timers")), "differs", "a line by hand is drift")
    before = cron()
    site("Sun *-*-* 03:00")
    changed(["apply", "--yes", "--confirm", "60s"], 0, "a new schedule")
    like(cron(), "0 3 * * 0\t", "is written")
    changed(["rollback"], 0, "rollback")
    is_(cron(), before, "brings back the file to the byte")
    site("*-*-1 03:00")
    r = changed(["plan"], 2, "a schedule that cron cannot say")
    like(r.stderr, "site.conf:7: backup nightly: cron cannot say", "is refused with its line")


def with_systemd():
    os.makedirs("/run/systemd/system")
    os.makedirs(WORK + "/bin")
    for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)):
        with open("%s/bin/%s" % (WORK, name), "w") as f:
            f.write(text)
        os.chmod("%s/bin/%s" % (WORK, name), 0o755)
    site("*-*-1 03:00", rollover="90d", more=', { name = "weekly"; repository = "%s/repo2"; }' % WORK)
    ok(part("timers") == ["timers: the enabled timers differ"], "systemd has no timer yet")
    changed(["apply", "--yes", "--confirm", "60s"], 0, "apply")
    want = ["mailadm-backup@nightly.timer", "mailadm-backup@weekly.timer", "mailadm-doctor.timer", "mailadm-rollover.timer",
            "mailadm-status.timer"]
    is_(enabled(), want, "enables them")
    with open("/etc/systemd/system/mailadm-backup@nightly.timer.d/mailadm-schedule.conf") as f:
        like(f.read(), "OnCalendar=\nOnCalendar=*-*-1 03:00\n", "with the site's schedule")
    with open(WORK + "/units") as f:
        units = f.read().split()
    is_(sorted(u for u in units if "--unit" in u), ["--unit=mailadm-watchdog-%d-%s" % (n, w) for n in (3,) for w in "ab"],
        "the watchdogs are units")
    is_(units.count("--property=Restart=on-abnormal"), 2, "which systemd starts again when they are killed")
    changed(["rollback"], 0, "rollback")
    is_(enabled(), [], "disables them")
    ok(not os.path.exists("/etc/systemd/system/mailadm-backup@nightly.timer.d"), "and takes the schedule away")
    changed(["apply", "--yes"], 0, "apply, to stay")
    changed(["plan"], 0, "no change then")
    os.unlink(WORK + "/active/mailadm-status.timer")
    like(mailadm("plan").stdout, "- mailadm-status.timer (stopped)", "a stopped timer is drift")
    changed(["apply", "--yes"], 0, "which apply ends")
    site("daily")
    changed(["apply", "--yes"], 0, "a site with fewer")
    is_(enabled(), [w for w in want if "weekly" not in w], "disables the others")
    changed(["plan"], 0, "completely")
    elsewhere(units_said())


def units_said():
    with open(WORK + "/units") as f:
        return f.read()


def elsewhere(before):
    """In another network namespace than systemd's a unit's way back would change systemd's firewall."""
    site("weekly")
    r = subprocess.run(["unshare", "-n", "sh", "-ec", "%s apply --yes --confirm 60s; %s rollback" % (MAILADM, MAILADM)],
                       capture_output=True, text=True, timeout=60, env=dict(os.environ, PATH=WORK + "/bin:" + os.environ["PATH"]))
    is_(r.returncode, 0, "apply and back in another network namespace " + r.stderr)
    is_(units_said(), before, "starts no units")


def boot():
    """What the boot unit runs finds the rules of a site whose state is elsewhere."""
    os.symlink(MAILADM, WORK + "/bin/mailadm")
    subprocess.run(["nft", "delete", "table", "inet", "mailadm"], check=True)
    r = subprocess.run([os.path.dirname(os.path.abspath(__file__)) + "/../../share/load-firewall"], capture_output=True, text=True,
                       env=dict(os.environ, PATH=WORK + "/bin:" + os.environ["PATH"]))
    is_(r.returncode, 0, "load-firewall " + r.stderr)
    is_(subprocess.run(["nft", "list", "table", "inet", "mailadm"], capture_output=True).returncode, 0,
        "loads the rules of the installed site's state")


os.makedirs(WORK + "/upper")
mounted = subprocess.run("mount -t tmpfs none %(u)s && mkdir %(u)s/up %(u)s/work && mount -t overlay overlay -o "
                         "lowerdir=/etc,upperdir=%(u)s/up,workdir=%(u)s/work /etc && mount -t tmpfs none /run"
                         % {"u": WORK + "/upper"}, shell=True, capture_output=True, text=True)
if mounted.returncode != 0:
    skip_all("no overlay above /etc: " + mounted.stderr.strip())
os.makedirs("/etc/mailadm", exist_ok=True)
without_systemd()
with_systemd()
boot()
wait_until(lambda: not os.path.exists(WORK + "/state/apply/pending"), "nothing waits")
done()
