#!/usr/bin/env python3
"""The chaos of tests/e2e/chaos.t for long: more rounds with one disaster after the other, replies of a byte a second, silence of
a minute, and bad clients at the same time.  SEED=n does it again; ROUNDS (2) a seed, SEEDS (3)."""
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import chaos_clients  # noqa: E402
from chaos_peers import Chaos, enter  # noqa: E402
from host import diag, done, is_  # noqa: E402


def bad_clients(chaos, seed):
    """For as long as the storm lasts, through whatever dies under them."""
    rng, turns = random.Random(seed), 0
    while not chaos.enough.is_set():
        held = []
        try:
            held += chaos_clients.idle(chaos.host, rng, 50)
            for fn in rng.sample(chaos_clients.STORMS[:-1], 3):
                held += fn(chaos.host, rng, 5)
        except (OSError, AssertionError, ValueError):
            pass
        turns += 1
        chaos.enough.wait(0.5)
        for s in held:
            chaos_clients.vanish(s, rng)
    diag("%d turns of bad clients" % turns)


enter()
first = int(os.environ.get("SEED") or random.randrange(1 << 31))
for seed in range(first, first + int(os.environ.get("SEEDS", 3))):
    diag("SEED=%d" % seed)
    with Chaos(seed, destinations=12, submitters=4, aliases=80, hold=60.0, drip=1.0) as chaos:
        chaos_clients.storm(chaos.host, seed, 20, rounds=3)
        bad = threading.Thread(target=bad_clients, args=(chaos, seed))
        bad.start()
        sent = chaos.storm(int(os.environ.get("ROUNDS", 2)), gap=1.0)
        bad.join()
        diag("%d messages" % sent)
        queue = chaos.calm(120)
        is_(queue, [], "the queue is empty once all behave")
        chaos_clients.takes_mail(chaos.host, "after all of it")
        chaos.judge(queue)
done()
