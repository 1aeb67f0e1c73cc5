"""The pytest plugin, seen from outside: options, budgets, replays, and the summary."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CORRECT = """
    import asyncio
    from desvelo import ConcurrentMachine, at_rest, operation

    class Visits(ConcurrentMachine):
        async def setup(self):
            self.seen = 0

        @operation()
        async def visit(self):
            await asyncio.sleep(0)
            self.seen += 1

    class Others(Visits):
        pass

    TestVisits = Visits.TestCase
    TestOthers = Others.TestCase
"""
RACE = """
    import asyncio
    from desvelo import ConcurrentMachine, at_rest, operation

    class Visits(ConcurrentMachine):
        cancellable = False

        async def setup(self):
            self.seen = self.visits = 0

        @operation()
        async def visit(self):
            self.visits += 1
            seen = self.seen
            await asyncio.sleep(0)
            self.seen = seen + 1

        @at_rest()
        def all_are_seen(self):
            assert self.seen == self.visits, f"{self.seen} of {self.visits}"

    TestVisits = Visits.TestCase
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a test file and runs pytest on it in a fresh process."""

    def start(text, *options, status=None, name="test_visits.py"):
        if text is not None:
            (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", name, *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if status is not None:
            assert done.returncode == status, done.stdout + done.stderr
        return done

    return start


def seconds_explored(output):
    """Add up what the progress of a run says; the summary has executions and their rate."""
    rows = re.findall(r"^\S+::\S+ +([\d,]+) +([\d,]+) +([\d,]+)", output, re.MULTILINE)
    return [int(count.replace(",", "")) / int(rate.replace(",", "")) for count, _, rate in rows]


# budgets


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_budget_is_shared_and_a_clean_run_ends_in_time_with_status_0(run, options):
    empty = run("def test_nothing(): pass", *options, status=0, name="test_empty.py")
    assert "desvelo ===" not in empty.stdout
    done = run(CORRECT, "--fuzz-budget=3s", *options, status=0)
    assert "nothing found" in done.stdout
    explored = seconds_explored(done.stdout)
    assert len(explored) == 2
    # Each had its share, and neither went on without end; how exactly is measured, not tested.
    allowed = 3 if options else 1.5
    for one in explored:
        assert allowed * 0.2 < one < allowed + 10


def test_a_budget_may_be_set_in_the_configuration(run, tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfuzz_budget = 1s\n")
    begun = time.perf_counter()
    run(CORRECT, status=0)
    assert time.perf_counter() - begun < 60


# misuse


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--fuzz-budget=abc", "--fuzz-budget: 'abc' is not a time"),
        ("--fuzz-budget=0s", "--fuzz-budget: '0s' is not a time"),
        ("--fuzz-seed=x", "--fuzz-seed: 'x' is not a whole number"),
        ("--fuzz-policy=ptc", "--fuzz-policy: no policy is called 'ptc'; did you mean 'pct'?"),
        ("--target=vigia_referenz", "did you mean 'vigia_reference'?"),
        ("--target=vigia_reference:NOPE", "NOPE"),
        ("--target=broken_target", "target 'broken_target' does not import: ZeroDivisionError"),
        ("--replay=no.json", "--replay: there is no file or folder no.json"),
        ("--replay=cut.json", "--replay: cut.json is truncated or is not JSON"),
        ("--replay=newer.json", "newer.json has schema 99"),
        ("--replay=empty", "--replay: there is no finding (*.json) in empty"),
        ("--findings=cut.json", "--findings: cut.json is a file"),
        ("--findings=/proc/kept", "--findings: findings cannot be saved in /proc/kept: "),
    ],
)
def test_misuse_gives_one_clear_line_and_status_4(run, tmp_path, option, said):
    (tmp_path / "broken_target.py").write_text("1 / 0")
    (tmp_path / "cut.json").write_text('{"schema": 1, "ki')
    (tmp_path / "newer.json").write_text('{"schema": 99}')
    (tmp_path / "empty").mkdir()
    done = run(CORRECT, option, status=4)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert said in lines[0]


def test_a_strategy_that_yields_nothing_is_one_clear_sentence(run):
    text = RACE.replace("@operation()", "@operation(n=st.nothing())").replace(
        "(self):\n            self.visits", "(self, n):\n            self.visits"
    )
    done = run("\n    from hypothesis import strategies as st" + text, status=1)
    assert "Visits.visit: the strategy of 'n' yields nothing" in done.stdout


# findings


def test_a_finding_is_summed_up_saved_and_replayed(run, tmp_path):
    done = run(RACE, "--fuzz-seed=1", "--fuzz-policy=random_walk", "--findings=kept", status=1)
    assert "= desvelo =" in done.stdout
    assert re.search(r"1\. race: AssertionError: 1 of 2 \(2 operations, plain FIFO", done.stdout)
    assert "saved:  kept/race-" in done.stdout
    assert "replay: desvelo replay kept/race-" in done.stdout
    (file,) = (tmp_path / "kept").glob("*.json")
    assert json.loads(file.read_text())["settings"]["policy"] == "random_walk"

    for place in (file, "kept"):
        again = run(None, f"--replay={place}", status=1)
        assert "it fails again, every event the same" in again.stdout
    fixed = RACE.replace("self.seen = seen + 1", "self.seen += 1")
    assert "1 passed" in run(fixed, "--replay=kept", status=0).stdout


def test_findings_come_back_from_workers(run):
    done = run(RACE, "-n", "2", status=1)
    assert "1. race: AssertionError: 1 of 2" in done.stdout
    assert "replay: desvelo replay .desvelo/findings/race-" in done.stdout


def test_one_seed_repeats_a_run(run, tmp_path):
    said = []
    for folder in ("one", "two"):
        run(RACE, "--fuzz-seed=7", f"--findings={folder}", status=1)
        (file,) = (tmp_path / folder).glob("*.json")
        data = json.loads(file.read_text())
        said.append({key: data[key] for key in data if key not in ("seconds", "command")})
    assert said[0] == said[1]


def test_a_test_that_blocks_for_real_is_ended_and_what_was_found_is_kept(run, tmp_path):
    blocking = RACE.replace(
        "assert self.seen == self.visits",
        "Visits.failed = getattr(Visits, 'failed', 0) + (self.seen != self.visits)\n"
        "            while Visits.failed > 4: pass\n"
        "            assert self.seen == self.visits",
    )
    done = run(blocking, "--timeout=4", "--timeout-method=signal", status=1)
    assert "Timeout" in done.stdout
    assert len(list((tmp_path / ".desvelo/findings").glob("race-*.json"))) == 1
    assert "1. race" in done.stdout


def test_an_operation_that_blocks_for_real_is_ended(run):
    blocking = CORRECT.replace("self.seen += 1", "while True: pass")
    done = run(blocking, "--timeout=2", "--timeout-method=signal", "-k", "TestVisits", status=1)
    assert "Timeout" in done.stdout


def test_the_profile_is_ours_where_ci_is_set(run, monkeypatch):
    monkeypatch.setenv("CI", "true")
    text = (
        CORRECT
        + """
    def test_settings():
        chosen = Visits.TestCase.settings
        assert chosen.derandomize is False
        assert chosen.database is not None
