"""A whole DNS of its own for a test, in a network namespace of its own, on port 53: a root server (which also serves org),
name servers of the site's domains, and a recursing resolver on 127.0.0.1.  Call enter() before anything else.

    enter("what needs it")
    with World() as w:
        w.root["."] = "..."          # more lines of the root zone; w.root["org"] likewise
        w.start()
        w.server("primary", "192.0.2.10", {"example.org": 'type primary; file "/...";'})
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from host import diag, skip_all, wait_until

ROOT, RESOLVER = "198.51.100.1", "127.0.0.1"
INSIDE = "MAILADM_TEST_NETNS"


def enter(addresses=()):
    """Starts this script again in a namespace where all addresses are on lo."""
    if os.environ.get(INSIDE) == "1":
        del os.environ[INSIDE]
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for address in (ROOT, *addresses):
            subprocess.run(["ip", "addr", "add", address + ("/128" if ":" in address else "/32"), "dev", "lo"]
                           + (["nodad"] if ":" in address else []), check=True)
        return
    if os.geteuid() != 0:
        skip_all("a network namespace with port 53 needs root")
    for tool in ("unshare", "ip", "named", "rndc", "dig", "dnssec-signzone"):
        if shutil.which(tool) is None:
            skip_all(tool + " is missing")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-n", "--", sys.executable, os.path.abspath(sys.argv[0])] + sys.argv[1:])


def run(*argv, check=True, **kw):
    r = subprocess.run(argv, capture_output=True, text=True, timeout=60, **kw)
    if check and r.returncode != 0:
        raise RuntimeError("%s: exit %d\n%s%s" % (" ".join(argv), r.returncode, r.stdout, r.stderr))
    return r


def dig(server, name, type, *options):
    """The short answers, one a line."""
    return run("dig", "+short", "+norec", "+tries=1", "+time=2", *options, "@" + server, name, type, check=False).stdout.strip()


class Server:
    """One named at one address."""

    def __init__(self, dir, name, address, zones, options="recursion no;", globals=""):
        self.dir, self.address, self.zones, self.options, self.globals = os.path.join(dir, name), address, zones, options, globals
        os.makedirs(self.dir, exist_ok=True)
        self.control = 10000 + sum(map(ord, name))
        self.key = os.path.join(self.dir, "rndc.key")
        run("rndc-confgen", "-a", "-c", self.key)
        with open(self.key) as key, open(os.path.join(self.dir, "rndc.conf"), "w") as conf:
            conf.write(key.read() + 'options { default-key "rndc-key"; default-server 127.0.0.1; default-port %d; };\n' % self.control)
        self.process = None

    def rndc_conf(self):
        """The command that speaks to it."""
        return "rndc -c %s/rndc.conf" % self.dir

    def write(self):
        listen = "listen-on { none; }; listen-on-v6 { %s; };" if ":" in self.address else "listen-on { %s; }; listen-on-v6 { none; };"
        with open(os.path.join(self.dir, "named.conf"), "w") as f:
            f.write('include "%s";\ncontrols { inet 127.0.0.1 port %d allow { 127.0.0.1; } keys { "rndc-key"; }; };\n' % (self.key, self.control))
            f.write('options { directory "%s"; %s pid-file none; session-keyfile none; notify-source %s; transfer-source %s;\n'
                    "notify-delay 0; %s };\n%s\n"
                    % (self.dir, listen % self.address, self.address, self.address, self.options, self.globals))
            for zone, text in self.zones.items():
                f.write('zone "%s" { %s };\n' % (zone, text))

    def start(self):
        self.write()
        self.log_path = os.path.join(self.dir, "log")
        log = open(self.log_path, "wb")
        self.process = subprocess.Popen(["named", "-g", "-n", "1", "-c", os.path.join(self.dir, "named.conf")],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

        def running():
            if self.process.poll() is not None:
                diag(self.log())
                raise RuntimeError("named ended")
            return " running\n" in self.log()  # "running as" comes long before
        wait_until(running, "named at " + self.address)
        return self

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def rndc(self, *args):
        return run(*self.rndc_conf().split(), *args).stdout

    def reload(self):
        self.write()
        self.rndc("reload")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


class World:
    def __init__(self, signed=False):
        self.dir = tempfile.mkdtemp(prefix="mailadm-dns-", dir="/tmp")
        self.signed, self.servers = signed, {}
        self.root = {".": "", "org": ""}
        self.serial = 1
        self.keys = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            for s in self.servers.values():
                if s.process is not None:
                    diag("named at %s:" % s.address)
                    diag("\n".join(s.log().splitlines()[-15:]))
        for s in self.servers.values():
            s.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def server(self, name, address, zones, **kw):
        self.servers[name] = Server(self.dir, name, address, zones, **kw).start()
        return self.servers[name]

    def path(self, name):
        return os.path.join(self.dir, name)

    def sign(self, zone, text, path):
        """Writes the zone, signed with a key of its own when the world is; answers its DS record's data."""
        with open(path, "w") as f:
            f.write(text)
        if not self.signed:
            return None
        if zone not in self.keys:
            out = run("dnssec-keygen", "-q", "-K", self.dir, "-a", "ECDSAP256SHA256", "-f", "KSK", zone).stdout.strip()
            self.keys[zone] = os.path.join(self.dir, out)
        with open(self.keys[zone] + ".key") as key, open(path, "a") as f:
            f.write(key.read())
        run("dnssec-signzone", "-z", "-o", zone, "-f", path + ".signed", path, self.keys[zone], cwd=self.dir)
        os.rename(path + ".signed", path)
        return self.ds(zone)

    def ds(self, zone):
        return run("dnssec-dsfromkey", "-2", self.keys[zone] + ".key").stdout.split(" DS ")[1].strip()

    def write_root(self):
        """The zones of the root server, from self.root."""
        self.serial += 1
        head = "$TTL 1\n@ SOA ns.root. admin.root. %d 3600 600 86400 1\n" % self.serial
        ds = self.sign("org", head + "@ NS ns.root.\n" + self.root["org"], self.path("org.zone"))
        top = head + "@ NS ns.root.\nns.root. A %s\norg. NS ns.root.\n%s\n" % (ROOT, self.root["."])
        self.sign(".", top + ("org. DS %s\n" % ds if ds else ""), self.path("root.zone"))

    def start(self):
        self.write_root()
        self.server("root", ROOT, {".": 'type primary; file "%s"; allow-transfer { any; };' % self.path("root.zone"),
                                   "org": 'type primary; file "%s";' % self.path("org.zone")})
        with open(self.path("hints"), "w") as f:
            f.write(". 3600 NS ns.root.\nns.root. 3600 A %s\n" % ROOT)
        anchors = ""
        if self.signed:
            with open(self.keys["."] + ".key") as f:
                key = re.search(r"DNSKEY (\d+) (\d+) (\d+) (.*)", f.read())
            anchors = 'trust-anchors { . static-key %s %s %s "%s"; };' % (*key.groups()[:3], key.group(4).replace(" ", ""))
        self.server("resolver", RESOLVER, {".": 'type hint; file "%s";' % self.path("hints")}, globals=anchors,
                    options="recursion yes; allow-recursion { any; }; max-cache-ttl 1; max-ncache-ttl 1; query-source address 127.0.0.1;"
                            + (" dnssec-validation yes; max-udp-size 512;" if self.signed else " dnssec-validation no;") + ' empty-zones-enable no; qname-minimization off;')

    def update_root(self):
        self.write_root()
        self.servers["root"].rndc("reload")
        self.wait_serial(ROOT, "org", self.serial)
        self.flush()

    def flush(self):
        self.servers["resolver"].rndc("flush")

    def wait_serial(self, address, zone, serial):
        def there():
            words = dig(address, zone, "SOA").split()
            return len(words) == 7 and int(words[2]) >= serial
        wait_until(there, "serial %d of %s at %s" % (serial, zone, address))


def is_open(address, port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((address, port)) == 0
