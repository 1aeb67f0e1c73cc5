"""Deadlocks keep the operations that others rightly count on, and lose all others."""

import runpy
import textwrap

import pytest

from desvelo import Finding, explore
from desvelo.failure import Failure
from desvelo.finding.export import export
from desvelo.finding.sufficient import Sufficient

PUT_UNDER_THE_LOCK = """
    import queue, threading

    runtime = "threads"

    class Pipe:
        def __init__(self):
            self.items = queue.Queue(maxsize=1)
            self.lock = threading.Lock()
            self.total = 0

        def produce(self):
            for n in (1, 2, 3):
                with self.lock:  # BUG
                    self.items.put(n)

        def consume(self):
            for _ in range(3):
                n = self.items.get()
                with self.lock:
                    self.total += n

    def setup():
        return Pipe()

    def operations(pipe):
        return {"producer": pipe.produce, "consumer": pipe.consume, "other": lambda: None}

    def check(pipe):
        assert pipe.total == 6
"""

ONE_STOP_FOR_TWO = """
    import queue

    runtime = "threads"
    STOPS = 1  # BUG

    def setup():
        return queue.Queue()

    def operations(items):
        def produce():
            for _ in range(STOPS):
                items.put(None)

        return {"producer": produce, "one": items.get, "two": items.get}
"""

ASYNC_ONE_STOP_FOR_TWO = """
    import asyncio

    STOPS = 1  # BUG

    async def setup():
        return asyncio.Queue()

    def operations(items):
        async def produce():
            for _ in range(STOPS):
                await items.put(None)

        return {"producer": produce, "one": items.get, "two": items.get}
"""

ASYNC_LOST_WAKE_UP = """
    import asyncio

    async def setup():
        return {"ready": False, "event": asyncio.Event()}

    def operations(state):
        async def wait():
            if not state["ready"]:
                await asyncio.sleep(0)
                state["event"].clear()  # BUG
                await state["event"].wait()

        async def tell():
            state["ready"] = True
            state["event"].set()

        async def other():
            await asyncio.sleep(0)

        return {"wait": wait, "tell": tell, "other": other}
"""

ASYNC_EVENT_NEVER_SET = """
    import asyncio

    async def setup():
        return asyncio.Event()

    def operations(event):
        async def tell():
            event.is_set()  # BUG

        return {"wait": event.wait, "tell": tell}
"""

MENDED = {
    "under-the-lock": (
        PUT_UNDER_THE_LOCK,
        ("with self.lock:  # BUG", "if True:"),
        ["consumer", "producer"],
    ),
    "one-stop": (ONE_STOP_FOR_TWO, ("STOPS = 1  # BUG", "STOPS = 2"), ["one", "producer", "two"]),
    "async-one-stop": (
        ASYNC_ONE_STOP_FOR_TWO,
        ("STOPS = 1  # BUG", "STOPS = 2"),
        ["one", "producer", "two"],
    ),
    "async-lost-wake-up": (
        ASYNC_LOST_WAKE_UP,
        ('state["event"].clear()  # BUG', "pass"),
        ["tell", "wait"],
    ),
    "async-event-never-set": (
        ASYNC_EVENT_NEVER_SET,
        ("event.is_set()  # BUG", "event.set()"),
        ["tell", "wait"],
    ),
}


@pytest.mark.parametrize("name", MENDED)
def test_a_finding_of_operations_that_wait_is_gone_when_the_bug_is_mended(
    name, write_scenario, tmp_path
):
    text, (bug, repair), needed = MENDED[name]
    path = write_scenario("program", text)
    found = explore(str(path), seed=1, max_seconds=20)
    assert sorted(found.operations) == needed
    place = found.save(tmp_path / "findings")
    export(found, tmp_path / "test_it.py")

    write_scenario("program", text.replace(bug, repair))
    replayed = Finding.load(place).replay()
    assert "it does not fail any more" in replayed.message
    namespace = runpy.run_path(str(tmp_path / "test_it.py"))
    next(value for name, value in namespace.items() if name.startswith("test_"))()


def explored(text, tmp_path):
    path = tmp_path / "self_made.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return explore(str(path), seed=1, max_seconds=20)


def test_who_waits_for_himself_needs_nobody_else(tmp_path):
    found = explored(
        """
        import threading

        runtime = "threads"

        def setup():
            return threading.Lock()

        def operations(lock):
            def twice():
                with lock, lock:
                    pass

            return {"other": lambda: None, "twice": twice, "another": lambda: None}
        """,
        tmp_path,
    )
    assert found.kind == "deadlock"
    assert found.operations == ["twice"]
    assert "held by twice" in found.summary()


def test_locks_in_a_circle_need_nobody_but_those_who_hold_them(tmp_path):
    found = explored(
        """
        import threading

        runtime = "threads"

        def setup():
            return threading.Lock(), threading.Lock()

        def operations(locks):
            def nest(first, second):
                with locks[first]:
                    with locks[second]:
                        pass

            return {
                "other": lambda: None,
                "up": lambda: nest(0, 1),
                "down": lambda: nest(1, 0),
            }
        """,
        tmp_path,
    )
    assert sorted(found.operations) == ["down", "up"]
    one, two = found.reason().partition(" wait for each other")[0].split(" and ")
    assert {one, two} == {"up", "down"}
    assert found.summary().startswith(
        f"deadlock: {one} and {two} wait for each other (2 operations"
    )
    assert found.reason().count("held by") == 2


def test_an_operation_is_left_out_of_a_race_only_when_the_others_end_well_in_order():
    race = Failure("race", AssertionError(), "s.py:1 in check")
    sufficient = Sufficient(
        lambda operations, policy: None if "a" in operations else race, ("a", "b"), race
    )
    assert sufficient(("a",))
    assert not sufficient(("b",))


def test_operations_that_wait_in_vain_in_every_order_are_not_a_deadlock_of_all():
    stuck = Failure("deadlock", RuntimeError(), "deadlock")
    ring = Failure("deadlock", RuntimeError(), "deadlock", circular=True)

    def run(operations, policy):
        return {"a": stuck, "b": ring}[operations[0]] if len(operations) == 1 else stuck

    sufficient = Sufficient(run, ("a", "b"), stuck)
    assert not sufficient(("a",))
    assert sufficient(("b",))


@pytest.mark.parametrize("kind", ["deadlock", "hang"])
def test_a_program_that_ends_in_another_order_may_lose_an_operation(kind):
    endless = Failure(kind, RuntimeError(), kind)
    met = []

    def run(operations, policy):
        met.append(operations)
        starts = [policy.decide("arrive", name, 1 << 16) for name in operations]
        return None if starts[0] > starts[1] else endless

    assert Sufficient(run, ("a", "b", "c"), endless)(("a", "b"))
    assert set(met) == {("a", "b")}
