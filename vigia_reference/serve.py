"""The system as a server process of its own: ``python -m vigia_reference.serve --port 8000``.

It prints one line of JSON when it is ready (``{"url": ..., "pid": ...}``), and serves until SIGTERM
or SIGINT; then it finishes the requests in progress and ends with status 0.
"""

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import sys
from dataclasses import replace

from vigia_reference.database import IN_MEMORY, Database
from vigia_reference.defects import DEFECTS
from vigia_reference.server import DEFAULT_PORT
from vigia_reference.system import Parts, Settings, System


async def serve(settings: Settings, parts: Parts) -> None:
    """Serve until a signal asks for the end.  Raises `OSError` or `sqlite3.Error` at the start."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    async with System(settings, parts) as system:
        print(json.dumps({"url": system.url, "pid": os.getpid()}), flush=True)  # noqa: T201
        await asked.wait()


def on_disk(database: type[Database], synchronous: str) -> type[Database]:
    """Return a database whose file is fit for a server: commits are appended to a log.

    With *synchronous* ``full`` what was acknowledged outlives a power cut, at the price of waiting
    for the disk each time; with ``normal`` it outlives the process, however that ends.
    """

    class OnDisk(database):  # type: ignore[valid-type, misc]
        def _connect(self) -> None:
            super()._connect()
            assert self._connection is not None
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")

    return OnDisk


def main(arguments: list[str] | None = None) -> int:
    """Return 0 after a signal, 3 when the server cannot be started."""
    parser = argparse.ArgumentParser(prog="python -m vigia_reference.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 for a free one")
    parser.add_argument("--database", default=IN_MEMORY, help="a file; in memory otherwise")
    parser.add_argument(
        "--synchronous",
        default="full",
        choices=["full", "normal"],
        help="until when a commit waits: for the disk, or for the operating system",
    )
    parser.add_argument("--api-key", help="what requests have to bring along")
    parser.add_argument("--defect", choices=sorted(DEFECTS), help="a planted defect to switch on")
    chosen = parser.parse_args(arguments)
    settings = Settings(chosen.host, chosen.port, chosen.api_key, database_path=chosen.database)
    parts = Parts() if chosen.defect is None else DEFECTS[chosen.defect].parts(Parts())
    parts = replace(parts, database=on_disk(parts.database, chosen.synchronous))
    try:
        asyncio.run(serve(settings, parts))
    except (OSError, sqlite3.Error) as error:
        print(f"{settings.host}:{settings.port}: {error}", file=sys.stderr)  # noqa: T201
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
