"""What the strategies for webhook bodies promise: valid ones, unusual ones and hostile ones."""

import json
import re
from datetime import datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import (
    EVENTS,
    analysis_ready,
    as_bytes,
    detection_completed,
    detection_failed,
    detections,
    edge_bodies,
    envelopes,
    hostile_bodies,
    hostile_bytes,
    hostile_values,
    minimal,
    minimal_bodies,
    patient_updated,
    protocol_triggered,
    timestamps,
    webhook_ids,
)

same_every_time = settings(database=None, derandomize=True, max_examples=100, deadline=None)


def is_text(value):
    return isinstance(value, str) and value != ""


def is_number(value, low, high):
    return type(value) in {int, float} and low <= value <= high


def is_objects(value):
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def is_texts(value):
    return isinstance(value, list) and all(is_text(one) for one in value)


def is_detection(value):
    """``stage`` and ``confidence`` in their ranges; what else is known is right when it is there."""
    bbox = value.get("bbox", [0, 0, 1, 1])
    return (
        type(value.get("stage")) is int
        and 0 <= value["stage"] <= 4
        and is_number(value.get("confidence"), 0, 1)
        and isinstance(bbox, list)
        and len(bbox) == 4
        and all(is_number(number, 0, 10_000) for number in bbox)
        and is_number(value.get("area", 1), 0, float("inf"))
        and value.get("severity", "info") in ("critical", "high", "medium", "low", "info")
    )


# What has to be there, from the table of events; the minimal body shows that of the first event
# only two keys have to.
REQUIRED = {
    "detection.completed": {
        "detections": lambda value: is_objects(value) and all(map(is_detection, value)),
    },
    "detection.failed": {"error": is_text, "image_path": is_text},
    "patient.updated": {
        "update_type": is_text,
        "changes": lambda value: all(set(one) == {"old", "new"} for one in value.values()),
        "reason": is_text,
    },
    "protocol.triggered": {
        "protocol_name": is_text,
        "trigger_reason": is_text,
        "actions": is_texts,
        "priority": is_text,
    },
    "analysis.ready": {
        "analysis_id": UUID,
        "analysis_type": is_text,
        "results_url": is_text,
        "triggers_analyses": lambda value: value == [] or is_texts(value),
    },
}
OPTIONAL = {
    "timestamp": datetime.fromisoformat,
    "image_path": is_text,
    "risk_level": lambda value: value in ("CRITICAL", "HIGH", "MEDIUM", "LOW"),
    "patient_info": lambda value: isinstance(value, dict),
    "metadata": lambda value: isinstance(value, dict),
    "processing_time": lambda value: is_number(value, 0, float("inf")),
}


def problems(body):
    """Everything in which a body departs from the domain's shapes and limits."""
    if not isinstance(body, dict):
        return ["not an object"]
    event = body.get("event_type")
    event = event.replace("_", ".").lower() if isinstance(event, str) else None
    if event not in REQUIRED:
        return ["event_type"]
    payload = body.get("payload")
    if not isinstance(payload, dict):
        return ["payload"]
    found = [key for key, right in REQUIRED[event].items() if not right(payload.get(key))]
    found += [key for key, right in OPTIONAL.items() if key in payload and not right(payload[key])]
    if not is_text(payload.get("patient_code")):
        found.append("patient_code")
    if payload.get("total_detected", 0) not in (0, len(payload.get("detections", []))):
        found.append("total_detected")
    if "timestamp" in body:
        datetime.fromisoformat(body["timestamp"])
    if "webhook_id" in body:
        UUID(body["webhook_id"])
    return found


