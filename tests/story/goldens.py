"""The stories of `scenarios/`, each under a pinned schedule; run by `scripts/golden`.

The schedules were found by exploring; they are pinned so that a change of the search does not
change the texts.
"""

from __future__ import annotations

import sys
from pathlib import Path

from desvelo.execution import Settings, execute
from desvelo.exploration import young_garbage_only
from desvelo.finding.finding import Finding
from desvelo.scenario import load_scenario
from desvelo.schedule.decisions import Deviation, Key, Schedule
from desvelo.schedule.policy import Fifo, Recorded
from desvelo.story.story import tell
from desvelo.world.boundary import Boundary
from desvelo.world.tracing import is_own_code

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
GOLDEN = HERE / "golden"

SCHEDULES = {
    "deadlock": [("admit", "arrive", 0, 16)],
    "full_cache": [("b", "pause", 2, 1)],
    "full_pool": [],
    "hang": [("worker", "arrive", 0, 16)],
    "late_answer": [("price_then_stock", "timer", 0, 1)],
    "lost_row": [("one", "pause", 7, 1)],
    "lost_slot": [
        ("impatient", "arrive", 0, 8),
        ("upload", "timer", 0, 1),
        ("impatient", "timer", 0, 1),
    ],
    "lost_update": [("deposit", "arrive", 0, 20)],
    "lost_wakeup": [("waiter", "pause", 2, 1)],
    "three_forks": [("p0", "pause", 2, 4), ("p1", "pause", 0, 1)],
    "torn_line": [("a", "pause", 2, 1)],
    "unclosed_session": [("download", "deliver", 1, 12)],
    "webhook": [("first", "answer", 0, 1200)],
    "webhook_early": [("second", "timer", 0, 1)],
    "lost_update_plain": [],
}
FILES = {"webhook_early": "webhook"}


def story(name: str) -> str:
    """Run one scenario under its schedule and tell what happened."""
    scenario = load_scenario(str(SCENARIOS / f"{FILES.get(name, name)}.py"))
    deviations = [Deviation(Key(*key), value) for *key, value in SCHEDULES[name]]
    schedule = Schedule(deviations)
    settings = Settings(max_polls=2000, trace_files=is_own_code, granularity=scenario.granularity)
    with Boundary(), young_garbage_only():
        execute(scenario, Fifo(), settings)
        outcome = execute(scenario, Recorded(schedule.values()), settings, trace=True)
        plain = execute(scenario, Fifo(), settings, trace=True)
        failure = outcome.failure
        assert failure is not None, f"{name} does not fail any more under its schedule"
        finding = Finding(
            kind=failure.kind,
            error=failure.error,
            site=failure.site,
            scenario=scenario.reference,
            operations=list(outcome.operations),
            schedule=schedule,
            decisions=[],
            executions=1,
            seconds=0.0,
        )
        return tell(finding, outcome, plain) + "\n"


def main() -> int:
    """Write every golden file anew and say which have changed."""
    GOLDEN.mkdir(exist_ok=True)
    for name in sorted(SCHEDULES):
        path = GOLDEN / f"{name}.txt"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        text = story(name)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{'unchanged' if text == before else 'CHANGED  '} {path.name}\n")
    for path in GOLDEN.glob("*.txt"):
        if path.stem not in SCHEDULES:
            path.unlink()
            sys.stdout.write(f"removed   {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
