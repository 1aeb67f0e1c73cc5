"""From the report of a machine's example to a finding."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from desvelo.execution import Outcome
from desvelo.exploration import dense, rows_of
from desvelo.finding.finding import Finding
from desvelo.finding.source import source_hash
from desvelo.machine.bridge import Choice, choices_to_json
from desvelo.machine.code import as_code
from desvelo.story.story import tell
from desvelo.world.values import describe_value

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.machine.options import SearchOptions
    from desvelo.machine.program import Program
    from desvelo.machine.report import Collector, MachineReport

LONGEST_ARGUMENT = 48


def outcome_of(report: MachineReport) -> Outcome:
    """View a machine's report as the outcome of an execution."""
    return Outcome(
        report.schedule,
        report.failure,
        tuple(report.calls),
        report.decisions,
        report.kinds,
        report.trace,
        report.results,
        arguments_of(report.program),
    )


def arguments_of(program: Program) -> dict[str, str]:
    """Return what each operation was called with, as text, by the operation's name."""
    texts = {}
    for step in program.steps:
        given = ", ".join(
            f"{name}={describe_value(value, LONGEST_ARGUMENT)}"
            for name, value in step.arguments.items()
            if name != "deviations" and step.rule != "inject"
        )
        texts.update(dict.fromkeys(step.actors, given))
    return texts


def finding_of(
    machine: type[ConcurrentMachine],
    report: MachineReport,
    choices: Sequence[Choice],
    collector: Collector,
    options: SearchOptions,
    test_id: str,
) -> Finding:
    """Return the finding that a failing report amounts to."""
    assert report.failure is not None
    outcome = outcome_of(report)
    executions, seconds = collector.first_failure_at or (collector.executions, 0.0)
    return Finding(
        kind=report.failure.kind,
        error=report.failure.error,
        site=report.failure.site,
        scenario=reference_of(machine),
        operations=list(report.calls),
        befell=[name for name in report.operations if name not in report.calls],
        schedule=report.schedule,
        decisions=dense(outcome),
        executions=executions,
        seconds=seconds,
        digest=report.trace.digest() if report.trace is not None else "",
        settings={"machine": machine.__name__, "test": test_id, "policy": options.policy or "mix"},
        inputs=as_code(machine, report.program, report.checking),
        choices=choices_to_json(choices),
        target=options.target,
        source=source_hash(file_of(machine)),
        trace_rows=rows_of(outcome),
    )


def with_story(finding: Finding, failing: MachineReport, plain: MachineReport) -> Finding:
    """Add the story, written from the traces of the failing and of the plain run."""
    finding.story_text = tell(finding, outcome_of(failing), outcome_of(plain))
    return finding


def file_of(machine: type[ConcurrentMachine]) -> str | None:
    """Return the file that defines a machine."""
    try:
        return inspect.getsourcefile(machine)
    except TypeError:
        return None


def reference_of(machine: type[ConcurrentMachine]) -> str:
    """Return how to load a machine again: its file, relative when possible, and its name."""
    file = file_of(machine)
    if file is None:
        return f"{machine.__module__}:{machine.__qualname__}"
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}:{machine.__qualname__}"
