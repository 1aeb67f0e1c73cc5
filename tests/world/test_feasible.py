"""Whatever the schedule, nothing happens that stock asyncio could not do.

Each program here is correct because of an order that asyncio promises, or because its
time-out is longer than any delay that a schedule may make. None may ever be accused.
"""

import asyncio
import gc
import os

import aiohttp
import pytest
from aiohttp import web

from desvelo.schedule.decisions import MAX_HOLD, Recorder
from desvelo.schedule.policy import make_policy
from desvelo.world import World
from desvelo.world.boundary import Boundary

SCHEDULES = int(os.environ.get("DESVELO_SCHEDULES", "800"))
POLICIES = ("mix", "pct(4)", "random_walk(0.5)", "sticky(0.9)", "delays(4)")


@pytest.fixture(autouse=True)
def young_garbage_only():
    gc.freeze()
    gc.disable()
    with Boundary():
        yield
    gc.enable()
    gc.unfreeze()


def explore(program, *, schedules=SCHEDULES, length=60):
    """Run a program under many schedules; return how many different ones there were."""
    seen = set()
    for seed in range(schedules):
        policy = make_policy(POLICIES[seed % len(POLICIES)], seed, length)
        recorder = Recorder(policy)
        with World(recorder) as world:
            world.deciding = True
            try:
                world.run(program(world))
            except Exception as error:
                raise AssertionError(f"schedule {recorder.schedule(0)!r}") from error
            assert world.loop_exceptions == []
        seen.add(recorder.schedule(0))
        if seed % 200 == 0:
            gc.collect(1)
    return len(seen)


