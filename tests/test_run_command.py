"""``desvelo run`` and ``desvelo report``, with phases that only say what they were given."""

import json
import os
import signal
import sys
from pathlib import Path

import jsonschema
import pytest

from desvelo import cli
from desvelo.measure import full_system
from desvelo.measure.history import open_history
from desvelo.measure.result import Metric, PhaseResult, Run, Status
from desvelo.report import folder as reports

SCHEMA = json.loads((Path(reports.__file__).parent / "run.schema.json").read_text(encoding="utf-8"))


def measured(success=1.0):
    metrics = {"success_rate": Metric(success, "share", "higher")}
    metrics |= {"error_rate": Metric(1 - success, "share", "lower")}
    metrics |= {"throughput": Metric(50.0, "1/s", "higher")}
    metrics |= {"response_time": Metric(0.5, "s", "lower")}
    return PhaseResult("baseline", metrics=metrics)


@pytest.fixture
def phase(tmp_path, monkeypatch):
    """Let every phase be the function that is given, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["desvelo", "run"])

    def become(body):
        monkeypatch.setattr(full_system, "phase_named", lambda name: body)

    become(lambda context: measured())
    return become


def run(*arguments):
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse
        return error.code


def test_a_run_that_passes_is_told_saved_and_shown_again(phase, capsys):
    assert run("run", "baseline") == cli.NOTHING
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("PASSED in ")
    assert "desvelo: baseline passed after" in err
    [place] = Path(".desvelo/runs").iterdir()
    assert {path.name for path in place.iterdir()} >= {"run.json", "junit.xml", "summary.md"}
    assert run("report") == cli.NOTHING
    assert capsys.readouterr().out.splitlines()[-1].startswith("PASSED in ")
    assert run("report", place.name, "--output", "again") == cli.NOTHING
    assert Path("again/junit.xml").read_bytes() == (place / "junit.xml").read_bytes()


def test_a_broken_threshold_is_status_1_and_json_is_one_object(phase, capsys):
    phase(lambda context: sys.stdout.write("the target prints") and measured(0.9))
    assert run("run", "baseline", "--json", "--history", "none") == cli.FOUND
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, SCHEMA)
    told = Run.from_json(document)
    assert told.reason == "baseline: success_rate: 90.0 % (at least 95.0 %) and 1 more"
    assert not Path(".desvelo/history.sqlite").exists()


def test_a_run_is_compared_with_its_past(phase, capsys):
    for _ in range(12):
        assert run("run", "baseline") == cli.NOTHING

    def slow(context):
        result = measured()
        result.metrics["response_time"] = Metric(5.0, "s", "lower")
        return result

    phase(slow)
    assert run("run", "baseline") == cli.FOUND
    assert "baseline: response_time is worse: 5.00 s, was 500.0 ms" in capsys.readouterr().out
    with open_history(".desvelo/history.sqlite") as history:
        assert history.runs(1)[0].status is Status.FAILED


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["wbhook"], cli.USAGE, "no phase is called 'wbhook'; did you mean 'webhook'?"),
        (["--requests", 0], cli.USAGE, "--requests is 0"),
        (["--for", "3 parsecs"], cli.USAGE, "--for: '3 parsecs' is not a time"),
        (["--thresholds", "gone.toml"], cli.USAGE, "gone.toml cannot be read"),
        (["--url", "http://vigia.example"], cli.USAGE, "--allow-host vigia.example"),
        (["--report", "/proc/nothing"], cli.USAGE, "reports cannot be saved in /proc/nothing"),
        (["--history", "/proc/nothing/h"], cli.USAGE, "/proc/nothing/h"),
        (["--tests", "x.py", "load"], cli.USAGE, "desvelo run load --tests"),
        (["--step-summary"], cli.USAGE, "GITHUB_STEP_SUMMARY is not set"),
        (["--target", "vigia_referenz"], cli.USAGE, "did you mean 'vigia_reference'?"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    phase, capsys, monkeypatch, arguments, status, said
):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    phase(lambda context: pytest.fail("it ran"))
    assert run("run", *arguments, "--json") == status
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA)
    assert said in document["reason"]


def test_a_phase_that_could_not_be_run_at_all_is_status_3(phase, capsys):
    phase(lambda context: context.offered("no_such_method"))
    assert run("run", "io") == cli.NOT_RUN
    assert "no_such_method" in capsys.readouterr().out


def test_an_interrupted_run_is_reported_with_status_130(phase, capsys):
    def interrupted(context):
        os.kill(os.getpid(), signal.SIGTERM)
        assert context.interruption.wait(10)
        result = measured()
        result.status, result.reason = Status.INTERRUPTED, "interrupted after 3 requests"
        return result

    phase(interrupted)
    assert run("run", "webhook") == cli.INTERRUPTED
    assert "INTERRUPTED" in capsys.readouterr().out
    [document] = Path(".desvelo/runs").glob("*/run.json")
    told = Run.from_json(json.loads(document.read_text(encoding="utf-8")))
    assert told.phases[0].metrics


def test_a_report_that_cannot_be_written_does_not_hide_the_run(phase, capsys, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reports, "write_whole", full)
    assert run("run", "baseline") == cli.USAGE
    out, err = capsys.readouterr()
    assert "PASSED" in out
    assert "report.html (No space left on device)" in err
    assert run("report") == cli.NOTHING  # the history has it


def test_the_summary_of_github_is_added_to_when_asked_for(phase, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    run("run", "baseline")
    assert not Path("summary.md").exists()
    assert run("run", "baseline", "--step-summary") == cli.NOTHING
    assert "## ✅ passed" in Path("summary.md").read_text(encoding="utf-8")


def test_thresholds_are_explained_and_nothing_runs(phase, capsys):
    phase(lambda context: pytest.fail("it ran"))
    assert run("run", "--explain-thresholds", "--profile", "ci") == cli.NOTHING
    told = capsys.readouterr().out
    assert told.startswith("thresholds of the profile ci\n")
    assert list(Path().iterdir()) == []


def test_findings_of_the_run_are_part_of_it(phase, capsys):
    """And those that were there before are not."""
    Path("race.py").write_text(
        "import asyncio\n"
        "def setup():\n    return [0]\n"
        "def operations(state):\n"
        "    async def one():\n"
        "        seen = state[0]\n"
        "        await asyncio.sleep(0)\n"
        "        state[0] = seen + 1\n"
        "    return {'a': one, 'b': one}\n"
        "def check(state):\n    assert state == [2]\n",
        encoding="utf-8",
    )
    folder = Path(".desvelo/findings")
    folder.mkdir(parents=True)
    (folder / "before.json").write_text("{}", encoding="utf-8")

    def finding(context):
        run("explore", "race.py", "--seed", 1)
        (folder / "torn.json").write_text("{", encoding="utf-8")
        return measured()

    phase(finding)
    assert run("run", "baseline", "--json") == cli.NOTHING
    [found] = Run.from_json(json.loads(capsys.readouterr().out.splitlines()[-1])).findings
    assert found.kind == "race"
    assert found.replay.startswith("desvelo replay .desvelo/findings/race-")
    assert "goes down" in found.story


@pytest.mark.parametrize(
    ("name", "said"), [(None, "there is no run"), ("r1", "there is no run 'r1'"), (".", "no run")]
)
def test_a_run_that_is_not_there_is_told(phase, capsys, name, said):
    assert run("report", *([] if name is None else [name])) == cli.USAGE
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_run_is_told(phase, capsys):
    for text in ("{", "[]", '{"schema": 2}', '{"schema": 1, "status": "fine"}'):
        Path("run.json").write_text(text, encoding="utf-8")
        assert run("report", "run.json") == cli.USAGE
        assert "run.json is no run of this version" in capsys.readouterr().err
