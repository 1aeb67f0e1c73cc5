"""Faults that the schedule decides on: those of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from desvelo.fault.fault import MOST_VARIANTS, Fault, is_over, still_allowed
from desvelo.schedule.faulting import MAY_FAULT, fault_of

if TYPE_CHECKING:
    from desvelo.world import Operation, World


class Striking:
    """The faults of one execution, at most ``most`` of them.

    ``functions`` returns the function that a fault needs, by its name.
    """

    def __init__(
        self,
        world: World,
        faults: Sequence[Fault],
        most: int,
        functions: Callable[[str], Callable[[], Any]],
    ) -> None:
        self._world = world
        self._faults = faults
        self._most = most
        self._functions = functions
        self._struck: list[str] = []

    def call_of(self, name: str, call: Callable[[], Any]) -> Callable[[], Any]:
        """Return the call of an operation that asks, when it begins, which fault strikes it."""
        if not self._faults:
            return call

        def begin() -> Any:
            self._decide(next(one for one in self._world.operations if one.name == name))
            return call()

        return begin

    def _decide(self, operation: Operation) -> None:
        world, faults = self._world, self._faults
        may: Callable[[str], bool] | None = getattr(world.recorder.policy, MAY_FAULT, None)
        if may is None or not may(operation.name):
            return
        value = world.decide("fault", operation.name, 1 + len(faults) * MOST_VARIANTS)
        if not value:
            return
        number, variant = fault_of(value, len(faults))
        if number not in still_allowed(faults, self._most, self._struck):
            return
        fault = faults[number]
        self._struck.append(fault.name)
        selector = world.selector

        def strike() -> None:
            if operation.done or not is_over(world, fault):
                return
            fault.inflict(world, operation, variant % fault.variants)
            if fault.needs:
                name = f"{fault.needs}-{len(world.operations)}"
                world.at_work[fault.needs] = world.start(name, self._functions(fault.needs))

        world.post("strike", operation.name, lambda: selector.call(strike), unhurried=True)
