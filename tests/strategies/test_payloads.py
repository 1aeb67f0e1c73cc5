"""What the strategies for webhook bodies promise: valid ones, unusual ones and hostile ones."""

import ast
import json
import re
from datetime import datetime
from uuid import UUID

import pytest
from hypothesis import Phase, given, settings
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

same_every_time = settings(database=None, derandomize=True, max_examples=20, deadline=None)


_samples = {}


def sample(bodies, at_least=300):
    """Values drawn once for all tests; 300 are enough for kinds that come once in 50."""
    if len(_samples.get(bodies, ())) < at_least:
        values = _samples[bodies] = []

        @settings(same_every_time, max_examples=at_least, phases=[Phase.generate])
        @given(bodies())
        def draw(value):
            values.append(value)

        draw()
    return _samples[bodies]


def is_text(value):
    return isinstance(value, str) and value != ""


def is_number(value, low, high):
    return type(value) in {int, float} and low <= value <= high


def is_objects(value):
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def is_texts(value):
    return isinstance(value, list) and all(is_text(one) for one in value)


def is_detection(value):
    """``stage`` and ``confidence`` in their ranges; what else is known is right if it is there."""
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
        "changes": lambda value: (
            isinstance(value, dict) and all(set(one) == {"old", "new"} for one in value.values())
        ),
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
    if not found and "total_detected" in payload:
        assert payload["total_detected"] == len(payload["detections"])
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

    if max(map(len, re.findall(rb"[\]}]*", raw))) > 500:
        return ["too deep"]
    try:
        text = raw.decode("utf-8")
        body = json.loads(text, object_pairs_hook=each_key_once, parse_constant=no_constant)
        json.dumps(body, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        return [str(error)]
    return problems(body)


@pytest.mark.parametrize("bodies", [envelopes, minimal_bodies, edge_bodies])
def test_valid_bodies_follow_the_domain_and_survive_a_json_round_trip(bodies):
    for body in sample(bodies, 60):
        assert problems(body) == [], body
        assert json.loads(as_bytes(body)) == body


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


@pytest.mark.parametrize("key", ["patient_info", "total_detected"])
def test_optional_keys_are_drawn_one_without_the_others(key):
    required = KEYS[detection_completed]
    assert list(minimal(detection_completed(), lambda payload: key in payload)) == [*required, key]


@pytest.mark.parametrize("level", ["CRITICAL"])
def test_a_higher_risk_level_is_drawn_and_brings_nothing_else_with_it(level):
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
    def run():
        drawn = []

        @settings(same_every_time, max_examples=20)
        @given(envelopes())
        def draw(body):
            drawn.append(body)

        draw()
        return drawn

    assert run() == run() != []


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
    "end of a scale": lambda body: (
        [one["confidence"] for one in body["payload"]["detections"]] in ([0], [1])
    ),
    "no detections": lambda body: body["payload"]["detections"] == [],
    "many detections": lambda body: len(body["payload"]["detections"]) >= 20,
    "no identifier": lambda body: "webhook_id" not in body,
    "no timestamp": lambda body: "timestamp" not in body,
    "unknown key": lambda body: (
        {"x_unknown", "id", "created_at", "self", "__class__", "", "ñ"} & {*body, *body["payload"]}
    ),
    "beyond ASCII": lambda body: any(not str(v).isascii() for v in body["payload"].values()),
    "beyond 64 bits": lambda body: body["payload"]["detections"][0]["area"] >= 2**64,
    "deep": lambda body: depth(body["payload"]["metadata"]) > 9,
    "moment not in UTC": lambda body: not body["timestamp"].endswith("+00:00"),
    "identifier in capitals": lambda body: body["webhook_id"] != body["webhook_id"].lower(),
}


@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
def test_this_edge_is_found(edge):
    def at_the_edge(body):
        try:
            return edge(body)
        except (KeyError, IndexError):
            return False

    found = any(map(at_the_edge, sample(edge_bodies)))
    assert found


def test_hostile_values_are_strict_json_and_really_invalid():
    for body in sample(hostile_values):
        assert json.loads(as_bytes(body)) == body
        assert problems(body) != [], body


def test_hostile_bytes_are_never_a_strict_unambiguous_valid_body():
    for raw in sample(hostile_bytes):
        assert isinstance(raw, bytes)
        assert what_is_wrong_with(raw) != [], raw


@pytest.mark.parametrize("bodies", [edge_bodies, hostile_values, hostile_bytes])
def test_no_body_is_so_long_that_hypothesis_warns_when_printing_it(bodies):
    assert max(len(repr(body)) for body in sample(bodies)) < 29_000


