"""Suites that are repeated, run by workers, narrowed down: what is told of each test is true."""

import json
import re
import threading
import time
from pathlib import Path

import pytest

from desvelo.measure.context import Context, Interruption
from desvelo.measure.phases import baseline, endurance
from desvelo.measure.phases.parallel import flaky, run_in_parallel
from desvelo.measure.plan import Wishes, plan
from desvelo.measure.result import Metric, PhaseResult, Status
from desvelo.measure.suite.drift import drifts
from desvelo.measure.suite.pollution import narrow
from desvelo.measure.suite.running import Outcome, Round, SuiteRun, read_record, run_suite

POLLUTED = """
import pytest

seen = []

@pytest.fixture(scope="module")
def once():
    seen.append("module")

def test_innocent():
    pass

def test_pollutes(once):
    seen.append("x")

def test_bystander():
    pass

def test_victim():
    assert "x" not in seen, "somebody was here"
"""


def suite_of(tmp_path, text):
    (tmp_path / "suite").mkdir()
    # Tests are then named from here, wherever this project lies.
    (tmp_path / "suite" / "pytest.ini").write_text("[pytest]\n")
    file = tmp_path / "suite" / "test_it.py"
    file.write_text(text)
    return file


def phase(run, tmp_path, file, **wishes):
    (tmp_path / "work").mkdir()
    settings = plan(Wishes(("endurance",), tests=(str(file),), **wishes))
    return run(Context(object(), settings, tmp_path / "work"))


def test_the_polluter_of_a_test_is_named(tmp_path):
    result = phase(endurance.run, tmp_path, suite_of(tmp_path, POLLUTED), times=2)
    assert result.status is Status.FAILED
    assert result.reason.startswith("1 test failed, first test_it.py::test_victim: call: Asser")
    victim, polluter = "test_it.py::test_victim", "test_it.py::test_pollutes"
    assert f"{victim} fails after {polluter}, and passes alone" in result.problems
    assert {record.name: (record.runs, record.failures) for record in result.tests} == {
        "test_it.py::test_innocent": (2, 0),
        polluter: (2, 0),
        "test_it.py::test_bystander": (2, 0),
        victim: (2, 2),
    }
    assert result.metrics["error_rate"].value == 0.25


def test_a_test_that_cannot_run_twice_pollutes_itself(tmp_path):
    text = "kept = []\n\ndef test_once():\n    kept.append(1)\n    assert len(kept) == 1\n"
    result = phase(endurance.run, tmp_path, suite_of(tmp_path, text), times=3)
    assert result.tests[0].flaky
    assert any("test_once pollutes itself" in one for one in result.problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no test was collected"),
        (
            "import pytest\n\n@pytest.mark.skip\ndef test_it():\n    pass\n",
            "all 1 tests were skipped",
        ),
        ("import nowhere_to_be_found\n", "could not be collected: .*nowhere_to_be_found"),
        ("import os\n\ndef test_it():\n    os._exit(7)\n", "pytest ended with status 7"),
    ],
)
def test_a_baseline_that_ran_nothing_fails_and_says_why(tmp_path, text, told):
    result = phase(baseline.run, tmp_path, suite_of(tmp_path, text))
    assert result.status is Status.FAILED
    assert not result.metrics
    assert re.search(told, result.reason), result.reason


def test_workers_run_the_suite_and_give_up_after_maxfail(tmp_path):
    file = suite_of(
        tmp_path,
        "import pytest\n\n@pytest.mark.parametrize('n', range(40))\ndef test_it(n):\n"
        "    assert n % 2\n",
    )
    run = run_suite([str(file)], tmp_path / "work", workers=2, maxfail=2)
    assert 2 <= len(run.failed) < 20
    assert run.why_not().startswith("2 tests failed" if len(run.failed) == 2 else "")


def test_a_worker_that_dies_is_a_failure_of_its_test(tmp_path):
    text = "import os\n\ndef test_it():\n    os._exit(3)\n\ndef test_other():\n    pass\n"
    run = run_suite([str(suite_of(tmp_path, text))], tmp_path / "work", workers=1)
    assert [one.test for one in run.failed] == ["test_it.py::test_it"]
    assert "crashed while running" in run.why_not()


CHATTY = """
import pytest

@pytest.mark.slow
def test_chatty(tmp_path):
    print("x" * 3_000_000)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()

def test_other():
    assert False
"""


def test_options_with_values_choose_and_much_output_is_neither_kept_nor_a_leak(tmp_path):
    file = suite_of(tmp_path, CHATTY)
    arguments = ["-k", "chatty", str(file.parent), "-m", "slow", "-W", "ignore"]
    run = run_suite(arguments, tmp_path / "work", times=14)
    assert (run.why_not(), len(run.ran), len(run.rounds)) == ("", 14, 14)
    assert len(run.output) < 100_000
    assert run.rounds[-1].rss - run.rounds[3].rss < 3_000_000
    assert run.options_of(arguments) == ["-k", "chatty", "-m", "slow", "-W", "ignore"]


