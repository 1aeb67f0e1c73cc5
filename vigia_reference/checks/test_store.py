"""The clinical store keeps a report whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vigia_reference.clinical import ClinicalStore, sync_store
from vigia_reference.codes import patient_code
from vigia_reference.payloads import DetectionReport

PAYLOAD = {
    "patient_code": "CD-2025-003",
    "image_path": "/images/one.jpg",
    "detections": [{"stage": 1, "confidence": 0.6}, {"stage": 3, "confidence": 0.9}],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ClinicalStore]:
    """Return an empty store in a file."""
    found = sync_store("sqlite", str(tmp_path / "clinical.db"))
    found.install()
    yield found
    found.close()


def test_a_report_is_stored_with_all_its_detections(store: ClinicalStore) -> None:
    store.save_detection(DetectionReport.from_payload(PAYLOAD, patient_code))
    assert store.list_images() == [("/images/one.jpg", "CD-2025-003", 2)]
    stages = [one["stage"] for one in store.get_patient_detections("CD-2025-003")]
    assert sorted(stages) == [1, 3]
    assert store.unaudited_images() == []


def test_a_patient_is_made_once(store: ClinicalStore) -> None:
    first, second = (store.get_or_create_patient("CD-2025-003") for _ in range(2))
    assert first["id"] == second["id"]
