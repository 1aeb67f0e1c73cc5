"""Valid webhook bodies that are unusual: as small as allowed, or with one thing at its limit.

All of them must be accepted. Those that must be refused are in `strategies.hostile`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from strategies.parts import Json, confidences
from strategies.payloads import Codes, codes_or_default, envelopes

Edge: TypeAlias = Callable[[DrawFn, Json], None]

_COMPLETED = ("detection.completed",)
_ENDS = ((0, 0.0), (4, 1.0), (0, 1), (4, 0), (0, -0.0), (4, 5e-324))
_COUNTS = (0, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30)
_SECONDS = (0, 1e-9, 1e9, 1.7976931348623157e308)
_DEPTHS = (2, 10, 100)
_TEXTS = ("ñ", "e\u0301", "🏥", "\u202e", "ﷺ" * 999)
_MOMENTS = (
    "2025-01-01T00:00:00Z", "2025-01-01T00:00:00", "2025-01-01T00:00:00+14:00",
    "2024-02-29T23:59:59.999999-12:00", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00",
)  # fmt: skip


def as_bytes(body: object) -> bytes:
    """The request body: raw bytes as they are, anything else as strict JSON in UTF-8.

    >>> as_bytes({"event_type": None}), as_bytes(b"{")
    (b'{"event_type": null}', b'{')
    """
    return body if isinstance(body, bytes) else json.dumps(body, allow_nan=False).encode()


def minimal_bodies(codes: Codes = None) -> SearchStrategy[Json]:
    """The strategy document's own body: an upper-case event, a code, one short detection.

    >>> from strategies import minimal
    >>> minimal(minimal_bodies())  # doctest: +NORMALIZE_WHITESPACE
    {'event_type': 'DETECTION_COMPLETED',
     'payload': {'patient_code': 'TEST-001', 'detections': [{'confidence': 0.5, 'stage': 0}]}}
    """
    detection = st.fixed_dictionaries({"confidence": confidences(), "stage": st.integers(0, 4)})
    payload = st.fixed_dictionaries(
        {"patient_code": codes_or_default(codes), "detections": detection.map(lambda one: [one])}
    )
    return st.fixed_dictionaries({"event_type": st.just("DETECTION_COMPLETED"), "payload": payload})


def edge_bodies(codes: Codes = None) -> SearchStrategy[Json]:
    """Valid envelopes with one thing at its limit.

    Stage and confidence at both ends, no detections or hundreds, optional keys left out, unknown
    keys added, odd but legal timestamps, an identifier in capitals, any Unicode in texts, numbers
    that neither a 64-bit integer nor a double holds exactly, metadata a hundred levels deep.

    >>> from strategies import minimal
    >>> minimal(edge_bodies(), lambda body: not body["payload"].get("detections"))["payload"]
    ... # doctest: +NORMALIZE_WHITESPACE
    {'patient_code': 'TEST-001', 'timestamp': '2025-01-01T00:00:00+00:00',
     'image_path': '/images/a.jpg', 'detections': [], 'risk_level': 'LOW'}
    >>> minimal(edge_bodies(), lambda body: "webhook_id" not in body).keys()
    dict_keys(['event_type', 'timestamp', 'payload', 'source', 'version'])
    """
    return _edge_bodies(envelopes(_COMPLETED, codes), envelopes(codes=codes))


@composite
def _edge_bodies(
    draw: DrawFn, completed: SearchStrategy[Json], any_event: SearchStrategy[Json]
) -> Json:
    edge, of_detections = draw(st.sampled_from(_EDGES))
    body = draw(completed if of_detections else any_event)
    edge(draw, body)
    return body


def _ends_of_scales(draw: DrawFn, body: Json) -> None:
    detection = body["payload"]["detections"][0]
    detection["stage"], detection["confidence"] = draw(st.sampled_from(_ENDS))


def _how_many(draw: DrawFn, body: Json) -> None:
    payload = body["payload"]
    # With more than these an example would have more than the 30,000 characters from which on
    # Hypothesis warns, and suites that turn warnings into errors would show that and no failure.
    copies = draw(st.sampled_from((0, 20, 200)))
    payload["detections"] = [deepcopy(payload["detections"][0]) for _ in range(copies)]
    if "total_detected" in payload:
        payload["total_detected"] = copies


def _left_out(draw: DrawFn, body: Json) -> None:
    optional = ("webhook_id", "timestamp", "source", "version")
    for key in draw(st.lists(st.sampled_from(optional), min_size=1, unique=True)):
        del body[key]


def _added(draw: DrawFn, body: Json) -> None:
    where = draw(st.sampled_from((body, body["payload"])))
    # "id" and "created_at" are columns: code that passes a payload on as keywords trips over them.
    key = draw(st.sampled_from(("x_unknown", "id", "created_at", "self", "__class__", "", "ñ")))
    where[key] = draw(st.none() | st.booleans() | st.just({"x_unknown": []}))


def _odd_moment(draw: DrawFn, body: Json) -> None:
    body["timestamp"] = draw(st.sampled_from(_MOMENTS))


def _capital_identifier(_draw: DrawFn, body: Json) -> None:
    body["webhook_id"] = body["webhook_id"].upper()


def _any_text(draw: DrawFn, body: Json) -> None:
    texts = ("image_path", "error", "reason", "trigger_reason", "analysis_type")
    # Surrogates do not fit into UTF-8, and a PostgreSQL text has no room for NUL: both are hostile.
    anything = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
    key = next(key for key in texts if key in body["payload"])
    body["payload"][key] = draw(st.sampled_from(_TEXTS) | anything)


def _huge(draw: DrawFn, body: Json) -> None:
    body["payload"]["processing_time"] = draw(st.sampled_from(_SECONDS))
    body["payload"]["detections"][0]["area"] = draw(st.sampled_from(_COUNTS))


def _deep(draw: DrawFn, body: Json) -> None:
    metadata: Json = {}
    for _ in range(draw(st.sampled_from(_DEPTHS))):
        metadata = {"a": metadata}
    body["payload"]["metadata"] = metadata


# An edge and whether it needs the payload of `detection.completed`.
_EDGES: tuple[tuple[Edge, bool], ...] = (
    (_ends_of_scales, True),
    (_how_many, True),
    (_left_out, False),
    (_added, False),
    (_odd_moment, False),
    (_capital_identifier, False),
    (_any_text, False),
    (_huge, True),
    (_deep, True),
)
