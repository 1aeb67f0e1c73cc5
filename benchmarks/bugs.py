"""The fixed set of bugs that policies and shrinking are measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True)
class Bug:
    """A scenario of ``examples/`` and how it is explored."""

    name: str
    what: str
    mode: str = "asyncio-order"

    @property
    def file(self) -> str:
        return str(EXAMPLES / f"{self.name}.py")


BUGS = (
    Bug("lost_update", "a2: shallow, never under FIFO"),
    Bug("duplicate_patient", "b2: aiohttp, second POST 20 ms later"),
    Bug("narrow_window", "one exact poll of twelve"),
    Bug("leaky_pool", "release and cancellation in one poll"),
    Bug("late_answer", "a time-out races its answer"),
    Bug("cut_message", "a message in two pieces"),
    Bug("nightly_export", "one exact poll of seventy"),
    Bug("one_retry", "needs two deviations"),
    Bug("slow_write", "jobs of the executor"),
    Bug("balance_report", "d3: three ordered events", "any-order"),
    Bug("stale_leader", "d4: lease, queue, event", "any-order"),
)
