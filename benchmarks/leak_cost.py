"""What it costs an execution in the simulated world that all it opens is accounted for.

``python -m benchmarks leak_cost [--rounds 40] [--executions 25]`` runs the reference program (two
POSTs with client, server and store, see `benchmarks.rate`) in turns: without anything watched, and
with every resource known and judged. Seconds are CPU seconds of the process; the figure is the
median of the ratios of neighbours.
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks.rate import TwoPosts
from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, Scale, make_policy
from desvelo.world import boundary
from desvelo.world.boundary import Boundary


def milliseconds(scenario: Scenario, scale: Scale, seeds: range, *, watched: bool) -> float:
    """Return the CPU milliseconds of an execution."""
    settings = Settings(leaks=watched)
    companions = list(boundary.COMPANIONS)
    if not watched:
        boundary.COMPANIONS.clear()
    try:
        with Boundary(), young_garbage_only():
            execute(scenario, Fifo(), settings)
            started = time.process_time()
            for seed in seeds:
                outcome = execute(scenario, make_policy("mix", seed, scale), settings)
                assert outcome.failure is None, outcome.failure
            return (time.process_time() - started) / len(seeds) * 1e3
    finally:
        boundary.COMPANIONS[:] = companions


def main() -> None:
    """Measure in turn and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks leak_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--executions", type=int, default=25, help="of each sort in each round")
    options = parser.parse_args()
    scenario = Scenario(TwoPosts)
    with Boundary(), young_garbage_only():
        scale = scale_of(execute(scenario, Fifo(), Settings()), Settings())
    pairs = []
    for number in range(options.rounds):
        seeds = range(number * options.executions, (number + 1) * options.executions)
        # Who comes first changes, so that what a machine does meanwhile hits both alike.
        order = (False, True) if number % 2 else (True, False)
        times = {on: milliseconds(scenario, scale, seeds, watched=on) for on in order}
        pairs.append((times[False], times[True]))
    ratios = sorted(on / off for off, on in pairs)
    without, watched = (statistics.median(times) for times in zip(*pairs, strict=True))
    middle = ratios[len(ratios) // 4], ratios[-len(ratios) // 4]
    print(f"an execution without the leak check {without:.3f} ms, with it {watched:.3f} ms")
    print(
        f"cost {100 * (statistics.median(ratios) - 1):+.1f} % (median of {len(ratios)} pairs of "
        f"{options.executions}; half of them {100 * (middle[0] - 1):+.1f} to "
        f"{100 * (middle[1] - 1):+.1f} %)"
    )


if __name__ == "__main__":
    main()
