"""The history: one file of SQLite, or a PostgreSQL database, with every run in it.

Each run is kept whole as JSON, and its metrics again as rows, so that a trend is one query.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from desvelo.errors import UsageError
from desvelo.measure.history.postgres import PostgresRows
from desvelo.measure.history.rows import Rows, SqliteRows
from desvelo.measure.result import Run, Status

DEFAULT = ".desvelo/history.sqlite"
OUTCOMES = (Status.PASSED.value,)
"""Runs of a phase that count as its normal past."""


def open_history(where: str, *, allow_host: str | None = None) -> History:
    """Open a history by path or DSN (``postgresql://...``); a file is made when there is none.

    Raises `UsageError` for a file that is no history, is damaged or was written by a newer
    version, and for a database that is not on loopback and not named by ``allow_host``.
    """
    if where.startswith(("postgresql://", "postgres://")):
        return History(PostgresRows.connect(where, allow_host))
    return History(SqliteRows.open(Path(where)))


class History:
    """Every run of some targets; use it with ``with``, or `close` it.

    >>> with open_history(":memory:") as history:
    ...     history.add(Run("r1", "2026-01-01T00:00:00+00:00", "shop", "quick"))
    ...     [run.id for run in history.runs()]
    ['r1']
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        # Text of half a surrogate pair is in no encoding of a database.
        self._failures: tuple[type[Exception], ...] = (*rows.errors, UnicodeEncodeError)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or the connection."""
        self._rows.close()

    def add(self, run: Run) -> None:
        """Keep a run, whole or not at all; one of the same id is replaced.

        Raises `UsageError` when it cannot be written, such as on a full disk.
        """
        document = json.dumps(run.as_json(), sort_keys=True, allow_nan=False)
        metrics = [
            (run.id, phase.phase, str(phase.status), name, metric.unit, metric.better, metric.value)
            for phase in run.phases
            for name, metric in phase.metrics.items()
        ]
        with self._told("cannot be written"), self._rows.transaction():
            self._rows.run("DELETE FROM metrics WHERE run_id = ?", run.id)
            self._rows.run("DELETE FROM runs WHERE id = ?", run.id)
            self._rows.run(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                run.id,
                run.started,
                run.target,
                run.profile,
                _machine(run),
                str(run.status),
                run.revision,
                document,
            )
            for metric in metrics:
                self._rows.run("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?)", *metric)

    def runs(self, limit: int = 200) -> list[Run]:
        """Return the latest runs, newest first."""
        with self._told("cannot be read"):
            found = self._rows.run(
                "SELECT document FROM runs ORDER BY started DESC, id DESC LIMIT ?", limit
            )
        return [self._read(document) for (document,) in found]

    def get(self, run: str) -> Run | None:
        """Return a run by its id."""
        with self._told("cannot be read"):
            found = self._rows.run("SELECT document FROM runs WHERE id = ?", run)
        return self._read(found[0][0]) if found else None

    def before(self, run: Run) -> Run | None:
        """Return the run of the same target, profile and machine before this one."""
        with self._told("cannot be read"):
            found = self._rows.run(
                "SELECT document FROM runs WHERE target = ? AND profile = ? AND machine = ? "
                "AND started < ? AND id <> ? ORDER BY started DESC, id DESC LIMIT 1",
                run.target,
                run.profile,
                _machine(run),
                run.started,
                run.id,
            )
        return self._read(found[0][0]) if found else None

    def values(self, run: Run, phase: str, metric: str, limit: int) -> list[float]:
        """Return a metric of the earlier runs of the same kind, oldest first."""
        with self._told("cannot be read"):
            found = self._rows.run(
                "SELECT value FROM metrics JOIN runs ON runs.id = run_id "
                "WHERE target = ? AND profile = ? AND machine = ? AND started < ? AND runs.id <> ? "
                "AND phase = ? AND metrics.status = ? AND name = ? "
                "ORDER BY started DESC, runs.id DESC LIMIT ?",
                run.target,
                run.profile,
                _machine(run),
                run.started,
                run.id,
                phase,
                OUTCOMES[0],
                metric,
                limit,
            )
        return [float(value) for (value,) in reversed(found)]

    def _read(self, document: str) -> Run:
        try:
            return Run.from_json(json.loads(document))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"the history {self._rows.name} has a run that cannot be read ({error}); "
                "move it away, or name another with --history"
            ) from error

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise UsageError(
                f"the history {self._rows.name} {what}: {str(error).strip()}; "
                "mend that, or name another with --history"
            ) from error


def _machine(run: Run) -> str:
    """Return what runs of one machine have in common: its name may differ, its make does not."""
    kept: dict[str, Any] = {
        key: run.machine[key] for key in sorted(run.machine) if key in ("system", "cpu", "cores")
    }
    return json.dumps(kept)
