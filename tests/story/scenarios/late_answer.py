"""Questions over one connection: an answer that comes after its time-out is taken for the next."""

import asyncio
import contextlib


async def setup():
    async def serve(reader, writer):
        while question := await reader.readline():
            await asyncio.sleep(0.04)
            writer.write(b"answer to " + question)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 9000)
    reader, writer = await asyncio.open_connection("127.0.0.1", 9000)
    return server, reader, writer


async def ask(state, question):
    _, reader, writer = state
    writer.write(question.encode() + b"\n")
    return (await reader.readline()).decode().strip()


def operations(state):
    async def price_then_stock():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ask(state, "price"), timeout=0.05)
        answer = await ask(state, "stock")
        assert answer == "answer to stock", f"asked for stock, got {answer!r}"

    return {"price_then_stock": price_then_stock}


async def teardown(state):
    server, _, writer = state
    writer.close()
    server.close()
