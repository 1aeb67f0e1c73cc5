"""Two deposits into one account, with a pause between reading and writing."""

import asyncio


class Account:
    def __init__(self):
        self.balance = 0


def setup():
    return Account()


def operations(account):
    async def deposit():
        seen = account.balance
        await asyncio.sleep(0)
        account.balance = seen + 1

    async def late():
        for _ in range(5):
            await asyncio.sleep(0)
        seen = account.balance
        await asyncio.sleep(0)
        account.balance = seen + 1

    return {"deposit": deposit, "late": late}


def check(account):
    assert account.balance == 2, f"the balance is {account.balance}, not 2"
