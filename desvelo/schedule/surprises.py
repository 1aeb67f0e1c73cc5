"""How large a surprise is, once a policy has decided that there is to be one."""

from __future__ import annotations

from math import log2
from random import Random

from desvelo.schedule.decisions import HOLD_KINDS, ORDERS, THREAD_KINDS
from desvelo.schedule.scale import Scale

UNTIL_IDLE = 300
"""Polls that mean "until nothing else can happen": an idle loop lets it through before."""


def drawn_value(
    random: Random, kind: str, limit: int, scale: Scale, late: float | None = None
) -> int:
    """Draw the value of one deviation, never 0."""
    if kind not in HOLD_KINDS:
        return random.randrange(1, limit)
    return max(1, min(drawn_hold(random, kind, scale, late), limit - 1))


def drawn_hold(random: Random, kind: str, scale: Scale, late: float | None = None) -> int:
    """Draw how long an event is held back; ``late`` is a number below 1 to draw it by.

    A request can come at any moment of another's life, so half of the arrivals are spread
    evenly over the polls of the plain run; the rest are log-uniform, for what matters is often
    near the beginning, or wait until all else is done. Other events mostly miss a few polls;
    some trade places within their poll.
    """
    if kind in THREAD_KINDS:
        return _drawn_pause(random)
    roll = random.random()
    late = random.random() if late is None else late
    place = random.randrange(ORDERS) if random.random() < 0.15 else 0
    if kind != "arrive" and roll < 0.1:
        return random.randrange(1, ORDERS)
    if roll < 0.6:
        polls = 1 + int(late * max(scale.polls - 1, 1))
    elif roll < 0.9:
        polls = int(2 ** (late * log2(max(scale.polls, 7) + 1)))
    else:
        polls = max(UNTIL_IDLE, 2 * scale.polls)
    return polls * ORDERS + place


def _drawn_pause(random: Random) -> int:
    """Draw how long a thread is held: mostly behind those that are ready, or some polls."""
    roll = random.random()
    if roll < 0.6:
        return random.randrange(1, ORDERS)
    if roll < 0.85:
        return random.randint(1, 8) * ORDERS
    return UNTIL_IDLE * ORDERS
