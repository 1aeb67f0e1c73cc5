"""The policies: how the decisions of one execution are drawn.

A policy is made anew for each execution from a seeded random source and an estimate of how
many decisions there will be. It answers one decision at a time; it never sees the future and
keeps no state from one execution to the next, so that a seed is enough to run it again.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from random import Random

from desvelo.errors import UsageError
from desvelo.schedule.decisions import HOLD_KINDS, MAX_HOLD, ORDERS, Decider


class Fifo:
    """No deviation: what stock asyncio does on an idle machine."""

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0."""
        return 0


class Sequential:
    """One operation after the other: each starts when nothing else can happen any more.

    It is how a program would run without any concurrency, and tells a race from a plain bug.
    """

    def __init__(self) -> None:
        self._arrivals = 0

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Hold each arrival back behind all earlier ones."""
        if kind != "arrive":
            return 0
        self._arrivals += 1
        return min((self._arrivals - 1) * 1000 * ORDERS, limit - 1)


def drawn_hold(random: Random, kind: str, limit: int) -> int:
    """Draw how long an event is held: often a little, sometimes until all else is done.

    Arrivals get the widest range, because a request can come at any moment of another's
    life; the rest mostly trade places within a poll or miss a few.
    """
    roll = random.random()
    if kind == "arrive":
        polls = int(2 ** (random.random() * 7)) if roll < 0.85 else 300
    elif roll < 0.3:
        return min(random.randrange(1, ORDERS), limit - 1)
    elif roll < 0.8:
        polls = int(2 ** (random.random() * 5))
    else:
        polls = 300
    return min(polls * ORDERS + (random.randrange(ORDERS) if roll < 0.5 else 0), limit - 1)


class Delays:
    """FIFO with at most ``count`` deviations at drawn places.

    Delay-bounded scheduling (Emmi, Qadeer, Rakamaric, POPL 2011): most real races need one or
    two delays of an otherwise plain schedule.
    """

    def __init__(self, random: Random, count: int, length: int) -> None:
        self._random = random
        self._places = {random.randrange(max(length, 1)) for _ in range(count)}
        self._step = -1

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 except at the drawn places."""
        self._step += 1
        if self._step not in self._places:
            return 0
        if kind in HOLD_KINDS:
            return drawn_hold(self._random, kind, limit)
        return self._random.randrange(limit)


class RandomWalk:
    """Each event is independently held for a geometric number of polls.

    This is the memoryless walk: at every poll each ready event is reported or not with even
    odds.
    """

    def __init__(self, random: Random, keep: float = 0.5) -> None:
        self._random = random
        self._keep = keep

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return a geometric hold, and a rare surprise for the other kinds."""
        random = self._random
        if kind not in HOLD_KINDS:
            return random.randrange(limit) if random.random() < 0.1 else 0
        if kind == "arrive":
            return drawn_hold(random, kind, limit) if random.random() < 0.75 else 0
        if kind == "timer" and random.random() < 0.7:
            return 0
        polls = 0
        while random.random() >= self._keep and polls < 64:
            polls += 1
        return min(polls * ORDERS + random.randrange(ORDERS), limit - 1)


class Sticky:
    """Stay with the same actor with probability ``stay``: long runs, few switches.

    Events of the actor that ran last come at once; those of another wait, on average, for
    ``1 / (1 - stay)`` polls.
    """

    def __init__(self, random: Random, stay: float) -> None:
        self._random = random
        self._stay = stay
        self._current: str | None = None

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 for the actor that ran last, a hold for the others."""
        random = self._random
        if kind not in HOLD_KINDS:
            return random.randrange(limit) if random.random() < 0.05 else 0
        if actor == self._current or self._current is None:
            self._current = actor
            if random.random() < self._stay:
                return 0
        polls = 1
        while random.random() < self._stay and polls < 64:
            polls += 1
        if kind == "arrive":
            polls *= 1 + random.randrange(8)
        elif kind == "timer":
            return 0
        if random.random() < 1 - self._stay:
            self._current = actor
        return min(polls * ORDERS, limit - 1)


