"""Objects with a planted defect are caught within a few random histories; sound ones never."""

import os
from random import Random

import pytest

from desvelo.oracle.invocation import Invocation
from desvelo.oracle.linearizability import NotLinearizable, check
from tests.oracle.sequential_models import Queue, Store

HISTORIES = int(os.environ.get("DESVELO_HISTORIES", "300"))


class SoundStore:
    """Each operation takes effect in one step, somewhere within its time."""

    model = Store

    def __init__(self):
        self.values = {}

    def write(self, key, value):
        yield
        self.values[key] = value
        yield

    def read(self, key):
        yield
        seen = self.values.get(key)
        yield
        return seen

    def swap(self, key, value):
        yield
        before, self.values[key] = self.values.get(key), value
        yield
        return before


class SwapInTwoSteps(SoundStore):
    def swap(self, key, value):
        before = self.values.get(key)
        yield
        self.values[key] = value
        return before


class StaleCache(SoundStore):
    """Reads fill a cache with what they read a while ago; writes clear it."""

    def __init__(self):
        super().__init__()
        self.cache = {}

    def read(self, key):
        yield
        if key not in self.cache:
            seen = self.values.get(key)
            yield
            self.cache[key] = seen
        return self.cache[key]

    def write(self, key, value):
        yield from super().write(key, value)
        self.cache.pop(key, None)

    def swap(self, key, value):
        before = yield from super().swap(key, value)
        self.cache.pop(key, None)
        return before


class AnswersBeforeItWrites(SoundStore):
    """A write returns while its value is still on its way."""

    def __init__(self):
        super().__init__()
        self.late = []

    def write(self, key, value):
        yield
        if self.late:
            self.values.update(self.late.pop())
        self.late.append({key: value})


class SoundQueue:
    model = Queue

    def __init__(self):
        self.items = []

    def enqueue(self, item):
        yield
        self.items.append(item)

    def dequeue(self):
        yield
        while not self.items:
            yield
        return self.items.pop(0)


class TakesTwice(SoundQueue):
    def dequeue(self):
        while not self.items:
            yield
        first = self.items[0]
        yield
        if self.items:
            self.items.pop(0)
        return first


class LastComesFirst(SoundQueue):
    def enqueue(self, item):
        yield
        self.items.insert(0, item)


def run(random, system):
    """Interleave the calls of three clients; a call that nothing lets go on is pending."""
    clock, waiting, history = 0, {}, []
    for _ in range(60):
        clock += 1
        client = random.choice("abc")
        if client not in waiting:
            if len(history) + len(waiting) >= 9:
                continue
            name, arguments = drawn_call(random, system, clock)
            waiting[client] = (name, arguments, clock, getattr(system, name)(**arguments))
            continue
        name, arguments, begun, steps = waiting[client]
        try:
            next(steps)
        except StopIteration as end:
            history.append(Invocation(client, name, arguments, begun, clock, end.value))
            del waiting[client]
    history += [Invocation(c, name, given, begun) for c, (name, given, begun, _) in waiting.items()]
    return history


def drawn_call(random, system, value):
    if isinstance(system, SoundQueue):
        return random.choice((("enqueue", {"item": value}), ("dequeue", {})))
    key = random.choice("xy")
    name = random.choice(("write", "read", "swap"))
    return name, {"key": key} if name == "read" else {"key": key, "value": value}


def verdicts(system):
    random = Random(system.__name__)
    return [check(run(random, system()), system.model) for _ in range(HISTORIES)]


@pytest.mark.parametrize("system", [SoundStore, SoundQueue])
def test_a_sound_object_is_never_accused(system):
    assert all(verdict.ok for verdict in verdicts(system))


@pytest.mark.parametrize(
    "system",
    [SwapInTwoSteps, StaleCache, AnswersBeforeItWrites, TakesTwice, LastComesFirst],
)
def test_a_planted_defect_is_found_in_many_histories(system):
    found = [verdict for verdict in verdicts(system) if verdict.outcome == "illegal"]
    assert len(found) > HISTORIES / 50
    for verdict in found:
        assert verdict.instead, "the report says what the model would have answered"
        assert f"➜ {verdict.culprit.result!r}" not in verdict.instead


def test_the_error_of_a_machine_draws_the_history():
    from desvelo import ConcurrentMachine, operation

    class Seats:
        def __init__(self):
            self.taken = set()

        def book(self, seat):
            free = seat not in self.taken
            self.taken.add(seat)
            return free

    class Office(ConcurrentMachine):
        model = Seats

        async def setup(self):
            self.taken = set()

        @operation()
        async def book(self, seat="A1"):
            import asyncio

            free = seat not in self.taken
            await asyncio.sleep(0.01)
            self.taken.add(seat)
            return free

    state = Office()
    state.book(seat="A1")
    state.book(seat="A1")
    with pytest.raises(NotLinearizable) as caught:
        state.teardown()
    summary, *drawing = str(caught.value).splitlines()
    assert summary.endswith("book(seat='A1') ➜ True of book-2: the model says False in every order")
    assert drawing == [
        "The shortest part of the history that no order explains, time goes right:",
        "  book-1  ├─┤   book(seat='A1') ➜ True",
        "  book-2   ├─┤  book(seat='A1') ➜ True   ✗",
    ]
