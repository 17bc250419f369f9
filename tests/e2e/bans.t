#!/usr/bin/env python3
"""Bans: a host in a network namespace, its firewall loaded, and strangers in another one whose packets are really dropped."""
import imaplib
import json
import os
import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(__file__))
from host import Host, diag, done, freeze, is_, like, ok, tls_context, wait_until  # noqa: E402
from netns import Net, need_namespaces  # noqa: E402

need_namespaces()
net = Net("guard", "host", "peers")
inside = net.inside
ALICE = "alice@example.org"
SERVER4, SERVER6 = "198.51.100.1", "2001:db8:1::1"
ATTACKER, PHONE, OFFICE, STRANGER, ADMIN = (f"198.51.100.{n}" for n in (11, 12, 13, 14, 200))
SMUGGLER, FUMBLER, HOLDER = "198.51.100.15", "198.51.100.16", "198.51.100.17"
SIX, SIX_NEXT, SIX_OTHER = "2001:db8:1:a::11", "2001:db8:1:a:ffff::12", "2001:db8:1:b::11"
OWN_TABLE = """table inet mailadm {
 set bans4 { type ipv4_addr; flags timeout; size 131072; }
 set bans6 { type ipv6_addr; flags timeout; size 131072; }
 chain input { type filter hook input priority 0; policy accept;
  ip saddr @bans4 drop
  ip6 saddr & ffff:ffff:ffff:ffff:: @bans6 drop
 }
}
"""


class BannedHost(Host):
    """With the addresses and the ports of a real one."""
    rules = ""

    def site_text(self):
        return f"""host = {{ name = "{self.hostname}"; ipv4 = "{SERVER4}"; ipv6 = "{SERVER6}"; }};
domains = ( {{ name = "example.org"; }} );
accounts = ( {{ address = "{ALICE}"; }} );
state_dir = "state";
firewall = {{ admin_from = ( "{ADMIN}/32"{self.rules} ); ban_after = 3; ban_time = "2h"; }};
dns = {{ forward = [ "127.0.0.1@9" ]; dnssec = false; }};
checks = {{ tarpit = "0"; dns_wait = "1s"; reverse_dns = "off"; helo = "off"; greylist = "off"; spf = "off"; dmarc = "off"; dkim = "off"; }};
"""


def network():
    net.join("host", "eth0", "peers", "eth0")
    for name, addresses in (("host", (SERVER4, SERVER6)),
                            ("peers", (ATTACKER, PHONE, OFFICE, STRANGER, ADMIN, SMUGGLER, FUMBLER, HOLDER, SIX, SIX_NEXT, SIX_OTHER))):
        net.address(name, "eth0", *(a + ("/48" if ":" in a else "/24") for a in addresses))


def nft(*argv, **kw):
    return net.run("host", "nft", *argv, **kw).stdout


def load_rules(host):
    """The host's own rules; where they have no sets of bans yet, a table that has nothing else."""
    text = host.cli("fw", "render").stdout
    nft("-f", "-", input=text if "bans6" in text else OWN_TABLE)


def cli(host, *argv, **kw):
    return inside("host", host.cli, *argv, **kw)


def bans(host):
    return {b["address"]: b for b in json.loads(cli(host, "fw", "bans", "--json").stdout)}


def kernel():
    """{address: seconds left} of both sets."""
    out = {}
    for name in ("bans4", "bans6"):
        for item in json.loads(nft("-j", "list", "set", "inet", "mailadm", name))["nftables"]:
            for e in item.get("set", {}).get("elem", []):
                out[e["elem"]["val"]] = e["elem"]["expires"]
    return out


def connect(source, port=25, timeout=10):
    def make():
        return socket.create_connection((SERVER6 if ":" in source else SERVER4, port), timeout, (source, 0))
    return inside("peers", make)


def reachable(source):
    """A connection opens, or is refused; or its packets vanish: half a second is long on a virtual wire."""
    try:
        s = connect(source, timeout=0.5)
    except ConnectionRefusedError:
        return True
    except (TimeoutError, socket.timeout):
        return False
    s.close()
    return True


