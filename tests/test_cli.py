import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import pytest

from desvelo import Finding, cli
from desvelo.commands import explore as explore_command
from desvelo.errors import LoopBlocked, TargetError
from desvelo.report import doctor
from desvelo.report.terminal import Explored, replay_command, summary
from desvelo.watchdog import Watchdog

KEYS = [
    "schema",
    "found",
    "kind",
    "error",
    "operations",
    "deviations",
    "executions",
    "seconds",
    "replays",
    "confirmed",
    "file",
]

RACE = """
    import asyncio

    def setup():
        print("the target prints this")
        return [0]

    def operations(state):
        async def early():
            seen = state[0]
            await asyncio.sleep(0)
            state[0] = seen + 1

        async def late():
            for _ in range(4):
                await asyncio.sleep(0)
            seen = state[0]
            await asyncio.sleep(0)
            state[0] = seen + 1

        return {"early": early, "late": late}

    def check(state):
        assert state == [2], f"it is {state}"
"""
CORRECT = RACE.replace("[2]", "[2] or True")


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    """Return a function that writes a scenario file into the current, empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def write(text, name="visits"):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path.name

    yield write
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]


def run(*arguments):
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse
        return error.code


# explore


@pytest.mark.parametrize("place", ["/proc/nothing", "visits.py/below"])
def test_a_folder_that_cannot_be_written_is_told_before_the_search(scenario, capsys, place):
    file = scenario("def operations(state):\n    raise SystemExit('it was run')\n")
    assert run("explore", file, "--save", place) == cli.USAGE
    said = capsys.readouterr().err
    assert f"findings cannot be saved in {place}: " in said
    assert len(said.splitlines()) == 1


def test_looking_whether_a_folder_can_be_written_leaves_nothing_behind(scenario):
    assert run("explore", scenario(CORRECT), "--save", "a/b", "--max-executions", 2) == cli.NOTHING
    assert not Path("a").exists()


def test_a_finding_that_cannot_be_saved_is_told_all_the_same(scenario, capsys, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("desvelo.finding.finding.write_whole", full)
    assert run("explore", scenario(RACE), "--seed", 1) == cli.FOUND
    told = capsys.readouterr()
    said = "the finding could not be saved in .desvelo/findings: No space left on device"
    assert told.err.count(said) == 1
    assert told.out.startswith("race: AssertionError: it is [1]")
    assert "Run it again:" not in told.out


def test_a_finding_is_told_saved_and_can_be_replayed(scenario, capsys):
    assert run("explore", scenario(RACE), "--seed", 1) == cli.FOUND
    out, err = capsys.readouterr()
    assert out.startswith("race: AssertionError: it is [1] (2 operations, 1 deviation from FIFO)")
    command = re.search(r"desvelo replay (\.desvelo/findings/race-\w+\.json)", out)
    assert command is not None, out
    assert "the target prints this" not in out
    assert "the target prints this" in err
    assert run("replay", command[1]) == cli.FOUND
    assert "it fails again, every event the same" in capsys.readouterr().out


def test_json_is_one_object_with_the_agreed_keys(scenario, capsys):
    assert run("explore", scenario(RACE), "--json", "--save", "found", "--seed", 1) == cli.FOUND
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert list(found) == KEYS
    assert (found["found"], found["kind"], found["deviations"]) == (True, "race", 1)
    assert (found["error"], found["operations"]) == ("AssertionError: it is [1]", ["early", "late"])
    assert found["replays"] is True
    assert found["confirmed"] is True
    assert found["file"].startswith("found/race-")
    assert "time goes down" in err


def test_nothing_found_is_status_0_and_says_how_much_was_tried(scenario, capsys):
    arguments = ("explore", scenario(CORRECT), "--max-executions", 40)
    assert run(*arguments) == cli.NOTHING
    assert capsys.readouterr().out.startswith("nothing found in 40 executions of ")
    assert run(*arguments, "--json") == cli.NOTHING
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    assert (found["found"], found["executions"], found["file"]) == (False, 40, None)


def test_leaks_can_be_let_pass_by_an_option_or_in_the_scenario(scenario, capsys):
    text = """
        import asyncio
        KEPT = []
        def operations(state):
            async def start():
                KEPT.append(asyncio.create_task(asyncio.sleep(1000)))
            return {"start": start}
        def teardown(state):
            pass
    """
    leaking, once = scenario(text, "leaking"), ("--max-executions", 1, "--seed", 1)
    assert run("explore", leaking, *once) == cli.FOUND
    assert run("explore", leaking, *once, "--no-leaks") == cli.NOTHING
    assert run("explore", scenario(text + "    leaks = False", "open"), *once) == cli.NOTHING
    capsys.readouterr()
    assert run("explore", scenario(text + "    leaks = 'no'", "odd"), *once) == cli.USAGE
    assert "scenario 'odd': leaks is 'no'; it must be True or False" in capsys.readouterr().err


def test_a_bound_on_seconds_is_kept(scenario, capsys):
    started = time.monotonic()
    assert run("explore", scenario(CORRECT), "--max-seconds", 0.3) == cli.NOTHING
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere.py"], 2, "there is no file nowhere.py"),
        (["visits.py:Nobody"], 2, "visits.py has nothing called 'Nobody'"),
        (["no_such_module_anywhere"], 2, "there is no module 'no_such_module_anywhere'"),
        (["visits.py", "--policy", "ptc"], 2, "did you mean 'pct'?"),
        (["visits.py", "--mode", "chaos"], 2, "no mode is called 'chaos'"),
        (["visits.py", "--max-executions", "0"], 2, "at least one execution"),
        (["visits.py", "--max-seconds", "-1"], 2, "must be more than 0"),
        (["visits.py", "--max-seconds", "soon"], 2, "invalid float value: 'soon'"),
        ([], 2, "the following arguments are required"),
        (["broken.py"], 3, "broken.py does not import: ZeroDivisionError"),
        (["leaves.py"], 3, "the target called sys.exit(7)"),
        (["unready.py"], 3, "setup() failed: OSError: no disk"),
        (["starts_processes.py"], 3, "os.system()"),
    ],
)
def test_what_cannot_be_run_has_its_own_status_and_one_sentence(
    scenario, capsys, arguments, status, said
):
    scenario(RACE)
    scenario("1 / 0", "broken")
    scenario("import sys; sys.exit(7)", "leaves")
    operations = "\ndef operations(state):\n    return {'a': lambda: None}\n"
    scenario("def setup():\n    raise OSError('no disk')\n" + operations, "unready")
    start = "import os\ndef setup():\n    os.system('true')\n"
    scenario(start + operations, "starts_processes")
    assert run("explore", *arguments) == status
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


def test_json_says_why_the_target_could_not_be_run(scenario, capsys):
    assert run("explore", scenario("1 / 0", "broken"), "--json") == cli.NOT_RUN
    said = json.loads(capsys.readouterr().out)
    assert list(said) == KEYS
    assert (said["found"], said["error"][:9]) == (False, "broken.py")


def test_progress_goes_to_standard_error_about_once_a_second(scenario, capsys, monkeypatch):
    monkeypatch.setattr(explore_command._Reporter, "EVERY", 0.05)
    run("explore", scenario(CORRECT), "--max-seconds", 0.4, "--progress", "--json")
    out, err = capsys.readouterr()
    json.loads(out)
    assert 2 <= len(re.findall(r"desvelo: [\d,]+ executions, [\d,]+ different schedules", err)) <= 9


def test_ctrl_c_ends_it_without_a_traceback(scenario, capsys, monkeypatch):
    def interrupt(progress):
        raise KeyboardInterrupt

    silent = types.SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(explore_command, "_Reporter", lambda: silent)
    engine = sys.modules["desvelo.exploration"]
    monkeypatch.setattr(engine, "execute", lambda *a, **o: interrupt(None))
    assert run("explore", scenario(CORRECT), "--progress") == cli.INTERRUPTED
    assert capsys.readouterr().err.splitlines()[-1] == "desvelo: interrupted"


# a target that blocks the loop for real

SPINS = """
    import asyncio

    def setup():
        return [0]

    def operations(state):
        async def spin():
            await asyncio.sleep(0)
            try:
                while True:
                    pass
            except Exception:
                pass

        return {"spin": spin}
