"""The endurance phase: tests again and again in one process. What drifts, and who pollutes whom?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from desvelo.measure.context import Context
from desvelo.measure.phases.suites import checks_of, write_suite
from desvelo.measure.result import Metric, PhaseResult, Sample
from desvelo.measure.suite.drift import drifts
from desvelo.measure.suite.pollution import narrow
from desvelo.measure.suite.running import SuiteRun, records_of, run_suite

MOST_VICTIMS = 3
"""Tests that fail only sometimes are narrowed down one after the other, and not more than these."""
LEAST_SEARCH = 60.0
"""Seconds for all that; as long as the repetitions took, when those took longer."""


def run(context: Context) -> PhaseResult:
    """Repeat the messaging and the image tests, or those that were named.

    See docs/phases/endurance.md.
    """
    result = PhaseResult("endurance")
    numbers = context.settings.endurance
    if context.settings.tests:
        groups = [("tests", list(context.settings.tests), numbers.times)]
    else:
        groups = [
            ("messaging", checks_of(context, "messaging_checks"), numbers.times),
            ("images", checks_of(context, "image_checks"), numbers.images),
        ]
    suites = []
    for name, arguments, times in groups:
        if context.interruption.is_set():
            break
        bar = context.progress.start(f"endurance: {name}", None)
        try:
            suite = run_suite(
                arguments,
                context.folder / name,
                interruption=context.interruption,
                times=times,
                seconds=numbers.seconds / len(groups),
            )
        finally:
            bar.finish()
        suites.append(suite)
        result.notes.append(f"{name}: {_rounds(suite)} of {len(suite.collected)} tests")
        result.problems += [f"{name}: {sentence}" for sentence in drifts(suite)]
        if suite.failed and not suite.interrupted:
            _narrow_down(context, result, name, arguments, suite)
    write_suite(result, suites)
    _write_resources(result, suites)
    return result


def _rounds(suite: SuiteRun) -> str:
    count = max((one.round for one in suite.outcomes), default=0)
    return "1 round" if count == 1 else f"{count} rounds"


def _narrow_down(
    context: Context, result: PhaseResult, name: str, arguments: Sequence[str], suite: SuiteRun
) -> None:
    """Find out which tests make others fail that do not fail by themselves."""
    options = suite.options_of(arguments)
    end = monotonic() + max(LEAST_SEARCH, suite.seconds)
    victims = [record.name for record in records_of(suite.ran) if record.failures]

    def over() -> bool:
        return context.interruption.is_set() or monotonic() > end

    for number, victim in enumerate(victims[:MOST_VICTIMS]):
        before = _run_before(victim, suite)
        folder = context.folder / f"{name}-{number}"

        def fails_after(tests: Sequence[str], victim: str = victim, folder: Path = folder) -> bool:
            # Twice the same test on a command line is one for pytest: repeat all instead.
            again = victim in tests
            named = [*dict.fromkeys([*tests, victim])]
            tried = run_suite(
                [*options, *map(suite.path_of, named)],
                folder,
                interruption=context.interruption,
                times=2 if again else 1,
            )
            return any(tried.path_of(one.test) == suite.path_of(victim) for one in tried.failed)

        bar = context.progress.start(f"endurance: why {victim} fails", None)
        try:
            verdict = narrow(victim, before, fails_after, over=over)
        finally:
            bar.finish()
        if context.interruption.is_set():
            break
        (result.problems if verdict.polluters else result.notes).append(str(verdict))
    if len(victims) > MOST_VICTIMS:
        more = len(victims) - MOST_VICTIMS
        result.notes.append(f"{more} more tests failed and were not looked into")


def _run_before(victim: str, suite: SuiteRun) -> list[str]:
    """Return the tests that had run when the victim failed first, each once, itself last."""
    before: list[str] = []
    for one in suite.outcomes:
        if one.test == victim and one.outcome == "failed":
            break
        before.append(one.test)
    return sorted(dict.fromkeys(before), key=lambda test: test == victim)


def _write_resources(result: PhaseResult, suites: Sequence[SuiteRun]) -> None:
    offset = 0.0
    for suite in suites:
        result.samples += [
            Sample(offset + one.at, one.rss, 0, 0.0, one.fds, one.threads, 0, 0)
            for one in suite.rounds
        ]
        offset += suite.seconds
    rounds = [one for suite in suites for one in suite.rounds]
    if rounds:
        result.metrics["memory"] = Metric(max(one.rss for one in rounds), "B", "lower")
        growth = sum(suite.rounds[-1].rss - suite.rounds[0].rss for suite in suites if suite.rounds)
        result.metrics["memory_growth"] = Metric(max(growth, 0), "B", "lower")
