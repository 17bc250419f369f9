"""The path of mail beside Postfix: ingest with SPF, DKIM and DMARC, relaying to smtp-sink, and many connections held.

Servers and clients are in two network namespaces joined by a veth pair, so that no client is one of loopback's, which
nothing is asked about.  A real named in the server's has all names; for mailadm it is the resolver's forwarder, for Postfix,
opendkim, opendmarc and policyd-spf the name server, next to them.  Its processor time counts for both."""
import base64
import glob
import imaplib
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from common import BENCH, BUILD, PASSWORD, QUICK, USER, WORK, Peer, cpu, driver, memory, results
from dns_world import Server
from host import ROOT, Host, tls_context, wait_until
from netns import Net

HERE, THERE = "192.0.2.10", "192.0.2.50"
HELO, SIGNED, SELECTOR = "mx.signed.example", "signed.example", "bench"
SENDER, RELAY = f"sender@{SIGNED}", "relay@bench.example"
OUT_PORT = 2525
RUNS = int(os.environ.get("RUNS", "3"))
STEPS = os.environ.get("TRANSPORT", "ingest held relay").split()
HELD = 5000 // QUICK
HELD_PEER = 200 // (4 if QUICK > 1 else 1)
OPEN = "connection_rate = 1000000; command_rate = 1000000; tarpit = \"0\"; early_talker = \"off\"; helo = \"off\"; greylist = \"off\"; "
LIMITS = "connections_per_address = 100000; connections = 20000; send_rate = 0; send_stop = 0; "


def openssl(*args):
    return subprocess.run(["openssl", *args], check=True, capture_output=True).stdout


