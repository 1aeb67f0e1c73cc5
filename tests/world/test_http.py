"""Unmodified aiohttp servers and clients inside the world."""

import asyncio
import random

import aiohttp
import pytest
from aiohttp import web

from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import make_policy
from desvelo.world import World


async def serve(handlers, host="127.0.0.1", port=0, **options):
    """Start a server with ``handlers`` by path; return its runner and its port."""
    app = web.Application(client_max_size=64 * 2**20)
    for path, handler in handlers.items():
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None, **options)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, site._server.sockets[0].getsockname()[1]


async def echo(request):
    return web.Response(body=await request.read())


async def hello(request):
    return web.Response(text="hello")


def run(main, **options):
    with World(**options) as world:
        return world.run(main())


def test_two_servers_answer_one_client_each_and_then_each_other():
    async def main():
        one, first = await serve({"/": hello})

        async def forward(request):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{first}/") as answer,
            ):
                return web.Response(text=await answer.text() + " again")

        other, second = await serve({"/": forward})
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.get(f"http://127.0.0.1:{second}/") as answer:
                text = await answer.text()
        await one.cleanup()
        await other.cleanup()
        return text

    assert run(main) == "hello again"


def test_a_kept_connection_is_used_again():
    async def main():
        seen = set()

        async def peer(request):
            seen.add(request.transport.get_extra_info("peername"))
            return web.Response(text="x")

        runner, port = await serve({"/": peer})
        async with aiohttp.ClientSession() as session:
            for _ in range(5):
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    await answer.read()
        await runner.cleanup()
        return seen

    assert len(run(main)) == 1


def test_a_pool_with_a_limit_opens_no_more_connections_than_that():
    async def main():
        seen = set()

        async def peer(request):
            seen.add(request.transport.get_extra_info("peername"))
            await asyncio.sleep(0.1)
            return web.Response(text="x")

        runner, port = await serve({"/": peer})

        async def get(session):
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                return await answer.text()

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=3)) as session:
            answers = await asyncio.gather(*(get(session) for _ in range(12)))
        await runner.cleanup()
        return answers, seen

    answers, seen = run(main)
    assert answers == ["x"] * 12
    assert len(seen) == 3


@pytest.mark.parametrize("capacity", [1000, 128 * 1024])
def test_bodies_larger_than_every_buffer_go_both_ways_unchanged(capacity):
    body = random.Random(1).randbytes(600_000)

    async def main():
        runner, port = await serve({"/": echo})
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.post(f"http://127.0.0.1:{port}/", data=body) as answer:
                back = await answer.read()
        await runner.cleanup()
        return back

    assert run(main, network={"capacity": capacity}) == body


def test_bodies_survive_every_cutting_of_their_messages():
    body = random.Random(2).randbytes(50_000)

    async def main(world):
        runner, port = await serve({"/": echo})
        world.deciding = True
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.post(f"http://127.0.0.1:{port}/", data=body) as answer:
                back = await answer.read()
        await runner.cleanup()
        return back

    for seed in range(40):
        policy = make_policy("mix", seed, 200)
        with World(Recorder(policy), network={"capacity": 5000}) as world:
            assert world.run(main(world)) == body


def test_a_writer_waits_while_its_reader_does_not_read():
    progress = []

    async def main():
        async def stream(request):
            response = web.StreamResponse()
            await response.prepare(request)
            for number in range(200):
                await response.write(b"x" * 10_000)
                progress.append(number)
            return response

        runner, port = await serve({"/": stream})
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                await asyncio.sleep(5)
                while_waiting = len(progress)
                total = 0
                async for chunk in answer.content.iter_chunked(4096):
                    total += len(chunk)
        await runner.cleanup()
        return while_waiting, total

    while_waiting, total = run(main)
    assert total == 2_000_000
    assert 0 < while_waiting < 120


def test_an_upload_is_held_back_by_a_handler_that_does_not_read():
    sent = []

    async def main():
        async def slow(request):
            await asyncio.sleep(5)
            sent.append("handler reads")
            return web.Response(text=str(len(await request.read())))

        async def chunks():
            for number in range(100):
                yield b"x" * 10_000
                sent.append(number)

        runner, port = await serve({"/": slow})
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.post(f"http://127.0.0.1:{port}/", data=chunks()) as answer:
                text = await answer.text()
        await runner.cleanup()
        return text

    assert run(main) == "1000000"
    assert sent.index("handler reads") < 95


def test_chunks_arrive_one_by_one_as_they_are_written():
    async def main():
        async def ticks(request):
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            for number in range(3):
                await response.write(f"tick {number}\n".encode())
                await asyncio.sleep(1)
            return response

        runner, port = await serve({"/": ticks})
        loop = asyncio.get_running_loop()
        seen = []
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                start = loop.time()
                async for line in answer.content:
                    seen.append((round(loop.time() - start), line))  # noqa: PERF401 - one answer at a time
        await runner.cleanup()
        return seen

    assert run(main) == [(0, b"tick 0\n"), (1, b"tick 1\n"), (2, b"tick 2\n")]


def test_a_client_that_expects_100_continue_is_told_to_go_on():
    async def main():
        runner, port = await serve({"/": echo})
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/", data=b"body", expect100=True) as answer,
        ):
            back = await answer.read()
        await runner.cleanup()
        return back

    assert run(main) == b"body"