class Imap(imaplib.IMAP4_SSL):
    """From an address of our choice."""
    def __init__(self, source):
        self.source = source
        super().__init__(SERVER4, 993, ssl_context=tls_context(), timeout=20)

    def _create_socket(self, timeout):
        return self.ssl_context.wrap_socket(socket.create_connection((SERVER4, 993), timeout, (self.source, 0)))


def login(source, password):
    """True: logged in; False: refused."""
    def attempt():
        c = Imap(source)
        try:
            c.login(ALICE, password)
            c.logout()
            return True
        except imaplib.IMAP4.error:
            c.shutdown()
            return False
    return inside("peers", attempt)


def logins(source, passwords):
    """At once, since each refusal takes a second."""
    with ThreadPoolExecutor(len(passwords)) as pool:
        return list(pool.map(lambda p: login(source, p), passwords))


def relay_attempts(source, n):
    """n recipients elsewhere, in one go: a ban may come before the replies."""
    def attempt():
        with socket.create_connection((SERVER6 if ":" in source else SERVER4, 25), 10, (source, 0)) as s:
            s.recv(512)
            lines = ["EHLO stranger.example", "MAIL FROM:<x@stranger.example>"]
            lines += [f"RCPT TO:<user{i}@elsewhere.example>" for i in range(n)] + ["QUIT", ""]
            s.sendall("\r\n".join(lines).encode())
            s.settimeout(0.5)
            try:
                while s.recv(4096):
                    pass
            except (TimeoutError, socket.timeout):
                pass
    inside("peers", attempt)


def guard_pid(host):
    return host.children()["guard"][0]


def guard_status(host):
    """Whatever else status finds wrong with this host, which nobody has applied."""
    return [r for r in json.loads(cli(host, "status", "--json", check=False).stdout)["roles"] if r["role"] == "guard"][0]


def offences(host):
    s = guard_status(host)
    is_((s["firewall"], s["banning"]), ("ok", True), "guard sees the firewall")
    ok(login(OFFICE, host.accounts[ALICE]), "a user logs in from the office")
    is_(logins(PHONE, ["an old password"] * 4), [False] * 4, "a phone has an old password, and tries it four times")
    ok(reachable(PHONE), "which counts once: it is not banned")
    is_(logins(ATTACKER, [f"guess {i}" for i in range(3)]), [False] * 3, "a stranger guesses three passwords")
    wait_until(lambda: ATTACKER in kernel(), "the ban is in the set")
    ok(not reachable(ATTACKER), "its packets are dropped")
    is_(bans(host)[ATTACKER]["why"], "failed logins", "bans says why")
    ok(7100 < kernel()[ATTACKER] <= 7200, "for as long as the site says")
    ok(login(OFFICE, host.accounts[ALICE]), "the user whose password was guessed logs in from elsewhere")
    relay_attempts(OFFICE, 5)
    wait_until(lambda: guard_status(host)["spared"] >= 1, "the office's offences are counted")
    ok(reachable(OFFICE), "where somebody has logged in from is not banned")
    relay_attempts(ADMIN, 5)
    wait_until(lambda: guard_status(host)["never"] >= 5, "the administrator's offences are counted")
    ok(reachable(ADMIN), "admin_from is never banned")


def six(host):
    relay_attempts(SIX, 5)
    wait_until(lambda: "2001:db8:1:a::" in kernel(), "the /64 is in the set")
    ok(not reachable(SIX_NEXT), "another address of its /64 is dropped too")
    ok(reachable(SIX_OTHER), "the next /64 is not")
    is_(bans(host)["2001:db8:1:a::/64"]["why"], "relay attempts", "bans shows the /64")


