"""How large a program is: what a policy knows before the execution that it decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The measures of the plain run, which a policy spreads its surprises over.

    ``decisions`` were asked in it, the first ``arrivals`` of them for the starts of operations;
    it lasted ``polls`` iterations of the loop. With ``any_order`` the steps of tasks are
    decided as well. With ``threads`` it is a world of threads, whose switch points are
    decisions; in an asyncio world with jobs ``points`` is how many their threads pass.

    >>> Scale(decisions=12, polls=30, arrivals=2)
    Scale(decisions=12, polls=30, arrivals=2, any_order=False, threads=False, points=0)
    """

    decisions: int = 1
    polls: int = 16
    arrivals: int = 0
    any_order: bool = False
    threads: bool = False
    points: int = 0

    @classmethod
    def of(cls, size: Scale | int) -> Scale:
        """Return a scale; a mere number is how many decisions there are."""
        return size if isinstance(size, Scale) else cls(decisions=size)
