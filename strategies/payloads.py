"""Valid webhook events: one strategy per event's payload, and whole envelopes around them.

Every value is made of plain ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool`` and ``None``
and comes back equal from a JSON round trip. The simplest payload of an event is drawn about every
other time, where an event has many keys: races seldom depend on them. What is at the limits or
beyond them is in `strategies.bodies` and `strategies.hostile`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from strategies.parts import (
    AGE_RANGES,
    GENDERS,
    RISK_LEVELS,
    SEVERITIES,
    START,
    Json,
    detections,
    dictionaries,
    literally,
    names,
    patient_infos,
    timestamps,
    webhook_ids,
    words,
)
from strategies.patient_codes import patient_codes

Codes: TypeAlias = SearchStrategy[str] | None


def detection_completed(codes: Codes = None) -> SearchStrategy[Json]:
    """The payload of ``detection.completed``; ``total_detected`` is right when it is there.

    >>> from strategies import minimal
    >>> minimal(detection_completed())  # doctest: +NORMALIZE_WHITESPACE
    {'patient_code': 'TEST-001', 'timestamp': '2025-01-01T00:00:00+00:00',
     'image_path': '/images/a.jpg', 'detections': [{'stage': 0, 'confidence': 0.5}],
     'risk_level': 'LOW'}
    """
    optional: dict[str, SearchStrategy[Any]] = {
        "patient_info": patient_infos(),
        "processing_time": st.integers(0, 30_000).map(lambda ms: ms / 1000),
        "metadata": st.dictionaries(names, words | st.integers(0, 100), max_size=3),
    }
    detailed = dictionaries(
        {
            "patient_code": codes_or_default(codes),
            "timestamp": timestamps(),
            "image_path": _image_paths(),
            "detections": st.lists(detections(), min_size=1, max_size=3),
            "risk_level": st.sampled_from(RISK_LEVELS),
        },
        optional=optional,
    )
    counted = st.builds(_counted, detailed, st.booleans())
    return literally(codes_or_default(codes).map(plain_completed) | counted)


def plain_completed(code: str) -> Json:
    """The simplest payload of ``detection.completed`` about this patient."""
    return {
        "patient_code": code,
        "timestamp": START.isoformat(),
        "image_path": "/images/a.jpg",
        "detections": [{"stage": 0, "confidence": 0.5}],
        "risk_level": "LOW",
    }


def _counted(payload: Json, said: bool) -> Json:
    if said:
        payload["total_detected"] = len(payload["detections"])
    return payload


def detection_failed(codes: Codes = None) -> SearchStrategy[Json]:
    """The payload of ``detection.failed``.

    >>> from strategies import minimal
    >>> minimal(detection_failed())
    {'patient_code': 'TEST-001', 'error': 'a', 'image_path': '/images/a.jpg'}
    """
    return st.fixed_dictionaries(
        {"patient_code": codes_or_default(codes), "error": words, "image_path": _image_paths()}
    )


def patient_updated(codes: Codes = None) -> SearchStrategy[Json]:
    """The payload of ``patient.updated``; every change goes from one value to another.

    >>> from strategies import minimal
    >>> minimal(patient_updated())  # doctest: +NORMALIZE_WHITESPACE
    {'patient_code': 'TEST-001', 'update_type': 'status_change',
     'changes': {'risk_level': {'old': 'LOW', 'new': 'MEDIUM'}}, 'reason': 'a'}
    """
    detailed = st.fixed_dictionaries(
        {
            "patient_code": codes_or_default(codes),
            "update_type": st.sampled_from(["status_change", "risk_escalation"]),
            "changes": _changes(),
            "reason": words,
        }
    )
    return literally(codes_or_default(codes).map(plain_update) | detailed)


def plain_update(code: str) -> Json:
    """The simplest payload of ``patient.updated`` about this patient."""
    return {
        "patient_code": code,
        "update_type": "status_change",
        "changes": {"risk_level": {"old": "LOW", "new": "MEDIUM"}},
        "reason": "a",
    }


def protocol_triggered(codes: Codes = None) -> SearchStrategy[Json]:
    """The payload of ``protocol.triggered``.

    >>> from strategies import minimal
    >>> minimal(protocol_triggered())  # doctest: +NORMALIZE_WHITESPACE
    {'protocol_name': 'a', 'patient_code': 'TEST-001', 'trigger_reason': 'a', 'actions': ['a'],
     'priority': 'low'}
    """
    return st.fixed_dictionaries(
        {
            "protocol_name": names,
            "patient_code": codes_or_default(codes),
            "trigger_reason": words,
            "actions": st.lists(names, min_size=1, max_size=3),
            "priority": st.sampled_from(SEVERITIES[1:]),
        }
    )


def analysis_ready(codes: Codes = None) -> SearchStrategy[Json]:
    """The payload of ``analysis.ready``; its ``results_url`` ends in its ``analysis_id``.

    >>> from strategies import minimal
    >>> payload = minimal(analysis_ready())
    >>> payload["analysis_type"], payload["triggers_analyses"]
    ('risk', [])
    """
    kinds = st.sampled_from(["risk", "healing", "trend"])
    triggers = st.lists(kinds, max_size=2, unique=True)
    return literally(st.builds(_analysis, webhook_ids(), codes_or_default(codes), kinds, triggers))


def _analysis(analysis_id: str, code: str, kind: str, triggers: list[str]) -> Json:
    return {
        "analysis_id": analysis_id,
        "patient_code": code,
        "analysis_type": kind,
        "results_url": f"http://localhost/results/{analysis_id}",
        "triggers_analyses": triggers,
    }


PAYLOADS: dict[str, Callable[[Codes], SearchStrategy[Json]]] = {
    "detection.completed": detection_completed,
    "detection.failed": detection_failed,
    "patient.updated": patient_updated,
    "protocol.triggered": protocol_triggered,
    "analysis.ready": analysis_ready,
}
EVENTS = tuple(PAYLOADS)


def envelopes(events: Sequence[str] = EVENTS, codes: Codes = None) -> SearchStrategy[Json]:
    """Whole, valid webhook bodies for ``events``, each with a ``webhook_id`` of its own.

    >>> from strategies import minimal
    >>> body = minimal(envelopes())
    >>> body["event_type"], body["timestamp"], body["source"], body["version"]
    ('detection.completed', '2025-01-01T00:00:00+00:00', 'vigia_detect', '1.0')
    >>> body["payload"] == minimal(detection_completed())
    True
    """
    # Made once and not at every draw: making a strategy takes longer than drawing from it.
    return _envelopes({event: PAYLOADS[event](codes) for event in events})


@composite
def _envelopes(draw: DrawFn, payloads: Mapping[str, SearchStrategy[Json]]) -> Json:
    webhook_id = draw(webhook_ids())
    event = draw(st.sampled_from(tuple(payloads)))
    body = envelope(event, draw(payloads[event]), webhook_id)
    body["timestamp"] = draw(timestamps())
    return body


def envelope(event: str, payload: Json, webhook_id: str) -> Json:
    """The envelope around a payload, sent at the simplest moment."""
    return {
        "event_type": event,
        "timestamp": START.isoformat(),
        "payload": payload,
        "source": "vigia_detect",
        "version": "1.0",
        "webhook_id": webhook_id,
    }


def codes_or_default(codes: Codes) -> SearchStrategy[str]:
    """The codes that were asked for, or those in use."""
    return patient_codes() if codes is None else codes


def _image_paths() -> SearchStrategy[str]:
    return st.builds("/images/{}.{}".format, names, st.sampled_from(["jpg", "png"]))


def _changes() -> SearchStrategy[Json]:
    others: dict[str, SearchStrategy[Any]] = {
        "age_range": _change(AGE_RANGES),
        "gender": _change(GENDERS),
    }
    mobility = _change(("independent", "assisted", "bedridden"))
    return dictionaries({"risk_level": _change(RISK_LEVELS)}, others) | dictionaries(
        {"mobility_status": mobility}, others
    )


def _change(values: Sequence[str]) -> SearchStrategy[Json]:
    # Chosen by a step from the old value, so that the new one differs by construction.
    last = len(values) - 1
    return st.builds(
        lambda old, step: {"old": values[old], "new": values[(old + step) % len(values)]},
        st.integers(0, last),
        st.integers(1, last),
    )
