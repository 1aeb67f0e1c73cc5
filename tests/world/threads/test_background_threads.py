"""Threads that set-up starts: they take part in the schedule, and no phase waits for them."""

import contextlib
import itertools
import queue
import re
import threading
import time

import pytest

from desvelo import ConcurrentMachine, explore, operation
from desvelo.execution import Settings, execute
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo
from desvelo.world import World


class Session:
    """A connection that somebody takes away."""

    def __init__(self):
        self.connection = "open"
        self.thread = None

    def use(self):
        if self.connection is not None:
            self.used = 1
            if self.connection is None:
                raise RuntimeError("the connection is gone")

    def expire(self):
        self.connection = None


class Base:
    """Set-up starts one thread, teardown waits for it."""

    runtime = "threads"

    def setup(self):
        session = Session()
        session.thread = self.background(session)
        session.thread.start()
        return session

    def operations(self, session):
        return {"user": session.use}

    def teardown(self, session):
        session.thread.join()


class AtOnce(Base):
    """The thread of set-up does its work without waiting."""

    def background(self, session):
        return threading.Thread(target=session.expire)


class Soon(Base):
    """It is due within the latency."""

    def background(self, session):
        return threading.Timer(0.05, session.expire)


class Later(Base):
    """It is due when the operation has slept as long."""

    def background(self, session):
        return threading.Timer(5.0, session.expire)

    def operations(self, session):
        def user():
            time.sleep(5.0)
            session.use()

        return {"user": user}


@pytest.mark.parametrize("scenario", [AtOnce, Soon, Later])
def test_a_thread_of_set_up_races_with_the_operations(scenario):
    found = explore(scenario, max_seconds=20, seed=1)
    assert (found.kind, str(found.error)) == ("error", "the connection is gone")


class Heartbeat:
    """A service with a thread that ticks until it is stopped, and waits ``every`` seconds."""

    runtime = "threads"
    daemon = False
    every = 1.0
    stops = True

    def setup(self):
        self.stop = threading.Event()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.tick, daemon=self.daemon)
        self.thread.start()

    def tick(self):
        while not self.stop.wait(self.every):
            pass

    def operations(self, state):
        def look():
            self.seconds = time.monotonic() - self.began

        return {"look": look}

    def teardown(self, state):
        if self.stops:
            self.stop.set()
            self.thread.join()


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize("every", [1.0, 0.01])
def test_a_heartbeat_in_set_up_is_neither_waited_for_nor_accused(daemon, every):
    class Service(Heartbeat):
        pass

    Service.daemon, Service.every = daemon, every
    assert explore(Service, max_seconds=20, max_executions=100, seed=1) is None


def test_operations_begin_when_set_up_has_returned_without_time_passing():
    class Timed(Heartbeat):
        def operations(self, state):
            def look():
                assert time.monotonic() - self.began < 0.001

            return {"look": look}

    assert execute(Scenario(Timed), Fifo(), Settings()).failure is None


@pytest.mark.parametrize("every", [1.0, 0.01])
def test_a_heartbeat_that_nobody_stops_is_a_leak_unless_it_is_a_daemon(every):
    class Forgotten(Heartbeat):
        stops = False

    Forgotten.every = every
    found = execute(Scenario(Forgotten), Fifo(), Settings()).failure
    assert found.kind == "leak"
    assert re.fullmatch(r"thread made at \S*test_background_threads.py:\d+ in setup", found.site)
    Forgotten.daemon = True
    assert execute(Scenario(Forgotten), Fifo(), Settings()).failure is None


def test_a_worker_that_polls_a_queue_is_served_and_stopped():
    class Service:
        runtime = "threads"

        def setup(self):
            self.jobs, self.done, self.stop = queue.Queue(), [], threading.Event()
            self.thread = threading.Thread(target=self.work, daemon=True)
            self.thread.start()

        def work(self):
            while not (self.stop.is_set() and self.jobs.empty()):
                with contextlib.suppress(queue.Empty):
                    self.done.append(self.jobs.get(timeout=0.5))

        def operations(self, state):
            return {"one": lambda: self.jobs.put(1), "two": lambda: self.jobs.put(2)}

        def teardown(self, state):
            self.stop.set()
            self.thread.join()
            assert sorted(self.done) == [1, 2]

    assert explore(Service, max_seconds=20, max_executions=200, seed=1) is None


def test_a_hang_says_where_the_threads_of_set_up_are():
    class Endless(Heartbeat):
        every = 0.01

        def operations(self, state):
            return {"one": lambda: threading.Event().wait()}

    found = execute(Scenario(Endless), Fifo(), Settings(max_polls=200)).failure
    assert found.kind == "hang"
    assert "still running after 200 rounds of its threads: one is at " in str(found.error)
    assert "thread tick is at " in str(found.error)


def test_a_machine_of_threads_comes_to_rest_beside_a_heartbeat():
    class Machine(ConcurrentMachine):
        runtime = "threads"

        def setup(self):
            self.stop = threading.Event()
            self.began = time.monotonic()
            self.thread = threading.Thread(target=self.tick)
            self.thread.start()

        def tick(self):
            while not self.stop.wait(1.0):
                pass

        @operation()
        def look(self):
            return time.monotonic() - self.began

        def shutdown(self):
            self.stop.set()
            self.thread.join()

    state = Machine()
    looked = state.look()
    state.settle()
    assert state.at_rest
    assert looked.result < 0.001
    state.teardown()


def test_a_thread_with_a_heartbeat_lets_an_asyncio_set_up_come_to_rest():
    class Service:
        def setup(self):
            self.beats = 0
            threading.Thread(target=self.tick, daemon=True).start()

        def tick(self):
            while True:
                time.sleep(1)
                self.beats += 1

        def operations(self, state):
            async def look():
                assert self.beats == 0

            return {"look": look}

    assert execute(Scenario(Service), Fifo(), Settings()).failure is None


def test_settling_lets_no_time_pass_to_a_timer_that_is_far():
    with World(runtime="threads") as world:
        world.call(lambda: threading.Timer(30, list).start())
        before = world.now_ns
        world.settle()
        assert world.now_ns - before < 1_000_000


class Counted:
    """Correct; its threads are named by a counter that outlives the executions."""

    runtime = "threads"
    numbers = itertools.count(7)

    def setup(self):
        return {"n": 0, "lock": threading.Lock(), "names": []}

    def operations(self, state):
        def work():
            with state["lock"]:
                state["n"] += 1
                state["names"].append(threading.current_thread().name)

        def start():
            number = next(self.numbers)
            thread = threading.Thread(target=work, name=f"pool-{number}-worker-{number + 1}")
            thread.start()
            thread.join()

        return {"one": start, "two": start}

    def check(self, state):
        assert state["n"] == 2


def test_names_from_a_counter_that_goes_on_are_numbered_afresh():
    assert explore(Counted, max_seconds=20, max_executions=50, seed=1) is None
    lanes = [
        [row.text for row in execute(Scenario(Counted), Fifo(), Settings(), trace=True).trace.rows]
        for _ in range(2)
    ]
    assert lanes[0] == lanes[1]
    started = [text for text in lanes[0] if text.startswith("starts thread")]
    assert started == [
        "starts thread one>pool-1-worker-1",
        "starts thread two>pool-2-worker-2",
    ]


def test_a_thread_sees_the_name_that_it_was_given():
    seen = []
    with World(runtime="threads") as world:

        def start():
            thread = threading.Thread(
                target=lambda: seen.append(threading.current_thread().name), name="worker-41"
            )
            thread.start()
            thread.join()

        world.call(start)
    assert seen == ["worker-41"]