PRINTED = {
    "analysis": (envelopes(["analysis.ready"]), lambda _: True),
    "change": (patient_updated(), lambda payload: "gender" in payload["changes"]),
    "count": (detection_completed(), lambda payload: "total_detected" in payload),
    "edge": (edge_bodies(), lambda body: "version" not in body),
    "value": (hostile_values(), lambda body: body and type(body) is dict and "payload" in body),
    "bytes": (hostile_bytes(), lambda raw: b"NaN" in raw),
}


@pytest.mark.parametrize(("bodies", "wanted"), PRINTED.values(), ids=PRINTED)
def test_a_failing_test_prints_the_body_itself_and_no_call_that_made_it(bodies, wanted):
    shown = []

    @settings(same_every_time, max_examples=1_000, phases=[Phase.generate])
    @given(body=bodies)
    def fails(body):
        if wanted(body):
            shown[:] = [body]
            raise AssertionError

    with pytest.raises(AssertionError) as failure:
        fails()
    call = "\n".join(failure.value.__notes__).split("Failing test case: ")[1].split("\nExplanation")
    (argument,) = ast.parse(call[0].split("\n\n")[0]).body[0].value.keywords
    assert ast.literal_eval(argument.value) == shown[0]


@same_every_time
@given(envelopes())
def test_the_judge_of_raw_bodies_lets_valid_ones_pass(body):
    assert what_is_wrong_with(as_bytes(body)) == []


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"1" * 5_000, ValueError),  # more digits than Python converts
        (b"[" * 12_000 + b"]" * 12_000, RecursionError),
    ],
    ids=["digits", "levels"],
)
def test_the_json_module_fails_on_this_otherwise_than_with_its_own_error(raw, error):
    with pytest.raises(error) as failure:
        json.loads(raw)
    assert failure.type is error


RAW = {
    "empty": lambda raw: raw == b"",
    "cut off": lambda raw: raw.startswith(b'{"event_type": "det') and raw[-1:] != b"}",
    "no number": lambda raw: re.search(b'"confidence": (NaN|-?Inf|1e999|1111|01|0x|1,5|[+.])', raw),
    "no UTF-8": lambda raw: raw.startswith(b"\xff") and not raw.startswith(b"\xff\xfe"),
    "another encoding": lambda raw: raw[1:2] == b"\x00" or raw[:4] == b"\xff\xfe{\x00",
    "byte order mark": lambda raw: raw.startswith(b"\xef\xbb\xbf"),
    "event twice": lambda raw: raw.count(b'"event_type"') == 2,
    "identifier twice": lambda raw: raw.count(b'"webhook_id"') == 2,
    "lone surrogate": lambda raw: b"\\ud800" in raw,
    "deeper than the parser": lambda raw: b"[" * 1_000 in raw,
}


@pytest.mark.parametrize("kind", RAW.values(), ids=RAW)
def test_this_hostile_kind_of_bytes_is_found(kind):
    found = any(map(kind, sample(hostile_bytes)))
    assert found


VALUES = {
    "no event": lambda body: type(body) is dict and body and "event_type" not in body,
    "unhashable event": lambda body: type(body) is dict and body.get("event_type") in ([], {}),
    "unknown event": lambda body: (
        type(body) is dict and is_text(body.get("event_type")) and problems(body) == ["event_type"]
    ),
    "list": lambda body: body == [],
    "null": lambda body: body is None,
    "wrong stage": lambda body: re.search('"stage": ("|-1|5|n|t)', json.dumps(body)),
    "wrong confidence": lambda body: re.search('"confidence": ("|-|8|n|t)', json.dumps(body)),
    "wrong patient": lambda body: re.search('"patient_code": [^"]', json.dumps(body)),
    "wrong risk": lambda body: re.search('"risk_level": ([^"]|"E|"l|"")', json.dumps(body)),
}


@pytest.mark.parametrize("kind", VALUES.values(), ids=VALUES)
def test_this_hostile_kind_of_value_is_found(kind):
    found = any(map(kind, sample(hostile_values)))
    assert found


def test_hostile_bodies_are_values_and_bytes_and_the_simplest_is_an_empty_object():
    assert minimal(hostile_bodies()) == {}
    assert minimal(hostile_bodies(), lambda body: isinstance(body, bytes)) == b""


def test_what_a_body_is_drawn_from_is_not_changed_by_changing_the_body():
    """The tables of wrong values are shared; a target may append to a list that it was sent."""

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
