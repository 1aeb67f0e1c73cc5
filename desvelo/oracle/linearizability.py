"""Linearizability: is there an order of the calls, true to time, that the model allows?

Wing and Gong (Journal of Parallel and Distributed Computing, 1993) search the orders; Lowe
(Concurrency and Computation, 2017) remembers the pairs of state and set of calls that lead
nowhere. A call that was cancelled or failed may have taken effect or not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from desvelo.failure import Failure
from desvelo.world import Operation
from desvelo.world.jobs import short_repr


@dataclass(frozen=True)
class Call:
    """An operation of a history: what was called, with what, and how it went."""

    name: str
    arguments: dict[str, Any]
    handle: Operation

    @property
    def certain(self) -> bool:
        """Whether it ended with a result: then it has taken effect, once."""
        return self.handle.done and self.handle.error is None

    def describe(self) -> str:
        """Write the call and its outcome."""
        given = ", ".join(
            f"{name}={short_repr(value, 30)}" for name, value in self.arguments.items()
        )
        return f"{self.handle.name}({given}) {self.handle.outcome()}"


class NotLinearizable(AssertionError):
    """No order of the calls explains their results."""


def check_history(calls: Sequence[Call], model: Callable[[], Any]) -> Failure | None:
    """Return a failure when no order of the calls is allowed by the model.

    The model has a method for each operation, with the same arguments, that returns the
    result the operation must have; operations that it does not have are left out.
    """
    example = model()
    judged = [call for call in calls if hasattr(example, call.name) and call.handle.begun_at >= 0]
    if linearizable(judged, model):
        return None
    lines = tuple(call.describe() for call in judged)
    error = NotLinearizable(
        f"no order of {len(judged)} calls explains their results: {'; '.join(lines)}"
    )
    return Failure("not-linearizable", error, "model", "", lines)


def linearizable(calls: Sequence[Call], model: Callable[[], Any]) -> bool:
    """Tell whether some order of the calls fits.

    No call may come before one that had ended when it began.
    """
    count = len(calls)
    everything = frozenset(index for index in range(count) if calls[index].certain)
    dead: set[tuple[frozenset[int], str]] = set()

    def search(done: frozenset[int], state: Any) -> bool:
        if everything <= done:
            return True
        key = (done, repr(vars(state)))
        if key in dead:
            return False
        open_ = [index for index in range(count) if index not in done]
        first_end = min(
            (calls[i].handle.ended_at for i in open_ if calls[i].certain), default=1 << 62
        )
        for index in open_:
            call = calls[index]
            if call.handle.begun_at > first_end:
                continue
            after = copy.deepcopy(state)
            if _allows(after, call) and search(done | {index}, after):
                return True
        dead.add(key)
        return False

    return search(frozenset(), model())


def _allows(model: Any, call: Call) -> bool:
    """Make the call on the model; tell whether the model can give the same result."""
    try:
        result = getattr(model, call.name)(**copy.deepcopy(call.arguments))
    except Exception:
        # In this state the model does not allow it.
        return False
    return not call.certain or bool(result == call.handle.result)