def test_checks_by_workers_are_written_beside_the_requests(tmp_path):
    file = suite_of(tmp_path, "def test_it():\n    pass\n\ndef test_other():\n    assert 0\n")
    settings = plan(Wishes(("load",), tests=(str(file),), workers=1))
    result = PhaseResult("load", metrics={"throughput": Metric(900, "1/s", "higher")})
    run_in_parallel(Context(object(), settings, tmp_path), result)
    values = {name: metric.value for name, metric in result.metrics.items()}
    assert values["throughput"] == 900
    assert (values["tests"], values["tests_success_rate"]) == (2, 0.5)
    assert result.reason.startswith("1 test failed, first test_it.py::test_other")
    assert result.notes[0].startswith("1 workers: 2 tests in ")


def test_without_checks_the_requests_are_kept(tmp_path):
    result = PhaseResult("load", metrics={"throughput": Metric(900, "1/s", "higher")})
    run_in_parallel(Context(object(), plan(Wishes(("load",))), tmp_path), result)
    assert result.reason.endswith("has no checks(), which this phase needs")
    assert set(result.metrics) == {"throughput"}


def test_an_interrupted_suite_ends_and_leaves_what_was_known(tmp_path):
    begun = tmp_path / "begun"
    file = suite_of(
        tmp_path,
        "import pathlib, time\n\ndef test_short():\n    pass\n\n"
        f"def test_long():\n    pathlib.Path({str(begun)!r}).touch()\n    time.sleep(60)\n",
    )
    interruption = Interruption()

    def interrupt_the_long_one():
        for _ in range(3000):
            if begun.exists():
                break
            time.sleep(0.01)
        interruption.set()

    watcher = threading.Thread(target=interrupt_the_long_one)
    watcher.start()
    run = run_suite([str(file)], tmp_path / "work", interruption=interruption)
    watcher.join()
    assert run.interrupted
    assert run.outcomes[0].outcome == "passed"


def test_a_record_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path):
    record = tmp_path / "tests.jsonl"
    whole = {
        "round": 1, "test": "a", "at": 1.0, "outcome": "passed", "seconds": 0.1, "message": "",
    }  # fmt: skip
    record.write_text(json.dumps(whole) + '\n{"round": 1, "te')
    assert [one.test for one in read_record(record).outcomes] == ["a"]
    assert read_record(Path("nowhere")).outcomes == []


def rounds_of(*rss):
    rounds = [Round(number, float(number), size, 10, 2) for number, size in enumerate(rss, 1)]
    return SuiteRun(rounds=rounds)


def test_memory_that_grows_with_each_round_is_told_and_a_warm_up_is_not():
    growing = rounds_of(*(50_000_000 + 300_000 * number for number in range(20)))
    filling = rounds_of(*(50_000_000 + 300_000 * min(number, 5) for number in range(20)))
    assert drifts(growing) == ["memory grows by 293.0 KiB with each round"]
    assert drifts(filling) == []


def test_a_test_that_becomes_slower_is_named():
    steady = [
        Outcome("a", number, 0.0, "passed", 0.1 + number % 3 / 1000, "") for number in range(20)
    ]
    slower = [Outcome("b", number, 0.0, "passed", 0.1 + number / 100, "") for number in range(20)]
    (told,) = drifts(SuiteRun(outcomes=[*steady, *slower]))
    assert told == "b becomes slower by 10.0 ms with each round (from 100.0 ms to 290.0 ms)"


def test_a_test_that_fails_with_some_workers_only_is_flaky():
    def suite(outcome):
        return SuiteRun(outcomes=[Outcome("a", 1, 0.0, outcome, 0.1, "")])

    assert flaky([suite("passed"), suite("failed")]) == [
        "a is flaky: it failed in 1 of 2 runs in parallel"
    ]
    assert flaky([suite("failed"), suite("failed")]) == []


def test_narrowing_stops_at_its_limit_and_says_so():
    tests = [f"t{number}" for number in range(64)]
    verdict = narrow("v", tests, lambda chosen: {"t3", "t40", "t63"} <= set(chosen), most_tries=12)
    assert not verdict.complete
    assert {"t3", "t40", "t63"} <= set(verdict.polluters)
    assert "cut off" in str(verdict)


def test_narrowing_ends_when_time_is_over():
    verdict = narrow("v", ["a", "b", "c", "d"], lambda chosen: "b" in chosen, over=lambda: True)
    assert (verdict.polluters, verdict.complete) == (("a", "b", "c", "d"), False)


def test_a_failure_that_does_not_come_again_accuses_nobody():
    verdict = narrow("v", ["a", "b"], lambda chosen: False)
    assert str(verdict) == "v failed, and did not when the same tests were run again"
