"""How searches with machines are made: set by the pytest plugin, or plain defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from desvelo.machine.bridge import Choice

if TYPE_CHECKING:
    from desvelo.finding.finding import Finding
    from desvelo.machine.report import Collector


@dataclass
class SearchOptions:
    """Options of one search; see the pytest plugin for what sets them."""

    policy: str | None = None
    """Use this policy whenever an example draws one."""
    seed: int | None = None
    """Seed of Hypothesis for this search."""
    deadline: float | None = None
    """Moment of ``time.perf_counter`` at which the search ends, checked after every execution."""
    save: Path | None = None
    """Folder for findings; nothing is written without it."""
    target: str | None = None
    scenario: str = ""
    """How to load the machine again: ``path/to/file.py:Class``."""
    batch: int = 4
    """Further schedules tried on each program that Hypothesis drew."""
    replaying: Sequence[Choice] | None = None
    """Run exactly this example instead of searching."""
    on_execution: Callable[[Collector], None] | None = None
    on_finding: Callable[[Finding, bool], None] | None = None
    on_end: Callable[[str, Collector], None] | None = None


_options = SearchOptions()


def options() -> SearchOptions:
    """Return the options of the search that runs now."""
    return _options


@contextmanager
def searching_with(new: SearchOptions) -> Iterator[None]:
    """Search with other options for a while."""
    global _options  # noqa: PLW0603 - machines are made by Hypothesis, without arguments
    before, _options = _options, new
    try:
        yield
    finally:
        _options = before
