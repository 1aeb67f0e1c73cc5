"""What `threading`, `queue` and `concurrent.futures` do among controlled threads."""

import concurrent.futures
import logging
import queue
import tempfile
import threading
import time
import unittest.mock

import pytest

from desvelo.errors import WorldStuck
from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import Scale, make_policy
from desvelo.world import World
from desvelo.world.boundary import Boundary

SEEDS = 60


@pytest.fixture(autouse=True)
def _boundary():
    """Locks are made as a scenario makes them: while a world may be entered."""
    with Boundary():
        yield


def run(*calls, policy="mix", seed=0, **options):
    """Run plain functions as threads under one schedule and return what they returned."""
    scale = Scale(decisions=40, arrivals=len(calls), threads=True)
    with World(Recorder(make_policy(policy, seed, scale)), runtime="threads", **options) as world:
        world.deciding = True
        operations = [world.start(f"op-{n}", call) for n, call in enumerate(calls)]
        world.finish(operations)
        for operation in operations:
            if operation.error is not None:
                raise operation.error
        assert not world.threads.errors, world.threads.errors
        return [operation.result for operation in operations]


def every_schedule(make, seeds=SEEDS):
    """Run what ``make`` returns, fresh, under many schedules."""
    return [run(*make(), seed=seed) for seed in range(seeds)]


def test_a_lock_keeps_others_out_under_every_schedule():
    def make():
        lock, log = threading.Lock(), []

        def work():
            for _ in range(3):
                with lock:
                    log.append("in")
                    log.append("out")
            return log

        return work, work, work

    for logs in every_schedule(make):
        assert logs[0] == ["in", "out"] * 9


def test_without_a_lock_some_schedule_loses_an_update():
    def make():
        count = {"n": 0}

        def work():
            seen = count["n"]
            count["n"] = seen + 1
            return count

        return work, work

    assert {results[0]["n"] for results in every_schedule(make)} == {1, 2}


def test_a_reentrant_lock_may_be_taken_again_by_its_owner_only():
    def make():
        lock, log = threading.RLock(), []

        def work():
            with lock:
                log.append("in")
                with lock:
                    log.append("out")
            return log

        return work, work

    for logs in every_schedule(make):
        assert logs[0] == ["in", "out", "in", "out"]


def test_releasing_somebody_elses_reentrant_lock_is_refused():
    lock = threading.RLock()

    def work():
        with pytest.raises(RuntimeError, match="un-acquired"):
            lock.release()

    run(work)


def test_a_condition_wakes_its_waiter():
    def make():
        condition, box = threading.Condition(), []

        def get():
            with condition:
                while not box:
                    condition.wait()
                return box.pop()

        def put():
            with condition:
                box.append(7)
                condition.notify()

        return get, put

    for results in every_schedule(make):
        assert results[0] == 7


def test_a_condition_waits_no_longer_than_its_time_out():
    def work():
        condition = threading.Condition()
        before = time.monotonic()
        with condition:
            assert condition.wait(timeout=2.5) is False
        return time.monotonic() - before

    assert run(work)[0] == pytest.approx(2.5, abs=0.2)


def test_wait_for_with_a_time_out_tells_whether_it_came_true():
    def make():
        condition, state = threading.Condition(), []

        def wait():
            with condition:
                return condition.wait_for(lambda: bool(state), timeout=60)

        def change():
            time.sleep(1)
            with condition:
                state.append(1)
                condition.notify_all()

        return wait, change

    for results in every_schedule(make):
        assert results[0] is True


def test_an_event_is_waited_for_and_seen():
    def make():
        event = threading.Event()
        return event.wait, event.set

    for results in every_schedule(make):
        assert results[0] is True


def test_no_more_threads_than_a_semaphore_allows_are_inside():
    def make():
        semaphore, inside, most = threading.Semaphore(2), [], []

        def work():
            with semaphore:
                inside.append(1)
                most.append(len(inside))
                inside.pop()
            return max(most)

        return work, work, work, work

    seen = {max(results) for results in every_schedule(make)}
    assert seen == {1, 2}


def test_a_bounded_semaphore_refuses_to_be_released_too_often():
    def work():
        semaphore = threading.BoundedSemaphore(1)
        with semaphore:
            pass
        with pytest.raises(ValueError, match="released too many times"):
            semaphore.release()

    run(work)


