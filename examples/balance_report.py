"""A report that adds up money that never was there together: three ordered events.

The report reads one account at its start and another at its end. In between a salary must come
in, and then, for before that there is too little, be passed on. So: the report begins, the
salary, the transfer, the report ends. Each of the two needs many steps first, the report few:
nobody sees this by running it.

Under stock asyncio it takes requests that arrive at the right moments; with the order of ready
tasks lifted, it takes the right preemptions:

    desvelo explore examples/balance_report.py
    desvelo explore examples/balance_report.py --mode any-order
"""

import asyncio


class Bank:
    def __init__(self):
        self.current, self.savings = 10, 0
        self.reported = None

    async def steps(self, count):
        for _ in range(count):
            await asyncio.sleep(0)

    async def report(self):
        current = self.current
        await self.steps(5)  # the other sheets
        self.reported = current + self.savings

    async def salary(self):
        await self.steps(13)  # clearing
        self.current += 100

    async def transfer(self):
        await self.steps(14)  # the customer's limit, the list of sanctions
        if self.current >= 60:
            self.current -= 60
            self.savings += 60


def setup():
    return Bank()


def operations(bank):
    return {"report": bank.report, "salary": bank.salary, "transfer": bank.transfer}


def check(bank):
    # 10 before the salary and 110 after it, wherever the money lies.
    assert bank.reported in {10, 50, 110}, f"the report says {bank.reported}"
