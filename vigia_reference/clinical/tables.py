"""The tables, for PostgreSQL with its four schemas, and the same for SQLite.

No column draws its own identifier or time: that is for the program, so that a test decides both,
and a statement that forgets one fails.  `updated_at` alone has a trigger, for those who change a
patient by hand: a statement that does not say when it happens gets the database's clock.
"""

# ruff: noqa: S608 - what is put into statements here are constants of this package

import functools
import re
import sqlite3

from vigia_reference.clinical.statements import SCHEMAS, for_sqlite

UNIQUE_CODE = "patient_code text NOT NULL UNIQUE"

ONE_ACTIVE_PLAN = """\
CREATE UNIQUE INDEX one_active_plan ON clinical_data.care_plans (patient_id)
WHERE status = 'active';

"""

TABLES = f"""\
CREATE TABLE staff_data.medical_staff (
    id uuid PRIMARY KEY,
    staff_code text NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('doctor', 'nurse', 'technician', 'admin')),
    specialties text[] NOT NULL,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL
);

CREATE TABLE clinical_data.patients (
    id uuid PRIMARY KEY,
    {UNIQUE_CODE},
    age_range text CHECK (age_range IN ('0-18', '19-40', '41-60', '61-80', '81+')),
    gender text CHECK (gender IN ('male', 'female', 'other')),
    risk_factors jsonb,
    mobility_status text,
    attributes jsonb NOT NULL DEFAULT '{{}}',
    changed_at jsonb NOT NULL DEFAULT '{{}}',
    detection_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE clinical_data.patient_assessments (
    id uuid PRIMARY KEY,
    patient_id uuid NOT NULL REFERENCES clinical_data.patients (id) ON DELETE CASCADE,
    braden_score smallint,
    norton_score smallint,
    emina_score smallint,
    additional_data jsonb NOT NULL DEFAULT '{{}}',
    assessor_id uuid REFERENCES staff_data.medical_staff (id),
    notes text,
    created_at timestamptz NOT NULL
);

CREATE INDEX assessments_by_patient ON clinical_data.patient_assessments (patient_id);

CREATE TABLE ml_operations.models (
    id uuid PRIMARY KEY,
    model_name text NOT NULL,
    model_version text NOT NULL,
    model_type text NOT NULL,
    model_path text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    parameters jsonb NOT NULL DEFAULT '{{}}',
    created_at timestamptz NOT NULL,
    UNIQUE (model_name, model_version)
);

CREATE TABLE ml_operations.lpp_images (
    id uuid PRIMARY KEY,
    patient_id uuid NOT NULL REFERENCES clinical_data.patients (id) ON DELETE CASCADE,
    file_path text NOT NULL,
    file_hash text NOT NULL,
    image_type text NOT NULL DEFAULT 'original'
        CHECK (image_type IN ('original', 'preprocessed', 'annotated')),
    body_location text,
    metadata jsonb NOT NULL DEFAULT '{{}}',
    created_at timestamptz NOT NULL
);

CREATE INDEX images_by_patient ON ml_operations.lpp_images (patient_id);

CREATE TABLE ml_operations.lpp_detections (
    id uuid PRIMARY KEY,
    image_id uuid NOT NULL REFERENCES ml_operations.lpp_images (id) ON DELETE CASCADE,
    model_id uuid NOT NULL REFERENCES ml_operations.models (id),
    position integer NOT NULL,
    detection_results jsonb NOT NULL,
    lpp_stage smallint NOT NULL CHECK (lpp_stage BETWEEN 0 AND 4),
    confidence_score double precision NOT NULL CHECK (confidence_score BETWEEN 0 AND 1),
    processing_time_ms double precision,
    risk_level text CHECK (risk_level IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    created_at timestamptz NOT NULL
);

CREATE INDEX detections_by_image ON ml_operations.lpp_detections (image_id);

CREATE TABLE ml_operations.medical_validations (
    id uuid PRIMARY KEY,
    detection_id uuid NOT NULL REFERENCES ml_operations.lpp_detections (id),
    validator_id uuid NOT NULL REFERENCES staff_data.medical_staff (id),
    validated_stage smallint CHECK (validated_stage BETWEEN 0 AND 4),
    validation_score smallint CHECK (validation_score BETWEEN 1 AND 5),
    created_at timestamptz NOT NULL
);

CREATE INDEX validations_by_detection ON ml_operations.medical_validations (detection_id);

CREATE TABLE clinical_data.care_plans (
    id uuid PRIMARY KEY,
    patient_id uuid NOT NULL REFERENCES clinical_data.patients (id),
    detection_id uuid REFERENCES ml_operations.lpp_detections (id),
    intervention_type text NOT NULL,
    recommendations text NOT NULL,
    follow_up_days integer,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'completed', 'cancelled')),
    created_at timestamptz NOT NULL
);

CREATE INDEX plans_by_patient ON clinical_data.care_plans (patient_id);

CREATE INDEX plans_by_detection ON clinical_data.care_plans (detection_id);

{ONE_ACTIVE_PLAN}\
CREATE TABLE audit_logs.system_logs (
    id uuid PRIMARY KEY,
    event_type text NOT NULL,
    entity_type text NOT NULL,
    entity_id text,
    user_id text,
    ip_address text,
    details jsonb NOT NULL DEFAULT '{{}}',
    created_at timestamptz NOT NULL
);

CREATE INDEX logs_by_entity ON audit_logs.system_logs (entity_id);

CREATE TABLE clinical_data.migrations (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL
);
"""
"""All tables and indexes; statements are parted by an empty line."""

