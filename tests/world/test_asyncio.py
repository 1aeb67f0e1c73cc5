"""The rest of asyncio's public surface, inside the world."""

import asyncio

import pytest

from desvelo.errors import StepLimitReached, WorldStuck
from desvelo.world import World


def run(main, **options):
    with World(**options) as world:
        return world.run(main())


def test_streams_carry_lines_both_ways_and_end():
    async def main():
        async def shout(reader, writer):
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(shout, "127.0.0.1", 4000)
        async with server:
            reader, writer = await asyncio.open_connection("localhost", 4000)
            writer.write(b"one\ntwo\n")
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        return answer

    assert run(main) == b"ONE\nTWO\n"


def test_hours_of_sleep_take_no_time_and_few_polls():
    async def main():
        loop = asyncio.get_running_loop()
        start = loop.time()
        for _ in range(10):
            await asyncio.sleep(3600)
        return loop.time() - start

    with World() as world:
        assert 36_000 <= world.run(main()) < 36_001
        assert world.selector.polls < 40


@pytest.mark.parametrize("form", ["timeout", "wait_for"])
def test_a_time_out_cancels_what_it_encloses(form):
    async def main():
        ended = []

        async def slow():
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        with pytest.raises(TimeoutError):  # noqa: PT012 - the block is what times out
            if form == "timeout":
                async with asyncio.timeout(2):
                    await slow()
            else:
                await asyncio.wait_for(slow(), 2)
        return ended

    assert run(main) == ["cancelled"]


def test_a_task_group_cancels_the_others_when_one_fails():
    async def main():
        ended = []

        async def wait(name):
            try:
                await asyncio.sleep(10)
            finally:
                ended.append(name)

        async def fail():
            await asyncio.sleep(1)
            raise LookupError("no")

        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the block is what times out
            async with asyncio.TaskGroup() as group:
                group.create_task(wait("a"))
                group.create_task(wait("b"))
                group.create_task(fail())
        return sorted(ended), caught.value.exceptions

    ended, errors = run(main)
    assert ended == ["a", "b"]
    assert isinstance(errors[0], LookupError)


def test_gather_keeps_the_order_of_its_arguments():
    async def main():
        async def after(seconds):
            await asyncio.sleep(seconds)
            return seconds

        return await asyncio.gather(after(3), after(1), after(2))

    assert run(main) == [3, 1, 2]


def test_a_bounded_queue_holds_its_producer_back():
    async def main():
        queue = asyncio.Queue(maxsize=2)
        log = []

        async def produce():
            for number in range(5):
                await queue.put(number)
                log.append(("put", number))

        producer = asyncio.create_task(produce())
        await asyncio.sleep(1)
        waiting = len(log)
        taken = [await queue.get() for _ in range(5)]
        await producer
        return waiting, taken

    assert run(main) == (2, [0, 1, 2, 3, 4])


def test_locks_and_semaphores_let_waiters_in_first_come_first_served():
    async def main():
        order = []
        lock, few = asyncio.Lock(), asyncio.Semaphore(2)

        async def use(name):
            async with few, lock:
                order.append(name)
                await asyncio.sleep(1)

        await asyncio.gather(*(use(name) for name in range(6)))
        return order

    assert run(main) == [0, 1, 2, 3, 4, 5]


def test_conditions_events_and_barriers_wake_their_waiters():
    async def main():
        condition, event, barrier = asyncio.Condition(), asyncio.Event(), asyncio.Barrier(3)
        order = []

        async def wait(name):
            async with condition:
                await condition.wait()
            await event.wait()
            await barrier.wait()
            order.append(name)

        tasks = [asyncio.create_task(wait(name)) for name in "abc"]
        await asyncio.sleep(1)
        async with condition:
            condition.notify_all()
        event.set()
        await asyncio.gather(*tasks)
        return sorted(order)

    assert run(main) == ["a", "b", "c"]


def test_async_generators_are_closed_in_the_order_in_which_they_began():
    async def main():
        closed = []

        async def numbers(name):
            try:
                yield 1
                yield 2
            finally:
                closed.append(name)

        kept = [numbers(name) for name in range(20)]
        for generator in kept:
            await anext(generator)
        await asyncio.get_running_loop().shutdown_asyncgens()
        return closed

    assert run(main) == list(range(20))


def test_what_wait_and_all_tasks_return_is_walked_in_the_order_of_creation():
    async def main():
        async def nothing():
            await asyncio.sleep(0)

        tasks = [asyncio.create_task(nothing(), name=str(number)) for number in range(50)]
        everyone = [task for task in asyncio.all_tasks() if task in tasks]
        done, pending = await asyncio.wait(set(tasks))
        assert not pending
        first = done.pop()
        return everyone == tasks, first is tasks[0], list(done) == tasks[1:]

    assert run(main) == (True, True, True)


def test_as_completed_starts_coroutines_in_the_order_given():
    async def main():
        started = []

        async def note(number):
            started.append(number)
            return number

        for done in asyncio.as_completed([note(number) for number in range(30)]):
            await done
        return started

    assert run(main) == list(range(30))


def test_a_deadlock_is_told_at_once():
    async def main():
        await asyncio.Event().wait()

    with World() as world, pytest.raises(WorldStuck):
        world.run(main())


def test_a_program_that_never_ends_reaches_the_bound_on_its_steps():
    async def main():
        while True:  # noqa: ASYNC110 - time is what is tested
            await asyncio.sleep(0)

    with World(max_polls=500) as world, pytest.raises(StepLimitReached):
        world.run(main())


def test_a_context_variable_of_the_caller_is_seen_by_its_tasks_only():
    import contextvars

    name = contextvars.ContextVar("name", default="nobody")

    async def main():
        async def read():
            return name.get()

        name.set("me")
        child = asyncio.create_task(read())
        name.set("later")
        return await child, await asyncio.create_task(read())

    assert run(main) == ("me", "later")


def test_a_server_started_twice_from_one_world_serves_on():
    async def main():
        for _ in range(3):
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 4000)
            reader, writer = await asyncio.open_connection("127.0.0.1", 4000)
            assert await reader.read() == b""
            writer.close()
            server.close()
            await server.wait_closed()

    run(main)


def test_a_worlds_loop_closes_with_tasks_left_and_says_nothing(capfd):
    async def main():
        asyncio.create_task(asyncio.sleep(1000))  # noqa: RUF006 - left behind on purpose

    run(main)
    assert capfd.readouterr().err == ""


def test_tasks_of_the_targets_own_factory_are_counted_by_the_world():
    async def names():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(
            lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options)
        )
        made = [asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(asyncio.sleep(0))]
        made.append(asyncio.create_task(asyncio.sleep(0), name="Task-7000"))
        await asyncio.gather(*made)
        return [task.get_name() for task in made]

    seen = []
    for _ in range(2):
        with World() as world:
            seen.append(world.run(names()))
    assert seen[0] == seen[1]
    assert seen[0][2] == "Task-7000"
