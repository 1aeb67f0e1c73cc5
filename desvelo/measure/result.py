"""What a run measured: the one form that phases fill in, and every report and the history read.

All times are seconds, all sizes bytes, all rates per second, all shares between 0 and 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, Self

SCHEMA = 1
"""Raised when a field is removed or means something else; new fields alone do not raise it."""

PERCENTILES = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
"""Those at which a latency distribution is written down."""


class Status(StrEnum):
    """How a phase, or a whole run, ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured number.

    ``better`` is ``lower``, ``higher``, or empty for what is neither good nor bad. ``samples``
    are the repeated measurements that ``value`` summarises, for whoever compares runs.

    >>> str(Metric(0.0123, "s", "lower"))
    '12.3 ms'
    """

    value: float
    unit: str
    better: str = ""
    samples: tuple[float, ...] = ()

    def __str__(self) -> str:
        return with_unit(self.value, self.unit)


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold that was looked at: ``metric`` of this phase against ``limit``.

    ``bound`` is ``at most`` or ``at least``. ``value`` is None when the phase did not measure
    it, which never passes.
    """

    metric: str
    bound: str
    limit: float
    unit: str
    value: float | None
    passed: bool
    source: str = ""
    """Where the limit is from: a default, or a file and its key."""

    def __str__(self) -> str:
        measured = "not measured" if self.value is None else with_unit(self.value, self.unit)
        wanted = f"{self.bound} {with_unit(self.limit, self.unit)}"
        return f"{self.metric}: {measured} ({wanted})"


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of response times: how many, the mean, and (percentile, seconds) pairs."""

    count: int
    mean: float
    percentiles: tuple[tuple[float, float], ...]
    histogram: str = ""
    """The whole distribution in HdrHistogram's own compressed text form."""

    def at(self, percentile: float) -> float:
        """Return the time of one percentile; raises `KeyError` for one that is not kept."""
        return dict(self.percentiles)[percentile]


@dataclass(frozen=True, slots=True)
class LoadStep:
    """One level of load, held for ``seconds``.

    ``users`` wait for an answer before they send again (closed loop; 0 when open), ``offered`` is
    the rate of arrivals (open loop; 0 when closed), ``throughput`` what was answered without
    error.
    """

    users: int
    offered: float
    seconds: float
    requests: int
    errors: int
    throughput: float
    latency: Latency


@dataclass(frozen=True, slots=True)
class Sample:
    """The target's own processes at one moment, all of them together.

    ``at`` counts seconds from the start of the phase; ``cpu`` is in cores (1.0 is one core).
    """

    at: float
    rss: int
    uss: int
    cpu: float
    fds: int
    threads: int
    read_bytes: int
    written_bytes: int
    processes: int = 1


@dataclass(frozen=True, slots=True)
class TestRecord:
    """What became of one test of a suite over all its repetitions."""

    __test__: ClassVar[bool] = False
    """It is called Test, and pytest is not to collect it."""

    name: str
    runs: int
    failures: int
    seconds: float
    """The mean of one run."""
    message: str = ""
    """The first failure's last line."""

    @property
    def flaky(self) -> bool:
        """Whether it both passed and failed."""
        return 0 < self.failures < self.runs


