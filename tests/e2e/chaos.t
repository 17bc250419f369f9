#!/usr/bin/env python3
"""A host among remote sides that are slow, dead, lying, half-closed and of changing mind, with a name server that goes away,
a disk that fills and processes that are killed: what was accepted is delivered once, bounced or queued.  Before that, clients
that stall, vanish and talk nonsense.  SEED=n does it again."""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chaos_clients  # noqa: E402
from chaos_peers import Chaos, enter  # noqa: E402
from host import diag, done, is_  # noqa: E402

enter()
seed = int(os.environ.get("SEED") or random.randrange(1 << 31))
diag("SEED=%d" % seed)
with Chaos(seed) as chaos:
    chaos_clients.storm(chaos.host, seed, 10, rounds=2)
    chaos.storm()
    queue = chaos.calm()
    is_(queue, [], "the queue is empty once all behave")
    chaos.judge(queue)
done()
