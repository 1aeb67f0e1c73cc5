"""Which calls run together: short programs whose calls meet on one patient.

Two calls that never touch the same patient tell nothing about races, and neither do two that both
only read. So the first two calls of every program are concurrent, have equal or near-equal codes,
and at least one of them writes; whatever follows is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from strategies.confusables import skeleton
from strategies.parts import Json, webhook_ids
from strategies.patient_codes import code_pools
from strategies.payloads import (
    envelope,
    envelopes,
    patient_updated,
    plain_completed,
    plain_update,
)

Kind: TypeAlias = Literal["deliver", "get_patient", "update_patient", "duplicate", "batch"]

# In the order in which they shrink.
KINDS: tuple[Kind, ...] = ("deliver", "get_patient", "update_patient", "duplicate", "batch")
# Without an earlier delivery a duplicate is a delivery, so it has to be drawn more often.
_DRAWN: tuple[Kind, ...] = (*KINDS, "duplicate")

_POOLS = code_pools()
# Whose they are is filled in later. Handlers do most on the first event, so it comes more often.
_ENVELOPES = envelopes(("detection.completed",), st.just("")) | envelopes(codes=st.just(""))
_UPDATES = patient_updated(st.just(""))
_MORE = st.lists(_ENVELOPES, min_size=1, max_size=2)
_KINDS_DRAWN = st.sampled_from(_DRAWN)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a program.

    ``body`` is the envelope of a ``deliver`` or ``duplicate``, the payload of an
    ``update_patient``, the list of envelopes of a ``batch`` and ``None`` for a ``get_patient``.
    ``after`` is the position of an earlier call that must have returned before this one starts;
    ``None`` lets it start at any moment.
    """

    kind: Kind
    code: str
    body: Json | list[Json] | None = None
    after: int | None = None


@composite
def programs(
    draw: DrawFn,
    max_calls: int = 4,
    codes: SearchStrategy[Sequence[str]] = _POOLS,
) -> list[Call]:
    """Two to ``max_calls`` calls on the codes of one pool; shrinks towards two on one code.

    The first two may always overlap, and their codes have the same `skeleton`. A ``duplicate``
    delivers the envelope of an earlier ``deliver`` again, with the same ``webhook_id``, as a client
    does whose answer was lost: concurrently with it or after it. All other envelopes of a program
    have identifiers of their own.

    >>> from strategies import minimal
    >>> [(call.kind, call.code, call.after) for call in minimal(programs())]
    [('deliver', 'TEST-001', None), ('deliver', 'TEST-001', None)]
    >>> again = minimal(programs(), lambda calls: any(call.kind == "duplicate" for call in calls))
    >>> [(call.kind, call.code) for call in again]
    [('deliver', 'TEST-001'), ('duplicate', 'TEST-001')]
    >>> again[0].body == again[1].body
    True
    """
    if max_calls < 2:
        raise ValueError(f"max_calls is {max_calls}, but it takes two calls to meet")
    pool = draw(codes)
    # The first identifier of a test case costs a draw, the rest are free. It must not be the first
    # call's, or that call could not be shrunk away.
    draw(webhook_ids())
    calls: list[Call] = []
    sketches = st.lists(_sketches(pool, max_calls), min_size=2, max_size=max_calls)
    for sketch in draw(sketches):
        calls.append(_fitted(sketch, calls))
    return calls


@composite
def _sketches(draw: DrawFn, pool: Sequence[str], max_calls: int) -> Call:
    # A sketch knows nothing of the other calls, so that shrinking can take any of them away.
    # Fewer draws count as simpler, so every kind draws the same things, wanted or not: otherwise
    # programs would shrink to those calls that need the least data and not to the first of `KINDS`.
    kind = draw(_KINDS_DRAWN)
    codes = st.sampled_from(pool)
    code = draw(codes)
    after = draw(st.none() | st.integers(0, max_calls - 2))
    detailed = draw(st.booleans())
    body: Any = envelope("detection.completed", plain_completed(code), draw(webhook_ids()))
    if kind == "update_patient":
        body = draw(_UPDATES) if detailed else plain_update(code)
    elif detailed and kind != "get_patient":
        body = draw(_ENVELOPES)
    if kind == "batch":
        body = [body, *(_about(draw(codes), other) for other in draw(_MORE))]
    return Call(kind, code, body, after)


def _fitted(sketch: Call, earlier: Sequence[Call]) -> Call:
    """The sketch with its references resolved, and made to meet the first call if it is second."""
    kind, code = sketch.kind, sketch.code
    after = sketch.after if len(earlier) > 1 and (sketch.after or 0) < len(earlier) else None
    if len(earlier) == 1:
        if skeleton(code) != skeleton(earlier[0].code):
            code = earlier[0].code
        if kind == earlier[0].kind == "get_patient":
            kind = "deliver"
    if kind == "duplicate":
        originals = [at for at, call in enumerate(earlier) if call.kind == "deliver"]
        if originals:
            at = next((at for at in originals if earlier[at].code == code), originals[0])
            # A copy: a target that changes what it is given must not change the original as well.
            body = deepcopy(earlier[at].body)
            return Call(kind, earlier[at].code, body, None if after is None else at)
        kind = "deliver"
    return Call(kind, code, None if kind == "get_patient" else _about(code, sketch.body), after)


def _about(code: str, body: Any) -> Any:
    if isinstance(body, list):
        return [_about(code, body[0]), *body[1:]]
    payload = body.get("payload", body)
    payload["patient_code"] = code
    return body
