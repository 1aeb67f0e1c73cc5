"""How the decisions of a machine are taken: by a drawn policy, or by deviations drawn one by one.

While Hypothesis generates, an example draws a policy and its seed, and nothing per decision.
When an example has failed, what the policy decided is written as deviations that belong to the
operations they concern; those are drawn as ordinary values, and shrink with the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from desvelo.machine.bridge import Choice, number_of_choices
from desvelo.machine.options import options
from desvelo.schedule.decisions import MAX_HOLD, Decider, Schedule
from desvelo.schedule.policy import Scale, make_policy
from desvelo.world.kernel import Kernel

KINDS = (
    "arrive",
    "deliver",
    "connect",
    "accept",
    "writable",
    "job",
    "answer",
    "timer",
    "split",
    "ready",
    "pause",
    "wake",
    "spawn",
    "call",
    "preempt",
    "cancel",
)
"""Kinds of decisions in the order in which they are drawn; the order is part of saved choices."""

POLICIES = ("fifo", "mix", "delays", "random_walk", "pct", "sticky", "mix", "mix")
"""What an example may draw; the first means explicit deviations, so that shrinking ends there."""

PLAIN = "plain"
"""Plain order as a policy: as `fifo`, but without deviations."""

MOST_DEVIATIONS = 24
Explicit = tuple[str, int, int]
"""A deviation of one operation: kind, ordinal, value."""


class MachineDecider:
    """Takes decisions by the policy of the example, or by the deviations written in its steps."""

    def __init__(self) -> None:
        self.policy: Decider | None = None
        self.cancellable = True
        """Whether operations may be cancelled by a deviation."""
        self._explicit: dict[tuple[str, str, int], int] = {}
        self._ordinals: dict[tuple[str, str], int] = {}
        self._cancelled: set[str] = set()

    def may_cancel(self, actor: str) -> bool:
        """Tell whether a step says that its operation is cancelled."""
        return self.cancellable and self.policy is None and actor in self._cancelled

    def add(self, actor: str, deviations: Iterable[Explicit]) -> None:
        """Take over the deviations of one operation."""
        for kind, ordinal, value in deviations:
            self._explicit[actor, kind, ordinal] = value
            if kind == "cancel":
                self._cancelled.add(actor)

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Ask the policy when there is one, else look the decision up."""
        if self.policy is not None:
            return self.policy.decide(kind, actor, limit)
        if not self._explicit:
            return 0
        key = (actor, kind)
        ordinal = self._ordinals.get(key, 0)
        self._ordinals[key] = ordinal + 1
        return min(self._explicit.get((actor, kind, ordinal), 0), limit - 1)


@dataclass(frozen=True)
class Rerun:
    """How machines are to be made while a recorded program runs again."""

    decider: Decider
    seed: int
    trace: bool = False
    kernel: Kernel | None = None


_rerun: Rerun | None = None


def current_rerun() -> Rerun | None:
    """Return how to run again, when a program is being run again."""
    return _rerun


_traced = False
_kernel: Kernel | None = None


def draws_are_traced() -> bool:
    """Tell whether examples that Hypothesis draws are to keep a trace."""
    return _traced


def kernel_of_draws() -> Kernel | None:
    """Return the kernel whose sockets drawn examples are to have, if any."""
    return _kernel


@contextmanager
def tracing_draws(wanted: bool, kernel: Kernel | None = None) -> Iterator[None]:
    """Let drawn examples keep a trace for a while, or have kernel sockets."""
    global _traced, _kernel
    before, _traced, _kernel = (_traced, _kernel), wanted, kernel
    try:
        yield
    finally:
        _traced, _kernel = before


@contextmanager
def rerunning(rerun: Rerun) -> Iterator[None]:
    """Make machines for a second run of a program."""
    global _rerun  # noqa: PLW0603 - the constructor of a machine takes no arguments
    before, _rerun = _rerun, rerun
    try:
        yield
    finally:
        _rerun = before


@dataclass
class Places:
    """Where in the choice sequence the schedule is drawn, so that it can be put there."""

    plan: tuple[int, int] | None = None
    """Start and length of what `plans` drew."""
    operations: list[tuple[int, int]] = field(default_factory=list)
    """Start and length of the deviations of each operation, in order."""
    rules: list[tuple[int, int]] = field(default_factory=list)
    """Where each rule was drawn, and its number."""
    handles: list[tuple[int, list[int]]] = field(default_factory=list)
    """Where each value of a bundle was drawn, and the steps that made those in it, newest first."""


