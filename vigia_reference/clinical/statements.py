"""Statements written once, with named parameters and schema-qualified tables, for all databases.

>>> for_asyncpg("SELECT 1 FROM staff_data.medical_staff WHERE id = :id OR staff_code = :id")
('SELECT 1 FROM staff_data.medical_staff WHERE id = $1 OR staff_code = $1', ('id',))
>>> for_sqlite("SELECT 1 FROM staff_data.medical_staff WHERE id = :id")
'SELECT 1 FROM medical_staff WHERE id = :id'
"""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vigia_reference.payloads import InvalidPayload

SCHEMAS = ("clinical_data", "staff_data", "ml_operations", "audit_logs")

Row = tuple[Any, ...]
Rows = list[Row]

# Not the second colon of a cast, nor the one of plpgsql's ``:=``.
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_SCHEMA = re.compile(rf"\b(?:{'|'.join(SCHEMAS)})\.")


@dataclass(frozen=True, slots=True)
class Query:
    """One statement and its parameters by name; a driver answers it with rows."""

    text: str
    parameters: Mapping[str, Any]


def query(text: str, **parameters: Any) -> Query:
    """Return a statement with parameters.

    Raises `InvalidPayload` for text that PostgreSQL cannot hold, so that all databases refuse it.
    """
    for name, value in parameters.items():
        if isinstance(value, str) and "\0" in value:
            raise InvalidPayload(f"{name} holds a NUL character")
    return Query(text, parameters)


def as_json(value: Any) -> str:
    """Write *value* as JSON text that every database can hold; raises `InvalidPayload`.

    >>> as_json({"diabetes": True})
    '{"diabetes": true}'
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise InvalidPayload("a value cannot be stored as JSON") from None
    # A backslash of the value itself is written as two.
    if "\\u0000" in text.replace("\\\\", ""):
        raise InvalidPayload("a value holds a NUL character")
    return text


@functools.cache
def for_sqlite(text: str) -> str:
    """Leave the schemas out: SQLite has none, and the names of the tables differ anyway."""
    return _SCHEMA.sub("", text)


@functools.cache
def for_psycopg(text: str) -> str:
    """Write parameters as ``%(name)s``."""
    return _PARAMETER.sub(r"%(\1)s", text)


@functools.cache
def for_asyncpg(text: str) -> tuple[str, tuple[str, ...]]:
    """Write parameters as ``$1``, and return their names in that order."""
    names = list(dict.fromkeys(_PARAMETER.findall(text)))
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text), tuple(names)
