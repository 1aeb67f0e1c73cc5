"""``desvelo doctor``: what is installed, and whether a small world runs."""

from __future__ import annotations

import argparse
from typing import Any

from desvelo.commands.output import NOT_RUN, NOTHING


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="say what is installed and whether a small world runs",
        description="Say which versions are installed, and whether a small world runs.",
    )
    parser.add_argument(
        "--defects", action="store_true", help="print the planted defects of the reference system"
    )
    parser.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from desvelo.report.doctor import defects_table, examine

    if options.defects:
        print(defects_table())
        return NOTHING
    report, healthy = examine()
    print(report)
    return NOTHING if healthy else NOT_RUN
