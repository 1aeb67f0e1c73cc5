"""Patients: one row for each code, changed by one transaction at a time.

Every transaction that writes something of a patient begins with an UPDATE of the patient's row.
It makes others wait, and under REPEATABLE READ, where a lock alone would let them go on with what
they read before, it makes them begin again.  Several patients are locked in order of their codes.
"""

# ruff: noqa: S608 - what is put into statements here are constants of this package

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from vigia_reference.clinical.audit import Audit, Record, moment, new_id, now
from vigia_reference.clinical.errors import Conflict, DuplicatePatient, PatientNotFound
from vigia_reference.clinical.statements import Row, Rows, as_json, query
from vigia_reference.clinical.transaction import Steps, Work, reading, writing
from vigia_reference.codes import InvalidPatientCode, patient_code
from vigia_reference.payloads import InvalidPayload, patient_fields
from vigia_reference.store import UpdatedPatient

COLUMNS = (
    "id, patient_code, age_range, gender, risk_factors, mobility_status, attributes,"
    " changed_at, detection_count, created_at, updated_at"
)

FIND = f"SELECT {COLUMNS} FROM clinical_data.patients WHERE patient_code = :code"

LIST = f"SELECT {COLUMNS} FROM clinical_data.patients ORDER BY created_at, id"

LIST_CODE = f"{FIND} ORDER BY created_at, id"

HOLD = f"""
UPDATE clinical_data.patients
SET updated_at = :now, detection_count = detection_count + :more
WHERE patient_code = :code RETURNING {COLUMNS}
"""

INSERT = """
INSERT INTO clinical_data.patients (id, patient_code, detection_count, created_at, updated_at)
VALUES (:id, :code, :more, :now, :now)
"""

INSERT_UNLESS_THERE = f"{INSERT} ON CONFLICT DO NOTHING RETURNING {COLUMNS}"

DESCRIBE = f"""
UPDATE clinical_data.patients
SET age_range = :age_range, gender = :gender, risk_factors = :risk_factors,
    mobility_status = :mobility_status, attributes = :attributes, changed_at = :changed_at,
    updated_at = :now
WHERE id = :id RETURNING {COLUMNS}
"""

SET_RISK_FACTORS = f"""
UPDATE clinical_data.patients SET risk_factors = :risk_factors, updated_at = :now
WHERE id = :id RETURNING {COLUMNS}
"""

SET_ATTRIBUTES = """
UPDATE clinical_data.patients SET attributes = :attributes, updated_at = :now WHERE id = :id
"""

DELETE_VALIDATIONS = """
DELETE FROM ml_operations.medical_validations WHERE detection_id IN (
    SELECT d.id FROM ml_operations.lpp_images AS i
    JOIN ml_operations.lpp_detections AS d ON d.image_id = i.id WHERE i.patient_id = :id
)
"""

DELETE_PLANS = "DELETE FROM clinical_data.care_plans WHERE patient_id = :id"

DELETE_PATIENT = "DELETE FROM clinical_data.patients WHERE id = :id"

DUPLICATES = "possible_duplicates"


