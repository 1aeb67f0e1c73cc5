"""What is installed, whether a small world runs, and the planted defects."""

from __future__ import annotations

import asyncio
import importlib
import platform
import textwrap
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import desvelo
from desvelo.errors import TargetError

NEEDED = ("desvelo", "hypothesis", "aiohttp", "pytest", "pytest-timeout", "time-machine")
OPTIONAL = {
    "fastapi": "ASGI applications",
    "uvicorn": "ASGI servers",
    "httpx": "httpx clients",
    "websockets": "web sockets",
    "asyncpg": "PostgreSQL",
    "psycopg": "PostgreSQL",
    "redis": "Redis",
    "httptools": "load",
    "hdrhistogram": "load",
    "psutil": "processes measured",
    "rich": "progress bars",
    "pytest-xdist": "several processes at once",
    "pytest-asyncio": "async tests",
}
COLUMNS = ("name", "kind", "where", "breaks", "operations", "deviations")


def examine() -> tuple[str, bool]:
    """Return a report for people, and whether everything that is needed works."""
    lines = [f"Python {platform.python_version()} on {platform.system()}"]
    healthy = True
    for package in NEEDED:
        version = _version(package)
        healthy = healthy and version is not None
        lines.append(f"  {package:<16}{version or 'MISSING'}")
    lines.append("Optional:")
    for package, what in OPTIONAL.items():
        lines.append(f"  {package:<16}{_version(package) or '-':<12}{what}")
    world = try_a_world()
    lines.append(f"A small world: {world}")
    return "\n".join(lines), healthy and world == WORKS


WORKS = "runs, and an hour passes in no time"


def try_a_world() -> str:
    """Run a server, a client and an hour of sleep in a world, and say how that went.

    >>> try_a_world()
    'runs, and an hour passes in no time'
    """
    from desvelo.world import World

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def talk() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 8000)
        reader, writer = await asyncio.open_connection("127.0.0.1", 8000)
        writer.write(b"hello\n")
        answer = await reader.readline()
        writer.close()
        server.close()
        await asyncio.sleep(3600)
        return answer

    try:
        with World() as world:
            answer = world.run(talk())
    except Exception as error:
        return f"does not run: {type(error).__name__}: {error}"
    return WORKS if answer == b"hello\n" else f"a server answered {answer!r} to b'hello\\n'"


def defects_table(module: str = "vigia_reference.defects") -> str:
    """Return the table of planted defects; raises `TargetError` when there is none to show."""
    try:
        defects = importlib.import_module(module).DEFECTS
    except (ImportError, AttributeError) as error:
        raise TargetError(f"the planted defects cannot be listed: {error}") from error
    listed = list(defects.values() if isinstance(defects, Mapping) else defects)
    return f"{_defects(listed)}\n{len(listed)} planted defects"


def _defects(defects: Iterable[Any]) -> str:
    rows = [[_cell(getattr(defect, column, "")) for column in COLUMNS] for defect in defects]
    # All but the text of what breaks are short.
    wide = [max([len(title), *(len(row[i]) for row in rows)]) for i, title in enumerate(COLUMNS)]
    wide[3] = min(wide[3], 60)
    lines = [_line(COLUMNS, wide), _line(["-" * size for size in wide], wide)]
    for row in rows:
        parts = textwrap.wrap(row[3], wide[3]) or [""]
        lines.append(_line([*row[:3], parts[0], *row[4:]], wide))
        lines += [_line(["", "", "", part, "", ""], wide) for part in parts[1:]]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(str(item) for item in value)
    return " ".join(str(getattr(value, "value", value)).split())


def _line(cells: Iterable[str], wide: list[int]) -> str:
    return "  ".join(cell.ljust(size) for cell, size in zip(cells, wide, strict=True)).rstrip()


def _version(package: str) -> str | None:
    if package == "desvelo":
        return desvelo.__version__  # also where it runs without being installed
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
