"""Making the tables, changing them while they are in use, and emptying them."""

# ruff: noqa: S608 - what is put into statements here are constants of this package

from enum import StrEnum

from vigia_reference.clinical.audit import now
from vigia_reference.clinical.errors import NotMigrated
from vigia_reference.clinical.patients import Patients, first
from vigia_reference.clinical.statements import query
from vigia_reference.clinical.tables import (
    EMPTIED,
    TABLES,
    VERSION,
    postgresql_statements,
    sqlite_statements,
)
from vigia_reference.clinical.transaction import Operation, Steps, Work, reading, writing


class Database(StrEnum):
    """The databases that the store knows; their languages differ where tables are made."""

    POSTGRESQL = "PostgreSQL"
    SQLITE = "SQLite"


# Any number will do, as long as nobody else uses it in this database.
INSTALLING = "SELECT pg_advisory_xact_lock(7021972)"

INSTALLED = {
    Database.POSTGRESQL: "SELECT 1 FROM pg_namespace WHERE nspname = 'clinical_data'",
    Database.SQLITE: f"SELECT 1 FROM pragma_user_version WHERE user_version = {VERSION}",
}

HIGHEST_STAGE = 2
"""The migration that gives patients the highest stage among their detections."""

APPLY = """
INSERT INTO clinical_data.migrations (version, applied_at) VALUES (:version, :now)
ON CONFLICT DO NOTHING RETURNING version
"""

APPLIED = "SELECT 1 FROM clinical_data.migrations WHERE version = :version"

_HIGHEST = """
SELECT max(d.lpp_stage) FROM ml_operations.lpp_images AS i
JOIN ml_operations.lpp_detections AS d ON d.image_id = i.id WHERE i.patient_id = {patient}
"""

# From the moment in which this is committed every save keeps the column true by itself; patients
# who were there before are left for `FILL`.
ADD_HIGHEST_STAGE = {
    Database.POSTGRESQL: (
        "ALTER TABLE clinical_data.patients ADD COLUMN highest_stage smallint",
        f"""\
CREATE FUNCTION ml_operations.raise_stage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    patient uuid;
BEGIN
    SELECT patient_id INTO patient FROM ml_operations.lpp_images WHERE id = NEW.image_id;
    UPDATE clinical_data.patients SET highest_stage = ({_HIGHEST.format(patient="patient")})
    WHERE id = patient;
    RETURN NULL;
END $$""",
        """\
CREATE TRIGGER detections_raise_stage AFTER INSERT ON ml_operations.lpp_detections
FOR EACH ROW EXECUTE FUNCTION ml_operations.raise_stage()""",
    ),
    Database.SQLITE: (
        "ALTER TABLE patients ADD COLUMN highest_stage INTEGER",
        f"""\
CREATE TRIGGER detections_raise_stage AFTER INSERT ON ml_operations.lpp_detections
FOR EACH ROW BEGIN
    UPDATE patients SET highest_stage = ({_HIGHEST.format(patient="patients.id")})
    WHERE id = (SELECT patient_id FROM lpp_images WHERE id = NEW.image_id);
END""",
    ),
}

TO_FILL = """
SELECT p.patient_code FROM clinical_data.patients AS p
WHERE p.highest_stage IS NULL AND EXISTS (
    SELECT 1 FROM ml_operations.lpp_images AS i
    JOIN ml_operations.lpp_detections AS d ON d.image_id = i.id WHERE i.patient_id = p.id
)
ORDER BY p.created_at, p.id
"""

# Waits for those who save a detection of this patient, so that the next statement sees it.
HOLD_UNFILLED = """
UPDATE clinical_data.patients SET highest_stage = highest_stage
WHERE patient_code = :code AND highest_stage IS NULL RETURNING id
"""

FILL = f"""
UPDATE clinical_data.patients SET highest_stage = ({_HIGHEST.format(patient="patients.id")})
WHERE id = :id
"""

STAGE = "SELECT highest_stage FROM clinical_data.patients WHERE patient_code = :code"


class Maintenance(Patients):
    """Operations on the tables themselves."""

    tables = TABLES

    def __init__(self, database: Database) -> None:
        self.database = database

    def install(self) -> Work[bool]:
        """Make the tables where there are none; says whether there were none."""
        return writing(self._install)

    def clear(self) -> Work[None]:
        """Delete every row; the tables stay, migrated or not."""
        return writing(self._clear)

    def migrate(self) -> Work[int]:
        """Give patients their highest stage, while others read and write.

        Says how many patients were filled in.  Migrating twice, also at once, is fine; so is
        going on after it was broken off.
        """
        return self._migrate()

    def highest_stage(self, code: object) -> Work[int | None]:
        """The highest stage among a patient's detections; raises `NotMigrated`."""
        return reading(self._stage, self.identify(code))

    def _install(self) -> Steps[bool]:
        if self.database is Database.POSTGRESQL:
            yield query(INSTALLING)
        if (yield query(INSTALLED[self.database])):
            return False
        for statement in self._statements():
            yield query(statement)
        return True

    def _statements(self) -> tuple[str, ...]:
        if self.database is Database.POSTGRESQL:
            return postgresql_statements(self.tables)
        return sqlite_statements(self.tables)

    def _clear(self) -> Steps[None]:
        for table in EMPTIED:
            yield query(f"DELETE FROM {table}")

    def _migrate(self) -> Operation[int]:
        yield writing(self._add_highest_stage)
        codes: list[str] = yield reading(self._codes_to_fill)
        filled = 0
        for code in codes:
            filled += yield writing(self._fill, code)
        return filled

    def _add_highest_stage(self) -> Steps[None]:
        if (yield query(APPLY, version=HIGHEST_STAGE, now=now())):
            for statement in ADD_HIGHEST_STAGE[self.database]:
                yield query(statement)

    def _codes_to_fill(self) -> Steps[list[str]]:
        rows = yield query(TO_FILL)
        return [str(code) for (code,) in rows]

    def _fill(self, code: str) -> Steps[bool]:
        row = first((yield query(HOLD_UNFILLED, code=code)))
        if row is None:
            return False
        yield query(FILL, id=str(row[0]))
        return True

    def _stage(self, code: str) -> Steps[int | None]:
        if not (yield query(APPLIED, version=HIGHEST_STAGE)):
            raise NotMigrated("Run migrate() first")
        row = first((yield query(STAGE, code=code)))
        return None if row is None else row[0]
