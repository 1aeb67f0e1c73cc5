"""Lines of the event loop's own thread, before which a thread of a job may run."""

import asyncio

import pytest

from desvelo import explore
from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, Interruptible, Recorded, make_policy
from desvelo.world.boundary import Boundary


class OnlyTheLoopCanBeInterrupted:
    """The thread's part is one step: it must come between two lines of the loop's own code."""

    def setup(self):
        return {"n": 0}

    def operations(self, state):
        async def set_it():
            await asyncio.to_thread(state.__setitem__, "n", 10)

        async def add_one():
            seen = state["n"]
            state["n"] = seen + 1

        return {"set": set_it, "add": add_one}

    def check(self, state):
        assert state["n"] in (10, 11)


class NoThreads(OnlyTheLoopCanBeInterrupted):
    """The same without a thread: nothing can come between."""

    def operations(self, state):
        async def set_it():
            await asyncio.sleep(0)
            state["n"] = 10

        return {**super().operations(state), "set": set_it}


def test_a_race_of_a_job_with_the_lines_of_the_loop_is_found_and_made_small():
    finding = explore(OnlyTheLoopCanBeInterrupted, max_executions=2000, seed=3)
    assert finding is not None
    assert finding.kind == "race"
    assert [deviation.key.kind for deviation in finding.schedule.deviations] == ["preempt"]
    assert "is paused before this line" in finding.story()


def test_a_loop_without_threads_is_never_interrupted():
    assert explore(NoThreads, max_executions=300, seed=3) is None


@pytest.mark.parametrize("policy", [Fifo, Interruptible])
def test_plain_order_asks_but_never_interrupts(policy):
    outcome = execute(Scenario(OnlyTheLoopCanBeInterrupted), policy(), Settings())
    assert outcome.failure is None
    assert (outcome.points > 0) is policy.preempts


def test_what_was_interrupted_replays_line_by_line():
    scenario, settings = Scenario(OnlyTheLoopCanBeInterrupted), Settings()
    interrupted = 0
    with Boundary():
        plain = execute(scenario, Fifo(), settings)
        points = execute(scenario, Interruptible(), settings).points
        scale = scale_of(plain, settings, threads=False, points=points)
        for seed in range(100):
            one = execute(scenario, make_policy("mix", seed, scale), settings, trace=True)
            again = execute(scenario, Recorded(one.schedule.values()), settings, trace=True)
            bare = execute(scenario, Recorded(one.schedule.values()), settings)
            assert one.trace.digest() == again.trace.digest()
            assert bare.schedule == one.schedule
            interrupted += any(one.key.kind == "preempt" for one in one.schedule.deviations)
    assert interrupted > 5
