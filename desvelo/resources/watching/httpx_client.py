"""httpx: clients that sent something and were not closed."""

from __future__ import annotations

from typing import Any

from desvelo.resources.attaching import Hook, Library, part, watch_class
from desvelo.resources.kinds import Kind, class_name
from desvelo.resources.recorder import Recorder


def _was_opened(client: Any) -> bool:
    # One that never sent anything holds nothing: httpx opens it at the first request.
    return not client.is_closed and client._state.name == "OPENED"  # noqa: SLF001 - not public


_CLIENT = Kind("client", class_name, _was_opened)


def _hooks(recorder: Recorder, httpx: Any) -> list[Hook]:
    return [
        hook
        for name in ("Client", "AsyncClient")
        for hook in watch_class(recorder, part(httpx, name), _CLIENT)
    ]


LIBRARIES = [Library("httpx", _hooks)]
