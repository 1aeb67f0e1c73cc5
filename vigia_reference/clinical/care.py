"""Staff, assessments, and care plans, of which a patient has at most one that is active."""

# ruff: noqa: S608 - what is put into statements here are constants of this package

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from vigia_reference.clinical.audit import Record, moment, new_id, now
from vigia_reference.clinical.errors import CarePlanNotFound, DetectionNotFound
from vigia_reference.clinical.patients import Patients, first
from vigia_reference.clinical.statements import Row, as_json, query
from vigia_reference.clinical.transaction import Steps, Work, reading, writing

INSERT_STAFF = """
INSERT INTO staff_data.medical_staff (id, staff_code, role, specialties, created_at)
VALUES (:id, :staff_code, :role, :specialties, :now)
"""

INSERT_ASSESSMENT = """
INSERT INTO clinical_data.patient_assessments (id, patient_id, braden_score, norton_score,
    emina_score, additional_data, assessor_id, notes, created_at)
VALUES (:id, :patient_id, :braden_score, :norton_score, :emina_score, :additional_data,
    :assessor_id, :notes, :now)
"""

ASSESSMENTS = """
SELECT a.id, a.braden_score, a.norton_score, a.emina_score, a.additional_data, a.assessor_id,
       a.notes, a.created_at
FROM clinical_data.patients AS p
JOIN clinical_data.patient_assessments AS a ON a.patient_id = p.id
WHERE p.patient_code = :code ORDER BY a.created_at, a.id
"""

PLAN_COLUMNS = (
    "id, patient_id, detection_id, intervention_type, recommendations, follow_up_days, status,"
    " created_at"
)

PLAN = f"SELECT {PLAN_COLUMNS} FROM clinical_data.care_plans WHERE id = :id"

PLANS = f"""
SELECT {", ".join(f"c.{name}" for name in PLAN_COLUMNS.split(", "))}
FROM clinical_data.patients AS p
JOIN clinical_data.care_plans AS c ON c.patient_id = p.id
WHERE p.patient_code = :code ORDER BY c.created_at, c.id
"""

PLANS_OF_PATIENT = f"""
SELECT {PLAN_COLUMNS} FROM clinical_data.care_plans
WHERE patient_id = :patient_id ORDER BY created_at, id
"""

INSERT_PLAN = f"""
INSERT INTO clinical_data.care_plans ({PLAN_COLUMNS})
VALUES (:id, :patient_id, :detection_id, :intervention_type, :recommendations, :follow_up_days,
    'active', :now)
RETURNING {PLAN_COLUMNS}
"""

SET_STATUS = f"""
UPDATE clinical_data.care_plans SET status = :status WHERE id = :id RETURNING {PLAN_COLUMNS}
"""

CODE_OF_PATIENT = "SELECT patient_code FROM clinical_data.patients WHERE id = :id"

DETECTION_OF_PATIENT = """
SELECT 1 FROM ml_operations.lpp_images AS i
JOIN ml_operations.lpp_detections AS d ON d.image_id = i.id
WHERE i.patient_id = :patient_id AND d.id = :detection_id
"""


