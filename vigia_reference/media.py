"""Photos that arrive by WhatsApp: downloaded to a file, prepared for the detector, removed."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from vigia_reference.outlast import outlast
from vigia_reference.workers import Workers

DOWNLOAD_TIMEOUT = 30.0
"""Seconds that one download may take in all."""

LARGEST_DOWNLOAD = 16 * 2**20
"""Bytes; Twilio sends no larger media."""

SUFFIXES = (".jpg", ".jpeg", ".png")

_PIECE = 2**16


class MediaUnavailable(Exception):
    """A photo that could not be had; the message says why."""


class Media:
    """Fetches photos and has them prepared by *prepare*, a plain function, in the *workers*.

    Files are made in *folder*, or where the system keeps temporary files, and none stays longer
    than the call that made it.

    >>> async def example():
    ...     workers = Workers()
    ...     media = Media(workers, prepare=lambda path: path.read_bytes())
    ...     try:
    ...         return await media.photo("http://127.0.0.1:9/photo.gif")
    ...     except MediaUnavailable as error:
    ...         return str(error)
    ...     finally:
    ...         await media.close()
    ...         await workers.close()
    >>> asyncio.run(example())
    'http://127.0.0.1:9/photo.gif does not end in .jpg, .jpeg or .png'
    """

    def __init__(
        self,
        workers: Workers,
        prepare: Callable[[Path], Any],
        *,
        folder: str | None = None,
        timeout: float = DOWNLOAD_TIMEOUT,
        largest: int = LARGEST_DOWNLOAD,
    ) -> None:
        self._workers = workers
        self._prepare = prepare
        self._folder = folder
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._largest = largest
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        # One for each call of `photo` that has not ended.
        self._under_way: dict[asyncio.Future[None], None] = {}

    async def photo(self, url: str) -> Any:
        """Download a photo and return what *prepare* makes of it.

        Raises `MediaUnavailable`, or what *prepare* raises.
        """
        if self._closed:
            raise MediaUnavailable("Closed")
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way[ended] = None
        try:
            async with self.download(url) as path:
                return await self._workers.run(self._prepare, path)
        finally:
            del self._under_way[ended]
            ended.set_result(None)

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Path]:
        """Have what *url* names in a file until the block ends.  Raises `MediaUnavailable`."""
        path = self._new_file(suffix_of(url))
        try:
            await self._fetch(self._open_session(), url, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Break off what is being downloaded and close the session.  Closing twice is fine."""
        self._closed = True
        session, self._session = self._session, None
        try:
            if session is not None:
                await session.close()
        finally:
            await outlast(*self._under_way)

    def open(self) -> None:
        """Accept calls again after `close`."""
        self._closed = False

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def _fetch(self, session: aiohttp.ClientSession, url: str, path: Path) -> None:
        try:
            async with session.get(url, timeout=self._timeout, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise MediaUnavailable(f"{url} answered {answer.status}")
                await self._write(url, answer, path)
        except TimeoutError as error:
            raise MediaUnavailable(f"{url} took more than {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise MediaUnavailable(f"{url} could not be read: {error!r}") from error
        except RuntimeError as error:
            # What aiohttp raises when the session was closed under a download.
            if not session.closed:
                raise
            raise MediaUnavailable("Closed") from error

    async def _write(self, url: str, answer: aiohttp.ClientResponse, path: Path) -> None:
        written = 0
        async for piece in answer.content.iter_chunked(_PIECE):
            written += len(piece)
            if written > self._largest:
                raise MediaUnavailable(f"{url} is larger than {self._largest:,} bytes")
            await self._workers.run(_append, path, piece)

    def _new_file(self, suffix: str) -> Path:
        descriptor, name = tempfile.mkstemp(prefix="vigia-", suffix=suffix, dir=self._folder)
        os.close(descriptor)
        return Path(name)


def suffix_of(url: str) -> str:
    """The suffix that a photo's file needs.  Raises `MediaUnavailable` when it is none of ours.

    >>> suffix_of("http://media.example/a/B.JPG?size=1")
    '.jpg'
    """
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    if suffix not in SUFFIXES:
        raise MediaUnavailable(f"{url} does not end in .jpg, .jpeg or .png")
    return suffix


def _append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)
