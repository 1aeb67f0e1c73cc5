"""The mix: each execution draws one policy and its parameter from a portfolio."""

from __future__ import annotations

from collections.abc import Callable

from desvelo.schedule.decisions import Decider
from desvelo.schedule.delays import Delays
from desvelo.schedule.pct import Pct
from desvelo.schedule.pos import Pos
from desvelo.schedule.random_walk import RandomWalk
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.sticky import Sticky
from desvelo.schedule.threaded import ThreadDelays, ThreadPct, ThreadPos, ThreadWalk

Make = Callable[[Source, Scale], Decider]


def delays(random: Source, count: int, scale: Scale) -> Decider:
    """Return delay-bounded scheduling as the program wants it."""
    return (ThreadDelays if scale.threads else Delays)(random, count, scale)


def pct(random: Source, depth: int, scale: Scale) -> Decider:
    """Return probabilistic concurrency testing as the program wants it."""
    return (ThreadPct if scale.threads else Pct)(random, depth, scale)


def random_walk(random: Source, keep: float, scale: Scale) -> Decider:
    """Return the random walk as the program wants it."""
    return ThreadWalk(random, keep) if scale.threads else RandomWalk(random, keep, scale)


def sticky(random: Source, stay: float, scale: Scale) -> Decider:
    """Return the sticky walk; among threads it is the random walk with more inertia."""
    return ThreadWalk(random, stay) if scale.threads else Sticky(random, stay, scale)


def pos(random: Source, scale: Scale) -> Decider:
    """Return partial order sampling as the program wants it."""
    return ThreadPos(random) if scale.threads else Pos(random, scale)


PORTFOLIO: tuple[tuple[int, str, Make], ...] = (
    (5, "delays", lambda random, scale: delays(random, random.choice((1, 1, 2, 2, 3, 4)), scale)),
    (2, "pct", lambda random, scale: pct(random, random.choice((1, 2, 3, 3)), scale)),
    (
        2,
        "random_walk",
        lambda random, scale: random_walk(random, random.choice((0.5, 0.75, 0.9)), scale),
    ),
    (1, "sticky", lambda random, scale: sticky(random, random.choice((0.75, 0.9)), scale)),
)
"""What the mix draws from, with its share: no policy alone is good at shallow and deep bugs."""

FOR_THREADS: tuple[tuple[int, str, Make], ...] = (
    (3, "delays", PORTFOLIO[0][2]),
    (2, "pct", lambda random, scale: pct(random, random.choice((2, 3, 3, 4)), scale)),
    (2, "pos", pos),
    (4, "random_walk", lambda random, scale: ThreadWalk(random)),
    (1, "sticky", PORTFOLIO[3][2]),
)
"""The same for threads, where every line is a switch point."""

FEW = 64
"""Decisions of a program of threads that is short."""

FOR_FEW: tuple[tuple[int, str, Make], ...] = (
    (1, "delays", PORTFOLIO[0][2]),
    (1, "pct", FOR_THREADS[1][2]),
    (1, "pos", pos),
    (7, "random_walk", lambda random, scale: ThreadWalk(random, 0.4)),
)
"""The same for short ones: a walk that changes threads a little more often than a uniform one
comes by every order of so few lines soon."""


def mixed(random: Source, scale: Scale) -> Decider:
    """Draw a policy of the portfolio."""
    portfolio = PORTFOLIO
    if scale.threads:
        portfolio = FOR_FEW if scale.decisions <= FEW else FOR_THREADS
    draw = random.pick(0, sum(share for share, _, _ in portfolio))
    for share, _, make in portfolio:
        draw -= share
        if draw < 0:
            return make(random, scale)
    raise AssertionError("the shares do not add up")
