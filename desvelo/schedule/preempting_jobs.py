"""Interrupting the jobs of an asyncio program, beside whatever its policy does otherwise."""

from __future__ import annotations

from desvelo.schedule.decisions import ORDERS, THREAD_KINDS, Decider
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.surprises import UNTIL_IDLE

OFTEN = 0.3
"""Of the executions of a program with jobs: how many interrupt them in the midst of their lines.

The others take the decisions that they took before there were switch points in jobs.
"""


def is_coin(seed: int) -> bool:
    """Tell whether the execution of a seed interrupts jobs.

    >>> sum(is_coin(seed) for seed in range(1000))
    300
    """
    return seed * 7 % 10 < OFTEN * 10


class PreemptingJobs:
    """A policy for the event loop, and one or a few pauses of threads with a chance of their own.

    What the policy draws for the loop is what it draws without this. Delay-bounded scheduling
    (Emmi, Qadeer, Rakamaric, POPL 2011) in two executions of three, a random walk in the third.
    """

    preempts = True

    def __init__(self, plain: Decider, seed: int, scale: Scale) -> None:
        self._plain = plain
        self._random = random = Source(seed ^ 0x5EED)
        self._scale = scale
        self._step = -1
        self._keep = random.choice((0.7, 0.9)) if random.random() < 1 / 3 else 1.0
        count = 0 if self._keep < 1 else random.choice((1, 1, 2, 3))
        self._places = {random.randrange(max(scale.points, 1)) for _ in range(count)}

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Ask the policy for the loop's decisions, and draw those about threads."""
        if kind not in THREAD_KINDS and kind != "preempt":
            return self._plain.decide(kind, actor, limit)
        if kind in ("wake", "spawn", "call"):
            return self._hold(limit) if self._random.random() < 0.05 else 0
        self._step += 1
        if self._step not in self._places and self._random.random() < self._keep:
            return 0
        return self._random.randrange(1, limit) if kind == "preempt" else self._hold(limit)

    def _hold(self, limit: int) -> int:
        random = self._random
        roll = random.random()
        if roll < 0.25:
            return min(random.randrange(1, ORDERS), limit - 1)
        if roll < 0.85:
            polls = int(2 ** (random.random() * max(self._scale.polls, 4).bit_length()))
            return min(polls * ORDERS, limit - 1)
        return min(UNTIL_IDLE * ORDERS, limit - 1)
