"""``--phase`` and its options, seen from outside."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from desvelo.measure.result import Run

TESTS = """
    import pytest

    @pytest.mark.stress(phase="webhook")
    def test_of_the_webhook():
        pass

    @pytest.mark.stress(phase="io")
    def test_of_io():
        pass

    @pytest.mark.stress(phase="webhook")
    def test_phase(run_phase):
        result = run_phase("webhook")
        assert result.status == "passed", result.reason

    def test_of_nothing():
        pass
"""
PHASE = """
    from desvelo.measure import full_system
    from desvelo.measure.result import Metric, PhaseResult

    def webhook(context):
        rates = {"success_rate": 0.9, "error_rate": 0.0, "response_time": 1.0, "throughput": 9.0}
        rates["memory"] = float(context.settings.webhook.requests)
        return PhaseResult("webhook", metrics={n: Metric(v, "") for n, v in rates.items()})

    full_system.phase_named = lambda name: webhook
"""


@pytest.fixture
def pytest_in(tmp_path):
    """Return a function that runs pytest in a folder where the phase only says numbers."""
    (tmp_path / "test_x.py").write_text(textwrap.dedent(TESTS), encoding="utf-8")
    (tmp_path / "conftest.py").write_text(textwrap.dedent(PHASE), encoding="utf-8")
    (tmp_path / "own.toml").write_text('[every]\nsuccess_rate = "80 %"', encoding="utf-8")

    def run(*arguments):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_without_a_phase_its_tests_are_left_out_and_the_others_run(pytest_in):
    status, out = pytest_in()
    assert (status, "3 passed, 1 deselected" in out) == (0, True)


def test_a_phase_selects_what_is_marked_and_runs_itself(pytest_in, tmp_path):
    status, out = pytest_in("--phase=webhook", "--stress-report=reports")
    assert (status, "1 failed, 1 passed, 2 deselected" in out) == (1, True)
    assert "AssertionError: success_rate: 90.0 % (at least 95.0 %)" in out
    document = json.loads((tmp_path / "reports/run.json").read_text(encoding="utf-8"))
    [phase] = Run.from_json(document).phases
    assert phase.metrics["memory"].value == 200  # requests of the profile quick
    assert [test.name for test in phase.tests] == ["test_x.py::test_of_the_webhook"]


def test_its_options_reach_the_phase_also_under_xdist(pytest_in, tmp_path):
    options = ("--thresholds=own.toml", "--stress-profile=ci", "--stress-report=reports")
    status, out = pytest_in("--phase=full-system", "-n", "2", *options)
    assert (status, "3 passed" in out) == (0, True)
    document = json.loads((tmp_path / "reports/run.json").read_text(encoding="utf-8"))
    run = Run.from_json(document)
    assert {phase.phase for phase in run.phases} == {"webhook", "io"}
    assert run.phase("webhook").metrics["memory"].value == 1000
    assert {Path(check.source).name for check in run.phase("webhook").checks} >= {
        "own.toml:every.success_rate",
        "default",
    }


def test_a_mistake_in_an_option_is_told_before_anything_runs(pytest_in):
    status, out = pytest_in("--phase=wbhook")
    assert (status, "did you mean 'webhook'?" in out) == (4, True), out
