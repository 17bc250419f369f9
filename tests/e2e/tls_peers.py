"""For the tests of DANE and MTA-STS: certificates of a CA of our own, a real named that signs the zone `example`, and an
HTTPS server for policies.

The zone has two children: `open.example`, which is not signed, and `bad.example`, whose DS is wrong.
"""
import http.server
import os
import re
import shutil
import ssl
import subprocess
import threading

from host import diag, wait_until
from send_peers import free_port


def openssl(*args, input=None):
    r = subprocess.run(["openssl", *args], input=input, capture_output=True, timeout=60)
    if r.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (" ".join(args), r.stderr.decode()))
    return r.stdout


class Authority:
    """A CA; names' certificates are its, with their keys and its own behind them."""

    def __init__(self, dir, name="Test CA"):
        self.dir, self.serial = os.path.join(dir, name.replace(" ", "-")), 0
        os.makedirs(self.dir)
        self.key, self.cert = os.path.join(self.dir, "ca.key"), os.path.join(self.dir, "ca.crt")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                "-out", self.cert, "-days", "2", "-subj", "/CN=" + name, "-addext", "basicConstraints=critical,CA:TRUE")

    def issue(self, *names, days=2):
        """A PEM file of key, certificate and CA for these DNS names; days below 0: it has expired."""
        self.serial += 1
        base = os.path.join(self.dir, "%d" % self.serial)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", base + ".key",
                "-out", base + ".csr", "-subj", "/CN=server")
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=" + ",".join("DNS:" + n for n in names) + "\n")
        if days > 0:
            openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert, "-CAkey", self.key, "-set_serial",
                    str(self.serial), "-days", str(days), "-extfile", base + ".ext", "-out", base + ".crt")
        else:  # x509 has no -not_before here: ca does
            index = base + ".index"
            open(index, "w").close()
            with open(base + ".conf", "w") as f:
                f.write("[ca]\ndefault_ca=x\n[x]\ndatabase=%s\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\nrand_serial=yes\n"
                        "[p]\ncommonName=supplied\n" % (index, self.dir))
            openssl("ca", "-batch", "-notext", "-config", base + ".conf", "-in", base + ".csr", "-cert", self.cert,
                    "-keyfile", self.key, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-extfile",
                    base + ".ext", "-out", base + ".crt")
        with open(base + ".pem", "w") as out:
            for part in (base + ".key", base + ".crt", self.cert):
                with open(part) as f:
                    out.write(f.read())
        return base + ".pem"


def tlsa(pem, usage, selector, matching):
    """The TLSA data for the first certificate of a PEM file."""
    der = openssl("x509", "-in", pem, "-outform", "DER")
    if selector == 1:
        der = openssl("pkey", "-pubin", "-outform", "DER", input=openssl("x509", "-in", pem, "-noout", "-pubkey"))
    data = der.hex()
    if matching:
        data = openssl("dgst", "-sha256" if matching == 1 else "-sha512", "-r", input=der).decode().split()[0]
    return "TLSA %d %d %d %s" % (usage, selector, matching, data)


