"""An invocation: one call of a history, with its interval of time and how it went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from desvelo.errors import UsageError
from desvelo.world.values import describe_value, shorten

_KNOWN = {"client", "name", "arguments", "begin", "end", "result", "error"}


@dataclass(frozen=True)
class Invocation:
    """A call that one client made, and how it ended, if it did.

    ``begin`` and ``end`` are points of any one clock (seconds, polls of a loop, positions in a
    log). A call comes before another only when it ended at an earlier point than that at which
    the other began; at the same point they are concurrent. Without ``end`` it never returned.

    >>> Invocation("anna", "write", {"value": 3}, 0, 4).describe()
    'write(value=3) ➜ None'
    >>> Invocation("anna", "read", {}, 5).describe()
    'read() under way'
    """

    client: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    begin: float = 0
    end: float | None = None
    result: Any = None
    error: BaseException | str | None = None
    """What it raised instead of returning; from a file, the name of its type and its text."""

    def __post_init__(self) -> None:
        if self.end is not None and self.end < self.begin:
            raise UsageError(
                f"{self.name}() of {self.client or 'a client'} ends at {self.end}, before it "
                f"begins at {self.begin}; both must be points of one clock"
            )

    @property
    def returned(self) -> bool:
        """Whether it ended with a result: then it has taken effect, once, within its time."""
        return self.end is not None and self.error is None

    @property
    def error_name(self) -> str:
        """The name of the type of its error."""
        if isinstance(self.error, BaseException):
            return type(self.error).__name__
        return (self.error or "").partition(":")[0]

    def describe(self) -> str:
        """Write the call and its outcome in one short line, the same in every process."""
        given = ", ".join(
            f"{name}={describe_value(value, 30)}" for name, value in self.arguments.items()
        )
        return f"{self.name}({given}) {self.outcome()}"

    def outcome(self) -> str:
        """Write how it ended."""
        if self.end is None:
            return "under way"
        if self.error is None:
            return f"➜ {describe_value(self.result, 40)}"
        return f"✗ {shorten(_said(self.error), 50)}"


def read_history(path: str | Path) -> list[Invocation]:
    """Read a history from a JSON file: a list of objects, or one object a line.

    Each has ``client``, ``name``, ``begin`` and, as far as they apply, ``arguments``, ``end``,
    ``result`` and ``error`` (the name of the error's type, then a colon and its text).
    Raises `UsageError` when the file is something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        whole = text.lstrip().startswith("[")
        found = json.loads(text) if whole else [json.loads(one) for one in text.splitlines() if one]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a history: {error}") from None
    return [_invocation(path, number, one) for number, one in enumerate(found, 1)]


def write_history(path: str | Path, history: Sequence[Invocation]) -> None:
    """Write a history of plain values as JSON, one object a line, for `read_history`."""
    lines = []
    for one in history:
        kept = {
            "client": one.client,
            "name": one.name,
            "arguments": dict(one.arguments),
            "begin": one.begin,
            "end": one.end,
            "result": one.result,
            "error": None if one.error is None else _said(one.error),
        }
        lines.append(json.dumps({name: value for name, value in kept.items() if value is not None}))
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _said(error: BaseException | str) -> str:
    """Return the type and the first line of an error."""
    if isinstance(error, str):
        return error
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _invocation(path: str | Path, number: int, given: Any) -> Invocation:
    where = f"{path}: call {number}"
    if not isinstance(given, dict):
        raise UsageError(f"{where} is {type(given).__name__}, and must be an object")
    missing = sorted({"client", "name", "begin"} - set(given))
    unknown = sorted(set(given) - _KNOWN)
    if missing or unknown:
        wrong = f"has no {missing[0]!r}" if missing else f"has {unknown[0]!r}, which means nothing"
        raise UsageError(f"{where} {wrong}; a call has {', '.join(sorted(_KNOWN))}")
    for name in ("begin", "end"):
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise UsageError(f"{where} has {name} {value!r}, which is no number")
    if not isinstance(given.get("arguments", {}), dict):
        raise UsageError(f"{where} has arguments that are no object of names and values")
    return Invocation(**given)
