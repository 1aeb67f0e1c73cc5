"""Probabilistic concurrency testing: random priorities and a few change points."""

from __future__ import annotations

from math import log2

from desvelo.schedule.decisions import HOLD_KINDS, MAX_HOLD, ORDERS
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source


class Pct:
    """Each actor has a random priority, and at ``depth - 1`` change points one falls to the end.

    Burckhardt, Kothari, Musuvathi, Nagarakatte, *A Randomized Scheduler with Probabilistic
    Guarantees of Finding Bugs*, ASPLOS 2010: a bug of depth d among n actors and k steps is
    hit with probability at least ``1 / (n * k ** (d - 1))``.

    Priorities are told by holds. An event waits one *rank* for each actor above its own, and a
    rank is longer than the whole run: so it is seen when nothing above it can happen, which is
    the paper's rule. Deviations from the paper:

    - a step is a decision, its number k that of the plain run, and the priority that counts is
      the one at the moment when an event becomes possible, not when it could be seen;
    - in stock asyncio most steps of a task cannot be preempted, for the ready queue keeps its
      order, and "until nothing above can happen" would leave little but serial runs. So there
      a rank is short as often as long: an actor of low priority lags behind by some polls.
      And what a preemption means there is that somebody else arrives in the midst of a life:
      change points are drawn from polls as well as from decisions, and one that is a poll
      lets the next waiting operation through at that poll;
    - a change point that meets the sending of a message cuts it, for nobody can be preferred
      there; timers are left alone: virtual time passes when the loop is idle.

    >>> policy = Pct(Source(4), depth=1, scale=Scale(decisions=20, arrivals=2))
    >>> sorted(policy.decide("arrive", name, 65536) > 0 for name in "ab")
    [False, True]
    """

    def __init__(self, random: Source, depth: int, scale: Scale) -> None:
        self._random = random
        self._scale = scale
        actors = max(scale.arrivals, 1)
        self._order = [float(rank) for rank in random.sample(range(actors), actors)]
        self._ranks: dict[str, float] = {}
        self._changes: dict[int, float] = {}
        self._landings: list[int] = []
        self._step = -1
        longest = MAX_HOLD // ORDERS // (actors + depth + 2)
        self._rank = min(max(4 * scale.polls, 64), longest)
        """One rank in polls: more than the run has, as long as all ranks fit."""
        if not scale.any_order and random.random() < 0.75:
            self._rank = int(2 ** (random.random() * log2(max(scale.polls, 2) + 1)))
        first = 0 if scale.any_order else scale.arrivals
        steps = max(scale.decisions - first, 0)
        polls = 0 if scale.any_order or scale.arrivals < 2 else max(scale.polls, 2)
        for number in range(depth - 1):
            if polls and (not steps or random.random() < 0.5):
                self._landings.append(random.randint(1, polls))
            else:
                self._changes[first + random.randrange(max(steps, 1))] = float(actors + number)
        self._landings.sort()

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return a hold that grows with the number of actors above this one."""
        self._step += 1
        changes = self._step in self._changes
        if kind not in HOLD_KINDS:
            return self._random.randrange(1, limit) if changes else 0
        if kind == "timer":
            return 0
        rank = self._rank_of(actor)
        if changes:
            rank = self._ranks[actor] = self._changes[self._step]
        if kind == "arrive":
            return self._arrival(rank, limit)
        above = sum(1 for other in self._ranks.values() if other < rank)
        if changes:
            # Also one that is alone must notice: a timer can be above it.
            above = max(above, 1)
        return min(above * self._rank * ORDERS, limit - 1)

    def _rank_of(self, actor: str) -> float:
        rank = self._ranks.get(actor)
        if rank is None:
            known = len(self._ranks)
            if known < len(self._order):
                rank = self._order[known]
            else:
                rank = self._random.random() * len(self._order)
            self._ranks[actor] = rank
        return rank

    def _arrival(self, rank: float, limit: int) -> int:
        if self._scale.any_order:
            # The steps of its task are held by their own decisions.
            return 0
        above = int(rank)
        if above and above <= len(self._landings):
            return min(self._landings[above - 1] * ORDERS, limit - 1)
        return min(above * self._rank * ORDERS, limit - 1)
