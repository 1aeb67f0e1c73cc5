"""The order, the gate and the end of a run, with phases that only say what they were given."""

import os
import signal
import threading
import time

import pytest

from desvelo.errors import TargetError
from desvelo.measure import full_system
from desvelo.measure.full_system import Conductor
from desvelo.measure.plan import PHASES, Wishes, plan
from desvelo.measure.result import Metric, PhaseResult, Run, Status
from desvelo.measure.thresholds import read_thresholds


def good(name):
    rates = {"success_rate": 1.0, "error_rate": 0.0, "response_time": 0.1, "throughput": 9.0}
    rates |= {"memory": 1e6}
    return PhaseResult(name, metrics={key: Metric(value, "") for key, value in rates.items()})


@pytest.fixture
def conduct(tmp_path, monkeypatch):
    """Return a function that runs phases which are given as functions; the rest are good."""
    monkeypatch.chdir(tmp_path)

    def run(*named, **phases):
        monkeypatch.setattr(
            full_system, "phase_named", lambda name: phases.get(name, lambda context: good(name))
        )
        settings = plan(Wishes(named))
        limits = read_thresholds(None, "quick")
        limits.phases.clear()
        for metric in set(limits.every) - {"success_rate", "throughput"}:
            del limits.every[metric]
        return Conductor(object(), settings, limits).conduct("desvelo run")

    return run


def statuses(run):
    return {phase.phase: str(phase.status) for phase in run.phases}


def test_all_phases_run_in_their_order_and_memory_and_io_side_by_side(conduct):
    together, seen = threading.Barrier(2, timeout=10), []

    def phase(name):
        def body(context):
            assert threading.current_thread() is not threading.main_thread()
            assert list(context.folder.iterdir()) == []
            if name in {"memory", "io"}:
                together.wait()
            seen.append(name)
            return good(name)

        return body

    run = conduct(**{name: phase(name) for name in PHASES})
    assert run.status is Status.PASSED, run.reason
    assert statuses(run) == dict.fromkeys(PHASES, "passed")
    assert [name for name in seen if name not in {"memory", "io"}] == [
        name for name in PHASES if name not in {"memory", "io"}
    ]
    assert Run.from_json(run.as_json()) == run
    assert all(phase.seconds > 0 and phase.started for phase in run.phases)


def test_a_failed_baseline_ends_a_full_run_but_not_one_of_named_phases(conduct):
    def failed(context):
        result = good("baseline")
        result.metrics["success_rate"] = Metric(0.5, "share")
        return result

    run = conduct(baseline=failed)
    assert run.status is Status.FAILED
    assert run.reason == "baseline: success_rate: 50.0 % (at least 95.0 %)"
    assert [one.reason for one in run.phases[1:]] == ["the baseline failed"] * 6
    assert {one.status for one in run.phases[1:]} == {Status.SKIPPED}
    assert statuses(conduct("baseline", "io", baseline=failed))["io"] == "passed"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TargetError("the target t has no stored_keys(), which"), "the target t has no stored_k"),
        (ZeroDivisionError("division\nby zero"), "ZeroDivisionError: division by zero"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_phase_that_raises_has_failed_and_the_others_go_on(conduct, error, said):
    def broken(context):
        raise error

    run = conduct("load", "webhook", load=broken)
    assert statuses(run) == {"load": "failed", "webhook": "passed"}
    assert run.reason.startswith(f"load: {said}")


def test_a_phase_that_measured_nothing_or_lost_something_has_failed(conduct):
    def lost(context):
        result = good("webhook")
        result.problems += ["3 acknowledged requests are not stored", "1 is stored twice"]
        return result

    run = conduct("io", "webhook", io=lambda context: PhaseResult("io"), webhook=lost)
    assert run.phase("io").reason == "it measured nothing"
    assert run.phase("webhook").reason == "3 acknowledged requests are not stored and 1 more"


def test_a_skip_shows_with_its_reason_and_a_run_of_skips_alone_has_failed(conduct):
    def skipped(context):
        return PhaseResult("webhook", Status.SKIPPED, "http://127.0.0.1:9 does not answer /health")

    run = conduct("webhook", "database", webhook=skipped)
    assert statuses(run) == {"database": "passed", "webhook": "skipped"}
    assert run.status is Status.PASSED
    alone = conduct("webhook", webhook=skipped)
    assert (alone.status, alone.reason) == (
        Status.FAILED,
        "webhook: http://127.0.0.1:9 does not answer /health",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_what_there_is(conduct, number):
    def interrupted(context):
        os.kill(os.getpid(), number)
        assert context.interruption.wait(10)
        result = good("load")
        result.status, result.reason = Status.INTERRUPTED, "interrupted after 3 of 9 steps"
        return result

    before = signal.getsignal(number)
    run = conduct(load=interrupted)
    assert signal.getsignal(number) is before
    assert (run.status, run.reason) == (
        Status.INTERRUPTED,
        "load: interrupted after 3 of 9 steps",
    )
    assert statuses(run) == {
        "baseline": "passed",
        "load": "interrupted",
        **dict.fromkeys(PHASES[2:], "skipped"),
    }
    assert Run.from_json(run.as_json()) == run


def test_a_phase_that_does_not_end_is_left_behind(conduct, monkeypatch):
    monkeypatch.setattr(full_system, "GRACE", 0.1)
    release = threading.Event()

    def deaf(context):
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(30)
        return good("io")

    run = conduct("io", io=deaf)
    release.set()
    assert run.status is Status.INTERRUPTED
    assert "it did not end within" in run.phase("io").reason


def test_an_error_that_the_interruption_caused_is_no_failure(conduct):
    def torn(context):
        os.kill(os.getpid(), signal.SIGINT)
        context.interruption.wait(10)
        raise ConnectionResetError

    assert statuses(conduct("io", io=torn)) == {"io": "interrupted"}


def test_durations_do_not_follow_a_clock_that_jumps_backwards(conduct, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    run = conduct("io", io=lambda context: time.sleep(0.02) or good("io"))
    assert 0.02 <= run.phase("io").seconds <= run.seconds < 5


def test_a_number_that_is_none_is_left_out_and_told(conduct):
    def strange(context):
        result = good("io")
        result.metrics["cpu"] = Metric(float("nan"), "")
        return result

    phase = conduct("io", io=strange).phase("io")
    assert "cpu" not in phase.metrics
    assert phase.notes == ["cpu came out as nan and was left out"]
