from pathlib import Path

import pytest

from desvelo.errors import UsageError
from desvelo.measure.plan import PHASES
from desvelo.measure.result import Metric, PhaseResult, Status
from desvelo.measure.thresholds import catalogue, explain, judge, read_thresholds

ROOT = Path(__file__).parents[2]
GOOD = {
    "success_rate": Metric(0.95, "share"),
    "error_rate": Metric(0.05, "share"),
    "response_time": Metric(30.0, "s"),
    "throughput": Metric(2.0, "1/s"),
}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Return a function that reads thresholds from a text."""
    monkeypatch.chdir(tmp_path)

    def from_text(text, profile="quick"):
        file = tmp_path / "own.toml"
        file.write_text(text, encoding="utf-8")
        return read_thresholds(file, profile)

    return from_text


def test_the_file_of_the_project_is_the_packaged_one():
    packaged = ROOT / "desvelo/measure/thresholds/thresholds.toml"
    assert (ROOT / "thresholds.toml").read_bytes() == packaged.read_bytes()


@pytest.mark.parametrize("profile", ["quick", "ci", "nightly"])
def test_the_five_of_the_document_hold_for_every_phase_that_measures_them(profile):
    limits = read_thresholds(None, profile)
    for phase in PHASES:
        wanted = {"success_rate": 0.95, "error_rate": 0.05, "response_time": 30, "throughput": 2}
        wanted["memory"] = 2e9
        assert {name: limits.of(phase)[name].value for name in wanted} == wanted


def test_a_phase_at_the_limits_passes_and_one_beyond_any_of_them_fails(read):
    limits = read("")
    at = PhaseResult("baseline", metrics=dict(GOOD))
    judge(at, limits)
    assert (at.status, len(at.checks)) == (Status.PASSED, 4)
    for metric, value in (
        ("success_rate", 0.949),
        ("error_rate", 0.051),
        ("response_time", 30.1),
        ("throughput", 1.9),
    ):
        beyond = PhaseResult("baseline", metrics=GOOD | {metric: Metric(value, GOOD[metric].unit)})
        judge(beyond, limits)
        assert beyond.status is Status.FAILED
        assert beyond.reason.startswith(f"{metric}: ")


def test_what_a_phase_has_to_measure_and_did_not_is_broken(read):
    result = PhaseResult("io", metrics=dict(GOOD))
    judge(result, read(""))
    assert result.reason == "memory: not measured (at most 1.9 GiB)"
    asked = PhaseResult("baseline", metrics=dict(GOOD))
    judge(asked, read('[phase.baseline]\nconflicts = "3"'))
    assert (asked.status, asked.checks[-1].value) == (Status.FAILED, None)


def test_the_memory_of_a_live_server_is_not_asked_for(read):
    result = PhaseResult("io", metrics=dict(GOOD))
    judge(result, read(""), live=True)
    assert result.status is Status.PASSED


def test_skipped_and_interrupted_phases_are_not_failed_by_what_they_did_not_measure(read):
    for status in (Status.SKIPPED, Status.INTERRUPTED):
        result = PhaseResult("io", status, metrics={"throughput": Metric(3.0, "1/s")})
        judge(result, read(""))
        assert result.status is status
        assert all(check.passed for check in result.checks)


def test_every_metric_that_a_threshold_can_be_set_for_is_measured_somewhere():
    assert set().union(*catalogue.MEASURED.values()) == set(catalogue.METRICS)
    assert set(catalogue.MEASURED) == set(PHASES)


def test_a_profile_comes_before_a_phase_and_a_phase_before_every(read):
    text = """
        [every]
        throughput = "3 /s"
        [phase.webhook]
        throughput = "240 /min"
        [profile.ci.every]
        throughput = "5 /s"
        [profile.ci.phase.webhook]
        throughput = "6 /s"
    """
    of = {name: read(text, name).of for name in ("quick", "ci")}
    found = [of[p](phase)["throughput"].value for p in of for phase in ("io", "webhook")]
    assert found == [3, 4, 5, 6]
    source = of["ci"]("webhook")["throughput"].source
    assert source.endswith("own.toml:profile.ci.phase.webhook.throughput")


def test_a_file_in_the_current_folder_is_taken(read):
    Path("thresholds.toml").write_text('[every]\nmemory = "1 MiB"', encoding="utf-8")
    limit = read_thresholds(None, "quick").of("memory")["memory"]
    assert (limit.value, limit.source) == (2**20, "thresholds.toml:every.memory")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[every", "own.toml is not TOML"),
        ("[evry]", "own.toml: no table is called 'evry'; did you mean 'every'?"),
        ('[every]\nsucces_rate = "9 %"', "[every]: no metric is called 'succes_rate'; did you mea"),
        ('[phase.webhok]\nmemory = "1 B"', "no phase is called 'webhok'; did you mean 'webhook'?"),
        ('[profile.ci.phases.io]\nmemory = "1 B"', "[profile.ci.phases]: no table is called"),
        ("[every]\nmemory = 2", "memory in [every]: 2 is no text with a number and its unit"),
        ('[every]\nmemory = "2"', "'2' has no unit; write it as in \"2 GB\""),
        ('[phase.io]\nmemory = "2 Gb"', "memory in [phase.io]: '2 Gb' has the unit 'Gb'; did you"),
        ('[every]\nsuccess_rate = "950 %"', "more than 100 %"),
        ('[every]\nmemory = "-2 GB"', "is no text with a number and its unit"),
        ('[regression]\nconfidense = "9 %"', "did you mean 'confidence'?"),
        ("every = 3", "every is 3; it must be a table, [every]"),
    ],
)
def test_a_mistake_is_refused_with_file_key_and_the_nearest_that_is_right(read, text, said):
    with pytest.raises(UsageError) as refused:
        read(text)
    assert said in str(refused.value)
    assert "own.toml" in str(refused.value)


def test_a_file_that_is_not_there_is_refused(read, tmp_path):
    with pytest.raises(UsageError, match=r"gone\.toml cannot be read: No such file"):
        read_thresholds(tmp_path / "gone.toml", "quick")


def test_the_explanation_has_value_source_and_meaning_of_each(read):
    told = explain(read('[phase.webhook]\nlatency_p99 = "80 ms"'))
    [line] = [line for line in told.splitlines() if "latency_p99" in line]
    assert "at most 80 ms" in line
    assert "own.toml:phase.webhook.latency_p99" in line
    assert line.endswith("99 % of the answers took no longer")
