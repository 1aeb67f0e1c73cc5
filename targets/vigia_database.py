"""What Vigía's adapter gives to the database phase: the three operations, and what must hold."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from vigia_reference.clinical import ClinicalStore, sync_store
from vigia_reference.clinical.attempts import Attempts, Effect, Pause, Rollback
from vigia_reference.clinical.parts import ClinicalParts
from vigia_reference.clinical.statements import Rows
from vigia_reference.clinical.transaction import Transaction
from vigia_reference.codes import patient_code
from vigia_reference.payloads import DetectionReport

T = TypeVar("T")

MEETING = 4
"""So many calls in a row register one new code; every other iteration has a code of its own."""
DRIVERS = {"sqlite": "sqlite", "postgresql": "psycopg"}


class VigiaDatabaseWork:
    """Threads that register patients, save detections for them and read those back."""

    def __init__(self, backend: str, where: str, parts: ClinicalParts) -> None:
        self._effects: list[str] = []
        """The names of those that tell of conflicts; appending is atomic."""
        counted = replace(parts, attempts=_counting(parts.attempts, self._effects.append))
        self._store: ClinicalStore = sync_store(DRIVERS[backend], where, parts=counted, size=20)
        self._store.install()
        self._saved: list[str] = []
        """Images whose report was acknowledged."""
        self._meetings = itertools.count()
        self._codes: dict[int, str] = {}
        """The code that each thread works on."""
        self._registered: list[tuple[str, str]] = []
        """(id, code) of the patients that were returned."""
        self._latest: dict[int, str] = {}
        """The one of each thread that was so last."""
        self._missed: list[str] = []
        """Of these, the ones that were not there when they were read back."""
        self.operations: Mapping[str, Callable[[int, int], object]] = {
            "get_or_create_patient": self._register,
            "save_detection": self._save,
            "get_patient_detections": self._read,
        }

    def problems(self) -> list[str]:
        """Return what was lost, or is there twice or in halves."""
        images = self._store.list_images()
        stored = Counter(path for path, _, _ in images)
        patients = self._store.list_patients()
        codes = Counter(patient["patient_code"] for patient in patients)
        known = {str(patient["id"]) for patient in patients}
        strange = {code for identifier, code in self._registered if identifier not in known}
        found = []
        for what, wrong in (
            (
                "reports that were saved and are lost",
                [one for one in self._saved if not stored[one]],
            ),
            ("reports that are stored twice", [one for one, count in stored.items() if count > 1]),
            (
                "reports that are stored in halves",
                [path for path, _, count in images if count != 2],
            ),
            ("codes whose answer was a patient that is not stored", sorted(strange)),
            ("codes with several patients", [one for one, count in codes.items() if count > 1]),
            ("reports that were not there at once after they had been saved", self._missed),
            ("reports that are missing in the audit log", self._store.unaudited_images()),
        ):
            if wrong:
                found.append(f"{what}: {len(wrong)}, such as {wrong[0]}")
        return found

    def conflicts(self) -> int:
        """Return how often a transaction, or its commit, was refused because of others."""
        return self._effects.count(Pause.__name__)

    def retries(self) -> int:
        """Return how often one was begun anew: a commit that had to wait is none."""
        return self._effects.count(Rollback.__name__)

    def close(self) -> None:
        """Close all connections."""
        self._store.close()

    def _register(self, thread: int, iteration: int) -> None:
        code = f"STRESS-{thread}-{iteration}"
        if not iteration % 2:
            # New for the few threads that happen to come now.
            code = f"STRESS-ALL-{next(self._meetings) // MEETING}"
        self._codes[thread] = code
        patient = self._store.get_or_create_patient(code)
        assert patient["patient_code"] == code
        self._registered.append((str(patient["id"]), code))

    def _save(self, thread: int, iteration: int) -> None:
        image = f"/images/{thread}-{iteration}.jpg"
        payload = {
            "patient_code": self._codes[thread],
            "image_path": image,
            "detections": [{"stage": 2, "confidence": 0.85}, {"stage": 3, "confidence": 0.6}],
        }
        self._store.save_detection(DetectionReport.from_payload(payload, patient_code))
        self._saved.append(image)
        self._latest[thread] = image

    def _read(self, thread: int, iteration: int) -> None:
        image = f"/images/{thread}-{iteration}.jpg"
        found = self._store.get_patient_detections(self._codes[thread])
        saved = self._latest.get(thread) == image
        if saved and image not in {one["image_path"] for one in found}:
            self._missed.append(image)


def _counting(attempts: type[Attempts], note: Callable[[str], None]) -> type[Attempts]:
    """Return the same way to try transactions, which notes what others made it do."""

    class Counting(attempts):  # type: ignore[valid-type, misc]
        def carry_out(self, transaction: Transaction[T]) -> Generator[Effect, Rows, T]:
            steps = super().carry_out(transaction)
            effect = next(steps)
            while True:
                if isinstance(effect, Pause | Rollback):
                    note(type(effect).__name__)
                try:
                    rows = yield effect
                except BaseException as error:
                    following = _thrown(steps, error)
                else:
                    following = _sent(steps, rows)
                if isinstance(following, StopIteration):
                    result: T = following.value
                    return result
                effect = following

    return Counting


def _sent(steps: Generator[Effect, Rows, Any], rows: Rows) -> Effect | StopIteration:
    try:
        return steps.send(rows)
    except StopIteration as end:
        return end


def _thrown(steps: Generator[Effect, Rows, Any], error: BaseException) -> Effect | StopIteration:
    try:
        return steps.throw(error)
    except StopIteration as end:
        return end
