"""What is put around the rules, the checks and the teardown of a machine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from desvelo.errors import StepLimitReached
from desvelo.failure import Deadlock, Failure, Hang
from desvelo.machine.builtin import BuiltInRules

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine

MACHINERY = frozenset(
    {
        "at_rest",
        "check_all_invariants",
        "come_to_rest",
        "conclude",
        "initialized",
        "interleave",
        "is_possible",
        "journal",
        "maker_of",
        "run_check",
        "run_in_world",
        "start_operation",
        "world",
    }
)
"""Names that a machine of a user cannot have for anything of its own."""


def is_at_rest(one: Any) -> bool:
    """Tell whether an invariant looks only when nothing is in flight."""
    return getattr(one.function, "_desvelo_at_rest", False)


def vars_of(cls: type) -> list[Any]:
    """Return every attribute of a class and its bases."""
    return [value for base in cls.__mro__ for value in vars(base).values()]


def recording(function: Callable[..., Any], *, initial: bool) -> Callable[..., Any]:
    """Record each call of a rule as a step of the program."""

    @functools.wraps(function)
    def step(self: ConcurrentMachine, **arguments: Any) -> Any:
        __tracebackhide__ = True
        self.journal.program.record(function.__name__, arguments, initial=initial)
        if not hasattr(BuiltInRules, function.__name__):
            self.journal.own_steps += 1
        index = len(self.journal.program.results) - 1
        result = function(self, **arguments)
        self.journal.program.results[index] = result
        return result

    step._desvelo_recording = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark
    return step


def naming(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember which invariant runs, so that a failing one can be written as a step."""

    @functools.wraps(function)
    def check(self: ConcurrentMachine) -> Any:
        __tracebackhide__ = True
        self.journal.checking = function.__name__
        result = function(self)
        self.journal.checking = ""
        return result

    return check


def looking_after_steps(machine: ConcurrentMachine) -> None:
    """Let the checks look after each step of pasted code, as they do when Hypothesis takes it.

    What they remember from one look to the next is part of what fails.
    """
    begun = under_way = False

    def followed(step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def both(*values: Any, **arguments: Any) -> Any:
            nonlocal begun, under_way
            __tracebackhide__ = True
            if under_way:  # a rule that calls another one is one step
                return step(*values, **arguments)
            if not begun:
                begun = True
                machine.check_all_invariants()
            under_way = True
            try:
                result = step(*values, **arguments)
            finally:
                under_way = False
            machine.check_all_invariants()
            return result

        return both

    for one in machine.setup_state().rules:
        step = getattr(machine, one.function.__name__, None)
        if step is not None:
            setattr(machine, one.function.__name__, followed(step))


def concluding(teardown: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let a machine's own teardown run first, and conclude in any case."""

    @functools.wraps(teardown)
    def both(self: ConcurrentMachine) -> None:
        try:
            teardown(self)
        finally:
            self.conclude()

    return both


def stuck(what: str) -> Failure:
    """Return the failure of a part of the machine that waits for ever."""
    return Failure(
        "deadlock", Deadlock(f"{what}() waits for something that never comes"), what, what
    )


def endless(what: str, limit: StepLimitReached) -> Failure:
    """Return the failure of a part of the machine that never ends."""
    return Failure("hang", Hang(f"{what}() never ends: {limit}"), what, what)
