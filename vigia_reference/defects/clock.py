"""Defects that show when somebody sets the clock on the wall."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import sqlite3
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from vigia_reference.cache import Cache
from vigia_reference.defects.catalogue import Defect
from vigia_reference.idempotency import Idempotency
from vigia_reference.payloads import DetectionReport
from vigia_reference.store import PatientStore, Record, SavedDetection
from vigia_reference.tokens import Tokens


class TokenEndsByUptime(Tokens):
    """Measures how long a token lives, and forgets when it ends."""

    def is_alive(self, text: str) -> bool:
        issued = self._issued.get(text)
        return issued is not None and time.monotonic() < issued.deadline


class TokenEndsByTheWall(Tokens):
    """Knows when a token ends, and not how long it has lived."""

    def is_alive(self, text: str) -> bool:
        issued = self._issued.get(text)
        return issued is not None and self._wall() < issued.expires_at


class TimesToLiveByTheWall(Cache):
    """Takes the time of day for the time that has gone by."""

    @staticmethod
    def _now() -> float:
        return time.time()


class AnswersExpireByTheWall(Idempotency):
    """Forgets the answers whose date is old."""

    def _refuse_answered(self, connection: sqlite3.Connection, key: str | None) -> None:
        if self._keep_for is not None:
            oldest = datetime.now(UTC) - timedelta(seconds=self._keep_for)
            connection.execute(
                "DELETE FROM idempotency_keys WHERE created_at < ?", (oldest.isoformat(),)
            )
        super()._refuse_answered(connection, key)


class OrderedByLocalTime(PatientStore):
    """Writes down what the clock in the ward shows, and puts detections in that order."""

    ward = "Europe/Madrid"

    def _write_report(
        self, connection: sqlite3.Connection, report: DetectionReport
    ) -> SavedDetection:
        saved = super()._write_report(connection, report)
        shown = datetime.now(ZoneInfo(self.ward)).replace(tzinfo=None)
        connection.execute(
            "UPDATE lpp_detections SET created_at = ? WHERE image_id = ?",
            (shown.isoformat(timespec="microseconds"), saved.image_id),
        )
        return saved

    @staticmethod
    def _newest(connection: sqlite3.Connection, code: str, limit: int | None) -> list[Record]:
        found = PatientStore._newest(connection, code, None)  # noqa: SLF001 - it is a static method
        found.sort(key=lambda one: str(one["created_at"]), reverse=True)
        return found[:limit]


CLOCK_DEFECTS = (
    Defect(
        name="token-ends-one-clock-jump-late",
        kind="clock",
        where="Tokens.is_alive",
        breaks="When the clock on the wall is set forward, a token passes after its end.",
        operations=3,
        deviations=0,
        parts=lambda parts: replace(parts, tokens=TokenEndsByUptime),
    ),
    Defect(
        name="token-prolonged-by-clock",
        kind="clock",
        where="Tokens.is_alive",
        breaks="When the clock on the wall is set back, a token outlives its lifetime.",
        operations=3,
        deviations=0,
        parts=lambda parts: replace(parts, tokens=TokenEndsByTheWall),
    ),
    Defect(
        name="times-to-live-by-wall-clock",
        kind="clock",
        where="Cache._now",
        breaks="When the clock on the wall is set, limits open early and old values stay cached.",
        operations=3,
        deviations=0,
        parts=lambda parts: replace(parts, cache=TimesToLiveByTheWall),
    ),
    Defect(
        name="idempotency-key-expires-by-wall-clock",
        kind="clock",
        where="Idempotency.commit",
        breaks="When the clock on the wall is set forward, a repeated event is stored twice.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, idempotency=AnswersExpireByTheWall),
    ),
    Defect(
        name="detections-ordered-by-local-time",
        kind="clock",
        where="PatientStore.get_patient_detections",
        breaks="When summer time ends, or the clock is set back, an older detection is told first.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, store=OrderedByLocalTime),
    ),
)
