"""Programs without a bug, that lean on what asyncio and TCP promise and on nothing else."""

from __future__ import annotations

import asyncio
import contextlib


class ReadyOrder:
    """Callbacks, task starts and waiters come first come, first served."""

    def setup(self):
        self.lock, self.slots = asyncio.Lock(), asyncio.Semaphore(2)
        self.queue, self.condition = asyncio.Queue(), asyncio.Condition()
        self.busy, self.level = 0, 0

    def operations(self, state):
        return {
            "callbacks": self.callbacks,
            "waiters": self.waiters,
            "hand_over": self.hand_over,
            "groups": self.groups,
            "bounded": self.bounded,
            "bounded_too": self.bounded,
        }

    async def callbacks(self):
        seen = []
        loop = asyncio.get_running_loop()
        for number in range(4):
            loop.call_soon(seen.append, number)
        tasks = [asyncio.create_task(self.add(seen, number)) for number in (4, 5, 6)]
        await asyncio.sleep(0)
        assert seen == [0, 1, 2, 3, 4, 5, 6]
        await asyncio.gather(*tasks)

    async def add(self, seen, number):
        seen.append(number)

    async def waiters(self):
        seen = []

        async def enter(number):
            async with self.lock:
                seen.append(number)
                await asyncio.sleep(0)

        async with self.lock:
            tasks = [asyncio.create_task(enter(number)) for number in range(3)]
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        assert seen == [0, 1, 2]

    async def hand_over(self):
        got = []

        async def take():
            got.append(await self.queue.get())

        takers = [asyncio.create_task(take()) for _ in range(3)]
        await asyncio.sleep(0)
        for number in range(3):
            self.queue.put_nowait(number)
        await asyncio.gather(*takers)
        assert got == [0, 1, 2]
        async with self.condition:
            asyncio.get_running_loop().call_later(0.01, lambda: asyncio.create_task(self.wake()))
            await self.condition.wait_for(lambda: self.level == 1)

    async def wake(self):
        async with self.condition:
            self.level = 1
            self.condition.notify_all()

    async def groups(self):
        async def answer(number):
            await asyncio.sleep(0.001 * (3 - number))
            return number

        assert await asyncio.gather(*map(answer, range(3))) == [0, 1, 2]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(number)) for number in range(3)]
        assert [task.result() for task in tasks] == [0, 1, 2]
        seen = []
        await asyncio.gather(*(self.later(seen, wait) for wait in (0.03, 0.01, 0.02)))
        assert seen == [0.01, 0.02, 0.03]

    async def later(self, seen, wait):
        await asyncio.sleep(wait)
        seen.append(wait)

    async def bounded(self):
        for _ in range(3):
            async with self.slots:
                self.busy += 1
                assert self.busy <= 2
                await asyncio.sleep(0.001)
                self.busy -= 1


class Deadlines:
    """Time-outs far from what they guard, jobs, cancellation that is seen to."""

    def setup(self):
        self.lock = asyncio.Lock()
        self.held = 0

    def operations(self, state):
        return {"wait": self.wait, "job": self.job, "give_up": self.give_up, "lock": self.use}

    async def wait(self):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.05, future.set_result, 1)
        assert await asyncio.wait_for(future, 10) == 1
        async with asyncio.timeout(5):
            await asyncio.sleep(0.2)

    async def job(self):
        assert await asyncio.to_thread(sum, [1, 2, 3]) == 6
        answers = await asyncio.gather(*(asyncio.to_thread(pow, 2, n) for n in range(4)))
        assert answers == [1, 2, 4, 8]

    async def give_up(self):
        task = asyncio.create_task(self.use())
        await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.02)
        except TimeoutError:
            return
        raise AssertionError("it waited for nothing and got it")

    async def use(self):
        async with self.lock:
            self.held += 1
            try:
                assert self.held == 1
                await asyncio.sleep(0.01)
            finally:
                self.held -= 1


class Framed:
    """A server that reads lines and counted bytes, however they are cut."""

    async def setup(self):
        return await asyncio.start_server(self.serve, "127.0.0.1", 0)

    async def serve(self, reader, writer):
        try:
            while head := await reader.readline():
                body = await reader.readexactly(int(head))
                writer.write(head + body[::-1])
                await writer.drain()
        finally:
            writer.close()

    def operations(self, server):
        async def call(text):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(2):
                writer.write(b"%d\n" % len(text))
                writer.write(text)
                async with asyncio.timeout(10):
                    assert await reader.readline() == b"%d\n" % len(text)
                    assert await reader.readexactly(len(text)) == text[::-1]
            writer.close()
            await writer.wait_closed()

        return {"hello": lambda: call(b"hello"), "world": lambda: call(b"the world")}

    async def teardown(self, server):
        server.close()
        await server.wait_closed()


class AnyOrder:
    """What holds in whatever order tasks run: locks exclude, queues lose nothing."""

    def setup(self):
        self.queue, self.lock, self.hits = asyncio.Queue(2), asyncio.Lock(), 0
        self.done = asyncio.Event()

    def operations(self, state):
        return {"put": self.put, "take": self.take, "one": self.hit, "two": self.hit}

    async def put(self):
        for number in range(5):
            await self.queue.put(number)
        await asyncio.wait_for(self.done.wait(), 10)

    async def take(self):
        assert [await self.queue.get() for _ in range(5)] == [0, 1, 2, 3, 4]
        await asyncio.sleep(0.01)
        self.done.set()

    async def hit(self):
        async with self.lock:
            seen = self.hits
            await asyncio.sleep(0)
            self.hits = seen + 1

    def check(self, state):
        assert self.hits == 2
