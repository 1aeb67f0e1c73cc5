"""Optimistic locking that tries once more and then gives up without a word.

One conflict is what the author thought of. Two others that save in the wrong moments make it
fail twice: two deviations from the plain order, no fewer.

    desvelo explore examples/one_retry.py
"""

import asyncio


class Document:
    def __init__(self):
        self.version = 0
        self.lines = []

    async def load(self):
        await asyncio.sleep(0)
        return self.version, list(self.lines)

    def save(self, version, lines):
        if version != self.version:
            return False
        self.version, self.lines = version + 1, lines
        return True

    async def append(self, line):
        for _ in range(2):
            version, lines = await self.load()
            for _ in range(3):
                await asyncio.sleep(0)  # spelling
            if self.save(version, [*lines, line]):
                return

    async def stamp(self, line):
        version, lines = await self.load()
        self.save(version, [*lines, line])


def setup():
    return Document()


def operations(document):
    return {
        "ana": lambda: document.stamp("ana"),
        "berta": lambda: document.stamp("berta"),
        "carla": lambda: document.append("carla"),
    }


def check(document):
    assert "carla" in document.lines, f"carla's line was lost: {document.lines}"
