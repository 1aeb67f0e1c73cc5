"""From one user to many: which steps, and where more users bring no more throughput."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from desvelo.measure.result import LoadStep

ENOUGH = 0.9
"""The knee is the first step with this share of the highest throughput of all."""


def knee_of(steps: Sequence[LoadStep]) -> int | None:
    """Return the index of the step from which on throughput does not grow any more.

    None while the last step may still have been on the way up. Beyond the knee more users wait
    longer for the same throughput (the asymptotic bounds of Denning and Buzen, "The Operational
    Analysis of Queueing Network Models", 1978).

    >>> from desvelo.measure.result import Latency
    >>> def steps(*rates):
    ...     return [LoadStep(1, 0, 1, 1, 0, rate, Latency(0, 0, ())) for rate in rates]
    >>> knee_of(steps(100, 190, 410, 480, 500, 490)), knee_of(steps(100, 190, 410))
    (3, None)
    """
    if not steps:
        return None
    enough = ENOUGH * max(step.throughput for step in steps)
    found = next(index for index, step in enumerate(steps) if step.throughput >= enough)
    return found if found < len(steps) - 1 else None


def ramp(
    planned: Sequence[int], most: int, steps: Sequence[LoadStep], over: Callable[[], bool]
) -> Iterator[int]:
    """Yield numbers of users: those planned, then more until ``steps`` show a knee.

    >>> list(ramp((1, 2, 5), 100, [], over=lambda: False))
    [1, 2, 5, 10, 20, 50, 100]
    """
    users = 0
    for users in planned:
        if over():
            return
        yield users
    while knee_of(steps) is None and not over():
        users = after(users)
        if users > most:
            return
        yield users


def after(users: int) -> int:
    """Return the next number of 1, 2, 5, 10, 20, 50, and so on.

    >>> after(5), after(20), after(64)
    (10, 50, 100)
    """
    size = 1
    while True:
        for digit in (1, 2, 5):
            if digit * size > users:
                return digit * size
        size *= 10
