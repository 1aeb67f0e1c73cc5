"""Images and what a model saw on them, stored whole or not at all."""

import json
from typing import Any

from vigia_reference.clinical.audit import Record, moment, new_id, now
from vigia_reference.clinical.errors import Conflict
from vigia_reference.clinical.patients import Patients, first
from vigia_reference.clinical.statements import Row, as_json, query
from vigia_reference.clinical.transaction import Steps, Work, reading, writing
from vigia_reference.payloads import DetectedLesion, DetectionReport
from vigia_reference.store import SavedDetection

ALL = 2**31 - 1
"""A limit that limits nothing."""

MODEL = """
SELECT id FROM ml_operations.models WHERE model_name = :name AND model_version = :version
"""

INSERT_MODEL = """
INSERT INTO ml_operations.models (id, model_name, model_version, model_type, model_path, created_at)
VALUES (:id, :name, :version, 'detection', :path, :now) ON CONFLICT DO NOTHING RETURNING id
"""

MODELS = """
SELECT model_name, model_version, model_path, parameters
FROM ml_operations.models ORDER BY created_at, id
"""

INSERT_IMAGE = """
INSERT INTO ml_operations.lpp_images (id, patient_id, file_path, file_hash, metadata, created_at)
VALUES (:id, :patient_id, :file_path, :file_hash, :metadata, :now)
"""

INSERT_DETECTION = """
INSERT INTO ml_operations.lpp_detections (id, image_id, model_id, position, detection_results,
    lpp_stage, confidence_score, processing_time_ms, risk_level, created_at)
VALUES (:id, :image_id, :model_id, :position, :results, :stage, :confidence, :milliseconds,
    :risk_level, :now)
"""

# Patients come first in every statement: that is the order in which their tables are locked.
NEWEST = """
SELECT d.id, p.patient_code, i.id, i.file_path, d.lpp_stage, d.confidence_score,
       d.detection_results, d.risk_level, m.model_name, m.model_version, d.processing_time_ms,
       d.created_at
FROM clinical_data.patients AS p
JOIN ml_operations.lpp_images AS i ON i.patient_id = p.id
JOIN ml_operations.lpp_detections AS d ON d.image_id = i.id
JOIN ml_operations.models AS m ON m.id = d.model_id
WHERE p.patient_code = :code
ORDER BY d.position DESC, d.created_at DESC, d.id
LIMIT :most
"""

IMAGES = """
SELECT i.file_path, p.patient_code, count(d.id)
FROM clinical_data.patients AS p
JOIN ml_operations.lpp_images AS i ON i.patient_id = p.id
LEFT JOIN ml_operations.lpp_detections AS d ON d.image_id = i.id
GROUP BY i.id, i.file_path, i.created_at, p.patient_code
ORDER BY i.created_at, i.id
"""

UNAUDITED = """
SELECT i.file_path FROM ml_operations.lpp_images AS i
WHERE NOT EXISTS (
    SELECT 1 FROM audit_logs.system_logs AS l
    WHERE l.entity_id = CAST(i.id AS text) AND l.event_type = 'detection.completed'
)
ORDER BY i.created_at, i.id
"""


