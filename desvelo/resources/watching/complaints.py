"""What the interpreter itself complains about: coroutines never awaited."""

from __future__ import annotations

import functools
from typing import Any

from desvelo.resources.attaching import Hook, Library, part
from desvelo.resources.creation import describe_line, own_lines
from desvelo.resources.recorder import Recorder


def _hooks(recorder: Recorder, warnings: Any) -> list[Hook]:
    part(warnings, "_warn_unawaited_coroutine")  # the interpreter calls it by this name

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def warn(coroutine: Any) -> None:
            if recorder.active and recorder.listening():
                code = coroutine.cr_code
                defined = describe_line((code.co_filename, code.co_firstlineno, code.co_name))
                creation = recorder.capture(2)
                # There when the window asked for it.
                origin = coroutine.cr_origin
                if origin:
                    creation.lines = own_lines(origin)
                    creation.through, creation.spared = "", False
                recorder.heard(
                    "coroutine",
                    f"the coroutine {coroutine.__qualname__}(), defined at {defined}",
                    "never awaited",
                    creation,
                )
            original(coroutine)

        return warn

    return [Hook(warnings, "_warn_unawaited_coroutine", make)]


LIBRARIES = [Library("warnings", _hooks)]