@st.composite
def _one_deviation(draw: st.DrawFn) -> Explicit | None:
    if not draw(st.booleans()):
        return None
    kind = KINDS[draw(st.integers(0, len(KINDS) - 1))]
    return (kind, draw(st.integers(0, 4095)), draw(st.integers(1, MAX_HOLD - 1)))


def _draw_deviations(draw: st.DrawFn) -> list[Explicit]:
    found: list[Explicit] = []
    while len(found) < MOST_DEVIATIONS:
        one = draw(_one_deviation())
        if one is None:
            break
        found.append(one)
    return found


def encode(deviations: Sequence[Explicit]) -> list[Choice]:
    """Return the choices that `operation_deviations` draws as the given deviations."""
    choices: list[Choice] = []
    for kind, ordinal, value in deviations[:MOST_DEVIATIONS]:
        choices += [True, KINDS.index(kind), min(ordinal, 4095), max(1, min(value, MAX_HOLD - 1))]
    if len(deviations) < MOST_DEVIATIONS:
        choices.append(False)
    return choices


@st.composite
def operation_deviations(draw: st.DrawFn) -> list[Explicit]:
    """Draw the deviations of one operation; none while a policy decides."""
    machine: Any = draw(st.runner())
    start = number_of_choices()
    found = _draw_deviations(draw) if machine.journal.policy_name == POLICIES[0] else []
    machine.journal.places.operations.append((start, number_of_choices() - start))
    return found


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw how an example is interleaved: the policy, its seed, its scale."""
    machine: Any = draw(st.runner())
    start = number_of_choices()
    index = draw(st.integers(0, len(POLICIES) - 1))
    steps = (40, 120, 400)[draw(st.integers(0, 2))]
    seed = draw(st.integers(0, 2**32 - 1))
    name = POLICIES[index]
    world = _draw_deviations(draw) if name == POLICIES[0] else []
    machine.journal.places.plan = (start, number_of_choices() - start)
    if name == POLICIES[0]:
        return {"policy": name, "seed": seed, **({"world": world} if world else {})}
    chosen = options().policy or name
    return {"policy": PLAIN if chosen == "fifo" else chosen, "seed": seed, "steps": steps}


def splice(
    choices: Sequence[Choice], places: Places, operations: Sequence[str], schedule: Schedule
) -> list[Choice]:
    """Return choices of the same program with the policy replaced by explicit deviations.

    ``operations`` are the names in the order in which their steps were drawn.
    """
    return splice_with_shifts(choices, places, operations, schedule)[0]


def splice_with_shifts(
    choices: Sequence[Choice], places: Places, operations: Sequence[str], schedule: Schedule
) -> tuple[list[Choice], Callable[[int], int]]:
    """Do as `splice`, and return where a position of the old choices is in the new ones."""
    by_actor: dict[str, list[Explicit]] = {}
    for deviation in schedule.deviations:
        key = deviation.key
        by_actor.setdefault(key.actor, []).append((key.kind, key.ordinal, deviation.value))
    inserts: list[tuple[int, int, list[Choice]]] = []
    if places.plan is not None:
        start, length = places.plan
        world = encode(by_actor.get("world", []))
        inserts.append((start, length, [0, choices[start + 1], schedule.seed, *world]))
    for name, (start, length) in zip(operations, places.operations, strict=False):
        inserts.append((start, length, encode(by_actor.get(name, []))))
    spliced = list(choices)
    for start, number in places.rules:
        # Under a policy a rule that the example left out stood for the next one.
        spliced[start] = number
    for start, length, new in sorted(inserts, key=lambda entry: -entry[0]):
        spliced[start : start + length] = new

    def moved(position: int) -> int:
        return position + sum(
            len(new) - length for start, length, new in inserts if start < position
        )

    return spliced, moved


def policy_for(name: str, seed: int, steps: int, *, threads: bool = False) -> Decider | None:
    """Return a fresh policy, or nothing for explicit deviations."""
    if name == POLICIES[0]:
        return None
    scale = Scale(decisions=steps, polls=steps, arrivals=2, threads=threads)
    return make_policy("fifo" if name == PLAIN else name, seed, scale)
