"""What a fault is, how many of them may come, and what is wrong with a list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from desvelo.errors import UsageError

if TYPE_CHECKING:
    from desvelo.world import Operation, World

Strike = Callable[["World", "Operation", int], None]
"""Does what a fault does: to an operation of a world, in the variant of this number."""

MOST_VARIANTS = 8
"""Variants that a fault may have at most."""


@dataclass(frozen=True)
class Fault:
    """A named thing that goes wrong for one operation.

    ``strike`` is called with the world, the operation and the number of a variant, at the moment
    that the schedule decides, in the world. A fault with several ``variants`` is drawn with a
    number below that and shrinks to variant 0. ``text`` says what happens, for stories, with the
    operation's name in place of ``{}``; it may be a tuple of one for each variant. Raises
    `UsageError` for what cannot be.

    >>> Fault("gremlin", lambda world, operation, variant: None).at_most(2)
    fault.gremlin.at_most(2)
    """

    name: str
    strike: Strike
    text: str | tuple[str, ...] = ""
    variants: int = 1
    most: int | None = None
    """How often it may strike in one program or execution; any number of times without one."""
    needs: str = ""
    """The function that a machine or a scenario must have to allow it."""

    def __post_init__(self) -> None:
        if not callable(self.strike):
            raise UsageError(
                f"{self!r}: strike is {self.strike!r}; it must be a function of the world, the "
                "operation and the number of a variant"
            )
        if not _is_count(self.variants, least=1) or self.variants > MOST_VARIANTS:
            raise UsageError(
                f"{self!r} has {self.variants!r} variants; it must be 1 to {MOST_VARIANTS}"
            )
        if isinstance(self.text, tuple) and len(self.text) != self.variants:
            raise UsageError(f"{self!r} has {self.variants} variants, but {len(self.text)} texts")

    def __repr__(self) -> str:
        return f"fault.{self.name}" + (f".at_most({self.most})" if self.most is not None else "")

    def at_most(self, count: int) -> Self:
        """Return the same fault, allowed so many times in one program or execution.

        Raises `UsageError` for a number that cannot be.
        """
        if not _is_count(count, least=1):
            raise UsageError(f"{self!r}.at_most({count!r}): the number must be 1 or more")
        return replace(self, most=count)

    def inflict(self, world: World, operation: Operation, variant: int) -> None:
        """Strike an operation, and say so in the trace."""
        world.note("fault", operation.name, f"fault: {self.describe(operation.name, variant)}")
        self.strike(world, operation, variant)

    def describe(self, operation: str, variant: int = 0) -> str:
        """Say what happens to an operation.

        >>> Fault("gremlin", lambda *_: None, "something nibbles at {}").describe("ask-1")
        'something nibbles at ask-1'
        """
        text = self.text[variant] if isinstance(self.text, tuple) else self.text
        return text.format(operation) if text else self.name


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def still_allowed(faults: Sequence[Fault], most: int | None, injected: Sequence[str]) -> list[int]:
    """Return which faults may come now, by number, when those of the given names have come.

    >>> one, two = Fault("one", lambda *_: None).at_most(1), Fault("two", lambda *_: None)
    >>> still_allowed((one, two), None, ["one"]), still_allowed((one, two), 1, ["two"])
    ([1], [])
    """
    if most is not None and len(injected) >= most:
        return []
    return [
        number
        for number, fault in enumerate(faults)
        if fault.most is None or injected.count(fault.name) < fault.most
    ]


def is_over(world: World, fault: Fault) -> bool:
    """Tell whether what a fault of this kind needed has ended, if it came before."""
    before = world.at_work.get(fault.needs)
    return before is None or before.done


def are_faults(value: Any) -> bool:
    """Tell whether something is a fault, or lists faults."""
    listed = value if isinstance(value, (tuple, list)) else [value]
    return bool(listed) and all(isinstance(one, Fault) for one in listed)


def wrong_with(faults: Any, most: Any, functions: Callable[[str], Any]) -> str:
    """Say in one sentence what is wrong with a declaration of faults, or return nothing.

    ``functions`` returns the function of some name that the declaring class or module has.

    >>> wrong_with((len,), None, {}.get)
    'faults has <built-in function len>, which is no fault; list those of desvelo.fault'
    """
    if isinstance(faults, Fault):
        return f"faults is {faults!r}; it must be a tuple: faults = ({faults!r},)"
    if isinstance(faults, (str, bytes)) or not isinstance(faults, Iterable):
        return f"faults is {faults!r}; it must be a tuple of those in desvelo.fault"
    listed = list(faults)
    for one in listed:
        if not isinstance(one, Fault):
            return f"faults has {one!r}, which is no fault; list those of desvelo.fault"
        if one.needs and not callable(functions(one.needs)):
            return f"faults has {one!r}, which needs a function {one.needs}(); write one"
    names = [one.name for one in listed]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return f"faults has fault.{twice} twice; to limit how often it comes use at_most()"
    if most is not None and not _is_count(most, least=0):
        return f"most_faults is {most!r}; it must be a whole number, 0 or more"
    return ""
