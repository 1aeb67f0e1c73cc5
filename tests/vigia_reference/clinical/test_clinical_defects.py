"""Each planted defect of the clinical store shows in one fixed interleaving, the correct code not.

One call is carried out up to a statement, another one as a whole, then the rest of the first.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.vigia_reference import VigiaReference, load
from tests.vigia_reference.clinical.conftest import place
from tests.vigia_reference.clinical.stepwise import rest, stepwise, until_commit, until_query
from vigia_reference.clinical import ClinicalStore, isolation_levels
from vigia_reference.clinical.errors import DeadlockDetected, DuplicatePatient, StoreError
from vigia_reference.clinical.models import UnknownModel
from vigia_reference.clinical.transaction import Work
from vigia_reference.defects import DEFECTS
from vigia_reference.defects.database import DATABASE_DEFECTS
from vigia_reference.defects.threads import THREAD_DEFECTS

Symptom = Callable[[ClinicalStore, float], bool]
"""Whether a store shows the defect; the number is how long the second call is waited for.

With a defect the second call never waits for the first, so it is waited for to its end.  In the
correct code it mostly does; then it is let run after a moment, and any moment will do.
"""

TO_ITS_END, A_MOMENT = 60.0, 0.05


def interleaved(
    store: ClinicalStore, work: Work[Any], text: str, second: Callable[[], Any], wait: float
) -> Any:
    """Carry out *work* until a statement with *text*, then *second*, then the rest of *work*.

    Where *second* has to wait for *work*, it runs when that is over.
    """
    first = stepwise(store, work)
    until_query(first, text)
    other = _started(second)
    other.join(wait)
    try:
        return rest(first)
    finally:
        other.join()


def two_patients_with_one_code(store: ClinicalStore, wait: float) -> bool:
    creation = store.operations.get_or_create_patient("A")
    interleaved(store, creation, "SELECT", lambda: store.get_or_create_patient("A"), wait)
    return len(store.list_patients()) > 1


def a_patient_that_is_not_stored(store: ClinicalStore, wait: float) -> bool:
    creation = store.operations.get_or_create_patient("A")
    returned = interleaved(
        store, creation, "SELECT", lambda: store.get_or_create_patient("A"), wait
    )
    found = store.find_patient("A")
    return found is None or bool(found["id"] != returned["id"])


def a_lost_risk_factor(store: ClinicalStore, wait: float) -> bool:
    store.get_or_create_patient("A")
    update = store.operations.update_risk_factors("A", {"one": 1})
    read = "patient_code = :code"
    interleaved(store, update, read, lambda: store.update_risk_factors("A", {"two": 2}), wait)
    patient = store.find_patient("A")
    assert patient is not None
    return set(patient["risk_factors"]) != {"one", "two"}


def two_plans_opened(store: ClinicalStore, wait: float) -> bool:
    store.get_or_create_patient("A")
    opening = store.operations.open_care_plan("A", "x", "y")
    interleaved(store, opening, "care_plans", lambda: store.open_care_plan("A", "v", "w"), wait)
    return _active_plans(store) > 1


def two_plans_resumed(store: ClinicalStore, wait: float) -> bool:
    store.get_or_create_patient("A")
    plans = []
    for _ in range(2):
        plans.append(store.open_care_plan("A", "x", "y")["id"])
        store.close_care_plan(plans[-1])
    resuming = store.operations.resume_care_plan(plans[0])
    interleaved(store, resuming, "WHERE patient_id", lambda: store.resume_care_plan(plans[1]), wait)
    return _active_plans(store) > 1


def _active_plans(store: ClinicalStore) -> int:
    return sum(plan["status"] == "active" for plan in store.list_care_plans("A"))


def an_image_that_is_not_audited(store: ClinicalStore, wait: float) -> bool:
    first = stepwise(store, store.operations.save_detection(REPORT))
    until_commit(first)
    seen = store.unaudited_images()
    rest(first)
    return bool(seen)


def a_deadlock(store: ClinicalStore, wait: float) -> bool:
    store.bulk_insert(["A", "B"])
    deadlocks: list[DeadlockDetected] = []

    def end(marking: Any) -> None:
        try:
            rest(marking)
        except DeadlockDetected as error:
            deadlocks.append(error)

    def mark_the_other_way() -> None:
        marking = stepwise(store, store.operations.mark_possible_duplicates("A", "B"))
        until_query(marking, "UPDATE")
        locked.set()
        end(marking)

    locked = threading.Event()
    first = stepwise(store, store.operations.mark_possible_duplicates("B", "A"))
    until_query(first, "UPDATE")
    second = _started(mark_the_other_way)
    locked.wait(wait)
    end(first)
    second.join()
    return bool(deadlocks)


def a_failed_insert_is_committed_or_in_the_way(store: ClinicalStore, wait: float) -> bool:
    store.get_or_create_patient("B")
    with pytest.raises(DuplicatePatient):
        store.bulk_insert(["A", "B"])
    try:
        store.get_or_create_patient("C")
        return store.find_patient("A") is not None
    except StoreError:
        return True


def a_call_that_does_not_end(store: ClinicalStore, wait: float) -> bool:
    first = stepwise(store, store.operations.get_or_create_patient("A"))
    until_query(first, "SELECT")
    other = _started(lambda: store.get_or_create_patient("A"))
    other.join(wait)
    try:
        return len(list(itertools.islice(first, 100))) == 100
    finally:
        first.close()
        other.join()


SYMPTOMS: list[tuple[str, Symptom]] = [
    ("select-then-insert-without-constraint", two_patients_with_one_code),
    ("constraint-error-lost", a_patient_that_is_not_stored),
    ("risk-factors-read-modify-write", a_lost_risk_factor),
    ("two-active-care-plans", two_plans_opened),
    ("two-active-care-plans", two_plans_resumed),
    ("audit-row-outside-transaction", an_image_that_is_not_audited),
    ("lock-order-deadlock", a_deadlock),
    ("connection-returned-in-transaction", a_failed_insert_is_committed_or_in_the_way),
    ("unbounded-retry", a_call_that_does_not_end),
]
CASES = [
    (name, symptom, backend, str(level))
    for name, symptom in SYMPTOMS
    for backend in ("sqlite", "psycopg")
    if backend in DEFECTS[name].backends
    for level in isolation_levels(backend)
]
REPORT = VigiaReference("", None).report(  # type: ignore[arg-type]
    {"patient_code": "A", "detections": [{"stage": 1, "confidence": 0.5}], "image_path": "a.jpg"}
)


@pytest.mark.parametrize(("name", "symptom", "backend", "level"), CASES)
def test_a_defect_shows_where_the_catalogue_says(
    name: str, symptom: Symptom, backend: str, level: str, tmp_path: Path
) -> None:
    known = DEFECTS[name]
    expected = not known.isolation or level in known.isolation
    with _opened(load(name), backend, level, tmp_path) as store:
        assert symptom(store, TO_ITS_END) == expected


@pytest.mark.parametrize(("name", "symptom", "backend", "level"), CASES)
def test_the_correct_store_does_not_show_it(
    name: str, symptom: Symptom, backend: str, level: str, tmp_path: Path
) -> None:
    with _opened(load(), backend, level, tmp_path) as store:
        assert not symptom(store, A_MOMENT)


def a_stale_value_stays(target: VigiaReference, wait: float) -> bool:
    """A write that comes between the look at a lease and the fill that it allows."""
    cache = target.parts.clinical.cache()
    writers: list[threading.Thread] = []

    class Leases(dict[Any, None]):
        def __contains__(self, lease: object) -> bool:
            held = super().__contains__(lease)
            writers.append(_started(write))
            writers[-1].join(wait)
            return held

    def write() -> None:
        with cache.writing("A"):
            pass

    cache._leases = Leases()
    cache.read_through("A", lambda: "old")
    for writer in writers:
        writer.join()
    return cache.get("A") == "old"


def an_empty_registry_is_shown(target: VigiaReference, wait: float) -> bool:
    told: list[str] = []
    readers: list[threading.Thread] = []

    def read() -> None:
        try:
            told.append(shared.registry().find("lpp", "1").path)
        except UnknownModel:
            told.append("unknown")

    def load_models() -> Iterator[dict[str, Any]]:
        readers.append(_started(read))
        readers[-1].join(wait)
        yield {"name": "lpp", "version": "1", "path": "lpp.pt"}

    shared = target.clinical_models(load_models)
    assert len(shared.registry()) == 1
    for reader in readers:
        reader.join()
    return told == ["unknown"]


SHARED = [
    ("thread-unsafe-cache", a_stale_value_stays),
    ("double-checked-initialisation", an_empty_registry_is_shown),
]


@pytest.mark.parametrize(("name", "symptom"), SHARED)
def test_a_defect_of_shared_objects_shows_and_the_correct_ones_do_not(name, symptom) -> None:
    assert symptom(load(name), TO_ITS_END)
    assert not symptom(load(), A_MOMENT)


def test_every_defect_of_the_clinical_store_is_shown() -> None:
    shown = {name for name, _ in (*SYMPTOMS, *SHARED)}
    assert shown == {one.name for one in (*DATABASE_DEFECTS, *THREAD_DEFECTS)}


@contextlib.contextmanager
def _opened(
    target: VigiaReference, backend: str, level: str, folder: Path
) -> Iterator[ClinicalStore]:
    where = place(backend, folder, target.parts.clinical)
    if backend == "psycopg":
        where += "?options=-c%20deadlock_timeout%3D20ms"
    store = target.clinical_store(backend, where, isolation=level)
    assert isinstance(store, ClinicalStore)
    try:
        yield store
    finally:
        store.close()


def _started(call: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread
