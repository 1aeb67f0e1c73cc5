"""This code against an earlier revision of it: each server runs its own code, in turns."""

import subprocess
import sys
from pathlib import Path

import pytest

from desvelo.errors import UsageError
from desvelo.measure.context import Context, Silent
from desvelo.measure.history import revision
from desvelo.measure.history.comparison import Limits
from desvelo.measure.history.revision import compare_with_revision, extract
from desvelo.measure.phases.against import against
from desvelo.measure.plan import Settings
from desvelo.measure.result import Status

SMALL = Path(__file__).with_name("small_server.py")


def git(folder, *words):
    names = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a server that writes something else since its last revision."""
    folder = tmp_path / "repository"
    folder.mkdir()
    server = folder / "server.py"
    server.write_text(SMALL.read_text())
    git(folder, "init", "-q")
    git(folder, "add", "server.py")
    git(folder, "commit", "-q", "-m", "first")
    server.write_text(server.read_text().replace("(key + ", '(b"new " + key + '))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def context(small, repository, tmp_path):
    made = small()
    work = tmp_path / "work"
    work.mkdir()

    def command(port, folder):
        return [
            sys.executable,
            "-S",
            str(repository / "server.py"),
            str(port),
            str(folder / "s"),
            "",
        ]

    made.target.server_command = command
    return Context(made.target, Settings(), work)


def test_each_server_runs_its_own_code(context):
    found = compare_with_revision(context, "HEAD", pairs=5, seconds=0.03)
    assert {one.metric for one in found} >= {"latency_p50", "latency_p99"}
    assert all(one.runs == 5 and one.sentence.count("over 5 pairs") for one in found)
    stored = {name: (context.folder / name / "s").read_bytes() for name in ("before", "now")}
    assert stored["now"].splitlines()[0].startswith(b"new good-")
    assert stored["before"].splitlines()[0].startswith(b"good-")


def test_pairs_are_judged_by_their_ratios():
    machine = (1, 3, 1.2, 0.8, 2.5, 1, 1.7, 0.9)
    noise = (1.01, 0.99, 1.02, 1, 0.98, 1.01, 0.99, 1)
    before = {name: [0.01 * one for one in machine] for name in revision.METRICS}
    now = {
        name: [1.1 * one * other for one, other in zip(values, noise, strict=True)]
        for name, values in before.items()
    }
    found = {one.metric: one for one in revision.judge_pairs(before, now, Limits())}
    assert found["latency_p99"].verdict == "worse"
    assert found["throughput"].verdict == "better"
    assert round(found["latency_p99"].change, 2) == 0.1


def test_a_revision_is_that_of_this_folder_and_has_to_exist(repository, tmp_path):
    extract("HEAD", tmp_path / "earlier")
    assert (tmp_path / "earlier" / "server.py").read_text() == SMALL.read_text()
    with pytest.raises(UsageError, match="git has no revision 'nowhere' here"):
        extract("nowhere", tmp_path / "other")


def test_an_interrupted_comparison_says_so(context, monkeypatch):
    monkeypatch.setattr(revision, "SECONDS", 0.05)
    monkeypatch.setattr(Silent, "advance", lambda bar, by=1: context.interruption.set())
    comparisons = []
    result = against("HEAD", Limits(), comparisons)(context)
    assert (result.status, comparisons) == (Status.INTERRUPTED, [])