class Care(Patients):
    """Operations on staff, assessments and care plans."""

    def register_staff(
        self, staff_code: str, role: str, specialties: Sequence[str] = ()
    ) -> Work[str]:
        """Store a member of staff; `UniqueViolation` when the code is taken."""
        return writing(self._register_staff, staff_code, role, list(specialties))

    def record_assessment(
        self,
        code: object,
        *,
        braden_score: int | None = None,
        norton_score: int | None = None,
        emina_score: int | None = None,
        additional_data: Mapping[str, Any] | None = None,
        assessor_id: str | None = None,
        notes: str | None = None,
    ) -> Work[str]:
        """Store an assessment of a known patient and return its identifier."""
        fields = {
            "braden_score": braden_score,
            "norton_score": norton_score,
            "emina_score": emina_score,
            "additional_data": as_json(dict(additional_data or {})),
            "assessor_id": assessor_id,
            "notes": notes,
        }
        return writing(self._record_assessment, self.identify(code), fields)

    def list_assessments(self, code: object) -> Work[list[Record]]:
        """The patient's assessments, oldest first."""
        return reading(self._assessments, self.identify(code))

    def open_care_plan(
        self,
        code: object,
        intervention_type: str,
        recommendations: str,
        *,
        follow_up_days: int | None = None,
        detection_id: str | None = None,
    ) -> Work[Record]:
        """The patient's active plan, opened when there is none; `opened` says which it was."""
        fields = {
            "intervention_type": intervention_type,
            "recommendations": recommendations,
            "follow_up_days": follow_up_days,
            "detection_id": detection_id,
        }
        return writing(self._open_plan, self.identify(code), fields)

    def close_care_plan(self, plan_id: str, status: str = "completed") -> Work[Record]:
        """End a plan: *status* is ``completed`` or ``cancelled``."""
        if status not in {"completed", "cancelled"}:
            raise ValueError(f"A plan that is closed is completed or cancelled, not {status!r}")
        return writing(self._close_plan, _known_form(plan_id), status)

    def resume_care_plan(self, plan_id: str) -> Work[Record]:
        """Make a plan active again unless the patient has an active one; returns the active one."""
        return writing(self._resume_plan, _known_form(plan_id))

    def list_care_plans(self, code: object) -> Work[list[Record]]:
        """The patient's plans, oldest first."""
        return reading(self._plans, self.identify(code))

    def _register_staff(self, staff_code: str, role: str, specialties: list[str]) -> Steps[str]:
        staff_id = new_id()
        yield query(
            INSERT_STAFF,
            id=staff_id,
            staff_code=staff_code,
            role=role,
            specialties=specialties,
            now=now(),
        )
        return staff_id

    def _record_assessment(self, code: str, fields: Mapping[str, Any]) -> Steps[str]:
        row = yield from self._hold_known(code)
        assessment_id = new_id()
        yield query(
            INSERT_ASSESSMENT, id=assessment_id, patient_id=str(row[0]), now=now(), **fields
        )
        return assessment_id

    def _assessments(self, code: str) -> Steps[list[Record]]:
        rows = yield query(ASSESSMENTS, code=code)
        return [
            {
                "id": str(row[0]),
                "braden_score": row[1],
                "norton_score": row[2],
                "emina_score": row[3],
                "additional_data": json.loads(row[4]),
                "assessor_id": None if row[5] is None else str(row[5]),
                "notes": row[6],
                "created_at": moment(row[7]),
            }
            for row in rows
        ]

    def _open_plan(self, code: str, fields: Mapping[str, Any]) -> Steps[Record]:
        patient = yield from self._patient_to_plan_for(code)
        patient_id = str(patient[0])
        active = yield from self._active_plan(patient_id)
        if active is not None:
            return {**active, "opened": False}
        if fields["detection_id"] is not None:
            yield from self._check_detection(patient_id, fields["detection_id"])
        rows = yield query(INSERT_PLAN, id=new_id(), patient_id=patient_id, now=now(), **fields)
        return {**plan_record(rows[0]), "opened": True}

    def _close_plan(self, plan_id: str, status: str) -> Steps[Record]:
        yield from self._patient_of_plan(plan_id)
        rows = yield query(SET_STATUS, id=plan_id, status=status)
        if not rows:
            raise CarePlanNotFound(f"There is no care plan {plan_id}")
        return plan_record(rows[0])

    def _resume_plan(self, plan_id: str) -> Steps[Record]:
        patient = yield from self._patient_of_plan(plan_id)
        active = yield from self._active_plan(str(patient[0]))
        if active is not None:
            return active
        rows = yield query(SET_STATUS, id=plan_id, status="active")
        if not rows:
            raise CarePlanNotFound(f"There is no care plan {plan_id}")
        return plan_record(rows[0])

    def _patient_of_plan(self, plan_id: str) -> Steps[Row]:
        plan = first((yield query(PLAN, id=plan_id)))
        code = plan and first((yield query(CODE_OF_PATIENT, id=str(plan[1]))))
        if not code:
            raise CarePlanNotFound(f"There is no care plan {plan_id}")
        return (yield from self._patient_to_plan_for(code[0]))

    def _patient_to_plan_for(self, code: str) -> Steps[Row]:
        return self._hold_known(code)

    def _active_plan(self, patient_id: str) -> Steps[Record | None]:
        rows = yield query(PLANS_OF_PATIENT, patient_id=patient_id)
        plans = [plan_record(row) for row in rows]
        return next((plan for plan in plans if plan["status"] == "active"), None)

    def _plans(self, code: str) -> Steps[list[Record]]:
        rows = yield query(PLANS, code=code)
        return [plan_record(row) for row in rows]

    def _check_detection(self, patient_id: str, detection_id: str) -> Steps[None]:
        rows = yield query(DETECTION_OF_PATIENT, patient_id=patient_id, detection_id=detection_id)
        if not rows:
            raise DetectionNotFound(f"The patient has no detection {detection_id}")


def plan_record(row: Row) -> Record:
    """A row of `PLAN_COLUMNS` as callers see it."""
    return {
        "id": str(row[0]),
        "patient_id": str(row[1]),
        "detection_id": None if row[2] is None else str(row[2]),
        "intervention_type": row[3],
        "recommendations": row[4],
        "follow_up_days": row[5],
        "status": row[6],
        "created_at": moment(row[7]),
    }


def _known_form(plan_id: str) -> str:
    try:
        return str(uuid.UUID(plan_id))
    except ValueError:
        raise CarePlanNotFound(f"{plan_id!r} is no identifier of a care plan") from None
