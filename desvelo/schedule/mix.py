"""The mix: each execution draws one policy and its parameter from a portfolio."""

from __future__ import annotations

from collections.abc import Callable

from desvelo.schedule.decisions import Decider
from desvelo.schedule.delays import Delays
from desvelo.schedule.pct import Pct
from desvelo.schedule.random_walk import RandomWalk
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.sticky import Sticky

Make = Callable[[Source, Scale], Decider]

PORTFOLIO: tuple[tuple[int, str, Make], ...] = (
    (5, "delays", lambda random, scale: Delays(random, random.choice((1, 1, 2, 2, 3, 4)), scale)),
    (2, "pct", lambda random, scale: Pct(random, random.choice((1, 2, 3, 3)), scale)),
    (
        2,
        "random_walk",
        lambda random, scale: RandomWalk(random, random.choice((0.5, 0.75, 0.9)), scale),
    ),
    (1, "sticky", lambda random, scale: Sticky(random, random.choice((0.75, 0.9)), scale)),
)
"""What the mix draws from, with its share: no policy alone is good at shallow and deep bugs."""


def mixed(random: Source, scale: Scale) -> Decider:
    """Draw a policy of the portfolio."""
    draw = random.pick(0, sum(share for share, _, _ in PORTFOLIO))
    for share, _, make in PORTFOLIO:
        draw -= share
        if draw < 0:
            return make(random, scale)
    raise AssertionError("the shares do not add up")
