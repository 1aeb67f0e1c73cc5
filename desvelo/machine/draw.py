"""Running one example again from its choices, through Hypothesis."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, Verbosity
from hypothesis import settings as Settings  # noqa: N812 - the class under the name of its role
from hypothesis.stateful import run_state_machine_as_test

from desvelo.machine import bridge
from desvelo.machine.plan import tracing_draws
from desvelo.machine.report import Collector, MachineReport, collect_with

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.schedule.decisions import Schedule
    from desvelo.world.kernel import Kernel


class Watching(Collector):
    """Sees every example of a shrink or a replay, and counts none of them."""

    def __init__(self, watch: Callable[[MachineReport], None]) -> None:
        super().__init__()
        self._watch = watch

    def ended(self, report: MachineReport) -> None:
        """Hand the example over."""
        self._watch(report)

    def count(self, schedule: Schedule) -> None:
        """Count nothing."""


def replay_choices(
    machine: type[ConcurrentMachine],
    settings: Settings,
    choices: Sequence[bridge.Choice],
    **changed: Any,
) -> None:
    """Run exactly one example, given by its choices; raises its failure."""
    __tracebackhide__ = True
    only = Settings(
        settings,
        database=bridge.OneExample(choices, shrunk=True),
        phases=[Phase.reuse],
        print_blob=False,
        report_multiple_bugs=False,
        derandomize=False,
        **changed,
    )
    # Choices that run out are continued by chance: let it be the same chance everywhere.
    with bridge.seeded(machine, 0):
        run_state_machine_as_test(machine, settings=only)


def draw_again(
    machine: type[ConcurrentMachine],
    settings: Settings,
    choices: Sequence[bridge.Choice],
    *,
    trace: bool = False,
    kernel: Kernel | None = None,
) -> MachineReport | None:
    """Run the example of some choices and return its report, or nothing when they make none."""
    seen: list[MachineReport] = []

    def watch(report: MachineReport) -> None:
        if not report.control:
            seen.append(report)

    before = collect_with(Watching(watch))
    try:
        # What it raises was judged when the example ended.
        with contextlib.suppress(*bridge.failures()), tracing_draws(trace, kernel):
            replay_choices(machine, settings, choices, verbosity=Verbosity.quiet)
    finally:
        collect_with(before)
    return seen[-1] if seen else None


@contextlib.contextmanager
def without_logs() -> Iterator[None]:
    """Keep the target's log quiet while it runs thousands of times; the last run is heard."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
