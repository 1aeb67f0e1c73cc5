"""The program of a machine as code: the steps, as somebody would write them down."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from desvelo.machine.bridge import as_text
from desvelo.machine.program import Earlier, Program, Step

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine


def as_code(machine: type[Any], program: Program, checking: str = "") -> list[str]:
    """Return the lines that take the steps of a program; they run when pasted.

    ``checking`` is the invariant that fails after the last step, if one does.

    >>> class Empty: ...
    >>> as_code(Empty, Program([Step("settle", {})]), "is_sound")
    ['state = Empty()', 'state.settle()', 'state.is_sound()', 'state.teardown()']
    """
    referred = sorted(set().union(*(step.uses() for step in program.steps)))
    made: dict[int, str] = {index: f"pending_{n}" for n, index in enumerate(referred)}
    lines = [f"state = {machine.__name__}()"]
    for index, step in enumerate(program.steps):
        if _says_nothing(step):
            continue
        call = f"state.{step.rule}({_arguments(step, made)})"
        lines.append(f"{made[index]} = {call}" if index in made else call)
    if checking:
        lines.append(f"state.{checking}()")
    return [*lines, "state.teardown()"]


def not_code(lines: Sequence[str]) -> str | None:
    """Return the first line that is not Python, because a value in it has no such form.

    >>> not_code(["state.settle()", "state.put(item=<object object at 0x…>)"])
    'state.put(item=<object object at 0x…>)'
    """
    for line in lines:
        try:
            ast.parse(line)
        except SyntaxError:
            return line
    return None


def _says_nothing(step: Step) -> bool:
    """Tell whether a step only says what holds without it: plain order, no randomness drawn."""
    return step.rule == "interleave" and step.arguments == {"plan": {"policy": "fifo", "seed": 0}}


def _arguments(step: Step, names: dict[int, str]) -> str:
    given = dict(step.arguments)
    deviations = given.pop("deviations", None)
    if deviations:
        given["deviations"] = deviations
    if step.rule == "inject" and not given.get("variant"):
        given.pop("variant", None)
    return ", ".join(f"{name}={_written(value, names)}" for name, value in given.items())


def _written(value: Any, names: dict[int, str]) -> str:
    if isinstance(value, Earlier):
        item = "" if value.item is None else f".values[{value.item}]"
        return f"{names[value.step]}{item}"
    if isinstance(value, list) and value and all(isinstance(item, Earlier) for item in value):
        return f"[{', '.join(_written(item, names) for item in value)}]"
    return as_text(value)


def without_checks(lines: Sequence[str], machine: type[ConcurrentMachine]) -> list[str]:
    """Leave out the lines that only look: what fails is no part of the program."""
    checks = {f"state.{one.function.__name__}()" for one in machine.setup_state().invariants}
    return [line for line in lines if line not in checks]


def first_change(recorded: Sequence[str], now: Sequence[str]) -> str | None:
    """Say which step of a program is another one now, or nothing."""
    for number, (one, two) in enumerate(zip(recorded, now, strict=False), 1):
        if one != two:
            return f"step {number} was `{one}` and is `{two}` now"
    if len(recorded) != len(now):
        return f"the program had {len(recorded)} steps and has {len(now)} now"
    return None
