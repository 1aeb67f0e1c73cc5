"""Linearizability: is there an order of the calls, true to time, that the model allows?

Herlihy and Wing (ACM Transactions on Programming Languages and Systems 12, 1990): every call takes
effect at one moment between its invocation and its response. A call that never returned, was
cancelled or failed may have taken effect or not, at any moment after it began. What concerns
different keys is judged apart, which is enough (P-compositionality: Horn and Kroening, FORTE 2015;
Lowe, Concurrency and Computation 29, 2017) and much faster. The search is in
`desvelo.oracle.orders`.

A model is a class with a method for each operation, which takes the same arguments and returns
what the operation must return; one that raises says that the call is not possible in this state.
It may also have

- ``partition(name, arguments)``: the key that a call concerns, or ``None`` when it concerns all;
- ``state()``: what tells one state from another; without it everything that the object holds does;
- ``expected_errors``: classes of errors that are answers. A call that ended in one has happened,
  and the model must raise the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from desvelo.failure import Failure
from desvelo.oracle.invocation import Invocation
from desvelo.oracle.lanes import draw
from desvelo.oracle.model import Model
from desvelo.oracle.orders import History
from desvelo.world import Operation
from desvelo.world.values import describe_value

MOST_STATES = 200_000
"""Pairs of state and set of calls that a check looks at before it answers ``unknown``."""


@dataclass(frozen=True)
class Verdict:
    """What a check says of a history, and why."""

    outcome: str
    """``ok``, ``illegal``, or ``unknown`` when the budget was spent before an answer."""
    states: int = 0
    """How many pairs of state and set of calls were looked at: the same in every run."""
    order: tuple[Invocation, ...] = ()
    """When ok: the calls that have taken effect, in an order that explains all, key by key."""
    prefix: tuple[Invocation, ...] = ()
    """When illegal: the calls that had begun when the first result came that no order explains.

    Those of them that returned later stand here as pending.
    """
    culprit: Invocation | None = None
    """When illegal: the call with that result."""
    instead: tuple[str, ...] = ()
    """What the model answers that call instead, in the orders that explain all before it."""
    key: Any = None
    """The key that the calls of the prefix concern, if the model has a partition."""
    keys: int = 1
    """How many keys there are, each judged apart."""

    @property
    def ok(self) -> bool:
        """Whether an order was found."""
        return self.outcome == "ok"

    def summary(self) -> str:
        """Say it in one line."""
        if self.outcome == "ok":
            return f"an order of {len(self.order)} calls explains their results"
        if self.culprit is None:
            return f"no answer after {self.states} states"
        who = f" of {self.culprit.client}" if self.culprit.client else ""
        return f"no order of the calls explains {self.culprit.describe()}{who}{self._instead()}"

    def explain(self) -> str:
        """Return the summary and, of an illegal history, the drawing of its smallest prefix."""
        return "\n".join([self.summary(), *self.lines()])

    def lines(self) -> list[str]:
        """Return the drawing of the smallest prefix that cannot be ordered."""
        if not self.prefix:
            return []
        about = f" of {describe_value(self.key)}" if self.key is not None else ""
        lanes = draw(self.prefix, self.culprit)
        return [
            f"The shortest part of the history{about} that no order explains, time goes right:",
            *(f"  {line}" for line in lanes),
        ]

    def _instead(self) -> str:
        answers = [one.removeprefix("➜ ") for one in self.instead if one.startswith("➜ ")]
        errors = [one.removeprefix("✗ ") for one in self.instead if one.startswith("✗ ")]
        said = " or ".join(answers[:4]) + (" or other values" if len(answers) > 4 else "")
        if answers:
            return f": the model says {said}" + (
                " in every order" if len(self.instead) == 1 else ""
            )
        return f": the model refuses it ({' or '.join(errors[:2])})" if errors else ""


class NotLinearizable(AssertionError):
    """No order of the calls explains their results."""


def check(
    history: Sequence[Invocation], model: Callable[[], Any], *, most_states: int = MOST_STATES
) -> Verdict:
    """Judge a history by a sequential model.

    Calls of operations that the model does not have are left out. Raises `UsageError` when the
    model or a call is malformed.

    >>> class Register:
    ...     def __init__(self):
    ...         self.value = 0
    ...
    ...     def write(self, value):
    ...         self.value = value
    ...
    ...     def read(self):
    ...         return self.value
    >>> verdict = check(
    ...     [
    ...         Invocation("anna", "write", {"value": 1}, 0, 9),
    ...         Invocation("ben", "read", {}, 1, 3, result=1),
    ...         Invocation("ben", "read", {}, 4, 6, result=0),
    ...     ],
    ...     Register,
    ... )
    >>> print(verdict.explain())
    no order of the calls explains read() ➜ 0 of ben: the model says 1 in every order
    The shortest part of the history that no order explains, time goes right:
      anna  ├╌╌╌╌╌  write(value=1) under way
      ben    ├┤     read() ➜ 1
      ben      ├┤   read() ➜ 0   ✗
    """
    judge = Model(model)
    parts = judge.partition([call for call in history if judge.has(call)])
    left, spent, order, unknown = most_states, 0, [], False
    for key, calls in parts:
        part = History(judge, calls)
        found = part.search(left)
        spent += found.tried
        left -= found.tried
        if found.outcome == "illegal":
            length = part.shortest_illegal(found, most_states)
            return _illegal(part.prefix(length), key, spent, most_states, len(parts))
        unknown = unknown or found.outcome == "unknown"
        order += [calls[index] for index in found.order]
    if unknown:
        return Verdict("unknown", spent, keys=len(parts))
    return Verdict("ok", spent, tuple(order), keys=len(parts))


def _illegal(prefix: History, key: Any, spent: int, budget: int, keys: int) -> Verdict:
    culprit = prefix.returns[-1]
    told = prefix.search(budget, open_call=culprit).told
    return Verdict(
        "illegal",
        spent,
        prefix=tuple(prefix.calls),
        culprit=prefix.calls[culprit],
        instead=tuple(told),
        key=key,
        keys=keys,
    )


# what machines use


@dataclass(frozen=True)
class Call:
    """An operation of a machine's history: what was called, with what, and its handle."""

    name: str
    arguments: dict[str, Any]
    handle: Operation

    def invocation(self) -> Invocation:
        """View it as a call of a history, each operation a client of its own."""
        handle = self.handle
        if not handle.done:
            return Invocation(handle.name, self.name, self.arguments, handle.begun_at)
        return Invocation(
            handle.name,
            self.name,
            self.arguments,
            handle.begun_at,
            handle.ended_at,
            handle.result,
            handle.error,
        )

    def describe(self) -> str:
        """Write the call and its outcome."""
        return self.invocation().describe()


def check_history(calls: Sequence[Call], model: Callable[[], Any]) -> Failure | None:
    """Return a failure when no order of the calls is allowed by the model.

    A check that runs out of its budget accuses nobody.
    """
    verdict = check([one.invocation() for one in calls if one.handle.begun_at >= 0], model)
    if verdict.outcome != "illegal":
        return None
    error = NotLinearizable(verdict.explain())
    return Failure("not-linearizable", error, "model", "", tuple(verdict.lines()))


def linearizable(calls: Sequence[Call], model: Callable[[], Any]) -> bool:
    """Tell whether some order of a machine's calls fits.

    No call may come before one that had ended when it began.
    """
    return check_history(calls, model) is None


__all__ = [
    "Call",
    "Invocation",
    "NotLinearizable",
    "Verdict",
    "check",
    "check_history",
    "linearizable",
]
