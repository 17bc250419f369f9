#!/usr/bin/env python3
"""Site files: every bad one with its exact messages, every good one as it is printed, and the manual page's option list.

GOLDEN_UPDATE=1 writes what is expected anew; look at the difference before committing it."""
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAILADM = os.path.join(ROOT, os.environ.get("BUILD", "build"), "mailadm")
SITES = os.path.join(ROOT, "tests", "sites")
UPDATE = os.environ.get("GOLDEN_UPDATE") == "1"
count = failed = 0


def ok(good, name, saw="", wanted=""):
    global count, failed
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        failed += 1
        for label, text in (("wanted", wanted), ("saw", saw)):
            for line in str(text).splitlines() or [""]:
                print(f"#   {label}: {line}")


def run(*args, cwd, site="site.conf"):
    return subprocess.run([MAILADM, "-c", site, *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, timeout=60)


def golden(path, saw, name):
    if UPDATE:
        with open(path, "w") as f:
            f.write(saw)
    wanted = open(path).read() if os.path.exists(path) else "(there is no " + path + ")"
    ok(saw == wanted, name, saw, wanted)


def here(text, folder):
    """What depends on where the checkout is, and on who runs the test."""
    return text.replace(os.path.realpath(folder), "HERE")


def bad_sites():
    folders = sorted(glob.glob(os.path.join(SITES, "bad", "*", "site.conf")))
    ok(len(folders) >= 190, "there are at least 190 bad sites", len(folders), 190)
    for site in folders:
        folder = os.path.dirname(site)
        args = []
        if os.path.exists(os.path.join(folder, "args")):
            args = open(os.path.join(folder, "args")).read().split()
        r = run("check", *args, cwd=folder)
        saw = here(r.stderr + r.stdout, folder) + f"exit {r.returncode}\n"
        golden(os.path.join(folder, "expected"), saw, "bad/" + os.path.basename(folder))
        lines = [l for l in r.stderr.splitlines() if not re.match(r"[^:]+(:\d+)?: \S.*", l)]
        ok(r.returncode == 1 and r.stderr and not lines, f"bad/{os.path.basename(folder)}: refused, each line FILE:LINE: text",
           f"exit {r.returncode}\n" + "\n".join(lines), "exit 1")


def strange_files():
    """A FIFO or a device as a certificate must not hold up the check."""
    with tempfile.TemporaryDirectory(prefix="site-t-") as temp:
        os.mkfifo(os.path.join(temp, "fifo"))
        for name in ("fifo", "/dev/zero"):
            with open(os.path.join(temp, "site.conf"), "w") as f:
                f.write('host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; };\ndomains = ( { name = "example.org"; } );\n'
                        f'accounts = ( {{ address = "alice@example.org"; }} );\ntls = {{ certificate = "{name}"; key = "{name}"; }};\n')
            r = run("check", cwd=temp)
            ok(r.returncode == 0 and r.stderr.count("is no file; it must be there to serve") == 2, f"{name} as the certificate: a warning", r.stderr)


def good_sites():
    for site in sorted(glob.glob(os.path.join(SITES, "good", "*.conf"))):
        name = os.path.basename(site)
        folder = os.path.dirname(site)
        r = run("check", cwd=folder, site=name)
        ok(r.returncode == 0, f"good/{name}: check", r.stderr + r.stdout, "exit 0")
        r = run("site", "print", "--origin", cwd=folder, site=name)
        golden(site[:-5] + ".expected", here(r.stdout, folder), f"good/{name}: site print --origin")
        flat = run("site", "print", cwd=folder, site=name).stdout
        with tempfile.TemporaryDirectory(prefix="site-t-") as temp:
            with open(os.path.join(temp, "site.conf"), "w") as f:
                f.write(flat)
            again = run("site", "print", cwd=temp)
            ok(again.stdout == flat, f"good/{name}: what is printed loads to the same", again.stderr + again.stdout, flat)


def examples():
    """What is installed to begin with is right, but for files that only the real host has."""
    sites = sorted(glob.glob(os.path.join(ROOT, "share", "examples", "*.conf")))
    ok(len(sites) >= 3, "there are examples", sites)
    for site in sites:
        r = run("check", "--with-tools", cwd=os.path.dirname(site), site=os.path.basename(site))
        unexpected = [l for l in r.stderr.splitlines() if not re.search("warning: .*(DKIM key|admin_from is empty|letsencrypt|password of relay.user)", l)]
        ok(r.returncode == 0 and not unexpected, f"share/examples/{os.path.basename(site)}: check --with-tools", r.stderr + r.stdout, "exit 0")


def schema():
    """mailadm-site(5) holds exactly what the schema says."""
    page = os.path.join(ROOT, "man", "mailadm-site.5")
    begin, end = '.\\" schema: begin\n', '.\\" schema: end\n'
    text = open(page).read()
    head, rest = text.split(begin)
    table, tail = rest.split(end)
    saw = run("site", "schema", "--mdoc", cwd=ROOT).stdout
    if UPDATE:
        with open(page, "w") as f:
            f.write(head + begin + saw + end + tail)
        table = saw
    ok(table == saw, "mailadm-site(5) lists the schema (make golden-update writes it)", saw, table)
    keys = [k["key"] for k in __import__("json").loads(run("site", "schema", "--json", cwd=ROOT).stdout)]
    ok(len(keys) > 70 and "limits.message_size" in keys and "relay.password" not in keys, "schema as JSON", keys)
    listed = run("site", "schema", cwd=ROOT).stdout
    missing = [k for k in keys if not re.search(r"^" + re.escape(k) + r" \(", listed, re.M)]
    ok(not missing, "schema as text has every key", missing, [])


def manual():
    for page in ("mailadm-site.5", "mailadm.8"):
        r = subprocess.run(["mandoc", "-Tlint", os.path.join(ROOT, "man", page)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = [l for l in r.stdout.splitlines() if "manual not found" not in l and "outdated mandoc.db" not in l]
        ok(not lines, f"mandoc has nothing to say about {page}", "\n".join(lines))
    text = open(os.path.join(ROOT, "man", "mailadm.8")).read()
    usage = run("--help", cwd=ROOT).stdout
    commands = re.findall(r"^  ([a-z]+) +\S", usage, re.M)
    missing = [c for c in commands if not re.search(r"^\.(It|It Xo) Ic " + c + r"\b", text, re.M)]
    ok(len(commands) > 12 and not missing, "mailadm(8) explains every command", missing, [])


bad_sites()
strange_files()
good_sites()
examples()
schema()
manual()
print(f"1..{count}")
sys.exit(1 if failed else 0)
