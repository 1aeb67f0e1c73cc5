"""Webhook bodies that a server must refuse, without harm to whoever is served at that moment.

They come in two kinds: `hostile_values` are JSON values, to be sent like any other body, and
`hostile_bytes` are raw bytes, because what is wrong with them would be lost as soon as a JSON
library had seen them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from strategies.bodies import as_bytes
from strategies.parts import Json, literally, webhook_ids
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
    (("payload", "risk_level"), (None, "", 0, "low", "EXTREME", [])),
)
_WRONG_DETECTION: tuple[tuple[Path, tuple[Any, ...]], ...] = (
    (_DETECTION, (None, "", 0, True, [], [0, 0.5])),
    ((*_DETECTION, "stage"), (-1, 5, 0.5, None, "", "2", True, [], 10**30)),
    ((*_DETECTION, "confidence"), (-0.1, 1.1, 85, None, "", "0.5", True, [], 1e308)),
    ((*_DETECTION, "bbox"), (None, "", 0, [], [0, 0, 1], [0, 0, 1, 1, 1], ["0", "0", "1", "1"])),
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
    return literally(
        st.one_of(
            st.builds(dict),
            st.sampled_from(_NOT_OBJECTS),
            completed.map(lambda body: [body]),
            st.builds(_without, completed, st.sampled_from(_REQUIRED)),
            st.builds(_with, completed, _each(_WRONG)),
            st.builds(_with, completed, _each(_WRONG_DETECTION)),
        )
    )


def _each(wrong: Sequence[tuple[Path, Sequence[Any]]]) -> SearchStrategy[tuple[Path, Any]]:
    return st.sampled_from([(path, value) for path, values in wrong for value in values])


def _with(body: Any, change: tuple[Path, Any]) -> Any:
    path, value = change
    _holder(body, path)[path[-1]] = value
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
# CPython's parsers give up at 1,000 levels (3.11) or at 10,000 (3.12 and 3.13).
_LEVELS = (1_000, 12_000)
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
    return _hostile_bytes(envelopes(_COMPLETED, codes))


@composite
def _hostile_bytes(draw: DrawFn, completed: SearchStrategy[Json]) -> bytes:
    spoil = draw(st.sampled_from((None, *_SPOILERS)))
    return draw(st.sampled_from(_PLAIN)) if spoil is None else spoil(draw, draw(completed))


def _cut(draw: DrawFn, body: Json) -> bytes:
    return as_bytes(body)[: draw(st.integers(1, 60))]


def _followed(draw: DrawFn, body: Json) -> bytes:
    return as_bytes(body) + draw(st.sampled_from((b"}", b",", b"{}", b"null", b"\x00")))


def _with_number(draw: DrawFn, body: Json) -> bytes:
    body["payload"]["detections"][0]["confidence"] = "@number@"
    return as_bytes(body).replace(b'"@number@"', draw(st.sampled_from(_NUMBERS)).encode())


def _encoded(draw: DrawFn, body: Json) -> bytes:
    body["payload"]["image_path"] = "/images/ñ.jpg"
    text = json.dumps(body, ensure_ascii=False)
    # What Latin-1 cannot hold of a code is replaced: the encoding of the rest is what counts.
    return text.encode(draw(st.sampled_from(_ENCODINGS)), errors="replace")


def _event_twice(_draw: DrawFn, body: Json) -> bytes:
    return b'{"event_type": "detection.failed", ' + as_bytes(body)[1:]


def _identifier_twice(draw: DrawFn, body: Json) -> bytes:
    return as_bytes({"webhook_id": draw(webhook_ids())})[:-1] + b", " + as_bytes(body)[1:]


def _with_surrogate(_draw: DrawFn, body: Json) -> bytes:
    body["payload"]["patient_code"] += "\ud800"
    return as_bytes(body)


def _with_depth(draw: DrawFn, body: Json) -> bytes:
    body["payload"]["metadata"] = "@deep@"
    levels = draw(st.sampled_from(_LEVELS))
    return as_bytes(body).replace(b'"@deep@"', b"[" * levels + b"]" * levels)


def _noise(draw: DrawFn, _body: Json) -> bytes:
    # No UTF-8 sequence begins with this byte, so the rest may be anything.
    return b"\xff" + draw(st.binary(max_size=40))


_SPOILERS: tuple[Callable[[DrawFn, Json], bytes], ...] = (
    _cut,
    _followed,
    _with_number,
    _encoded,
    _event_twice,
    _identifier_twice,
    _with_surrogate,
    _with_depth,
    _noise,
)
