"""Whose turn it is in a conversation with PostgreSQL: which answers the server owes.

Each message of a client is answered by known messages of the server, in order. An error skips
what was sent up to the next Sync. What is sent after the last Sync or Flush need not be answered
at all. Copying in hands the turn back to the client.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", message flow.
"""

from __future__ import annotations

from collections import deque

_ENDS_REQUEST = frozenset(b"QSF")
_ANSWERS = {ord("P"): b"1", ord("B"): b"2", ord("C"): b"3", ord("D"): b"Tn", ord("E"): b"CIs"}
_ASYNCHRONOUS = frozenset(b"NSA")
_FLUSH, _SYNC = ord("H"), ord("S")
_ERROR, _NOTIFICATION = ord("E"), ord("A")
READY = ord("Z")
HIDDEN = -1


class Conversation:
    """What a server owes, told message by message.

    >>> talk = Conversation()
    >>> talk.asked(ord("P"))
    >>> talk.owing
    False
    >>> talk.asked(ord("S"))
    >>> talk.owing, talk.answered(ord("1")), talk.owing, talk.answered(READY), talk.owing
    (True, True, True, True, False)
    """

    __slots__ = ("_due", "_expected", "_skipping", "copying")

    def __init__(self) -> None:
        self._expected: deque[int] = deque()
        """What is to be answered: types of the client's messages, READY, or HIDDEN."""
        self._due = 0
        """How many of them the server must answer now."""
        self._skipping = False
        """Whether the server ignores everything up to the next Sync."""
        self.copying = False
        """Whether the server waits for the client's data."""

    @property
    def owing(self) -> bool:
        """Whether the server has to say something before the client need do anything."""
        return self._due > 0 and not self.copying

    @property
    def at_rest(self) -> bool:
        """Whether everything that was asked is answered, so that something may be put between."""
        return not self._expected and not self.copying

    def asked(self, kind: int) -> None:
        """Take note of a message of the client."""
        if self._skipping:
            if kind != _SYNC:
                return
            self._skipping = False
        if kind in _ENDS_REQUEST:
            self._expected.append(READY)
            self._due = len(self._expected)
        elif kind == _FLUSH:
            self._due = len(self._expected)
        elif kind in _ANSWERS:
            self._expected.append(kind)
        elif kind in b"cf":
            self.copying = False

    def asked_hidden(self) -> None:
        """Take note of a request of our own, whose answer the client must not see."""
        self._expected.append(HIDDEN)
        self._due = len(self._expected)

    def answered(self, kind: int) -> bool:
        """Take note of a message of the server; tell whether it is for the client."""
        expected = self._expected
        head = expected[0] if expected else 0
        if head == HIDDEN:
            if kind == READY:
                self._pop()
            return kind == _NOTIFICATION
        if kind in _ASYNCHRONOUS:
            return True
        if kind == READY:
            while expected and expected[0] != READY:
                self._pop()
            self._pop()
            self.copying = False
        elif kind == _ERROR:
            self.copying = False
            while expected and expected[0] not in {READY, HIDDEN}:
                self._pop()
            self._skipping = not expected
        elif kind in b"GW":
            self.copying = True
        elif head in _ANSWERS and kind in _ANSWERS[head]:
            self._pop()
        return True

    def _pop(self) -> None:
        if self._expected:
            self._expected.popleft()
            self._due = max(self._due - 1, 0)
