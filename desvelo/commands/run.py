"""``desvelo run``: the phases of a strategy for stress tests, on the real thing."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desvelo.commands.output import (
    FOUND,
    INTERRUPTED,
    NOT_RUN,
    NOTHING,
    USAGE,
    allowed_host,
    own_output,
    say,
)
from desvelo.errors import DesveloError, UsageError

if TYPE_CHECKING:
    from desvelo.measure.history import History
    from desvelo.measure.history.comparison import Limits
    from desvelo.measure.plan import Wishes
    from desvelo.measure.result import PhaseResult, Run


_SECRET = ("--notify", "--history")
"""Options whose URL may hold a password or be one."""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "run",
        help="put the real service under load, and check what it did against thresholds",
        description="Run phases (baseline, load, endurance, memory, io, database, webhook) on real "
        "processes, sockets and clocks. Without a name all of them: full-system.",
    )
    parser.add_argument("phases", nargs="*", metavar="PHASE", help="a phase (default: full-system)")
    parser.add_argument(
        "--profile", default="quick", metavar="P", help="quick (default), ci or nightly"
    )
    parser.add_argument("--target", metavar="NAME", help="the system under test")
    _add_server(parser)
    _add_numbers(parser)
    parser.add_argument(
        "--tests",
        nargs="+",
        default=[],
        metavar="ARG",
        help="pytest arguments to run instead of the target's own checks",
    )
    parser.add_argument(
        "--locust",
        type=Path,
        metavar="FILE",
        help="write a locustfile that sends and checks what the phase load does, and run nothing",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of all that is drawn")
    parser.add_argument("--thresholds", type=Path, metavar="FILE", help="a thresholds.toml")
    parser.add_argument(
        "--explain-thresholds",
        action="store_true",
        help="print the thresholds, where each is from and what it means, and run nothing",
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="where reports are saved (.desvelo/runs/ID)"
    )
    parser.add_argument(
        "--history", metavar="FILE_OR_DSN", help="the history of runs; none for no history"
    )
    parser.add_argument(
        "--against",
        metavar="REVISION",
        help="compare this code with a Git revision of it as well, in turns within this run",
    )
    parser.add_argument(
        "--notify", metavar="URL", help="where a message is posted when the run did not pass"
    )
    parser.add_argument(
        "--step-summary",
        action="store_true",
        help="add the summary to what GitHub Actions shows of this step",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on standard output"
    )
    parser.set_defaults(command=_run, refused=_refused)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", metavar="URL", help="a live server instead of one of the run's own"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="a host that is not this machine, and may be put under load",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="port of the run's own server (default: a free one)"
    )


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, metavar="N", help="requests of the phase webhook")
    parser.add_argument("--concurrency", type=int, metavar="C", help="of them so many at a time")
    parser.add_argument("--rate", type=float, metavar="R", help="arrivals a second, whatever comes")
    parser.add_argument("--users", type=int, metavar="N", help="most users of the phase load")
    parser.add_argument("--times", type=int, metavar="N", help="repetitions: endurance, memory")
    parser.add_argument(
        "--for",
        dest="seconds",
        metavar="TIME",
        help="how long: endurance, a step of load (30s, 10m)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes or threads at once")
    parser.add_argument("--maxfail", type=int, metavar="N", help="failures that end a test run")


def _run(options: argparse.Namespace) -> int:
    from desvelo.measure.environment import check_revision
    from desvelo.measure.full_system import Conductor
    from desvelo.measure.load.locust import write_locustfile
    from desvelo.measure.plan import checked_url, plan
    from desvelo.measure.processes.server import refuse_taken
    from desvelo.measure.regression import limits_of
    from desvelo.measure.thresholds import explain, read_thresholds
    from desvelo.report.folder import RUNS, check_report_folder, step_summary
    from desvelo.report.progress import shown_progress
    from desvelo.targets import choose_target

    # Hypothesis draws the requests; what it keeps beside is ours to put away.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", ".desvelo/hypothesis")
    _refuse_swallowed_phase(options.tests)
    settings = plan(_wishes(options))
    thresholds = read_thresholds(options.thresholds, settings.profile)
    if options.explain_thresholds:
        print(explain(thresholds))
        return NOTHING
    if options.locust is not None:
        if options.phases != ["load"]:
            raise UsageError(
                "--locust stands in for the phase load: desvelo run load --locust FILE"
            )
        choose_target(settings.target)
        print(write_locustfile(options.locust, settings.target, settings.seed, settings.url))
        return NOTHING
    check_report_folder(options.report or RUNS)
    summary = step_summary() if options.step_summary else None
    if settings.against:
        check_revision(Path.cwd(), settings.against)
    if options.notify:
        checked_url(options.notify, options.allow_host, option="--notify")
    if settings.port:
        refuse_taken(settings.port)
    with _history(options) as history:
        with own_output(), shown_progress() as progress:
            conductor = Conductor(
                choose_target(settings.target),
                settings,
                thresholds,
                progress,
                on_result=_ignore if sys.stderr.isatty() else _tell,
            )
            run = conductor.conduct(_told_command(sys.argv[1:]))
        before, kept = _compared(run, history, limits_of(thresholds))
        kept = _report(run, before, options, summary, history) and kept
    return _status(run) or (NOTHING if kept else USAGE)


def _refuse_swallowed_phase(tests: list[str]) -> None:
    """Raise `UsageError` for a phase that stands behind --tests, which takes all that follows."""
    from desvelo.measure.plan import FULL_SYSTEM, PHASES

    for word in tests:
        if word in {*PHASES, FULL_SYSTEM} and not Path(word).exists():
            raise UsageError(
                f"--tests takes {word!r} for an argument of pytest; name the phase first: "
                f"desvelo run {word} --tests ..."
            )


def _told_command(arguments: list[str]) -> str:
    """Return the command as reports may show it: what can hold a secret is left out."""
    shown: list[str] = []
    secret = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if secret:
            shown.append(_without_secret(argument))
        elif equals and option in _SECRET:
            shown.append(f"{option}={_without_secret(value)}")
        else:
            shown.append(argument)
        secret = argument in _SECRET
    return shlex.join(["desvelo", *shown])


def _without_secret(value: str) -> str:
    return re.sub(r"^(\w+://).*", r"\1…", value, flags=re.DOTALL)


def _wishes(options: argparse.Namespace) -> Wishes:
    from desvelo.measure.plan import Wishes
    from desvelo.targets import configured_target

    return Wishes(
        phases=tuple(options.phases),
        profile=options.profile,
        target=options.target or configured_target(Path.cwd()),
        url=options.url,
        allowed_hosts=tuple(options.allow_host),
        port=options.port,
        requests=options.requests,
        concurrency=options.concurrency,
        rate=options.rate,
        users=options.users,
        times=options.times,
        seconds=_seconds(options.seconds),
        workers=options.workers,
        maxfail=options.maxfail,
        tests=tuple(options.tests),
        seed=options.seed,
        against=options.against,
    )


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text)
    if match is None:
        raise UsageError(f"--for: {text!r} is not a time; write it as in 30s, 10m or 1.5h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


@contextlib.contextmanager
def _history(options: argparse.Namespace) -> Iterator[History | None]:
    from desvelo.measure.history import open_history
    from desvelo.measure.history.store import DEFAULT

    if options.history == "none":
        yield None
        return
    where = options.history or DEFAULT
    with open_history(where, allow_host=allowed_host(where, options.allow_host)) as history:
        yield history


def _compared(run: Run, history: History | None, limits: Limits) -> tuple[Run | None, bool]:
    """Compare the run with its past; returns the last run, and whether the past could be read."""
    from desvelo.measure.history import compare
    from desvelo.measure.regression import judge_comparisons

    before, readable = None, True
    if history is not None:
        try:
            before = history.before(run)
            run.comparisons += compare(run, history, limits)
        except DesveloError as error:
            # The run is over and must not be lost with its past.
            say(str(error))
            readable = False
    judge_comparisons(run)
    return before, readable


def _report(
    run: Run,
    before: Run | None,
    options: argparse.Namespace,
    summary: Path | None,
    history: History | None,
) -> bool:
    """Keep the run, write its reports and tell it; returns whether all was written."""
    from desvelo.measure.history.notify import is_worth_telling, notify
    from desvelo.report.folder import RUNS, add_to_step_summary, as_text, write_reports
    from desvelo.report.screen import screen

    folder = options.report or RUNS / run.id
    keeping: list[Callable[[], object]] = [lambda: write_reports(run, folder, before)]
    if summary is not None:
        keeping.append(lambda: add_to_step_summary(run, summary))
    if history is not None:
        keeping.append(lambda: history.add(run))
    problems = []
    for keep in keeping:
        try:
            keep()
        except DesveloError as error:
            problems.append(str(error))
    there = folder if (folder / "run.json").is_file() else None
    print(screen(run, there), file=sys.stderr if options.json else sys.stdout)
    if options.json:
        print(as_text(run))
    for problem in problems:
        say(problem)
    if options.notify and is_worth_telling(run):
        # What a run says does not depend on who hears it.
        try:
            notify(run, options.notify, tuple(options.allow_host))
        except DesveloError as error:
            say(str(error))
    return not problems


def _status(run: Run) -> int:
    from desvelo.measure.result import Status

    if run.status is Status.INTERRUPTED:
        return INTERRUPTED
    if run.status is Status.PASSED:
        return NOTHING
    return FOUND if any(phase.metrics for phase in run.phases) else NOT_RUN


def _tell(result: PhaseResult) -> None:
    reason = f": {result.reason}" if result.reason else ""
    after = f" after {result.seconds:.1f} s" if result.seconds else ""
    say(f"{result.phase} {result.status}{after}{reason}")


def _ignore(result: PhaseResult) -> None:
    pass


def _refused(reason: str) -> dict[str, Any]:
    """Return the object of a run that could not begin."""
    from desvelo.measure.result import Run, Status

    return Run("", "", "", "", Status.FAILED, reason).as_json()
