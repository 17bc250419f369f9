#!/usr/bin/env python3
"""Two mail hosts, each from its own site file, in network namespaces of this test: the generated firewalls loaded by nft,
the generated zones served by named, mail both ways through MX, a bounce, a closed port, and a stranger who may not relay."""
import ctypes
import email
import imaplib
import os
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
import host as tap  # noqa: E402
from host import BUILD, diag, done, skip_all  # noqa: E402

if os.geteuid() != 0:
    skip_all("network namespaces with addresses of their own need root")
for tool in ("ip", "nft", "named", "named-checkzone"):
    if shutil.which(tool) is None:
        skip_all(f"{tool} is missing")

MAILADM = os.path.join(BUILD, "mailadm")
WORK = tempfile.mkdtemp(prefix="mailadm-two-")
os.chmod(WORK, 0o711)
TAG = f"ma{os.getpid() % 10000}"
libc = ctypes.CDLL(None, use_errno=True)
started = []
HOSTS = {"a": ("198.51.100.1", "2001:db8:1::1"), "b": ("198.51.100.2", "2001:db8:1::2"), "c": ("198.51.100.3", "2001:db8:1::3"),
         "dns": ("198.51.100.53", "2001:db8:1::53")}


def ok(condition, name, detail=""):
    """As in host.py, with the output that explains a failure."""
    if not tap.ok(condition, name):
        diag(detail[-3000:])


def is_(got, want, name, detail=""):
    if not tap.is_(got, want, name):
        diag(detail[-3000:])


def run(*argv, **kw):
    return subprocess.run(argv, check=kw.pop("check", True), capture_output=True, text=True, timeout=60, **kw)


def ns(name):
    return f"{TAG}-{name}"


