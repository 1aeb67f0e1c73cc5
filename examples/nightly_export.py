"""An export that is hurt by a request far into its life: two polls out of seventy.

After 50 rows the export rotates its file, and for a moment there is none. A request that asks
for progress comes when it likes, but to find this it has to come right then.

    desvelo explore examples/nightly_export.py
"""

import asyncio


class Export:
    def __init__(self):
        self.file = []
        self.done = []

    async def run(self):
        for row in range(70):
            if row == 50:
                await self.rotate()
            await asyncio.sleep(0)
            self.file.append(row)
        self.done.append(self.file)

    async def rotate(self):
        full, self.file = self.file, None
        await asyncio.sleep(0)
        self.done.append(full)
        self.file = []

    async def progress(self):
        return sum(map(len, self.done)) + len(self.file)


def setup():
    return Export()


def operations(export):
    return {"run": export.run, "progress": export.progress}


def check(export):
    assert sum(map(len, export.done)) == 70
