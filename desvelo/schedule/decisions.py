"""What a decision is, and how a schedule is written down: FIFO plus deviations.

Whenever something becomes possible in the world (bytes reach a socket, an operation may
start, a job's answer may be seen, a timer comes near) one *decision* is taken for it. Its
value 0 means what stock asyncio on an idle machine would most plainly do; a larger value is
a larger surprise. A schedule is therefore fully described by its *deviations*: the few
decisions that are not 0, each named by whose it was (actor), what it was about (kind) and
which one of that actor and kind it was (ordinal). Such names survive the removal of other
operations, which makes schedules shrink and replay well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from desvelo.errors import FindingFileError

ORDERS = 4
"""Places an event can take among those of its poll: 0 is first come, first served."""

THREAD_KINDS = frozenset({"pause", "wake", "spawn", "call"})
"""Kinds that hold a thread back: before its next line, when its waiting is over, at its start,
before it calls into an event loop."""

PREEMPTING = frozenset({"pause", "preempt"})
"""Kinds that are asked only where a policy interrupts threads in the midst of their lines."""

HOLD_KINDS = THREAD_KINDS | {
    "arrive", "deliver", "connect", "accept", "writable", "job", "answer", "timer", "ready",
    "cancel", "strike",
}  # fmt: skip
"""Kinds whose value holds an event back: ``value = polls * ORDERS + place in its poll``."""

MAX_HOLD = 1 << 16
"""Largest value of a holding decision; it means "until nothing else can happen"."""

SPLITS = ("whole", "after its first byte", "in halves", "before its last byte", "half accepted")
"""What a ``split`` decision does with the bytes of one send."""


@dataclass(frozen=True, order=True, slots=True)
class Key:
    """The name of one decision: the ``ordinal``-th of ``kind`` that ``actor`` met."""

    actor: str
    kind: str
    ordinal: int

    def __str__(self) -> str:
        return f"{self.actor}/{self.kind}/{self.ordinal}"


@dataclass(frozen=True, slots=True)
class Deviation:
    """A decision other than 0."""

    key: Key
    value: int

    def describe(self) -> str:
        """Say what it does, for a story.

        >>> Deviation(Key("deliver-1", "arrive", 0), 8).describe()
        'deliver-1: its start is held back for 2 polls'
        """
        if self.key.kind in ("pause", "wake"):
            return f"{self.key.actor}: {self._pause()}"
        subject = _SUBJECTS.get(self.key.kind, self.key.kind)
        number = f" #{self.key.ordinal + 1}" if self.key.ordinal else ""
        return f"{self.key.actor}: {subject}{number} {self._effect()}"

    def _effect(self) -> str:
        if self.key.kind == "split":
            how = SPLITS[min(self.value, len(SPLITS) - 1)]
            return f"is cut {how}" if self.value < len(SPLITS) - 1 else f"is only {how}"
        polls, place = divmod(self.value, ORDERS)
        if self.key.kind == "preempt":
            return "is interrupted, and a thread runs"
        if self.key.kind == "timer":
            return f"fires {polls} polls on although the loop is busy" if polls else "fires early"
        if self.key.kind == "cancel":
            return _cancelled(polls, place)
        if self.key.kind == "fault":
            return "strikes it"
        if polls == 0:
            return "comes after the others of its poll"
        if polls >= UNTIL_IDLE:
            return "is held back until nothing else can happen"
        late = ", and then comes last" if place else ""
        return f"is held back for {polls} poll{'s' if polls > 1 else ''}{late}"

    def _pause(self) -> str:
        number = self.key.ordinal + 1
        polls, place = divmod(self.value, ORDERS)
        what = (
            f"is paused at its switch point {number}"
            if self.key.kind == "pause"
            else f"is held back at the end of its wait {number}"
        )
        if polls == 0:
            return f"{what} until those that are ready have run"
        if polls >= UNTIL_IDLE:
            return f"{what} until nothing else can happen"
        late = ", and then comes last" if place else ""
        return f"{what} for {polls} poll{'s' if polls > 1 else ''}{late}"


def _cancelled(polls: int, place: int) -> str:
    if polls == 0:
        return "comes before it has run a line"
    last = ", after the others of its poll" if place else ""
    return f"comes {polls} poll{'s' if polls > 1 else ''} on{last}"


UNTIL_IDLE = 250
"""Polls of a hold that is meant to last until nothing else can happen."""

_SUBJECTS = {
    "arrive": "its start",
    "deliver": "delivery",
    "connect": "its connection",
    "accept": "the acceptance of its connection",
    "writable": "room to write",
    "job": "the start of its job in the executor",
    "answer": "the answer of its job",
    "timer": "its timer",
    "ready": "step",
    "split": "its message",
    "pause": "its thread",
    "wake": "its thread",
    "spawn": "the start of its thread",
    "call": "its call into the event loop",
    "preempt": "the event loop",
    "cancel": "its cancellation",
    "fault": "a fault",
    "strike": "the fault",
}


class Decider(Protocol):
    """Takes the decisions of one execution; policies and replays are deciders."""

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return a value in ``0 <= value < limit`` for this decision of ``actor``."""


