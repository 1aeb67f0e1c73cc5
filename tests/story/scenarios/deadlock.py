"""Two locks, taken in one order by one and in the other order by the other."""

import asyncio


class Ward:
    def __init__(self):
        self.beds = asyncio.Lock()
        self.staff = asyncio.Lock()
        self.admitted = 0


async def setup():
    return Ward()


def operations(ward):
    async def admit():
        async with ward.beds:
            await asyncio.sleep(0.01)
            async with ward.staff:
                ward.admitted += 1

    async def rota():
        await asyncio.sleep(0.05)
        async with ward.staff:
            await asyncio.sleep(0.01)
            async with ward.beds:
                return ward.admitted

    return {"admit": admit, "rota": rota}
