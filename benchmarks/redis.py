"""Redis: executions per second of one core, and whether replays are identical.

``python -m benchmarks redis [--seconds 5] [--replays 100]`` runs two clients of three commands
each (SET, INCR, GET of one key), with redis.asyncio and with the synchronous client in two
threads, against the embedded server and, when there is one, a real redis-server. Every execution
makes its clients and their connections anew; they send no greeting. Then one schedule of each,
drawn at random, is run again and again, and its traces are compared event by event. Seconds are
CPU seconds of this process and of the real server, so that what else runs on the machine does not
count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio

from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, make_policy
from desvelo.servers import EmbeddedRedis, ServerUnavailable
from desvelo.servers import redis as real_server
from desvelo.world.boundary import Boundary

SILENT = {"protocol": 2, "driver_info": None}


class OnTheLoop:
    """Two clients of redis.asyncio and the embedded server."""

    name = "redis.asyncio, embedded server"
    servers: list[Any] = []  # noqa: RUF012 - as a scenario's author writes it

    async def setup(self) -> tuple[Any, list[Any]]:
        server = EmbeddedRedis()
        await server.start()
        return server, [redis.asyncio.Redis(port=6379, **SILENT) for _ in range(2)]

    def operations(self, state: tuple[Any, list[Any]]) -> dict[str, Callable[[], Any]]:
        async def three(client: Any, number: int) -> None:
            await client.set("key", number)
            await client.incr("key")
            await client.get("key")

        return {
            f"client-{number}": lambda client=client, number=number: three(client, number)
            for number, client in enumerate(state[1])
        }

    async def teardown(self, state: tuple[Any, list[Any]]) -> None:
        for client in state[1]:
            await client.aclose()
        if state[0] is not None:
            await state[0].stop()


class OnTheLoopReal(OnTheLoop):
    """The same with a real server."""

    name = "redis.asyncio, real server"
    servers = [real_server]  # noqa: RUF012

    async def setup(self) -> tuple[Any, list[Any]]:
        server = real_server()
        return None, [
            redis.asyncio.Redis(host=server.host, port=server.port, **SILENT) for _ in range(2)
        ]


class InThreads:
    """Two threads with a synchronous client each."""

    name = "redis, two threads, embedded server"
    runtime = "threads"
    servers: list[Any] = []  # noqa: RUF012

    def setup(self) -> tuple[Any, list[Any]]:
        server = EmbeddedRedis()
        server.start_for_threads()
        return server, [redis.Redis(port=6379, **SILENT) for _ in range(2)]

    def operations(self, state: tuple[Any, list[Any]]) -> dict[str, Callable[[], Any]]:
        def three(client: Any, number: int) -> None:
            client.set("key", number)
            client.incr("key")
            client.get("key")

        return {
            f"client-{number}": lambda client=client, number=number: three(client, number)
            for number, client in enumerate(state[1])
        }

    def teardown(self, state: tuple[Any, list[Any]]) -> None:
        for client in state[1]:
            client.close()
        if state[0] is not None:
            state[0].stop_for_threads()


class InThreadsReal(InThreads):
    """The same with a real server."""

    name = "redis, two threads, real server"
    servers = [real_server]  # noqa: RUF012

    def setup(self) -> tuple[Any, list[Any]]:
        server = real_server()
        return None, [redis.Redis(host=server.host, port=server.port, **SILENT) for _ in range(2)]


def used_with_server() -> float:
    """Return CPU seconds of this process and of the real server."""
    facts = real_server().run("INFO", "cpu").decode().split()
    used = dict(fact.split(":") for fact in facts if ":" in fact)
    return time.process_time() + float(used["used_cpu_sys"]) + float(used["used_cpu_user"])


def rate(program: Any, seconds: float) -> float:
    """Return executions per second under drawn schedules."""
    scenario, settings = Scenario(program), Settings()
    clock = used_with_server if program.servers else time.process_time
    with Boundary(), young_garbage_only():
        plain = execute(scenario, Fifo(), settings)
        scale = scale_of(plain, settings)
        count, started = 0, clock()
        while clock() - started < seconds:
            for _ in range(20):
                outcome = execute(scenario, make_policy("mix", count, scale), settings)
                assert outcome.failure is None, outcome.failure
                count += 1
        return count / (clock() - started)


def identical(program: Any, times: int) -> int:
    """Return how many of so many executions of one schedule met the very same events."""
    scenario, settings = Scenario(program), Settings()
    with Boundary(), young_garbage_only():
        scale = scale_of(execute(scenario, Fifo(), settings), settings)
        first = execute(scenario, make_policy("random_walk", 7, scale), settings, trace=True)
        assert first.trace is not None
        same = 0
        for _ in range(times):
            again = execute(scenario, make_policy("random_walk", 7, scale), settings, trace=True)
            assert again.trace is not None
            same += again.trace.digest() == first.trace.digest()
        return same


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redis", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--replays", type=int, default=100)
    options = parser.parse_args()
    print("| | executions/s | identical replays |\n|---|---|---|")
    for program in (OnTheLoop, OnTheLoopReal, InThreads, InThreadsReal):
        try:
            speed = rate(program, options.seconds)
        except ServerUnavailable as error:
            print(f"| {program.name} | {error} | |")
            continue
        same = identical(program, options.replays)
        print(f"| {program.name} | {speed:.0f} | {same} of {options.replays} |", flush=True)


if __name__ == "__main__":
    main()
