"""Every planted leak shows on kernel sockets, where the correct system gives everything back."""

import asyncio
import contextlib
import gc
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.vigia_reference.payload_samples import completed
from vigia_reference import Parts, Settings, System
from vigia_reference.defects import get
from vigia_reference.defects.leaks import LEAK_DEFECTS

Symptom = Callable[[Parts, Path], Awaitable[bool]]


class Elsewhere:
    """A server of somebody else that refuses webhooks at length and has one photo."""

    def __init__(self) -> None:
        self.answering = 0
        self.url = ""

    async def refuse(self, request: web.Request) -> web.StreamResponse:
        self.answering += 1
        answer = web.StreamResponse(status=400)
        await answer.prepare(request)
        await answer.write(bytes(2**24))
        self.answering -= 1
        return answer

    async def photo(self, request: web.Request) -> web.Response:
        return web.Response(body=b"photo")


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    other = Elsewhere()
    app = web.Application()
    app.router.add_post("/webhook", other.refuse)
    app.router.add_get("/photo.png", other.photo)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    other.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield other
    finally:
        await runner.cleanup()


def open_sessions() -> int:
    found = [
        one for one in gc.get_objects() if isinstance(one, aiohttp.ClientSession) and not one.closed
    ]
    for one in found:
        one.detach()
    return len(found)


async def a_session_is_dropped_open(parts: Parts, _: Path) -> bool:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        async with System(Settings(port=0), parts) as system, system.client() as client:
            await client.send_async(completed())
        gc.collect()
    return any("Unclosed client session" in str(warning.message) for warning in seen)


async def an_answer_is_never_read(parts: Parts, _: Path) -> bool:
    async with elsewhere() as other:
        client = parts.client(f"{other.url}/webhook")
        assert (await client.send_async(completed())).status_code == 400
        left = other.answering
        await client.close()
        return left > 0


async def one_client_closes_another(parts: Parts, _: Path) -> bool:
    async with (
        System(Settings(port=0), parts) as system,
        system.client() as first,
        system.client() as second,
    ):
        await first.close()
        return not (await second.send_async(completed())).success


async def a_task_is_left(parts: Parts, _: Path) -> bool:
    async with System(Settings(port=0), parts) as system, system.client() as client:
        await client.send_async(completed())
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    return bool(left)


async def a_refused_name_leaves_a_session(parts: Parts, _: Path) -> bool:
    system = System(Settings(port=0), parts)
    open_sessions()
    try:
        await system.media.photo("http://127.0.0.1:9/film.gif")
    except Exception:
        # Still inside: the error's traceback keeps what was lost from being collected.
        return open_sessions() > 0
    return False


async def a_broken_photo_stays(parts: Parts, folder: Path) -> bool:
    def prepare(path: Path) -> None:
        raise ValueError(path)

    settings = Settings(port=0, media_folder=str(folder), prepare=prepare)
    async with elsewhere() as other, System(settings, parts) as system:
        with pytest.raises(ValueError, match="vigia"):
            await system.media.photo(f"{other.url}/photo.png")
    return left_in(folder)


def left_in(folder: Path) -> bool:
    left = list(folder.iterdir())
    for path in left:
        path.unlink()
    return bool(left)


async def threads_outlive_the_system(parts: Parts, folder: Path) -> bool:
    settings = Settings(port=0, media_folder=str(folder), prepare=Path.read_bytes)
    async with elsewhere() as other, System(settings, parts) as system:
        await system.media.photo(f"{other.url}/photo.png")
    for thread in threading.enumerate():
        if thread.name.startswith("workers"):
            await asyncio.to_thread(thread.join, 0.1)
    return any(one.name.startswith("workers") for one in threading.enumerate())


async def a_listener_stays(parts: Parts, _: Path) -> bool:
    system = System(Settings(port=0), parts)
    with contextlib.suppress(TimeoutError):
        await system.listeners.wait_for(lambda event: True, timeout=0)
    return len(system.listeners) > 0


async def a_cancelled_start_keeps_the_port(parts: Parts, _: Path) -> bool:
    for turns in range(40):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = System(Settings(port=port), parts).server
        starting = asyncio.create_task(server.start())
        for _turn in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if not starting.cancelled():
            await server.stop()
        elif listening(port):
            return True
    return False


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def two_listen_on_one_port(parts: Parts, _: Path) -> bool:
    async with System(Settings(port=0), parts) as system:
        second = System(Settings(port=system.server.port), parts)
        try:
            await second.start()
        except OSError:
            return False
        await second.stop()
        return True


SYMPTOMS: dict[str, Symptom] = {
    "session-per-call": a_session_is_dropped_open,
    "response-not-released": an_answer_is_never_read,
    "connector-shared-after-close": one_client_closes_another,
    "task-started-and-dropped": a_task_is_left,
    "session-lost-in-failed-step": a_refused_name_leaves_a_session,
    "image-kept-on-exception": a_broken_photo_stays,
    "thread-pool-per-request": threads_outlive_the_system,
    "listener-list-grows": a_listener_stays,
    "port-kept-when-start-fails": a_cancelled_start_keeps_the_port,
    "second-server-on-the-port": two_listen_on_one_port,
}


@pytest.mark.parametrize("name", SYMPTOMS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_leak_shows(name, tmp_path):
    async def quietly() -> bool:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        return await SYMPTOMS[name](get(name).parts(Parts()), tmp_path)

    assert asyncio.run(quietly())
    gc.collect()


@pytest.mark.parametrize("name", SYMPTOMS)
def test_the_correct_system_gives_everything_back(name, tmp_path):
    assert not asyncio.run(SYMPTOMS[name](Parts(), tmp_path))


def test_every_leak_is_shown():
    assert {one.name for one in LEAK_DEFECTS} == set(SYMPTOMS)