def abuse(host):
    """Sessions that are cut for their errors, in SMTP and before a login."""
    def talk(source, port, data):
        with connect(source, port) as s:
            s.recv(512)
            s.sendall(data)
            s.settimeout(0.5)
            try:
                while s.recv(4096):
                    pass
            except OSError:
                pass
    for _ in range(3):
        talk(SMUGGLER, 25, b"NOOP\nNOOP\n")
    wait_until(lambda: SMUGGLER in kernel(), "who ends lines with LF alone three times is banned")
    for _ in range(3):
        talk(FUMBLER, 143, b"nonsense\r\n" * 100)
    wait_until(lambda: FUMBLER in kernel(), "and who is cut off for errors before a login")
    is_([bans(host)[a]["why"] for a in (SMUGGLER, FUMBLER)], ["too many errors"] * 2, "errors ban")
    for a in (SMUGGLER, FUMBLER):
        cli(host, "fw", "unban", a)


def standing(host):
    """A ban lets connections go on that stand: what its source can still do with them."""
    held = [inside("peers", Imap, HOLDER) for _ in range(6)]

    def guess(n, password):
        try:
            held[n].login(ALICE, password)
            return "in"
        except imaplib.IMAP4.abort:
            return "closed"
        except imaplib.IMAP4.error as e:
            return "throttled" if b"LIMIT" in e.args[0] or b"try again" in e.args[0].lower() else "no"

    def guesses(wanted):
        with ThreadPoolExecutor(len(wanted)) as pool:
            return list(pool.map(lambda w: guess(*w), wanted))
    is_(guesses([(n, f"held {n}") for n in range(3)]), ["no"] * 3, "three guesses in connections of one source")
    wait_until(lambda: HOLDER in kernel(), "its ban")
    more = guesses([(n, f"more {n}") for n in range(6)]) + guesses([(n, f"again {n}") for n in range(3)])
    ok(set(more) <= {"no", "throttled"} and 3 + more.count("no") <= 10, "connections that stood go on, for as many guesses as limits.auth_failures") or diag(str(more))
    is_(guesses([(n, host.accounts[ALICE]) for n in range(3, 6)]), ["throttled"] * 3, "then even the right password is not looked at")
    is_(guesses([(n, "fourth") for n in range(3)]), ["closed"] * 3, "and three failures end a connection")
    ok(not reachable(HOLDER), "new connections are dropped")
    for c in held:
        c.shutdown()
    cli(host, "fw", "unban", HOLDER)


def commands(host):
    r = cli(host, "fw", "ban", ADMIN, check=False)
    is_((r.returncode, r.stderr), (1, f"mailadm: {ADMIN} is never banned: firewall.admin_from has {ADMIN}/32\n"), "admin_from cannot be banned by hand")
    for address, why in ((SERVER4, "an address of this host"), ("127.0.0.1", "this machine itself"), ("2001:db8:1::77", "an address of this host")):
        r = cli(host, "fw", "ban", address, check=False)
        ok(r.returncode == 1 and why in r.stderr, f"{address} cannot be banned: {why}") or diag(r.stderr)
    for wrong in (["ban"], ["ban", "198.51.100.0/24"], ["ban", STRANGER, "--for", "x"], ["ban", STRANGER, "--reason", "a\nb"], ["unban", "x"],
                  ["bans", "x"]):
        is_(cli(host, "fw", *wrong, check=False).returncode, 2, "fw " + " ".join(wrong).replace("\n", "\\n") + " is wrong usage")
    like(cli(host, "fw", "ban", STRANGER, "--for", "1h", "--reason", "port scans").stdout, f"{STRANGER} is banned until 20", "a ban by hand")
    ok(not reachable(STRANGER), "has effect at once")
    b = bans(host)[STRANGER]
    is_((b["why"], b["times"]), ("by hand: port scans", "1"), "is listed with its reason")
    ok(3500 < kernel()[STRANGER] <= 3600, "for an hour")
    cli(host, "fw", "ban", STRANGER, "--for", "3h")
    ok(3600 < kernel()[STRANGER] <= 10800, "again, for longer")
    is_(cli(host, "fw", "unban", STRANGER).stdout, f"{STRANGER} is no longer banned\n", "unban")
    ok(reachable(STRANGER), "has effect at once as well")
    is_(cli(host, "fw", "unban", STRANGER, check=False).returncode, 1, "a second unban says that there was nothing")


