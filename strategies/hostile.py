"""Webhook bodies that a server must refuse, without harm to whoever is served at that moment.

They come in two kinds: `hostile_values` are JSON values, to be sent like any other body, and
`hostile_bytes` are raw bytes, because what is wrong with them would be lost as soon as a JSON
library had seen them.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from strategies.bodies import as_bytes
from strategies.parts import webhook_ids
from strategies.payloads import Codes, envelopes

Path: TypeAlias = tuple[str | int, ...]

_COMPLETED = ("detection.completed",)
_DETECTION = ("payload", "detections", 0)
# A list or an object is no dictionary key, so a look-up of the event's handlers may raise; True is
# an int to isinstance; the strings are what a form or a spreadsheet makes of the number.
_WRONG: tuple[tuple[Path, tuple[Any, ...]], ...] = (
    (("event_type",), (None, "", 0, True, [], {}, ["detection.completed"])),
    (("event_type",), ("detection.unknown", "patient.deleted", "detection", "*", "__class__")),
    (("payload",), (None, "", 0, True, [], "TEST-001", [{}])),
    (("payload", "patient_code"), (None, 0, 1.5, True, [], {}, ["TEST-001"])),
    (("payload", "detections"), (None, "", 0, True, {}, {"stage": 0, "confidence": 0.5})),
    (_DETECTION, (None, "", 0, True, [], [0, 0.5])),
    ((*_DETECTION, "stage"), (-1, 5, 0.5, None, "", "2", True, [], 10**30)),
    ((*_DETECTION, "confidence"), (-0.1, 1.1, 85, None, "", "0.5", True, [], 1e308)),
    ((*_DETECTION, "bbox"), (None, "", 0, [], [0, 0, 1], [0, 0, 1, 1, 1], ["0", "0", "1", "1"])),
    (("payload", "risk_level"), (None, "", 0, "low", "EXTREME", [])),
)
_REQUIRED: tuple[Path, ...] = (("event_type",), ("payload",), ("payload", "patient_code"))
_NOT_OBJECTS: tuple[Any, ...] = ([], None, True, 0, "", "detection.completed", [{}], 1e308)


def hostile_values(codes: Codes = None) -> SearchStrategy[Any]:
    """JSON values that are no valid body: keys missing, types or values wrong, not an object.

    >>> from strategies import minimal
    >>> minimal(hostile_values())
    {}
    >>> minimal(hostile_values(), lambda body: not isinstance(body, dict))
    []
    """
    completed = envelopes(_COMPLETED, codes)
    return st.one_of(
        st.builds(dict),
        st.sampled_from(_NOT_OBJECTS).map(deepcopy),
        completed.map(lambda body: [body]),
        st.builds(_without, completed, st.sampled_from(_REQUIRED)),
        _spoilt(completed),
    )


@composite
def _spoilt(draw: DrawFn, bodies: SearchStrategy[Any]) -> Any:
    body = draw(bodies)
    path, values = draw(st.sampled_from(_WRONG))
    _holder(body, path)[path[-1]] = deepcopy(draw(st.sampled_from(values)))
    return body


def _without(body: Any, path: Path) -> Any:
    del _holder(body, path)[path[-1]]
    return body


def _holder(body: Any, path: Path) -> Any:
    for step in path[:-1]:
        body = body[step]
    return body


def hostile_bodies(codes: Codes = None) -> SearchStrategy[Any]:
    """Everything that a server must refuse: `hostile_values`, then `hostile_bytes` (raw bytes).

    >>> from strategies import minimal
    >>> minimal(hostile_bodies()), minimal(hostile_bodies(), lambda body: isinstance(body, bytes))
    ({}, b'')
    """
    return hostile_values(codes) | hostile_bytes(codes)


# What may stand where a number is expected. Python reads the first three although JSON does not
# have them, makes infinity of the fourth, and refuses the fifth with a ValueError that is no
# JSONDecodeError: its limit on the digits of an int is 4,300.
_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5_000, "01", "0x1", "1,5", "+1", ".5")
_ENCODINGS = ("utf-16", "latin-1", "utf-8-sig", "utf-32-le")
_LEVELS = (1_000, 10_000, 100_000)
_PLAIN = (b"", b" ", b"{", b"null,", b"'{}'", b"event_type=analysis.ready", b"<event/>", b"\x00")


def hostile_bytes(codes: Codes = None) -> SearchStrategy[bytes]:
    r"""Raw bodies that are not strict JSON in UTF-8, or that parsers disagree about.

    Nothing, half a body, one and a half; numbers that JSON does not have; other encodings and byte
    order marks; an escaped lone surrogate; metadata so deep that a recursive parser gives up; the
    same key twice with different values (RFC 8259 leaves open which one counts).

    >>> from strategies import minimal
    >>> minimal(hostile_bytes())
    b''
    >>> minimal(hostile_bytes(), lambda raw: raw[:2] == b"\xff\xfe")[:8]
    b'\xff\xfe{\x00"\x00e\x00'
    """
    completed = envelopes(_COMPLETED, codes)
    sent = completed.map(as_bytes)
    return st.one_of(
        st.sampled_from(_PLAIN),
        st.builds(lambda raw, end: raw[:end], sent, st.integers(1, 60)),
        st.builds(bytes.__add__, sent, st.sampled_from((b"}", b",", b"{}", b"null", b"\x00"))),
        st.builds(_with_number, completed, st.sampled_from(_NUMBERS)),
        st.builds(_encoded, completed, st.sampled_from(_ENCODINGS)),
        st.builds(_key_twice, sent, st.just("event_type"), st.just("detection.failed")),
        st.builds(_key_twice, sent, st.just("webhook_id"), webhook_ids()),
        completed.map(_with_surrogate),
        st.builds(_with_depth, completed, st.sampled_from(_LEVELS)),
        # No UTF-8 sequence begins with this byte, so the rest may be anything.
        st.binary(max_size=40).map(b"\xff".__add__),
    )


def _with_number(body: Any, number: str) -> bytes:
    body["payload"]["detections"][0]["confidence"] = "@number@"
    return as_bytes(body).replace(b'"@number@"', number.encode())


def _with_depth(body: Any, levels: int) -> bytes:
    body["payload"]["metadata"] = "@deep@"
    return as_bytes(body).replace(b'"@deep@"', b'{"a":' * levels + b"0" + b"}" * levels)


def _with_surrogate(body: Any) -> bytes:
    body["payload"]["patient_code"] += "\ud800"
    return as_bytes(body)


def _encoded(body: Any, encoding: str) -> bytes:
    body["payload"]["image_path"] = "/images/ñ.jpg"
    # Whatever the code is made of: that Latin-1 cannot hold is not what this is about.
    return json.dumps(body, ensure_ascii=False).encode(encoding, errors="replace")


def _key_twice(raw: bytes, key: str, value: str) -> bytes:
    return as_bytes({key: value})[:-1] + b", " + raw[1:]
