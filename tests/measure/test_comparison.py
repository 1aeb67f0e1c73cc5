"""What is told of a run against its past: real changes, and hardly ever noise."""

import http.server
import json
import random
import threading

import pytest

from desvelo.errors import UsageError
from desvelo.measure.history import compare, open_history
from desvelo.measure.history.changepoint import change_points
from desvelo.measure.history.comparison import Limits
from desvelo.measure.history.notify import is_worth_telling, notification, notify
from desvelo.measure.history.student import two_sided
from desvelo.measure.result import Metric, PhaseResult, Run, Status


def run_of(number, **metrics):
    found = {name: Metric(value, "s", "lower") for name, value in metrics.items()}
    phase = PhaseResult("load", metrics=found)
    started = f"2026-01-01T{number // 60:02}:{number % 60:02}:00+00:00"
    return Run(f"r{number}", started, "shop", "ci", phases=[phase])


def judged(past, now, limits=None):
    """Compare a run with earlier ones, all given as metrics by name."""
    with open_history(":memory:") as history:
        for number, metrics in enumerate(past):
            history.add(run_of(number, **metrics))
        return {one.metric: one for one in compare(run_of(len(past), **now), history, limits)}


@pytest.mark.parametrize(
    ("t", "freedom", "chance"),
    # Published tables of Student's t distribution.
    [(12.706, 1, 0.05), (2.571, 5, 0.05), (4.032, 5, 0.01), (2.042, 30, 0.05), (6.869, 5, 0.001)],
)
def test_students_distribution_is_that_of_the_tables(t, freedom, chance):
    assert two_sided(t, freedom) == pytest.approx(chance, rel=2e-3)


def test_a_slow_down_is_told_with_how_sure_it_is_and_a_speed_up_is_no_alarm():
    past = [{"p99": 0.1 * factor, "p50": 0.01 * factor} for factor in (1, 1.02, 0.99, 1.01, 0.98)]
    found = judged(past * 2, {"p99": 0.15, "p50": 0.005})
    assert (found["p99"].verdict, found["p50"].verdict) == ("worse", "better")
    assert found["p99"].confidence > 0.99
    assert found["p99"].sentence.startswith("load: p99 is worse: 150.0 ms, was 100.0 ms over 10")


def test_with_few_earlier_runs_nothing_is_claimed():
    found = judged([{"p99": 0.1}] * 4, {"p99": 9.0})
    assert found["p99"].verdict == "unknown"
    assert "4 earlier runs, at least 5 are needed" in found["p99"].sentence


def test_a_new_level_that_has_lasted_is_the_one_to_be_compared_with():
    steps = (1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01)
    past = [{"p99": 0.1 * one} for one in steps] + [{"p99": 0.2 * one} for one in steps]
    assert judged(past, {"p99": 0.2})["p99"].verdict == "same"
    assert judged(past, {"p99": 0.25})["p99"].verdict == "worse"


def test_the_smallest_change_that_matters_can_be_set_by_metric():
    past = [{"p99": 0.1 * one} for one in (1, 1.001, 0.999, 1.002, 0.998, 1)]
    limits = Limits(changes={"p99": 0.3})
    assert judged(past, {"p99": 0.12}, limits)["p99"].verdict == "same"
    assert judged(past, {"p99": 0.14}, limits)["p99"].verdict == "worse"


def test_forty_metrics_of_mere_noise_raise_no_more_alarms_than_one():
    generator = random.Random(5)

    def noisy():
        return {f"m{number}": generator.lognormvariate(0, 0.1) for number in range(40)}

    alarms = 0
    for _ in range(20):
        found = judged([noisy() for _ in range(12)], noisy())
        alarms += any(one.verdict == "worse" for one in found.values())
    # Each of 20 runs may be wrong with a probability of 1 %: more than 2 by chance in one of 1,000.
    # With 99 % for each metric there would be an alarm in every third run.
    assert alarms <= 2


def test_a_single_slow_run_is_no_change_of_level():
    assert change_points([10, 11, 10, 9, 10, 90, 11, 10, 9, 10, 11, 10]) == []


def test_two_changes_of_level_are_both_found():
    generator = random.Random(1)
    values = [level * generator.lognormvariate(0, 0.05) for level in [1] * 15 + [2] * 15 + [1] * 15]
    assert change_points(values) == [15, 30]


def failed_run():
    run = run_of(1, p99=0.1)
    run.status, run.reason = Status.FAILED, "load: <3 lost> & 1 twice"
    run.phases[0].fail("<3 lost> & 1 twice")
    return run


class Chat(http.server.BaseHTTPRequestHandler):
    """Takes a message, and answers as its server was told."""

    def do_POST(self):
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def chat():
    server = http.server.HTTPServer(("127.0.0.1", 0), Chat)
    server.told, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_chat_is_told_what_failed(chat):
    notify(failed_run(), f"http://127.0.0.1:{chat.server_port}/services/T0/B0")
    (told,) = chat.told
    assert told == notification(failed_run())
    assert told["text"] == "desvelo: shop (ci) failed: load: &lt;3 lost&gt; &amp; 1 twice"
    assert [block["type"] for block in told["blocks"]] == ["section", "section"]
    assert is_worth_telling(failed_run())
    assert not is_worth_telling(run_of(1, p99=0.1))


def test_a_chat_that_refuses_is_named_without_its_secret_path(chat):
    chat.status = 404
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:\d+ answered 404") as told:
        notify(failed_run(), f"http://127.0.0.1:{chat.server_port}/services/secret")
    assert "secret" not in str(told.value)


def test_nothing_is_sent_to_another_machine_that_is_not_allowed():
    with pytest.raises(UsageError, match=r"--notify.*--allow-host hooks\.example\.org"):
        notify(failed_run(), "https://hooks.example.org/x")
