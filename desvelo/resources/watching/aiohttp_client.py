"""aiohttp: sessions, connectors, responses that were not released, websockets."""

from __future__ import annotations

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
_RESPONSE = Kind(
    "response",
    lambda response: f"{class_name(response)} of {response.method} {response.url}",
    _response_is_open,
    "never released (read it, or use `async with`)",
)
_WEBSOCKET = Kind("websocket", class_name, lambda websocket: not websocket.closed)
_SERVED_WEBSOCKET = Kind(
    "websocket", class_name, lambda websocket: websocket.prepared and not websocket.closed
)


def _hooks(recorder: Recorder, aiohttp: Any) -> list[Hook]:
    return [
        *watch_class(recorder, part(aiohttp, "ClientSession"), _SESSION),
        *watch_class(recorder, part(aiohttp, "BaseConnector"), _CONNECTOR),
        *watch_class(recorder, part(aiohttp, "ClientResponse"), _RESPONSE),
        *watch_class(recorder, part(aiohttp, "ClientWebSocketResponse"), _WEBSOCKET),
    ]


def _server_hooks(recorder: Recorder, web: Any) -> list[Hook]:
    return watch_class(recorder, part(web, "WebSocketResponse"), _SERVED_WEBSOCKET)


LIBRARIES = [Library("aiohttp", _hooks), Library("aiohttp.web", _server_hooks)]
