"""What Hypothesis draws for Vigia.

Codes that are equal, nearly equal or no codes at all; webhook bodies that are valid, at the limits
or wrong; and programs: the few calls that run together. Everything is listed in the order from
simple to complex, so that a failure shrinks to the plainest call that still shows it.

>>> from hypothesis import given
>>> @given(programs(max_calls=2))
... def two_calls_meet(calls):
...     assert skeleton(calls[0].code) == skeleton(calls[1].code)
"""

from strategies._minimal import minimal
from strategies.bodies import as_bytes, edge_bodies, minimal_bodies
from strategies.confusables import confusable_with, skeleton
from strategies.hostile import hostile_bodies, hostile_bytes, hostile_values
from strategies.interleavings import arrivals, policies, seeds
from strategies.parts import detections, timestamps, webhook_ids
from strategies.patient_codes import (
    code_pools,
    colliding_codes,
    hostile_codes,
    patient_codes,
    pooled_codes,
)
from strategies.payloads import (
    EVENTS,
    analysis_ready,
    detection_completed,
    detection_failed,
    envelopes,
    patient_updated,
    protocol_triggered,
)
from strategies.programs import Call, programs

__all__ = [
    "EVENTS",
    "Call",
    "analysis_ready",
    "arrivals",
    "as_bytes",
    "code_pools",
    "colliding_codes",
    "confusable_with",
    "detection_completed",
    "detection_failed",
    "detections",
    "edge_bodies",
    "envelopes",
    "hostile_bodies",
    "hostile_bytes",
    "hostile_codes",
    "hostile_values",
    "minimal",
    "minimal_bodies",
    "patient_codes",
    "patient_updated",
    "policies",
    "pooled_codes",
    "programs",
    "protocol_triggered",
    "seeds",
    "skeleton",
    "timestamps",
    "webhook_ids",
]