"""
READS = SPINS.replace("while True:", "import os; end, _ = os.pipe()").replace(
    "                    pass\n", "                os.read(end, 1)\n", 1
)


@pytest.mark.parametrize("text", [SPINS, READS], ids=["a loop", "a pipe"])
def test_a_target_that_holds_the_loop_is_ended_and_its_line_named(scenario, capsys, text):
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    started = time.monotonic()
    assert run("explore", scenario(text, "spins"), "--real-timeout", 0.4) == cli.NOT_RUN
    assert time.monotonic() - started < 8
    said = capsys.readouterr().err
    assert re.search(
        r"held the event loop for 0\.4 s of real time at spins\.py:1[123] in spin", said
    )
    assert signal.getsignal(signal.SIGALRM) == before[0]
    after = signal.getitimer(signal.ITIMER_REAL)
    assert (after[0] > 0) == (before[1][0] > 0)


BLOCKS_LATER = RACE.replace("range(4)", "range(0)").replace(
    "    def setup():",
    """    SET_UPS = []

    def setup():
        SET_UPS.append(1)
        while len(SET_UPS) > 6:
            pass""",
)
"""Fails in plain order at once, and blocks when it has been set up a few times."""


def test_what_was_found_before_the_target_blocked_is_kept(scenario, capsys):
    status = run("explore", scenario(BLOCKS_LATER, "later"), "--real-timeout", 0.4)
    said = capsys.readouterr().err
    assert status == cli.NOT_RUN, said
    kept = re.search(r"what was found before that is kept: (\S+)", said)
    assert kept is not None, said
    assert Finding.load(kept[1]).kind == "race"


def test_the_watchdog_lets_slow_work_pass_that_is_not_in_a_world():
    with Watchdog(0.05):
        time.sleep(0.3)


def test_the_watchdog_does_nothing_outside_the_main_thread():
    failures = []

    def work():
        try:
            with Watchdog(0.01):
                time.sleep(0.05)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures


def test_a_blocked_loop_is_no_error_that_the_target_can_swallow(scenario):
    from desvelo.exploration import explore

    with pytest.raises(LoopBlocked, match="in spin"), Watchdog(0.3):
        explore(scenario(SPINS, "spins"), max_seconds=5)


# replay


@pytest.fixture
def found(scenario, capsys):
    run("explore", scenario(RACE), "--seed", 1, "--save", "found", "--json")
    return json.loads(capsys.readouterr().out)["file"]


def test_a_folder_stands_for_all_its_findings(found, capsys):
    assert run("replay", "found") == cli.FOUND
    assert f"{found}: it fails again" in capsys.readouterr().out


def test_a_replay_with_trace_prints_every_step(found, capsys):
    assert run("replay", found, "--trace") == cli.FOUND
    out = capsys.readouterr().out
    assert re.search(r"All \d+ steps, from the first operation on", out)
    assert re.search(r"early +visits\.py:\d+  seen = state\[0\]  ➜ 0", out)


def test_a_failure_that_is_mended_is_status_0(found, scenario, capsys):
    scenario(RACE.replace("await asyncio.sleep(0)\n            state", "state"))
    del sys.modules["visits"]
    assert run("replay", found) == cli.NOTHING
    assert "it does not fail any more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:99], "truncated"),
        (lambda text: "{}", "not a finding"),
        (lambda text: text.replace('"schema": 1', '"schema": 7'), "schema 7"),
        (lambda text: text.replace('"kind": "race"', '"kind": "odd"'), "kind 'odd'"),
        (lambda text: text.replace('"late"', '"gone"'), "no operation 'gone' any more"),
    ],
)
def test_a_file_that_no_longer_fits_is_status_2(found, capsys, damage, said):
    path = Path(found)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert run("replay", found) == cli.USAGE
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1 + err.count("the target prints this")


def test_replaying_nothing_is_wrong_usage(scenario, tmp_path, capsys):
    scenario(RACE)
    (tmp_path / "empty").mkdir()
    assert run("replay", "empty") == cli.USAGE
    assert run("replay", "missing.json") == cli.USAGE
    assert "no finding in the folder empty" in capsys.readouterr().err


def test_a_target_that_is_gone_is_status_3(found, tmp_path):
    (tmp_path / "visits.py").unlink()
    assert run("replay", found) == cli.NOT_RUN


# export and doctor


def test_an_export_is_written_once(found, capsys, tmp_path):
    assert run("export", found, "-o", "test_visits.py") == cli.NOTHING
    assert "wrote test_visits.py" in capsys.readouterr().out
    assert run("export", found, "-o", "test_visits.py") == cli.USAGE
    assert "give --force" in capsys.readouterr().err
    assert run("export", found, "-o", "test_visits.py", "--force") == cli.NOTHING
    assert "def test_early_and_late_do_not_race():" in (tmp_path / "test_visits.py").read_text()


def test_the_doctor_says_what_is_installed_and_that_a_world_runs(capsys):
    assert run("doctor") == cli.NOTHING
    out = capsys.readouterr().out
    assert re.search(r"aiohttp +3\.", out)
    assert f"A small world: {doctor.WORKS}" in out


def test_the_doctor_prints_the_table_of_defects(monkeypatch):
    defect = types.SimpleNamespace(
        name="lost-row",
        kind="race",
        where="store.insert",
        breaks="a row " * 20,
        operations=2,
        deviations=1,
    )
    module = types.SimpleNamespace(DEFECTS={"lost-row": defect})
    monkeypatch.setitem(sys.modules, "made_up_defects", module)
    lines = doctor.defects_table("made_up_defects").splitlines()
    assert lines[0].split() == list(doctor.COLUMNS)
    assert lines[2].startswith("lost-row  race  store.insert  a row a row")
    assert lines[-1] == "1 planted defects"
    with pytest.raises(TargetError, match="planted defects cannot be listed"):
        doctor.defects_table("no_such_module_anywhere")


def test_the_command_is_there_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "desvelo.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert re.fullmatch(r"desvelo \d+\.\d+\.\d+", done.stdout.strip())


# the summary that ends a run


def test_the_summary_tells_two_stories_and_names_the_rest(found):
    finding = Finding.load(found)
    tests = [
        Explored(f"test_{number}", 1000 * number, 10, 2.0, number == 3) for number in range(20)
    ]
    text = summary(tests, [finding] * 3, width=90)
    assert text.count("time goes down") == 2
    assert text.count(f"replay: {replay_command(finding)}") == 3
    assert "and 5 more tests with" in text
    assert text.splitlines()[1].startswith("test_3 ")
    assert text.splitlines()[1].endswith("found")


def test_the_summary_of_a_clean_run_is_short():
    text = summary([Explored("test_a", 10, 5, 0.0)], [])
    assert text.splitlines()[-1] == "nothing found"
    assert len(text.splitlines()) == 3