def inside(name, fn, *args):
    """Calls fn with this thread's network namespace switched to name's."""
    with open("/proc/self/ns/net") as back, open(f"/run/netns/{ns(name)}") as there:
        if libc.setns(there.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return fn(*args)
        finally:
            libc.setns(back.fileno(), 0x40000000)


def network():
    run("ip", "netns", "add", ns("hub"))
    run("ip", "-n", ns("hub"), "link", "add", "br0", "type", "bridge")
    run("ip", "-n", ns("hub"), "link", "set", "br0", "up")
    for name, (v4, v6) in HOSTS.items():
        run("ip", "netns", "add", ns(name))
        run("ip", "-n", ns(name), "link", "set", "lo", "up")
        run("ip", "-n", ns(name), "link", "add", "eth0", "type", "veth", "peer", "name", f"v{name}", "netns", ns("hub"))
        run("ip", "-n", ns("hub"), "link", "set", f"v{name}", "master", "br0", "up")
        run("ip", "-n", ns(name), "addr", "add", f"{v4}/24", "dev", "eth0")
        run("ip", "-n", ns(name), "addr", "add", f"{v6}/64", "dev", "eth0", "nodad")
        run("ip", "-n", ns(name), "link", "set", "eth0", "up")


def make_site(name, account):
    """init, then the two settings that only this test needs: the test's name server, and no DNSSEC for a made-up root."""
    v4, v6 = HOSTS[name]
    folder = f"{WORK}/{name}"
    out = run(MAILADM, "init", folder, "--hostname", f"mail.{name}.example", "--domain", f"{name}.example", "--ipv4", v4,
              "--ipv6", v6, "--account", account).stdout
    with open(f"{folder}/site.conf", "a") as f:
        f.write('dns = { forward = ("198.51.100.53"); dnssec = false; };\nfirewall = { admin_from = ("198.51.100.53/32"); };\n')
    os.chmod(folder, 0o711)
    password = "correct horse battery " + name
    run(MAILADM, "-c", f"{folder}/site.conf", "account", "passwd", account, input=password + "\n")
    return f"{folder}/site.conf", password, out


def zones(sites):
    os.makedirs(f"{WORK}/named")
    conf = [f'options {{ directory "{WORK}/named"; listen-on {{ 198.51.100.53; }}; listen-on-v6 {{ none; }}; recursion no; '
            f'dnssec-validation no; pid-file none; session-keyfile none; }};\ncontrols {{ }};\n']
    for name, site in sites.items():
        r = run(MAILADM, "-c", site, "dns", "render", "--out", f"{WORK}/zones-{name}", check=False)
        is_(r.returncode, 0, f"dns render of {name}", r.stderr)
        conf.append(f'include "{WORK}/zones-{name}/named.conf.mailadm";\n')
    with open(f"{WORK}/named/named.conf", "w") as f:
        f.write("".join(conf))
    log = open(f"{WORK}/named.log", "w")
    started.append(subprocess.Popen(["ip", "netns", "exec", ns("dns"), "named", "-g", "-c", f"{WORK}/named/named.conf"],
                                    stdout=log, stderr=log))
    wait_for(lambda: "running" in open(f"{WORK}/named.log").read(), "named runs")


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = condition()
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
            value = None
        if value:
            return value
        time.sleep(0.05)
    diag(f"gave up after {seconds} s: {what}")
    return None


def serve(name, site):
    rules = run(MAILADM, "-c", site, "fw", "render").stdout
    r = run("ip", "netns", "exec", ns(name), "nft", "-f", "-", input=rules, check=False)
    is_(r.returncode, 0, f"nft loads the firewall of {name}", r.stderr + rules)
    log = open(f"{WORK}/{name}.log", "w")
    p = subprocess.Popen(["ip", "netns", "exec", ns(name), MAILADM, "-c", site, "serve"], stdout=subprocess.PIPE, stderr=log, text=True)
    started.append(p)
    line = p.stdout.readline().strip()
    is_(line, "ready", f"host {name} is ready", open(f"{WORK}/{name}.log").read()[-2000:])


def tls():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def submit(server, user, password, to, subject):
    with smtplib.SMTP(server, 587, timeout=20) as s:
        s.starttls(context=tls())
        s.login(user, password)
        s.sendmail(user, [to], f"From: <{user}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nHello from {user}.\r\n")


def inbox(server, user, password, want):
    """The first message whose Subject holds want."""
    with imaplib.IMAP4_SSL(server, 993, ssl_context=tls(), timeout=20) as m:
        m.login(user, password)
        m.select("INBOX")
        for number in m.search(None, "SUBJECT", f'"{want}"')[1][0].split():
            return email.message_from_bytes(m.fetch(number, "(BODY.PEEK[])")[1][0][1])
    return None


def try_connect(server, port):
    s = socket.socket()
    s.settimeout(3)
    try:
        s.connect((server, port))
        return "open"
    except TimeoutError:
        return "dropped"
    except ConnectionRefusedError:
        return "refused"
    finally:
        s.close()


def relay_attempt():
    with smtplib.SMTP("198.51.100.1", 25, local_hostname="stranger.example", timeout=20) as s:
        s.ehlo()
        s.mail("someone@stranger.example")
        return s.rcpt("victim@elsewhere.example")


def scenario():
    network()
    a, b = "alice@a.example", "bob@b.example"
    site_a, pass_a, init_out = make_site("a", a)
    site_b, pass_b, _ = make_site("b", b)
    ok("_dmarc" in init_out and "_domainkey" in init_out, "init prints the DNS records", init_out)
    for site in (site_a, site_b):
        r = run(MAILADM, "-c", site, "check", "--with-tools", check=False)
        is_(r.returncode, 0, f"check --with-tools {os.path.relpath(site, WORK)}", r.stdout + r.stderr)
    zones({"a": site_a, "b": site_b})
    serve("a", site_a)
    serve("b", site_b)

    inside("a", submit, HOSTS["a"][0], a, pass_a, b, "there")
    got = wait_for(lambda: inside("b", inbox, HOSTS["b"][0], b, pass_b, "there"), "alice's mail reaches bob")
    ok(got is not None, "mail from alice@a reaches bob@b through MX")
    ok(got is not None and "DKIM-Signature" in got, "it is DKIM-signed", str(got))
    ok(got is not None and "TLS" in str(got["Received"]), "it came over TLS", str(got))
    inside("b", submit, HOSTS["b"][0], b, pass_b, a, "back again")
    ok(wait_for(lambda: inside("a", inbox, HOSTS["a"][0], a, pass_a, "back again"), "bob's answer reaches alice"), "and back")

    inside("a", submit, HOSTS["a"][0], a, pass_a, "nobody@b.example", "to nobody")
    bounce = wait_for(lambda: inside("a", inbox, HOSTS["a"][0], a, pass_a, "ndeliver"), "a bounce reaches alice")
    ok(bounce is not None and bounce.get_content_type() == "multipart/report", "an unknown user bounces with a DSN", str(bounce))
    ok(bounce is not None and "5.1.1" in bounce.as_string(), "the DSN names the status", str(bounce))

    listener = subprocess.Popen(["ip", "netns", "exec", ns("a"), "python3", "-c",
                                 "import socket;s=socket.create_server(('198.51.100.1',5555));print('up',flush=True);s.accept()"],
                                stdout=subprocess.PIPE, text=True)
    started.append(listener)
    listener.stdout.readline()
    is_(inside("c", try_connect, HOSTS["a"][0], 5555), "dropped", "a port that is not declared is closed")
    is_(inside("c", try_connect, HOSTS["a"][0], 22), "dropped", "ssh is closed to strangers")
    is_(inside("dns", try_connect, HOSTS["a"][0], 22), "refused", "ssh from admin_from passes the firewall")
    is_(inside("c", try_connect, HOSTS["a"][0], 25), "open", "port 25 is open to strangers")
    code, text = inside("c", relay_attempt)
    ok(code in (550, 554) and b"5.7.1" in text, "a stranger may not relay", f"{code} {text}")


def clean_up():
    for p in reversed(started):
        p.terminate()
    for p in started:
        try:
            p.wait(15)
        except subprocess.TimeoutExpired:
            p.kill()
    for name in list(HOSTS) + ["hub"]:
        run("ip", "netns", "del", ns(name), check=False)
    shutil.rmtree(WORK, ignore_errors=True)


try:
    scenario()
except Exception as problem:  # what a step could not do is a failure with its output, not a traceback alone
    output = getattr(problem, "stderr", "") or ""
    ok(False, f"no step fails: {problem!r}", output)
    for name in ("a", "b"):
        if os.path.exists(f"{WORK}/{name}.log"):
            diag(open(f"{WORK}/{name}.log").read()[-3000:])
finally:
    clean_up()
done()
