"""A finding: a shrunk failure that replays, with its story and its file."""

from __future__ import annotations

import json
import os
import platform
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from desvelo.errors import FindingFileError, ReplayDiverged
from desvelo.failure import KINDS, headline
from desvelo.finding.files import write_whole
from desvelo.finding.source import own_sources
from desvelo.schedule.decisions import Schedule
from desvelo.world.values import shorten

_WIDTH = 118
"""Letters in the heading of a story."""
SCHEMA = 1
FOLDER = Path(".desvelo") / "findings"


@dataclass
class Replay:
    """What a replay of a finding showed."""

    failed: bool
    """Whether the same failure came again."""
    identical: bool
    """Whether every event was the same, by the hash of the trace."""
    message: str
    digest: str
    other: bool = False
    """Whether it failed, but in another way than the finding."""
    story: str = ""
    """The story of this run, which is of today's code."""
    trace: str = ""
    """Every step of this run, a line each."""


class FoundError(Exception):
    """Stands for the error of a finding that was read from a file: its type and message."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(message)
        self.type_name = type_name

    def __str__(self) -> str:
        return f"{self.type_name}: {self.args[0]}" if self.args[0] else self.type_name


@dataclass
class Finding:
    """A shrunk, saved failure.

    ``decisions`` is the dense list of what was asked, as ``[kind, actor, value]``; the
    schedule holds the few that deviate. ``seconds`` is real time until the failure was first
    seen, ``executions`` the number of executions until then.
    """

    kind: str
    error: BaseException
    site: str
    scenario: str
    """How to load the scenario again, or the id of the test that found it."""
    operations: list[str]
    schedule: Schedule
    decisions: list[list[Any]]
    executions: int
    seconds: float
    digest: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    """The program as text: the steps of a machine, or the operations of a scenario."""
    choices: list[Any] | None = None
    """The choices of Hypothesis that make the program, as plain values."""
    target: str | None = None
    source: str = ""
    """Hash of the source of the scenario when it was found."""
    sources: dict[str, str] = field(default_factory=own_sources)
    """Hash of the source of each module of the user's own that was loaded then."""
    story_text: str = ""
    trace_rows: list[list[Any]] = field(default_factory=list)
    befell: list[str] = field(default_factory=list)
    """Faults and cancellations that happened to the operations, by name."""
    confirmed: bool | None = None
    """Whether the same failure shows on kernel sockets; ``None`` when that was not asked."""
    confirmation: str = ""
    """Why it is not confirmed, or was not asked, in one line."""
    replays: bool = True
    label: str = ""
    """``any-order`` when stock asyncio could not have produced it."""
    versions: dict[str, str] = field(default_factory=lambda: versions())  # noqa: PLW0108 - defined below
    command: str = ""
    path: Path | None = None
    replayer: Callable[[Finding], Replay] | None = field(default=None, repr=False, compare=False)

    @property
    def deviations(self) -> int:
        """How many decisions of the schedule are not plain FIFO."""
        return len(self.schedule)

    @property
    def signature(self) -> str:
        """What makes two findings the same: scenario, kind, site without its line, operations."""
        place = re.sub(r":\d+", "", self.site)
        told = [_named(self.scenario), self.kind, place, sorted(self.operation_kinds())]
        text = json.dumps([*told, self.target])
        return sha256(text.encode()).hexdigest()[:12]

    def operation_kinds(self) -> set[str]:
        """Return the operations without the numbers that tell calls of one kind apart."""
        return {re.sub(r"[-_ ]?\d+$", "", name) for name in self.operations}

    def story(self) -> str:
        """Return the failure told as a table, in plain text, and whether it was confirmed."""
        said = self.told_confirmation()
        lines = textwrap.wrap(said, 100, break_long_words=False, break_on_hyphens=False)
        return "\n\n".join(part for part in (self.story_text, "\n".join(lines)) if part)

    def told_confirmation(self) -> str:
        """Say whether kernel sockets do the same; empty when nobody has asked.

        >>> from desvelo.schedule.decisions import Schedule
        >>> finding = Finding("race", AssertionError(), "", "s.py", [], Schedule(), [], 1, 0.0)
        >>> finding.confirmed = True
        >>> finding.told_confirmation()
        'Confirmed on kernel sockets.'
        >>> finding.confirmed, finding.confirmation = False, "it did not fail there"
        >>> finding.told_confirmation()
        'Not confirmed on kernel sockets: it did not fail there.'
        """
        if self.confirmed:
            return "Confirmed on kernel sockets."
        if self.confirmed is None:
            why = self.confirmation
            return f"Kernel sockets were not asked: {why}." if why else ""
        return f"Not confirmed on kernel sockets: {self.confirmation}."

    def summary(self) -> str:
        """Say in one line what was found.

        >>> finding = Finding(
        ...     "race",
        ...     AssertionError("2 rows"),
        ...     "s.py:3 in check",
        ...     "s.py",
        ...     ["first", "second"],
        ...     Schedule(),
        ...     [],
        ...     12,
        ...     0.1,
        ... )
        >>> finding.summary()
        'race: AssertionError: 2 rows (2 operations, plain FIFO order)'
        """
        calls, count = len(self.operations), self.deviations
        how = (
            f"{count} deviation{'s' if count > 1 else ''} from FIFO"
            if count
            else "plain FIFO order"
        )
        if self.befell:
            how = f"{', '.join(name.rpartition('-')[0] for name in self.befell)}, {how}"
        label = f" [{self.label}]" if self.label else ""
        tail = f"({calls} operation{'s' if calls != 1 else ''}, {how})"
        if self.kind == "deadlock":
            said = _short_deadlock(self.reason())
        elif self.kind == "leak":
            said = _short_leak(self.reason(), _WIDTH - len(f"leak{label}:  {tail}"))
        else:
            said = shorten(self.reason(), 90)
        return f"{self.kind}{label}: {said} {tail}"

    def reason(self) -> str:
        """Say in one line why it is a failure: the error without what its kind says already."""
        name, message = _name_and_message(self.error)
        said = _one_line(message)
        if self.kind in ("deadlock", "hang", "leak", "nondeterminism") and said:
            said = said.removeprefix("nothing can happen any more: ")
            return re.sub(r"(?:[\w.-]+/)*([\w.-]+:\d+) in \w+", r"\1", said)
        return f"{name}: {said}" if said else name

    def replay(self) -> Replay:
        """Run it again; raises `ReplayDiverged` when the code no longer fits the file."""
        if self.replayer is None:
            from desvelo.finding.replay import replay

            return replay(self)
        return self.replayer(self)

    # files

    def to_json(self) -> dict[str, Any]:
        """Return the plain JSON form: no pickles, nothing but text, numbers and lists."""
        name, message = _name_and_message(self.error)
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "label": self.label,
            "signature": self.signature,
            "target": self.target,
            "scenario": _portable(self.scenario),
            "source": self.source,
            "sources": self.sources,
            "error": {"type": name, "message": message, "site": self.site},
            "operations": self.operations,
            "befell": self.befell,
            "inputs": self.inputs,
            "choices": self.choices,
            "schedule": self.schedule.to_json(),
            "deviations": self.deviations,
            "decisions": self.decisions,
            "settings": self.settings,
            "executions": self.executions,
            "seconds": round(self.seconds, 6),
            "replays": self.replays,
            "confirmed": self.confirmed,
            "confirmation": self.confirmation,
            "trace_sha256": self.digest,
            "versions": self.versions,
            "command": self.command,
            "story": self.story_text.splitlines(),
            "trace": self.trace_rows,
        }

    def file_name(self) -> str:
        """Return ``KIND-SIGNATURE.json``."""
        return f"{self.kind}-{self.signature}.json"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, or into a folder under its own name; whole or not at all."""
        place = Path(path)
        if place.suffix != ".json":
            place /= self.file_name()
        self.path = place
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=True, sort_keys=False)
        write_whole(place, text + "\n")
        return place

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Finding:
        """Read a file that `save` wrote; raises `FindingFileError` with one clear sentence."""
        place = Path(path)
        data = read_finding_file(place)
        kind = data.get("kind")
        if kind not in KINDS:
            raise FindingFileError(
                f"{place} is of kind {kind!r}, which this version does not know (it knows "
                f"{', '.join(KINDS)}); replay it with the newer Desvelo that wrote it"
            )
        try:
            return cls._from_json(data, place)
        except KeyError as error:
            raise FindingFileError(
                f"{place} is not a complete finding: it has no {error}; find it again, or restore "
                "the file from where it came"
            ) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise FindingFileError(
                f"{place} is not a finding that can be read ({error}); find it again, or restore "
                "the file from where it came"
            ) from error

    @classmethod
    def _from_json(cls, data: dict[str, Any], place: Path) -> Finding:
        error = data["error"]
        return cls(
            kind=data["kind"],
            error=FoundError(error["type"], error["message"]),
            site=error["site"],
            scenario=data["scenario"],
            operations=[str(name) for name in data["operations"]],
            befell=[str(name) for name in data.get("befell", ())],
            schedule=Schedule.from_json(data["schedule"]),
            decisions=[list(row) for row in data["decisions"]],
            executions=int(data["executions"]),
            seconds=float(data["seconds"]),
            digest=data["trace_sha256"],
            settings=dict(data["settings"]),
            inputs=list(data["inputs"]),
            choices=data["choices"],
            target=data["target"],
            source=data["source"],
            sources=dict(data.get("sources", {})),
            story_text="\n".join(data["story"]),
            trace_rows=[list(row) for row in data["trace"]],
            confirmed=data["confirmed"],
            confirmation=str(data.get("confirmation", "")),
            replays=bool(data["replays"]),
            label=data.get("label", ""),
            versions=dict(data["versions"]),
            command=data["command"],
            path=place,
        )


def read_finding_file(place: Path) -> dict[str, Any]:
    """Read and check the outside of a finding file."""
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FindingFileError(f"there is no finding file {place}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FindingFileError(f"{place} cannot be read: {error}") from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise FindingFileError(
            f"{place} is truncated or is not JSON ({error}); restore it or find the failure again"
        ) from error
    if not isinstance(data, dict) or "schema" not in data:
        raise FindingFileError(f"{place} is JSON but not a finding of Desvelo: it has no 'schema'")
    schema = data["schema"]
    if not isinstance(schema, int) or schema > SCHEMA:
        raise FindingFileError(
            f"{place} has schema {schema!r}, this version reads up to {SCHEMA}; replay it with "
            "the newer Desvelo that wrote it"
        )
    return data


def versions() -> dict[str, str]:
    """Return the versions that a finding depends on."""
    found = {"python": platform.python_version()}
    for package in ("desvelo", "hypothesis", "aiohttp"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _name_and_message(error: BaseException) -> tuple[str, str]:
    if isinstance(error, FoundError):
        return error.type_name, str(error.args[0])
    return type(error).__name__, str(error)


def _named(scenario: str) -> str:
    """Return the file and the name of a scenario, wherever the file lies."""
    place, _, name = scenario.partition(":")
    file = place.replace("\\", "/").rpartition("/")[2]
    return f"{file}:{name}"


def _portable(scenario: str) -> str:
    """Write the file of a scenario relative to the current folder, where it lies below it."""
    place, colon, name = scenario.partition(":")
    if not place.endswith(".py") or not Path(place).is_absolute():
        return scenario
    try:
        return f"{Path(place).relative_to(Path.cwd()).as_posix()}{colon}{name}"
    except ValueError:
        return scenario


def _short_leak(said: str, room: int) -> str:
    """Cut what leaked, and never who made it where.

    >>> _short_leak("the coroutine sleep(), defined at tasks.py:630, never awaited, made by a", 48)
    'the coroutine slee…630, never awaited, made by a'
    """
    what, made, by = said.partition(", made ")
    return shorten(what, max(room - len(made + by), 30)) + made + by


def _short_deadlock(reason: str) -> str:
    """Say who waits; where things were made is for the story.

    >>> _short_deadlock("eat waits at s.py:3 for room in the Queue made at s.py:1")
    'eat waits at s.py:3 for room in the Queue'
    """
    # Cut in the middle, two who wait would be read as one.
    return cut(re.sub(r" made at \S+:\d+", "", headline(reason)), 72)


def cut(text: str, most: int) -> str:
    """Cut a text off at its end.

    >>> cut("waits for ever", 10)
    'waits for…'
    """
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else ""


__all__ = [
    "FOLDER",
    "SCHEMA",
    "Finding",
    "FindingFileError",
    "FoundError",
    "Replay",
    "ReplayDiverged",
]