def survive(host):
    before = bans(host)
    is_(sorted(before), [ATTACKER, "2001:db8:1:a::/64"], "two are banned now")
    old = guard_pid(host)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: host.children().get("guard", [old])[0] != old, "guard is started again")
    wait_until(lambda: guard_status(host)["state"] == "up", "and up")
    is_(bans(host), before, "guard was killed: it knows the same bans")
    relay_attempts(STRANGER, 5)
    wait_until(lambda: STRANGER in kernel(), "peers reach the new guard")
    cli(host, "fw", "unban", STRANGER)
    nft("delete", "table", "inet", "mailadm")
    ok(reachable(ATTACKER), "without the rules nobody is kept out")
    r = cli(host, "fw", "ban", STRANGER, "--for", "4h")
    load_rules(host)
    wait_until(lambda: len(kernel()) == 3, "the bans come back")
    ok(7000 < kernel()[ATTACKER] < 7200 and not reachable(ATTACKER), "rules were loaded anew: the bans are back with the time they had left")
    ok(not reachable(STRANGER), "so is one that was made meanwhile") or diag(r.stderr)
    inside("host", host.stop)
    nft("delete", "table", "inet", "mailadm")
    load_rules(host)
    ok(reachable(ATTACKER), "a reboot: rules without bans")
    inside("host", host.start)
    is_({a: b["until"] for a, b in bans(host).items() if a != STRANGER}, {a: b["until"] for a, b in before.items()}, "the host knows them still")
    ok(not reachable(ATTACKER) and not reachable(STRANGER), "and has put them back before it was ready")


def reload(host):
    """A site that says never to one who is banned."""
    BannedHost.rules = f', "{STRANGER}/32"'
    with open(host.conf, "w") as f:
        f.write(host.site_text())
    cli(host, "reload")
    wait_until(lambda: STRANGER not in kernel(), "the ban is lifted")
    ok(reachable(STRANGER), "admin_from has got another address: its ban is lifted")


def stopped(host):
    inside("host", host.stop)
    is_(sorted(bans(host)), [ATTACKER, "2001:db8:1:a::/64"], "the host does not run: bans are listed")
    is_(cli(host, "fw", "ban", ADMIN, check=False).returncode, 1, "never-ban holds")
    cli(host, "fw", "ban", PHONE, "--for", "1h")
    ok(not reachable(PHONE), "ban has effect")
    cli(host, "fw", "unban", ATTACKER)
    ok(ATTACKER not in kernel(), "unban has effect")
    is_(os.stat(host.dir + "/state/bans/list").st_uid, os.stat(host.dir + "/state/bans").st_uid, "the file stays guard's")
    inside("host", host.start)
    is_(sorted(bans(host)), [PHONE, "2001:db8:1:a::/64"], "the host that starts knows both")
    freeze(guard_pid(host))
    pid = guard_pid(host)
    try:
        ok(not login(OFFICE, "wrong"), "a guard that hangs keeps nobody waiting")
    finally:
        os.kill(pid, signal.SIGCONT)
    inside("host", host.stop)
    with open(host.dir + "/state/bans/list", "w") as f:
        f.write("mailadm bans 1\n198.51.100.11 1 2 1 \x1b[31mx\nend 1\n")
    nft("delete", "table", "inet", "mailadm")
    load_rules(host)
    inside("host", host.start)
    is_(bans(host), {}, "a hostile file: no bans")
    like(host.log(), "bans/list:2: it does not say why", "a line says what is wrong with it")
    ok(os.path.exists(host.dir + "/state/bans/list.bad"), "and it is kept aside")


host = BannedHost(accounts=[ALICE], offset=1)
host.offset = 0
with net:
    network()
    try:
        host.init()
        load_rules(host)
        inside("host", host.start)
        offences(host)
        six(host)
        abuse(host)
        standing(host)
        commands(host)
        survive(host)
        reload(host)
        stopped(host)
        is_(re.findall(r".*refused system call.*", host.log()), [], "no sandbox refused anything")
    except BaseException:
        host.show_log()
        raise
    finally:
        inside("host", host.cleanup)
done()
