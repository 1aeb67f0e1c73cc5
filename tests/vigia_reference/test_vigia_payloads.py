"""What a payload must hold."""

from typing import Any

import pytest

from vigia_reference.payloads import DetectionReport, InvalidPayload, new_values


def report(**payload: Any) -> DetectionReport:
    return DetectionReport.from_payload({"patient_code": "A-1", "detections": [], **payload}, str)


def test_a_full_detection_is_accepted() -> None:
    found = report(
        detections=[
            {
                "stage": 4,
                "confidence": 1,
                "bbox": [1, 2, 3, 4],
                "area": 12.5,
                "severity": "critical",
            }
        ],
        risk_level="CRITICAL",
        image_path="/images/a.jpg",
        processing_time=1.5,
        total_detected=1,
        metadata={"model_name": "m", "model_version": "2"},
        patient_info={"age_range": "81+"},
    )
    assert found.worst_stage == 4
    assert found.processing_time_ms == 1500
    assert (found.model_name, found.model_version) == ("m", "2")
    assert len(found.image_hash) == 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"detections": None},
        {"detections": {}},
        {"detections": ["x"]},
        {"detections": [{"confidence": 0.5}]},
        {"detections": [{"stage": 5, "confidence": 0.5}]},
        {"detections": [{"stage": True, "confidence": 0.5}]},
        {"detections": [{"stage": 1, "confidence": 1.01}]},
        {"detections": [{"stage": 1, "confidence": float("inf")}]},
        {"detections": [{"stage": 1, "confidence": 10**400}]},
        {"detections": [{"stage": 1, "confidence": 0.5, "bbox": [1, 2, 3]}]},
        {"detections": [{"stage": 1, "confidence": 0.5, "severity": "CRITICAL"}]},
        {"risk_level": "high"},
        {"risk_level": ["HIGH"]},
        {"metadata": []},
        {"image_path": 5},
        {"image_path": "\ud800"},
        {"processing_time": "fast"},
        {"patient_info": {"gender": "x"}},
        {"patient_info": []},
    ],
)
def test_a_wrong_field_is_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        report(**wrong)


@pytest.mark.parametrize("changes", [None, [], {"gender": "male"}, {"gender": {"old": "male"}}])
def test_changes_must_be_pairs_of_old_and_new(changes: object) -> None:
    with pytest.raises(InvalidPayload):
        new_values(changes)
