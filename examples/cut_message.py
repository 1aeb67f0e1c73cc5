"""A server that takes one `read` for one message: true on every idle machine, and not promised.

TCP carries bytes, not messages. `read(1024)` returns what has arrived, and what is sent at
once may arrive in two pieces.

    desvelo explore examples/cut_message.py
"""

import asyncio
import json


class Sensors:
    def __init__(self):
        self.values = {}

    async def receive(self, reader, writer):
        while message := await reader.read(1024):
            reading = json.loads(message)
            self.values[reading["sensor"]] = reading["value"]
            writer.write(b"ok\n")
        writer.close()


async def setup():
    sensors = Sensors()
    sensors.server = await asyncio.start_server(sensors.receive, "127.0.0.1", 0)
    return sensors


def operations(sensors):
    async def report(sensor, value):
        host, port = sensors.server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(json.dumps({"sensor": sensor, "value": value}).encode())
        await reader.readline()
        writer.close()
        await writer.wait_closed()

    return {"door": lambda: report("door", 1), "oven": lambda: report("oven", 230)}


def check(sensors):
    assert sensors.values == {"door": 1, "oven": 230}, sensors.values


async def teardown(sensors):
    sensors.server.close()
    await sensors.server.wait_closed()
