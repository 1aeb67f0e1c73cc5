"""How hooks are put in place and taken out again.

A hook replaces one attribute of a class or a module by a wrapper that calls the original. The
class itself stays what it is: subclasses, `isinstance` and whoever imported it by name see no
difference, and a target that puts another class in its place is simply not watched there.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desvelo.resources.kinds import OWNERS, Kind
from desvelo.resources.recorder import Recorder

_MISSING = object()
_HERE = str(Path(__file__).parent) + os.sep
MODULES = (
    "eventloops",
    "sockets",
    "files",
    "threads",
    "processes",
    "locks",
    "complaints",
    "databases",
    "aiohttp_client",
    "httpx_client",
    "redis_client",
)
"""The parts of `desvelo.resources.watching`."""


class CannotAttach(Exception):
    """A library does not have what a hook expects, and so cannot be watched there."""


@dataclass(frozen=True)
class Hook:
    """One attribute to be replaced."""

    owner: Any
    name: str
    make: Callable[[Any], Any]
    """Given the original, or nothing where there is none, returns what takes its place."""


@dataclass(frozen=True)
class Library:
    """What can be watched once a module has been imported."""

    module: str
    hooks: Callable[[Recorder, Any], list[Hook]]
    """Given the recorder and the module."""


class Attachment:
    """All hooks of one recorder; may be attached more than once, the last detach restores."""

    def __init__(
        self, recorder: Recorder, libraries: Callable[[], list[Library]] | None = None
    ) -> None:
        self._recorder = recorder
        self._find = libraries or every_library
        self._depth = 0
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._attached: set[tuple[str, int]] = set()
        self._libraries: list[Library] | None = None
        self._modules = 0
        self.refusals: list[str] = []
        """What could not be watched, each said once."""

    def attach(self) -> None:
        """Put the hooks in place."""
        self._depth += 1
        self._recorder.active = True
        self.notice_imports()

    def detach(self) -> None:
        """Take them out, unless somebody else still needs them."""
        self._depth -= 1
        if self._depth:
            return
        self._recorder.active = False
        while self._undo:
            owner, name, before, ours = self._undo.pop()
            # Somebody may have wrapped or replaced it since: ours, inside, does nothing now.
            if vars(owner).get(name) is ours:
                if before is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)
        self._attached.clear()
        self._modules = 0
        self._recorder.clear()

    def notice_imports(self) -> set[str]:
        """Watch what was imported since; returns the names of the libraries that are new."""
        if self._modules == len(sys.modules):
            return set()
        self._modules = len(sys.modules)
        if self._libraries is None:
            self._libraries = self._find()
        new = set()
        for number, library in enumerate(self._libraries):
            module = sys.modules.get(library.module)
            key = (library.module, number)
            if module is not None and key not in self._attached:
                self._attached.add(key)
                new.add(library.module)
                self._watch(library, module, key)
        return new

    def _watch(self, library: Library, module: Any, key: tuple[str, int]) -> None:
        try:
            for hook in library.hooks(self._recorder, module):
                self._set(hook)
        except Exception as error:
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                # It is being imported at this moment: look again.
                self._attached.discard(key)
                self._modules = 0
                return
            self._refuse(f"{library.module} is not watched for leaks: {error}")

    def _set(self, hook: Hook) -> None:
        before = vars(hook.owner).get(hook.name, _MISSING)
        ours = hook.make(None if before is _MISSING else before)
        setattr(hook.owner, hook.name, ours)
        self._undo.append((hook.owner, hook.name, before, vars(hook.owner)[hook.name]))

    def _refuse(self, text: str) -> None:
        if text not in self.refusals:
            self.refusals.append(text)
            if sys.__stderr__ is not None:
                sys.__stderr__.write(f"desvelo: {text}\n")


def every_library(modules: Iterable[str] = MODULES) -> list[Library]:
    """Return what can be watched, in the order in which it is attached."""
    return [
        library
        for name in modules
        for library in importlib.import_module(f"desvelo.resources.watching.{name}").LIBRARIES
    ]


class StandIn:
    """Stands for a function of C: compared and hashed like it, and never bound to an instance."""

    def __init__(self, original: Any, call: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original)
        self._original = original
        self._call = call

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Do as the original."""
        return self._call(*args, **options)

    def __eq__(self, other: object) -> bool:
        return other is self or bool(self._original == other)

    def __hash__(self) -> int:
        return hash(self._original)

    def __repr__(self) -> str:
        return repr(self._original)


def part(owner: Any, name: str) -> Any:
    """Return an attribute that a hook needs; raises `CannotAttach` when it is not there."""
    found = getattr(owner, name, None)
    if found is None:
        raise CannotAttach(f"{getattr(owner, '__name__', owner)} has no {name}")
    return found


def watch_class(recorder: Recorder, cls: Any, kind: Kind) -> list[Hook]:
    """Return the hooks that record the objects of a class, and those dropped while open.

    A finalizer that the class has is called as it was; one that it has not is added, which
    leaves its objects as collectable as they were (PEP 442).
    """
    if not isinstance(cls, type):
        raise CannotAttach(f"{cls!r} is not a class")
    if kind.name in OWNERS and cls not in recorder.owners:
        recorder.owners.append(cls)
    return [
        Hook(cls, "__init__", lambda original: _recording(recorder, cls, original, kind)),
        Hook(cls, "__del__", lambda original: _judging(recorder, cls, original)),
    ]


def unseen(resource: Any) -> None:
    """Take the hook's own frame out of the stack that a library notes in asyncio's debug mode."""
    stack = getattr(resource, "_source_traceback", None)
    if stack:
        stack[:] = [line for line in stack if not line.filename.startswith(_HERE)]


def _recording(recorder: Recorder, cls: Any, original: Any, kind: Kind) -> Any:
    call = original if original is not None else cls.__init__

    @functools.wraps(call)
    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - it takes its place
        call(self, *args, **options)
        if recorder.active and recorder.listening():
            recorder.made(self, kind, 2, finalized=True)
            unseen(self)

    return __init__


def _judging(recorder: Recorder, cls: Any, original: Any) -> Any:
    def __del__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - it takes its place
        if recorder.active and recorder.listening():
            recorder.dropped(self)
        if original is not None:
            original(self, *args, **options)
        else:
            inherited = getattr(super(cls, self), "__del__", None)
            if inherited is not None:
                inherited()

    return functools.wraps(original)(__del__) if original is not None else __del__
