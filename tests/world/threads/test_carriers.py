"""Threads of the operating system that are used again: nobody can tell."""

import asyncio
import contextvars
import gc
import sys
import threading

import pytest

from desvelo.world import World
from desvelo.world.boundary import Boundary
from desvelo.world.threads.carriers import CARRIERS, can_forget

used_again = pytest.mark.skipif(
    not can_forget(), reason="this Python's threads serve once: thread-locals are out of reach"
)


@pytest.fixture(autouse=True)
def _boundary():
    with Boundary():
        yield


def run(*calls):
    """Run plain functions as threads in a world of their own, in plain order."""
    with World(runtime="threads") as world:
        world.deciding = True
        operations = [world.start(f"op-{number}", call) for number, call in enumerate(calls)]
        world.finish(operations)
        return [operation.result for operation in operations]


@used_again
def test_two_executions_use_the_same_threads():
    first = run(threading.get_native_id, threading.get_native_id)
    assert run(threading.get_native_id, threading.get_native_id)[0] in first


def test_a_thread_local_is_fresh_in_the_next_execution():
    local = threading.local()

    def see():
        seen = getattr(local, "value", None)
        local.value = "kept"
        return seen

    assert [run(see, see) for _ in range(3)] == [[None, None]] * 3


def test_a_subclass_of_local_is_initialised_anew():
    made = []

    class Session(threading.local):
        def __init__(self):
            made.append(self)
            self.number = len(made)

    session = Session()
    numbers = [run(lambda: session.number)[0] for _ in range(3)]
    assert numbers == [2, 3, 4]


@used_again
def test_what_a_thread_local_held_is_dropped_when_its_thread_ends():
    dropped, local = [], threading.local()

    class Held:
        def __del__(self):
            dropped.append(threading.get_ident())

    def hold():
        local.held = Held()
        return threading.get_ident()

    def look():
        return list(dropped)

    ident, seen = run(hold, look)
    assert seen == [ident]


def test_context_variables_tracers_and_the_running_loop_are_fresh():
    variable = contextvars.ContextVar("variable", default=None)

    def leave_everything_behind():
        variable.set("kept")
        sys.setprofile(lambda *event: None)
        asyncio._set_running_loop(object())

    def see():
        return variable.get(), sys.getprofile(), asyncio._get_running_loop()

    for _ in range(3):
        run(leave_everything_behind)
        assert run(see) == [(None, None, None)]


def test_threading_does_not_know_idle_threads():
    known = len(threading.enumerate())
    run(threading.current_thread, lambda: threading.current_thread().name)
    assert len(threading.enumerate()) == known
    assert threading.active_count() == known


@used_again
def test_idle_threads_end_with_the_boundary():
    run(threading.get_native_id, threading.get_native_id)
    assert len(CARRIERS)
    with Boundary():
        pass
    assert len(CARRIERS), "an inner boundary is none"
    CARRIERS.dismiss()
    assert not len(CARRIERS)


def test_nothing_of_an_execution_is_held_by_an_idle_thread():
    gone = []

    class State:
        def __del__(self):
            gone.append(True)

    def execution():
        state = State()
        run(lambda: state, lambda: state)

    execution()
    gc.collect()
    assert gone == [True]


def test_a_thread_with_a_stack_of_another_size_is_a_new_one():
    (before,) = run(threading.get_native_id)
    size = threading.stack_size(1 << 20)
    try:
        assert run(threading.get_native_id) != [before]
    finally:
        threading.stack_size(size)
