"""ResourceWarnings, heard also where nobody wants to see them."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from desvelo.resources.creation import Creation
from desvelo.resources.recorder import Recorder

_HERE = str(Path(__file__).parent) + os.sep
_JUDGED = re.compile(
    r"unclosed (<socket|<StreamWriter|transport|event loop|<ssl|running multiprocessing|scheduler)"
    r"|Unclosed (client session <aiohttp|connector|response|connection <|connection\b.*aiohttp)"
    r"|subprocess \d+|loop is closed",
    re.IGNORECASE,
)
"""The hooks know these better."""
_KINDS = (
    (re.compile(r"unclosed file|unclosed <_io", re.IGNORECASE), "file"),
    (re.compile(r"cleaning up", re.IGNORECASE), "tempfile"),
    (re.compile(r"database|connection|client", re.IGNORECASE), "connection"),
)


class Hearing:
    """Between `begin` and `end` each ResourceWarning that no filter of the user's hides is noted.

    Python ignores them unless it is told otherwise. Where only this default would hide them they
    are let through as far as here, and shown to nobody.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._before: list[tuple[str, Any, Any]] = []
        self._filter: Any = None

    def begin(self) -> None:
        """Listen from now on."""
        if _hidden_by_default():
            warnings.simplefilter("always", ResourceWarning)
            self._filter = warnings.filters[0]
        show = getattr(warnings, "_showwarnmsg_impl", None)
        if show is not None:
            self._replace(warnings, "_showwarnmsg_impl", self._showing(show))
        self._replace(sys, "unraisablehook", self._raising(sys.unraisablehook))

    def renew(self) -> None:
        """Begin again where somebody has come between since."""
        replaced = all(getattr(_owner(name), name) is ours for name, _, ours in self._before)
        first = warnings.filters[0] if warnings.filters else None
        heard = first is self._filter if self._filter is not None else not _hidden_by_default()
        if not (self._before and replaced and heard):
            self.end()
            self.begin()

    def end(self) -> None:
        """Put everything back, except what somebody else has replaced since."""
        while self._before:
            name, before, ours = self._before.pop()
            owner = _owner(name)
            if getattr(owner, name) is ours:
                setattr(owner, name, before)
        if self._filter is not None:
            filters: Any = warnings.filters
            for index, one in enumerate(filters):
                if one is self._filter:
                    del filters[index]
                    warnings._filters_mutated()  # type: ignore[attr-defined] # noqa: SLF001
                    break
            self._filter = None

    def _replace(self, owner: Any, name: str, ours: Any) -> None:
        self._before.append((name, getattr(owner, name), ours))
        setattr(owner, name, ours)

    def _showing(self, show: Any) -> Any:
        def hear(message: Any) -> None:
            if message.filename.startswith(_HERE):
                # A hook stood between the warning and the line that it speaks of.
                message.filename, message.lineno = _caller()
            if issubclass(message.category, ResourceWarning):
                self._note(str(message.message), getattr(message, "source", None))
                if self._filter is not None:
                    return
            show(message)

        return hear

    def _raising(self, hook: Any) -> Any:
        def hear(unraisable: Any) -> None:
            if isinstance(unraisable.exc_value, ResourceWarning):
                self._note(str(unraisable.exc_value), unraisable.object)
            hook(unraisable)

        return hear

    def _note(self, text: str, source: Any) -> None:
        recorder = self._recorder
        known = hasattr(type(source), "desvelo_place")  # a connection that our hook made
        if known or _JUDGED.match(text) or not recorder.listening():
            return
        kind = next((name for pattern, name in _KINDS if pattern.search(text)), "resource")
        creation = self._creation(source)
        if creation is None:
            return
        recorder.heard(kind, re.sub(r" at 0x[0-9a-f]+", "", text), "dropped open", creation)

    def _creation(self, source: Any) -> Creation | None:
        try:
            return self._recorder.descriptors[source.fileno()]
        except (AttributeError, KeyError, ValueError, OSError):
            return self._recorder.unknown(4)


def _owner(name: str) -> Any:
    return sys if name == "unraisablehook" else warnings


def _caller() -> tuple[str, int]:
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - `inspect` is slow
    passed = False
    while frame is not None:
        ours = frame.f_code.co_filename.startswith(_HERE)
        if passed and not ours:
            return frame.f_code.co_filename, frame.f_lineno
        passed = passed or ours
        frame = frame.f_back
    return "<unknown>", 0


def _hidden_by_default() -> bool:
    """Tell whether the filter that decides is the one Python begins with."""
    for action, message, category, module, line in warnings.filters:
        if issubclass(ResourceWarning, category):
            if message is None and module is None:
                return action == "ignore" and category is ResourceWarning and line == 0
            if category is ResourceWarning:
                return False  # somebody has thought of them; others speak of warnings of any sort
    return False
