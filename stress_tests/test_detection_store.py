"""Is a report of a detection stored whole or not at all, and in which order are they told?

Reports of two patients are saved by threads and by tasks, which may be cancelled, while others read
the patients' detections and look whether the audit log knows every image; on SQLite the disk may
be full meanwhile. A report counts as stored when all its rows are there: patient, image, model,
detections, audit. What was acknowledged is stored, detections are told newest first, and the
patient's counter is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import count
from typing import Any

from hypothesis import strategies as st

from desvelo import at_rest, fault, operation
from stress_tests.clinical import Aiosqlite, Asyncpg, Clinic, Psycopg, Sqlite, case_of
from stress_tests.outage import Outage

CODES = ("VG-2025-001", "VG-2025-002")


class Reports:
    """What one caller after the other would be told: the stages, those stored last first."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[int, ...]] = dict.fromkeys(CODES, ())

    def partition(self, name: str, arguments: dict[str, Any]) -> str:
        return str(arguments["code"])

    def save(self, code: str, stages: list[int]) -> int:
        self.stages[code] = (*reversed(stages), *self.stages[code])
        return len(stages)

    def newest(self, code: str) -> tuple[int, ...]:
        return self.stages[code]


class DetectionStore(Clinic):
    """Reports of two patients, and those who read them."""

    model = Reports

    def begin(self) -> None:
        self.numbers = count(1)
        self.reports: dict[str, tuple[str, int]] = {}
        self.acknowledged: dict[str, None] = {}

    @operation(
        code=st.sampled_from(CODES), stages=st.lists(st.integers(0, 4), min_size=1, max_size=2)
    )
    def save(self, code: str, stages: list[int]) -> Any:
        path = f"/images/{next(self.numbers)}.jpg"
        self.reports[path] = (code, len(stages))

        def tell(saved: Any) -> int:
            self.acknowledged[path] = None
            return len(saved.detection_ids)

        return self.ask(tell, (self.store.save_detection, self.report(path, code, stages)))

    @operation(code=st.sampled_from(CODES))
    def newest(self, code: str) -> Any:
        def tell(detections: list[dict[str, Any]]) -> tuple[int, ...]:
            return tuple(detection["stage"] for detection in detections)

        return self.ask(tell, (self.store.get_patient_detections, code))

    @operation()
    def audit(self) -> Any:
        return self.ask(none_unaudited, self.store.unaudited_images)

    @at_rest()
    def every_image_is_audited(self) -> Any:
        return self.ask(none_unaudited, self.store.unaudited_images)

    @at_rest()
    def reports_are_stored_whole_or_not_at_all(self) -> Any:
        def check(images: list[tuple[str, str, int]]) -> None:
            stored = {path for path, _, _ in images}
            lost = [path for path in self.acknowledged if path not in stored]
            assert not lost, f"acknowledged but not stored: {lost}"
            assert len(stored) == len(images), f"stored more than once: {images}"
            for path, code, detections in images:
                sent = self.reports[path]
                assert (code, detections) == sent, f"sent {sent}, stored {(code, detections)}"

        return self.ask(check, self.store.list_images)

    @at_rest()
    def counters_agree_with_the_rows(self) -> Any:
        def check(patients: list[dict[str, Any]], images: list[tuple[str, str, int]]) -> None:
            rows: Counter[str] = Counter()
            for _, code, detections in images:
                rows[code] += detections
            for patient in patients:
                code, counted = patient["patient_code"], patient["detection_count"]
                assert counted == rows[code], f"{code!r} counts {counted}, has {rows[code]}"

        return self.ask(check, self.store.list_patients, self.store.list_images)

    def report(self, path: str, code: str, stages: Iterable[int]) -> Any:
        """Return what the store takes."""
        return self.target.report(
            {
                "patient_code": code,
                "image_path": path,
                "detections": [{"stage": stage, "confidence": 0.9} for stage in stages],
            }
        )


def none_unaudited(paths: list[str]) -> None:
    """Fail when there are images that the audit log does not mention."""
    assert not paths, f"stored, but not in the audit log: {paths}"


class SqliteDetectionStore(DetectionStore, Sqlite):
    """Threads, each with a connection of its own to one file, on a disk that may be full."""

    faults = (fault.disk_full,)
    expected_errors = (Outage,)


class AiosqliteDetectionStore(DetectionStore, Aiosqlite):
    """Tasks, whose statements run in threads, on a disk that may be full."""

    faults = (fault.disk_full,)
    expected_errors = (Outage,)


class PsycopgDetectionStore(DetectionStore, Psycopg):
    """Threads on PostgreSQL, at its own default."""

    isolation = "read committed"


class AsyncpgDetectionStore(DetectionStore, Asyncpg):
    """Tasks on PostgreSQL, of which each transaction sees one moment."""

    isolation = "repeatable read"


TestSqliteDetectionStore = case_of(SqliteDetectionStore, 0.2)
TestAiosqliteDetectionStore = case_of(AiosqliteDetectionStore, 0.1)
TestPsycopgDetectionStore = case_of(PsycopgDetectionStore, 0.05)
TestAsyncpgDetectionStore = case_of(AsyncpgDetectionStore, 0.07)