class Schedule:
    """FIFO plus deviations: the whole description of how one execution was interleaved.

    >>> plan = Schedule([Deviation(Key("b", "arrive", 0), 4)], seed=7)
    >>> len(plan), plan.to_json()
    (1, {'seed': 7, 'deviations': [['b', 'arrive', 0, 4]]})
    >>> Schedule.from_json(plan.to_json()) == plan
    True
    """

    __slots__ = ("deviations", "seed")

    def __init__(self, deviations: Iterable[Deviation] = (), seed: int = 0) -> None:
        self.deviations: tuple[Deviation, ...] = tuple(deviations)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.deviations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return self.seed == other.seed and self.deviations == other.deviations

    def __hash__(self) -> int:
        return hash((self.seed, self.deviations))

    def __repr__(self) -> str:
        return f"Schedule({list(self.deviations)!r}, seed={self.seed})"

    def values(self) -> dict[tuple[str, str, int], int]:
        """Return the deviations as a look-up by (actor, kind, ordinal)."""
        return {(d.key.actor, d.key.kind, d.key.ordinal): d.value for d in self.deviations}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows = [[d.key.actor, d.key.kind, d.key.ordinal, d.value] for d in self.deviations]
        return {"seed": self.seed, "deviations": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schedule:
        """Read what `to_json` wrote; raises `FindingFileError` on anything else."""
        try:
            rows = [
                Deviation(Key(str(actor), str(kind), int(ordinal)), int(value))
                for actor, kind, ordinal, value in data["deviations"]
            ]
            return cls(rows, seed=int(data["seed"]))
        except (KeyError, TypeError, ValueError) as error:
            raise FindingFileError(f"the schedule is not readable ({error!r})") from error


def keys_of(kinds: Sequence[tuple[str, str]]) -> list[Key]:
    """Name the decisions of a run, given as (kind, actor) in order.

    >>> [str(key) for key in keys_of([("arrive", "a"), ("deliver", "a"), ("deliver", "a")])]
    ['a/arrive/0', 'a/deliver/0', 'a/deliver/1']
    """
    counts: dict[tuple[str, str], int] = {}
    keys = []
    for kind, actor in kinds:
        ordinal = counts.get((kind, actor), 0)
        counts[kind, actor] = ordinal + 1
        keys.append(Key(actor, kind, ordinal))
    return keys


class Recorder:
    """Asks a policy and keeps what was not 0: any run becomes FIFO plus deviations.

    ``kinds`` is the sequence of what was asked, kept only on request (for the check that a
    replay meets the same decisions).
    """

    __slots__ = ("_ordinals", "asked", "deviations", "kinds", "policy")

    def __init__(self, policy: Decider, *, keep_kinds: bool = False) -> None:
        self.policy = policy
        self.asked = 0
        self.deviations: list[Deviation] = []
        self.kinds: list[tuple[str, str]] | None = [] if keep_kinds else None
        self._ordinals: dict[tuple[str, str], int] = {}

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Ask the policy; remember the answer when it deviates from FIFO."""
        self.asked += 1
        key = (actor, kind)
        ordinal = self._ordinals.get(key, 0)
        self._ordinals[key] = ordinal + 1
        if self.kinds is not None:
            self.kinds.append((kind, actor))
        value = self.policy.decide(kind, actor, limit)
        if value:
            self.deviations.append(Deviation(Key(actor, kind, ordinal), value))
        return value

    def schedule(self, seed: int) -> Schedule:
        """Return what was decided, as FIFO plus deviations."""
        return Schedule(self.deviations, seed)
