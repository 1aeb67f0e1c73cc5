"""What Vigía's adapter gives to the phases that send webhooks to a real server.

It goes by HTTP alone, so that it serves for a live server as well. When that one wants a key, it
is taken from the environment: ``VIGIA_API_KEY``.
"""

from __future__ import annotations

import functools
import http.client
import importlib
import json
import os
import secrets
import sys
import uuid
from collections import Counter
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import vigia_reference
from desvelo.errors import UsageError
from desvelo.measure.load import WebhookRequest
from strategies import as_bytes, envelopes, minimal_bodies
from targets.drawing import drawn
from targets.vigia_database import VigiaDatabaseWork
from vigia_reference import Parts

CHECKS = Path(vigia_reference.__file__).parent / "checks"
SHAPES = 120
"""How many bodies are drawn; every request is one of them with an image and an id of its own."""
DELIVERED_AGAIN = 0.05
"""The share of requests that are the one before again, as after an answer that was lost."""

IMAGES_OF_A_PATIENT = 20
"""On average: patients are few enough to meet, and have no more images than people have."""
PATIENT = "STRESS-"
"""What the codes of our patients begin with, so that nobody else's are touched or read."""

_IMAGE, _ID, _CODE = b"/images/of-this-request.jpg", b"id-of-this-request", b"code-of-a-patient"
_KINDS = ("completed",) * 14 + ("any",) * 3 + ("minimal",) * 2 + ("refused",)
_WRONG: tuple[dict[str, Any], ...] = (
    {"detections": [{"stage": 5, "confidence": 0.5}]},
    {"detections": [{"stage": 0, "confidence": 1.5}]},
    {"detections": "none"},
    {"risk_level": "SEVERE"},
    {"patient_code": ""},
)


