"""Short cycles of a graph of dependencies, by what they are made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from desvelo.oracle.dependencies import Dependency

Cycle = tuple[Dependency, ...]


class Graph:
    """Dependencies between transactions; of several of one kind and pair the first stands."""

    def __init__(self, edges: Iterable[Dependency]) -> None:
        self._out: dict[int, list[Dependency]] = {}
        for edge in edges:
            self._out.setdefault(id(edge.before), []).append(edge)
        self._component = self._strong_components()

    def cycles(self, begin: Callable[[Dependency], bool], *, go_on: str) -> Iterator[Cycle]:
        """Return, for each edge that begins one, a shortest cycle, the shortest first.

        ``go_on`` says what follows: ``strong`` is ``ww`` and ``wr`` only; ``apart`` lets no two
        ``rw`` meet; ``any`` is every edge.
        """
        found = []
        for edges in self._out.values():
            for edge in edges:
                if begin(edge) and self._in_cycle(edge):
                    way = self._way_back(edge, go_on)
                    if way is not None:
                        found.append((edge, *way))
        return iter(sorted(found, key=len))

    def _in_cycle(self, edge: Dependency) -> bool:
        return self._component[id(edge.before)] == self._component.get(id(edge.after))

    def _way_back(self, edge: Dependency, go_on: str) -> list[Dependency] | None:
        """Search breadth first from where an edge leads to where it comes from."""
        goal = id(edge.before)
        start = (id(edge.after), edge.kind == "rw")
        came: dict[tuple[int, bool], tuple[tuple[int, bool], Dependency] | None] = {start: None}
        queue = deque([start])
        while queue:
            node, after_rw = queue.popleft()
            for next_ in self._out.get(node, ()):
                if next_.kind == "rw" and (go_on == "strong" or (go_on == "apart" and after_rw)):
                    continue
                if not self._in_cycle(next_):
                    continue
                state = (id(next_.after), go_on == "apart" and next_.kind == "rw")
                meets = go_on == "apart" and next_.kind == "rw" and edge.kind == "rw"
                if state[0] == goal and not meets:
                    return [*_path(came, (node, after_rw)), next_]
                if state not in came:
                    came[state] = ((node, after_rw), next_)
                    queue.append(state)
        return None

    def _strong_components(self) -> dict[int, int]:
        """Number the strongly connected components (Tarjan 1972, without recursion)."""
        numbers: dict[int, int] = {}
        low: dict[int, int] = {}
        component: dict[int, int] = {}
        stack: list[int] = []
        for root in list(self._out):
            if root in numbers:
                continue
            work: list[tuple[int, Iterator[Dependency]]] = [(root, iter(self._out[root]))]
            numbers[root] = low[root] = len(numbers)
            stack.append(root)
            while work:
                node, edges = work[-1]
                for edge in edges:
                    after = id(edge.after)
                    if after not in numbers:
                        numbers[after] = low[after] = len(numbers)
                        stack.append(after)
                        work.append((after, iter(self._out.get(after, ()))))
                        break
                    if after not in component:
                        low[node] = min(low[node], numbers[after])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[node])
                    if low[node] == numbers[node]:
                        while True:
                            member = stack.pop()
                            component[member] = numbers[node]
                            if member == node:
                                break
        return component


def _path(came: dict[Any, Any], state: Any) -> Sequence[Dependency]:
    path: list[Dependency] = []
    while came[state] is not None:
        state, edge = came[state]
        path.append(edge)
    return path[::-1]
