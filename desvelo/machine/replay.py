"""Running the finding of a machine again: its choices make the program, its schedule the order."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desvelo.errors import ReplayDiverged, TargetError, UsageError
from desvelo.finding.finding import Finding, Replay
from desvelo.finding.replay import changes_of, judge
from desvelo.machine.bridge import choices_from_json
from desvelo.machine.code import as_code, first_change, without_checks
from desvelo.machine.draw import draw_again, without_logs
from desvelo.machine.profiles import machine_settings
from desvelo.machine.report import MachineReport
from desvelo.machine.rerun import run_schedule
from desvelo.machine.tell import outcome_of
from desvelo.schedule.decisions import Schedule
from desvelo.story.details import every_step
from desvelo.story.story import tell
from desvelo.targets import choose_target, current_target_name
from desvelo.world.boundary import Boundary

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine


def replay_machine(finding: Finding) -> Replay:
    """Replay a finding of a machine; raises `ReplayDiverged` when the code has changed."""
    from desvelo.exploration import young_garbage_only

    name = finding.path or "this finding"
    if current_target_name() is None and finding.target is not None:
        choose_target(finding.target)
    machine = load_machine(finding)
    try:
        choices = choices_from_json(finding.choices or ())
    except (TypeError, ValueError) as error:
        raise ReplayDiverged(
            f"{name}: its choices cannot be read ({error}); find the failure again"
        ) from error
    settings = machine_settings()
    with Boundary(), young_garbage_only(), without_logs():
        ran = draw_again(machine, settings, choices, trace=True)
        if ran is None:
            raise ReplayDiverged(f"the choices of {name} no longer make an example: {_CHANGED}")
        _compare(finding, machine, ran, str(name))
        again = ran
        if ran.program.repeatable:
            # The first traced run of a process reads sources; what was recorded came later.
            run_schedule(machine, ran.program, finding.schedule, trace=True)
            again = run_schedule(machine, ran.program, finding.schedule, trace=True)
        outcome = outcome_of(again)
        result = judge(finding, outcome, changed=changes_of(finding))
        if again.failure is not None and ran.program.repeatable:
            same = Schedule(seed=finding.schedule.seed)
            plain = run_schedule(machine, ran.program, same, trace=True)
            result.story = tell(finding, outcome, outcome_of(plain))
        result.trace = every_step(outcome)
    return result


_CHANGED = "the machine or what it draws has changed, so find the failure again"


def _compare(
    finding: Finding, machine: type[ConcurrentMachine], ran: MachineReport, name: str
) -> None:
    """Raise `ReplayDiverged` when the choices make another program than they did."""
    recorded = without_checks(finding.inputs, machine)
    now = without_checks(as_code(machine, ran.program), machine)
    if ran.failure is not None and len(now) < len(recorded):
        # It fails earlier than it did: what was taken until then is what counts.
        recorded = [*recorded[: len(now) - 1], recorded[-1]]
    change = first_change(recorded[1:-1], now[1:-1])
    if change is not None:
        raise ReplayDiverged(f"{name} no longer fits the code: {change}; {_CHANGED}")


def load_machine(finding: Finding) -> type[ConcurrentMachine]:
    """Import the machine that a finding names, as ``path/to/file.py:Class``."""
    from desvelo.machine.concurrent import ConcurrentMachine

    place, _, name = finding.scenario.partition(":")
    path = _find(Path(place), finding)
    module_name, root = module_of(path)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise TargetError(f"{path} does not import: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, ConcurrentMachine)):
        raise ReplayDiverged(f"{path} has no machine {name!r} any more; find the failure again")
    return found


def _find(path: Path, finding: Finding) -> Path:
    if path.is_file():
        return path.resolve()
    if finding.path is not None and not path.is_absolute():
        for folder in finding.path.resolve().parents:
            if (folder / path).is_file():
                return folder / path
    raise UsageError(
        f"the machine of {finding.path or 'this finding'} was in {path}, which is not there; "
        "run the replay where the tests are"
    )


def module_of(path: Path) -> tuple[str, Path]:
    """Return the dotted name of a file and the folder that it is imported from."""
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder
