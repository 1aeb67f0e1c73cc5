import json
import re
import shutil
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from desvelo.errors import UsageError
from desvelo.measure import result as form
from desvelo.measure.result import (
    Check,
    Comparison,
    FoundFailure,
    Latency,
    LoadStep,
    Metric,
    PhaseResult,
    Run,
    Sample,
    Status,
    TestRecord,
)
from desvelo.report import folder as reports
from desvelo.report.folder import ReportNotWritten, add_to_step_summary, write_reports
from desvelo.report.junit import junit
from desvelo.report.markdown import markdown
from desvelo.report.screen import screen

SCHEMA = json.loads((Path(reports.__file__).parent / "run.schema.json").read_text(encoding="utf-8"))
HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m\x00 \ud800 ]]> & \"'"


@pytest.fixture
def run():
    """Return a run that has one of everything, said by somebody hostile."""
    latency = Latency(10, 0.01, ((50.0, 0.01), (99.0, 0.02)))
    webhook = PhaseResult(
        "webhook",
        Status.FAILED,
        f"lost {HOSTILE}",
        "2026-01-01T00:00:01+00:00",
        1.25,
        metrics={"throughput": Metric(1234.5, "1/s", "higher", (1200.0, 1269.0))},
        checks=[
            Check("throughput", "at least", 2.0, "1/s", 1234.5, True, "default"),
            Check("memory", "at most", 2e9, "B", None, False, "own.toml:every.memory"),
        ],
        problems=[HOSTILE],
        errors={HOSTILE: 3, "timeout": 1},
        latency=latency,
        steps=[LoadStep(5, 0.0, 1.0, 100, 0, 100.0, latency)],
        knee=0,
        samples=[Sample(0.0, 1, 1, 0.5, 3, 1, 0, 0)],
        tests=[TestRecord(f"test_{HOSTILE}", 10, 3, 0.1, HOSTILE)],
        notes=[HOSTILE],
    )
    skipped = PhaseResult("io", Status.SKIPPED, "no server", "2026-01-01T00:00:03+00:00")
    ended = PhaseResult("load", Status.INTERRUPTED, "interrupted", "2026-01-01T00:00:04+00:00")
    worse = Comparison("io", "throughput", "1/s", 9.0, 5.0, -0.4, 0.99, "worse", "slower", 20)
    found = FoundFailure("race", HOSTILE, "r.json", "desvelo replay r.json", "a | b\n```\nend")
    return Run(
        "20260101T000000-abcd",
        "2026-01-01T00:00:00+00:00",
        "vigia_reference",
        "ci",
        Status.FAILED,
        f"webhook: {HOSTILE}",
        5.0,
        phases=[webhook, skipped, ended],
        comparisons=[worse],
        findings=[found],
    )


def test_the_schema_allows_what_a_run_is_and_refuses_what_it_is_not(run):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    document = json.loads(json.dumps(run.as_json()))
    validator.validate(document)
    for spoil in (
        lambda one: one.pop("id"),
        lambda one: one.update(schema=2),
        lambda one: one["phases"][0].update(status="fine"),
        lambda one: one["phases"][0]["metrics"]["throughput"].update(value="fast"),
        lambda one: one["phases"][0]["latency"]["percentiles"][0].append(1),
        lambda one: one["comparisons"][0].update(confidence=1.1),
    ):
        spoiled = json.loads(json.dumps(document))
        spoil(spoiled)
        assert not validator.is_valid(spoiled)


def test_the_schema_describes_every_field():
    names = {"phase": PhaseResult, "test": TestRecord, "step": LoadStep, "finding": FoundFailure}
    names |= {name: getattr(form, name.title()) for name in SCHEMA["$defs"] if name not in names}
    for name, kind in names.items():
        assert set(SCHEMA["$defs"][name]["properties"]) == {one.name for one in fields(kind)}
    assert set(SCHEMA["properties"]) == {"schema", *(one.name for one in fields(Run))}


def test_junit_can_be_read_and_its_counts_are_right(run):
    root = ET.fromstring(junit(run))
    counted = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    for suite in [root, *root]:
        assert int(suite.get("tests")) == len(suite.findall(".//testcase"))
        for count, kind in counted.items():
            if count in suite.attrib:
                assert int(suite.get(count)) == len(suite.findall(f".//{kind}")), count
        assert re.fullmatch(r"\d+\.\d{3}", suite.get("time"))
    assert [root.get(count) for count in counted] == ["4", "1", None]
    assert [suite.get("skipped") for suite in root] == ["0", "1", "0", "0"]
    for suite in root:
        assert [child.tag for child in suite] == sorted((c.tag for c in suite), key=_order)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
    properties = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert float(properties["throughput"]) == 1234.5
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(names) == len(set(names))


def _order(tag):
    return ["properties", "testcase", "system-out"].index(tag)


def test_markdown_shows_what_anybody_said_and_lets_it_do_nothing(run):
    text = markdown(run)
    text.encode()
    outside = re.sub(r"(?ms)^````text$.*?^````$", "", text)
    assert "<script>" not in outside
    tables = [line for line in outside.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables[:5]}) == 1
    assert "a | b\n```\nend" in text  # a longer fence is around it


def test_the_screen_is_one_screen_and_does_not_steer_the_terminal(run):
    run.phases[0].problems *= 100
    run.phases[0].checks *= 50
    told = screen(run, Path("r"), width=80)
    lines = told.splitlines()
    assert len(lines) <= 50
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines[:-1])) <= 80
    assert "thresholds: 50 of 100 hold" in told
    assert lines[-1].startswith("FAILED in 5.00 s: webhook")


def test_all_reports_are_written_and_the_run_is_read_back(run, tmp_path):
    run.phases[0].metrics["throughput"] = Metric(1.0, "1/s")  # without samples, as most have
    written = write_reports(run, tmp_path / "a" / "b")
    assert {"run.json", "junit.xml", "summary.md"} <= {path.name for path in written}
    document = json.loads((tmp_path / "a/b/run.json").read_text(encoding="utf-8"))
    assert Run.from_json(document) == run
    assert [path for path in (tmp_path / "a/b").iterdir() if path not in written] == []


def test_a_full_disk_is_told_in_one_sentence_before_and_after(run, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reports, "write_whole", full)
    with pytest.raises(ReportNotWritten, match=r"report\.html \(No space left on device\)$"):
        write_reports(run, tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=2**20))
    with pytest.raises(UsageError, match=r"1 MiB are free there, and 16 MiB are needed"):
        reports.check_report_folder(tmp_path / "new")


@pytest.mark.parametrize("place", ["/proc/nothing", "file/below"])
def test_a_folder_that_cannot_be_written_is_told_before_the_run(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(UsageError, match="reports cannot be saved in"):
        reports.check_report_folder(Path(place))


def test_the_summary_of_a_step_is_added_to(run, tmp_path):
    place = tmp_path / "summary"
    place.write_text("before\n", encoding="utf-8")
    add_to_step_summary(run, place)
    assert place.read_text(encoding="utf-8").startswith("before\n## ")