def test_a_barrier_lets_all_through_together():
    def make():
        barrier, log = threading.Barrier(3), []

        def work():
            log.append("before")
            barrier.wait()
            log.append("after")
            return log

        return work, work, work

    for results in every_schedule(make):
        assert results[0] == ["before"] * 3 + ["after"] * 3


def test_a_timer_fires_in_virtual_time_and_can_be_cancelled():
    def work():
        log = []
        before = time.monotonic()
        timer = threading.Timer(3600, lambda: log.append(round(time.monotonic() - before)))
        timer.start()
        never = threading.Timer(10, log.append, ("never",))
        never.start()
        never.cancel()
        timer.join()
        never.join()
        return log

    assert run(work)[0] == [3600]


def test_a_nested_thread_runs_and_is_joined():
    def make():
        def work():
            log = []
            thread = threading.Thread(target=log.append, args=(1,))
            assert not thread.is_alive()
            thread.start()
            thread.join()
            assert not thread.is_alive()
            return log

        return work, work

    for results in every_schedule(make):
        assert results == [[1], [1]]


def test_a_join_with_a_time_out_gives_up_in_virtual_time():
    def work():
        thread = threading.Thread(target=time.sleep, args=(100,))
        thread.start()
        thread.join(timeout=1)
        alive = thread.is_alive()
        thread.join()
        return alive, thread.is_alive()

    assert run(work)[0] == (True, False)


def test_a_thread_is_started_once_and_does_not_join_itself():
    def work():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        with pytest.raises(RuntimeError, match="once"):
            thread.start()
        thread.join()

        def join_myself():
            threading.current_thread().join()

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            error = pool.submit(join_myself).exception()
        assert "cannot join current thread" in str(error)

    run(work)


def test_each_thread_has_its_own_locals_identity_and_name():
    def make():
        local = threading.local()

        def work():
            assert not hasattr(local, "value")
            local.value = threading.get_ident()
            time.sleep(0.01)
            assert local.value == threading.get_ident()
            assert threading.current_thread() is not threading.main_thread()
            return threading.current_thread().name

        return work, work

    for names in every_schedule(make):
        assert names == ["op-0", "op-1"]


def test_names_that_threads_are_given_begin_anew_in_each_world():
    def work():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return thread.name

    assert run(work) == run(work)


def test_a_queue_hands_every_item_over_once_and_is_joined():
    def make():
        box, got = queue.Queue(maxsize=1), []

        def produce():
            for number in range(3):
                box.put(number)
            box.join()
            return sorted(got)

        def consume():
            for _ in range(3):
                got.append(box.get())
                box.task_done()

        return produce, consume

    for results in every_schedule(make):
        assert results[0] == [0, 1, 2]


@pytest.mark.parametrize("kind", [queue.LifoQueue, queue.PriorityQueue, queue.SimpleQueue])
def test_the_other_queues_block_and_wake(kind):
    name = kind.__name__

    def make():
        box = getattr(queue, name)()
        return box.get, lambda: box.put(5)

    for results in every_schedule(make):
        assert results[0] == 5


def test_a_queue_with_a_time_out_raises_empty_in_virtual_time():
    def work():
        before = time.monotonic()
        with pytest.raises(queue.Empty):
            queue.Queue().get(timeout=30)
        with pytest.raises(queue.Empty):
            queue.SimpleQueue().get(timeout=30)
        return time.monotonic() - before

    assert run(work)[0] == pytest.approx(60, abs=1)


def test_a_pool_runs_maps_and_shuts_down():
    def make():
        def work():
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                squares = list(pool.map(lambda n: n * n, range(4)))
                one = pool.submit(pow, 2, 10)
                failing = pool.submit(lambda: 1 / 0)
                done, left = concurrent.futures.wait([one, failing])
                assert len(done) == 2
                assert not left
                first = next(concurrent.futures.as_completed([one]))
                assert isinstance(failing.exception(), ZeroDivisionError)
            with pytest.raises(RuntimeError, match="after shutdown"):
                pool.submit(int)
            return squares, first.result()

        return work, work

    for results in every_schedule(make):
        assert results == [([0, 1, 4, 9], 1024)] * 2


POOL = concurrent.futures.ThreadPoolExecutor(2)


def test_a_pool_that_outlives_the_world_works_in_the_next_one():
    for seed in range(5):
        assert run(lambda: POOL.submit(pow, 2, 3).result(), seed=seed) == [8]


