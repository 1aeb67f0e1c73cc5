"""The end of threads: those that will not, those that cannot, and those beside them."""

import sys
import threading
import time

import pytest

from desvelo.errors import LoopBlocked
from desvelo.execution import Settings, execute
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo
from desvelo.world import World
from desvelo.world.boundary import Boundary
from desvelo.world.threads import baton, locks
from desvelo.world.threads.carriers import CARRIERS


@pytest.fixture(autouse=True)
def _boundary():
    with Boundary():
        yield


def stacks_with(name):
    """Return the stacks of all threads that a function of this name runs in, innermost first."""
    found = []
    for innermost in sys._current_frames().values():
        frame, names = innermost, []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        if name in names:
            found.append(names)
    return found


class Stubborn:
    """Two threads that catch everything, and one that lets itself be ended."""

    runtime = "threads"

    def setup(self):
        return {"n": 0}

    def operations(self, state):
        def catches_everything():
            while True:
                try:
                    state["n"] += 1
                except:  # noqa: E722 - that is what it is about
                    state["n"] -= 1

        def keeps_what_it_catches():
            while True:
                try:
                    state["n"] += 1
                except BaseException as error:
                    state["kept"] = error

        def waits_for_ever():
            threading.Event().wait()

        def begin():
            for run in (catches_everything, keeps_what_it_catches, waits_for_ever):
                threading.Thread(target=run, daemon=True).start()

        return {"one": begin, "two": lambda: [None for _ in range(3)]}


@pytest.mark.parametrize(
    "granularity",
    [
        "line",
        pytest.param(
            "instruction",
            marks=pytest.mark.skipif(
                sys.version_info[:2] == (3, 12),
                reason="Python 3.12 crashes on errors where instructions are traced",
            ),
        ),
    ],
)
def test_a_thread_that_catches_its_own_end_runs_on_nowhere_and_the_others_end(
    granularity, monkeypatch
):
    monkeypatch.setattr(baton, "LAST_WORDS", 0.2)
    settings = Settings(granularity=granularity, max_polls=500)
    outcome = execute(Scenario(Stubborn), Fifo(), settings)
    assert outcome.failure.kind == "hang"
    for name in ("catches_everything", "keeps_what_it_catches"):
        while any(stack[0] != "stand_still" for stack in stacks_with(name)):
            time.sleep(0)
    assert not stacks_with("waits_for_ever")


def test_a_thread_that_is_given_up_for_lost_never_runs_on_and_is_never_used_again():
    real, steps = locks.real_lock(), []
    real.acquire()

    def blocked():
        steps.append(threading.get_ident())
        real.acquire()
        steps.append("ran on")

    with World(runtime="threads") as world:
        world.deciding = True
        world.threads.real_seconds = 0.2
        operation = world.start("blocked", blocked)
        with pytest.raises(LoopBlocked):
            world.finish([operation])
    idle = len(CARRIERS)
    real.release()
    while sys._current_frames()[steps[0]].f_code.co_name != "stand_still":
        time.sleep(0)
    assert len(steps) == 1
    assert len(CARRIERS) == idle


def test_a_blocked_thread_is_given_up_after_the_time_that_the_message_says():
    class Counted:
        def __init__(self, lock):
            self.lock, self.seconds = lock, 0.0
            self.release = lock.release

        def acquire(self, blocking=True, timeout=-1):
            taken = self.lock.acquire(blocking, timeout)
            self.seconds += 0.0 if taken else timeout
            return taken

    hidden = locks.real_lock()
    hidden.acquire()

    def blocked():
        for _ in range(3):
            time.sleep(0)
        hidden.acquire()

    with World(runtime="threads") as world:
        world.deciding = True
        world.threads.real_seconds = 0.2
        hub = world.threads._hub = Counted(world.threads._hub)
        operation = world.start("blocked", blocked)
        with pytest.raises(LoopBlocked, match=r"held for 0\.2 s"):
            world.finish([operation])
        assert 0.2 <= hub.seconds + 0.001 <= 0.23
    hidden.release()
