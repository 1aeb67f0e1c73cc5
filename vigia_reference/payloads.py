"""What the payload of an event must hold before anything is stored for it."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SEVERITIES = ("critical", "high", "medium", "low", "info")
RISK_LEVELS = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
AGE_RANGES = ("0-18", "19-40", "41-60", "61-80", "81+")
GENDERS = ("male", "female", "other")
_DEFAULT_MODEL = ("vigia-lpp", "1.0")


class InvalidPayload(ValueError):
    """A payload that a handler cannot work with; the message names the field."""


@dataclass(frozen=True, slots=True)
class DetectedLesion:
    """One lesion that the model saw: `stage` 0 to 4, `confidence` 0 to 1."""

    stage: int
    confidence: float
    results: str
    """The whole detection as JSON text, `bbox`, `area` and `severity` included."""


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """The payload of `detection.completed`, checked."""

    patient_code: str
    lesions: tuple[DetectedLesion, ...]
    risk_level: str | None = None
    image_path: str = ""
    image_hash: str = ""
    metadata: str = "{}"
    model_name: str = _DEFAULT_MODEL[0]
    model_version: str = _DEFAULT_MODEL[1]
    processing_time_ms: float | None = None
    patient_info: Mapping[str, Any] | None = None
    timestamp: datetime | None = None
    """When the detection was made; decides whether `patient_info` is news."""

    @classmethod
    def from_payload(
        cls,
        payload: Mapping[str, Any],
        identify: Callable[[object], str],
        timestamp: datetime | None = None,
    ) -> "DetectionReport":
        """Check *payload*; *identify* is the policy that turns a raw code into a patient's code.

        Raises `InvalidPayload` or `InvalidPatientCode`.

        >>> report = DetectionReport.from_payload(
        ...     {"patient_code": "A-1", "detections": [{"confidence": 0.9, "stage": 2}]}, str
        ... )
        >>> report.lesions[0].stage
        2
        """
        code = identify(payload.get("patient_code"))
        detections = payload.get("detections")
        if not isinstance(detections, list):
            raise InvalidPayload("detections must be a list")
        risk_level = payload.get("risk_level")
        if risk_level is not None and risk_level not in RISK_LEVELS:
            raise InvalidPayload(f"risk_level must be one of {', '.join(RISK_LEVELS)}")
        metadata = payload.get("metadata")
        if metadata is None:
            metadata = {}
        if not isinstance(metadata, dict):
            raise InvalidPayload("metadata must be an object")
        image_path = text_field(payload, "image_path", default="")
        image_hash = metadata.get("file_hash") or hashlib.sha256(image_path.encode()).hexdigest()
        info = payload.get("patient_info")
        if info is not None and not isinstance(info, dict):
            raise InvalidPayload("patient_info must be an object")
        return cls(
            patient_code=code,
            lesions=tuple([_lesion(found) for found in detections]),
            risk_level=risk_level,
            image_path=image_path,
            image_hash=text_field({"file_hash": image_hash}, "file_hash"),
            metadata=_as_json(metadata) if metadata else "{}",
            model_name=text_field(metadata, "model_name", default=_DEFAULT_MODEL[0]),
            model_version=text_field(metadata, "model_version", default=_DEFAULT_MODEL[1]),
            processing_time_ms=_milliseconds(payload.get("processing_time")),
            patient_info=patient_fields(info) if info else None,
            timestamp=timestamp,
        )

    @property
    def worst_stage(self) -> int:
        """The highest stage among the lesions, 0 when there is none."""
        return max((lesion.stage for lesion in self.lesions), default=0)


def new_values(changes: object) -> dict[str, Any]:
    """The values that `patient.updated` sets: `{field: {old, new}}` becomes `{field: new}`.

    >>> new_values({"mobility_status": {"old": "walks", "new": "bedridden"}})
    {'mobility_status': 'bedridden'}
    """
    if not isinstance(changes, dict):
        raise InvalidPayload("changes must be an object")
    values: dict[str, Any] = {}
    for field, change in changes.items():
        if not isinstance(change, dict) or "new" not in change:
            raise InvalidPayload(f"changes.{field} must be an object with old and new")
        values[field] = change["new"]
    return patient_fields(values)


def patient_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields whose values the patient table restricts, and return all of them.

    Raises `InvalidPayload` for a value outside its list, or one that JSON cannot hold.
    """
    for field, allowed in (("age_range", AGE_RANGES), ("gender", GENDERS)):
        value = values.get(field)
        if value is not None and value not in allowed:
            raise InvalidPayload(f"{field} must be one of {', '.join(allowed)}")
    if values.get("mobility_status") is not None:
        text_field(values, "mobility_status")
    _as_json(values)
    return dict(values)


def text_field(payload: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """A text field of *payload*; raises `InvalidPayload` when it is missing or cannot be stored."""
    value = payload.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InvalidPayload(f"{name} must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidPayload(f"{name} holds a lone surrogate") from None
    return value


def _lesion(found: object) -> DetectedLesion:
    if not isinstance(found, dict):
        raise InvalidPayload("a detection must be an object")
    stage = found.get("stage")
    # bool is an int to Python, but no stage to a nurse.
    if not isinstance(stage, int) or isinstance(stage, bool) or not 0 <= stage <= 4:
        raise InvalidPayload("stage must be a whole number from 0 to 4")
    confidence = _number(found.get("confidence"), "confidence")
    if not 0 <= confidence <= 1:
        raise InvalidPayload("confidence must be a number from 0 to 1")
    severity = found.get("severity")
    if severity is not None and severity not in SEVERITIES:
        raise InvalidPayload(f"severity must be one of {', '.join(SEVERITIES)}")
    bbox = found.get("bbox")
    if bbox is not None:
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise InvalidPayload("bbox must be [x, y, w, h]")
        for side in bbox:
            _number(side, "bbox")
    if found.get("area") is not None:
        _number(found["area"], "area")
    return DetectedLesion(stage, confidence, _as_json(found))


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidPayload(f"{name} must be a number")
    try:
        number = float(value)
    except OverflowError:
        raise InvalidPayload(f"{name} is out of range") from None
    if not math.isfinite(number):
        raise InvalidPayload(f"{name} must be finite")
    return number


def _milliseconds(seconds: object) -> float | None:
    return None if seconds is None else _number(seconds, "processing_time") * 1000.0


def _as_json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidPayload("a value cannot be stored as JSON") from None
