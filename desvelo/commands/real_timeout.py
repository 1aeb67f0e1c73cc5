"""The option ``--real-timeout`` of the commands that run a target in the simulated world."""

from __future__ import annotations

import argparse

REAL_TIMEOUT = 10.0


def add_real_timeout(parser: argparse.ArgumentParser) -> None:
    """Add the option that ends a target which holds the event loop."""
    parser.add_argument(
        "--real-timeout",
        type=float,
        default=REAL_TIMEOUT,
        metavar="S",
        help="end a target that holds the loop for so many real seconds (default: 10; 0: never)",
    )
