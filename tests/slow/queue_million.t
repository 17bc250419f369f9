#!/usr/bin/env python3
"""A queue of 1,000,000 entries for a destination that is away (tests/unit/test_store_million.c): store under 1 GiB, a new
message to another destination leaves at once, start-up under 10 s.  About two minutes, and 4 GB below /var/tmp."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import BUILD, diag, done, is_  # noqa: E402

PROGRAM = os.path.join(BUILD, "tests/unit/test_store_million")
if not os.path.exists(PROGRAM):
    subprocess.run(["make", "QUIET=1", "BUILD=" + os.environ.get("BUILD", "build"), os.path.relpath(PROGRAM)], check=True)
with tempfile.TemporaryDirectory(prefix="q-", dir="/var/tmp") as top:
    r = subprocess.run([PROGRAM], env=dict(os.environ, MAILADM_ENTRIES=os.environ.get("ENTRIES", "1000000"), MAILADM_STORES=top),
                       stdout=subprocess.PIPE, text=True)
    for line in r.stdout.splitlines():
        diag(line)
    is_(r.returncode, 0, "a million entries")
done()
