"""A leak, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

from desvelo.failure import Leak, without_addresses
from desvelo.resources.creation import Line

_MORE = (
    "what is left open on purpose is let pass by allow=(KIND,) or, in a test, by "
    '@pytest.mark.allow_leak("KIND", reason="...")'
)


@dataclass(frozen=True)
class LeakedResource:
    """One resource that was left open."""

    kind: str
    """What `allow` and ``allow_leak`` call it: ``session``, ``task``, ``port``, ..."""
    what: str
    how: str
    """What was not done, or what became of it."""
    made_at: tuple[Line, ...]
    """Lines of the user's own code that led to it, innermost first: file, number, function."""
    made: str
    """The same in words."""
    age: float
    """Seconds since then, of virtual time in a simulated world."""
    kept_by: str = ""
    """Who refers to it; empty when nobody does."""
    by: str = ""
    """Who made it, in a simulated world: an operation, ``setup()`` or ``teardown()``."""

    def lines(self) -> list[str]:
        """Say it in two or three lines."""
        said = [f"{self.kind}: {self.what}" + (f": {self.how}" if self.how else "")]
        by = f" by {self.by}" if self.by else ""
        said.append(f"  made{by} at {self.made}, {self.age:.2f} s ago")
        if self.kept_by:
            said.append(f"  kept by {self.kept_by}")
        return [without_addresses(line) for line in said]


class ResourceLeak(Leak):
    """Resources were left open; ``leaks`` has them one by one."""

    def __init__(self, leaks: tuple[LeakedResource, ...], during: str = "the block") -> None:
        self.leaks = leaks
        super().__init__(text_of(leaks, during))


def text_of(leaks: tuple[LeakedResource, ...], during: str) -> str:
    """Say what leaked, where it was made, how old it is, and what can be done."""
    count = len(leaks)
    noun = "resource was" if count == 1 else "resources were"
    lines = [f"{count} {noun} left open by {during}:"]
    for number, leak in enumerate(leaks, 1):
        first, *rest = leak.lines()
        lines.append(f"{number}. {first}")
        lines += [f"   {line}" for line in rest]
    lines.append(f"({_MORE})")
    return "\n".join(lines)
