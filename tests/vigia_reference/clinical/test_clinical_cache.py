"""The cache and the models that threads share."""

import threading
from typing import Any

import pytest

from vigia_reference.clinical import ClinicalRecords, ExpiringCache, SharedModels
from vigia_reference.clinical.models import UnknownModel
from vigia_reference.payloads import DetectedLesion, DetectionReport


def test_a_value_is_loaded_once_and_dropped_when_its_time_is_over(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vigia_reference.clinical.cache.time.monotonic", lambda: now[0])
    cache = ExpiringCache(ttl=10)
    values = iter(["first", "second"])
    assert [cache.read_through("A", lambda: next(values)) for _ in range(2)] == ["first", "first"]
    now[0] = 10.0
    assert cache.get("A") is None
    assert cache.read_through("A", lambda: next(values)) == "second"


def test_nothing_is_no_value() -> None:
    cache = ExpiringCache()
    assert cache.read_through("A", lambda: None) is None
    assert len(cache) == 0


def test_what_was_read_before_or_during_a_write_is_not_kept() -> None:
    cache = ExpiringCache()

    def load() -> str:
        with cache.writing("A"):
            cache.read_through("A", lambda: "during")
            with cache.writing("A"):
                pass
            cache.read_through("A", lambda: "during")
        return "before"

    assert cache.read_through("A", load) == "before"
    assert cache.get("A") is None
    assert cache.read_through("A", lambda: "after") == "after"
    assert cache.get("A") == "after"


def test_a_write_to_one_key_leaves_others_alone() -> None:
    cache = ExpiringCache()
    cache.put("A", 1)
    with cache.writing("B"):
        assert cache.get("A") == 1
    assert cache.get("A") == 1


def test_a_load_that_fails_leaves_no_lease_behind() -> None:
    cache = ExpiringCache()
    with pytest.raises(ZeroDivisionError):
        cache.read_through("A", lambda: 1 // 0)
    assert cache._leases == {}


def test_a_full_cache_lets_its_oldest_value_go() -> None:
    cache = ExpiringCache(max_entries=2)
    for key in "ABC":
        cache.put(key, key)
    cache.put("C", "again")
    assert [cache.get(key) for key in "ABC"] == [None, "B", "again"]


def test_many_threads_leave_the_cache_in_order() -> None:
    cache = ExpiringCache(max_entries=2)
    newest = {"A": 0, "B": 0, "C": 0}
    locks = {key: threading.Lock() for key in newest}
    behind: list[Any] = []

    def work(number: int) -> None:
        for turn in range(200):
            key = "ABC"[(number + turn) % 3]
            if turn % 4 == 0:
                with locks[key], cache.writing(key):
                    newest[key] += 1
            else:
                known = newest[key]
                seen = cache.read_through(key, lambda key=key: newest[key])
                if seen < known:
                    behind.append((seen, known))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert behind == []
    assert (cache._leases, cache._writers) == ({}, {})


def test_reads_go_through_the_cache_and_writes_keep_it_true(blocking) -> None:
    records = ClinicalRecords(blocking, ExpiringCache())
    assert records.patient("A") is None
    records.update_patient("A", {"gender": "female"})
    first = records.patient("A")
    blocking.update_patient("A", {"gender": "male"})
    assert records.patient("A") is first
    lesion = DetectedLesion(1, 0.5, "{}")
    for write in (
        lambda: records.update_patient("A", {"ward": "7"}),
        lambda: records.update_risk_factors("A", {"age": 80}),
        lambda: records.save_detection(DetectionReport("A", (lesion,), image_hash="00")),
        lambda: records.delete_patient("A"),
    ):
        before = records.patient("A")
        write()
        assert records.patient("A") == blocking.find_patient("A") != before


def test_models_are_loaded_once_however_many_threads_ask() -> None:
    loads: list[int] = []

    def load() -> list[dict[str, Any]]:
        loads.append(1)
        return [{"name": "lpp", "version": "1", "path": "lpp.pt"}]

    shared = SharedModels(load)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(shared.registry().find("lpp", "1").path))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["lpp.pt"] * 8
    assert loads == [1]
    with pytest.raises(UnknownModel):
        shared.registry().find("lpp", "2")


def test_models_that_could_not_be_loaded_are_loaded_when_asked_for_again() -> None:
    answers = iter([None, [{"name": "lpp", "version": "1", "path": "lpp.pt"}]])
    shared = SharedModels(lambda: next(answers))
    with pytest.raises(TypeError):
        shared.registry()
    assert len(shared.registry()) == 1