def sign():
    """Writes the message, 10 KiB and signed by dkimpy; returns the key's record."""
    import dkim
    key = openssl("genrsa", "2048")
    with open(f"{WORK}/dkim.pem", "wb") as f:
        f.write(key)
    head = (f"From: Sender <{SENDER}>\r\nTo: <{USER}>\r\nSubject: benchmark\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
            "Message-ID: <bench@signed.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n").encode()
    line = b"The quick brown fox jumps over the lazy dog and runs away from it.\r\n"
    plain = head + line * ((10240 - len(head)) // len(line))
    field = dkim.sign(plain, SELECTOR.encode(), SIGNED.encode(), key, canonicalize=(b"relaxed", b"simple"),
                      include_headers=[b"from", b"to", b"subject", b"date", b"message-id"])
    for name, text in (("signed", field + plain), ("plain", plain), ("ours", plain.replace(SENDER.encode(), RELAY.encode()))):
        with open(f"{WORK}/{name}.eml", "wb") as f:
            f.write(text)
    public = base64.b64encode(openssl("rsa", "-in", f"{WORK}/dkim.pem", "-pubout", "-outform", "DER")).decode()
    return " ".join(f'"{part}"' for part in re.findall(".{1,200}", "v=DKIM1; k=rsa; p=" + public))


def zone(key):
    return f"""$TTL 86400
@ SOA ns. admin. 1 3600 600 86400 86400
@ NS ns.
ns. A 127.0.0.1
50.2.0.192.in-addr.arpa. PTR {HELO}.
{HELO}. A {THERE}
{HELO}. TXT "v=spf1 ip4:{THERE} -all"
{SIGNED}. MX 10 {HELO}.
{SIGNED}. TXT "v=spf1 ip4:{THERE} -all"
{SELECTOR}._domainkey.{SIGNED}. TXT ( {key} )
_dmarc.{SIGNED}. TXT "v=DMARC1; p=reject"
mail.bench.example. A {HERE}
10.2.0.192.in-addr.arpa. PTR mail.bench.example.
"""


class Place:
    """The two namespaces, and named."""

    def __enter__(self):
        self.net = Net("bench", "server", "client").__enter__()
        try:
            self.net.join("server", "eth0", "client", "eth0")
            self.net.address("server", "eth0", HERE + "/24")
            self.net.address("client", "eth0", THERE + "/24")
            with open(f"{WORK}/root.zone", "w") as f:
                f.write(zone(sign()))
            with open(f"{WORK}/resolv.conf", "w") as f:
                f.write("nameserver 127.0.0.1\n")
            self.named = self.inside(Server(WORK, "dns", "127.0.0.1", {".": f'type primary; file "{WORK}/root.zone";'}).start)
        except BaseException:
            self.net.remove()
            raise
        # A command in front of what is to ask named.
        self.alone = ["unshare", "-m", "sh", "-c", f'mount --bind {WORK}/resolv.conf /etc/resolv.conf && exec "$@"', "sh"]
        return self

    def __exit__(self, *_):
        self.named.stop()
        self.net.remove()

    def inside(self, fn, *args, **kw):
        return self.net.inside("server", fn, *args, **kw)

    def outside(self, fn, *args, **kw):
        return self.net.inside("client", fn, *args, **kw)

    def listens(self, name, port):
        """Does a program in the namespace listen on the IPv4 port?"""
        def read():
            with open("/proc/thread-self/net/tcp") as f:
                return f.read()
        return re.search(rf":{port:04X} 00000000:0000 0A ", self.net.inside(name, read)) is not None


class Ours:
    name = "mailadm"

    def __init__(self, place):
        self.place = place
        self.host = Host(accounts={USER: PASSWORD, RELAY: PASSWORD}, hostname="mail.bench.example", domains=["bench.example"],
                         groups={"limits": LIMITS, "checks": OPEN}, insecure_loopback=False)
        self.port = self.host.port("smtp")

    def __enter__(self):
        self.host.site = 'dns = { forward = ( "127.0.0.1" ); dnssec = false; };\n'
        self.place.inside(self.host.__enter__)
        return self

    def __exit__(self, *args):
        self.host.__exit__(*args)

    def pids(self):
        return [self.host.process.pid, self.place.named.process.pid]

    def with_relay(self):
        self.host.site += f"""submission = {{ from = "off"; trusted = ( {{ from = ( "{THERE}" ); account = "{RELAY}"; }} ); }};
routes = ( {{ name = "sink"; to = ( "out.example" ); hosts = ( "{THERE}:{OUT_PORT}" ); }} );
"""
        self.host.stop()
        with open(self.host.conf, "w") as f:
            f.write(self.host.site_text())
        self.place.inside(self.host.start)

    def fresh(self):
        self.place.inside(self.host.restart)

    @staticmethod
    def empty():
        return True

    def newest(self):
        with self.place.inside(imaplib.IMAP4_SSL, HERE, self.host.port("imaps"), ssl_context=tls_context(), timeout=60) as imap:
            imap.login(USER, PASSWORD)
            imap.select("INBOX", readonly=True)
            return imap.fetch("*", "(BODY.PEEK[HEADER])")[1][0][1].decode()


class Theirs(Peer):
    """Postfix and Dovecot; checking: with opendkim and opendmarc as milters and policyd-spf."""
    name = "peer"
    OPENDKIM, OPENDMARC = 8891, 8893

    def __init__(self, place, checking=False):
        super().__init__()
        self.place, self.checking, self.milters = place, checking, []
        self.port = self.ports()[0]

    def __enter__(self):
        settings = f"""smtpd_tls_security_level = may
smtpd_tls_cert_file = {self.dir}/cert.pem
smtpd_tls_key_file = {self.dir}/key.pem
smtpd_client_connection_count_limit = 0
"""
        services = []
        try:
            self.place.inside(self.start)
            if self.checking:
                settings += self.start_milters()
                services = [f"policyd-spf unix - n n - 0 spawn user=nobody argv=/usr/bin/policyd-spf {self.dir}/policyd-spf.conf"]
            else:
                settings += f"mynetworks = {THERE}/32\ntransport_maps = inline:{{out.example=smtp:[{THERE}]:{OUT_PORT}}}\n"
                settings += "default_process_limit = 300\n"  # 100 could not hold the connections that are measured
            self.place.inside(self.start_postfix, HERE, settings, services, self.place.alone)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        super().stop()
        for p in self.milters:
            p.terminate()
            p.wait()

    def start_milters(self):
        """As Debian configures them, but for the names."""
        files = {"opendkim.conf": f"""Syslog yes
Mode v
AuthservID mail.bench.example
Socket inet:{self.OPENDKIM}@127.0.0.1
UserID opendkim
OversignHeaders From
Nameservers 127.0.0.1
PidFile {self.dir}/opendkim.pid
""", "opendmarc.conf": f"""Syslog true
AuthservID mail.bench.example
TrustedAuthservIDs mail.bench.example
Socket inet:{self.OPENDMARC}@127.0.0.1
UserID opendmarc
PidFile {self.dir}/opendmarc.pid
""", "policyd-spf.conf": """debugLevel = 1
TestOnly = 1
HELO_reject = Fail
Mail_From_reject = Fail
PermError_reject = False
TempError_Defer = False
Header_Type = AR
Authserv_Id = mail.bench.example
skip_addresses = 127.0.0.0/8,::ffff:127.0.0.0/104,::1
"""}
        for name, text in files.items():
            with open(f"{self.dir}/{name}", "w") as f:
                f.write(text)
        for argv in (["/usr/sbin/opendkim", "-f", "-x", f"{self.dir}/opendkim.conf"],
                     ["/usr/sbin/opendmarc", "-f", "-c", f"{self.dir}/opendmarc.conf"]):
            self.milters.append(self.place.inside(subprocess.Popen, [*self.place.alone, *argv], stdin=subprocess.DEVNULL))
        for port in (self.OPENDKIM, self.OPENDMARC):
            wait_until(lambda: self.place.listens("server", port), f"the milter on {port}")
        return f"""smtpd_milters = inet:127.0.0.1:{self.OPENDKIM}, inet:127.0.0.1:{self.OPENDMARC}
milter_default_action = tempfail
smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service unix:private/policyd-spf
policyd-spf_time_limit = 3600
"""

    def pids(self):
        return super().pids() + [p.pid for p in self.milters] + [self.place.named.process.pid]

    def stop_postfix(self):
        self.place.inside(super().stop_postfix)  # outside it does not know its address

    def fresh(self):
        """So that no smtpd is left whose memory is used again."""
        self.stop_postfix()
        self.place.inside(self.run_postfix, self.place.alone)

    def empty(self):
        return self.queue_empty()

    def newest(self):
        path = max(glob.glob(f"{self.dir}/mail/{USER}/new/*"), key=os.path.getmtime)
        with open(path) as f:
            return f.read()


def say_pass(server):
    """What is compared does the same: all three pass."""
    text = re.sub(r"\r?\n[ \t]+", " ", server.newest().partition("\n\n")[0])
    for verdict in ("spf=pass", "dkim=pass", "dmarc=pass"):
        if not re.search(r"Authentication-Results: mail\.bench\.example;[^\n]*" + verdict, text):
            raise RuntimeError(f"{server.name}: no {verdict} in {text[:4000]}")


def measured(name, server, count, send, arrived):
    """Medians of RUNS: messages a second and the server's processor time for one."""
    rates, used = [], []
    for _ in range(RUNS):
        before, begun = cpu(server.pids()), time.monotonic()
        send(count)
        wait_until(arrived, name, 600)
        rates.append(count / (time.monotonic() - begun))
        used.append((cpu(server.pids()) - before) * 1000 / count)
    results[f"{server.name} {name}"] = {"rate": statistics.median(rates), "cpu_ms": statistics.median(used), "rates": rates}


def ingest(place, server, count):
    def send(n):
        place.outside(driver, "smtp", "-e", HELO, "-f", f"{WORK}/signed.eml", f"{HERE}:{server.port}", min(50, n), n, 0, SENDER, USER)
    send(50)  # DNS is asked, processes are started
    wait_until(server.empty, "the first messages", 60)
    say_pass(server)
    measured("ingest, checked", server, count, send, server.empty)
    say_pass(server)


class Sink:
    """smtp-sink in the client's namespace, and how many messages it has had."""

    def __init__(self, place):
        self.place, self.path = place, f"{WORK}/sink"
        with open(self.path, "wb") as out:
            self.process = place.outside(subprocess.Popen, ["smtp-sink", "-u", "nobody", "-c", f"{THERE}:{OUT_PORT}", "1000"], stdout=out)
        wait_until(self.answers, "smtp-sink")

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("smtp-sink ended")
        return self.place.listens("client", OUT_PORT)

    def count(self):
        with open(self.path, "rb") as f:
            f.seek(max(0, os.path.getsize(self.path) - 200))
            seen = re.findall(rb"mesg=(\d+)", f.read())
        return int(seen[-1]) if seen else 0

    def stop(self):
        self.process.terminate()
        self.process.wait()


def relay(place, server, count, label, message):
    sink = Sink(place)
    sent = [0]

    def send(n):
        sent[0] += n
        place.outside(driver, "smtp", "-f", f"{WORK}/{message}.eml", f"{HERE}:{server.port}", 50, n, 0, RELAY, "somebody@out.example")
    try:
        send(50)
        wait_until(lambda: sink.count() >= sent[0], "smtp-sink has the first messages", 60)
        measured(label, server, count, send, lambda: sink.count() >= sent[0])
    finally:
        sink.stop()


def hold(place, server, label, flags, stages):
    server.fresh()
    before = memory(server.pids())
    p = place.outside(subprocess.Popen, [f"{BENCH}/bench_held", *flags, f"{HERE}:{server.port}", HELO] + [str(n) for n in stages],
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for n in stages:
        line = p.stdout.readline()
        if not line:
            raise RuntimeError(f"{server.name} held {label}: {p.stderr.read()}")
        r = re.findall(r'"(\w+)": ([0-9.]+)', line)
        results[f"{server.name} held {label} {n}"] = {**{k: float(v) for k, v in r}, "KiB": (memory(server.pids()) - before) / n}
        p.stdin.write("\n")
        p.stdin.flush()
    p.stdin.close()
    p.wait()


def measure():
    if os.geteuid() != 0:
        return
    with Place() as place:
        with Ours(place) as ours:
            if "ingest" in STEPS:
                ingest(place, ours, 10000 // QUICK)
            if "held" in STEPS:
                for label, flags in (("plain", []), ("TLS", ["-t"])):
                    hold(place, ours, label, flags, (10, HELD))
            if "relay" in STEPS:
                ours.with_relay()
                relay(place, ours, 30000 // QUICK, "relay", "plain")  # about as long as the peer takes for its 3,000
                relay(place, ours, 5000 // QUICK, "relay, DKIM-signed", "ours")
        if "ingest" in STEPS:
            with Theirs(place, checking=True) as theirs:
                ingest(place, theirs, 1000 // QUICK)
        with Theirs(place) as theirs:
            if "held" in STEPS:
                for label, flags in (("plain", []), ("TLS", ["-t"])):
                    hold(place, theirs, label, flags, (10, HELD_PEER))
            if "relay" in STEPS:
                relay(place, theirs, 3000 // QUICK, "relay", "plain")


def row(label, field, ours, theirs, more, asked):
    value = ours / theirs if more else theirs / ours
    missed = "" if asked is None or value >= asked else "  MISSED"
    print(f"{label[:58]:58} {field:8} {ours:10.2f} {theirs:11.2f} {value:8.1f}x {'' if asked is None else asked!s:>4}{missed}")


def report():
    if not any(key.startswith("mailadm ") for key in results):
        print("transport: need root")
        return
    print(f"{'':58} {'':8} {'mailadm':>10} {'Postfix':>11} {'ratio':>9}  asked")
    for step, name in (("ingest", "ingest, checked"), ("relay", "relay")):
        if step in STEPS:
            a, b = results[f"mailadm {name}"], results[f"peer {name}"]
            row(f"{name}, 50 connections, 10 KiB", "rate", a["rate"], b["rate"], True, 15)
            row(f"{name}, 50 connections, 10 KiB", "cpu_ms", a["cpu_ms"], b["cpu_ms"], False, None)
    if "relay" in STEPS:
        signed = results["mailadm relay, DKIM-signed"]
        print(f"{'relay, signed by our RSA-2048 key (Postfix signs nothing)':58} {'rate':8} {signed['rate']:10.2f}")
    if "held" in STEPS:
        report_held()


def report_held():
    for label in ("plain", "TLS"):
        a, b = results[f"mailadm held {label} {HELD}"], results[f"peer held {label} {HELD_PEER}"]
        row(f"held after EHLO, {label}: {HELD:,} beside {HELD_PEER}, one has", "KiB", a["KiB"], b["KiB"], False, 20)
        few = results[f"mailadm held {label} 10"]
        for field, what in (("reply", "reply to NOOP"), ("reply_99", "its 99th percentile"), ("greeting", "connect, greeting and EHLO")):
            print(f"{f'  {what}, microseconds, with 10 and with {HELD:,}':58} {'':8} {few[field] * 1e6:10.0f} {a[field] * 1e6:11.0f} "
                  f"{a[field] / few[field]:8.1f}x")


def measure_queue():
    """tests/unit/test_store_million.c, on ENTRIES (1,000,000) entries for a destination that is away."""
    entries = int(os.environ.get("ENTRIES", "1000000")) // QUICK
    program = f"{BUILD}/tests/unit/test_store_million"
    subprocess.run(["make", "-C", ROOT, "QUIET=1", f"BUILD={os.path.relpath(BUILD, ROOT)}", os.path.relpath(program, ROOT)], check=True)
    folder = tempfile.mkdtemp(prefix="mailadm-bench-queue-", dir="/var/tmp")  # 4 GB
    try:
        r = subprocess.run([program], env={**os.environ, "MAILADM_ENTRIES": str(entries), "MAILADM_STORES": folder}, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if r.returncode != 0:
        raise RuntimeError(f"{program}: {r.stdout}")
    times = re.search(r"start-up in (\d+) ms; a new message leaves after (\d+) ms, after a start (\d+) ms", r.stdout)
    resident = max(int(n) for n in re.findall(r"(\d+) MiB resident", r.stdout))
    results["queue"] = {"entries": entries, "MiB": resident, "start_ms": int(times[1]), "new_ms": int(times[2]), "new_after_start_ms": int(times[3])}


def report_queue():
    r = results["queue"]
    for what, value, unit, most in (("memory of store", r["MiB"], "MiB", 1024), ("start-up", r["start_ms"], "ms", 10000),
                                    ("a new message to a live destination leaves after", max(r["new_ms"], r["new_after_start_ms"]), "ms", 1000)):
        print(f"{r['entries']:,} entries for a dead destination: {what} {value} {unit} (under {most:,}){'' if value < most else '  MISSED'}")
