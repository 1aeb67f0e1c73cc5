"""Scenarios as files of their own, so that each test may change its copy."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
"""For processes that tests start: they import the project that the tests belong to."""

LOST_UPDATE = """
    import asyncio

    def setup():
        return {"balance": 0}

    def operations(account):
        async def deposit():
            seen = account["balance"]
            await asyncio.sleep(0)
            account["balance"] = seen + 1

        async def late():
            for _ in range(5):
                await asyncio.sleep(0)
            seen = account["balance"]
            await asyncio.sleep(0)
            account["balance"] = seen + 1

        return {"deposit": deposit, "late": late}

    def check(account):
        assert account["balance"] == 2, f"balance is {account['balance']}"
"""


@pytest.fixture
def write_scenario(tmp_path, monkeypatch):
    """Return a function that writes a scenario file, which the next replay loads anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name="account", text=LOST_UPDATE):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        for module in set(sys.modules) - before:
            if getattr(sys.modules[module], "__file__", "") == str(path):
                del sys.modules[module]
        return path

    yield write
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]
