"""Real Exim and OpenSMTPD on loopback, each in a mount namespace of its own with the users that it was built for.

    why = mta.why_not(); ...
    with mta.Exim(folder, "exim.example", smarthost=port) as peer, mta.OpenSMTPD(folder, "osmtpd.example", smarthost=port) as other:
        peer.port                # takes mail for its domain, and from loopback for anybody, which goes to the smarthost
        peer.wait(1)             # [bytes] of what was delivered
        peer.log()

Debian's packages of them conflict with Postfix's, so they are unpacked and not installed.  Both refuse the local part
"refuse" for good and "later" for now (OpenSMTPD the first only)."""
import glob
import os
import shutil
import signal
import socket
import subprocess

from host import BUILD, wait_until
from send_peers import certificate, free_port

PACKAGES = {"exim4-daemon-light": "usr/sbin/exim4", "opensmtpd": "usr/sbin/smtpd"}
ROOT = os.path.join(BUILD, "peers")
USERS = "Debian-exim:x:900:900::/:/bin/false\nopensmtpd:x:901:901::/:/bin/false\nopensmtpq:x:902:902::/:/bin/false\nbox:x:903:903::%s:/bin/false\n"
GROUPS = "Debian-exim:x:900:\nopensmtpd:x:901:\nopensmtpq:x:902:\nbox:x:903:\n"


def program(package):
    return os.path.join(ROOT, package, PACKAGES[package])


def why_not():
    """Why there can be none here, or None; fetches the packages when they are not there."""
    if os.geteuid() != 0:
        return "Exim and OpenSMTPD start as root only"
    os.makedirs(ROOT, exist_ok=True)
    for package in PACKAGES:
        if os.path.exists(program(package)):
            continue
        r = subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=ROOT, capture_output=True, text=True)
        if r.returncode != 0:
            return "%s cannot be fetched: %s" % (package, r.stderr.strip()[-200:])
        for deb in glob.glob(os.path.join(ROOT, package + "_*.deb")):
            subprocess.run(["dpkg", "-x", deb, os.path.join(ROOT, package)], check=True)
        if "not found" in subprocess.run(["ldd", program(package)], capture_output=True, text=True).stdout:
            return package + " needs a library that is not installed"
    return None


class _Mta:
    def __init__(self, dir, name, domain, smarthost, address, port):
        self.dir, self.domain, self.smarthost, self.address = os.path.join(dir, name), domain, smarthost, address
        self.port = port or free_port([address])
        os.makedirs(self.dir + "/mail")
        os.chmod(dir, 0o711)
        os.chmod(self.dir, 0o711)
        os.chown(self.dir + "/mail", 903, 903)
        self.pem = certificate(self.dir)
        for file, lines in (("passwd", USERS % (self.dir + "/mail")), ("group", GROUPS)):
            with open("/etc/" + file) as f, open(os.path.join(self.dir, file), "w") as out:
                out.write(f.read() + lines)
        self.output = open(self.dir + "/output", "wb")

    def _start(self, package, prepare, argv):
        """In a namespace where the package's files are below /usr, and /etc/passwd and /etc/group are ours."""
        script = ("set -e; mount -t overlay overlay -o lowerdir=%s/usr:/usr /usr; mount --bind %s/passwd /etc/passwd; mount --bind %s/group /etc/group; %s; exec \"$@\"" %
                  (os.path.join(ROOT, package), self.dir, self.dir, prepare))
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh"] + argv, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=self.output, start_new_session=True)
        wait_until(self._answers, type(self).__name__)

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("%s ended: %s" % (type(self).__name__, self.log()))
        try:
            with socket.create_connection((self.address, self.port), 5) as s:
                return s.recv(100).startswith(b"220")
        except OSError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.output.close()

    def messages(self):
        out = []
        for path in sorted(glob.glob(self.dir + "/mail/new/*"), key=os.path.getmtime):
            with open(path, "rb") as f:
                out.append(f.read())
        return out

    def wait(self, n, timeout=30):
        """Until n messages were delivered; all of them."""
        wait_until(lambda: len(glob.glob(self.dir + "/mail/new/*")) >= n, "%d messages at %s" % (n, type(self).__name__), timeout)
        return self.messages()


class Exim(_Mta):
    def __init__(self, dir, domain, smarthost=0, address="127.0.0.1", port=None):
        super().__init__(dir, "exim", domain, smarthost, address, port)
        for name in ("spool", "logs"):
            os.makedirs(os.path.join(self.dir, name))
            os.chown(os.path.join(self.dir, name), 900, 900)
        os.chown(self.pem, 900, 900)
        with open(self.dir + "/conf", "w") as f:
            f.write(f"""primary_hostname = mx.{domain}
daemon_smtp_ports = {self.port}
local_interfaces = {address}
spool_directory = {self.dir}/spool
log_file_path = {self.dir}/logs/%slog
log_selector = +all
pid_file_path = {self.dir}/pid
tls_advertise_hosts = *
tls_certificate = {self.pem}
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
prdr_enable = true
keep_environment =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny local_parts = refuse
       message = no such person, says Exim
  defer local_parts = later
       message = come again, says Exim
  accept domains = {domain}
  accept hosts = 127.0.0.0/8
begin routers
local:
  driver = accept
  domains = {domain}
  transport = box
out:
  driver = manualroute
  route_list = * 127.0.0.1::{smarthost}
  transport = smtp
  self = send
begin transports
box:
  driver = appendfile
  directory = {self.dir}/mail
  maildir_format
  user = box
  return_path_add
  envelope_to_add
smtp:
  driver = smtp
  hosts_try_chunking = *
begin retry
* * F,1h,1s
""")
        # It keeps its rights only with a file where Debian has it.
        self._start("exim4-daemon-light", "mount -t tmpfs none /var/lib; mkdir /var/lib/exim4; cp %s/conf /var/lib/exim4/config.autogenerated" % self.dir,
                    ["/usr/sbin/exim4", "-bdf", "-q1s"])

    def log(self):
        text = ""
        for path in [self.dir + "/output"] + sorted(glob.glob(self.dir + "/logs/*")):
            with open(path, errors="replace") as f:
                text += f.read()
        return text


class OpenSMTPD(_Mta):
    def __init__(self, dir, domain, smarthost=0, address="127.0.0.1", port=None):
        super().__init__(dir, "opensmtpd", domain, smarthost, address, port)
        key = os.path.join(self.dir, "key")
        shutil.copy(self.pem, key)
        os.chmod(key, 0o600)
        with open(self.dir + "/conf", "w") as f:
            f.write(f"""pki p cert "{self.pem}.crt"
pki p key "{key}"
table users {{ "box" = "box", "böx" = "box", "later" = "box" }}
listen on {address} port {self.port} tls pki p hostname "mx.{domain}"
action "local" maildir "{self.dir}/mail" virtual <users>
action "out" relay host "smtp://127.0.0.1:{smarthost}" helo "mx.{domain}"
match from any for domain "{domain}" action "local"
match from src "127.0.0.0/8" for any action "out"
match from local for any action "out"
""")
        self._start("opensmtpd", "for d in /var/spool /var/lib /run; do mount -t tmpfs none $d; done; mkdir -m 711 -p /var/spool/smtpd /var/lib/opensmtpd/empty", ["/usr/sbin/smtpd", "-d", "-f", self.dir + "/conf"])

    def log(self):
        with open(self.dir + "/output", errors="replace") as f:
            return f.read()
