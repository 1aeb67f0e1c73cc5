import subprocess
import sys

import pytest

from desvelo import Finding, explore
from desvelo.errors import ReplayDiverged, UsageError
from desvelo.finding.export import as_test, export
from desvelo.finding.interleaving import Interleaving, as_call
from desvelo.schedule.decisions import Deviation, Key

from lost_update import ENVIRONMENT, LOST_UPDATE  # isort: skip


@pytest.fixture
def finding(write_scenario, tmp_path):
    write_scenario()
    found = explore(str(tmp_path / "account.py"), max_seconds=20, seed=1, save=tmp_path / "found")
    assert found is not None
    return Finding.load(found.path)


def run_test(path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=path.parent, env=ENVIRONMENT
    )


def test_an_exported_test_fails_with_the_targets_own_error(finding, tmp_path):
    path = export(finding, tmp_path / "tests" / "test_account.py")
    text = path.read_text()
    assert 'schedule.hold("deposit", "start", polls=' in text
    assert 'SCENARIO = Path(__file__).parent.parent / "account.py"' in text
    assert "given" not in text
    done = run_test(path)
    assert done.returncode == 1, done.stdout
    assert "E       AssertionError: balance is 1" in done.stdout
    assert "run_until_complete" not in done.stdout


def test_an_exported_test_passes_once_the_race_is_gone(finding, tmp_path, write_scenario):
    path = export(finding, tmp_path / "test_account.py")
    write_scenario(
        text=LOST_UPDATE.replace("await asyncio.sleep(0)\n            account", "account")
    )
    done = run_test(path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("kind", "operations", "name"),
    [
        ("deadlock", ["producer"], "test_producer_does_not_deadlock"),
        ("deadlock", ["one", "two"], "test_one_and_two_do_not_deadlock"),
        ("leak", ["watch"], "test_watch_leaks_nothing"),
        ("error", ["watch"], "test_watch_ends_well"),
    ],
)
def test_the_name_of_an_exported_test_is_a_sentence(finding, tmp_path, kind, operations, name):
    finding.kind, finding.operations = kind, operations
    assert f"def {name}():" in as_test(finding, tmp_path / "test_account.py")


def test_a_test_that_is_there_is_not_overwritten_unless_forced(finding, tmp_path):
    path = tmp_path / "test_account.py"
    path.write_text("mine")
    with pytest.raises(UsageError, match="already there; give --force"):
        export(finding, path)
    assert path.read_text() == "mine"
    export(finding, path, force=True)
    assert "Interleaving" in path.read_text()


def test_what_two_runs_do_not_agree_on_is_not_exported(finding, tmp_path):
    finding.kind = "nondeterminism"
    with pytest.raises(UsageError, match="no test can pin that"):
        as_test(finding, tmp_path / "test_x.py")


def test_a_module_is_imported_by_name(finding, tmp_path):
    finding.scenario = "shop.stock:Sales"
    assert "from shop.stock import Sales" in as_test(finding, tmp_path / "test_x.py")
    finding.scenario = "shop.stock"
    text = as_test(finding, tmp_path / "test_x.py")
    assert "from shop import stock" in text
    assert "Interleaving(stock, operations=" in text


def test_settings_that_are_not_the_usual_ones_are_written_down(finding, tmp_path):
    finding.settings |= {"mode": "any-order", "leaks": False}
    text = as_test(finding, tmp_path / "test_x.py")
    assert 'mode="any-order"' in text
    assert "leaks=False" in text
    compile(text, "test_x.py", "exec")


@pytest.mark.parametrize(
    ("key", "value", "call"),
    [
        (("a", "arrive", 0), 8, "hold('a', 'start', polls=2)"),
        (("a", "deliver", 2), 9, "hold('a', 'delivery', 3, polls=2, place=1)"),
        (("a", "answer", 0), 1, "hold('a', 'result', place=1)"),
        (("a", "timer", 1), 1, "fire('a', 2, place=1)"),
        (("a", "split", 0), 2, "cut('a', 'in halves')"),
    ],
)
def test_every_deviation_is_a_call_that_makes_it_again(key, value, call):
    deviation = Deviation(Key(*key), value)
    assert as_call(deviation) == call
    schedule = Interleaving(object)
    eval(f"schedule.{call}")
    assert schedule.schedule.deviations == (deviation,)


def test_a_schedule_that_no_longer_comes_about_does_not_pass(write_scenario):
    path = write_scenario(text=LOST_UPDATE.replace("== 2", ">= 0"))
    Interleaving(path).hold("late", "start", polls=3).run()
    with pytest.raises(
        ReplayDiverged, match='"late: delivery is held back for 3 polls" never came'
    ):
        Interleaving(path).hold("late", "delivery", polls=3).run()
    with pytest.raises(ReplayDiverged, match="no operation 'third' any more"):
        Interleaving(path, operations=["third"]).run()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.hold("a", "lunch", polls=1), "nothing called 'lunch' can be held"),
        (lambda s: s.hold("a", "start"), "deviates from nothing"),
        (lambda s: s.hold("a", "start", 0, polls=1), "number is 0"),
        (lambda s: s.cut("a", "whole"), "no message is cut 'whole'"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call(Interleaving(object))
