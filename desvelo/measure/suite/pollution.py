"""Which test pollutes which: a test that fails after others and not alone, narrowed down.

Delta debugging (Zeller and Hildebrandt 2002) over the tests that ran before it, each try in a
fresh process: what is left is the shortest list of tests after which it still fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

FailsAfter = Callable[[Sequence[str]], bool]
"""Whether the victim fails when it runs after these tests, in this order, in a new process."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``polluters`` is the shortest list found; ``alone`` that the victim fails without any."""

    victim: str
    polluters: tuple[str, ...] = ()
    alone: bool = False
    tries: int = 0
    complete: bool = True
    """Whether the search came to its end, and was not cut off by its limit of tries."""

    def __str__(self) -> str:
        if self.alone:
            return f"{self.victim} fails alone too, at least sometimes"
        if not self.polluters:
            return f"{self.victim} failed, and did not when the same tests were run again"
        if set(self.polluters) == {self.victim}:
            return f"{self.victim} pollutes itself: it fails when it is run again in one process"
        after = " and ".join(one for one in self.polluters)
        rest = "" if self.complete else " (perhaps fewer: the search was cut off)"
        return f"{self.victim} fails after {after}{rest}, and passes alone"


def narrow(
    victim: str,
    before: Sequence[str],
    fails_after: FailsAfter,
    most_tries: int = 60,
    over: Callable[[], bool] = bool,
) -> Verdict:
    """Return the fewest of the tests ``before`` after which the victim fails.

    The search ends early after so many tries, or when ``over()`` says so.

    >>> narrow("d", ["a", "b", "c"], lambda tests: "b" in tests).polluters
    ('b',)
    >>> str(narrow("d", ["a", "b", "c"], lambda tests: {"a", "c"} <= set(tests)))
    'd fails after a and c, and passes alone'
    """
    search = _Search(fails_after, most_tries, over)
    if search.fails([]):
        return Verdict(victim, alone=True, tries=search.tries)
    if not search.fails(before):
        return Verdict(victim, tries=search.tries)
    kept, parts = list(before), 2
    while len(kept) > 1 and not search.exhausted:
        smaller = search.smaller(kept, parts)
        if smaller is not None:
            kept, parts = smaller
        elif parts < len(kept):
            parts = min(parts * 2, len(kept))
        else:
            break
    return Verdict(victim, tuple(kept), tries=search.tries, complete=not search.exhausted)


class _Search:
    def __init__(self, fails_after: FailsAfter, most_tries: int, over: Callable[[], bool]) -> None:
        self._fails_after = fails_after
        self._most_tries = most_tries
        self._over = over
        self.tries = 0

    @property
    def exhausted(self) -> bool:
        return self.tries >= self._most_tries or self._over()

    def fails(self, tests: Sequence[str]) -> bool:
        self.tries += 1
        return self._fails_after(tests)

    def smaller(self, tests: list[str], parts: int) -> tuple[list[str], int] | None:
        """Return a part that is enough, or all without a part, and how to go on cutting."""
        size = -(-len(tests) // parts)
        pieces = [tests[start : start + size] for start in range(0, len(tests), size)]
        for piece in pieces:
            if len(pieces) > 1 and not self.exhausted and self.fails(piece):
                return piece, 2
        for place in range(len(pieces)):
            rest = [one for at, piece in enumerate(pieces) if at != place for one in piece]
            if len(pieces) > 2 and not self.exhausted and self.fails(rest):
                return rest, max(parts - 1, 2)
        return None
