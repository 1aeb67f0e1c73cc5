"""What Vigía's adapter gives to the I/O phase: drawn photos as files, and the pipeline.

Needs Pillow and NumPy, so it is imported only where images are asked for.
"""

from __future__ import annotations

import asyncio
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from strategies.images import photos
from targets.drawing import drawn
from vigia_reference import Parts
from vigia_reference.images import Preprocessing, UnusableImage
from vigia_reference.media import MediaUnavailable

SHAPES = 60
"""Photos that are drawn; more files are these again."""


def image_files(seed: int, count: int, folder: Path) -> list[tuple[Path, bool]]:
    """Write so many photos into a folder; returns their paths, and whether each can be used."""
    shapes = drawn(photos(), seed, SHAPES)
    files = []
    for number in range(count):
        photo = shapes[number % len(shapes)]
        path = folder / f"{number:05}-{photo.name}"
        path.write_bytes(photo.content)
        files.append((path, photo.usable))
    return files


class Pipeline:
    """Photos as they come: downloaded from a server of this process, prepared, and removed."""

    def __init__(self, parts: Parts) -> None:
        self._folder = Path.cwd()
        self._gateway = ThreadingHTTPServer(("127.0.0.1", 0), self._handler)
        threading.Thread(target=self._gateway.serve_forever, daemon=True).start()
        self._loop = asyncio.new_event_loop()
        self._media = parts.media(parts.workers(), Preprocessing())

    def process(self, path: Path) -> bool:
        """Prepare one photo; returns whether it could be used."""
        self._folder = path.parent
        url = f"http://127.0.0.1:{self._gateway.server_port}/{quote(path.name)}"
        try:
            self._loop.run_until_complete(self._media.photo(url))
        except (UnusableImage, MediaUnavailable):
            return False
        return True

    def _handler(self, *arguments: Any) -> SimpleHTTPRequestHandler:
        return _Quiet(*arguments, directory=str(self._folder))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
