"""Defects of the clinical store: what goes wrong between its transactions."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import contextlib
from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from vigia_reference.clinical.attempts import Attempts, Begin, Commit, Effect, Pause, Rollback
from vigia_reference.clinical.audit import Record, new_id, now
from vigia_reference.clinical.errors import Conflict, PatientNotFound, UniqueViolation
from vigia_reference.clinical.operations import Operations
from vigia_reference.clinical.parts import ClinicalParts
from vigia_reference.clinical.patients import FIND, INSERT, first
from vigia_reference.clinical.pool import (
    AsyncConnection,
    AsyncConnectionPool,
    Connection,
    ConnectionPool,
)
from vigia_reference.clinical.statements import Row, Rows, query
from vigia_reference.clinical.tables import ONE_ACTIVE_PLAN, TABLES, UNIQUE_CODE
from vigia_reference.clinical.transaction import Operation, Steps, Transaction, Work, writing
from vigia_reference.defects.catalogue import EVERY_BACKEND, POSTGRESQL, Defect
from vigia_reference.payloads import DetectionReport
from vigia_reference.store import SavedDetection
from vigia_reference.system import Parts

T = TypeVar("T")


class SelectThenInsertWithoutConstraint(Operations):
    """Looks for the patient in one transaction and inserts in another; the table allows two."""

    tables = TABLES.replace(UNIQUE_CODE, UNIQUE_CODE.removesuffix(" UNIQUE"))

    def get_or_create_patient(self, code: object) -> Work[Record]:
        return self._find_then_insert(self.identify(code))

    def _find_then_insert(self, code: str) -> Operation[Record]:
        found: Record | None = yield self.find_patient(code)
        if found is None:
            yield writing(self._insert_unless_there, code)
            found = yield super().get_or_create_patient(code)
        return found


class ConstraintErrorLost(Operations):
    """Takes a patient whose insertion failed for one that was inserted."""

    def get_or_create_patient(self, code: object) -> Work[Record]:
        return self._find_then_insert(self.identify(code))

    def _find_then_insert(self, code: str) -> Operation[Record]:
        found: Record | None = yield self.find_patient(code)
        if found is not None:
            return found
        patient = self._new_patient(code)
        with contextlib.suppress(UniqueViolation):
            yield writing(self._insert, patient)
        return patient

    def _insert(self, patient: Record) -> Steps[None]:
        yield query(INSERT, id=patient["id"], code=patient["patient_code"], more=0, now=now())

    @staticmethod
    def _new_patient(code: str) -> Record:
        return {
            "id": new_id(),
            "patient_code": code,
            "age_range": None,
            "gender": None,
            "risk_factors": None,
            "mobility_status": None,
            "attributes": {},
            "detection_count": 0,
        }


class RiskFactorsReadModifyWrite(Operations):
    """Reads the risk factors without keeping others from the patient."""

    def _patient_at_risk(self, code: str) -> Steps[Row]:
        return known_patient(code)


class TwoActiveCarePlans(Operations):
    """Looks for an active plan, and trusts that nobody opens another one meanwhile."""

    tables = TABLES.replace(ONE_ACTIVE_PLAN, "")

    def _patient_to_plan_for(self, code: str) -> Steps[Row]:
        return known_patient(code)


class AuditRowOutsideTransaction(Operations):
    """Writes the audit row when the report is stored already."""

    def save_detection(self, report: DetectionReport) -> Work[SavedDetection]:
        self.identify(report.patient_code)
        return self._save_then_audit(report)

    def _save_then_audit(self, report: DetectionReport) -> Operation[SavedDetection]:
        saved: SavedDetection = yield writing(self._save_unaudited, report)
        details = {"patient_code": report.patient_code, "detections": len(saved.detection_ids)}
        yield self.record_audit("detection.completed", "lpp_image", saved.image_id, details)
        return saved


class LockOrderDeadlock(Operations):
    """Locks patients in the order in which the caller names them."""

    def _lock_order(self, codes: Iterable[str]) -> list[str]:
        return list(codes)


class ConnectionReturnedInTransaction(ConnectionPool):
    """Hands connections on as they come back."""

    def _give_back(self, connection: Connection) -> None:
        self._let_go(connection)


class AsyncConnectionReturnedInTransaction(AsyncConnectionPool):
    """Hands connections on as they come back."""

    async def _give_back(self, connection: AsyncConnection) -> None:
        await self._keep(connection)


class UnboundedRetry(Attempts):
    """Tries the statements again, as often as it takes, in the transaction that they failed in.

    That transaction sees the database as it was when it began, so it takes for ever.
    """

    def carry_out(self, transaction: Transaction[T]) -> Generator[Effect, Rows, T]:
        while True:
            try:
                yield Begin(self.isolation, transaction.read_only, eager=False)
                result = yield from self._repeat(transaction)
                yield Commit()
            except Conflict:
                yield Rollback()
            else:
                return result
            yield Pause(self.shortest)

    def _repeat(self, transaction: Transaction[T]) -> Generator[Effect, Rows, T]:
        yield query("SAVEPOINT attempt")
        while True:
            try:
                return (yield from transaction.steps())
            except Conflict:
                yield query("ROLLBACK TO SAVEPOINT attempt")
            yield Pause(self.shortest)


def known_patient(code: str) -> Steps[Row]:
    """Read a patient's row, and leave it to others."""
    row = first((yield query(FIND, code=code)))
    if row is None:
        raise PatientNotFound(f"There is no patient {code!r}")
    return row


