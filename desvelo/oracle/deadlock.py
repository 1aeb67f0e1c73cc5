"""Operations that never end: who waits where, for what, and whether they wait for each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from desvelo.errors import StepLimitReached
from desvelo.failure import Deadlock, Failure, Hang, waiting_at
from desvelo.world import Operation, World
from desvelo.world.threads.blocked import holder_of, stands_at, waits_for
from desvelo.world.threads.thread import ControlledThread

MOST_NAMES = 3
"""Names that a headline gives."""


@dataclass(frozen=True)
class _Standing:
    """Where somebody waits, and who has what he waits for, as far as that is known."""

    name: str
    place: str
    what: str = ""
    holder: str = ""

    def told(self) -> str:
        return f"{self.name} waits at {self.place}" + (f" for {self.what}" if self.what else "")


def deadlock(operations: list[Operation], world: World | None = None) -> Failure:
    """Say who waits where when nothing can happen any more."""
    waiting = [operation for operation in operations if not operation.done]
    standing = [_of_operation(operation) for operation in waiting if _has_started(operation)]
    lines = [one.told() for one in standing]
    lines += [f"{one.name} has not started" for one in waiting if not _has_started(one)]
    if world is not None:
        # Threads that the operations started and wait for may be the ones that are stuck.
        named = {operation.name for operation in waiting}
        others = [
            _of_thread(thread.name, thread)
            for thread in world.threads.alive
            if thread.wait is not None
            and thread.name not in named
            and not thread.daemon
            and any(thread.name.startswith(f"{name}>") for name in named)
        ]
        standing += others
        lines += [one.told() for one in others]
        if world.bridge is not None:
            lines += world.bridge.waits()
    circular = wait_for_each_other({one.name: one.holder for one in standing})
    said = "; ".join(lines)
    if len(standing) > 1:
        said = f"{_headline(standing, circular=circular)}: {said}"
    return Failure(
        "deadlock",
        Deadlock(f"nothing can happen any more: {said}"),
        "deadlock",
        waiting[0].name if waiting else "",
        tuple(lines),
        circular=circular,
    )


def wait_for_each_other(holders: dict[str, str]) -> bool:
    """Tell whether all wait for what one of them has: then nobody else could ever help.

    ``holders`` names, for each who waits, the holder of what he waits for, or nobody.

    >>> wait_for_each_other({"a": "b", "b": "a"}), wait_for_each_other({"a": "a"})
    (True, True)
    >>> wait_for_each_other({"a": "b", "b": ""})
    False
    """
    return bool(holders) and all(holder in holders for holder in holders.values())


def hang(
    operations: list[Operation], limit: StepLimitReached, world: World | None = None
) -> Failure:
    """Say who is still running when the bound on iterations is reached."""
    lines = []
    for operation in operations:
        if operation.done:
            continue
        if operation.task is not None:
            lines.append(f"{operation.name} is at {waiting_at(operation.task)}")
        elif operation.thread is not None:
            what = waits_for(operation.thread)
            tail = f" and waits for {what}" if what else ""
            lines.append(f"{operation.name} is at {stands_at(operation.thread)}{tail}")
        else:
            lines.append(f"{operation.name} has not started")
    if world is not None:
        named = {operation.name for operation in operations}
        lines += [
            f"thread {thread.name} is at {stands_at(thread)}"
            for thread in world.threads.alive
            if thread.name not in named and thread.begun
        ]
    return Failure("hang", Hang(f"{limit}: {'; '.join(lines)}"), "hang", "", tuple(lines))


def _has_started(operation: Operation) -> bool:
    return operation.task is not None or operation.thread is not None


def _of_operation(operation: Operation) -> _Standing:
    if operation.task is not None:
        return _Standing(operation.name, waiting_at(operation.task))
    assert operation.thread is not None
    return _of_thread(operation.name, operation.thread)


def _of_thread(name: str, thread: ControlledThread) -> _Standing:
    return _Standing(name, stands_at(thread), waits_for(thread), holder_of(thread))


def _headline(standing: Sequence[_Standing], *, circular: bool) -> str:
    shown = [one.name for one in standing[:MOST_NAMES]]
    if len(standing) > MOST_NAMES:
        shown.append(f"{len(standing) - MOST_NAMES} more")
    return f"{_and(shown)} wait for {'each other' if circular else 'ever'}"


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