"""
    )
    run(text, "-k", "test_settings", status=0)


def test_our_profiles_can_be_chosen_by_name_in_any_folder(run):
    text = (
        CORRECT
        + """
    def test_settings():
        assert Visits.TestCase.settings.max_examples == 25
"""
    )
    run(text, "-k", "test_settings", "--hypothesis-profile=desvelo-quick", status=0)


def test_loading_the_plugin_imports_no_engine(tmp_path):
    (tmp_path / "test_plain.py").write_text("def test_nothing(): pass\n")
    code = """
        import sys, pytest
        status = pytest.main(["-p", "no:hypothesispytest",
                              "--collect-only", "-q"])
        wrong = [name for name in sys.modules if name.split(".")[0] in ("hypothesis", "aiohttp")
                 or name.startswith(("desvelo.world", "desvelo.machine", "desvelo.exploration"))]
        print(status, wrong[:5])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr


# what a failure leaves behind


LEAK = """
    import asyncio
    import gc

    import aiohttp
    from desvelo import ConcurrentMachine, operation

    class Kept:
        pass

    class Visits(ConcurrentMachine):
        async def setup(self):
            self.kept = Kept()

        @operation()
        async def visit(self):
            self.kept.session = aiohttp.ClientSession()
            self.kept.session.kept = self.kept

    TestVisits = Visits.TestCase

    def test_of_something_else():
        gc.collect()
"""


def test_what_was_found_open_is_not_told_again_by_whoever_makes_warnings_errors(run, tmp_path):
    settings = (
        "[pytest]\nfilterwarnings =\n    error\n    ignore::pytest.PytestDeprecationWarning\n"
    )
    (tmp_path / "pytest.ini").write_text(settings)
    done = run(LEAK, "--fuzz-seed=1", status=1)
    assert "1 failed, 1 passed" in done.stdout
    assert "Unclosed client session" not in done.stdout + done.stderr
