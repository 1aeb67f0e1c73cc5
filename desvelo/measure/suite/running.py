"""Running a pytest suite in a process of its own, and reading what became of each test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from desvelo.errors import UsageError
from desvelo.measure.context import Interruption
from desvelo.measure.result import TestRecord
from desvelo.measure.suite.recorder import RECORD, SECONDS, TIMES

NOTHING_COLLECTED = 5
"""pytest's exit status when there was no test."""
_KEPT_OUTPUT = 65_536
"""Bytes of what pytest printed that are looked at: its last."""
_STOPPING = 5.0
_WITH_A_VALUE = ("-k", "-m", "-p", "-o", "-c", "-n", "-W", "-r", "--rootdir", "--confcutdir")
"""Options of pytest whose next word may look like a place with tests."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test in one round."""

    test: str
    round: int
    at: float
    """When it had ended, in seconds of its process."""
    outcome: str
    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class Round:
    """What the process of the suite held when a round was over."""

    number: int
    at: float
    rss: int
    fds: int
    threads: int


@dataclass(slots=True)
class SuiteRun:
    """What became of a suite."""

    seconds: float = 0.0
    exit_status: int = 0
    output: str = ""
    interrupted: bool = False
    collected: list[str] = field(default_factory=list)
    """Unknown, and empty, when workers collected."""
    files: dict[str, str] = field(default_factory=dict)
    """The path of each file of tests, by its name in the names of tests."""
    places: list[str] = field(default_factory=list)
    """Which of its arguments pytest took for files, folders and tests."""
    broken: list[str] = field(default_factory=list)
    """Files that could not be collected, each with its error."""
    outcomes: list[Outcome] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    @property
    def ran(self) -> list[Outcome]:
        """The tests that were not skipped."""
        return [one for one in self.outcomes if one.outcome != "skipped"]

    @property
    def failed(self) -> list[Outcome]:
        """The failures."""
        return [one for one in self.outcomes if one.outcome == "failed"]

    @property
    def testing(self) -> float:
        """Seconds from the begin of the first test to the end of the last, without pytest's own."""
        if not self.ran:
            return 0.0
        begun = min(one.at - one.seconds for one in self.ran)
        return max(max(one.at for one in self.ran) - begun, 1e-6)

    def path_of(self, test: str) -> str:
        """Return the name of a test with its whole path, which is right in every folder."""
        file, colons, rest = test.partition("::")
        return f"{self.files.get(file, file)}{colons}{rest}"

    def options_of(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments without the places, to run a part of the same tests."""
        left, kept = Counter(self.places), []
        for before, one in pairwise(["", *arguments]):
            if left[one] and before not in _WITH_A_VALUE:
                left[one] -= 1
            else:
                kept.append(one)
        return kept

    def why_not(self) -> str:
        """Return why the suite as a whole is no good; empty when some tests ran and none failed."""
        if self.broken:
            more = f" and {len(self.broken) - 1} more" if len(self.broken) > 1 else ""
            return f"{self.broken[0]}{more}"
        if self.failed:
            first = self.failed[0]
            count = len({one.test for one in self.failed})
            tests = "1 test failed" if count == 1 else f"{count} tests failed"
            return f"{tests}, first {first.test}: {first.message}"
        if not self.collected and not self.outcomes and self.exit_status in (0, NOTHING_COLLECTED):
            return "no test was collected"
        if not self.ran and self.exit_status in (0, NOTHING_COLLECTED):
            return f"all {len({one.test for one in self.outcomes})} tests were skipped"
        if self.exit_status:
            lines = [line for line in self.output.splitlines() if line.strip()]
            last = lines[-1] if lines else "it printed nothing"
            return f"pytest ended with status {self.exit_status}: {last}"
        return ""


def run_suite(
    arguments: Sequence[str],
    folder: Path,
    *,
    interruption: Interruption | None = None,
    times: int = 1,
    seconds: float = 0.0,
    workers: int = 0,
    maxfail: int = 0,
    environment: dict[str, str] | None = None,
) -> SuiteRun:
    """Run pytest with these arguments, once or repeated, by so many workers of pytest-xdist.

    ``folder`` keeps the record and the output. Raises `UsageError` when workers are asked for and
    pytest-xdist is not installed.
    """
    if workers and find_spec("xdist") is None:
        raise UsageError("parallel workers need pytest-xdist: pip install 'desvelo[measure]'")
    folder.mkdir(parents=True, exist_ok=True)
    record, output = folder / "tests.jsonl", folder / "output.txt"
    record.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "desvelo.measure.suite.recorder"]
    command += [f"{RECORD}={record}", f"{TIMES}={times}", f"{SECONDS}={seconds}", "-q"]
    # What pytest keeps from run to run is the user's, and not this run's to change. A folder for
    # each test of each round is removed at once: looking for a new name would become slower.
    command += ["-o", f"cache_dir={folder / 'cache'}", f"--basetemp={folder / 'tmp'}"]
    command += ["-o", "tmp_path_retention_policy=failed"]
    # Also 0: a suite whose own configuration asks for workers cannot be repeated by them.
    command += ["-n", str(workers)] if find_spec("xdist") is not None else []
    command += [f"--maxfail={maxfail}"] if maxfail else []
    begun = time.perf_counter()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        interrupted = _wait(process, interruption or Interruption())
    run = read_record(record)
    run.seconds = time.perf_counter() - begun
    run.exit_status, run.interrupted = process.returncode, interrupted
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - _KEPT_OUTPUT))
        run.output = file.read().decode(errors="replace")
    return run


def records_of(outcomes: Iterable[Outcome]) -> list[TestRecord]:
    """Return one record for each test, in the order in which they first ran."""
    by_test: dict[str, list[Outcome]] = {}
    for one in outcomes:
        by_test.setdefault(one.test, []).append(one)
    return [
        TestRecord(
            test,
            len(runs),
            sum(one.outcome == "failed" for one in runs),
            sum(one.seconds for one in runs) / len(runs),
            next((one.message for one in runs if one.message), ""),
        )
        for test, runs in by_test.items()
    ]


def read_record(record: Path) -> SuiteRun:
    """Read what the recorder has written; a line that was cut short is left out."""
    run = SuiteRun()
    if not record.exists():
        return run
    for line in record.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        number = entry["round"]
        if "collected" in entry:
            run.collected, run.files = entry["collected"], entry["files"]
            run.places = entry["places"]
        elif "test" in entry:
            run.outcomes.append(
                Outcome(
                    entry["test"],
                    number,
                    entry["at"],
                    entry["outcome"],
                    entry["seconds"],
                    entry["message"],
                )
            )
        elif "broken" in entry:
            run.broken.append(f"{entry['broken']} could not be collected: {entry['message']}")
        else:
            run.rounds.append(
                Round(number, entry["at"], entry["rss"], entry["fds"], entry["threads"])
            )
    return run


def _wait(process: subprocess.Popen[bytes], interruption: Interruption) -> bool:
    """Wait for the end, and stop the whole group when interrupted; returns whether that was so."""
    interrupted = False
    try:
        while process.poll() is None:
            if interruption.wait(0.02):
                interrupted = True
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(_STOPPING)
                except subprocess.TimeoutExpired:
                    break
    finally:
        # Workers and whatever tests have started and left are in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return interrupted
