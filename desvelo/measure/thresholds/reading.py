"""Reading ``thresholds.toml``: every key known, every value with its unit."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from desvelo.errors import UsageError
from desvelo.measure.plan import PHASES, PROFILES, nearest_of
from desvelo.measure.thresholds.catalogue import METRICS
from desvelo.measure.thresholds.units import parse

FILE = "thresholds.toml"
EVERY = "every"
CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class Limit:
    """One threshold: its value in the unit of the metric, as it was written, and where."""

    metric: str
    value: float
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of one profile.

    ``every`` holds for each phase that measures the metric, ``phases`` for one and is then
    checked in any case; ``regression`` has shares by metric, by ``every`` and ``confidence``.
    """

    profile: str
    every: dict[str, Limit]
    phases: dict[str, dict[str, Limit]]
    regression: dict[str, Limit]

    def of(self, phase: str) -> dict[str, Limit]:
        """Return the limits of a phase by metric, whether they are for it alone or for every."""
        return {**self.every, **self.phases.get(phase, {})}


def read_thresholds(file: Path | None, profile: str) -> Thresholds:
    """Return the packaged defaults, and over them what a file says.

    Without a file, ``thresholds.toml`` of the current folder is taken if there is one. Raises
    `UsageError` that names the file and the key.

    >>> limit = read_thresholds(None, "quick").of("webhook")["success_rate"]
    >>> limit.value, limit.text
    (0.95, '95 %')
    """
    packaged = resources.files("desvelo.measure.thresholds").joinpath(FILE)
    defaults = _document(packaged.read_text(encoding="utf-8"), "default")
    found = Thresholds(profile, {}, {}, {})
    _merge(found, defaults, "default")
    if file is None and Path(FILE).is_file():
        file = Path(FILE)
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"the thresholds in {file} cannot be read: {reason}") from error
        document = _document(text, str(file))
        if document != defaults:
            _merge(found, document, str(file))
    return found


def _document(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not TOML: {error}") from error


def _merge(into: Thresholds, document: dict[str, Any], where: str) -> None:
    for key in document:
        nearest_of(key, (EVERY, "phase", "profile", "regression"), "table", f"{where}: ")
    every, phases = _level(document, where, "")
    profiles = _table(document, "profile", where, "profile")
    for name in profiles:
        nearest_of(name, PROFILES, "profile", f"{where}: [profile.{name}]: ")
        own = _level(_table(profiles, name, where, f"profile.{name}"), where, f"profile.{name}.")
        if name == into.profile:
            every |= own[0]
            for phase, limits in own[1].items():
                phases[phase] = {**phases.get(phase, {}), **limits}
    into.every.update(every)
    # What a file says of every phase comes before what the defaults say of one.
    for limits in into.phases.values():
        for metric in every:
            limits.pop(metric, None)
    for phase, limits in phases.items():
        into.phases.setdefault(phase, {}).update(limits)
    regression = _table(document, "regression", where, "regression")
    into.regression.update(_regression(regression, where))


def _level(
    document: dict[str, Any], where: str, prefix: str
) -> tuple[dict[str, Limit], dict[str, dict[str, Limit]]]:
    if prefix:
        for key in document:
            nearest_of(key, (EVERY, "phase"), "table", f"{where}: [{prefix}{key}]: ")
    place = f"{prefix}{EVERY}"
    every = _limits(_table(document, EVERY, where, place), where, place)
    tables = _table(document, "phase", where, f"{prefix}phase")
    phases = {}
    for name in tables:
        place = f"{prefix}phase.{name}"
        nearest_of(name, PHASES, "phase", f"{where}: [{place}]: ")
        phases[name] = _limits(_table(tables, name, where, place), where, place)
    return every, phases


def _limits(table: dict[str, Any], where: str, place: str) -> dict[str, Limit]:
    return {
        metric: _limit(
            nearest_of(metric, METRICS, "metric", f"{where}: [{place}]: "),
            METRICS[metric].unit,
            value,
            where,
            place,
        )
        for metric, value in table.items()
    }


def _regression(table: dict[str, Any], where: str) -> dict[str, Limit]:
    known = (EVERY, CONFIDENCE, *METRICS)
    return {
        nearest_of(metric, known, "metric", f"{where}: [regression]: "): _limit(
            metric, "share", value, where, "regression"
        )
        for metric, value in table.items()
    }


def _limit(metric: str, unit: str, value: object, where: str, place: str) -> Limit:
    try:
        number = parse(value, unit)
    except ValueError as error:
        raise UsageError(f"{where}: {metric} in [{place}]: {error}") from error
    source = "default" if where == "default" else f"{where}:{place}.{metric}"
    return Limit(metric, number, str(value).strip(), source)


def _table(document: dict[str, Any], key: str, where: str, place: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{where}: {place} is {table!r}; it must be a table, [{place}]")
    return table
