"""The baseline phase: the target's own checks, once. What follows says nothing when these fail."""

from __future__ import annotations

from desvelo.measure.context import Context
from desvelo.measure.phases.suites import checks_of, write_suite
from desvelo.measure.result import PhaseResult
from desvelo.measure.suite.running import run_suite


def run(context: Context) -> PhaseResult:
    """Run the checks; see docs/phases/baseline.md."""
    result = PhaseResult("baseline")
    bar = context.progress.start("baseline", None)
    try:
        suite = run_suite(
            checks_of(context, "checks"),
            context.folder / "checks",
            interruption=context.interruption,
        )
    finally:
        bar.finish()
    write_suite(result, [suite])
    return result
