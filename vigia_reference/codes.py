"""Patient codes: which are accepted, and when two of them mean the same patient.

A code is its exact sequence of code points.  Nothing is trimmed, folded or normalised:
``"TEST-1"``, ``"test-1"``, ``" TEST-1"``, ``"TEST-01"`` and a full-width ``"TEST-1"`` are five
patients.  Mistaking two people for one mixes their wounds and treatments, and nobody notices;
mistaking one person for two is seen at once and can be joined by hand.

Canonical normalisation (NFC) is left out for the same reason: it turns look-alikes such as the
Kelvin sign (U+212A) into the plain letter ``K``.
"""

import uuid

MAX_CODE_LENGTH = 64
"""Longest accepted code, in code points."""


class InvalidPatientCode(ValueError):
    """The value cannot be a patient code: not text, blank, too long, or not encodable."""


def patient_code(value: object) -> str:
    """Check that *value* is a patient code and return it unchanged.

    Raises `InvalidPatientCode` for anything that is not text, is empty or only blanks, is longer
    than 64 code points, or holds a lone surrogate (which no database can store).

    >>> patient_code("VG-2025-001")
    'VG-2025-001'
    >>> patient_code("ana-1") == patient_code("ANA-1")
    False
    >>> patient_code("")
    Traceback (most recent call last):
    ...
    vigia_reference.codes.InvalidPatientCode: Patient code is empty
    """
    if not isinstance(value, str):
        raise InvalidPatientCode(f"Patient code must be text, not {type(value).__name__}")
    if not value.strip():
        raise InvalidPatientCode("Patient code is empty")
    if len(value) > MAX_CODE_LENGTH:
        raise InvalidPatientCode(
            f"Patient code has {len(value)} characters, {MAX_CODE_LENGTH} are allowed"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidPatientCode("Patient code holds a lone surrogate") from None
    return value


def temporary_code() -> str:
    """Make a code for a patient who came without one: ``TEMP-`` and eight hex digits.

    >>> len(temporary_code())
    13
    """
    return f"TEMP-{uuid.uuid4().hex[:8].upper()}"
