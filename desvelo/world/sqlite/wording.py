"""Statements of SQL as the story words them: one line, without what is long."""

from __future__ import annotations

import functools
import re
import sqlite3
from typing import Any

from desvelo.world.values import describe_value

LONGEST = 60
"""Characters of a statement that a row of the story shows."""

_WRITES = re.compile(
    r"\s*(?:INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER|VACUUM|REINDEX|WITH\b.*\b(?:INSERT|"
    r"UPDATE|DELETE)\b|BEGIN\s+(?:IMMEDIATE|EXCLUSIVE))",
    re.IGNORECASE | re.DOTALL,
)


@functools.lru_cache(maxsize=1024)
def short_sql(sql: str) -> str:
    r"""Return a statement on one line, its end left out when it is long.

    >>> short_sql("UPDATE patients\n   SET name = ?;")
    'UPDATE patients SET name = ?'
    """
    text = " ".join(sql.split()).rstrip("; ")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


@functools.lru_cache(maxsize=1024)
def takes_write_lock(sql: str) -> bool:
    """Tell whether a statement makes its transaction one that writes.

    >>> [takes_write_lock(sql) for sql in ("BEGIN", "BEGIN IMMEDIATE", "UPDATE t SET n = 1")]
    [False, True, True]
    """
    return _WRITES.match(sql) is not None


def is_setting(sql: str) -> bool:
    """Tell whether a statement only sets or asks how SQLite works."""
    return sql.lstrip()[:6].upper() == "PRAGMA"


def outcome(cursor: Any) -> str:
    """Say what a statement changed, where SQLite says it."""
    count = getattr(cursor, "rowcount", -1)
    if not isinstance(count, int) or count < 0 or cursor.description is not None:
        return ""
    return f"  ➜ {count} row{'' if count == 1 else 's'}"


def rows_text(found: Any) -> str:
    """Say what a fetch returned, rows of whatever class as plain tuples.

    >>> rows_text((5,)), rows_text(None)
    ('(5,)', 'no row')
    """
    if found is None or found == []:
        return "no row"
    if isinstance(found, sqlite3.Row):
        found = tuple(found)
    elif isinstance(found, list):
        found = [tuple(row) if isinstance(row, sqlite3.Row) else row for row in found]
    return describe_value(found, LONGEST)
