"""The findings that are made while a run goes on."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from desvelo.errors import DesveloError
from desvelo.measure.result import FoundFailure

FOLDER = Path(".desvelo/findings")


class FindingsOfRun:
    """Tells the finding files that a run has made from those that were there before."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._before = self._files()

    def new(self) -> list[FoundFailure]:
        """Return what is new or rewritten; a file that is no finding is left out."""
        found = []
        for path, stamp in self._files().items():
            if self._before.get(path) != stamp:
                with contextlib.suppress(DesveloError):
                    found.append(_told(path))
        return found

    def _files(self) -> dict[Path, int]:
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError):
                found[path] = path.stat().st_mtime_ns
        return found


def _told(path: Path) -> FoundFailure:
    from desvelo.finding.finding import Finding
    from desvelo.story.svg import svg

    finding = Finding.load(path)
    replay = finding.command or f"desvelo replay {shlex.quote(str(path))}"
    return FoundFailure(
        finding.kind,
        finding.summary(),
        str(path),
        replay if finding.replays else "",
        finding.story(),
        svg(finding.story()),
    )
