"""What phases that run a pytest suite share: which tests, and how the result is written."""

from __future__ import annotations

from collections.abc import Sequence

from desvelo.measure.context import Context
from desvelo.measure.result import Metric, PhaseResult, Status
from desvelo.measure.suite.running import SuiteRun, records_of


def checks_of(context: Context, method: str) -> list[str]:
    """Return pytest arguments: those of ``--tests``, or what the target's method returns."""
    if context.settings.tests:
        return list(context.settings.tests)
    return list(context.offered(method)())


def write_suite(result: PhaseResult, suites: Sequence[SuiteRun], prefix: str = "") -> None:
    """Write what became of the suites: rates, times, each test, and why it is no good.

    Every metric but the number of tests is named with the prefix.
    """
    ran = [one for suite in suites for one in suite.ran]
    if ran:
        failed = sum(one.outcome == "failed" for one in ran)
        seconds = sum(suite.testing for suite in suites)
        mean = sum(one.seconds for one in ran) / len(ran)
        metrics = {
            "success_rate": Metric(1 - failed / len(ran), "share", "higher"),
            "error_rate": Metric(failed / len(ran), "share", "lower"),
            "response_time": Metric(max(one.seconds for one in ran), "s", "lower"),
            "response_time_mean": Metric(mean, "s", "lower"),
            "throughput": Metric(len(ran) / seconds, "1/s", "higher"),
        }
        result.metrics["tests"] = Metric(len(ran), "")
        result.metrics |= {f"{prefix}{name}": metric for name, metric in metrics.items()}
    result.tests += records_of(ran)
    for suite in suites:
        for one in suite.failed:
            kind = _kind_of(one.message)
            result.errors[kind] = result.errors.get(kind, 0) + 1
        why = suite.why_not()
        if suite.interrupted:
            if result.status is not Status.FAILED:
                result.status = Status.INTERRUPTED
                result.reason = (
                    f"interrupted after {suite.seconds:.1f} s and {len(suite.ran)} tests"
                )
        elif why:
            result.fail(why)


def _kind_of(message: str) -> str:
    """Return the kind of error in what a test said, such as ``call: ValueError: no bread``.

    >>> [_kind_of(message) for message in ("call: ValueError: no: bread", "call: assert 1 == 2")]
    ['ValueError', 'AssertionError']
    """
    kind = [*message.split(":", 2), ""][1].strip()
    return "AssertionError" if kind.startswith("assert ") else kind or "failed"
