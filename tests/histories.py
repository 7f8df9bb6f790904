"""Honest histories of the eleven logs: whatever clocks, lines and witnesses do, no honest relay may be called a liar.

`make histories COUNT=10000` runs as many as are wanted, after campaigns of relays that do lie; the usual tests run a
few hundred.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import random
import sys
import time
from datetime import timedelta

from infoexchange.verdict import Verdict
from lies import ATTACKS, Campaign, faults
from region import LIARS_MAX, OTHERS, QUORUM, RELAYS, Region


def calm(seed: int) -> Region:
    """A history in which every log is cosigned in time and every line is up: nothing at all may be found."""
    rng = random.Random(seed)
    region = Region(rng, auditors=("alpha", "bravo"))
    relay = region.nations[rng.choice(RELAYS)]
    relay.begin()
    for _ in range(rng.randint(3, 5)):
        if rng.random() < 0.7:
            relay.histories[0].grow(rng, rng.choice((1, 1, 2, 3, rng.randint(4, 60))))
        if rng.random() < 0.2:
            relay.histories[0].restart()
        down = rng.sample([name for name in RELAYS if name != relay.name], rng.randint(0, OTHERS - QUORUM))
        region.witness(relay, down=down)
        region.pass_time(rng.uniform(0, 600))
        if rng.random() < 0.5:  # what is not cosigned yet is nothing to worry about
            relay.histories[0].grow(rng, rng.randint(1, 9))
        for auditor in region.auditors:
            if rng.random() < 0.7:
                auditor.look(relay, region.others(relay, auditor, swap=rng.random() < 0.5))
    return region


def rough(seed: int) -> Region:
    """A history with dead lines, dead witnesses and long silences: open questions, and no accusation."""
    rng = random.Random(seed)
    region = Region(rng, auditors=("alpha", "bravo"))
    relay = region.nations[rng.choice(RELAYS)]
    relay.begin()
    for _ in range(rng.randint(3, 6)):
        relay.histories[0].grow(rng, rng.randint(1, 9))
        if rng.random() < 0.3:
            relay.histories[0].restart()
        if rng.random() < 0.7:
            region.witness(relay, down=rng.sample(RELAYS, rng.randint(0, OTHERS)))
        region.pass_time(rng.choice((rng.uniform(0, 60), rng.uniform(0, 7200))))
        for auditor in region.auditors:
            if rng.random() < 0.7:
                others = region.others(relay, auditor, swap=rng.random() < 0.5)
                if rng.random() < 0.2:
                    others["a torn file"] = next(iter(others.values()), b"")[: rng.randint(0, 500)]
                auditor.look(relay, others, odds=rng.choice((0, 0, 0.3)))
    return region


def alarms(region: Region, *, calmly: bool) -> list[str]:
    """What was said against honest relays."""
    found = [
        f"{auditor.name}: {relay}: {check.name}: {check.reason}: {check.detail}"
        for auditor in region.auditors
        for relay, check in auditor.found
        if calmly or check.verdict is Verdict.TOTAL_FAILED
    ]
    return found + [f"{auditor.name}: {proof.kind}" for auditor in region.auditors for proof in auditor.proofs.values()]


def run(seed: int) -> list[str]:
    """Run one history of each sort; return the false alarms."""
    return alarms(calm(seed), calmly=True) + alarms(rough(seed + 1), calmly=False)


def main() -> int:
    """Run many, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="histories, half of them calm")
    parser.add_argument("--campaigns", type=int, default=2, help="of each attack, with each number of liars")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="first seed")
    args = parser.parse_args()
    print("seed", args.seed, flush=True)
    started, found = time.perf_counter(), collections.Counter[str]()
    for attack, liars, silent in itertools.product(ATTACKS, range(1, LIARS_MAX + 1), (False, True)):
        for place in range(args.campaigns):
            for fault in faults(Campaign(attack, liars, args.seed + place, silent).run()):
                found[fault] += 1
                print("MISSED, seed", args.seed + place, attack.__name__, liars, silent, fault, flush=True)
    campaigns = args.campaigns * len(ATTACKS) * LIARS_MAX * 2
    took = timedelta(seconds=round(time.perf_counter() - started))
    print(f"{campaigns} campaigns of lying relays, {found.total()} faults in what was noticed, {took}", flush=True)
    started, false = time.perf_counter(), 0
    for place in range(0, args.count, 2):
        for alarm in run(args.seed + place):
            found[alarm] += 1
            false += 1
            print("FALSE ALARM, seed", args.seed + place, alarm, flush=True)
    took = timedelta(seconds=round(time.perf_counter() - started))
    print(f"{args.count} honest histories, {false} false alarms, {took}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
