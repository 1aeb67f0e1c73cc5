"""A running system for each test."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from vigia_reference import System

Use = Callable[[System], Awaitable[Any]]


@pytest.fixture
def with_system(target: Any, tmp_path: Path) -> Callable[[Use], Any]:
    """Return a function that starts a system, lets a coroutine function use it, and stops it.

    ``target`` is the adapter that ``--target`` names, so that planted defects are checked too.
    """

    def run(use: Use) -> Any:
        async def whole() -> Any:
            system = target.system(port=0, database_path=str(tmp_path / "vigia.db"))
            await system.start()
            try:
                return await use(system)
            finally:
                await system.stop()

        return asyncio.run(whole())

    return run