class VigiaPhases:
    """The part of an adapter that the load and webhook phases ask."""

    health = "/health"
    parts: Parts
    name: str
    """What follows a colon is the planted defect of the server that `server_command` starts."""

    def server_command(self, port: int, folder: Path) -> list[str]:
        """Return the command that serves this system; its database is a file in ``folder``.

        Commits do not wait for the disk: how fast that is would be all that is measured, and no
        phase cuts the power.
        """
        command = [sys.executable, "-m", "vigia_reference.serve", "--port", str(port)]
        command += ["--database", str(folder / "vigia.db"), "--synchronous", "normal"]
        defect = self.name.partition(":")[2]
        return [*command, "--defect", defect] if defect else command

    def checks(self) -> list[str]:
        """Return pytest arguments that run the system's own checks, on this variant of it."""
        return [str(CHECKS), f"--target={self.name}"]

    def messaging_checks(self) -> list[str]:
        """Return those of its messages."""
        return [str(CHECKS / "test_messaging.py"), f"--target={self.name}"]

    def image_checks(self) -> list[str]:
        """Return those of its image pipeline."""
        return [str(CHECKS / "test_images.py"), f"--target={self.name}"]

    def database_work(self, backend: str, where: str) -> VigiaDatabaseWork:
        """Return the three operations on a store of this backend, and what has to hold."""
        return VigiaDatabaseWork(backend, where, self.parts.clinical)

    def image_files(self, seed: int, count: int, folder: Path) -> list[tuple[Path, bool]]:
        """Write so many drawn photos into a folder; with each whether it can be used."""
        files: list[tuple[Path, bool]] = _images().image_files(seed, count, folder)
        return files

    def process_image(self, path: Path) -> bool:
        """Have one photo downloaded and prepared for the detector; returns whether it was fit."""
        return bool(_pipeline(self.parts).process(path))

    def webhook_requests(self, seed: int, count: int) -> list[WebhookRequest]:
        """Return requests drawn by a seed, whose keys and patients no call before has returned.

        Most report a detection, and their key is the path of its image; some are other events;
        some are to be refused, and some are deliveries of the one before once more.

        >>> requests = VigiaPhases().webhook_requests(1, 100)
        >>> len(requests), requests[0].method, requests[0].path
        (100, 'POST', '/webhook')
        >>> len({one.key for one in requests if one.key}) > 60
        True
        """
        shapes, chance = _shapes(seed), Random(seed)
        series, ids = secrets.token_hex(5), Random(secrets.randbits(64))
        headers = {"Content-Type": "application/json", **_authorization()}
        requests: list[WebhookRequest] = []
        patients = max(1, count // IMAGES_OF_A_PATIENT)
        repeatable = False
        for number in range(count):
            if repeatable and chance.random() < DELIVERED_AGAIN:
                requests.append(requests[-1])
                continue
            kind, shape = shapes[chance.randrange(len(shapes))]
            image = f"/images/{series}-{number}.jpg"
            patient = f"{PATIENT}{series}-{chance.randrange(patients)}"
            identifier = str(uuid.UUID(int=ids.getrandbits(128), version=4))
            body = shape.replace(_IMAGE, image.encode()).replace(_ID, identifier.encode())
            body = body.replace(_CODE, patient.encode())
            # Without an id, or without a trace, nobody could tell the second from another one.
            repeatable = kind in {"completed", "refused"}
            key = "" if kind == "any" else image
            requests.append(
                WebhookRequest("POST", "/webhook", body, headers, key, valid=kind != "refused")
            )
        return requests

    def accepted(self, status: int, body: bytes) -> bool:
        """Return whether an answer says that everything about the event was done.

        >>> VigiaPhases().accepted(200, b'{"success": true, "data": {"results": []}}')
        True
        >>> VigiaPhases().accepted(200, b'{"data": {"results": [{"success": false}]}}')
        False
        """
        if status != 200:
            return False
        try:
            answer = json.loads(body)
            return all(one["success"] for one in answer["data"].get("results", ()))
        except (ValueError, KeyError, TypeError, AttributeError):
            return False

    def stored_keys(self, url: str) -> Counter[str]:
        """Return how many images the server has of each path.

        Raises `OSError` or `http.client.HTTPException` when it does not answer.
        """
        images: dict[str, set[str]] = {}
        with _Reader(url) as reader:
            codes = [patient["patient_code"] for patient in reader.get("/patients")["patients"]]
            for code in [quote(code) for code in codes if code.startswith(PATIENT)]:
                for found in reader.get(f"/patients/{code}/detections")["detections"]:
                    images.setdefault(found["image_path"], set()).add(found["image_id"])
        return Counter({path: len(ids) for path, ids in images.items()})


class _Reader:
    """Reads JSON over one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=60)
        self._prefix = parts.path.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def get(self, path: str) -> Any:
        self._connection.request("GET", f"{self._prefix}{path}", headers=_authorization())
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"GET {path} was answered with {answer.status}")
        return json.loads(text)


def _images() -> ModuleType:
    """Return the module that draws and prepares photos; raises `UsageError` without its needs."""
    try:
        return importlib.import_module("targets.vigia_images")
    except ImportError as missing:
        raise UsageError(
            "the image pipeline needs Pillow and NumPy: pip install 'desvelo[images]'"
        ) from missing


_PIPELINES: dict[Parts, Any] = {}
"""One for each process that prepares photos, to the end of it."""


def _pipeline(parts: Parts) -> Any:
    if parts not in _PIPELINES:
        _PIPELINES[parts] = _images().Pipeline(parts)
    return _PIPELINES[parts]


def _authorization() -> dict[str, str]:
    key = os.environ.get("VIGIA_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _bodies() -> SearchStrategy[tuple[str, dict[str, Any]]]:
    completed = envelopes(("detection.completed",))
    kinds = {
        "completed": completed,
        "any": envelopes(),
        "minimal": minimal_bodies(),
        "refused": st.builds(_spoilt, completed, st.sampled_from(_WRONG)),
    }
    by_kind = {kind: st.tuples(st.just(kind), bodies) for kind, bodies in kinds.items()}
    return st.sampled_from(_KINDS).flatmap(by_kind.__getitem__)


def _spoilt(body: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
    body["payload"] |= wrong
    return body


def _as_shape(kind: str, body: dict[str, Any]) -> bytes:
    if kind != "minimal":
        body["webhook_id"] = _ID.decode()
    if kind != "any":
        body["payload"]["image_path"] = _IMAGE.decode()
    if body["payload"]["patient_code"]:
        body["payload"]["patient_code"] = _CODE.decode()
    return as_bytes(body)


@functools.lru_cache(maxsize=4)
def _shapes(seed: int) -> tuple[tuple[str, bytes], ...]:
    """Return kinds and bodies, with the same image and id in all of them."""
    return tuple((kind, _as_shape(kind, body)) for kind, body in drawn(_bodies(), seed, SHAPES))
