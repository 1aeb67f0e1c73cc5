"""The part of the load phase that a test suite is: by N workers at once, and who is flaky."""

from __future__ import annotations

from itertools import zip_longest

from desvelo.errors import DesveloError
from desvelo.measure.context import Context
from desvelo.measure.phases.suites import checks_of, write_suite
from desvelo.measure.result import PhaseResult
from desvelo.measure.suite.running import SuiteRun, run_suite

PREFIX = "tests_"
"""Of the metrics, beside those of the requests."""


def run_in_parallel(context: Context, result: PhaseResult) -> None:
    """Run the target's checks, or the tests that were named, by more and more workers.

    What was measured before is kept, whatever becomes of the tests.
    """
    numbers = context.settings.load
    if not numbers.workers or context.interruption.is_set():
        return
    if context.settings.url and not context.settings.tests:
        result.notes.append("the target's own checks know nothing of a live server: left out")
        return
    try:
        _run(context, result, checks_of(context, "checks"))
    except DesveloError as error:
        result.fail(str(error))


def _run(context: Context, result: PhaseResult, arguments: list[str]) -> None:
    numbers = context.settings.load
    suites: list[SuiteRun] = []
    for workers, maxfail in zip_longest(numbers.workers, numbers.maxfail, fillvalue=0):
        if not workers or context.interruption.is_set():
            break
        bar = context.progress.start(f"load: tests by {workers} workers", None)
        try:
            suite = run_suite(
                arguments,
                context.folder / f"workers-{workers}",
                interruption=context.interruption,
                workers=workers,
                maxfail=maxfail,
            )
        finally:
            bar.finish()
        suites.append(suite)
        result.notes.append(
            f"{workers} workers: {len(suite.ran)} tests in {suite.seconds:.1f} s, "
            f"{len(suite.failed)} failed"
        )
    write_suite(result, suites, PREFIX)
    result.notes += flaky(suites)


def flaky(suites: list[SuiteRun]) -> list[str]:
    """Return a sentence for each test that passed with some numbers of workers, and not all."""
    outcomes: dict[str, list[bool]] = {}
    for suite in suites:
        for one in suite.ran:
            outcomes.setdefault(one.test, []).append(one.outcome == "failed")
    return [
        f"{test} is flaky: it failed in {sum(failed)} of {len(failed)} runs in parallel"
        for test, failed in outcomes.items()
        if 0 < sum(failed) < len(failed)
    ]