EMPTIED = (
    "audit_logs.system_logs",
    "clinical_data.care_plans",
    "ml_operations.medical_validations",
    "ml_operations.lpp_detections",
    "ml_operations.lpp_images",
    "ml_operations.models",
    "clinical_data.patient_assessments",
    "clinical_data.patients",
    "staff_data.medical_staff",
)
"""The tables that hold data, in an order in which they can be emptied."""

# Counters and locks are kept by the store; these are what a person would change by hand.
_DESCRIBED = "patient_code, age_range, gender, risk_factors, mobility_status, attributes"

_POSTGRESQL_TRIGGER = (
    """\
CREATE FUNCTION clinical_data.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$""",
    f"""\
CREATE TRIGGER patients_stamp BEFORE UPDATE OF {_DESCRIBED} ON clinical_data.patients
FOR EACH ROW WHEN (NEW.updated_at = OLD.updated_at) EXECUTE FUNCTION clinical_data.stamp()""",
)

_SQLITE_TRIGGER = (
    f"""\
CREATE TRIGGER patients_stamp AFTER UPDATE OF {_DESCRIBED} ON patients
FOR EACH ROW WHEN NEW.updated_at = OLD.updated_at
BEGIN
    UPDATE patients SET updated_at = strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')
    WHERE id = NEW.id;
END""",
)

_SQLITE_TYPES = {
    "uuid": "TEXT",
    "jsonb": "TEXT",
    "timestamptz": "TEXT",
    "text[]": "TEXT",
    "text": "TEXT",
    "smallint": "INTEGER",
    "integer": "INTEGER",
    "boolean": "INTEGER",
    "double precision": "REAL",
}
_TYPE = re.compile(
    rf"^(    \w+) ({'|'.join(re.escape(name) for name in _SQLITE_TYPES)})(?=[ ,\n])", re.MULTILINE
)


def postgresql_statements(tables: str = TABLES) -> tuple[str, ...]:
    """The statements that make *tables* in an empty PostgreSQL database."""
    schemas = [f"CREATE SCHEMA {schema}" for schema in SCHEMAS]
    return (*schemas, *_statements(tables), *_POSTGRESQL_TRIGGER)


def sqlite_statements(tables: str = TABLES) -> tuple[str, ...]:
    """The statements that make *tables* in an empty SQLite database.

    >>> print(sqlite_statements()[-3])
    CREATE TABLE migrations (
        version INTEGER PRIMARY KEY,
        applied_at TEXT NOT NULL
    )
    """
    plain = for_sqlite(tables)
    typed = _TYPE.sub(lambda found: f"{found[1]} {_SQLITE_TYPES[found[2]]}", plain)
    return (*_statements(typed), *_SQLITE_TRIGGER, f"PRAGMA user_version = {VERSION}")


VERSION = 1


@functools.cache
def empty_sqlite_file(tables: str = TABLES) -> bytes:
    """The bytes of a SQLite file with *tables* and no row; writing them is the fastest set-up.

    >>> empty_sqlite_file()[:15]
    b'SQLite format 3'
    """
    connection = sqlite3.connect(":memory:")
    try:
        for statement in sqlite_statements(tables):
            connection.execute(statement)
        image = bytearray(connection.serialize())
        # The file format's mark of a write-ahead log; setting it later would cost a commit.
        image[18] = image[19] = 2
        return bytes(image)
    finally:
        connection.close()


def _statements(tables: str) -> list[str]:
    return [text.strip().removesuffix(";") for text in tables.split("\n\n") if text.strip()]