def test_a_clients_time_out_fires_at_its_time_and_the_handler_is_cancelled():
    async def main():
        ended = []

        async def slow(request):
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("handler")

        runner, port = await serve({"/": slow}, handler_cancellation=True)
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
            with pytest.raises(asyncio.TimeoutError):
                await session.get(f"http://127.0.0.1:{port}/")
        took = loop.time() - start
        await asyncio.sleep(0.01)
        await runner.cleanup()
        return took, ended

    took, ended = run(main)
    assert 3 <= took < 4.1
    assert ended == ["handler"]


def test_a_server_that_shuts_down_lets_the_request_in_flight_end():
    async def main():
        async def slow(request):
            await asyncio.sleep(2)
            return web.Response(text="done")

        runner, port = await serve({"/": slow}, shutdown_timeout=10)
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/"))
            await asyncio.sleep(1)
            await runner.cleanup()
            answer = await asking
            text = await answer.text()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://127.0.0.1:{port}/")
        return text

    assert run(main) == "done"


def test_a_server_that_shuts_down_cuts_off_what_takes_too_long():
    async def main():
        async def endless(request):
            await asyncio.sleep(1000)

        runner, port = await serve({"/": endless}, shutdown_timeout=2)
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(session.post(f"http://127.0.0.1:{port}/"))
            await asyncio.sleep(1)
            await runner.cleanup()
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await asking

    run(main)


def test_files_are_served_whole_and_in_part(tmp_path):
    body = random.Random(3).randbytes(700_000)
    file = tmp_path / "file.bin"
    file.write_bytes(body)

    async def main():
        async def whole(request):
            return web.FileResponse(file)

        runner, port = await serve({"/": whole})
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                everything = await answer.read()
            part = {"Range": "bytes=1000-1999"}
            async with session.get(f"http://127.0.0.1:{port}/", headers=part) as answer:
                some = await answer.read()
        await runner.cleanup()
        return everything, some

    everything, some = run(main)
    assert everything == body
    assert some == body[1000:2000]


def test_an_idle_connection_waits_for_its_keep_alive_time_without_spinning():
    async def main():
        runner, port = await serve({"/": hello}, keepalive_timeout=75)
        connector = aiohttp.TCPConnector(keepalive_timeout=1000)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                await answer.read()
            await asyncio.sleep(70)
            still = [len(runner.server.connections)]
            await asyncio.sleep(20)
            still.append(len(runner.server.connections))
        await runner.cleanup()
        return still

    with World() as world:
        assert world.run(main()) == [1, 0]
        assert world.selector.polls < 80


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "api.example.org", "LOCALHOST"])
def test_a_server_is_reached_by_every_name(host):
    async def main():
        runner, port = await serve({"/": hello}, host="0.0.0.0")
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.get(f"http://{host}:{port}/") as answer:
                text = await answer.text()
        await runner.cleanup()
        return text

    assert run(main) == "hello"


def test_a_server_on_every_address_takes_both_families():
    async def main():
        runner, port = await serve({"/": hello}, host=None, port=8080)
        texts = []
        async with aiohttp.ClientSession() as session:
            for host in ("127.0.0.1", "[::1]", "localhost"):
                async with session.get(f"http://{host}:{port}/") as answer:
                    texts.append(await answer.text())
        await runner.cleanup()
        return texts

    assert run(main) == ["hello"] * 3


def test_closing_a_session_leaves_no_socket_behind():
    async def main(world):
        runner, port = await serve({"/": hello})
        async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                await answer.read()
        await runner.cleanup()

    with World() as world:
        world.run(main(world))
        world.settle()
        assert not world.network.sockets
        assert not world.unfinished_tasks()
        assert world.loop_exceptions == []


def test_a_websocket_carries_messages_both_ways_and_closes_cleanly():
    async def main():
        async def shout(request):
            socket = web.WebSocketResponse(heartbeat=10)
            await socket.prepare(request)
            async for message in socket:
                if message.data == "bye":
                    await socket.close(code=4000)
                    break
                await socket.send_str(message.data.upper())
            return socket

        runner, port = await serve({"/": shout})
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{port}/") as socket,
        ):
            await socket.send_str("hello")
            said = (await socket.receive()).data
            # It answers the server's heartbeat only while it receives.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await socket.receive()
            await socket.send_str("still there")
            later = (await socket.receive()).data
            await socket.send_str("bye")
            end = await socket.receive()
        await runner.cleanup()
        return said, later, end.type, end.data

    assert run(main) == ("HELLO", "STILL THERE", aiohttp.WSMsgType.CLOSE, 4000)


def test_random_schedules_of_two_servers_give_the_same_answers():
    async def main(world):
        servers = [await serve({"/": echo}), await serve({"/": echo})]
        world.deciding = True

        async def ask(number):
            port = servers[number % 2][1]
            async with aiohttp.ClientSession() as session:  # noqa: SIM117 - one request within one session
                async with session.post(f"http://127.0.0.1:{port}/", data=str(number)) as answer:
                    return await answer.text()

        answers = await asyncio.gather(*(ask(number) for number in range(4)))
        world.deciding = False
        for runner, _ in servers:
            await runner.cleanup()
        return answers

    for seed in range(60):
        with World(Recorder(make_policy("mix", seed, 200))) as world:
            assert world.run(main(world)) == ["0", "1", "2", "3"]
            assert world.loop_exceptions == []
