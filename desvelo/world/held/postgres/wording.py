"""PostgreSQL's messages in words, and without what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from desvelo.world.held.postgres.connection import error_fields, message

LONGEST = 100
"""Characters of a statement that a trace shows."""

_VARYING: tuple[tuple[re.Pattern[bytes], bytes], ...] = (
    (re.compile(rb"transaction \d+"), b"transaction ?"),
    (re.compile(rb"tuple \(\d+,\d+\)"), b"tuple (?,?)"),
    (re.compile(rb"relation \d+ of database \d+"), b"relation ? of database ?"),
)
_PROCESS = re.compile(rb"([Pp]rocess) (\d+)")


def frames(data: bytes | bytearray) -> Iterator[tuple[int, bytes]] | None:
    r"""Return the messages that some bytes consist of, or nothing when a part is missing.

    >>> list(frames(b"S\x00\x00\x00\x04")), frames(b"S\x00\x00")
    ([(83, b'')], None)
    """
    found = []
    at = 0
    while at < len(data):
        if at + 5 > len(data):
            return None
        end = at + 1 + int.from_bytes(data[at + 1 : at + 5])
        if end > len(data) or end < at + 5:
            return None
        found.append((data[at], bytes(data[at + 5 : end])))
        at = end
    return iter(found)


def shown(statement: str) -> str:
    r"""Write a statement in one line of bounded length.

    >>> shown(" SELECT 1\n  FROM patient ;")
    'SELECT 1 FROM patient'
    """
    text = " ".join(statement.split()).rstrip("; ")
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def text_of(body: bytes) -> str:
    """Read a text that ends with a zero byte."""
    return body.partition(b"\0")[0].decode("utf-8", "replace")


class Wording:
    """Describes the two streams of one session."""

    def __init__(self) -> None:
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def of_client(self, data: bytes) -> str:
        """Describe what a client sends."""
        if data[:1] == b"\0":
            return "the start of a session"
        pieces = frames(data)
        if pieces is None:
            return "a part of a message"
        said = [text for kind, body in pieces if (text := self._asked(kind, body))]
        return "; ".join(said) or "the end of a message"

    def _asked(self, kind: int, body: bytes) -> str:
        if kind == ord("Q"):
            return shown(text_of(body))
        if kind == ord("P"):
            name, _, rest = body.partition(b"\0")
            self._prepared[name] = shown(text_of(rest))
            return f"prepare {self._prepared[name]}" if name else ""
        if kind == ord("B"):
            portal, name, *_ = body.split(b"\0", 2)
            self._portals[portal] = self._prepared.get(name, "a statement")
            return ""
        if kind == ord("E"):
            return self._portals.get(body.partition(b"\0")[0], "a statement")
        return _WORDS.get(kind, "")

    @staticmethod
    def of_server(data: bytes) -> str:
        """Describe what a server answers."""
        pieces = frames(data)
        if pieces is None:
            return (
                "the answer to a request for encryption" if data == b"N" else "a part of an answer"
            )
        return "; ".join(_outcomes(pieces)) or "ready"

    @staticmethod
    def of_result(statement: str, data: bytes) -> str:
        """Say what came of a statement, or nothing when it was not carried out by this."""
        outcomes = _outcomes(frames(data) or iter(()))
        if not statement or not outcomes or outcomes == ["welcome"]:
            return ""
        result = "; ".join(outcomes)
        return statement if result == statement else f"{statement} ➜ {result}"


def _outcomes(pieces: Iterator[tuple[int, bytes]]) -> list[str]:
    said: list[str] = []
    rows = 0
    for kind, body in pieces:
        if kind == ord("D"):
            rows += 1
        elif kind in _ENDS_ROWS and rows:
            said.append(f"{rows} row{'s' if rows > 1 else ''}")
            rows = 0
        elif kind == ord("C"):
            tag = text_of(body)
            said.append("no rows" if tag == "SELECT 0" else tag)
        elif kind == ord("E"):
            fields = error_fields(body)
            said.append(f"error {fields.get('C')}: {fields.get('M')}")
        elif kind == ord("R"):
            said.append("welcome")
        elif kind == ord("A"):
            said.append(f"notification on {text_of(body[4:])}")
        elif kind == ord("G"):
            said.append("ready for data")
    return said


_ENDS_ROWS = frozenset(b"Cs")
_WORDS = {
    ord("X"): "goodbye",
    ord("d"): "data",
    ord("c"): "end of data",
    ord("f"): "data failed",
    ord("F"): "a function call",
}


def without_reality(kind: int, body: bytes, numbers: Mapping[int, int]) -> bytes:
    """Return an error or notice without the server's own numbers; processes become sessions.

    The same schedule must give the same text each time: ``numbers`` maps the server's process
    numbers to those of the sessions.
    """

    def session(match: re.Match[bytes]) -> bytes:
        return b"%s %d" % (match[1], numbers.get(int(match[2]), 0))

    body = _PROCESS.sub(session, body)
    for pattern, replacement in _VARYING:
        body = pattern.sub(replacement, body)
    return message(bytes((kind,)), body)