class Patients(Audit):
    """Operations on patients."""

    def identify(self, code: object) -> str:
        """The policy by which a raw code names a patient; raises `InvalidPatientCode`."""
        known = patient_code(code)
        if "\0" in known:
            raise InvalidPatientCode("Patient code holds a NUL character")
        return known

    def get_or_create_patient(self, code: object) -> Work[Record]:
        """The patient with this code, created when there is none."""
        return writing(self._get_or_create, self.identify(code))

    def find_patient(self, code: object) -> Work[Record | None]:
        """The patient with this code, or `None`."""
        return reading(self._find, self.identify(code))

    def list_patients(self, code: object = None) -> Work[list[Record]]:
        """All patient rows in order of creation, or only those with *code*."""
        return reading(self._list, None if code is None else self.identify(code))

    def update_patient(
        self, code: object, changes: Mapping[str, Any], timestamp: datetime | None = None
    ) -> Work[UpdatedPatient]:
        """Set fields as of *timestamp*; what was set later stands.  Creates unknown patients."""
        return writing(
            self._update, self.identify(code), patient_fields(changes), timestamp or now()
        )

    def update_risk_factors(self, code: object, factors: Mapping[str, Any]) -> Work[Record]:
        """Put *factors* among the patient's, or take those out whose value is `None`."""
        return writing(self._update_risk_factors, self.identify(code), dict(factors))

    def mark_possible_duplicates(self, one: object, other: object) -> Work[None]:
        """Note with each of two patients that the other may be the same person."""
        codes = (self.identify(one), self.identify(other))
        if codes[0] == codes[1]:
            raise ValueError("A patient is no duplicate of itself")
        return writing(self._mark_possible_duplicates, codes)

    def bulk_insert(self, codes: Iterable[object]) -> Work[list[str]]:
        """Insert a patient for each code, all or none; returns identifiers in order of codes."""
        return writing(self._bulk_insert, [self.identify(code) for code in codes])

    def delete_patient(self, code: object) -> Work[bool]:
        """Delete a patient with everything that belongs to them; says whether there was one."""
        return writing(self._delete, self.identify(code))

    def _find(self, code: str) -> Steps[Record | None]:
        row = first((yield query(FIND, code=code)))
        return None if row is None else patient_record(row)

    def _list(self, code: str | None) -> Steps[list[Record]]:
        rows = yield query(LIST) if code is None else query(LIST_CODE, code=code)
        return [patient_record(row) for row in rows]

    def _get_or_create(self, code: str) -> Steps[Record]:
        found = yield from self._find(code)
        if found is not None:
            return found
        row = yield from self._insert_unless_there(code)
        if row is None:
            # Someone else inserted it; what they wrote is visible now, or never in this snapshot.
            row = first((yield query(FIND, code=code)))
        if row is None:
            raise Conflict(f"patient {code!r} came and went")
        return patient_record(row)

    def _insert_unless_there(self, code: str, more: int = 0) -> Steps[Row | None]:
        rows = yield query(INSERT_UNLESS_THERE, id=new_id(), code=code, more=more, now=now())
        return first(rows)

    def _hold(self, code: str, more: int = 0) -> Steps[Row | None]:
        """Keep others from the patient until the end; count *more* detections at the same time."""
        return first((yield query(HOLD, code=code, more=more, now=now())))

    def _hold_known(self, code: str) -> Steps[Row]:
        row = yield from self._hold(code)
        if row is None:
            raise PatientNotFound(f"There is no patient {code!r}")
        return row

    def _hold_or_create(self, code: str, more: int = 0) -> Steps[Row]:
        row = yield from self._hold(code, more)
        if row is None:
            row = yield from self._insert_unless_there(code, more)
        if row is None:
            # Someone else inserted it meanwhile.
            row = yield from self._hold(code, more)
        if row is None:
            raise Conflict(f"patient {code!r} came and went")
        return row

    def _update(
        self, code: str, values: Mapping[str, Any], set_at: datetime
    ) -> Steps[UpdatedPatient]:
        row = yield from self._hold_or_create(code)
        updated = yield from self._describe(row, values, set_at)
        details = {"fields": list(values)}
        yield from self._audit("patient.updated", "patient", updated.patient["id"], details)
        return updated

    def _describe(
        self, row: Row, values: Mapping[str, Any], set_at: datetime
    ) -> Steps[UpdatedPatient]:
        patient = patient_record(row)
        changed_at: dict[str, str] = json.loads(row[7])
        stamp = moment(set_at)
        # All stamps are UTC with six decimals, so text order is time order; "" is before all.
        applied = tuple([field for field in values if stamp >= changed_at.get(field, "")])
        columns = {name: patient[name] for name in ("age_range", "gender", "mobility_status")}
        risk_factors, attributes = patient["risk_factors"], dict(patient["attributes"])
        for field in applied:
            changed_at[field] = stamp
            if field == "risk_factors":
                risk_factors = values[field]
            else:
                (columns if field in columns else attributes)[field] = values[field]
        rows = yield query(
            DESCRIBE,
            id=patient["id"],
            risk_factors=None if risk_factors is None else as_json(risk_factors),
            attributes=as_json(attributes),
            changed_at=as_json(changed_at),
            now=now(),
            **columns,
        )
        return UpdatedPatient(patient_record(rows[0]), applied)

    def _update_risk_factors(self, code: str, factors: Mapping[str, Any]) -> Steps[Record]:
        row = yield from self._patient_at_risk(code)
        known = patient_record(row)["risk_factors"]
        if not isinstance(known, dict | None):
            raise InvalidPayload("risk_factors of this patient is no object")
        merged = {**(known or {}), **factors}
        left = {name: value for name, value in merged.items() if value is not None}
        rows = yield query(SET_RISK_FACTORS, id=str(row[0]), risk_factors=as_json(left), now=now())
        if not rows:
            raise Conflict(f"patient {code!r} went meanwhile")
        return patient_record(rows[0])

    def _patient_at_risk(self, code: str) -> Steps[Row]:
        return self._hold_known(code)

    def _mark_possible_duplicates(self, codes: tuple[str, str]) -> Steps[None]:
        for code in self._lock_order(codes):
            row = yield from self._hold_known(code)
            attributes = patient_record(row)["attributes"]
            others = {*attributes.get(DUPLICATES, ()), *codes} - {code}
            attributes[DUPLICATES] = sorted(others)
            yield query(SET_ATTRIBUTES, id=str(row[0]), attributes=as_json(attributes), now=now())

    def _lock_order(self, codes: Iterable[str]) -> list[str]:
        # Sorted here: the order of text in a database depends on how it was set up.
        return sorted(codes)

    def _bulk_insert(self, codes: list[str]) -> Steps[list[str]]:
        ids: dict[str, str] = {}
        for code in self._lock_order(codes):
            row = None if code in ids else (yield from self._insert_unless_there(code))
            if row is None:
                raise DuplicatePatient(f"There is a patient {code!r} already")
            ids[code] = str(row[0])
        return [ids[code] for code in codes]

    def _delete(self, code: str) -> Steps[bool]:
        row = yield from self._hold(code)
        if row is None:
            return False
        patient_id = str(row[0])
        yield query(DELETE_VALIDATIONS, id=patient_id)
        yield query(DELETE_PLANS, id=patient_id)
        yield query(DELETE_PATIENT, id=patient_id)
        yield from self._audit("patient.deleted", "patient", patient_id, {"patient_code": code})
        return True


def first(rows: Rows) -> Row | None:
    """The first of *rows*, if there is one."""
    return rows[0] if rows else None


def patient_record(row: Row) -> Record:
    """A row of `COLUMNS` as callers see it."""
    return {
        "id": str(row[0]),
        "patient_code": row[1],
        "age_range": row[2],
        "gender": row[3],
        "risk_factors": None if row[4] is None else json.loads(row[4]),
        "mobility_status": row[5],
        "attributes": json.loads(row[6]),
        "detection_count": row[8],
        "created_at": moment(row[9]),
        "updated_at": moment(row[10]),
    }
