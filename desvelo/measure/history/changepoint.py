"""Where in a history did a number move to another level, and stay there?

Binary segmentation: the cut with the largest difference of means, in units of the noise within
both parts, is believed when shuffling the same values hardly ever makes one as large (Matteson
and James 2014 judge their divergence so); then both parts are searched.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from desvelo.measure.history.student import two_sided

LEAST_PART = 3
"""Runs on each side of a change: one slow run is an outlier, not a new level."""
_SHUFFLES = 999


def change_points(values: Sequence[float], chance: float = 0.01, seed: int = 0) -> list[int]:
    """Return the indices at which a new level begins, in order.

    ``chance`` is the probability of naming one where the level never moved. The same values give
    the same answer: the shuffles are seeded.

    >>> change_points([10, 11, 10, 9, 10, 11, 20, 21, 19, 20, 21, 20])
    [6]
    >>> change_points([10, 11, 10, 9, 10, 30, 11, 10, 9, 10])
    []
    """
    logs = [math.log(max(one, 1e-12)) for one in values]
    generator = random.Random(seed)
    found: list[int] = []
    parts = [(0, len(logs))]
    while parts:
        start, end = parts.pop()
        cut = _believed_cut(logs[start:end], chance, generator)
        if cut is not None:
            found.append(start + cut)
            parts += [(start, start + cut), (start + cut, end)]
    return sorted(found)


def _believed_cut(values: list[float], chance: float, generator: random.Random) -> int | None:
    strength, cut = _strongest_cut(values)
    # The best of several cuts is by chance at least as strong as a single one: what is not even
    # rare for that need not be shuffled.
    if cut is None or two_sided(strength, len(values) - 2) > chance:
        return None
    shuffled = list(values)
    allowed = int(chance * (_SHUFFLES + 1)) - 1
    as_strong = 0
    for _ in range(_SHUFFLES):
        generator.shuffle(shuffled)
        as_strong += _strongest_cut(shuffled)[0] >= strength
        if as_strong > allowed:
            return None
    return cut


def _strongest_cut(values: Sequence[float]) -> tuple[float, int | None]:
    """Return |t| of the best cut, and its index."""
    count, total = len(values), math.fsum(values)
    squares = math.fsum(one * one for one in values)
    best, place = 0.0, None
    head = 0.0
    for index in range(1, count - LEAST_PART + 1):
        head += values[index - 1]
        if index < LEAST_PART:
            continue
        tail = total - head
        apart = abs(head / index - tail / (count - index))
        within = squares - head * head / index - tail * tail / (count - index)
        noise = math.sqrt(max(within, 1e-12) / (count - 2) * (1 / index + 1 / (count - index)))
        if apart / noise > best:
            best, place = apart / noise, index
    return best, place
