"""``desvelo report``: the reports of a run that is over, and the dashboard over all of them."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desvelo.commands.output import NOTHING, allowed_host, say
from desvelo.errors import UsageError

if TYPE_CHECKING:
    from desvelo.measure.history import History
    from desvelo.measure.result import Run


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="show a run again, write its reports, or serve the dashboard",
        description="Show a run that is over: the newest one, or RUN.",
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="the id of a run, its folder, or its run.json"
    )
    parser.add_argument("--history", metavar="FILE_OR_DSN", help="the history of runs")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="a host that is not this machine, and has the history",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write all its reports there")
    parser.add_argument(
        "--serve", action="store_true", help="serve the dashboard on this machine until Ctrl-C"
    )
    parser.add_argument("--port", type=int, metavar="N", help="port of the dashboard")
    parser.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    from desvelo.measure.history.store import DEFAULT
    from desvelo.report.folder import check_report_folder, write_reports
    from desvelo.report.screen import screen

    if options.port is not None and not options.serve:
        raise UsageError("--port is for the dashboard: add --serve")
    where = options.history or DEFAULT
    if options.serve:
        from desvelo.report.dashboard import serve

        if options.run is not None or options.output is not None:
            raise UsageError("--serve shows all runs of a history: give neither RUN nor --output")
        serve(where, options.port, say, allowed_host(where, options.allow_host))
        return NOTHING
    with _history(where, options) as history:
        kept = None
        if history is not None:
            kept = history.get(options.run) if options.run else next(iter(history.runs(1)), None)
        found = [one for one in (_saved(options.run), kept) if one is not None]
        if not found:
            what = f" {options.run!r}" if options.run else ""
            raise UsageError(f"there is no run{what} here or in {where}; `desvelo run` makes one")
        run = max(found, key=lambda one: one.id)
        before = history.before(run) if history is not None else None
    if options.output is not None:
        check_report_folder(options.output)
        write_reports(run, options.output, before)
    print(screen(run, options.output))
    return NOTHING


def _history(
    where: str, options: argparse.Namespace
) -> contextlib.AbstractContextManager[History | None]:
    """Open the history when there is one: who only reads makes none."""
    from desvelo.measure.history import open_history

    if where == "none" or (options.history is None and not Path(where).is_file()):
        return contextlib.nullcontext()
    if "://" not in where and not Path(where).is_file():
        raise UsageError(f"--history: there is no file {where}")
    return open_history(where, allow_host=allowed_host(where, options.allow_host))


def _saved(name: str | None) -> Run | None:
    """Return a run by its file, its folder or its id, as far as there are reports of it."""
    from desvelo.report.folder import RUNS

    if name is None:
        places = sorted(RUNS.glob("*/run.json"))[-1:]  # an id begins with the time
    else:
        named = (Path(name), Path(name) / "run.json", RUNS / name / "run.json")
        places = [path for path in named if path.is_file()]
    return _read(places[0]) if places else None


def _read(place: Path) -> Run:
    from desvelo.measure.result import Run

    try:
        return Run.from_json(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{place} is no run of this version: {error}") from error
