"""What payloads are made of: moments, identifiers, confidences, single detections.

Timestamps and identifiers are drawn, never read from the clock, so that an example replays on
another day.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")

RISK_LEVELS = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
SEVERITIES = ("info", "low", "medium", "high", "critical")
AGE_RANGES = ("0-18", "19-40", "41-60", "61-80", "81+")
GENDERS = ("male", "female", "other")

START = datetime(2025, 1, 1, tzinfo=UTC)

# Printable words that need no escaping: the odd characters belong to `edge_bodies`.
words = st.text("abcdefghijklmnopqrstuvwxyz ", min_size=1, max_size=20)
names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)


@composite
def literally(draw: DrawFn, strategy: SearchStrategy[T]) -> T:
    """The same values, but a failing test prints them as they are.

    Hypothesis prints what `map` or `builds` returned as the call that made it. That would show
    a private function of ours, and hide whatever was changed in the value afterwards.
    """
    return deepcopy(draw(strategy))


@composite
def dictionaries(
    draw: DrawFn,
    required: Mapping[str, SearchStrategy[Any]],
    optional: Mapping[str, SearchStrategy[Any]],
) -> Json:
    """Dictionaries with all of ``required`` and some of ``optional``.

    Every optional key is a coin of its own, so that shrinking takes out any without the others;
    those of `fixed_dictionaries` are drawn one after another and sometimes hold on to a first one.
    """
    drawn = {key: draw(values) for key, values in required.items()}
    for key, values in optional.items():
        if draw(st.booleans()):
            drawn[key] = draw(values)
    return drawn


@composite
def timestamps(draw: DrawFn) -> str:
    """ISO 8601 moments in UTC from 2025 to 2027; a fraction of a second only when not zero.

    >>> from strategies import minimal
    >>> minimal(timestamps())
    '2025-01-01T00:00:00+00:00'
    """
    # One number rather than the seven of `datetimes`: most envelopes have two of these to shrink.
    microseconds = draw(st.integers(0, 3 * 365 * 86_400 * 10**6 - 1))
    return (START + timedelta(microseconds=microseconds)).isoformat()


def webhook_ids() -> SearchStrategy[str]:
    """Identifiers for `webhook_id`: all that one test case draws differ, even after shrinking.

    That is a promise of `hypothesis.strategies.uuids`. Were they integers, two deliveries would
    shrink to one identifier, and the server would be right to ignore the second.
    """
    return st.uuids(version=4).map(str)


def confidences() -> SearchStrategy[float]:
    """Numbers from 0 to 1, simplest first: 0.5, then hundredths, then any float.

    Not 0.0 first: zero is where ``if not confidence`` goes wrong, and a failure that shrinks to
    it should do so because zero matters.
    """
    hundredths = st.integers(0, 100).map(lambda n: (50 + n) % 101 / 100)
    return hundredths | st.floats(0, 1)


def detections() -> SearchStrategy[Json]:
    """One detection: ``stage`` and ``confidence``, and maybe ``bbox``, ``area``, ``severity``.

    >>> from strategies import minimal
    >>> minimal(detections())
    {'stage': 0, 'confidence': 0.5}
    >>> minimal(detections(), lambda detection: "bbox" in detection)
    {'stage': 0, 'confidence': 0.5, 'bbox': [0, 0, 1, 1]}
    """
    origin, extent = st.integers(0, 640), st.integers(1, 640)
    return dictionaries(
        {"stage": st.integers(0, 4), "confidence": confidences()},
        optional={
            "bbox": st.tuples(origin, origin, extent, extent).map(list),
            "area": st.integers(1, 640 * 640),
            "severity": st.sampled_from(SEVERITIES),
        },
    )


def patient_infos() -> SearchStrategy[Json]:
    """What a detection may say about its patient, in the terms of the patients table."""
    return dictionaries(
        {},
        optional={
            "age_range": st.sampled_from(AGE_RANGES),
            "gender": st.sampled_from(GENDERS),
            "risk_factors": st.dictionaries(names, st.booleans(), max_size=3),
            "mobility_status": words,
        },
    )
