"""The same load again and again: what the server keeps is told, and what comes to rest is not."""

import re

import pytest

from desvelo.measure.phases import memory
from desvelo.measure.plan import Memory
from desvelo.measure.result import Sample, Status


@pytest.mark.parametrize("fault", ["none", "keeps-memory", "keeps-files"])
def test_a_server_that_keeps_something_with_each_request_is_accused(small, fault, monkeypatch):
    monkeypatch.setattr(memory, "REQUESTS", 20)
    monkeypatch.setattr(memory, "ALLOWED", 2**20)
    result = memory.run(small(fault, memory=Memory(repetitions=14, every=0.1)))
    told = {
        "none": None,
        "keeps-memory": r"the server's memory grows by ",
        # Connections that the server has yet to close are counted, too: 20 and a few.
        "keeps-files": r"the server's open files grow by (19|2\d)(\.\d+)? with each",
    }[fault]
    assert bool(result.problems) == bool(told), result.problems
    assert told is None or any(re.match(told, one) for one in result.problems), result.problems
    assert result.metrics["success_rate"].value == 1
    assert result.metrics["requests"].value == 14 * 20
    assert result.metrics["memory"].value > 2**20
    assert {"memory_growth", "fds_growth", "threads_growth", "cpu"} <= set(result.metrics)


def test_a_few_repetitions_accuse_nobody_and_say_so(small, monkeypatch):
    monkeypatch.setattr(memory, "REQUESTS", 20)
    result = memory.run(small("keeps-files", memory=Memory(repetitions=3, every=0.1)))
    assert result.status is Status.PASSED
    assert any("too few to tell a leak from warming up" in note for note in result.notes)
    assert result.metrics["fds_growth"].value > 0


def test_a_live_server_is_out_of_sight(small):
    result = memory.run(small(url="http://127.0.0.1:9"))
    assert result.status is Status.SKIPPED
    assert "out of sight" in result.reason


def test_samples_are_those_of_the_server(small):
    result = memory.run(small(memory=Memory(repetitions=2, every=0.02)))
    assert all(isinstance(one, Sample) and one.rss > 0 for one in result.samples)
