"""How large a surprise is, once a policy has decided that there is to be one."""

from __future__ import annotations

from random import Random

from desvelo.schedule.decisions import HOLD_KINDS, ORDERS
from desvelo.schedule.scale import Scale

UNTIL_IDLE = 300
"""Polls that mean "until nothing else can happen": an idle loop lets it through before."""


def drawn_value(random: Random, kind: str, limit: int, scale: Scale) -> int:
    """Draw the value of one deviation, never 0."""
    if kind not in HOLD_KINDS:
        return random.randrange(1, limit)
    return max(1, min(drawn_hold(random, kind, scale), limit - 1))


def drawn_hold(random: Random, kind: str, scale: Scale) -> int:
    """Draw how long an event is held back.

    A request can come at any moment of another's life, so half of the arrivals are spread
    evenly over the polls of the plain run; the rest are log-uniform, for what matters is often
    near the beginning, or wait until all else is done. Other events mostly trade places within
    a poll or miss a few.
    """
    roll = random.random()
    place = random.randrange(ORDERS) if random.random() < 0.25 else 0
    if kind == "arrive":
        if roll < 0.5:
            polls = random.randint(1, max(scale.polls, 2))
        elif roll < 0.9:
            polls = int(2 ** (random.random() * 6))
        else:
            polls = max(UNTIL_IDLE, 2 * scale.polls)
    elif roll < 0.25:
        return random.randrange(1, ORDERS)
    elif roll < 0.6:
        polls = int(2 ** (random.random() * 5))
    elif roll < 0.8:
        polls = random.randint(1, max(scale.polls, 2))
    else:
        polls = max(UNTIL_IDLE, 2 * scale.polls)
    return polls * ORDERS + place
