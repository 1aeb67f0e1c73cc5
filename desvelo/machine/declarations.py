"""What a machine declares in its class attributes, looked at when the class is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hypothesis.errors import InvalidDefinition

from desvelo.errors import UsageError
from desvelo.fault.fault import are_faults, wrong_with
from desvelo.misspelt import misspelt
from desvelo.oracle.leaks import allowed_leaks
from desvelo.scenario import GRANULARITIES, RUNTIMES
from desvelo.world import MODES, World

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine

_OF_THE_MACHINE = {"self", "recorder", "trace", "kernel", "runtime"}
_WORLD_OPTIONS = inspect.signature(World.__init__).parameters.keys() - _OF_THE_MACHINE


def check_declarations(machine: type[ConcurrentMachine]) -> None:
    """Raise `InvalidDefinition` for an attribute that cannot be, with what it may be.

    >>> from desvelo import ConcurrentMachine
    >>> class Shop(ConcurrentMachine):
    ...     leaks = "no"
    Traceback (most recent call last):
    hypothesis.errors.InvalidDefinition: Shop.leaks is 'no'; it must be True or False
    """
    for name, (fits, what) in _DECLARATIONS.items():
        value = getattr(machine, name)
        if not fits(value):
            raise InvalidDefinition(f"{machine.__name__}.{name} is {value!r}; it must be {what}")
    tests = {name: fits for name, (fits, _) in _DECLARATIONS.items()}
    if wrong := misspelt(machine, tests | {"faults": are_faults, "most_faults": _is_count}):
        raise InvalidDefinition(f"{machine.__name__}: {wrong}")
    try:
        allowed_leaks(machine.allow_leaks, machine.__name__)
    except UsageError as refused:
        raise InvalidDefinition(str(refused)) from None
    # Whether it has the functions that its faults need is known when it runs: a subclass may.
    check_faults(machine, lambda name: bool)


def check_faults(
    machine: type[ConcurrentMachine], functions: Callable[[str], Any] | None = None
) -> None:
    """Raise for a declaration of faults that cannot be."""
    of_class = functions or (lambda name: getattr(machine, name, None))
    wrong = wrong_with(machine.faults, machine.most_faults, of_class)
    if wrong:
        raise InvalidDefinition(f"{machine.__name__}: {wrong}")


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are_errors(value: Any) -> bool:
    classes = value if isinstance(value, tuple) else (value,)
    return all(isinstance(one, type) and issubclass(one, BaseException) for one in classes)


def _are_world_options(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() <= _WORLD_OPTIONS
        and _is_seconds(value.get("latency", 0))
        and _is_count(value.get("max_polls", 1))
        and isinstance(value.get("network") or {}, Mapping)
        and value.get("granularity", "line") in GRANULARITIES
        and value.get("mode", MODES[0]) in MODES
    )


_DECLARATIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "runtime": (lambda value: value in RUNTIMES, f"one of {', '.join(RUNTIMES)}"),
    "cancellable": (_is_truth, "True or False, for all of its operations"),
    "most_cancels": (_is_count, "a whole number from 1"),
    "longest_elapse": (_is_seconds, "a number of virtual seconds from 0"),
    "expected_errors": (_are_errors, "a tuple of classes of exceptions"),
    "leaks": (_is_truth, "True or False"),
    "world_options": (
        _are_world_options,
        "a dict of latency (seconds), max_polls (a whole number from 1), network and servers",
    ),
}
"""Of each attribute a test of its value, and what it may be."""
