"""A client whose answer comes just as it gives up: the next question gets the wrong answer.

The client numbers its questions so that answers find them. After a time-out it forgets the
question and uses the number again. An answer that was already under way is then taken for the
answer to the next question. It takes a server that is slow by a moment.

    desvelo explore examples/late_answer.py
"""

import asyncio


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.waiting = {}
        self.task = asyncio.create_task(self.listen())

    async def listen(self):
        while line := await self.reader.readline():
            number, _, text = line.decode().strip().partition(" ")
            waiter = self.waiting.get(int(number))
            if waiter is not None and not waiter.done():
                waiter.set_result(text)

    async def ask(self, question):
        number = len(self.waiting)
        waiter = self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self.writer.write(f"{number} {question}\n".encode())
            return await asyncio.wait_for(waiter, 0.05)
        finally:
            del self.waiting[number]


class Lobby:
    async def answer(self, reader, writer):
        while line := await reader.readline():
            await asyncio.sleep(0.01)
            writer.write(line.upper())
        writer.close()


async def setup():
    lobby = Lobby()
    lobby.server = await asyncio.start_server(lobby.answer, "127.0.0.1", 0)
    host, port = lobby.server.sockets[0].getsockname()
    lobby.client = Client(*await asyncio.open_connection(host, port))
    return lobby


def operations(lobby):
    async def talk():
        for question in ("who", "when"):
            try:
                answer = await lobby.client.ask(question)
            except TimeoutError:
                continue
            assert answer == question.upper(), f"asked {question!r}, was told {answer!r}"

    return {"talk": talk}


async def teardown(lobby):
    lobby.client.writer.close()
    await lobby.client.task
    lobby.server.close()
    await lobby.server.wait_closed()
