"""Threads and tasks on real databases, at every isolation level: nothing lost, nothing twice."""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.vigia_reference.clinical.conftest import Asked, place
from vigia_reference.clinical import (
    BACKENDS,
    SYNC_BACKENDS,
    async_store,
    isolation_levels,
    sync_store,
)
from vigia_reference.clinical.errors import CarePlanNotFound, DuplicatePatient, PatientNotFound
from vigia_reference.payloads import DetectedLesion, DetectionReport

WORKERS = 4
CALLS = 15
KEPT = ("K-1", "K-2")
COMING_AND_GOING = ("G-1", "G-2")
REFUSALS = (CarePlanNotFound, DuplicatePatient, PatientNotFound)

SETUPS = [
    (backend, str(level), options)
    for backend in BACKENDS
    for level in isolation_levels(backend)
    for options in ([{}, {"journal": "delete"}] if "sqlite" in backend else [{}])
]


class Acknowledged:
    """What callers were told is stored."""

    def __init__(self) -> None:
        self.images: dict[str, tuple[str, int]] = {}
        self.factors: dict[str, set[str]] = {code: set() for code in KEPT}
        self.errors: list[Exception] = []


class Worker:
    """Makes calls that are drawn from its own numbers."""

    def __init__(self, number: int, acknowledged: Acknowledged) -> None:
        self.name = f"w{number}"
        self.numbers = random.Random(number)
        self.acknowledged = acknowledged
        self.calls = 0

    async def work(self, store: Any) -> None:
        for self.calls in range(CALLS):
            try:
                await self.call(store)
            except REFUSALS:
                pass
            except Exception as error:
                self.acknowledged.errors.append(error)

    async def call(self, store: Any) -> None:
        kept = self.numbers.choice(KEPT)
        going = self.numbers.choice(COMING_AND_GOING)
        either = self.numbers.choice((kept, going))
        name = f"{self.name}-{self.calls}"
        match self.numbers.randrange(12):
            case 0 | 1:
                lesions = tuple([DetectedLesion(s, 0.5, "{}") for s in range(len(name) % 3)])
                report = DetectionReport(kept, lesions, image_path=name, image_hash="00")
                await store.save_detection(report)
                self.acknowledged.images[name] = (kept, len(lesions))
            case 2 | 3:
                await store.update_risk_factors(kept, {name: True})
                self.acknowledged.factors[kept].add(name)
            case 4:
                await store.get_or_create_patient(going)
            case 5:
                await store.delete_patient(going)
            case 6:
                await store.bulk_insert([f"B-{name}", going, f"A-{name}"])
            case 7:
                await store.mark_possible_duplicates(*self.numbers.sample((*KEPT, going), 2))
            case 8:
                await store.open_care_plan(either, "x", "y")
            case 9:
                plans = await store.list_care_plans(either)
                assert sum(plan["status"] == "active" for plan in plans) <= 1
                if plans:
                    chosen = self.numbers.choice(plans)
                    change = self.numbers.choice((store.close_care_plan, store.resume_care_plan))
                    await change(chosen["id"])
            case 10:
                assert await store.unaudited_images() == []
            case 11:
                await store.migrate()


@pytest.mark.parametrize(("backend", "level", "options"), SETUPS)
def test_nothing_is_lost_or_doubled_under_load(
    backend: str, level: str, options: dict[str, Any], tmp_path: Path
) -> None:
    where = place(backend, tmp_path)
    acknowledged = Acknowledged()
    workers = [Worker(number, acknowledged) for number in range(WORKERS)]
    plain = sync_store("sqlite" if "sqlite" in backend else "psycopg", where, **options)
    for code in KEPT:
        plain.get_or_create_patient(code)
    if backend in SYNC_BACKENDS:
        store = sync_store(backend, where, isolation=level, **options)
        _in_threads(store, workers)
        store.close()
    else:
        asyncio.run(_in_tasks(backend, where, workers, isolation=level, **options))
    plain.migrate()
    assert acknowledged.errors == []
    _check(plain, acknowledged)
    plain.close()


class _Plain:
    """A store for threads, awaited without ever waiting for a loop."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        async def call(*args: Any) -> Any:
            return method(*args)

        return call


def _in_threads(store: Any, workers: list[Worker]) -> None:
    def work(worker: Worker) -> None:
        with contextlib.suppress(StopIteration):
            worker.work(_Plain(store)).send(None)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _in_tasks(backend: str, where: str, workers: list[Worker], **options: Any) -> None:
    store = async_store(backend, where, **options)
    await asyncio.gather(*[worker.work(Asked(store)) for worker in workers])
    await store.close()


def _check(store: Any, acknowledged: Acknowledged) -> None:
    patients = {one["patient_code"]: one for one in store.list_patients()}
    codes = Counter(one["patient_code"] for one in store.list_patients())
    assert set(codes.values()) == {1}
    assert {code[2:] for code in codes if code[0] == "A"} == {
        code[2:] for code in codes if code[0] == "B"
    }
    images = {path: (code, count) for path, code, count in store.list_images()}
    assert acknowledged.images == images
    assert store.unaudited_images() == []
    for code in KEPT:
        found = store.get_patient_detections(code)
        assert patients[code]["detection_count"] == len(found)
        assert store.highest_stage(code) == max([one["stage"] for one in found], default=None)
        assert set(patients[code]["risk_factors"] or {}) == acknowledged.factors[code]
        assert sum(plan["status"] == "active" for plan in store.list_care_plans(code)) <= 1
    duplicates = [patients[code]["attributes"].get("possible_duplicates", []) for code in KEPT]
    assert (KEPT[1] in duplicates[0]) == (KEPT[0] in duplicates[1])