class Detections(Patients):
    """Operations on images, models and detections."""

    def save_detection(self, report: DetectionReport) -> Work[SavedDetection]:
        """Store patient, image, model, one row for each lesion, and one row of the audit log."""
        self.identify(report.patient_code)
        return writing(self._save, report)

    def get_patient_detections(self, code: object, limit: int | None = None) -> Work[list[Record]]:
        """The patient's detections, the last one stored first."""
        return reading(self._newest, self.identify(code), limit)

    def list_images(self) -> Work[list[tuple[str, str, int]]]:
        """(path, patient code, number of detections) of every image, oldest first."""
        return reading(self._images)

    def unaudited_images(self) -> Work[list[str]]:
        """Paths of the images that the audit log does not mention; there is never one."""
        return reading(self._unaudited)

    def register_model(self, name: str, version: str) -> Work[str]:
        """The identifier of a model, which is stored when it is new."""
        return writing(self._model, name, version)

    def list_models(self) -> Work[list[Record]]:
        """All models, in the order in which they became known."""
        return reading(self._models)

    def _save(self, report: DetectionReport) -> Steps[SavedDetection]:
        saved = yield from self._save_unaudited(report)
        details = {"patient_code": report.patient_code, "detections": len(saved.detection_ids)}
        yield from self._audit("detection.completed", "lpp_image", saved.image_id, details)
        return saved

    def _save_unaudited(self, report: DetectionReport) -> Steps[SavedDetection]:
        code, lesions = report.patient_code, report.lesions
        row = yield from self._hold_or_create(code, len(lesions))
        if report.patient_info:
            yield from self._describe(row, report.patient_info, report.timestamp or now())
        model_id = yield from self._model(report.model_name, report.model_version)
        image_id = yield from self._insert_image(str(row[0]), report)
        detection_ids = []
        for position, lesion in enumerate(lesions, row[8] - len(lesions) + 1):
            detection_ids.append(
                (yield from self._insert_detection(image_id, model_id, position, report, lesion))
            )
        newest = yield from self._newest(code, 1)
        return SavedDetection(
            str(row[0]), image_id, tuple(detection_ids), newest[0] if newest else None
        )

    def _insert_image(self, patient_id: str, report: DetectionReport) -> Steps[str]:
        image_id = new_id()
        yield query(
            INSERT_IMAGE,
            id=image_id,
            patient_id=patient_id,
            file_path=report.image_path,
            file_hash=report.image_hash,
            metadata=as_json(json.loads(report.metadata)),
            now=now(),
        )
        return image_id

    def _insert_detection(
        self,
        image_id: str,
        model_id: str,
        position: int,
        report: DetectionReport,
        lesion: DetectedLesion,
    ) -> Steps[str]:
        detection_id = new_id()
        yield query(
            INSERT_DETECTION,
            id=detection_id,
            image_id=image_id,
            model_id=model_id,
            position=position,
            results=as_json(json.loads(lesion.results)),
            stage=lesion.stage,
            confidence=lesion.confidence,
            milliseconds=report.processing_time_ms,
            risk_level=report.risk_level,
            now=now(),
        )
        return detection_id

    def _model(self, name: str, version: str) -> Steps[str]:
        row = first((yield query(MODEL, name=name, version=version)))
        if row is None:
            row = first(
                (
                    yield query(
                        INSERT_MODEL,
                        id=new_id(),
                        name=name,
                        version=version,
                        path=f"models/{name}-{version}",
                        now=now(),
                    )
                )
            )
        if row is None:
            row = first((yield query(MODEL, name=name, version=version)))
        if row is None:
            raise Conflict(f"model {name} {version} is not visible yet")
        return str(row[0])

    def _models(self) -> Steps[list[Record]]:
        rows = yield query(MODELS)
        return [
            {"name": name, "version": version, "path": path, "parameters": json.loads(parameters)}
            for name, version, path, parameters in rows
        ]

    def _newest(self, code: str, limit: int | None) -> Steps[list[Record]]:
        rows = yield query(NEWEST, code=code, most=ALL if limit is None else limit)
        return [detection_record(row) for row in rows]

    def _images(self) -> Steps[list[tuple[str, str, int]]]:
        rows = yield query(IMAGES)
        return [(str(path), str(code), int(count)) for path, code, count in rows]

    def _unaudited(self) -> Steps[list[str]]:
        rows = yield query(UNAUDITED)
        return [str(path) for (path,) in rows]


def detection_record(row: Row) -> Record:
    """A row of `NEWEST` as callers see it."""
    results: dict[str, Any] = json.loads(row[6])
    return {
        "detection_id": str(row[0]),
        "patient_code": row[1],
        "image_id": str(row[2]),
        "image_path": row[3],
        "stage": row[4],
        "confidence": row[5],
        "bbox": results.get("bbox"),
        "area": results.get("area"),
        "severity": results.get("severity"),
        "risk_level": row[7],
        "model": {"name": row[8], "version": row[9]},
        "processing_time_ms": row[10],
        "created_at": moment(row[11]),
    }
