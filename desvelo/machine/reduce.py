"""Fewer steps: dropping those of a program that its failure does not need.

It runs the recorded program directly, which is many times faster than drawing it again. What is
left is then cut out of the choice sequence step by step, and Hypothesis takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from desvelo.machine.plan import splice_with_shifts
from desvelo.machine.program import Earlier, Program, Step
from desvelo.schedule.decisions import Deviation, Key, Schedule

if TYPE_CHECKING:
    from desvelo.machine.bridge import Choice
    from desvelo.machine.report import MachineReport

Fails = Callable[[Program, Schedule], bool]
"""Runs a program under a schedule and tells whether it fails as it should."""


def fewest_steps(
    program: Program, schedule: Schedule, fails: Fails, *, max_runs: int = 250
) -> list[int]:
    """Return the indexes of steps that are enough, dropping large pieces before small ones.

    The bound is on runs, not on time: the same failure must become the same finding everywhere.
    """
    runs = 0
    kept = list(range(len(program.steps)))
    chunk = max(len(kept) // 2, 1)
    while True:
        start, dropped = len(kept) - chunk, False
        while start > -chunk and runs < max_runs:
            piece = kept[max(start, 0) : start + chunk]
            rest = [index for index in kept if index not in piece or program.steps[index].initial]
            if len(rest) < len(kept) and closed(program, rest):
                runs += 1
                if fails(*without(program, schedule, rest)):
                    kept, dropped = rest, True
            start -= chunk
        if runs >= max_runs or (chunk == 1 and not dropped):
            return kept
        chunk = max(chunk // 2, 1)


def without(program: Program, schedule: Schedule, kept: Sequence[int]) -> tuple[Program, Schedule]:
    """Return the program of the kept steps, and the schedule with its actors renumbered."""
    position = {old: new for new, old in enumerate(kept)}
    names = renamed(program, kept)
    steps = [_moved(program.steps[index], position, names) for index in kept]
    deviations = [
        Deviation(replace(one.key, actor=names.get(one.key.actor, one.key.actor)), one.value)
        for one in schedule.deviations
        if one.key.actor == "world" or one.key.actor in names or not _is_step(program, one.key)
    ]
    return Program(steps, [None] * len(steps), program.repeatable), Schedule(
        deviations, schedule.seed
    )


def renamed(program: Program, kept: Sequence[int]) -> dict[str, str]:
    """Return the names that the actors of the kept steps have when only those are taken."""
    names: dict[str, str] = {}
    for index in kept:
        for actor in program.steps[index].actors:
            names[actor] = f"{actor.rpartition('-')[0]}-{len(names) + 1}"
    return names


def splice_cut(report: MachineReport, kept: Sequence[int], schedule: Schedule) -> list[Choice]:
    """Return choices that draw the kept steps with the given schedule written into them."""
    names = renamed(report.program, kept)
    back = {new: old for old, new in names.items()}
    original = Schedule(
        [
            Deviation(replace(one.key, actor=back.get(one.key.actor, one.key.actor)), one.value)
            for one in schedule.deviations
        ],
        schedule.seed,
    )
    spliced, moved = splice_with_shifts(report.choices, report.places, report.drawn, original)
    inside = set(kept)
    for start, makers in report.places.handles:
        # The same value as before, among those that are still made.
        chosen = int(report.choices[start])
        spliced[moved(start)] = sum(1 for maker in makers[:chosen] if maker in inside)
    ends = [moved(step.end) for step in report.program.steps]
    choices: list[Choice] = []
    for index in kept:
        choices += spliced[ends[index - 1] if index else 0 : ends[index]]
    # Where the failure came within its last step, nothing was drawn after it: say that no step
    # follows, or Hypothesis would have to draw one.
    tail = spliced[ends[-1] :] if ends else spliced
    return [*choices, *(tail or [True])]


def _is_step(program: Program, key: Key) -> bool:
    return any(key.actor in step.actors for step in program.steps)


def _moved(step: Step, position: dict[int, int], names: dict[str, str]) -> Step:
    arguments = {name: _value(value, position) for name, value in step.arguments.items()}
    return replace(step, arguments=arguments, actors=[names[one] for one in step.actors])


def _value(value: Any, position: dict[int, int]) -> Any:
    if isinstance(value, Earlier):
        return replace(value, step=position[value.step])
    if isinstance(value, list) and value and all(isinstance(item, Earlier) for item in value):
        return [_value(item, position) for item in value]
    return value


def neighbours_swapped(program: Program) -> list[list[int]]:
    """Return the orders in which two neighbouring steps have changed places.

    >>> neighbours_swapped(Program([Step("a", {}, initial=True), Step("b", {}), Step("c", {})]))
    [[0, 2, 1]]
    """
    orders = []
    for first in range(len(program.steps) - 1):
        one, two = program.steps[first], program.steps[first + 1]
        if one.initial or two.initial or first in two.uses():
            continue
        order = list(range(len(program.steps)))
        order[first], order[first + 1] = first + 1, first
        orders.append(order)
    return orders


def closed(program: Program, kept: Sequence[int]) -> bool:
    """Tell whether every step refers only to steps that are kept."""
    inside = set(kept)
    return all(program.steps[index].uses() <= inside for index in kept)