async def noise(rounds=8):
    """Traffic and timers that give the schedule something to decide."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 4000)
    reader, writer = await asyncio.open_connection("127.0.0.1", 4000)
    for number in range(rounds):
        writer.write(b"noise")
        await reader.readexactly(5)
        if number % 3 == 0:
            await asyncio.sleep(0.01)
    writer.close()
    server.close()


async def _echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


def test_callbacks_run_in_the_order_in_which_they_were_scheduled():
    async def program(world):
        other = asyncio.create_task(noise(3))
        loop = asyncio.get_running_loop()
        for _ in range(5):
            order = []
            for number in range(5):
                loop.call_soon(order.append, number)
            await asyncio.sleep(0)
            assert order == [0, 1, 2, 3, 4]
            await asyncio.sleep(0.001)
        await other

    assert explore(program) > SCHEDULES / 4


def test_tasks_start_in_the_order_in_which_they_were_made():
    async def program(world):
        other = asyncio.create_task(noise(3))
        await asyncio.sleep(0.005)
        started = []

        async def start(number):
            started.append(number)
            await asyncio.to_thread(int)

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(start(number))
        assert started == [0, 1, 2, 3, 4]
        await other

    assert explore(program) > SCHEDULES / 4


def test_waiters_of_a_lock_and_a_queue_are_served_first_come_first_served():
    async def program(world):
        other = asyncio.create_task(noise(3))
        lock, queue, few = asyncio.Lock(), asyncio.Queue(), asyncio.Semaphore(1)
        asked, served, taken = [], [], []

        async def use(number):
            await asyncio.to_thread(int)
            asked.append(number)
            async with lock:
                served.append(number)
                await asyncio.to_thread(int)
                async with few:
                    await asyncio.sleep(0)

        async def take(number):
            taken.append((number, await queue.get()))

        taking = [asyncio.create_task(take(number)) for number in range(4)]
        await asyncio.gather(*(use(number) for number in range(4)))
        assert served == asked
        for number in range(4):
            queue.put_nowait(number)
        await asyncio.gather(*taking)
        assert taken == [(number, number) for number in range(4)]
        await other

    assert explore(program) > SCHEDULES / 4


def test_a_shorter_sleep_ends_first_and_equal_ones_in_the_order_of_their_start():
    async def program(world):
        other = asyncio.create_task(noise(3))
        await asyncio.sleep(0.003)
        ended = []

        async def nap(seconds, name):
            await asyncio.sleep(seconds)
            ended.append(name)

        await asyncio.gather(
            nap(2, "two"),
            nap(1, "one"),
            nap(1, "one again"),
            nap(0.05, "first"),
            nap(0.05, "second"),
        )
        assert ended == ["first", "second", "one", "one again", "two"]
        await other

    assert explore(program) > SCHEDULES / 4


def test_a_stream_keeps_the_order_of_its_bytes():
    message = bytes(range(200))

    async def program(world):
        async def send(reader, writer):
            for start in range(0, 200, 40):
                writer.write(message[start : start + 40])
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(send, "127.0.0.1", 4000)
        streams = [await asyncio.open_connection("127.0.0.1", 4000) for _ in range(2)]
        received = await asyncio.gather(*(reader.read() for reader, _ in streams))
        assert received == [message, message]
        for _, writer in streams:
            writer.close()
        server.close()

    assert explore(program) > SCHEDULES / 4


def test_a_time_out_of_a_second_never_fires_by_scheduling_alone():
    async def program(world):
        async def tick():
            while True:  # noqa: ASYNC110 - time is what is tested
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        heart = asyncio.create_task(tick())
        async with asyncio.timeout(1):
            await noise(4)
        async with asyncio.timeout(1):
            for _ in range(20):
                await asyncio.to_thread(int)
        ticking.cancel()
        heart.cancel()

    assert explore(program) > SCHEDULES / 4


def test_a_clients_time_out_of_a_second_never_fires_by_scheduling_alone():
    async def program(world):
        world.deciding = False

        async def echo(request):
            return web.Response(body=await request.read())

        app = web.Application()
        app.router.add_post("/", echo)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 4000).start()
        world.deciding = True

        async def tick():
            while True:  # noqa: ASYNC110 - time is what is tested
                await asyncio.sleep(0.02)

        ticking = asyncio.create_task(tick())

        async def ask(session, number):
            url = "http://localhost:4000/"
            async with session.post(url, data=str(number)) as answer:
                assert await answer.text() == str(number)

        limit = aiohttp.ClientTimeout(total=1)
        async with aiohttp.ClientSession(timeout=limit) as session:
            await asyncio.gather(ask(session, 1), ask(session, 2))
        ticking.cancel()
        await runner.cleanup()

    assert explore(program, length=120) > SCHEDULES / 4


def test_a_delivery_is_late_by_no_more_than_the_bound():
    async def program(world):
        loop = asyncio.get_running_loop()

        async def stamp(reader, writer):
            await reader.readexactly(1)
            late.append(loop.time() - sent[0])
            writer.close()

        sent, late = [], []
        server = await asyncio.start_server(stamp, "127.0.0.1", 4000)
        _, writer = await asyncio.open_connection("127.0.0.1", 4000)
        await asyncio.sleep(0.3)

        async def tick():
            while True:  # noqa: ASYNC110 - time is what is tested
                await asyncio.sleep(0.015)

        ticking = asyncio.create_task(tick())
        sent.append(loop.time())
        writer.write(b"x")
        while not late:  # noqa: ASYNC110 - time is what is tested
            await asyncio.sleep(0.001)
        assert late[0] <= 0.102, late
        ticking.cancel()
        writer.close()
        server.close()

    assert explore(program) > SCHEDULES / 8


class Late:
    """Holds every delivery back for as long as it may."""

    def decide(self, kind, actor, limit):
        return limit - 1 if kind == "deliver" else 0


@pytest.mark.parametrize(("latency", "late"), [(0, 0.0), (0.1, 0.1), (0.5, 0.5)])
def test_a_delivery_is_as_late_as_the_bound_where_the_schedule_wants_it(latency, late):
    async def program(world):
        loop = asyncio.get_running_loop()
        one, other = await _pair(world)
        start = loop.time()
        ticking = asyncio.create_task(_tick())
        one.write(b"x")
        await other.readexactly(1)
        ticking.cancel()
        return loop.time() - start

    with World(Recorder(Late()), latency=latency) as world:
        world.deciding = True
        assert late - 0.015 < world.run(program(world)) < late + 0.015


def test_a_chain_of_late_deliveries_stays_below_half_a_second_in_each_second():
    async def program(world):
        loop = asyncio.get_running_loop()
        one, other = await _pair(world)
        ticking = asyncio.create_task(_tick())
        start = loop.time()
        arrived = []
        for _ in range(100):
            one.write(b"x")
            await other.readexactly(1)
            arrived.append(loop.time() - start)
        ticking.cancel()
        return arrived

    with World(Recorder(Late())) as world:
        world.deciding = True
        arrived = world.run(program(world))
    assert arrived[10] < 0.5
    assert arrived[-1] < 1


async def _tick():
    while True:  # noqa: ASYNC110 - time is what is tested
        await asyncio.sleep(0.01)


async def _pair(world):
    ends = asyncio.get_running_loop().create_future()
    await asyncio.start_server(lambda r, w: ends.set_result((r, w)), "127.0.0.1", 4000)
    _, one = await asyncio.open_connection("127.0.0.1", 4000)
    other, writer = await ends
    world.kept = one, writer  # dropped, they would warn of being unclosed
    return one, other


@pytest.mark.parametrize("busy", [False, True])
def test_no_operation_is_lost_or_held_for_ever(busy):
    class Latest:
        """Holds everything back for as long as there is a number for it."""

        def decide(self, kind, actor, limit):
            return limit - 1

    for seed in range(500):
        policy = make_policy(POLICIES[seed % 5], seed, 20) if seed % 250 else Latest()
        with World(Recorder(policy)) as world:

            async def set_up(busy=busy):
                async def work():
                    while True:  # noqa: ASYNC110 - time is what is tested
                        await asyncio.sleep(0.5)

                return [asyncio.create_task(work())] if busy else []

            kept = world.run(set_up())
            world.deciding = True
            started = [world.start(name, lambda: asyncio.sleep(0.01)) for name in "abc"]
            world.finish(started)
            assert [operation.state for operation in started] == ["returned"] * 3
            for task in kept:
                task.cancel()
    assert MAX_HOLD > 1000


def test_settling_sees_every_arrival_and_delivery():
    for seed in range(SCHEDULES // 4):
        with World(Recorder(make_policy("mix", seed, 40))) as world:
            world.deciding = True
            started = [world.start(f"op-{n}", noise) for n in range(1)]
            world.settle()
            world.elapse(1)
            world.settle()
            assert [operation.state for operation in started] == ["returned"]


def test_stepping_goes_as_far_as_it_is_told_and_no_further():
    with World() as world:

        async def work():
            while True:  # noqa: ASYNC110 - time is what is tested
                await asyncio.sleep(0)

        operation = world.start("worker", work)
        before = world.selector.polls
        world.step(10)
        assert world.selector.polls - before in (10, 11)
        operation.cancel()
        world.settle()
        assert operation.state == "cancelled"
