"""Executions per second of one core: two POSTs with client, server and store.

``python -m benchmarks.rate [--rounds 7] [--seconds 2]`` measures the simulated world and stock
asyncio in one run, in turn, and prints the median rates and the median ratio of neighbours. The
program is the same: start the reference system and a client, deliver two detections for one new
code at once, check that one patient has both, stop. The world explores schedules with the ``mix``
policy as `explore` does; stock asyncio uses its own loop over loopback sockets and real pool
threads. Seconds are CPU seconds of the process, so that what else runs on the machine does not
count.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from typing import Any

from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, make_policy
from desvelo.world.boundary import Boundary
from vigia_reference import Settings as SystemSettings
from vigia_reference import System


class TwoPosts:
    """Two deliveries for one new patient code."""

    port = 8000

    async def setup(self) -> tuple[System, Any]:
        system = System(SystemSettings(port=self.port))
        await system.start()
        return system, system.client()

    def operations(self, state: tuple[System, Any]) -> dict[str, Any]:
        _, client = state

        def deliver(image: str) -> Any:
            payload = {
                "patient_code": "TEST-001",
                "image_path": image,
                "detections": [{"stage": 2, "confidence": 0.85}],
            }
            return client.send_detection(payload)

        return {
            "first": lambda: deliver("/images/1.jpg"),
            "second": lambda: deliver("/images/2.jpg"),
        }

    async def check(self, state: tuple[System, Any]) -> None:
        system, _ = state
        assert [one["detection_count"] for one in await system.store.list_patients()] == [2]

    async def teardown(self, state: tuple[System, Any]) -> None:
        system, client = state
        await client.close()
        await system.stop()


class TwoPostsOnLoopback(TwoPosts):
    """The same on a port that the kernel chooses."""

    port = 0


async def stock() -> None:
    """Run the program once on the loop that runs now."""
    program = TwoPostsOnLoopback()
    state = await program.setup()
    await asyncio.gather(*(call() for call in program.operations(state).values()))
    await program.check(state)
    await program.teardown(state)


def rate_in_the_world(seconds: float) -> float:
    """Return executions per second under drawn schedules."""
    scenario, settings = Scenario(TwoPosts), Settings()
    with Boundary(), young_garbage_only():
        plain = execute(scenario, Fifo(), settings)
        scale = scale_of(plain, settings)
        count, started = 0, time.process_time()
        while time.process_time() - started < seconds:
            outcome = execute(scenario, make_policy("mix", count, scale), settings)
            assert outcome.failure is None, outcome.failure
            count += 1
        return count / (time.process_time() - started)


def rate_on_stock_asyncio(seconds: float) -> float:
    """Return executions per second on the stock loop, with the same care for garbage."""
    with young_garbage_only(), asyncio.Runner() as runner:
        runner.run(stock())
        count, started = 0, time.process_time()
        while time.process_time() - started < seconds:
            runner.run(stock())
            gc.collect(0)
            count += 1
        return count / (time.process_time() - started)


def main() -> None:
    """Measure in turn and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    pairs = [
        (rate_in_the_world(options.seconds), rate_on_stock_asyncio(options.seconds))
        for _ in range(options.rounds)
    ]
    ratio = statistics.median(one / other for one, other in pairs)
    print("| | executions/s (median) | lowest | highest |\n|---|---|---|---|")
    names = ("simulated world, mix", "stock asyncio, loopback")
    for name, rates in zip(names, zip(*pairs, strict=True), strict=True):
        print(f"| {name} | {statistics.median(rates):.0f} | {min(rates):.0f} | {max(rates):.0f} |")
    print(f"\nratio world / stock, median of {options.rounds} pairs: {ratio:.2f}")


if __name__ == "__main__":
    main()
