"""A task that is cancelled while it opens a connection leaves no connection behind."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from desvelo import explore
from vigia_reference.clinical.drivers import aiosqlite


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_cancelled_anywhere_while_it_opens(tmp_path: Path, journal: aiosqlite.Journal) -> None:
    class Openings:
        cancellable = True

        def setup(self) -> Path:
            for file in tmp_path.iterdir():
                file.unlink()
            return tmp_path / "clinical.db"

        def operations(self, path: Path) -> dict[str, Callable[[], Coroutine[None, None, None]]]:
            async def visit() -> None:
                connection = await aiosqlite.connect(str(path), journal)
                await connection.close()

            return {"first": visit, "second": visit}

        async def check(self, path: Path) -> None:
            await asyncio.sleep(1)  # an abandoned thread ends

    finding = explore(Openings, max_executions=150, seed=1)
    assert finding is None, finding.story()