class Pct:
    """Probabilistic concurrency testing: random priorities, ``depth - 1`` change points.

    Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010: a bug of depth d among n actors
    and k steps is hit with probability at least ``1 / (n * k ** (d - 1))``. An event of a low
    priority is held until nothing above it can happen. Deviation from the paper: an actor's
    steps are its decisions, and k is the length of the first plain run.
    """

    WAIT = 300 * ORDERS
    """One rank of priority, in hold values: more polls than any actor stays busy."""

    def __init__(self, random: Random, depth: int, length: int) -> None:
        self._random = random
        self._changes = {
            random.randrange(max(length, 1)): rank for rank, _ in enumerate(range(depth - 1), 1)
        }
        self._low = depth
        self._priorities: dict[str, float] = {}
        self._step = -1

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return a hold that grows with the rank of the actor's priority."""
        self._step += 1
        if kind not in HOLD_KINDS or kind == "timer":
            return 0
        priorities = self._priorities
        if actor not in priorities:
            priorities[actor] = 1.0 + self._random.random()
        change = self._changes.get(self._step)
        if change is not None:
            priorities[actor] = -float(change)
        mine = priorities[actor]
        rank = sum(1 for other in priorities.values() if other > mine)
        if mine < 0:
            rank += 8
        return min(rank * self.WAIT, limit - 1)


POLICIES: dict[str, Callable[[Random, int], Decider]] = {
    "fifo": lambda random, length: Fifo(),
    "delays": lambda random, length: Delays(random, random.choice((1, 1, 2, 3, 4)), length),
    "random_walk": lambda random, length: RandomWalk(random, random.choice((0.5, 0.75, 0.9))),
    "sticky": lambda random, length: Sticky(random, random.choice((0.75, 0.9))),
    "pct": lambda random, length: Pct(random, random.choice((1, 2, 3, 4)), length),
}
"""Every policy by the name that options use; each draws its own parameters."""

MIX = ("delays", "pct", "random_walk", "sticky")


def policy_names() -> tuple[str, ...]:
    """Return the names that ``--policy`` takes, ``mix`` first."""
    return ("mix", *POLICIES)


def make_policy(name: str, seed: int, length: int) -> Decider:
    """Return a fresh policy for one execution.

    ``name`` may carry a parameter: ``delays(2)``, ``pct(3)``, ``sticky(0.9)``,
    ``random_walk(0.75)``. ``length`` is the expected number of decisions. Raises `UsageError`
    for a name that does not exist.

    >>> make_policy("pct(3)", seed=1, length=100).decide("arrive", "a", 1000)
    0
    >>> make_policy("ptc", seed=1, length=100)
    Traceback (most recent call last):
        ...
    desvelo.errors.UsageError: no policy is called 'ptc'; did you mean 'pct'? (mix, fifo, delays, random_walk, sticky, pct)
    """
    random = Random(seed)  # noqa: S311 - a schedule must be repeatable, not secret
    if name == "mix":
        return POLICIES[MIX[random.randrange(len(MIX))]](random, length)
    if name in POLICIES:
        return POLICIES[name](random, length)
    base, bracket, argument = name.partition("(")
    if bracket and argument.endswith(")") and base in POLICIES:
        return _with_parameter(name, base, argument[:-1], random, length)
    raise UsageError(_no_such_policy(name))


def _with_parameter(name: str, base: str, argument: str, random: Random, length: int) -> Decider:
    try:
        if base == "delays":
            return Delays(random, int(argument), length)
        if base == "pct":
            return Pct(random, int(argument), length)
        if base == "sticky":
            return Sticky(random, float(argument))
        if base == "random_walk":
            return RandomWalk(random, float(argument))
    except ValueError as error:
        raise UsageError(f"policy {name!r}: {argument!r} is not a number") from error
    raise UsageError(f"policy {name!r}: {base} takes no parameter")


def _no_such_policy(name: str) -> str:
    close = difflib.get_close_matches(name, policy_names(), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no policy is called {name!r}{hint} ({', '.join(policy_names())})"


class Recorded:
    """Plays a written-down schedule: its deviations, and 0 for everything else."""

    def __init__(self, values: dict[tuple[str, str, int], int]) -> None:
        self._values = values
        self._ordinals: dict[tuple[str, str], int] = {}

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return the recorded value of this decision, or 0."""
        key = (actor, kind)
        ordinal = self._ordinals.get(key, 0)
        self._ordinals[key] = ordinal + 1
        return min(self._values.get((actor, kind, ordinal), 0), limit - 1, MAX_HOLD)
