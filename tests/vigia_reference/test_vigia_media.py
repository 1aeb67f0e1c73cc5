"""Photos are downloaded, prepared and removed, whatever happens on the way; threads are ended."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.vigia_reference.payload_samples import completed
from vigia_reference import Settings, System
from vigia_reference.media import Media, MediaUnavailable
from vigia_reference.workers import Workers, WorkersClosed


@asynccontextmanager
async def serving(answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fetching(folder: Path, prepare=Path.read_bytes, **options) -> AsyncIterator[Media]:
    workers = Workers()
    media = Media(workers, prepare, folder=str(folder), **options)
    try:
        yield media
    finally:
        await media.close()
        await workers.close()
        assert nothing_in(folder)


def nothing_in(folder: Path) -> bool:
    return not any(folder.iterdir())


async def ten_bytes(request: web.Request) -> web.Response:
    return web.Response(body=b"0123456789")


@pytest.mark.asyncio
async def test_what_was_downloaded_is_prepared_and_removed(tmp_path):
    seen = []

    def prepare(path: Path) -> bytes:
        seen.append(path)
        return path.read_bytes()

    async with serving(ten_bytes) as url, fetching(tmp_path, prepare) as media:
        assert await media.photo(f"{url}/a.JPG?x=1") == b"0123456789"
        assert seen[0].suffix == ".jpg"
        assert not seen[0].exists()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("late.png", "took more than 0.05 s"),
        ("gone.png", "answered 404"),
        ("broken.png", "could not be read"),
        ("long.png", "is larger than 1,000 bytes"),
        ("film.mp4", "does not end in"),
    ],
)
async def test_the_reason_is_told_and_nothing_stays(name, told, tmp_path):
    async def answer(request: web.Request) -> web.Response:
        match request.match_info["name"]:
            case "late.png":
                await asyncio.sleep(1)
            case "gone.png":
                raise web.HTTPNotFound
            case "broken.png":
                request.transport.close()
        return web.Response(body=b"x" * 1001)

    async with (
        serving(answer) as url,
        fetching(tmp_path, timeout=0.05 if name == "late.png" else 5, largest=1000) as media,
    ):
        with pytest.raises(MediaUnavailable, match=told):
            await media.photo(f"{url}/{name}")


@pytest.mark.asyncio
async def test_a_photo_that_cannot_be_prepared_is_removed(tmp_path):
    def prepare(path: Path) -> None:
        raise ValueError("no photo")

    async with serving(ten_bytes) as url, fetching(tmp_path, prepare) as media:
        with pytest.raises(ValueError, match="no photo"):
            await media.photo(f"{url}/a.png")


@pytest.mark.asyncio
async def test_the_file_is_there_as_long_as_a_worker_reads_it(tmp_path):
    begun, go_on = threading.Event(), threading.Event()
    seen = []

    def prepare(path: Path) -> None:
        begun.set()
        go_on.wait(5)
        seen.append(path.read_bytes())

    async with serving(ten_bytes) as url, fetching(tmp_path, prepare) as media:
        photo = asyncio.create_task(media.photo(f"{url}/a.png"))
        await asyncio.to_thread(begun.wait, 5)
        photo.cancel()
        await asyncio.sleep(0.01)
        assert not photo.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await photo
        assert seen == [b"0123456789"]


@pytest.mark.asyncio
async def test_closing_breaks_downloads_off_and_refuses_new_ones(tmp_path):
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with serving(answer) as url, fetching(tmp_path) as media:
        photo = asyncio.create_task(media.photo(f"{url}/a.png"))
        await asyncio.sleep(0.02)
        await media.close()
        assert photo.done()
        with pytest.raises(MediaUnavailable):
            await photo
        with pytest.raises(MediaUnavailable, match="Closed"):
            await media.photo(f"{url}/a.png")


@pytest.mark.asyncio
async def test_a_few_threads_do_all_the_work_and_end():
    workers = Workers(2)
    names = await asyncio.gather(
        *[workers.run(lambda: threading.current_thread().name) for _ in range(8)]
    )
    assert set(names) <= {"workers_0", "workers_1"}
    await workers.close()
    with pytest.raises(WorkersClosed):
        await workers.run(print)
    for thread in threading.enumerate():
        if thread.name.startswith("workers_"):
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.asyncio
async def test_a_system_tells_its_listeners_once_and_takes_photos(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    settings = Settings(port=0, media_folder=str(folder), prepare=Path.read_bytes)
    heard = []
    async with serving(ten_bytes) as url, System(settings) as system, system.client() as client:
        system.listeners.subscribe(heard.append)
        system.listeners.subscribe(lambda event: 1 / 0)
        waiting = asyncio.create_task(
            system.listeners.wait_for(lambda event: event.payload["patient_code"] == "B", timeout=5)
        )
        for code, webhook in (("A", "1"), ("A", "1"), ("B", "2")):
            assert (await client.send_async(completed(code, webhook))).success
        assert (await waiting).webhook_id == "2"
        assert [event.webhook_id for event in heard] == ["1", "2"]
        assert len(system.listeners) == 2
        with pytest.raises(TimeoutError):
            await system.listeners.wait_for(lambda event: False, timeout=0.01)
        system.listeners.unsubscribe(heard.append)
        system.listeners.unsubscribe(heard.append)
        assert len(system.listeners) == 1
        assert await system.media.photo(f"{url}/a.png") == b"0123456789"
    assert nothing_in(folder)
