"""Work handed to threads: the older settings are written last.

Each save runs in the executor, and two workers may finish in any order.

    desvelo explore examples/slow_write.py
"""

import asyncio


class Settings:
    def __init__(self):
        self.disk = None
        self.newest = 0

    def write(self, number):
        self.disk = number

    async def save(self):
        self.newest += 1
        number = self.newest
        await asyncio.sleep(0.001)  # collect what else has changed
        await asyncio.to_thread(self.write, number)


def setup():
    return Settings()


def operations(settings):
    return {"theme": settings.save, "language": settings.save}


def check(settings):
    assert settings.disk == settings.newest, f"{settings.disk} on disk, {settings.newest} wanted"
