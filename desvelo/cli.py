"""The command line: ``desvelo explore``, ``replay``, ``export`` and ``doctor``.

Exit status: 0 nothing found, 1 a finding, 2 wrong usage or an unusable file, 3 the target could
not be run. What a program reads goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desvelo.errors import DesveloError, FindingFileError, ReplayDiverged, TargetError, UsageError

if TYPE_CHECKING:
    from desvelo.exploration import Progress
    from desvelo.finding.finding import Finding

NOTHING, FOUND, USAGE, NOT_RUN = 0, 1, 2, 3
INTERRUPTED = 130
"""What a shell reports for a program that Ctrl-C has ended."""
FINDINGS = ".desvelo/findings"
REAL_TIMEOUT = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (UsageError, FindingFileError, ReplayDiverged) as error:
        return _failed(options, error, USAGE)
    except DesveloError as error:
        return _failed(options, error, NOT_RUN)
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Somebody such as `head` has read enough.
        sys.stderr.close()
        return INTERRUPTED
    except SystemExit as error:
        return _failed(options, TargetError(f"the target called sys.exit({error.code!r})"), NOT_RUN)
    except Exception as error:
        traceback.print_exc()
        return _failed(options, DesveloError(f"{type(error).__name__}: {error}"), NOT_RUN)


def _failed(options: argparse.Namespace, error: DesveloError, status: int) -> int:
    _say(str(error))
    if getattr(options, "json", False):
        print(json.dumps(_as_json(None, error=str(error))))
    return status


def _say(text: str) -> None:
    print(f"desvelo: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Send what the target prints to standard error: standard output is for the results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


# options


def _parser() -> argparse.ArgumentParser:
    from desvelo import __version__

    parser = argparse.ArgumentParser(
        prog="desvelo",
        description="Finds race conditions in Python services, and replays them exactly.",
        epilog="Exit status: 0 nothing found, 1 a finding, 2 usage, 3 the target could not be run.",
    )
    parser.add_argument("--version", action="version", version=f"desvelo {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_explore(commands)
    _add_replay(commands)
    _add_export(commands)
    _add_doctor(commands)
    return parser


def _add_explore(commands: Any) -> None:
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
    _add_real_timeout(parser)
    parser.set_defaults(command=_explore)


def _add_replay(commands: Any) -> None:
    parser = commands.add_parser(
        "replay",
        help="run saved findings again, exactly",
        description="Run saved findings again: status 1 when one fails again, 0 when none does.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", type=Path, help="a finding, or a folder of findings"
    )
    parser.add_argument("--trace", action="store_true", help="print every step as well")
    _add_real_timeout(parser)
    parser.set_defaults(command=_replay)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="turn a finding into a plain pytest test",
        description="Write a pytest test that runs the one schedule of a finding, stated in words.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a finding")
    parser.add_argument(
        "-o", "--output", required=True, metavar="TEST_FILE", type=Path, help="the test to write"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the test if it is there")
    parser.set_defaults(command=_export)


def _add_doctor(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="say what is installed and whether a small world runs",
        description="Say which versions are installed, and whether a small world runs.",
    )
    parser.add_argument(
        "--defects", action="store_true", help="print the planted defects of the reference system"
    )
    parser.set_defaults(command=_doctor)


def _add_real_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--real-timeout",
        type=float,
        default=REAL_TIMEOUT,
        metavar="S",
        help="end a target that holds the loop for so many real seconds (default: 10; 0: never)",
    )


# explore


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
        with _own_output(), Watchdog(options.real_timeout):
            finding = explore(
                load_scenario(options.scenario),
                max_seconds=options.max_seconds,
                max_executions=options.max_executions,
                policy=options.policy,
                mode=options.mode,
                seed=options.seed,
                trace=options.trace or None,
                granularity=options.granularity,
                save=folder,
                on_progress=reporter,
                statistics=statistics,
            )
    except (LoopBlocked, ServerGone, KeyboardInterrupt):
        for path, stamp in _files_in(folder).items():
            if before.get(path) != stamp:
                _say(f"what was found before that is kept: {path}")
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
    return (
        f"nothing found in {statistics.executions:,} executions of {statistics.distinct:,} "
        f"different schedules ({statistics.seconds:.1f} s, {rate:,.0f} a second)"
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


# replay


def _replay(options: argparse.Namespace) -> int:
    from desvelo.finding.finding import Finding
    from desvelo.watchdog import Watchdog

    files = _finding_files(options.files)
    status = NOTHING
    for path in files:
        try:
            finding = Finding.load(path)
            with _own_output(), Watchdog(options.real_timeout):
                result = finding.replay()
        except (UsageError, FindingFileError, ReplayDiverged) as error:
            _say(str(error))
            status = max(status, USAGE)
            continue
        except DesveloError as error:
            _say(f"{path}: {error}")
            status = max(status, NOT_RUN)
            continue
        print(f"{path}: {result.message}")
        if result.story:
            print(f"\n{result.story}\n")
            if result.identical and finding.told_confirmation():
                print(f"{finding.told_confirmation()}\n")
        if options.trace and result.trace:
            print(f"{result.trace}\n")
        if result.failed or result.other:
            status = max(status, FOUND)
    return status


def _finding_files(places: Sequence[Path]) -> list[Path]:
    """Return the files to replay; a folder stands for all findings in it."""
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(place.glob("*.json"))
            if not inside:
                raise UsageError(f"there is no finding in the folder {place}")
            files += inside
        else:
            files.append(place)
    return files


# export


def _export(options: argparse.Namespace) -> int:
    from desvelo.finding.export import export
    from desvelo.finding.finding import Finding

    finding = Finding.load(options.file)
    written = export(finding, options.output, force=options.force)
    command = f"pytest {shlex.quote(str(written))}"
    print(f"wrote {written}; it fails until the {finding.kind} is gone: {command}")
    return NOTHING


# doctor


def _doctor(options: argparse.Namespace) -> int:
    from desvelo.report.doctor import defects_table, examine

    if options.defects:
        print(defects_table())
        return NOTHING
    report, healthy = examine()
    print(report)
    return NOTHING if healthy else NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
