"""The folder of a run: all its reports, each written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from desvelo.errors import DesveloError, UsageError
from desvelo.finding.files import check_folder, write_whole
from desvelo.measure.result import Run
from desvelo.report.junit import junit
from desvelo.report.markdown import markdown

RUNS = Path(".desvelo/runs")
NEEDED = 16 * 2**20
"""Bytes that have to be free: several times what the reports of a full run take."""


class ReportNotWritten(DesveloError):
    """A report could not be written; the run itself is over and was told."""


def check_report_folder(folder: Path) -> None:
    """Raise `UsageError` when the reports could not be written into a folder, before the run."""
    check_folder(folder, "reports")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < NEEDED:
        raise UsageError(
            f"reports cannot be saved in {folder}: {free // 2**20} MiB are free there, and "
            f"{NEEDED // 2**20} MiB are needed"
        )


def as_text(run: Run) -> str:
    """Return the JSON document of a run, one object in one line."""
    return json.dumps(run.as_json(), allow_nan=False)


def write_reports(run: Run, folder: Path, before: Run | None = None) -> list[Path]:
    """Write ``run.json``, ``junit.xml``, ``summary.md`` and ``report.html``.

    The numbers of ``before`` stand beside those of the run where there is room. Raises
    `ReportNotWritten` that names each file that could not be made; the others are there, whole.
    """
    files: dict[str, Callable[[], str]] = {
        "run.json": lambda: f"{as_text(run)}\n",
        "junit.xml": lambda: junit(run),
        "summary.md": lambda: markdown(run),
        "report.html": lambda: _html(run, before),
    }
    written: list[Path] = []
    failed: dict[str, list[str]] = {}
    for name, made in files.items():
        try:
            write_whole(folder / name, made())
        except OSError as error:
            failed.setdefault(str(error.strerror), []).append(name)
        except Exception as error:  # a fault in one report must not cost the others
            failed.setdefault(f"{type(error).__name__}: {error}", []).append(name)
        else:
            written.append(folder / name)
    if failed:
        told = [f"{', '.join(names)} ({reason})" for reason, names in failed.items()]
        raise ReportNotWritten(f"reports could not be written in {folder}: {'; '.join(told)}")
    return written


def _html(run: Run, before: Run | None) -> str:
    from desvelo.report.html import page

    return page(run, before)


STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def step_summary() -> Path:
    """Return the file that GitHub shows as the summary of a step; `UsageError` without one."""
    place = os.environ.get(STEP_SUMMARY)
    if not place:
        raise UsageError(f"--step-summary: {STEP_SUMMARY} is not set; GitHub Actions sets it")
    return Path(place)


def add_to_step_summary(run: Run, place: Path) -> None:
    """Add the summary of a run to what other steps have written."""
    try:
        with place.open("a", encoding="utf-8") as file:
            file.write(f"{markdown(run)}\n")
    except OSError as error:
        raise ReportNotWritten(f"--step-summary: {place}: {error.strerror}") from error
