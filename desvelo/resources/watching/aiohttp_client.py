"""aiohttp: sessions, connectors, responses that were not released, websockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from desvelo.resources.attaching import Hook, Library, part, watch_class
from desvelo.resources.kinds import Kind, class_name
from desvelo.resources.recorder import Recorder


def _response_is_open(response: Any) -> bool:
    connection = response.connection
    if response.closed or connection is None:
        return False
    transport = connection.transport
    return transport is not None and not transport.is_closing()


_SESSION = Kind("session", class_name, lambda session: not session.closed)
_CONNECTOR = Kind("connector", class_name, lambda connector: not connector.closed)


def response_kind(is_open: Callable[[Any], bool]) -> Kind:
    """Return what a response is judged by."""
    return Kind(
        "response",
        lambda response: f"{class_name(response)} of {response.method} {response.url}",
        is_open,
        "never released (read it, or use `async with`)",
    )


_WEBSOCKET = Kind("websocket", class_name, lambda websocket: not websocket.closed)


def _is_served(websocket: Any) -> bool:
    # Whoever serves may end with the connection, without a word to the websocket.
    writer = websocket._writer  # noqa: SLF001 - nothing public leads to the connection
    return writer is not None and not websocket.closed and not writer.transport.is_closing()


_SERVED_WEBSOCKET = Kind("websocket", class_name, _is_served)


def client_hooks(
    recorder: Recorder, aiohttp: Any, response_is_open: Callable[[Any], bool] = _response_is_open
) -> list[Hook]:
    """Return the hooks for aiohttp's client."""
    return [
        *watch_class(recorder, part(aiohttp, "ClientSession"), _SESSION),
        *watch_class(recorder, part(aiohttp, "BaseConnector"), _CONNECTOR),
        *watch_class(recorder, part(aiohttp, "ClientResponse"), response_kind(response_is_open)),
        *watch_class(recorder, part(aiohttp, "ClientWebSocketResponse"), _WEBSOCKET),
    ]


def _server_hooks(recorder: Recorder, web: Any) -> list[Hook]:
    return watch_class(recorder, part(web, "WebSocketResponse"), _SERVED_WEBSOCKET)


LIBRARIES = [Library("aiohttp", client_hooks), Library("aiohttp.web", _server_hooks)]
