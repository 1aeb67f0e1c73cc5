"""``desvelo explore``: search the schedules of a scenario for a failure."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desvelo.commands.output import FOUND, NOTHING, own_output, say
from desvelo.commands.real_timeout import add_real_timeout

if TYPE_CHECKING:
    from desvelo.exploration import Progress
    from desvelo.finding.finding import Finding

FINDINGS = ".desvelo/findings"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "explore",
        help="search the schedules of a scenario for a failure",
        description="Run a scenario under many schedules and report the first failure, made small.",
    )
    parser.add_argument(
        "scenario",
        metavar="FILE_OR_MODULE[:NAME]",
        help="a Python file or module, or an object in it",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="real time to search (default: 60)",
    )
    parser.add_argument(
        "--max-executions", type=int, metavar="N", help="executions to search (default: no limit)"
    )
    parser.add_argument(
        "--policy", default="mix", metavar="P", help="how schedules are drawn (default: mix of all)"
    )
    parser.add_argument(
        "--mode",
        default="asyncio-order",
        metavar="M",
        help="asyncio-order (default): what stock asyncio can do; any-order: steps in any order",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="make the search itself repeatable")
    parser.add_argument(
        "--trace",
        action="extend",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="show the lines of these modules too (may be given several times)",
    )
    parser.add_argument(
        "--granularity",
        metavar="G",
        help="where threads may be interrupted: line (default), or instruction",
    )
    parser.add_argument(
        "--no-leaks",
        action="store_false",
        dest="leaks",
        help="what is left open at the end is no failure",
    )
    parser.add_argument(
        "--save",
        default=FINDINGS,
        metavar="DIR",
        help=f"where findings are saved (default: {FINDINGS})",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on standard output"
    )
    parser.add_argument(
        "--progress",
        action="store_true",
        help="say once a second how far it is, not only on a terminal",
    )
    add_real_timeout(parser)
    parser.set_defaults(command=_explore, refused=_refused)


def _explore(options: argparse.Namespace) -> int:
    from desvelo.errors import LoopBlocked, ServerGone
    from desvelo.exploration import Progress, explore
    from desvelo.scenario import load_scenario
    from desvelo.watchdog import Watchdog

    statistics = Progress()
    folder = Path(options.save)
    before = _files_in(folder)
    reporter = _Reporter() if options.progress or sys.stderr.isatty() else None
    try:
        with own_output(), Watchdog(options.real_timeout):
            finding = explore(
                load_scenario(options.scenario),
                max_seconds=options.max_seconds,
                max_executions=options.max_executions,
                policy=options.policy,
                mode=options.mode,
                seed=options.seed,
                leaks=options.leaks,
                trace=options.trace or None,
                granularity=options.granularity,
                save=folder,
                on_progress=reporter,
                statistics=statistics,
            )
    except (LoopBlocked, ServerGone, KeyboardInterrupt):
        for path, stamp in _files_in(folder).items():
            if before.get(path) != stamp:
                say(f"what was found before that is kept: {path}")
        raise
    finally:
        if reporter is not None:
            reporter.close()
    if options.json:
        print(json.dumps(_as_json(finding, statistics)))
    elif finding is None:
        print(_nothing_found(statistics))
    if finding is None:
        return NOTHING
    _tell(finding, sys.stderr if options.json else sys.stdout)
    return FOUND


def _tell(finding: Finding, stream: Any) -> None:
    print(finding.story() or finding.summary(), file=stream)
    print(
        f"\nSeen first in execution {finding.executions} after {finding.seconds:.2f} s.",
        file=stream,
    )
    if finding.path is not None and finding.replays:
        path = shlex.quote(str(finding.path))
        print(f"Run it again:       desvelo replay {path}", file=stream)
        print(f"Keep it as a test:  desvelo export {path} -o test_{finding.kind}.py", file=stream)
    elif finding.path is not None:
        print(f"Saved: {finding.path}", file=stream)


def _nothing_found(statistics: Progress) -> str:
    rate = statistics.executions / statistics.seconds if statistics.seconds > 0 else 0.0
    covered = f"; each in turn {statistics.cancelled}" if statistics.cancelled is not None else ""
    return (
        f"nothing found in {statistics.executions:,} executions of {statistics.distinct:,} "
        f"different schedules ({statistics.seconds:.1f} s, {rate:,.0f} a second){covered}"
    )


def _as_json(
    finding: Finding | None, statistics: Progress | None = None, error: str | None = None
) -> dict[str, Any]:
    """Return the object that ``--json`` prints: always the same keys."""
    known: dict[str, Any] = {
        "schema": 1,
        "found": False,
        "kind": None,
        "error": error,
        "operations": [],
        "deviations": 0,
        "executions": statistics.executions if statistics is not None else 0,
        "seconds": round(statistics.seconds, 6) if statistics is not None else 0.0,
        "replays": False,
        "confirmed": None,
        "file": None,
    }
    if finding is not None:
        known |= {
            "found": True,
            "kind": finding.kind,
            "error": finding.reason(),
            "operations": finding.operations,
            "deviations": finding.deviations,
            "executions": finding.executions,
            "seconds": round(finding.seconds, 6),
            "replays": finding.replays,
            "confirmed": finding.confirmed,
            "file": str(finding.path) if finding.path is not None else None,
        }
    return known


def _refused(reason: str) -> dict[str, Any]:
    return _as_json(None, error=reason)


def _files_in(folder: Path) -> dict[Path, int]:
    found = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        with contextlib.suppress(OSError):
            found[path] = path.stat().st_mtime_ns
    return found


class _Reporter:
    """Says about once a second how far an exploration is; on a terminal in one line."""

    EVERY = 1.0

    def __init__(self) -> None:
        self._due = time.perf_counter() + self.EVERY
        self._one_line = sys.stderr.isatty()
        self._open = False

    def __call__(self, progress: Progress) -> None:
        now = time.perf_counter()
        if now < self._due:
            return
        self._due = now + self.EVERY
        rate = progress.executions / progress.seconds if progress.seconds > 0 else 0.0
        text = (
            f"desvelo: {progress.executions:,} executions, {progress.distinct:,} different "
            f"schedules, {progress.seconds:.0f} s, {rate:,.0f} a second"
        )
        print(
            f"\r{text}   " if self._one_line else text,
            end="" if self._one_line else "\n",
            file=sys.stderr,
            flush=True,
        )
        self._open = self._one_line

    def close(self) -> None:
        """End the line."""
        if self._open:
            print(file=sys.stderr)
