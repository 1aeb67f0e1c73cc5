"""Who opened a descriptor, and temporary files and folders.

Files are known by their descriptor alone: objects of C cannot be given a finalizer, and need none,
since a file that is dropped is closed at once and the interpreter complains.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from desvelo.resources.attaching import Hook, Library, StandIn, part
from desvelo.resources.recorder import Recorder


def _recording(recorder: Recorder, original: Any) -> Any:
    def call(*args: Any, **options: Any) -> Any:
        opened = original(*args, **options)
        if recorder.active and recorder.listening():
            creation = recorder.capture(3)
            for number in _numbers(opened):
                recorder.opened(number, creation, opened)
        return opened

    return StandIn(original, call)


def _numbers(opened: Any) -> tuple[int, ...]:
    if isinstance(opened, int):
        return (opened,)
    if isinstance(opened, tuple):
        return opened
    try:
        return (opened.fileno(),)
    except (OSError, ValueError, AttributeError):
        return ()


def _opening(recorder: Recorder, owner: Any, *names: str) -> list[Hook]:
    return [
        Hook(owner, name, lambda original: _recording(recorder, original))
        for name in names
        if hasattr(owner, name)
    ]


def _open_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    part(module, "open")
    return _opening(recorder, module, "open")


def _os_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    part(module, "open")
    return _opening(recorder, module, "open", "pipe", "dup", "memfd_create", "eventfd")


def _tempfile_hooks(recorder: Recorder, tempfile: Any) -> list[Hook]:
    part(tempfile, "_mkstemp_inner")  # mkstemp and NamedTemporaryFile are made of it
    part(tempfile, "mkdtemp")

    def made(original: Any, path_of: Any) -> Any:
        @functools.wraps(original)
        def make(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            if recorder.active and recorder.listening():
                path = os.path.abspath(os.fsdecode(path_of(result)))  # noqa: PTH100 - strings are compared
                recorder.paths.append((path, recorder.capture(2)))
            return result

        return make

    return [
        Hook(tempfile, "_mkstemp_inner", lambda original: made(original, lambda both: both[1])),
        Hook(tempfile, "mkdtemp", lambda original: made(original, lambda path: path)),
    ]


LIBRARIES = [
    Library("builtins", _open_hooks),
    Library("io", _open_hooks),
    Library("os", _os_hooks),
    Library("tempfile", _tempfile_hooks),
]
