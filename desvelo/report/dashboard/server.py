"""The server of the dashboard: this machine only, and nothing but reading."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from desvelo.errors import DesveloError, UsageError
from desvelo.measure.history import History, open_history
from desvelo.measure.processes.owner import owner_of
from desvelo.report.dashboard.pages import message, overview, trends_page
from desvelo.report.html.document import policy
from desvelo.report.html.page import page

PORT = 8670
"""Where it is served unless another program is there."""
MOST_RUNS = 500
"""Runs that are looked at, the newest ones."""
_LOOPBACK = "127.0.0.1"


def serve(
    where: str,
    port: int | None,
    told: Callable[[str], None],
    allow_host: str | None = None,
) -> None:
    """Serve a history until Ctrl-C; ``told`` hears where, once it is there.

    Raises `UsageError` when there is no such history, and when the port that was asked for is
    taken, with its owner; without a port, any free one will do.
    """
    dashboard = Dashboard(where, port, allow_host=allow_host)
    try:
        told(f"dashboard: {dashboard.url} (Ctrl-C ends it)")
        dashboard.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        dashboard.server_close()


class Dashboard(ThreadingHTTPServer):
    """A server of the history on loopback, which reads the history anew for each page."""

    daemon_threads = True

    def __init__(
        self, where: str, port: int | None = None, *, allow_host: str | None = None
    ) -> None:
        if "://" not in where and not Path(where).is_file():
            raise UsageError(f"there is no history {where}; `desvelo run` makes one")
        self._where, self._allow_host = where, allow_host
        self._reading = threading.Lock()
        with self.history():
            pass  # what cannot be read is told now, and not in the browser
        try:
            super().__init__((_LOOPBACK, PORT if port is None else port), _Handler)
        except (OSError, OverflowError) as error:
            if port is not None:
                raise UsageError(_refusal(port, error)) from error
            super().__init__((_LOOPBACK, 0), _Handler)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{_LOOPBACK}:{self.server_port}/"

    def history(self) -> History:
        """Open the history."""
        return open_history(self._where, allow_host=self._allow_host)

    def answer(self, target: str) -> tuple[HTTPStatus, str]:
        """Return the page at an address."""
        parts = urlsplit(target)
        wanted = dict(parse_qsl(parts.query))
        with self._reading, self.history() as history:
            if parts.path == "/":
                return HTTPStatus.OK, overview(history.runs(MOST_RUNS), wanted, MOST_RUNS)
            if parts.path == "/trends":
                return HTTPStatus.OK, trends_page(history.runs(MOST_RUNS), wanted)
            name = unquote(parts.path.removeprefix("/runs/"))
            run = history.get(name) if parts.path.startswith("/runs/") else None
            if run is not None:
                return HTTPStatus.OK, page(run, history.before(run), home="/")
        return HTTPStatus.NOT_FOUND, message("Not found", f"There is no page {parts.path}.")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that go away."""


def _refusal(port: int, error: Exception) -> str:
    owner = owner_of(port)
    if owner:
        return f"--port {port} is taken by {owner}; name another, or none for a free one"
    reason = error.strerror if isinstance(error, OSError) else "it is no port"
    return f"--port {port} cannot be used: {reason}; name another, or none for a free one"


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard
    server_version = "desvelo"
    sys_version = ""
    timeout = 30
    """Seconds that a browser may take for its request."""

    def do_GET(self) -> None:
        if not self._is_asked_by_name():
            # A foreign page whose name was made to lead here (DNS rebinding) comes with that name.
            self._send(
                HTTPStatus.MISDIRECTED_REQUEST,
                message("Refused", "This dashboard answers only to the address it was told with."),
            )
            return
        try:
            status, text = self.server.answer(self.path)
        except DesveloError as error:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            text = message("The history cannot be read", str(error))
        self._send(status, text)

    def _is_asked_by_name(self) -> bool:
        port = self.server.server_port
        hosts = self.headers.get_all("Host") or []
        return len(hosts) == 1 and hosts[0].lower() in (f"127.0.0.1:{port}", f"localhost:{port}")

    def _send(self, status: HTTPStatus, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": f"{policy(forms=True)}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its base calls it so
        """Say nothing: each click would be a line."""
