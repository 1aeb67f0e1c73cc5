"""Other servers and transports: uvicorn, websockets, TLS, IPv6 and Unix sockets."""

import asyncio
import os
import signal
import ssl

import aiohttp
import httpx
import pytest
import trustme
import uvicorn
import websockets
from aiohttp import web
from fastapi import FastAPI, WebSocket

from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import make_policy
from desvelo.world import World


def run(main, seed=None):
    recorder = Recorder(make_policy("mix", seed, 150)) if seed is not None else None
    with World(recorder) as world:
        world.deciding = recorder is not None
        result = world.run(main())
        assert world.loop_exceptions == []
        assert world.refusals == []
        return result


async def started(app, **options):
    config = uvicorn.Config(app, log_config=None, loop="none", **options)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - time is what is tested
        await asyncio.sleep(0.01)
    return server, serving


def application():
    app = FastAPI()

    @app.post("/double")
    async def double(body: dict[str, int]):
        await asyncio.sleep(0.1)
        return {"n": 2 * body["n"]}

    @app.get("/plain")
    def plain():
        return {"thread": True}

    @app.websocket("/shout")
    async def shout(socket: WebSocket):
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text.upper())

    return app


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_uvicorn_and_fastapi_answer_httpx(seed):
    context = ssl.create_default_context()

    async def main():
        server, serving = await started(application(), port=8000)
        async with httpx.AsyncClient(verify=context, base_url="http://127.0.0.1:8000") as client:
            asked = [client.post("/double", json={"n": n}) for n in range(3)]
            answers = [answer.json()["n"] for answer in await asyncio.gather(*asked)]
            plain = (await client.get("/plain")).json()
        server.should_exit = True
        await serving
        return answers, plain

    assert run(main, seed) == ([0, 2, 4], {"thread": True})


def test_httpx_uses_a_kept_connection_again():
    async def main():
        ports = set()
        app = FastAPI()

        @app.middleware("http")
        async def note(request, call_next):
            ports.add(request.client.port)
            return await call_next(request)

        server, serving = await started(app, port=8000)
        async with httpx.AsyncClient(base_url="http://127.0.0.1:8000") as client:
            for _ in range(4):
                await client.get("/")
        server.should_exit = True
        await serving
        return ports

    assert len(run(main)) == 1


def test_uvicorn_shuts_down_when_it_is_told_by_a_signal():
    real = signal.getsignal(signal.SIGTERM)

    async def main():
        _, serving = await started(application(), port=8000)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await serving

    run(main)
    assert signal.getsignal(signal.SIGTERM) is real


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_websockets_of_uvicorn_and_of_the_websockets_package(seed):
    async def main():
        server, serving = await started(application(), port=8000, ws="websockets-sansio")
        async with websockets.connect("ws://127.0.0.1:8000/shout") as socket:
            await socket.send("hello")
            first = await socket.recv()
            await asyncio.sleep(100)
            await socket.send("still there")
            second = await socket.recv()
        server.should_exit = True
        await serving
        return first, second

    assert run(main, seed) == ("HELLO", "STILL THERE")


def test_a_websockets_server_tells_all_its_clients():
    async def main():
        clients = set()

        async def join(socket):
            clients.add(socket)
            await socket.wait_closed()

        async with websockets.serve(join, "127.0.0.1", 8000):
            ends = [await websockets.connect("ws://127.0.0.1:8000") for _ in range(5)]
            await asyncio.sleep(0.1)
            websockets.broadcast(clients, "news")
            heard = [await end.recv() for end in ends]
            for end in ends:
                await end.close()
        return heard

    assert run(main) == ["news"] * 5


@pytest.fixture(scope="module")
def certificates():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def aiohttp_server(**options):
    async def echo(request):
        return web.Response(body=await request.read())

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    return runner


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_tls_goes_over_simulated_sockets(certificates, seed):
    server, client = certificates
    body = bytes(range(256)) * 1500

    async def main():
        runner = await aiohttp_server()
        await web.TCPSite(runner, "localhost", 8443, ssl_context=server).start()
        async with aiohttp.ClientSession() as session:
            url = "https://localhost:8443/"
            async with session.post(url, data=body, ssl=client) as answer:
                back = await answer.read()
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.post("https://example.org:8443/", data=body, ssl=client)
        await asyncio.sleep(1)
        await runner.cleanup()
        return back

    with World(Recorder(make_policy("mix", seed or 0, 150))) as world:
        world.deciding = seed is not None
        assert world.run(main()) == body


def test_tls_streams_of_asyncio_and_starting_tls_later(certificates):
    server, client = certificates

    async def main():
        async def answer(reader, writer):
            await reader.readline()
            writer.write(b"go ahead\n")
            await writer.drain()
            await writer.start_tls(server)
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 4000)
        reader, writer = await asyncio.open_connection("127.0.0.1", 4000)
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client, server_hostname="localhost")
        writer.write(b"secret\n")
        said = await reader.readline()
        writer.close()
        listening.close()
        return said

    assert run(main) == b"SECRET\n"


def test_the_trace_of_an_encrypted_program_is_the_same_in_every_run(certificates):
    server, client = certificates

    async def main():
        runner = await aiohttp_server()
        await web.TCPSite(runner, "localhost", 8443, ssl_context=server).start()
        async with aiohttp.ClientSession() as session:
            url = "https://localhost:8443/"
            async with session.post(url, data=b"x" * 1000, ssl=client) as answer:
                await answer.read()
        await runner.cleanup()

    digests = set()
    for _ in range(12):
        with World(Recorder(make_policy("random_walk", 5, 150)), trace=True) as world:
            world.deciding = True
            world.run(main())
            digests.add(world.trace.digest())
    assert len(digests) == 1


def test_aiohttp_over_the_sixth_version():
    async def main():
        runner = await aiohttp_server()
        await web.TCPSite(runner, "::1", 8000).start()
        async with aiohttp.ClientSession() as session:
            backs = []
            for host in ("[::1]", "localhost"):
                async with session.post(f"http://{host}:8000/", data=b"six") as answer:
                    backs.append(await answer.read())
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post("http://127.0.0.1:8000/", data=b"four")
        await runner.cleanup()
        return backs

    assert run(main) == [b"six", b"six"]


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_aiohttp_over_a_unix_socket_makes_no_file(tmp_path, seed):
    path = str(tmp_path / "server.sock")

    async def main():
        runner = await aiohttp_server()
        await web.UnixSite(runner, path).start()
        connector = aiohttp.UnixConnector(path)
        async with aiohttp.ClientSession(connector=connector) as session:  # noqa: SIM117 - one request within one session
            async with session.post("http://any.name/", data=b"x" * 200_000) as answer:
                back = await answer.read()
        await runner.cleanup()
        return len(back), os.path.exists(path)  # noqa: ASYNC240, PTH110 - a look at one name

    assert run(main, seed) == (200_000, False)


def test_unix_servers_of_asyncio_start_again_at_their_path():
    async def main():
        async def answer(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        said = []
        for _ in range(2):
            async with await asyncio.start_unix_server(answer, "/run/desvelo.sock"):
                with pytest.raises(OSError, match=r"[Aa]ddress .*already in use"):
                    await asyncio.start_unix_server(answer, "/run/desvelo.sock")
                reader, writer = await asyncio.open_unix_connection("/run/desvelo.sock")
                writer.write(b"hello\n")
                said.append(await reader.read())
                writer.close()
        with pytest.raises(FileNotFoundError):
            await asyncio.open_unix_connection("/run/desvelo.sock")
        return said

    assert run(main) == [b"hello\n", b"hello\n"]
