"""``run_in_executor`` and ``to_thread``: started at one decision, seen at another."""

import asyncio
import contextvars
import queue
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from desvelo.errors import UnsupportedInWorld
from desvelo.schedule.decisions import ORDERS, Recorder
from desvelo.schedule.policy import Recorded, make_policy
from desvelo.world import World


def run(main, *arguments, **options):
    with World(*arguments, **options) as world:
        world.deciding = True
        return world.run(main())


def test_a_job_returns_its_result_and_raises_its_error():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return await asyncio.get_running_loop().run_in_executor(None, max, 3, 4)

    assert run(main) == 4


def test_a_job_runs_in_a_thread_of_its_pool_and_none_outlives_the_world():
    before = threading.active_count()

    async def main():
        with ThreadPoolExecutor(2, thread_name_prefix="store") as pool:
            loop = asyncio.get_running_loop()
            jobs = (loop.run_in_executor(pool, threading.current_thread) for _ in range(8))
            seen = await asyncio.gather(*jobs)
        mine = await asyncio.to_thread(threading.get_ident)
        assert mine != threading.get_ident()
        return {thread.name for thread in seen}

    assert run(main) <= {"store_0", "store_1"}
    assert threading.active_count() == before


def test_what_a_job_keeps_in_its_thread_is_there_for_the_next_job_of_that_thread():
    local = threading.local()

    def count():
        local.count = getattr(local, "count", 0) + 1
        return local.count

    async def main():
        pool = ThreadPoolExecutor(1)
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(pool, count) for _ in range(3)]

    assert run(main) == [1, 2, 3]
    assert run(main) == [1, 2, 3]


def test_the_loop_runs_on_between_a_jobs_work_and_its_answer():
    log = []

    async def main():
        async def tick():
            for number in range(6):
                log.append(number)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(log.append, "job")
        log.append("answer")
        await ticking

    held = Recorded({("world", "answer", 0): 3 * ORDERS})
    run(main, Recorder(held))
    assert log.index("answer") - log.index("job") >= 3


def test_the_start_of_a_job_can_be_held_back():
    log = []

    async def main():
        async def tick():
            for number in range(6):
                log.append(number)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(log.append, "job")
        await ticking

    run(main, Recorder(Recorded({("world", "job", 0): 4 * ORDERS})))
    assert log.index("job") >= 3


@pytest.mark.parametrize("default", [False, True])
def test_a_pool_of_one_worker_keeps_its_order_under_every_schedule(default):
    async def main():
        order = []
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor(1)
        if default:
            loop.set_default_executor(pool)
        await asyncio.gather(
            *(
                loop.run_in_executor(None if default else pool, order.append, number)
                for number in range(6)
            )
        )
        return order

    for seed in range(200):
        assert run(main, Recorder(make_policy("mix", seed, 30))) == [0, 1, 2, 3, 4, 5]


def test_jobs_of_a_larger_pool_may_overtake_each_other():
    async def main():
        order = []
        await asyncio.gather(*(asyncio.to_thread(order.append, number) for number in range(4)))
        return tuple(order)

    seen = {run(main, Recorder(make_policy("mix", seed, 30))) for seed in range(100)}
    assert (0, 1, 2, 3) in seen
    assert len(seen) > 3


def test_a_job_that_sleeps_takes_virtual_time_while_the_loop_goes_on():
    async def main():
        loop = asyncio.get_running_loop()
        start = loop.time()
        ticks = []

        async def tick():
            while True:
                await asyncio.sleep(1)
                ticks.append(round(loop.time() - start))

        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(time.sleep, 3.5)
        took = loop.time() - start
        ticking.cancel()
        return ticks, round(took, 1)

    assert run(main) == ([1, 2, 3], 3.5)


def test_the_answer_of_a_job_that_slept_is_never_lost():
    async def main():
        async def tick():
            for _ in range(50):
                await asyncio.sleep(0.01)
                await asyncio.to_thread(int)

        async def slow():
            for _ in range(5):
                await asyncio.to_thread(time.sleep, 0.1)

        await asyncio.gather(tick(), slow())
        return True

    for seed in range(50):
        assert run(main, Recorder(make_policy("mix", seed, 300)))


def test_a_sleep_in_the_loops_own_thread_stops_everything():
    async def main():
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(TimeoutError):  # noqa: PT012 - the block is what times out
            async with asyncio.timeout(1):
                time.sleep(5)  # noqa: ASYNC251 - the mistake that is looked at
                await asyncio.sleep(0.5)
        return loop.time() - start

    assert run(main) >= 5


def test_a_job_that_is_cancelled_before_it_starts_never_runs():
    log = []

    async def main():
        job = asyncio.get_running_loop().run_in_executor(None, log.append, "job")
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        await asyncio.sleep(1)

    run(main)
    assert log == []


def test_a_job_that_is_cancelled_while_it_runs_runs_to_its_end():
    log = []

    async def main():
        def work():
            time.sleep(2)
            log.append("job")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(work), 1)
        await asyncio.sleep(5)

    run(main)
    assert log == ["job"]


def test_to_thread_carries_context_variables_and_run_in_executor_does_not():
    name = contextvars.ContextVar("name", default="nobody")

    async def main():
        name.set("caller")
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(name.get), await loop.run_in_executor(None, name.get)

    assert run(main) == ("caller", "nobody")


def test_no_loop_is_running_inside_a_job():
    async def main():
        with pytest.raises(RuntimeError, match="no running event loop"):
            await asyncio.to_thread(asyncio.get_running_loop)

    run(main)


def test_a_job_may_hand_work_back_to_the_loop():
    async def main():
        loop = asyncio.get_running_loop()
        seen = asyncio.Event()
        await asyncio.to_thread(loop.call_soon_threadsafe, seen.set)
        async with asyncio.timeout(1):
            await seen.wait()

    run(main)


def test_a_job_may_wait_for_a_coroutine_of_the_loop():
    async def main():
        loop = asyncio.get_running_loop()

        def work():
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(1, "done"), loop).result()

        return await asyncio.to_thread(work)

    assert run(main) == "done"


def test_a_job_may_wait_for_another_job_through_a_queue():
    async def main():
        box = queue.Queue()
        getting = asyncio.to_thread(box.get)
        putting = asyncio.to_thread(box.put, "letter")
        letter, _ = await asyncio.gather(getting, putting)
        return letter

    for seed in range(50):
        assert run(main, Recorder(make_policy("mix", seed, 30))) == "letter"


def test_an_executor_that_was_shut_down_takes_no_job():
    async def main():
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor(1)
        await loop.run_in_executor(pool, int)
        pool.shutdown()
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            await loop.run_in_executor(pool, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match=r"[Ee]xecutor shutdown has been called"):
            await asyncio.to_thread(int)

    run(main)


def test_a_pool_of_processes_is_refused_by_name():
    async def main():
        pool = ProcessPoolExecutor(1)
        await asyncio.get_running_loop().run_in_executor(pool, int)

    with pytest.raises(UnsupportedInWorld, match=r"ProcessPoolExecutor at .*test_jobs.py"):
        run(main)


def test_settling_waits_for_jobs_that_still_sleep():
    log = []

    def work():
        time.sleep(30)

    async def main():
        asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(log.append)

    with World() as world:
        world.run(main())
        world.settle()
        assert len(log) == 1
