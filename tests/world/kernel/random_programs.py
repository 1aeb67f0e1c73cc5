"""Random programs over sockets, to compare what the simulated network does with the kernel.

A program is some clients and the servers that answer them; each end sends, reads, half-closes,
aborts and closes as it was drawn. What every end saw is written down.
"""

import asyncio
import random
import socket
import struct
from dataclasses import dataclass, field

from desvelo.schedule.decisions import Recorder
from desvelo.world import World

STEPS = ("send", "send", "read", "read", "half-close", "wait", "abort", "reset", "close", "drain")
SIZES = (1, 10, 1000, 70_000, 200_000)
ABORT = struct.pack("ii", 1, 0)


@dataclass
class Program:
    """What each end does, one script for each client and for each accepted connection."""

    clients: list
    servers: list
    raw: bool
    backlog: int
    stops: bool
    said: list = field(default_factory=list)


def drawn(seed):
    chance = random.Random(seed)

    def script(longest):
        steps = range(chance.randint(0, longest))
        return [(chance.choice(STEPS), chance.choice(SIZES)) for _ in steps]

    return Program(
        [script(6) for _ in range(chance.randint(1, 3))],
        [script(6) for _ in range(3)],
        raw=chance.random() < 0.5,
        backlog=chance.choice((1, 2, 100)),
        stops=chance.random() < 0.2,
    )


class Streams:
    """An end that uses asyncio's streams."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, size):
        self.writer.write(b"x" * size)
        await self.writer.drain()

    async def read(self, size):
        return await self.reader.read(size)

    def half_close(self):
        self.writer.write_eof()

    def close(self):
        self.writer.close()

    def abort(self):
        self.writer.transport.abort()

    def reset(self):
        end = self.writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self.abort()


class Raw:
    """An end that uses a socket and the loop's own calls."""

    def __init__(self, end):
        self.end, self.loop = end, asyncio.get_running_loop()

    async def send(self, size):
        await self.loop.sock_sendall(self.end, b"x" * size)

    async def read(self, size):
        return await self.loop.sock_recv(self.end, size)

    def half_close(self):
        self.end.shutdown(socket.SHUT_WR)

    def close(self):
        self.end.close()

    def reset(self):
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self.end.close()

    abort = close


async def follow(script, end, said, who):
    closed = False
    for step, size in script:
        try:
            match step:
                case "send":
                    await asyncio.wait_for(end.send(size), 5)
                case "read":
                    said.append((who, len(await asyncio.wait_for(end.read(size), 5))))
                case "drain":
                    while await asyncio.wait_for(end.read(1 << 16), 5):
                        said.append((who, "more"))
                case "half-close":
                    if not closed:
                        closed = (
                            True  # twice is an error in one end's kernel and not in the other's
                        )
                        end.half_close()
                case "wait":
                    await asyncio.sleep(size / 1000)
                case _:
                    getattr(end, step)()
                    return
        except TimeoutError:
            said.append((who, step, "nothing came"))
        except Exception as error:
            said.append((who, step, type(error).__name__))
            break
    end.close()


def outcome(program, decider, kernel=None):
    """Run a program; return what its ends saw, the trace, and the schedule."""
    said, served, servers = [], [], []

    async def serve(reader, writer):
        number = len(served)
        served.append(number)
        script = program.servers[number % len(program.servers)]
        await follow(script, Streams(reader, writer), said, f"server {number}")

    async def setup():
        servers.append(
            await asyncio.start_server(serve, "127.0.0.1", 8000, backlog=program.backlog)
        )

    def client(number):
        async def run():
            try:
                end = await asyncio.wait_for(connected(), 5)
            except OSError as error:
                said.append((number, type(error).__name__))
                return
            await follow(program.clients[number], end, said, f"client {number}")

        return run

    async def connected():
        if not program.raw:
            return Streams(*await asyncio.open_connection("127.0.0.1", 8000))
        end = socket.socket()
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", 8000))
        return Raw(end)

    async def stop():
        servers[0].close()

    recorder = Recorder(decider, keep_kinds=True)
    with World(recorder, trace=True, kernel=kernel, max_polls=5000) as world:
        world.call(setup)
        world.deciding = True
        started = [world.start(f"client-{n}", client(n)) for n in range(len(program.clients))]
        if program.stops:
            started.append(world.start("stop", stop))
        world.finish(started)
        world.settle()
        world.deciding = False
        said.append([str(context["message"]) for context in world.loop_exceptions])
        return said, world.trace, recorder.schedule(0)
