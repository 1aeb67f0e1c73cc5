"""A pytest plugin that runs inside of a measured suite: it writes down each test, and repeats all.

It is given to a pytest of its own by ``-p desvelo.measure.suite.recorder``. What it writes are
lines of JSON, each whole at once, so that a suite that dies leaves what was known.
"""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RECORD = "--desvelo-record"
TIMES = "--desvelo-times"
SECONDS = "--desvelo-seconds"

_DESCRIPTORS = Path("/proc/self/fd")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options by which `desvelo.measure.suite.running` speaks to this plugin."""
    group = parser.getgroup("desvelo-recorder")
    group.addoption(RECORD, metavar="FILE", help="where to write what became of each test")
    group.addoption(TIMES, type=int, default=1, metavar="N", help="run all tests so often")
    group.addoption(SECONDS, type=float, default=0.0, metavar="S", help="or for so long")


def pytest_configure(config: pytest.Config) -> None:
    """Record in the process that hears of every test: with xdist, not in the workers."""
    if config.getoption(RECORD) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder(config), "desvelo-recorder")


class _Recorder:
    def __init__(self, config: pytest.Config) -> None:
        self._file = Path(config.getoption(RECORD))
        self._times: int = config.getoption(TIMES)
        self._seconds: float = config.getoption(SECONDS)
        self._round = 1
        self._begun = time.perf_counter()
        self._seconds_of: dict[str, float] = {}
        self._outcome_of: dict[str, tuple[str, str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        files = {item.nodeid.partition("::")[0]: str(item.path) for item in session.items}
        places = session.config.option.file_or_dir
        collected = [item.nodeid for item in session.items]
        self._write(collected=collected, files=files, places=places)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run all tests again and again; left to others when they are to run once."""
        if self._times <= 1 and not self._seconds:
            return None
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted("errors during collection")
        while True:
            last = self._is_last()
            for item, following in _pairs(session.items, last=last):
                _renew(item)
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)
            self._forget(session.config)
            self._write_resources()
            if last or not session.items or (self._seconds and self._time_is_up()):
                return True
            self._round += 1

    def _is_last(self) -> bool:
        return not self._seconds and self._round >= self._times

    def _time_is_up(self) -> bool:
        return time.perf_counter() - self._begun >= self._seconds

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid
        self._seconds_of[test] = self._seconds_of.get(test, 0.0) + report.duration
        known, _ = self._outcome_of.get(test, ("", ""))
        if report.failed and known != "failed":
            self._outcome_of[test] = ("failed", f"{report.when}: {_last_line(report)}")
        elif report.when == "call" and known != "failed":
            self._outcome_of[test] = ("skipped" if report.skipped else "passed", "")
        elif report.skipped and not known:
            self._outcome_of[test] = ("skipped", "")
        # A test whose worker died has no teardown; pytest-xdist says "???".
        if report.when not in ("setup", "call"):
            outcome, message = self._outcome_of.pop(test, ("passed", ""))
            seconds = self._seconds_of.pop(test)
            at = time.perf_counter() - self._begun
            self._write(test=test, at=at, outcome=outcome, seconds=seconds, message=message)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(broken=report.nodeid or "collection", message=_last_line(report))

    def _forget(self, config: pytest.Config) -> None:
        """Drop what pytest keeps of each test that passed: it would look like a leak of theirs."""
        terminal = config.pluginmanager.getplugin("terminalreporter")
        for kind in ("", "passed", "skipped"):
            getattr(terminal, "stats", {}).get(kind, []).clear()

    def _write_resources(self) -> None:
        """Write what this process holds once a round is over."""
        gc.collect()
        self._write(
            at=time.perf_counter() - self._begun,
            rss=_resident(),
            fds=len(list(_DESCRIPTORS.iterdir())) if _DESCRIPTORS.is_dir() else 0,
            threads=threading.active_count(),
        )

    def _write(self, **what: Any) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"round": self._round, **what}) + "\n")


def _pairs(
    items: list[pytest.Item], *, last: bool
) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Return each test and the one after it, so that wider fixtures live as long as they may."""
    for place, item in enumerate(items):
        following = items[(place + 1) % len(items)]
        ends = last and place + 1 == len(items)
        # A test that is followed by itself would keep even its own fixtures.
        yield item, None if ends or following is item else following


def _renew(item: pytest.Item) -> None:
    """Give a test that has run its fixtures afresh."""
    begin_anew = getattr(item, "_initrequest", None)
    if begin_anew is not None:
        begin_anew()
    # What it printed in the round before.
    getattr(item, "_report_sections", []).clear()


def _last_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0].strip()[:300] if crash is not None and lines else (lines or [""])[-1][:300]


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
