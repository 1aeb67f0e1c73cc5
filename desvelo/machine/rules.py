"""``@operation`` and ``@at_rest``: the two decorators that a machine adds to Hypothesis' own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis.errors import InvalidDefinition
from hypothesis.stateful import Bundle, invariant, rule
from hypothesis.strategies import SearchStrategy

from desvelo.machine.plan import Explicit, operation_deviations

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.world import Operation

F = TypeVar("F", bound=Callable[..., Any])

PENDING: Bundle[Any] = Bundle("pending")
"""The handles of operations that were started."""


def operation(**strategies: SearchStrategy[Any]) -> Callable[[Callable[..., Any]], Any]:
    """Make a method an operation: the rule *starts* it and returns a handle.

    The keyword arguments are strategies or bundles, as for Hypothesis' ``@rule``. The method
    may be async or plain; it runs concurrently with all other operations, as the schedule
    decides. Its handle goes into the bundle ``pending``.
    """
    if "deviations" in strategies:
        raise InvalidDefinition(
            "@operation: the argument name 'deviations' is taken; it holds the schedule of the call"
        )

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def start(
            self: ConcurrentMachine, deviations: list[Explicit] | None = None, **arguments: Any
        ) -> Operation:
            return self.start_operation(function, arguments, deviations)

        start._desvelo_operation = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark
        given: dict[str, Any] = {**strategies, "deviations": operation_deviations()}
        return rule(target=PENDING, **given)(start)

    return decorate


def at_rest() -> Callable[[Callable[..., Any]], Any]:
    """Make a method a check that runs whenever nothing is in flight; it may be async.

    Nothing is in flight when every operation has ended and no message, job or step is under
    way. The check is an invariant of Hypothesis and is printed with the steps.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if getattr(function, "hypothesis_stateful_rule", None) is not None:
            raise InvalidDefinition(
                f"{function.__qualname__} is used with both @at_rest and a rule, which is not "
                "allowed: a check that runs at rest is not a step"
            )

        @functools.wraps(function)
        def check(self: ConcurrentMachine) -> None:
            __tracebackhide__ = True
            if self.at_rest:
                self.run_check(function)

        check._desvelo_at_rest = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark
        return invariant()(check)

    return decorate
