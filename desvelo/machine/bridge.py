"""The few things of Hypothesis that are used beyond its public names, all in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

from hypothesis import seed as hypothesis_seed
from hypothesis.control import current_build_context, currently_in_test_context
from hypothesis.database import ExampleDatabase, choices_to_bytes
from hypothesis.errors import HypothesisException, StopTest, UnsatisfiedAssumption
from hypothesis.vendor.pretty import RepresentationPrinter

from desvelo.failure import without_addresses

Choice = bool | int | float | str | bytes


def choices_so_far() -> tuple[Choice, ...]:
    """Return the choices that Hypothesis has drawn in the example that runs now."""
    return tuple(current_build_context().data.choices)


def number_of_choices() -> int:
    """Return how many choices have been drawn so far; 0 outside of an example."""
    return len(current_build_context().data.choices) if currently_in_test_context() else 0


def in_example() -> bool:
    """Tell whether Hypothesis is running an example now."""
    return currently_in_test_context()


def is_control(error: BaseException) -> bool:
    """Tell whether an exception is Hypothesis' own way out of an example, not a failure."""
    return isinstance(error, (StopTest, UnsatisfiedAssumption, HypothesisException))


def failures() -> tuple[type[BaseException], ...]:
    """Return what Hypothesis takes for a failing test: exceptions, and ``pytest.fail``."""
    outcomes = sys.modules.get("_pytest.outcomes")
    return (Exception,) if outcomes is None else (Exception, outcomes.Failed)


class TimedOut(KeyboardInterrupt):
    """Carries the end of a test's time limit out of a loop that would go on with other tasks."""


def guarded(call: Callable[[], Any], *, asynchronous: bool) -> Any:
    """Let the end of a time limit leave the loop at once, before other tasks block it again.

    The call is made when the task takes its first step: one that is cancelled before has made no
    coroutine that nobody awaits.
    """
    return _guarded(call) if asynchronous else call()


async def _guarded(call: Callable[[], Any]) -> Any:
    try:
        return await call()
    except BaseException as error:
        if is_time_out(error):
            raise TimedOut(str(error)) from error
        raise


def is_time_out(error: BaseException) -> bool:
    """Tell whether pytest-timeout ended the test: then no example may be run again."""
    return not isinstance(error, Exception) and "pytest-timeout" in str(error)


def as_text(value: Any) -> str:
    """Write a value on one line as Hypothesis prints it: sets in order, no addresses.

    >>> as_text({"b", "a"}), as_text(object())
    ("{'a', 'b'}", '<object object at 0x…>')
    """
    text = StringIO()
    printer = RepresentationPrinter(text)
    printer.max_width = 1 << 30
    printer.pretty(value)
    printer.flush()
    return without_addresses(" ".join(text.getvalue().splitlines()))


class OneExample(ExampleDatabase):
    """A database that knows exactly one example, whatever it is asked for.

    An example that it offers as ``shrunk`` is only run again; another is shrunk, too.
    Hypothesis tells the two apart by the key under which it finds them.
    """

    def __init__(self, choices: Sequence[Choice], *, shrunk: bool) -> None:
        self._bytes = choices_to_bytes(choices)
        self._shrunk = shrunk

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """Return the example."""
        if self._shrunk != key.endswith(b".secondary"):
            yield self._bytes

    def save(self, key: bytes, value: bytes) -> None:
        """Keep nothing."""

    def delete(self, key: bytes, value: bytes) -> None:
        """Delete nothing."""


def choices_to_json(choices: Sequence[Choice]) -> list[list[Any]]:
    """Write choices as typed plain values; floats in hexadecimal, so that nothing is lost.

    >>> choices_to_json([True, 3, 0.5, "a", b"x"])
    [['bool', True], ['int', 3], ['float', '0x1.0000000000000p-1'], ['str', 'a'], ['bytes', '78']]
    """
    rows: list[list[Any]] = []
    for choice in choices:
        if isinstance(choice, bool):
            rows.append(["bool", choice])
        elif isinstance(choice, int):
            rows.append(["int", choice])
        elif isinstance(choice, float):
            rows.append(["float", choice.hex()])
        elif isinstance(choice, bytes):
            rows.append(["bytes", choice.hex()])
        else:
            rows.append(["str", choice])
    return rows


_READERS: dict[str, Callable[[Any], Choice]] = {
    "bool": bool,
    "int": int,
    "float": float.fromhex,
    "str": str,
    "bytes": bytes.fromhex,
}


def choices_from_json(rows: Iterable[Sequence[Any]]) -> list[Choice]:
    """Read what `choices_to_json` wrote; raises ValueError on an unknown type.

    >>> choices_from_json([["float", "0x1.8p+1"], ["bool", False]])
    [3.0, False]
    """
    choices = []
    for kind, value in rows:
        if kind not in _READERS:
            raise ValueError(f"unknown type of choice {kind!r}")
        choices.append(_READERS[kind](value))
    return choices


@contextmanager
def seeded(machine: type, seed: int | None) -> Iterator[None]:
    """Give a machine class a seed for the time of one run, as ``@seed`` does."""
    name = "_hypothesis_internal_use_seed"
    before = machine.__dict__.get(name)
    if seed is None:
        yield
        return
    hypothesis_seed(seed)(machine)
    try:
        yield
    finally:
        if before is None:
            delattr(machine, name)
        else:
            setattr(machine, name, before)


__all__ = [
    "Choice",
    "OneExample",
    "as_text",
    "choices_from_json",
    "choices_so_far",
    "choices_to_json",
    "in_example",
    "is_control",
    "number_of_choices",
    "seeded",
]
