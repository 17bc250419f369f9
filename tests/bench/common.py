"""What the benchmarks share: the drivers, what processes use, and Debian's Postfix and Dovecot as the peer."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from dovecot import Dovecot  # noqa: E402
from host import BUILD  # noqa: E402

QUICK = 10 if os.environ.get("QUICK") else 1
MESSAGES = int(os.environ.get("MESSAGES", "50000")) // QUICK
SIZE = 7600  # 50,000 make 380 MB
BENCH = os.path.join(BUILD, "tests/bench")
USER, PASSWORD = "alice@bench.example", "correct-horse-1"
WORK = tempfile.mkdtemp(prefix="mailadm-bench-")
os.chmod(WORK, 0o755)
results = {}


def driver(name, *args, alone=()):
    """alone: a command in front, as unshare -n for what needs a network namespace of its own."""
    r = subprocess.run([*alone, f"{BENCH}/bench_{name}"] + [str(a) for a in args], capture_output=True, text=True, timeout=900)
    if r.returncode != 0:
        raise RuntimeError(f"bench_{name} {args[:3]}: {r.stderr}")
    return [json.loads(line) for line in r.stdout.splitlines()]


def family(pids):
    """These processes and all below them."""
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parents[int(pid)] = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    found = set(pids)
    while True:
        more = {p for p, q in parents.items() if q in found} - found
        if not more:
            return found
        found |= more


def cpu(pids):
    """Seconds used so far, children that ended included."""
    ticks = 0
    for pid in family(pids):
        try:
            with open(f"/proc/{pid}/stat") as f:
                ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:15]))
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pids):
    """KiB of memory that is the processes' own (anonymous and shared): pages of files are the page cache's."""
    total = 0
    for pid in family(pids):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        except OSError:
            pass
    return total


class Peer(Dovecot):
    """Postfix and Dovecot with Debian's defaults, on loopback, in folders of their own."""

    def __init__(self, settings=""):
        """settings: more of dovecot.conf."""
        super().__init__(password=PASSWORD, below=WORK)
        self.master = None  # of Postfix
        self.settings = f"""protocols = imap lmtp pop3
mail_max_userip_connections = 10000
service pop3-login {{
  inet_listener pop3 {{
    port = {self.ports()[3]}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
{settings}"""

    def ports(self):
        """SMTP, IMAP, IMAP over TLS, POP3."""
        return self.offset + 25, self.offset + 143, self.offset + 993, self.offset + 110

    def start_postfix(self, address="127.0.0.1", settings="", services=(), alone=()):
        """settings: more of main.cf; services: more of master.cf; alone: a command in front, as in driver."""
        smtp = self.ports()[0]
        conf = self.dir + "/postfix"
        os.makedirs(conf)
        os.makedirs(self.dir + "/data")
        os.makedirs(self.dir + "/queue")
        shutil.chown(self.dir + "/data", "postfix")
        with open(conf + "/main.cf", "w") as f:
            f.write(f"""compatibility_level = 3.6
queue_directory = {self.dir}/queue
data_directory = {self.dir}/data
multi_instance_name = postfix-bench
myhostname = mail.bench.example
mydestination =
inet_interfaces = {address}
virtual_mailbox_domains = bench.example
virtual_transport = lmtp:unix:{self.dir}/run/lmtp
maillog_file = {self.dir}/queue/postfix.log
maillog_file_prefixes = {self.dir}
alias_maps =
{settings}
""")
        known = open("/usr/share/postfix/master.cf.dist").read() if os.path.exists("/usr/share/postfix/master.cf.dist") else open(
            "/etc/postfix/master.cf").read()
        lines = []
        for line in known.splitlines():
            words = line.split()
            if line[:1] not in ("#", " ", "\t", "") and len(words) >= 8:
                if words[0] == "smtp" and words[1] == "inet":
                    words[0] = f"{address}:{smtp}"
                elif words[1] == "inet":
                    continue
                words[4] = "n"
                lines.append(" ".join(words))
        with open(conf + "/master.cf", "w") as f:
            f.write("\n".join([*lines, *services]) + "\n")
        self.run_postfix(alone)

    def run_postfix(self, alone=()):
        r = subprocess.run([*alone, "postfix", "-c", self.dir + "/postfix", "start"], capture_output=True, text=True)
        if r.returncode != 0:
            raise RuntimeError(f"postfix start: {r.stdout}{r.stderr}")
        with open(self.dir + "/queue/pid/master.pid") as f:
            self.master = int(f.read())

    def pids(self):
        return [self.process.pid] + ([self.master] if self.master else [])

    def queue_empty(self):
        return all(not files for name in ("incoming", "active", "maildrop") for _, _, files in os.walk(f"{self.dir}/queue/{name}"))

    def fill(self, count):
        """A Maildir as Dovecot would have written it, without the wait."""
        base = f"{self.dir}/mail/{USER}"
        os.makedirs(base + "/cur")
        os.makedirs(base + "/new")
        os.makedirs(base + "/tmp")
        virtual = message()
        physical = virtual.replace(b"\r\n", b"\n")
        for i in range(count):
            with open(f"{base}/cur/{1700000000 + i}.M{i}P1.bench,S={len(physical)},W={len(virtual)}:2,", "wb") as f:
                f.write(physical)
        subprocess.run(["chown", "-R", f"{self.mail.pw_uid}:{self.mail.pw_gid}", base], check=True)

    def stop_postfix(self):
        if self.master:
            r = subprocess.run(["postfix", "-c", self.dir + "/postfix", "stop"], capture_output=True, text=True)
            if r.returncode != 0:
                raise RuntimeError(f"postfix stop: {r.stdout}{r.stderr}")
            self.master = None

    def stop(self):
        self.stop_postfix()
        super().stop()


def message():
    head = (f"From: <sender@bench.example>\r\nTo: <{USER}>\r\nSubject: benchmark\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
            "Message-ID: <bench@bench.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n").encode()
    line = b"The quick brown fox jumps over the lazy dog and runs away from it.\r\n"
    return head + line * ((SIZE - len(head)) // len(line))