def what_is_wrong_with(raw):
    """Why raw bytes are no strict, unambiguous, valid JSON body; empty when they are one."""

    def each_key_once(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def no_constant(name):
        raise ValueError(f"{name} is not JSON")

    if max(map(len, re.findall(rb"}*", raw))) > 500:
        return ["too deep"]
    try:
        text = raw.decode("utf-8")
        body = json.loads(text, object_pairs_hook=each_key_once, parse_constant=no_constant)
        json.dumps(body, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        return [str(error)]
    return problems(body)


ALL_VALID = {
    "envelopes": envelopes(),
    "minimal_bodies": minimal_bodies(),
    "edge_bodies": edge_bodies(),
}


@pytest.mark.parametrize("bodies", ALL_VALID.values(), ids=ALL_VALID)
def test_valid_bodies_follow_the_domain_and_survive_a_json_round_trip(bodies):
    @same_every_time
    @given(bodies)
    def check(body):
        assert problems(body) == []
        assert json.loads(as_bytes(body)) == body

    check()


@pytest.mark.parametrize("event", EVENTS)
def test_an_envelope_of_one_event_is_whole(event):
    @settings(same_every_time, max_examples=30)
    @given(envelopes([event], codes=st.just("CODE")))
    def check(body):
        assert list(body) == [
            "event_type", "timestamp", "payload", "source", "version", "webhook_id",
        ]  # fmt: skip
        assert (body["event_type"], body["source"], body["version"]) == (
            event,
            "vigia_detect",
            "1.0",
        )
        assert body["payload"]["patient_code"] == "CODE"
        assert problems(body) == []

    check()


def test_the_events_are_those_of_the_domain():
    assert set(EVENTS) == set(REQUIRED)


KEYS = {
    detection_completed: ["patient_code", "timestamp", "image_path", "detections", "risk_level"],
    detection_failed: ["patient_code", "error", "image_path"],
    patient_updated: ["patient_code", "update_type", "changes", "reason"],
    protocol_triggered: ["protocol_name", "patient_code", "trigger_reason", "actions", "priority"],
    analysis_ready: [
        "analysis_id", "patient_code", "analysis_type", "results_url", "triggers_analyses",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "keys"), KEYS.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_the_simplest_payload_has_the_required_keys_only(payload, keys):
    assert list(minimal(payload())) == keys


def test_the_simplest_detection_event_is_one_plain_detection_at_low_risk():
    payload = minimal(envelopes())["payload"]
    assert payload["patient_code"] == "TEST-001"
    assert payload["detections"] == [{"stage": 0, "confidence": 0.5}]
    assert payload["risk_level"] == "LOW"


@pytest.mark.parametrize("key", ["patient_info", "processing_time", "metadata", "total_detected"])
def test_optional_keys_are_drawn_one_without_the_others(key):
    required = KEYS[detection_completed]
    assert list(minimal(detection_completed(), lambda payload: key in payload)) == [*required, key]


@pytest.mark.parametrize("level", ["LOW", "MEDIUM", "HIGH", "CRITICAL"])
def test_every_risk_level_is_drawn_and_brings_nothing_else_with_it(level):
    payload = minimal(detection_completed(), lambda payload: payload["risk_level"] == level)
    assert payload == {**minimal(detection_completed()), "risk_level": level}


@same_every_time
@given(patient_updated())
def test_a_change_always_changes_something(payload):
    assert all(change["old"] != change["new"] for change in payload["changes"].values())


@same_every_time
@given(st.lists(webhook_ids(), min_size=2, max_size=5))
def test_identifiers_of_one_test_case_differ(ids):
    assert len(set(ids)) == len(ids)
    assert all(UUID(one).version == 4 for one in ids)


def test_identifiers_differ_when_everything_else_has_been_shrunk_away():
    first, second = minimal(st.tuples(envelopes(), envelopes()))
    assert first.pop("webhook_id") != second.pop("webhook_id")
    assert first == second


def test_two_runs_draw_the_same_bodies_whatever_the_clock_says():
    runs = ([], [])
    for drawn in runs:
        settings(same_every_time, max_examples=20)(
            given(envelopes())(lambda b, to=drawn: to.append(b))
        )()
    assert runs[0] == runs[1] != []


@same_every_time
@given(timestamps())
def test_timestamps_are_moments_in_utc(timestamp):
    moment = datetime.fromisoformat(timestamp)
    assert 2025 <= moment.year <= 2027
    assert moment.utcoffset().total_seconds() == 0


@same_every_time
@given(minimal_bodies())
def test_a_minimal_body_has_nothing_but_what_the_document_sends(body):
    assert body == {
        "event_type": "DETECTION_COMPLETED",
        "payload": {
            "patient_code": body["payload"]["patient_code"],
            "detections": [
                {
                    "confidence": body["payload"]["detections"][0]["confidence"],
                    "stage": body["payload"]["detections"][0]["stage"],
                }
            ],
        },
    }


def depth(value):
    return 1 + max(map(depth, value.values()), default=0) if isinstance(value, dict) else 0


EDGES = {
    "lowest": lambda body: {"stage": 0, "confidence": 0.0} in body["payload"]["detections"],
    "highest": lambda body: {"stage": 4, "confidence": 1.0} in body["payload"]["detections"],
    "confidence as an int": lambda body: (
        [type(one["confidence"]) for one in body["payload"]["detections"]] == [int]
    ),
    "no detections": lambda body: body["payload"]["detections"] == [],
    "a thousand detections": lambda body: len(body["payload"]["detections"]) == 1_000,
    "no identifier": lambda body: "webhook_id" not in body,
    "no timestamp": lambda body: "timestamp" not in body,
    "unknown key around": lambda body: "x_unknown" in body,
    "unknown key inside": lambda body: "x_unknown" in body["payload"],
    "beyond ASCII": lambda body: not body["payload"]["image_path"].isascii(),
    "beyond 64 bits": lambda body: body["payload"]["detections"][0]["area"] >= 2**64,
    "deep": lambda body: depth(body["payload"]["metadata"]) > 100,
    "another zone": lambda body: body["timestamp"].endswith("+14:00"),
    "identifier in capitals": lambda body: body["webhook_id"] != body["webhook_id"].lower(),
}


@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
def test_this_edge_is_found(edge):
    def at_the_edge(body):
        try:
            return edge(body)
        except (KeyError, IndexError):
            return False

    minimal(edge_bodies(), at_the_edge)


@settings(same_every_time, max_examples=300)
@given(hostile_values())
def test_hostile_values_are_strict_json_and_really_invalid(body):
    assert json.loads(as_bytes(body)) == body
    assert problems(body) != []


@settings(same_every_time, max_examples=300)
@given(hostile_bytes())
def test_hostile_bytes_are_never_a_strict_unambiguous_valid_body(raw):
    assert isinstance(raw, bytes)
    assert what_is_wrong_with(raw) != []


@same_every_time
@given(envelopes())
def test_the_judge_of_raw_bodies_lets_valid_ones_pass(body):
    assert what_is_wrong_with(as_bytes(body)) == []


@settings(same_every_time, max_examples=300)
@given(hostile_bytes())
def test_hostile_bytes_fit_into_the_megabyte_that_aiohttp_accepts(raw):
    assert len(raw) < 1024**2


def parsed(raw):
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return {}


def fails_with(error):
    def check(raw):
        try:
            json.loads(raw)
        except ValueError as raised:
            return type(raised) is error
        except RecursionError:
            return error is RecursionError
        return False

    return check


RAW = {
    "empty": lambda raw: raw == b"",
    "cut off": lambda raw: raw.startswith(b'{"event_type": "detection.comp') and raw[-1:] != b"}",
    "not a number": lambda raw: b"NaN" in raw,
    "infinite": lambda raw: b"1e999" in raw,
    "more digits than Python converts": fails_with(ValueError),
    "no UTF-8": fails_with(UnicodeDecodeError),
    "UTF-16": lambda raw: raw.startswith(b"\xff\xfe{\x00"),
    "byte order mark": lambda raw: raw.startswith(b"\xef\xbb\xbf"),
    "event twice": lambda raw: raw.count(b'"event_type"') == 2,
    "identifier twice": lambda raw: raw.count(b'"webhook_id"') == 2,
    "lone surrogate": lambda raw: b"\\ud800" in raw,
    "deeper than the parser": fails_with(RecursionError),
}


@pytest.mark.parametrize("kind", RAW.values(), ids=RAW)
def test_this_hostile_kind_of_bytes_is_found(kind):
    minimal(hostile_bytes(), kind)


VALUES = {
    "no event": lambda body: isinstance(body, dict) and "event_type" not in body and body,
    "unhashable event": lambda body: isinstance(body, dict) and body.get("event_type") == {},
    "unknown event": lambda body: isinstance(body, dict) and body.get("event_type") == "*",
    "list": lambda body: body == [],
    "null": lambda body: body is None,
    "stage 5": lambda body: '"stage": 5' in json.dumps(body),
    "confidence as text": lambda body: '"confidence": "0.5"' in json.dumps(body),
    "no patient": lambda body: '"patient_code": null' in json.dumps(body),
}


@pytest.mark.parametrize("kind", VALUES.values(), ids=VALUES)
def test_this_hostile_kind_of_value_is_found(kind):
    minimal(hostile_values(), kind)


def test_hostile_bodies_are_values_and_bytes_and_the_simplest_is_an_empty_object():
    assert minimal(hostile_bodies()) == {}
    assert minimal(hostile_bodies(), lambda body: isinstance(body, bytes)) == b""


def test_what_a_body_is_drawn_from_is_not_changed_by_changing_the_body():
    """The tables of wrong values are shared; a target may well append to a list that it was sent."""

    @same_every_time
    @given(hostile_values())
    def spoil(body):
        for value in (body, *(body.values() if isinstance(body, dict) else ())):
            if isinstance(value, list):
                value.append("spoilt")

    spoil()
    assert minimal(hostile_values(), lambda body: isinstance(body, list)) == []


@same_every_time
@given(detections())
def test_detections_are_valid_alone(detection):
    assert is_detection(detection)
