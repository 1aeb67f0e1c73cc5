import json
import subprocess
import sys

import pytest

from desvelo import Finding, explore
from desvelo.errors import ReplayDiverged, TargetError, UsageError

from lost_update import ENVIRONMENT, LOST_UPDATE  # isort: skip


@pytest.fixture
def finding(write_scenario, tmp_path):
    write_scenario()
    found = explore(str(tmp_path / "account.py"), max_seconds=20, seed=1, save=tmp_path / "found")
    assert found is not None
    return Finding.load(found.path)


def test_a_finding_fails_again_with_every_event_the_same(finding):
    result = finding.replay()
    assert (result.failed, result.identical, result.other) == (True, True, False)
    assert result.digest == finding.digest
    assert result.message == ("it fails again, every event the same: AssertionError: balance is 1")
    assert "balance" in result.story


def test_the_trace_of_a_replay_names_every_line_with_its_values(finding):
    trace = finding.replay().trace
    assert "account.py:9  seen = account['balance']" in trace.replace('"', "'")
    assert "* deposit: its start is held back" in trace


def test_replays_in_fresh_processes_meet_the_same_events(finding):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.replays", str(finding.path), "--times", "6"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("6 of 6 replays met the very same events"), done.stdout
    assert done.returncode == 0


def test_code_that_has_only_moved_still_fails_and_the_message_names_the_file(
    finding, write_scenario
):
    write_scenario(text="    # a remark\n" + LOST_UPDATE)
    result = finding.replay()
    assert result.failed


def test_a_repaired_race_does_not_fail_any_more(finding, write_scenario):
    write_scenario(
        text=LOST_UPDATE.replace("await asyncio.sleep(0)\n            account", "account")
    )
    result = finding.replay()
    assert not result.failed
    assert not result.other
    assert result.message.startswith("it does not fail any more")
    assert "account has changed since" in result.message


def test_another_failure_than_the_recorded_one_is_called_so(finding, write_scenario):
    write_scenario(text=LOST_UPDATE.replace("    seen = account", "    seen = 1 // account"))
    result = finding.replay()
    assert not result.failed
    assert result.other
    assert result.message.startswith("it fails in another way now: ZeroDivisionError")


def test_an_operation_that_is_gone_is_named(finding, write_scenario):
    write_scenario(text=LOST_UPDATE.replace('"late": late', '"later": late'))
    with pytest.raises(ReplayDiverged, match="no operation 'late' any more, it has deposit, later"):
        finding.replay()


def test_a_deviation_that_never_comes_up_is_a_divergence_and_no_pass(finding, write_scenario):
    write_scenario(
        text=LOST_UPDATE.replace("await asyncio.sleep(0)\n            account", "account")
    )
    data = json.loads(finding.path.read_text())
    data["schedule"]["deviations"].append(["late", "deliver", 3, 8])
    finding.path.write_text(json.dumps(data))
    with pytest.raises(ReplayDiverged, match=r'"late: delivery #4 .*" never came up'):
        Finding.load(finding.path).replay()


def test_a_run_that_differs_although_no_code_has_changed_says_at_which_decision(
    finding, write_scenario
):
    write_scenario(
        text=LOST_UPDATE.replace("await asyncio.sleep(0)\n            account", "account")
    )
    finding.sources, finding.source = {}, ""
    finding.decisions.insert(1, ["connect", "late", 0])
    expected = (
        "at decision 2 of 3 the recording has a connection of 'late', "
        "the replay the start of 'late'"
    )
    with pytest.raises(ReplayDiverged, match=expected):
        finding.replay()


def test_a_version_that_differs_is_named_when_nothing_else_does(finding, write_scenario):
    write_scenario(
        text=LOST_UPDATE.replace("await asyncio.sleep(0)\n            account", "account")
    )
    finding.sources, finding.source = {}, ""
    finding.decisions.append(["connect", "late", 0])
    finding.versions = {"aiohttp": "0.1"}
    with pytest.raises(ReplayDiverged, match=r"made with aiohttp 0\.1, this is \d"):
        finding.replay()


def test_a_scenario_that_is_gone_is_an_error_of_the_target(finding, tmp_path):
    (tmp_path / "account.py").unlink()
    with pytest.raises(TargetError, match="cannot be loaded: there is no file"):
        finding.replay()


def test_a_finding_is_replayed_from_any_folder_of_its_project(finding, tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert finding.replay().failed


def test_what_a_test_has_found_is_left_to_pytest(finding):
    finding.scenario = "stress_tests/test_webhook.py::TestWebhooks"
    with pytest.raises(
        UsageError, match=r"pytest stress_tests/test_webhook.py::TestWebhooks --rep"
    ):
        finding.replay()


def test_nondeterminism_cannot_be_replayed(finding):
    finding.kind = "nondeterminism"
    with pytest.raises(UsageError, match="nothing to replay until that is mended"):
        finding.replay()
