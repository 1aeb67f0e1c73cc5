"""The story of a leak ends with who began what, and what nobody did about it."""

import asyncio
import functools
import re
import tempfile
import threading

import pytest

from desvelo import explore

pytestmark = pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
KEPT: list[object] = []


class Shop:
    async def setup(self):
        self.lock = asyncio.Lock()
        self.door = asyncio.Semaphore(1)
        return self

    def operations(self, state):
        return {"ask": functools.partial(type(self).ask, self)}

    async def teardown(self, state):
        pass


async def lock(shop):
    await shop.lock.acquire()
    shop.lock.release()
    await shop.lock.acquire()


async def semaphore(shop):
    await shop.door.acquire()


async def task(shop):
    KEPT.append(asyncio.create_task(asyncio.sleep(1000)))


async def coroutine(shop):
    asyncio.sleep(1)


async def file(shop):
    KEPT.append(tempfile.mkstemp())


async def thread(shop):
    threading.Thread(target=threading.Event().wait).start()


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lock, "What `ask` took at {} (`await shop.lock.acquire()`) was never released."),
        (semaphore, "What `ask` took at {} (`await shop.door.acquire()`) was never released."),
        (task, "What `ask` started at {} (`KEPT.append("),
        (coroutine, "What `ask` made at {} (`asyncio.sleep(1)`) was never awaited."),
        (file, "What `ask` made at {} (`KEPT.append(tempfile.mkstemp())`) was never deleted."),
        (thread, "What `ask` started at {} (`threading.Thread("),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_each_kind_has_its_words(ask, sentence):
    finding = explore(type("Asked", (Shop,), {"ask": ask}), max_executions=1, seed=1)
    heading, story = finding.summary(), " ".join(finding.story().split())
    assert re.search(r", made by (ask|setup\(\)) at test_leak_sentences.py:\d+ \(", heading), (
        heading
    )
    last = ask.__code__.co_firstlineno + (3 if ask is lock else 1)
    assert sentence.format(f"test_leak_sentences.py:{last}") in story, finding.story()
    ended = ask.__name__ not in ("task", "thread") or ") was never brought to its end." in story
    assert ended, finding.story()
