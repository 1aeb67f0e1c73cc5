"""``desvelo export``: turn a finding into a plain pytest test."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from desvelo.commands.output import NOTHING


def add(commands: Any) -> None:
    """Add the command to the command line."""
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


def _export(options: argparse.Namespace) -> int:
    from desvelo.finding.export import export
    from desvelo.finding.finding import Finding

    finding = Finding.load(options.file)
    written = export(finding, options.output, force=options.force)
    command = f"pytest {shlex.quote(str(written))}"
    print(f"wrote {written}; it fails until the {finding.kind} is gone: {command}")
    return NOTHING
