"""Who signs and verifies beside the daemon's own code: dkimpy and OpenDKIM, over the same keys and key records."""
import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile

from host import BUILD, skip_all

try:
    import dkim
except ImportError:
    skip_all("python3-dkim is not installed")

DOMAIN = "example.org"
NOW = None  # set by Keys


def sh(*args, **kwargs):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kwargs).stdout


class Keys:
    """rsa, rsa1024 and ed, made anew in folder, and their key records: the selector is the name."""

    def __init__(self, folder):
        self.folder = folder
        self.records = {}
        for name, bits in (("rsa", 2048), ("rsa1024", 1024)):
            sh("openssl", "genrsa", "-out", self.pem(name), str(bits))
            der = sh("openssl", "rsa", "-in", self.pem(name), "-pubout", "-outform", "DER")
            self.publish(name, "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode())
        sh("openssl", "genpkey", "-algorithm", "ed25519", "-out", self.pem("ed"))
        der = sh("openssl", "pkey", "-in", self.pem("ed"), "-pubout", "-outform", "DER")
        self.publish("ed", "v=DKIM1; k=ed25519; p=" + base64.b64encode(der[-32:]).decode())
        der = sh("openssl", "pkey", "-in", self.pem("ed"), "-outform", "DER")
        self.ed_seed = base64.b64encode(der[-32:])
        self.records_file = os.path.join(folder, "records")
        self.keys_file = os.path.join(folder, "keys")
        self.write()
        with open(self.keys_file, "w") as f:
            for name in ("rsa", "rsa1024", "ed"):
                f.write("%s %s %s\n" % (DOMAIN, name, self.pem(name)))

    def pem(self, name):
        return os.path.join(self.folder, name + ".pem")

    def publish(self, selector, text, domain=DOMAIN):
        self.records["%s._domainkey.%s" % (selector, domain)] = text

    def write(self):
        with open(self.records_file, "w") as f:
            for name, text in self.records.items():
                f.write("%s %s\n" % (name, text))

    def txt(self, name, timeout=5):
        """For dkimpy."""
        return self.records.get(name.decode(errors="replace").rstrip(".").lower(), "").encode() or None


class Ours:
    """The daemon's code, in tests/tools/dkim_check."""

    def __init__(self, keys):
        tool = os.path.join(BUILD, "tests/tools/dkim_check")
        if not os.path.exists(tool):
            subprocess.run(["make", "-s", "QUIET=1", "BUILD=" + os.path.relpath(BUILD), os.path.relpath(tool)], check=True)
        self.process = subprocess.Popen([tool, keys.records_file, keys.keys_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line, data=b""):
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("dkim_check ended (%d) at %r" % (self.process.wait(), line))
        return json.loads(answer)

    def verify(self, message, now):
        return self.ask("verify %d %d" % (now, len(message)), message)

    def sign(self, message, ed="ed"):
        a = self.ask("sign %s rsa %s %d" % (DOMAIN, ed, len(message)), message)
        return a["fields"].encode()

    def seal(self, message, authserv_id="mx.example.org", results=b"spf=none", selector="rsa", received=None):
        """As it was received (the same without it), and as it is sealed."""
        received = message if received is None else received
        a = self.ask("seal %s %s %s %d %d %d" % (DOMAIN, selector, authserv_id, len(results), len(received), len(message)),
                     results + received + message)
        return {"status": a["status"], "fields": a["fields"]}

    def records(self, path):
        self.ask("records " + path)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def signers(prefix):
    """Fresh keys, and the daemon's code with them."""
    folder = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    try:
        keys = Keys(folder)
        ours = Ours(keys)
        try:
            yield keys, ours
        finally:
            ours.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def dkimpy_sign(keys, message, canon, kind, length=False, selector=None):
    selector = selector or kind
    key = keys.ed_seed if kind == "ed" else open(keys.pem(kind), "rb").read()
    return dkim.DKIM(message).sign(selector.encode(), DOMAIN.encode(), key, canonicalize=canon, length=length,
                                   signature_algorithm=b"ed25519-sha256" if kind == "ed" else b"rsa-sha256")


def dkimpy_can(message):
    """It takes a LF alone for a line end, VT and FF for blanks, keeps the blanks of a last line without an end, and has no
    blanks before a colon."""
    return (b"\n" not in message.replace(b"\r\n", b"") and not re.search(rb"[\v\f]", message) and not message.endswith((b" ", b"\t")) and
            not re.search(rb"(?m)^[!-9;-~]+[ \t]+:", message.partition(b"\r\n\r\n")[0]))


def dkimpy_verify(keys, message, index=0):
    """(verdict, why)"""
    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=keys.txt), ""
    except Exception as e:  # it raises whatever its helpers raise, over broken input
        return False, "%s: %s" % (type(e).__name__, e)


class OpenDKIM:
    """Its test mode, over files with LF ends of lines."""

    def __init__(self, keys):
        self.program = shutil.which("opendkim", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if not self.program:
            skip_all("opendkim is not installed")
        self.folder = os.path.join(keys.folder, "opendkim")
        self.keys = keys
        os.mkdir(self.folder)
        with open(os.path.join(self.folder, "verify.conf"), "w") as f:
            f.write("TestPublicKeys %s\nOn-Default accept\n" % keys.records_file)

    @staticmethod
    def can(message):
        """Its test mode reads lines, and forgets how many blanks are behind a colon: other messages cannot be put to it.
        It takes VT and FF for blanks."""
        bare = message.replace(b"\r\n", b"")
        head = message.partition(b"\r\n\r\n")[0] + b"\r\n"
        return (b"\r" not in bare and b"\n" not in bare and not re.search(rb"[\0\v\f]", message) and message.endswith(b"\r\n") and
                re.fullmatch(rb"(?:[!-9;-~]+: [^ \t\r\n][^\n]*\n(?:[ \t][^\n]*\n)*)+", head) is not None)

    def put(self, name, message):
        with open(os.path.join(self.folder, name), "wb") as f:
            f.write(message.replace(b"\r\n", b"\n"))

    def run(self, *args):
        return subprocess.run([self.program, *args], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60)

    def sign(self, message, canon, kind, length=None):
        with open(os.path.join(self.folder, "sign.conf"), "w") as f:
            f.write("Domain %s\nSelector %s\nKeyFile %s\nCanonicalization %s\nSignatureAlgorithm %s\nRequireSafeKeys no\n" % (
                DOMAIN, kind, self.keys.pem(kind), canon, "ed25519-sha256" if kind == "ed" else "rsa-sha256"))
            if length is not None:
                f.write("MaximumSignedBytes %d\n" % length)
        self.put("m", message)
        out = self.run("-x", "sign.conf", "-t", "m", "-b", "s", "-v").stdout
        m = re.search(rb"(?s)DKIM-Signature: .*?\n(?![ \t])", out)
        if not m:
            raise RuntimeError("opendkim did not sign: %r" % out)
        return m.group(0).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    def verify(self, messages):
        """For each message (verdict, why); None where it cannot be told."""
        names = [i for i, message in enumerate(messages) if self.can(message)]
        results = [None] * len(messages)
        for i in names:
            self.put("v%d" % i, messages[i])
        while names:
            batch, names = names[:250], names[250:]
            self.batch(batch, results)
            silent = [i for i in batch if results[i] is None]
            if silent:  # one that ends the program takes those behind it along
                results[silent[0]] = (False, "it ended the program")
                names = silent[1:] + names
        return results

    def batch(self, numbers, results):
        told = self.run("-x", "verify.conf", "-t", ",".join("v%d" % i for i in numbers), "-v")
        for m in re.finditer(r"opendkim: v(\d+): (.*)", (told.stdout + told.stderr).decode(errors="replace")):
            i = int(m.group(1))
            if m.group(2).startswith("verification"):
                results[i] = (") succeeded" in m.group(2), m.group(2))
            elif "mlfi_" not in m.group(2) and not m.group(2).startswith("line ") and results[i] is None:
                results[i] = (False, m.group(2))
