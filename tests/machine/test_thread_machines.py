"""Machines whose operations are threads."""

import threading
from typing import ClassVar

import pytest
from hypothesis.errors import InvalidDefinition

from desvelo import ConcurrentMachine, Finding, at_rest, operation


class Counter(ConcurrentMachine):
    """Two threads that read, add and write."""

    runtime = "threads"

    def setup(self):
        self.value = self.asked = 0

    @operation()
    def count(self):
        seen = self.value
        self.value = seen + 1
        self.asked += 1

    @at_rest()
    def every_call_counts(self):
        assert self.value == self.asked, f"{self.value} of {self.asked}"


def test_a_lost_update_between_lines_is_found_and_made_small(find):
    done = find(Counter)
    assert (done.finding.kind, done.size) == ("race", (2, 1))
    assert "is paused before this line" in done.text


def test_the_finding_of_a_machine_of_threads_replays_event_by_event(find):
    done = find(Counter)
    replay = Finding.load(done.finding.path).replay()
    assert replay.failed
    assert replay.digest == done.finding.digest


def test_where_no_file_has_switch_points_a_thread_is_only_interrupted_where_it_waits(find):
    class Uninterrupted(Counter):
        world_options: ClassVar = {"switch_files": lambda file: False}

    assert find(Uninterrupted).error is None


def test_threads_are_not_cancelled_and_no_time_passes_where_none_is_to(find):
    taken = set()

    class Watched(Counter):
        world_options: ClassVar = {"switch_files": lambda file: False}
        longest_elapse = 0.0

        def shutdown(self):
            taken.update(step.rule for step in self.journal.program.steps)

    find(Watched)
    assert {"count", "advance", "settle"} <= taken
    assert not taken & {"cancel", "elapse"}


def test_locks_taken_in_opposite_order_are_a_deadlock_that_says_who_waits(find):
    class Opposite(ConcurrentMachine):
        runtime = "threads"

        def setup(self):
            self.locks = [threading.Lock(), threading.Lock()]

        @operation()
        def forth(self):
            with self.locks[0], self.locks[1]:
                pass

        @operation()
        def back(self):
            with self.locks[1], self.locks[0]:
                pass

    done = find(Opposite)
    assert (done.finding.kind, done.size[0]) == ("deadlock", 2)
    assert "held by" in done.text


def test_an_error_of_a_thread_that_nobody_joins_is_a_failure(find):
    class Background(ConcurrentMachine):
        runtime = "threads"

        @operation()
        def work(self):
            threading.Thread(target=self.fail).start()

        def fail(self):
            raise ZeroDivisionError("in the background")

    done = find(Background)
    assert isinstance(done.error, ZeroDivisionError)


def test_a_call_that_began_after_another_had_ended_is_judged_as_later():
    class Register:
        def __init__(self):
            self.value = 0

        def write(self):
            self.value = 1

        def read(self):
            return self.value

    class Stale(ConcurrentMachine):
        """Reads what was there before the write, although it begins after the write has ended."""

        runtime = "threads"
        model = Register

        @operation()
        def write(self):
            pass

        @operation()
        def read(self):
            return 0

    state = Stale()
    state.write()
    state.read()
    with pytest.raises(AssertionError, match="no order of the calls explains read"):
        state.teardown()


def test_an_async_function_in_a_machine_of_threads_is_refused_by_name():
    class Mixed(ConcurrentMachine):
        runtime = "threads"

        @operation()
        async def wait(self):
            pass

    with pytest.raises(InvalidDefinition, match=r"Mixed\.wait is an async function"):
        Mixed()
