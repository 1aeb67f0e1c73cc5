"""The command line: one module of `desvelo.commands` for each command.

Exit status: 0 nothing found, 1 a finding or a threshold broken, 2 wrong usage or an unusable
file, 3 the target could not be run, 130 interrupted. What a program reads goes to standard
output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence

from desvelo.commands import doctor, explore, export, replay, report, run
from desvelo.commands.output import FOUND, INTERRUPTED, NOT_RUN, NOTHING, USAGE, say
from desvelo.errors import DesveloError, FindingFileError, ReplayDiverged, TargetError, UsageError

__all__ = ["FOUND", "INTERRUPTED", "NOTHING", "NOT_RUN", "USAGE", "main"]

COMMANDS = (explore, replay, export, run, report, doctor)


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
        say("interrupted")
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
    say(str(error))
    if getattr(options, "json", False):
        print(json.dumps(options.refused(str(error))))
    return status


def _parser() -> argparse.ArgumentParser:
    from desvelo import __version__

    parser = argparse.ArgumentParser(
        prog="desvelo",
        description="Finds race conditions in Python services, replays them exactly, and puts "
        "the real service under load.",
        epilog="Exit status: 0 nothing found, 1 a finding or a threshold broken, 2 usage, 3 the "
        "target could not be run, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"desvelo {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