class SignedNamed:
    """records: lines of `example`; open, bad: of its children; spoil: names whose signatures are made wrong."""

    HEAD = "$TTL 60\n@ IN SOA ns.example. admin.example. %d 3600 600 86400 60\n@ IN NS ns.example.\n"

    def __init__(self, dir, records, open_="", bad="", spoil=()):
        self.dir = os.path.join(dir, "named")
        os.makedirs(self.dir)
        self.port, self.control = free_port(["127.0.0.1"]), free_port(["127.0.0.1"])
        self.serial, self.spoil = 0, spoil
        self.keys = {zone: self._keygen(zone) for zone in ("example", "bad.example")}
        self.anchor = self._run("dnssec-dsfromkey", "-2", self.keys["example"] + ".key").strip().replace(" IN ", " ")
        self.open, self.bad = open_, bad
        self.write(records)
        self._run("rndc-confgen", "-a", "-c", os.path.join(self.dir, "rndc.key"))
        with open(os.path.join(self.dir, "rndc.key")) as key, open(os.path.join(self.dir, "rndc.conf"), "w") as f:
            f.write(key.read() + 'options { default-key "rndc-key"; default-server 127.0.0.1; default-port %d; };\n' % self.control)
        conf = os.path.join(self.dir, "named.conf")
        with open(conf, "w") as f:
            f.write('include "%s/rndc.key";\ncontrols { inet 127.0.0.1 port %d allow { 127.0.0.1; } keys { "rndc-key"; }; };\n'
                    % (self.dir, self.control))
            f.write('options { directory "%s"; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no;\n'
                    'pid-file none; session-keyfile none; };\n' % (self.dir, self.port))
            for zone in ("example", "open.example", "bad.example"):
                f.write('zone "%s" { type primary; file "%s"; };\n' % (zone, zone))
        self.log_path = os.path.join(self.dir, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([shutil.which("named") or "/usr/sbin/named", "-g", "-n", "1", "-c", conf],
                                            stdout=log, stderr=log)

        def answers():
            if self.process.poll() is not None:
                diag(self.log())
                raise RuntimeError("named ended")
            return " running\n" in self.log()
        wait_until(answers, "named")

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def _run(self, *argv):
        r = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=self.dir)
        if r.returncode != 0:
            raise RuntimeError("%s: %s%s" % (" ".join(argv), r.stdout, r.stderr))
        return r.stdout

    def _keygen(self, zone):
        out = self._run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone)
        return os.path.join(self.dir, out.strip())

    def _sign(self, zone, text, spoil=()):
        path = os.path.join(self.dir, zone)
        with open(path + ".plain", "w") as f, open(self.keys[zone] + ".key") as key:
            f.write(self.HEAD % self.serial + text + key.read())
        self._run("dnssec-signzone", "-z", "-O", "full", "-o", zone, "-f", path + ".new", path + ".plain", self.keys[zone])
        with open(path + ".new") as f:
            lines = f.read().splitlines()
        for i, line in enumerate(lines):
            if any(re.match(r"%s\.\s.*\sRRSIG\sTLSA\s" % re.escape(name), line) for name in spoil):
                lines[i] = re.sub(r"(\S)(\S*)$", lambda m: ("B" if m[1] == "A" else "A") + m[2], line)
        with open(path + ".new", "w") as f:
            f.write("\n".join(lines) + "\n")
        os.rename(path + ".new", path)

    def write(self, records):
        self.serial += 1
        wrong = "12345 13 2 " + "AB" * 32
        self._sign("example", records + "ns A 127.0.0.1\nopen NS ns\nbad NS ns\nbad DS %s\n" % wrong, self.spoil)
        self._sign("bad.example", self.bad)
        with open(os.path.join(self.dir, "open.example"), "w") as f:
            f.write(self.HEAD % self.serial + self.open)

    def change(self, records):
        """Other records from now on, once what was answered before has expired."""
        self.write(records)
        self._run("rndc", "-c", os.path.join(self.dir, "rndc.conf"), "reload")
        wait_until(lambda: "zone example/IN: loaded serial %d" % self.serial in self.log(), "the changed zone")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def policy(mode, *mx, age=86400):
    """An MTA-STS policy (RFC 8461 3.2)."""
    return "version: STSv1\r\nmode: %s\r\n%smax_age: %d\r\n" % (mode, "".join("mx: %s\r\n" % m for m in mx), age)


class Web:
    """An HTTPS server for all policy hosts: what it says to each is in .answers, what it was asked in .asked."""

    def __init__(self, address, port, pem):
        self.answers, self.asked = {}, []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.headers["Host"].split(":")[0]
                web.asked.append((name, self.path))
                answer = web.answers.get(name, (404, {}, "no"))
                code, headers, body = answer if isinstance(answer, tuple) else (200, {"Content-Type": "text/plain"}, answer)
                self.send_response(code)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.end_headers()
                try:
                    self.wfile.write(body.encode())
                except OSError:
                    pass  # it had enough

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer((address, port), Handler)
        self.server.handle_error = lambda *a: None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
