"""Correct programs are never accused, whatever the policy."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.failure import describe_traceback
from desvelo.scenario import Scenario
from desvelo.schedule.policy import POLICIES, Fifo, make_policy
from desvelo.world.boundary import Boundary

sys.path.insert(0, str(Path(__file__).parent))

from correct_programs import AnyOrder, Deadlines, Framed, ReadyOrder

SCHEDULES = int(os.environ.get("DESVELO_SCHEDULES", "250"))
"""Schedules for each program and policy; 3000 before a release."""


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"fifo"}))
@pytest.mark.parametrize(
    ("program", "mode"),
    [
        (ReadyOrder, "asyncio-order"),
        (Deadlines, "asyncio-order"),
        (Framed, "asyncio-order"),
        (AnyOrder, "asyncio-order"),
        (AnyOrder, "any-order"),
        (Framed, "any-order"),
    ],
)
def test_a_correct_program_is_never_accused(program, mode, policy):
    scenario, settings = Scenario(program), Settings(mode=mode)
    with Boundary(), young_garbage_only():
        execute(scenario, Fifo(), settings)
        plain = execute(scenario, Fifo(), settings)
        assert plain.failure is None, plain.failure
        scale = scale_of(plain, settings)
        deviations = 0
        for seed in range(SCHEDULES):
            outcome = execute(scenario, make_policy(policy, seed, scale), settings, seed=seed % 3)
            deviations += len(outcome.schedule)
            assert outcome.failure is None, (
                seed,
                outcome.schedule,
                describe_traceback(outcome.failure.error),
            )
            if seed % 20 == 0:
                gc.collect()
    # It was not for want of trying.
    assert deviations > SCHEDULES / 4
