"""Cancellation as a decision: whether, and where, an operation is cancelled.

The decision is asked when an operation begins, and again whenever it has been cancelled; 0 means
never. Otherwise the value is ``polls * ORDERS + place``: how many iterations of the loop later
the cancellation comes, and with a place above 0 after everything else that its poll brings, in
the very poll in which the answer or the lock that was waited for may come. Below `ORDERS` it
comes at once, before the operation has run a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from desvelo.schedule.decisions import ORDERS, Decider
from desvelo.schedule.recorded import Recorded
from desvelo.schedule.source import Source

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

BEFORE_IT_RUNS = 1
"""The value that cancels an operation before its first line."""

Cancels = dict[tuple[str, str, int], int]
"""The cancellations of a schedule, as `Recorded` takes them."""


@dataclass(frozen=True, slots=True)
class Life:
    """How long an operation could be cancelled in one execution.

    ``polls`` are the iterations from its beginning, or from its last cancellation, to its end;
    in those of ``busy`` something else was seen as well, so that before and after differ.
    ``suspensions`` counts how often its own task let others run, its wait for the first line
    included.
    """

    polls: int
    suspensions: int
    busy: frozenset[int] = frozenset()
    begun: int = 0
    """The poll of its beginning."""

    def meets(self, other: Life) -> bool:
        """Tell whether both were under way at some poll."""
        return self.begun < other.begun + other.polls and other.begun < self.begun + self.polls

    def moments(self) -> Iterator[int]:
        """Return the value of each moment at which a cancellation makes a difference.

        >>> list(Life(polls=3, suspensions=2, busy=frozenset({2})).moments())
        [1, 4, 8, 9, 12]
        """
        yield BEFORE_IT_RUNS
        for poll in range(1, self.polls + 1):
            yield poll * ORDERS
            if poll in self.busy:
                yield poll * ORDERS + 1


class Cancelling:
    """Another policy, with some operations cancelled at drawn moments.

    ``names`` are those that may be, all of them when it is ``None``; at most ``most`` times in
    one execution. ``polls`` is how long the plain run takes.
    """

    def __init__(
        self,
        policy: Decider,
        seed: int,
        *,
        names: Collection[str] | None,
        most: int,
        polls: int,
        calls: int,
    ) -> None:
        self._policy = policy
        self._source = Source(seed ^ 0x5CA1AB1E)
        self._names = names
        self._left = most
        self._polls = max(polls, 2)
        self._calls = max(calls, 1)
        self.preempts = bool(getattr(policy, "preempts", False))

    def may_cancel(self, actor: str) -> bool:
        """Tell whether an operation may still be cancelled."""
        return self._left > 0 and (self._names is None or actor in self._names)

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Decide on cancellations, and leave the rest to the other policy."""
        if kind != "cancel":
            return self._policy.decide(kind, actor, limit)
        source = self._source
        # The first to begin must not always be the one.
        if source.random() >= max(1 / self._calls, 0.3):
            return 0
        self._left -= 1
        polls = source.randrange(self._polls) if source.random() < 0.7 else source.randrange(6)
        return max(1, min(polls * ORDERS + source.randrange(2), limit - 1))


class Uncancelled(Recorded):
    """A schedule, plain order by default, in which operations could be cancelled, and none is."""

    def __init__(self, names: Collection[str] | None, others: Cancels | None = None) -> None:
        super().__init__(others or {})
        self._names = names

    def may_cancel(self, actor: str) -> bool:
        """Tell whether an operation could be cancelled."""
        return self._names is None or actor in self._names


@dataclass
class Strike:
    """A cancellation that came: of whom, and at which of its suspension points."""

    actor: str
    suspension: int


@dataclass
class Coverage:
    """At how many of the suspension points that plain order has an operation was cancelled."""

    points: int = 0
    reached: int = 0
    executions: int = 0

    def __str__(self) -> str:
        return (
            f"cancelled at {self.reached} of {self.points} suspension "
            f"point{'' if self.points == 1 else 's'}"
        )


class Sweep:
    """Every cancellation of a program in plain order, one execution for each.

    What others do by hand (a test that cancels after one step, after two, ...), done by the
    plain run's own measure: each operation in turn is cancelled at each of its moments. With
    ``most`` above 1 an operation that goes on after that, because it cleans up, is cancelled
    again at each moment of what is left of its life.

    ``run`` executes a schedule of cancellations and returns what came of it, of which the sweep
    looks at ``lives`` and ``strikes``. With ``moments`` a long life is cancelled at so many
    moments only, spread over it.
    """

    def __init__(self, run: Callable[[Cancels], Any], most: int, moments: int = 1 << 30) -> None:
        self._run = run
        self._most = most
        self._moments = moments
        self.coverage = Coverage()

    def outcomes(self, lives: dict[str, Life], names: Sequence[str]) -> Iterator[Any]:
        """Run, and return, one execution after the other."""
        for name in names:
            if name in lives:
                yield from self._cancelled(name, lives[name])

    def _cancelled(self, name: str, life: Life) -> Iterator[Any]:
        reached: set[int] = set()
        self.coverage.points += life.suspensions
        waiting: list[tuple[tuple[int, ...], Life]] = [((), life)]
        while waiting:
            before, left = waiting.pop(0)
            every = list(left.moments())
            for value in every[:: -(-len(every) // self._moments)]:
                values = (*before, value)
                outcome = self._run({(name, "cancel", n): v for n, v in enumerate(values)})
                self.coverage.executions += 1
                new = {one.suspension for one in outcome.strikes if one.actor == name} - reached
                if not before:
                    self.coverage.reached += len(new)
                    reached |= new
                yield outcome
                if len(values) < self._most and name in outcome.lives:
                    rest = outcome.lives[name]
                    # Its end takes one poll: what takes more is a clean-up that awaits.
                    if rest.polls > 1 and len(outcome.strikes) == len(values):
                        waiting.append((values, rest))
