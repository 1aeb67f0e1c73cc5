"""The search for an order of calls, true to time, that a model allows.

Wing and Gong (Journal of Parallel and Distributed Computing 17, 1993) try the calls that may come
next, one after the other, and go back where the model refuses. Lowe (Concurrency and Computation
29, 2017) remembers each pair of state and set of calls that has been tried, and orders a call no
sooner than some return needs it: the call that returned first is tried first, then what may have
helped it, and last of all what is not known to have happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from desvelo.oracle.invocation import Invocation
from desvelo.oracle.model import REFUSED, Model, StateSpace


@dataclass
class Found:
    """What a search came to."""

    outcome: str
    """``ok``, ``illegal``, or ``unknown`` when the budget was spent before."""
    order: list[int] = field(default_factory=list)
    """Positions of the calls, in an order that the model allows."""
    furthest: int = 0
    """How many returns, in order of time, the best of all orders accounted for."""
    tried: int = 0
    told: dict[str, None] = field(default_factory=dict)
    """What the open call could be answered, in a search for that."""


class History:
    """Calls of one key, with what is concurrent with what."""

    def __init__(self, model: Model, calls: Sequence[Invocation]) -> None:
        self.model = model
        self.calls = calls
        certain = [index for index, call in enumerate(calls) if model.is_certain(call)]
        self.returns = sorted(certain, key=lambda index: (_end(calls[index]), index))
        """The calls that are known to have happened, in the order in which they returned."""

    def prefix(self, count: int) -> History:
        """Return the history as it was at the ``count``-th return.

        What had begun by then and not returned is pending; what began later is not there.
        """
        kept = set(self.returns[:count])
        now = _end(self.calls[self.returns[count - 1]])
        calls = []
        for index, call in enumerate(self.calls):
            if index in kept:
                calls.append(call)
            elif call.begin <= now:
                failed = call.end is not None and call.end <= now and call.error is not None
                calls.append(call if failed else _pending(call))
        return History(self.model, calls)

    def may_come_next(self) -> list[list[int]]:
        """Return, for each return, the calls that may be ordered when it is the next one due."""
        place = {index: position for position, index in enumerate(self.returns)}
        begun = sorted(range(len(self.calls)), key=lambda index: (self.calls[index].begin, index))
        unsure = [index for index in begun if index not in place]
        sure = [index for index in begun if index in place]
        result = []
        open_: list[int] = []
        upto = 0
        for position, due in enumerate(self.returns):
            now = _end(self.calls[due])
            while upto < len(sure) and self.calls[sure[upto]].begin <= now:
                open_.append(sure[upto])
                upto += 1
            open_ = [index for index in open_ if place[index] >= position]
            first = sorted(open_, key=place.__getitem__)
            result.append([*first, *(one for one in unsure if self.calls[one].begin <= now)])
        return result

    def search(self, budget: int, *, open_call: int = -1) -> Found:
        """Look for an order; with ``open_call``, for everything that call may be answered."""
        space = StateSpace(self.model, self.calls, open_call=open_call)
        returns, candidates = self.returns, self.may_come_next()
        found = Found("ok")
        if not returns:
            return found
        seen: set[tuple[int, int]] = set()
        path: list[int] = []
        stack: list[tuple[int, int, int, Iterator[int]]] = [(0, 0, 0, iter(candidates[0]))]
        while stack:
            done, state, due, untried = stack[-1]
            for call in untried:
                if done >> call & 1:
                    continue
                after = space.step(state, call)
                if after == REFUSED:
                    continue
                now = done | 1 << call
                if (now, after) in seen:
                    continue
                if len(seen) >= budget:
                    found.outcome, found.tried = "unknown", len(seen)
                    return found
                seen.add((now, after))
                next_due = due
                while next_due < len(returns) and now >> returns[next_due] & 1:
                    next_due += 1
                found.furthest = max(found.furthest, next_due)
                path.append(call)
                if next_due < len(returns):
                    stack.append((now, after, next_due, iter(candidates[next_due])))
                    break
                if open_call < 0:
                    found.order, found.tried = path, len(seen)
                    return found
                found.told[space.told(after)] = None
                path.pop()
            else:
                stack.pop()
                if path:
                    path.pop()
        found.outcome, found.tried = "illegal", len(seen)
        if open_call >= 0 and not found.told:
            found.told.update((f"✗ {refusal}", None) for refusal in space.refusals)
        return found

    def shortest_illegal(self, found: Found, budget: int) -> int:
        """Return how many returns the smallest prefix has that cannot be ordered.

        What can be ordered can be so at each moment before, so halving finds the moment.
        """
        low, high = found.furthest + 1, len(self.returns)
        while low < high:
            middle = (low + high) // 2
            outcome = self.prefix(middle).search(budget).outcome
            if outcome == "illegal":
                high = middle
            else:
                low = middle + 1
        return high


def _end(call: Invocation) -> float:
    assert call.end is not None
    return call.end


def _pending(call: Invocation) -> Invocation:
    return Invocation(call.client, call.name, call.arguments, call.begin)
