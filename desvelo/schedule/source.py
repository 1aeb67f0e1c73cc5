"""The random source of one execution, some of whose draws are spread evenly over many."""

from __future__ import annotations

from random import Random

_STEPS = (0xD1B54A32D192ED03, 0xABC98388FB8FAC03, 0x8CB92BA72F3D8DD7, 0x6C8E9CF570932BD5)
"""Odd multipliers near the inverse powers of the plastic number's kin, times two to the 64th."""


class Source(Random):
    """Seeded chance, and `even` draws that leave no gaps from one seed to the next.

    An exploration takes consecutive seeds. The draws that matter most (which policy, which
    decision, how late an arrival) follow an additive sequence in several dimensions (Kronecker;
    Roberts, *The Unreasonable Effectiveness of Quasirandom Sequences*, 2018): each seed alone
    is as good as random, and together they cover the range without the repetitions of chance.

    >>> from itertools import pairwise
    >>> draws = sorted(Source(seed).even(0) for seed in range(10))
    >>> max(later - earlier for earlier, later in pairwise(draws)) < 0.2
    True
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._number = seed

    def even(self, dimension: int) -> float:
        """Return a number from 0 to below 1, the same one each time."""
        return (self._number * _STEPS[dimension] % 2**64) / 2**64

    def pick(self, dimension: int, count: int) -> int:
        """Return an even draw as an index below ``count``."""
        return min(int(self.even(dimension) * count), count - 1)
