"""The tables, as SQLite statements.

The four schemas of the hosted database become one; jsonb becomes checked JSON text; identifiers
are UUID text drawn by the program, and so are all times, so that a test decides both.
"""

import functools
import sqlite3

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE patients (
    id TEXT PRIMARY KEY,
    patient_code TEXT NOT NULL UNIQUE,
    age_range TEXT CHECK (age_range IN ('0-18', '19-40', '41-60', '61-80', '81+')),
    gender TEXT CHECK (gender IN ('male', 'female', 'other')),
    risk_factors TEXT,
    mobility_status TEXT,
    attributes TEXT NOT NULL DEFAULT '{}',
    changed_at TEXT NOT NULL DEFAULT '{}',
    detection_count INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE patient_assessments (
    id TEXT PRIMARY KEY,
    patient_id TEXT NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    braden_score INTEGER,
    norton_score INTEGER,
    emina_score INTEGER,
    additional_data TEXT,
    assessor_id TEXT REFERENCES medical_staff (id),
    notes TEXT,
    created_at TEXT NOT NULL
);
CREATE TABLE care_plans (
    id TEXT PRIMARY KEY,
    patient_id TEXT NOT NULL REFERENCES patients (id),
    detection_id TEXT REFERENCES lpp_detections (id),
    intervention_type TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    follow_up_days INTEGER,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'completed', 'cancelled')),
    created_at TEXT NOT NULL
);
CREATE TABLE medical_staff (
    id TEXT PRIMARY KEY,
    staff_code TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('doctor', 'nurse', 'technician', 'admin')),
    specialties TEXT NOT NULL DEFAULT '[]',
    active INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE lpp_images (
    id TEXT PRIMARY KEY,
    patient_id TEXT NOT NULL REFERENCES patients (id) ON DELETE CASCADE,
    file_path TEXT NOT NULL,
    file_hash TEXT NOT NULL,
    image_type TEXT NOT NULL DEFAULT 'original'
        CHECK (image_type IN ('original', 'preprocessed', 'annotated')),
    body_location TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL
);
CREATE INDEX lpp_images_by_patient ON lpp_images (patient_id);
CREATE TABLE models (
    id TEXT PRIMARY KEY,
    model_name TEXT NOT NULL,
    model_version TEXT NOT NULL,
    model_type TEXT NOT NULL,
    model_path TEXT NOT NULL,
    active INTEGER NOT NULL DEFAULT 1,
    parameters TEXT NOT NULL DEFAULT '{}',
    UNIQUE (model_name, model_version)
);
CREATE TABLE lpp_detections (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    image_id TEXT NOT NULL REFERENCES lpp_images (id) ON DELETE CASCADE,
    model_id TEXT NOT NULL REFERENCES models (id),
    detection_results TEXT NOT NULL,
    lpp_stage INTEGER NOT NULL CHECK (lpp_stage BETWEEN 0 AND 4),
    confidence_score REAL NOT NULL CHECK (confidence_score BETWEEN 0 AND 1),
    processing_time_ms REAL,
    risk_level TEXT CHECK (risk_level IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    created_at TEXT NOT NULL
);
CREATE INDEX lpp_detections_by_image ON lpp_detections (image_id);
CREATE TABLE medical_validations (
    id TEXT PRIMARY KEY,
    detection_id TEXT NOT NULL REFERENCES lpp_detections (id),
    validator_id TEXT NOT NULL REFERENCES medical_staff (id),
    validated_stage INTEGER CHECK (validated_stage BETWEEN 0 AND 4),
    validation_score INTEGER CHECK (validation_score BETWEEN 1 AND 5),
    created_at TEXT NOT NULL
);
CREATE TABLE system_logs (
    id INTEGER PRIMARY KEY,
    event_type TEXT NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id TEXT,
    user_id TEXT,
    ip_address TEXT,
    details TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL
);
CREATE TABLE idempotency_keys (
    webhook_id TEXT PRIMARY KEY,
    answer TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL CHECK (channel IN ('chat', 'whatsapp')),
    recipient TEXT NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'claimed', 'sent')),
    claim TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    sent_at TEXT
);
"""


@functools.cache
def empty_database(schema: str = SCHEMA) -> bytes:
    """The bytes of a database that holds the tables of *schema* and no row.

    Parsing the statements costs a millisecond; copying the finished bytes costs microseconds.

    >>> len(empty_database()) % 4096
    0
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(f"{schema}; PRAGMA user_version = {SCHEMA_VERSION};")
        return connection.serialize()
    finally:
        connection.close()


def install(connection: sqlite3.Connection, schema: str = SCHEMA) -> None:
    """Give *connection*, opened on a file, the tables unless it has them already."""
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute("COMMIT")
    if version == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