MODULE_LOCK = threading.Lock()
MODULE_CONDITION = threading.Condition()
MODULE_QUEUE = queue.Queue()
MODULE_SIMPLE_QUEUE = queue.SimpleQueue()
MODULE_EVENT = threading.Event()


class Holder:
    """Has a lock in its class and in its instances, made before any world."""

    shared = threading.RLock()

    def __init__(self):
        self.own = threading.Lock()


HOLDER = Holder()


def test_locks_that_were_made_before_the_world_block_no_process():
    def make():
        logs = {"module": [], "condition": [], "class": [], "instance": []}

        def work():
            locks = (MODULE_LOCK, MODULE_CONDITION, Holder.shared, HOLDER.own)
            for lock, log in zip(locks, logs.values(), strict=True):
                with lock:
                    log.append("in")
                    log.append("out")
            return logs

        return work, work

    for results in every_schedule(make):
        for log in results[0].values():
            assert log == ["in", "out"] * 2


def test_queues_and_events_that_were_made_before_the_world_block_no_process():
    def make():
        MODULE_EVENT.clear()

        def get():
            MODULE_EVENT.wait()
            return MODULE_QUEUE.get(), MODULE_SIMPLE_QUEUE.get()

        def put():
            MODULE_EVENT.set()
            MODULE_QUEUE.put(1)
            MODULE_SIMPLE_QUEUE.put(2)

        return get, put

    for results in every_schedule(make):
        assert results[0] == (1, 2)


def test_a_sleep_takes_virtual_time_only():
    def make():
        def work(seconds):
            before = time.monotonic()
            time.sleep(seconds)
            return time.monotonic() - before

        return lambda: work(1000), lambda: work(0), lambda: work(5)

    for one, two, three in every_schedule(make):
        assert one >= 1000
        assert two < 1
        assert 5 <= three < 6


def test_a_thread_that_spins_until_another_acts_ends():
    def make():
        flag = []

        def spin():
            while not flag:
                pass
            return True

        return spin, lambda: flag.append(1)

    for results in every_schedule(make):
        assert results[0] is True


def test_a_thread_that_spins_until_a_sleeper_acts_ends():
    def make():
        flag = []

        def spin():
            while not flag:
                time.sleep(0)
            return True

        def later():
            time.sleep(1)
            flag.append(1)

        return spin, later

    # A virtual second of spinning is long in real time.
    for results in every_schedule(make, seeds=8):
        assert results[0] is True


def test_threads_that_wait_for_each_other_are_stuck():
    one, two = threading.Lock(), threading.Lock()

    def first():
        with one:
            time.sleep(0.01)
            with two:
                pass

    def second():
        with two:
            time.sleep(0.01)
            with one:
                pass

    with pytest.raises(WorldStuck):
        run(first, second, policy="fifo")


def test_a_lock_that_was_taken_before_the_world_is_waited_for_and_given_back():
    lock = threading.Lock()
    lock.acquire()

    def work():
        with lock:
            return True

    assert run(work, lock.release) == [True, None]


def test_no_thread_of_the_system_outlives_the_world():
    before = threading.active_count()
    lock = threading.Lock()

    def stubborn():
        try:
            lock.acquire()
        except BaseException:
            lock.acquire()

    def work():
        lock.acquire()
        for target in (
            lock.acquire,
            stubborn,
            lambda: time.sleep(1e6),
            lambda: queue.Queue().get(),
        ):
            threading.Thread(target=target).start()

    run(work)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("arguments", [(False, 1), (True, -5)])
def test_a_senseless_time_out_is_refused_also_by_a_free_lock(kind, arguments):
    def work():
        lock = getattr(threading, kind)()
        with pytest.raises(ValueError, match="time"):
            lock.acquire(*arguments)
        assert lock.acquire(False)

    run(work)


def test_a_thread_says_the_number_that_the_system_knows_it_by():
    def number():
        return threading.current_thread().native_id == threading.get_native_id()

    assert run(number) == [True]


def test_what_the_process_remembers_takes_no_part_in_the_schedule():
    logger = logging.getLogger("desvelo.tests.remembering")

    def work():
        return logger.isEnabledFor(logging.DEBUG), tempfile.gettempdir()

    def points():
        with World(Recorder(make_policy("fifo", 0, 40)), runtime="threads") as world:
            world.deciding = True
            world.finish([world.start(f"op-{n}", work) for n in range(2)])
            return world.threads.points

    logger.manager._clear_cache()
    with unittest.mock.patch("tempfile.tempdir", None):
        first = points()
    assert points() == first
