"""Drawn fault plans on the correct system: nothing acknowledged is lost, nothing is stored twice.

``python -m benchmarks.fault_plans [--plans 10000] [--seed 1]`` draws plans: two to five calls of
the machine of `stress_tests/test_faulty_network.py`, one to six faults that strike them, pauses
in between and a policy. Each is one execution in a world of its own, with all checks at rest, a
shutdown, and the look at what is left open. Plan n of a seed is always the same, so a plan that
fails is run again with ``--plan N``.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from desvelo import fault
from desvelo.exploration import young_garbage_only
from desvelo.targets import using_target
from desvelo.world.boundary import Boundary
from stress_tests.test_faulty_network import FaultyNetwork

CODES = ("VG-2025-001", "vg-2025-001", "TEST-7")
RISKS = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
MOST_CALLS = 5
MOST_FAULTS = 6


@dataclass
class Tally:
    """What the plans did, and what became of it."""

    plans: int = 0
    drawn: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    acknowledged: int = 0
    failures: dict[int, str] = field(default_factory=dict)


class CountingNetwork(FaultyNetwork):
    """The machine, with faults that count how often they strike."""

    tally = Tally()


def counting(one: fault.Fault) -> fault.Fault:
    """Return a fault that counts itself when it strikes."""

    def strike(*arguments: Any) -> Any:
        CountingNetwork.tally.struck[one.name] += 1
        return one.strike(*arguments)

    return replace(one, strike=strike)


CountingNetwork.faults = tuple(map(counting, FaultyNetwork.faults))


def calls(chance: random.Random) -> dict[str, Callable[[CountingNetwork], Any]]:
    """Return what a plan may call, each with drawn arguments."""

    def payload() -> dict[str, Any]:
        return {
            "patient_code": chance.choice(CODES),
            "detections": [{"stage": chance.randrange(5), "confidence": 0.85}],
            "risk_level": chance.choice(RISKS),
        }

    def name() -> str:
        return str(UUID(int=chance.getrandbits(128), version=4))

    return {
        "deliver": lambda machine: machine.deliver(payload=payload(), webhook_id=name()),
        "redeliver": lambda machine: machine.redeliver(number=chance.randrange(4)),
        "batch": lambda machine: machine.batch(payloads=[payload(), payload()], webhook_id=name()),
        "restart": lambda machine: machine.restart(),
    }


def run_plan(seed: int, number: int) -> CountingNetwork:
    """Run one plan; raises what the machine found."""
    chance = random.Random(f"fault plan {seed} {number}")
    tally = CountingNetwork.tally
    machine = CountingNetwork()
    machine.interleave(
        plan={
            "policy": "mix",
            "seed": chance.getrandbits(32),
            "steps": chance.choice((40, 120, 400)),
        }
    )
    possible = calls(chance)
    names = ["deliver", *chance.choices(list(possible), (4, 2, 2, 1), k=MOST_CALLS - 1)]
    names = names[: chance.randint(2, MOST_CALLS)]
    faults = [chance.randrange(len(names)) for _ in range(chance.randint(1, MOST_FAULTS))]
    handles: list[Any] = []
    try:
        for position, one in enumerate(names):
            tally.calls[one] += 1
            handles.append(possible[one](machine))
            for _ in range(faults.count(position)):
                if chance.random() < 0.5:
                    machine.advance(polls=chance.randint(1, 12))
                which = chance.randrange(len(machine.faults))
                tally.drawn[machine.faults[which].name] += 1
                machine.inject(
                    handle=chance.choice(handles), number=which, variant=chance.randrange(8)
                )
            what_next = chance.random()
            if what_next < 0.3:
                machine.advance(polls=chance.randint(1, 40))
            elif what_next < 0.4:
                machine.wait_for(handle=handles[-1])
    finally:
        machine.teardown()
    return machine


def run(seed: int, numbers: range) -> Tally:
    """Run plans one after the other, and count."""
    tally = CountingNetwork.tally = Tally()
    with using_target("vigia_reference"), Boundary(), young_garbage_only():
        for number in numbers:
            tally.plans += 1
            try:
                machine = run_plan(seed, number)
            except Exception as error:
                tally.failures[number] = f"{type(error).__name__}: {error}"
                continue
            tally.sent += len(machine.sent)
            tally.acknowledged += len(machine.acknowledged)
    return tally


def main() -> int:
    """Print the tables; exit 1 when a plan broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_plans", description=__doc__)
    parser.add_argument("--plans", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", type=int, help="run this one only")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    numbers = range(options.plans)
    if options.plan is not None:
        numbers = range(options.plan, options.plan + 1)
    started = time.perf_counter()
    tally = run(options.seed, numbers)
    print("| fault | drawn | struck a call in flight |\n|---|---|---|")
    for name, drawn in sorted(tally.drawn.items()):
        print(f"| {name} | {drawn:,} | {tally.struck[name]:,} |")
    print(f"| all | {tally.drawn.total():,} | {tally.struck.total():,} |")
    print(f"\nplans, one execution each: {tally.plans:,}")
    print("calls: " + ", ".join(f"{count:,} {name}" for name, count in sorted(tally.calls.items())))
    print(f"events sent {tally.sent:,}, of them acknowledged {tally.acknowledged:,}")
    print(f"plans in which a promise was broken or something left open: {len(tally.failures)}")
    for number, what in tally.failures.items():
        print(f"  plan {number}: {what[:200]}")
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
