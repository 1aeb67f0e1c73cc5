"""The scenario that the tests of findings use, and how processes of theirs find the project."""

import os
from pathlib import Path

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