DATABASE_DEFECTS = (
    Defect(
        name="select-then-insert-without-constraint",
        kind="race",
        where="Operations.get_or_create_patient",
        breaks="Two calls for one new code make two patients with that code.",
        operations=2,
        deviations=0,
        parts=lambda parts: _operations(parts, SelectThenInsertWithoutConstraint),
        backends=EVERY_BACKEND,
    ),
    Defect(
        name="constraint-error-lost",
        kind="race",
        where="Operations.get_or_create_patient",
        breaks="Of two calls for one new code one returns a patient that is not stored.",
        operations=2,
        deviations=0,
        parts=lambda parts: _operations(parts, ConstraintErrorLost),
        backends=EVERY_BACKEND,
    ),
    Defect(
        name="risk-factors-read-modify-write",
        kind="lost update",
        where="Operations.update_risk_factors",
        breaks="Two updates of one patient's risk factors are acknowledged, and one is lost.",
        operations=2,
        deviations=0,
        parts=lambda parts: _operations(parts, RiskFactorsReadModifyWrite),
        backends=POSTGRESQL,
        isolation=("read committed",),
    ),
    Defect(
        name="two-active-care-plans",
        kind="write skew",
        where="Operations.open_care_plan, resume_care_plan",
        breaks="Two calls at once leave a patient with two active care plans.",
        operations=2,
        deviations=0,
        parts=lambda parts: _operations(parts, TwoActiveCarePlans),
        backends=POSTGRESQL,
        isolation=("read committed", "repeatable read"),
    ),
    Defect(
        name="audit-row-outside-transaction",
        kind="atomicity",
        where="Operations.save_detection",
        breaks="A report is stored, and the audit log does not know of it.",
        operations=2,
        deviations=1,
        parts=lambda parts: _operations(parts, AuditRowOutsideTransaction),
        backends=EVERY_BACKEND,
    ),
    Defect(
        name="lock-order-deadlock",
        kind="deadlock",
        where="Operations.mark_possible_duplicates",
        breaks="Two calls that name the same two patients in opposite order wait for each other.",
        operations=2,
        deviations=0,
        parts=lambda parts: _operations(parts, LockOrderDeadlock),
        backends=POSTGRESQL,
    ),
    Defect(
        name="connection-returned-in-transaction",
        kind="atomicity",
        where="ConnectionPool.connection",
        breaks="What a failed call wrote is committed by the next one that gets its connection.",
        operations=1,
        deviations=0,
        parts=lambda parts: _clinical(
            parts,
            pool=ConnectionReturnedInTransaction,
            async_pool=AsyncConnectionReturnedInTransaction,
        ),
        backends=EVERY_BACKEND,
    ),
    Defect(
        name="unbounded-retry",
        kind="hang",
        where="Attempts.carry_out",
        breaks="A transaction that met a conflict is tried for ever in the snapshot it met it in.",
        operations=2,
        deviations=1,
        parts=lambda parts: _clinical(parts, attempts=UnboundedRetry),
        backends=EVERY_BACKEND,
        isolation=("repeatable read", "serializable"),
    ),
)


def _operations(parts: Parts, operations: type[Operations]) -> Parts:
    return _clinical(parts, operations=operations)


def _clinical(parts: Parts, **swapped: Any) -> Parts:
    clinical: ClinicalParts = replace(parts.clinical, **swapped)
    return replace(parts, clinical=clinical)
