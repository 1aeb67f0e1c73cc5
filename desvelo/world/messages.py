"""Where messages begin and end in the bytes of a connection, as seen on the wire.

HTTP/1 says it itself (RFC 9112, section 6). In every other protocol, and in encrypted ones, a
message is what one call of ``send`` has given.
"""

from __future__ import annotations

import re
from enum import Enum

_REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d\d\d)[^\n]*\n")
_LENGTH = re.compile(rb"(?i)^content-length:[ \t]*(\d+)", re.MULTILINE)
_CHUNKED = re.compile(rb"(?i)^transfer-encoding:[^\n]*\bchunked", re.MULTILINE)
_BODILESS = (204, 304)


class _Part(Enum):
    """What the next bytes belong to."""

    HEAD = "head"
    BODY = "body"
    SIZE = "size of a chunk"
    CHUNK = "chunk"
    TRAILER = "trailer"
    ENDLESS = "everything until the end of the stream"
    OPAQUE = "another protocol"


class Messages:
    r"""The messages of one direction of a connection, taken in piece by piece.

    >>> requests = Messages(answers=False)
    >>> requests.take(b"GET / HTTP/1.1\r\n\r\nGET /next", ends=True), requests.complete
    (18, 1)
    >>> other = Messages(answers=False)
    >>> other.take(b"SELECT", ends=False), other.within, other.take(b" 1", ends=True), other.within
    (6, True, 2, False)
    """

    __slots__ = ("_left", "_part", "_text", "answers", "bodiless", "complete", "expected", "seen")

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.complete = 0
        """Messages that have ended."""
        self.seen = 0
        """Bytes of the message that is under way."""
        self.expected = 0
        """How long that one will be, as soon as its head says so; else 0."""
        self.bodiless = False
        """Whether the next answer has no body, being one to a HEAD."""
        self._part = _Part.HEAD
        self._text = bytearray()
        self._left = 0

    @property
    def within(self) -> bool:
        """Whether a message has begun and not ended."""
        return self.seen > 0

    def take(self, data: bytes, *, ends: bool) -> int:
        """Take in bytes, at most to the end of the message; returns how many.

        ``ends`` tells whether the sender's call ended with them.
        """
        at = 0
        while at < len(data):
            before = at
            if self._part in (_Part.OPAQUE, _Part.ENDLESS):
                at = len(data)
                over = ends and self._part is _Part.OPAQUE
            elif self._part in (_Part.BODY, _Part.CHUNK):
                step = min(self._left, len(data) - at)
                at += step
                self._left -= step
                over = not self._left and self._part is _Part.BODY
                if not self._left and self._part is _Part.CHUNK:
                    self._part = _Part.SIZE
            else:
                at = data.find(b"\n", at) + 1 or len(data)
                self._text += data[before:at]
                over = data[at - 1] == 10 and self._line_is_last()
                if self._is_foreign(ends=ends and at == len(data)):
                    self._part, self._text = _Part.OPAQUE, bytearray()
                    at, over = len(data), ends
                    self.seen += at - before
                    before = at
            self.seen += at - before
            if over:
                self._end()
                return at
        return at

    def stop(self) -> None:
        """Learn that the stream has ended, and with it the message."""
        if self.within:
            self._end()

    def _end(self) -> None:
        self.complete += 1
        self.seen = self.expected = 0
        self._text.clear()
        if self._part is not _Part.OPAQUE:
            self._part = _Part.HEAD

    def _is_foreign(self, *, ends: bool) -> bool:
        """Tell whether what has begun is no message of HTTP/1."""
        if self._part is not _Part.HEAD:
            return False
        line = _STATUS_LINE if self.answers else _REQUEST_LINE
        return (b"\n" in self._text or ends) and not line.match(self._text)

    def _line_is_last(self) -> bool:
        """Look at a line of a head or of what stands around chunks; tell whether it is the end."""
        text = self._text
        if self._part is _Part.SIZE:
            size = bytes(text).partition(b";")[0].strip()
            text.clear()
            if size:
                self._left = int(size, 16) if _is_hex(size) else 0
                # The end of the line behind a chunk is read as a line without a size.
                self._part = _Part.CHUNK if self._left else _Part.TRAILER
            return False
        if self._part is _Part.TRAILER:
            line = bytes(text).strip()
            text.clear()
            return not line
        return text.endswith((b"\r\n\r\n", b"\n\n")) and self._head_is_all(bytes(text))

    def _head_is_all(self, head: bytes) -> bool:
        """Learn from a head what follows; tell whether nothing does."""
        self._text.clear()
        status = _STATUS_LINE.match(head) if self.answers else None
        code = int(status[1]) if status else 0
        if code == 101:
            self._part = _Part.OPAQUE
            return True
        if 100 <= code < 200:
            # Interim: the answer itself is still to come.
            return False
        bodiless, self.bodiless = self.bodiless, False
        if (self.answers and bodiless) or code in _BODILESS:
            return True
        length = _LENGTH.search(head)
        if _CHUNKED.search(head):
            self._part = _Part.SIZE
        elif length and int(length[1]):
            self._left = int(length[1])
            self.expected = len(head) + self._left
            self._part = _Part.BODY
        elif length or not self.answers:
            return True
        else:
            self._part = _Part.ENDLESS
        return False


class Exchange:
    """Both directions of a connection: what was asked, and whether it has been answered."""

    __slots__ = ("answers", "begun", "is_open", "requests")

    def __init__(self) -> None:
        self.requests = Messages(answers=False)
        self.answers = Messages(answers=True)
        self.begun = 0
        """Which request it was, among those of all connections, that began last here."""
        self.is_open = False
        """Whether something was asked that has not been answered."""


def _is_hex(text: bytes) -> bool:
    return re.fullmatch(rb"[0-9A-Fa-f]+", text) is not None


__all__ = ["Exchange", "Messages"]
