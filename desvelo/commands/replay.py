"""``desvelo replay``: run saved findings again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from desvelo.commands.output import FOUND, NOT_RUN, NOTHING, USAGE, own_output, say
from desvelo.commands.real_timeout import add_real_timeout
from desvelo.errors import DesveloError, FindingFileError, ReplayDiverged, UsageError


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "replay",
        help="run saved findings again, exactly",
        description="Run saved findings again: status 1 when one fails again, 0 when none does.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", type=Path, help="a finding, or a folder of findings"
    )
    parser.add_argument("--trace", action="store_true", help="print every step as well")
    add_real_timeout(parser)
    parser.set_defaults(command=_replay)


def _replay(options: argparse.Namespace) -> int:
    from desvelo.finding.finding import Finding
    from desvelo.watchdog import Watchdog

    files = _finding_files(options.files)
    status = NOTHING
    for path in files:
        try:
            finding = Finding.load(path)
            with own_output(), Watchdog(options.real_timeout):
                result = finding.replay()
        except (UsageError, FindingFileError, ReplayDiverged) as error:
            say(str(error))
            status = max(status, USAGE)
            continue
        except DesveloError as error:
            say(f"{path}: {error}")
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
