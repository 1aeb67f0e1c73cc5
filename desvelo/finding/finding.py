"""A finding: a shrunk failure that replays, with its story and its file."""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from desvelo.errors import FindingFileError, ReplayDiverged
from desvelo.failure import KINDS
from desvelo.schedule.decisions import Schedule

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
    story_text: str = ""
    trace_rows: list[list[Any]] = field(default_factory=list)
    confirmed: bool | None = None
    replays: bool = True
    label: str = ""
    """``any-order`` when stock asyncio could not have produced it."""
    versions: dict[str, str] = field(default_factory=lambda: versions())
    command: str = ""
    path: Path | None = None
    replayer: Callable[[Finding], Replay] | None = field(default=None, repr=False, compare=False)

    @property
    def deviations(self) -> int:
        """How many decisions of the schedule are not plain FIFO."""
        return len(self.schedule)

    @property
    def signature(self) -> str:
        """What makes two findings the same: kind, site without its line, and operations."""
        place = re.sub(r":\d+", "", self.site)
        text = json.dumps([self.kind, place, sorted(self.operation_kinds()), self.target])
        return sha256(text.encode()).hexdigest()[:12]

    def operation_kinds(self) -> set[str]:
        """Return the operations without the numbers that tell calls of one kind apart."""
        return {re.sub(r"[-_ ]?\d+$", "", name) for name in self.operations}

    def story(self) -> str:
        """Return the failure told as a table, in plain text."""
        return self.story_text

    def summary(self) -> str:
        """Say in one line what was found."""
        count = self.deviations
        calls = len(self.operations)
        how = "in plain FIFO order" if count == 0 else f"with {count} deviation{'s' if count > 1 else ''} from FIFO"
        said = _one_line(str(self.error)) if isinstance(self.error, FoundError) else _describe(self.error)
        label = f" [{self.label}]" if self.label else ""
        return f"{self.kind}{label}: {said} ({calls} operation{'s' if calls != 1 else ''}, {how})"

    def replay(self) -> Replay:
        """Run it again; raises `ReplayDiverged` when the code no longer fits the file."""
        if self.replayer is None:
            from desvelo.finding.replay import replay  # noqa: PLC0415 - replay builds on this module

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
            "scenario": self.scenario,
            "source": self.source,
            "error": {"type": name, "message": message, "site": self.site},
            "operations": self.operations,
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
            place = place / self.file_name()
        place.parent.mkdir(parents=True, exist_ok=True)
        self.path = place
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=True, sort_keys=False)
        descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, place)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return place

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Finding:
        """Read a file that `save` wrote; raises `FindingFileError` with one clear sentence."""
        place = Path(path)
        data = read_finding_file(place)
        try:
            return cls._from_json(data, place)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FindingFileError(
                f"{place} is not a complete finding ({type(error).__name__}: {error}); find it again, or restore "
                "the file from where it came") from error

    @classmethod
    def _from_json(cls, data: dict[str, Any], place: Path) -> Finding:
        if data["kind"] not in KINDS:
            raise ValueError(f"unknown kind {data['kind']!r}")
        error = data["error"]
        return cls(
            kind=data["kind"], error=FoundError(error["type"], error["message"]), site=error["site"],
            scenario=data["scenario"], operations=[str(name) for name in data["operations"]],
            schedule=Schedule.from_json(data["schedule"]),
            decisions=[list(row) for row in data["decisions"]], executions=int(data["executions"]),
            seconds=float(data["seconds"]), digest=data["trace_sha256"], settings=dict(data["settings"]),
            inputs=list(data["inputs"]), choices=data["choices"], target=data["target"], source=data["source"],
            story_text="\n".join(data["story"]), trace_rows=[list(row) for row in data["trace"]],
            confirmed=data["confirmed"], replays=bool(data["replays"]), label=data.get("label", ""),
            versions=dict(data["versions"]), command=data["command"], path=place)


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
            f"{place} is truncated or is not JSON ({error}); restore it or find the failure again") from error
    if not isinstance(data, dict) or "schema" not in data:
        raise FindingFileError(f"{place} is JSON but not a finding of Desvelo: it has no 'schema'")
    schema = data["schema"]
    if not isinstance(schema, int) or schema > SCHEMA:
        raise FindingFileError(
            f"{place} has schema {schema!r}, this version reads up to {SCHEMA}; replay it with the newer Desvelo "
            "that wrote it")
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


def _describe(error: BaseException) -> str:
    name, message = type(error).__name__, _one_line(str(error))
    return f"{name}: {message}" if message else name


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else ""


__all__ = ["FOLDER", "SCHEMA", "Finding", "FindingFileError", "FoundError", "Replay", "ReplayDiverged"]
