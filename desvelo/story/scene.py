"""What the steps of a story share: whose row it is, and which part of the trace is the play."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from desvelo.world.trace import Row

SERVER = "server for "
BACKGROUND = "world"
"""The lane of what no operation caused: set-up, tasks of the server, the check."""


def actor_of(lane: str) -> str:
    """Return whose doing a lane is: what a server does for a request is the client's.

    >>> actor_of("server for deliver-1"), actor_of("deliver-1")
    ('deliver-1', 'deliver-1')
    """
    return lane.removeprefix(SERVER)


def between_start_and_end(rows: Sequence[Row], *, to_the_end: bool) -> list[Row]:
    """Cut off the set-up and, unless the failure lies there, what follows the last operation."""
    first = next((i for i, row in enumerate(rows) if row.kind in ("begin", "deviation")), 0)
    last = len(rows)
    if not to_the_end:
        ends = [i for i, row in enumerate(rows) if row.kind == "end-of-operation"]
        last = ends[-1] + 1 if ends else len(rows)
    return list(rows[first:last])


def places(rows: Iterable[Row]) -> dict[str, str]:
    """Shorten the files of rows to their last part where that is not ambiguous.

    >>> places([Row(0, 0, "a", "line", "x", "shop/stock.py:3")])
    {'shop/stock.py': 'stock.py'}
    """
    files = {row.where.rpartition(":")[0] for row in rows if row.where}
    short: dict[str, set[str]] = {}
    for file in files:
        short.setdefault(file.rpartition("/")[2], set()).add(file)
    return {file: name if len(same) == 1 else file for name, same in short.items() for file in same}


def place(row: Row, names: dict[str, str]) -> str:
    """Return ``file.py:12`` of a row, shortened."""
    file, _, line = row.where.rpartition(":")
    return f"{names.get(file, file)}:{line}"


def and_list(names: Sequence[str]) -> str:
    """Join names as people do.

    >>> and_list(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def later(nanoseconds: int) -> str:
    """Say how much time has passed, or nothing when it is less than a millisecond.

    >>> later(20_001_000), later(1_500_000_000), later(999)
    ('20 ms', '1.5 s', '')
    """
    if nanoseconds < 1_000_000:
        return ""
    milliseconds = (nanoseconds + 400_000) // 1_000_000
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.3g} s"
