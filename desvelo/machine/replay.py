"""Running the finding of a machine again: its choices make the program, its schedule the order."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis.errors import HypothesisException

from desvelo.errors import ReplayDiverged, TargetError, UsageError
from desvelo.finding.finding import Finding, Replay
from desvelo.finding.replay import changes_of, judge
from desvelo.machine.bridge import choices_from_json
from desvelo.machine.code import as_code, first_change
from desvelo.machine.profiles import machine_settings
from desvelo.machine.report import Collector, MachineReport, collect_with
from desvelo.machine.rerun import run_schedule
from desvelo.machine.search import replay_choices, without_logs
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
    from desvelo.explore import young_garbage_only

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
    with Boundary(), young_garbage_only(), without_logs():
        ran = _last_run(machine, choices)
        change = first_change(finding.inputs, as_code(machine, ran.program))
        if change is not None:
            raise ReplayDiverged(
                f"{name} no longer fits the code: {change}; the machine or what it draws "
                "has changed, so find the failure again"
            )
        again = run_schedule(machine, ran.program, finding.schedule, trace=True)
        outcome = outcome_of(again)
        result = judge(finding, outcome, changed=changes_of(finding))
        if again.failure is not None:
            plain = run_schedule(
                machine, ran.program, Schedule(seed=finding.schedule.seed), trace=True
            )
            result.story = tell(finding, outcome, outcome_of(plain))
        result.trace = every_step(outcome)
    return result


def _last_run(
    machine: type[ConcurrentMachine], choices: list[bool | int | float | str | bytes]
) -> MachineReport:
    """Let Hypothesis draw the program from its choices, and return how it ran."""
    kept: list[MachineReport] = []
    keep = _Keeping(kept)
    before = collect_with(keep)
    try:
        replay_choices(machine, machine_settings(), choices)
    except HypothesisException as error:
        if not kept:
            raise ReplayDiverged(
                f"the choices of this finding no longer make an example ({error}); the machine "
                "or what it draws has changed, so find the failure again"
            ) from error
    except Exception:
        pass
    finally:
        collect_with(before)
    if not kept:
        raise ReplayDiverged(
            "the choices of this finding no longer make an example: the machine or what it draws "
            "has changed, so find the failure again"
        )
    return kept[0]


class _Keeping(Collector):
    """Keeps every example that was not broken off."""

    def __init__(self, kept: list[MachineReport]) -> None:
        super().__init__()
        self._kept = kept

    def ended(self, report: MachineReport) -> None:
        """Keep the example."""
        if not report.control:
            self._kept.append(report)


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
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)  # type: ignore[assignment]
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
        f"the machine of {finding.path or 'this finding'} was in {path}, which is not there; run the "
        "replay where the tests are"
    )


def module_of(path: Path) -> tuple[str, Path]:
    """Return the dotted name of a file and the folder that it is imported from."""
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder
