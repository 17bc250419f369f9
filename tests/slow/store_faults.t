#!/usr/bin/env python3
"""Every fault at every call of the store's commit path, compaction and rebuild: tests/unit/test_store_fault.c with no
stride, and other workloads from a seed that is printed (SEED chooses it)."""
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from host import BUILD, diag, done, is_  # noqa: E402

PROGRAM = os.path.join(BUILD, "tests/unit/test_store_fault")
if not os.path.exists(PROGRAM):
    subprocess.run(["make", "QUIET=1", "BUILD=" + os.environ.get("BUILD", "build"), os.path.relpath(PROGRAM)], check=True)
seed = int(os.environ.get("SEED", random.randrange(100, 100000)))
for workload in ("all", str(seed), str(seed + 1)):
    diag("workload " + workload)
    r = subprocess.run([PROGRAM], env=dict(os.environ, MAILADM_FAULTS=workload), stdout=subprocess.PIPE, text=True)
    if r.returncode:
        diag(r.stdout)
    is_(r.returncode, 0, "every fault of workload " + workload)
done()