@dataclass(slots=True)
class PhaseResult:
    """One phase of a run."""

    phase: str
    status: Status = Status.PASSED
    reason: str = ""
    """Why it did not pass, in one sentence; empty when it passed."""
    started: str = ""
    """UTC, ISO 8601."""
    seconds: float = 0.0
    metrics: dict[str, Metric] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Broken invariants: what was lost, stored twice, or left behind."""
    errors: dict[str, int] = field(default_factory=dict)
    """How many failed requests or calls of each kind."""
    latency: Latency | None = None
    steps: list[LoadStep] = field(default_factory=list)
    knee: int | None = None
    """The index of the step in which throughput stops growing with load."""
    samples: list[Sample] = field(default_factory=list)
    tests: list[TestRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader should know beside the numbers: settings, narrowed-down causes."""

    def fail(self, reason: str) -> None:
        """Mark the phase as failed; the first reason is the one that is told."""
        if self.status is not Status.FAILED:
            self.status, self.reason = Status.FAILED, reason


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of this run against its own past.

    ``change`` is relative (0.1 is 10 % more), ``confidence`` the probability that it is no noise,
    ``verdict`` one of ``worse``, ``better``, ``same``, ``unknown``.
    """

    phase: str
    metric: str
    unit: str
    before: float
    now: float
    change: float
    confidence: float
    verdict: str
    sentence: str
    runs: int
    """How many earlier runs it was compared with."""


@dataclass(frozen=True, slots=True)
class FoundFailure:
    """A finding that a run came across, with its story."""

    kind: str
    title: str
    file: str
    replay: str
    story: str
    svg: str = ""


@dataclass(slots=True)
class Run:
    """A whole run."""

    id: str
    started: str
    """UTC, ISO 8601."""
    target: str
    profile: str
    status: Status = Status.PASSED
    reason: str = ""
    seconds: float = 0.0
    revision: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    phases: list[PhaseResult] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    findings: list[FoundFailure] = field(default_factory=list)

    def phase(self, name: str) -> PhaseResult | None:
        """Return the result of a phase, if it is part of this run."""
        return next((one for one in self.phases if one.phase == name), None)

    def conclude(self, *, interrupted: bool = False) -> None:
        """Say how the run as a whole ended, in the words of the phase that decided it.

        >>> run = Run("r1", "", "vigia_reference", "quick")
        >>> run.phases = [PhaseResult("baseline"), PhaseResult("io", Status.FAILED, "no disk")]
        >>> run.conclude()
        >>> str(run.status), run.reason
        ('failed', 'io: no disk')
        """
        for status in (Status.INTERRUPTED, Status.FAILED):
            ended = [one for one in self.phases if one.status is status]
            if ended:
                self.status, self.reason = status, f"{ended[0].phase}: {ended[0].reason}"
                break
        if interrupted:
            self.status, self.reason = Status.INTERRUPTED, self.reason or "between two phases"
        skipped = [one for one in self.phases if one.status is Status.SKIPPED]
        if self.status is Status.PASSED and len(skipped) == len(self.phases):
            reasons = dict.fromkeys(f"{one.phase}: {one.reason}" for one in skipped)
            self.status, self.reason = Status.FAILED, "; ".join(reasons) or "no phase was run"

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values, as `desvelo/report/run.schema.json` describes them.

        >>> run = Run("r1", "2026-01-01T00:00:00+00:00", "vigia_reference", "quick")
        >>> Run.from_json(run.as_json()) == run
        True
        """
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read what `as_json` wrote; raises `ValueError` for another schema."""
        if document.get("schema") != SCHEMA:
            raise ValueError(f"schema {document.get('schema')!r} is not {SCHEMA}")
        known = _known(cls, document)
        known["status"] = Status(known["status"])
        known["phases"] = [_phase(one) for one in known.get("phases", ())]
        known["comparisons"] = _all(Comparison, known.get("comparisons", ()))
        known["findings"] = _all(FoundFailure, known.get("findings", ()))
        return cls(**known)


def with_unit(value: float, unit: str) -> str:
    """Write a number as people say it.

    >>> with_unit(2_147_483_648, "B"), with_unit(0.953, "share"), with_unit(1234.5, "1/s")
    ('2.0 GiB', '95.3 %', '1,234/s')
    """
    if unit == "B":
        size = float(value)
        for name in ("B", "KiB", "MiB"):
            if abs(size) < 1024:
                return f"{size:.0f} B" if name == "B" else f"{size:.1f} {name}"
            size /= 1024
        return f"{size:.1f} GiB"
    if unit == "share":
        return f"{value:.1%}".replace("%", " %")
    if unit == "s":
        if abs(value) < 0.001:
            return f"{value * 1e6:.0f} µs"
        return f"{value * 1000:.1f} ms" if abs(value) < 1 else f"{value:.2f} s"
    number = f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.2f}"
    if unit.startswith("1/"):
        return f"{number}/{unit[2:]}"
    return f"{number} {unit}".rstrip()


def _phase(document: dict[str, Any]) -> PhaseResult:
    known = _known(PhaseResult, document)
    known["status"] = Status(known["status"])
    known["metrics"] = {
        name: Metric(**{**_known(Metric, one), "samples": tuple(one.get("samples", ()))})
        for name, one in known.get("metrics", {}).items()
    }
    known["checks"] = _all(Check, known.get("checks", ()))
    latency = known.get("latency")
    known["latency"] = None if latency is None else _latency(latency)
    known["steps"] = [
        LoadStep(**{**_known(LoadStep, one), "latency": _latency(one["latency"])})
        for one in known.get("steps", ())
    ]
    known["samples"] = _all(Sample, known.get("samples", ()))
    known["tests"] = _all(TestRecord, known.get("tests", ()))
    return PhaseResult(**known)


def _latency(document: dict[str, Any]) -> Latency:
    pairs = tuple((float(p), float(s)) for p, s in document["percentiles"])
    return Latency(**{**_known(Latency, document), "percentiles": pairs})


def _all(kind: Any, documents: Any) -> list[Any]:
    return [kind(**_known(kind, one)) for one in documents]


def _known(kind: Any, document: dict[str, Any]) -> dict[str, Any]:
    # Fields that a later version has added are let pass.
    return {one.name: document[one.name] for one in fields(kind) if one.name in document}
