"""The step that injects a fault: which one may come, in which variant, and how it strikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from desvelo.fault.fault import MOST_VARIANTS, Fault, is_over, still_allowed

if TYPE_CHECKING:
    from desvelo.machine.builtin import BuiltInRules
    from desvelo.world import Operation


def allowed(machine: BuiltInRules) -> list[int]:
    """Return the numbers of the faults that may still come in this program."""
    return still_allowed(machine.faults, machine.most_faults, machine.journal.injected)


@st.composite
def fault_numbers(draw: st.DrawFn) -> int:
    """Draw the number of a fault that may still come."""
    machine: Any = draw(st.runner())
    number = draw(st.integers(0, max(len(machine.faults) - 1, 0)))
    possible = allowed(machine)
    return next((one for one in possible if one >= number), possible[0] if possible else number)


def variants() -> st.SearchStrategy[int]:
    """Draw which variant of a fault comes; the first is the simplest."""
    return st.integers(0, MOST_VARIANTS - 1)


def strike_of(
    machine: BuiltInRules, fault: Fault, handle: Operation, variant: int, name: str
) -> Callable[[], None]:
    """Return what a fault does when its moment has come.

    Nothing, when the operation is over, or as long as what the last one needed is at work: a
    server that has not come back cannot crash.
    """
    world = machine.world

    def strike() -> None:
        if handle.done or not is_over(world, fault):
            return
        fault.inflict(world, handle, variant)
        if fault.needs:
            world.at_work[fault.needs] = world.start(name, getattr(machine, fault.needs))

    return strike
