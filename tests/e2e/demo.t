#!/usr/bin/env python3
"""What a newcomer does first: share/demo (`make run`) makes a host, and every command that it prints works as printed."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import BUILD, ROOT, diag, done, is_, like, ok, skip_all, wait_until  # noqa: E402

for port in (20025, 20587, 20465, 20143, 20993, 20110, 20995):
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) == 0:
            skip_all(f"port {port} is taken, perhaps by a demo host")
work = tempfile.mkdtemp(prefix="mailadm-demo-")
os.chmod(work, 0o711)
log = open(work + "/log", "w+")


def said():
    return open(work + "/log").read()


def start():
    return subprocess.Popen([ROOT + "/share/demo", BUILD], cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


demo = start()
try:
    wait_until(lambda: demo.poll() is not None or re.search("^ready$", said(), re.M), "ready", 60)
    ok(demo.poll() is None, "the demo host runs")
    is_(os.stat(work + "/demo/init.txt").st_mode & 0o777, 0o600, "its passwords are for their owner only")
    commands = [line.strip() for line in said().splitlines() if re.match(r"  (printf|curl|\S*mailadm) ", line)]
    ok(len(commands) >= 8, f"it says what to try ({len(commands)})")
    for command in commands:
        r = subprocess.run(command, shell=True, cwd=work, capture_output=True, text=True, timeout=60)
        if not ok(r.returncode == 0, re.sub(r"(@demo.example):[a-z0-9-]+", r"\1:...", command)):
            diag(r.stdout + r.stderr)
        if "MAILINDEX=1" in command:
            like(r.stdout, "The first one.", "alice reads her mail")
    demo.send_signal(signal.SIGINT)
    is_(demo.wait(30), 0, "Ctrl-C ends it")
    log.truncate(0)
    demo = start()
    wait_until(lambda: demo.poll() is not None or re.search("^ready$", said(), re.M), "ready", 60)
    ok(demo.poll() is None, "a second time it goes on with what is there")
finally:
    if demo.poll() is None:
        demo.terminate()
        demo.wait(30)
    shutil.rmtree(work, ignore_errors=True)
done()
