"""The webhook server."""

import asyncio
import contextlib
import hmac
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web

from vigia_reference.codes import InvalidPatientCode
from vigia_reference.events import EventRejected, EventType, parse_event
from vigia_reference.handlers import Handlers
from vigia_reference.outlast import outlast
from vigia_reference.rate_limit import Admission, RateLimiter
from vigia_reference.records import PatientRecords
from vigia_reference.store import PatientStore
from vigia_reference.tokens import Tokens

SERVER_VERSION = "1.0.0"
DEFAULT_PORT = 8000

AT_ONCE = 0.001
"""Seconds that aiohttp is given to end what is left; it takes 0 for as long as you like."""

logger = logging.getLogger(__name__)

_Responder = Callable[[web.Request], Awaitable[web.Response]]


class Refused(Exception):
    """A request that is answered with an error before it is looked at any further."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class WebhookServer:
    """Serves ``POST /webhook`` and a few pages to look at.

    With ``port=0`` the system picks a free port; `port` tells which after `start`.  *limiter* is
    `None` when requests are not limited.  With *tokens*, one that is alive is as good as the API
    key, which is exchanged for one by ``POST /token``.  *shutdown_timeout* is how many seconds
    `stop` gives to requests in progress.
    """

    def __init__(
        self,
        handlers: Handlers,
        store: PatientStore,
        records: PatientRecords,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        api_key: str | None = None,
        limiter: RateLimiter | None = None,
        tokens: Tokens | None = None,
        shutdown_timeout: float = 10.0,
    ) -> None:
        self._handlers = handlers
        self._store = store
        self._records = records
        self._host = host
        self._port = port
        self._api_key = None if api_key is None else api_key.encode()
        self._limiter = limiter
        self._tokens = tokens
        self._shutdown_timeout = shutdown_timeout
        self._hurried = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        # The tasks of connections that have sent a request.
        self._connections: dict[asyncio.Task[Any], None] = {}

    @property
    def port(self) -> int:
        """The port that is listened on, or that will be."""
        return self._port

    @property
    def url(self) -> str:
        """Where the server is, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listen.  Raises `OSError` when the port is taken, `RuntimeError` when started before."""
        if self._runner is not None:
            raise RuntimeError(f"The server at {self.url} has been started already")
        self._hurried.clear()
        app = web.Application()
        app.add_routes(
            [
                web.post("/webhook", partial(self._serve, self._webhook)),
                web.post("/token", partial(self._serve, self._token)),
                web.get("/health", partial(self._serve, self._health)),
                web.get("/webhook/events", partial(self._serve, self._events)),
                web.get("/patients", partial(self._serve, self._patients)),
                web.get("/patients/{code:[^/]+}", partial(self._serve, self._patient)),
                web.get(
                    "/patients/{code:[^/]+}/detections", partial(self._serve, self._detections)
                ),
                web.get(
                    "/patients/{code:[^/]+}/detections/latest", partial(self._serve, self._latest)
                ),
            ]
        )
        self._runner = web.AppRunner(
            app,
            access_log=None,
            # A client that has gone is not worth a read; what it wrote is finished all the same.
            handler_cancellation=True,
            shutdown_timeout=self._shutdown_timeout,
        )
        try:
            await self._runner.setup()
            protocols = self._runner.server
            assert protocols is not None
            await self._listen(protocols)
        except (Exception, asyncio.CancelledError):
            await outlast(asyncio.ensure_future(self.stop()))
            raise

    async def _listen(self, protocols: web.Server) -> None:
        # Known before it listens: whoever is cancelled in `start_serving` has a listener to close.
        self._listener = await asyncio.get_running_loop().create_server(
            protocols, self._host, self._port, start_serving=False
        )
        await self._listener.start_serving()
        self._port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Finish the requests in progress and close everything.  Stopping twice is fine.

        From the first moment on nobody is let in: whoever connects is refused, and connections
        without a request are closed.  Requests in progress are given `shutdown_timeout` seconds,
        or the time until `hurry` is called; then they are cancelled, and their connections
        aborted.
        """
        runner, self._runner = self._runner, None
        listener, self._listener = self._listener, None
        if runner is None:
            return
        if listener is not None:
            await self._accept_no_more(listener)
        protocols = runner.server
        if protocols is not None:
            protocols.pre_shutdown()
            await self._drain()
            await protocols.shutdown(AT_ONCE)
        await runner.cleanup()
        # Connections that broke earlier are unknown to the runner, but may still be unwinding.
        if self._connections:
            await asyncio.wait(list(self._connections))
        # A closed transport tells its protocol in the next iteration.
        await asyncio.sleep(0)

    def hurry(self) -> None:
        """Let a `stop` in progress, or the next one, not wait for requests in progress."""
        self._hurried.set()

    async def _drain(self) -> None:
        """Let the requests in progress end, as long as there is time."""
        hurried = asyncio.create_task(self._hurried.wait(), name="hurried")
        try:
            async with asyncio.timeout(self._shutdown_timeout):
                while self._connections and not hurried.done():
                    await asyncio.wait(
                        [*self._connections, hurried], return_when=asyncio.FIRST_COMPLETED
                    )
        except TimeoutError:
            pass
        finally:
            hurried.cancel()

    @staticmethod
    async def _accept_no_more(listener: asyncio.Server) -> None:
        # Closing the listener in the iteration after it has accepted a connection makes asyncio
        # drop that connection without closing it (python/cpython#109564).  So first it stops
        # accepting, and is closed when the last connection has reached its protocol and the task
        # that serves it has begun; the runner does not see it before.
        with contextlib.suppress(NotImplementedError):
            for listening in listener.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        listener.close()

    async def _serve(self, respond: _Responder, request: web.Request) -> web.Response:
        self._note_connection(request.task)
        try:
            if self._limiter is not None:
                await self._admit(self._limiter, request)
            return await respond(request)
        except Refused as refusal:
            return _failure(refusal.status, refusal.message, refusal.headers)
        except EventRejected as rejection:
            return _failure(rejection.status, rejection.message)
        except InvalidPatientCode as error:
            return _failure(400, str(error))
        except (web.RequestPayloadError, ConnectionError):
            return _failure(400, "Request body could not be read")
        except web.HTTPException:
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return _failure(500, "Internal server error")

    async def _webhook(self, request: web.Request) -> web.Response:
        self._authorize(request)
        event = parse_event(await request.read())
        data = await self._handlers.handle(event)
        return _json(
            f'{{"success": true, "message": "Event processed successfully", "data": {data}}}'
        )

    async def _token(self, request: web.Request) -> web.Response:
        if self._tokens is None:
            raise Refused(404, "Tokens are not in use")
        # By the key alone: a token does not prolong itself.
        self._check_key(_bearer(request))
        token = self._tokens.issue()
        return _object(
            {
                "token": token.text,
                "expires_in": token.lifetime,
                "expires_at": token.expires_at.isoformat(),
            }
        )

    async def _health(self, request: web.Request) -> web.Response:
        now = datetime.now(UTC).isoformat()
        return _object({"status": "healthy", "timestamp": now, "version": SERVER_VERSION})

    async def _events(self, request: web.Request) -> web.Response:
        counts = self._handlers.counts()
        return _object({"events": [event.value for event in EventType], "handlers": counts})

    async def _patients(self, request: web.Request) -> web.Response:
        self._authorize(request)
        patients = await self._store.list_patients(request.query.get("code"))
        return _object({"patients": patients, "count": len(patients)})

    async def _patient(self, request: web.Request) -> web.Response:
        self._authorize(request)
        patient = await self._records.patient(request.match_info["code"])
        if patient is None:
            raise Refused(404, "Patient not found")
        return _object(patient)

    async def _detections(self, request: web.Request) -> web.Response:
        self._authorize(request)
        code = request.match_info["code"]
        detections = await self._store.get_patient_detections(code)
        return _object({"patient_code": code, "detections": detections, "count": len(detections)})

    async def _latest(self, request: web.Request) -> web.Response:
        self._authorize(request)
        latest = await self._records.latest_detection(request.match_info["code"])
        if latest is None:
            raise Refused(404, "No detection found")
        return _object(latest)

    async def _admit(self, limiter: RateLimiter, request: web.Request) -> None:
        admission = await limiter.admit(request.remote or "unknown", request.path)
        if admission is not None and not admission.admitted:
            raise Refused(429, "Rate limit exceeded", _rate_headers(admission))

    def _authorize(self, request: web.Request) -> None:
        if self._api_key is None:
            return
        key = _bearer(request)
        if self._tokens is None or not self._tokens.is_alive(key):
            self._check_key(key)

    def _check_key(self, key: str) -> None:
        known = self._api_key or b""
        if not hmac.compare_digest(key.encode(errors="surrogateescape"), known):
            raise Refused(401, "Invalid API key")

    def _note_connection(self, task: asyncio.Task[Any]) -> None:
        if task not in self._connections:
            self._connections[task] = None
            task.add_done_callback(self._connections.pop)


def _bearer(request: web.Request) -> str:
    header = request.headers.get("Authorization")
    if header is None:
        raise Refused(401, "Authorization header required")
    scheme, _, key = header.partition(" ")
    if scheme != "Bearer" or not key:
        raise Refused(401, "Invalid authorization format")
    return key


def _rate_headers(admission: Admission) -> dict[str, str]:
    seconds = max(math.ceil(admission.reset_in), 1)
    return {
        "Retry-After": str(seconds),
        "X-RateLimit-Limit": str(admission.limit),
        "X-RateLimit-Remaining": str(admission.remaining),
        "X-RateLimit-Reset": str(math.ceil(time.time()) + seconds),
    }


def _failure(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return _json(json.dumps({"success": False, "message": message}), status, headers)


def _object(content: dict[str, Any]) -> web.Response:
    return _json(json.dumps(content))


def _json(text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
