"""Each kind of resource, once left open and once given back, on the real system."""

import asyncio
import contextlib
import gc
import inspect
import multiprocessing
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web

from desvelo import leak_check
from desvelo.resources.leak import ResourceLeak

HERE = Path(__file__).name
KEPT = []
CASES = {}

pytestmark = [
    # What is left open on purpose is dropped in the end, and Python and aiohttp say so.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def everything_is_given_back_in_the_end():
    yield
    while KEPT:
        with contextlib.suppress(Exception):
            KEPT.pop()()
    gc.collect()


def case(kind):
    """Take a function that leaves something open when it is told to."""

    def register(function):
        CASES[function.__name__] = (kind, function)
        return function

    return register


def keep(resource, give_back=lambda: None):
    KEPT.append(lambda: (resource, give_back())[1])


def line_of(function):
    """Return the number of the line that is marked as the one that makes the resource."""
    lines, first = inspect.getsourcelines(function)
    [number] = [n for n, line in enumerate(lines) if "# made here" in line]
    return first + number


def leaks_of(function, *, leave):
    """Run a case in a checked block; returns what was left open."""

    async def in_loop():
        async with asyncio.timeout(20), serving() as (url, session), leak_check(grace=0.05):
            await function(leave, url, session)

    try:
        if inspect.iscoroutinefunction(function):
            asyncio.run(in_loop())
        else:
            with leak_check(grace=0.05):
                function(leave)
    except ResourceLeak as error:
        return error.leaks
    return ()


@contextlib.asynccontextmanager
async def serving():
    """A server and a session that were there before."""

    async def answer(request):
        return web.Response(text="bread")

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"bread")
            await asyncio.sleep(0.01)

    async def talk(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for _ in websocket:
            pass
        return websocket

    app = web.Application()
    app.router.add_get("/", answer)
    app.router.add_get("/talk", talk)
    app.router.add_get("/stream", stream)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        try:
            yield f"http://{host}:{port}", session
        finally:
            await runner.cleanup()


# aiohttp and httpx


@case("session")
async def session_kept(leave, url, _):
    session = aiohttp.ClientSession()  # made here
    async with session.get(url) as response:
        await response.read()
    keep(session)
    if not leave:
        await session.close()


@case("session")
async def session_dropped(leave, url, _):
    session = aiohttp.ClientSession()  # made here
    async with session.get(url) as response:
        await response.read()
    if not leave:
        await session.close()


@case("session")
async def session_in_a_cycle(leave, url, _):
    cycle = {"session": aiohttp.ClientSession()}  # made here
    cycle["self"] = cycle
    if not leave:
        await cycle["session"].close()


@case("session")
async def session_of_a_subclass(leave, url, _):
    class Session(aiohttp.ClientSession):
        pass

    session = Session()  # made here
    if not leave:
        await session.close()


@case("connector")
async def connector(leave, url, _):
    one = aiohttp.TCPConnector()  # made here
    keep(one)
    if not leave:
        await one.close()


@case("response")
async def response_not_released(leave, url, session):
    response = await session.get(f"{url}/stream")  # made here
    keep(response)
    if not leave:
        response.release()


@case("response")
async def response_dropped(leave, url, session):
    response = await session.get(f"{url}/stream")  # made here
    if not leave:
        response.close()


@case("websocket")
async def websocket(leave, url, session):
    one = await session.ws_connect(f"{url}/talk")  # made here
    keep(one)
    if not leave:
        await one.close()


@case("client")
async def client_of_httpx(leave, url, _):
    client = httpx.AsyncClient()  # made here
    await client.get(url)
    keep(client)
    if not leave:
        await client.aclose()


@case("client")
def client_of_httpx_dropped(leave):
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    client = httpx.Client(transport=transport)  # made here
    client.get("http://shop.example")
    if not leave:
        client.close()


# asyncio


@case("transport")
async def connection_of_streams(leave, url, _):
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)  # made here
    keep(writer)
    if not leave:
        writer.close()


@case("transport")
async def datagrams(leave, url, _):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(  # made here
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    keep(transport)
    if not leave:
        transport.close()


@case("transport")
async def pipe_of_asyncio(leave, url, _):
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    os.close(writing)
    file = os.fdopen(reading, "rb")  # the transport closes it
    transport, _ = await loop.connect_read_pipe(asyncio.Protocol, file)  # made here
    transport.pause_reading()
    keep(transport)
    if not leave:
        transport.close()


@case("server")
async def server_of_asyncio(leave, url, _):
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)  # made here
    keep(server)
    if not leave:
        server.close()


@case("task")
async def task_pending(leave, url, _):
    task = asyncio.create_task(asyncio.sleep(100))  # made here
    await asyncio.sleep(0)
    keep(task)
    if not leave:
        task.cancel()


async def refuse():
    raise ValueError("sold out")


@case("task")
async def task_whose_error_nobody_sees(leave, url, _):
    task = asyncio.create_task(refuse())  # made here
    await asyncio.sleep(0)
    keep(task)
    if not leave:
        task.exception()


@case("task")
async def task_whose_error_is_dropped(leave, url, _):
    task = asyncio.create_task(refuse())  # made here
    await asyncio.sleep(0)
    if not leave:
        task.exception()


@case("task")
def task_that_the_end_of_the_loop_cancels(leave):
    async def main():
        task = asyncio.create_task(asyncio.sleep(100))  # made here
        if not leave:
            task.cancel()

    asyncio.run(main())


@case("coroutine")
async def coroutine_never_awaited(leave, url, _):
    coroutine = asyncio.sleep(0)  # made here
    if not leave:
        await coroutine


async def numbers():
    yield 1
    yield 2


@case("asyncgen")
async def generator_suspended(leave, url, _):
    generator = numbers()
    await anext(generator)  # made here
    keep(generator)
    if not leave:
        await generator.aclose()


@case("loop")
def loop_not_closed(leave):
    loop = asyncio.new_event_loop()  # made here
    keep(loop, loop.close)
    if not leave:
        loop.close()


@case("lock")
async def lock_of_asyncio(leave, url, _):
    lock = asyncio.Lock()  # made here
    await lock.acquire()
    keep(lock)
    if not leave:
        lock.release()


@case("lock")
async def slot_of_asyncio(leave, url, _):
    slots = asyncio.BoundedSemaphore(5)  # made here
    await slots.acquire()
    keep(slots)
    if not leave:
        slots.release()


@case("process")
async def process_of_asyncio(leave, url, _):
    process = await asyncio.create_subprocess_exec("sleep", "60")  # made here
    keep(process, process.kill)
    if not leave:
        process.kill()
        await process.wait()


# threads and processes


@case("process")
def process_running(leave):
    process = subprocess.Popen(["sleep", "60"])  # made here
    keep(process, lambda: (process.kill(), process.wait()))
    if not leave:
        process.kill()
        process.wait()


@case("process")
def process_not_waited_for(leave):
    process = subprocess.Popen(["true"], stdout=subprocess.PIPE)  # made here
    process.stdout.read()
    process.stdout.close()
    keep(process, process.wait)
    if not leave:
        process.wait()


@case("process")
def process_of_multiprocessing(leave):
    process = multiprocessing.get_context("fork").Process(target=threading.Event().wait, args=(60,))
    process.start()  # made here
    keep(process, lambda: (process.kill(), process.join()))
    if not leave:
        process.kill()
        process.join()


@case("thread")
def thread_running(leave):
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, args=(60,))
    thread.start()  # made here
    keep(thread, lambda: (stop.set(), thread.join()))
    if not leave:
        stop.set()


@case("executor")
def executor_kept(leave):
    executor = ThreadPoolExecutor(1)  # made here
    executor.submit(int).result()
    keep(executor, executor.shutdown)
    if not leave:
        executor.shutdown(wait=False)


@case("executor")
def executor_dropped(leave):
    executor = ThreadPoolExecutor(1)  # made here
    executor.submit(int).result()
    if not leave:
        executor.shutdown()


@case("executor")
def executor_of_processes(leave):
    context = multiprocessing.get_context("fork")
    executor = ProcessPoolExecutor(1, mp_context=context)  # made here
    executor.submit(int).result()
    keep(executor, executor.shutdown)
    if not leave:
        executor.shutdown()


@case("lock")
def lock_of_threading(leave):
    lock = threading.Lock()  # made here
    lock.acquire()
    keep(lock)
    if not leave:
        lock.release()


@case("lock")
def reentrant_lock(leave):
    lock = threading.RLock()  # made here
    lock.acquire()
    keep(lock)
    if not leave:
        lock.release()


# sockets, files, databases


@case("port")
def port_still_listening(leave):
    sock = socket.create_server(("127.0.0.1", 0))  # made here
    keep(sock, sock.close)
    if not leave:
        sock.close()


@case("socket")
def socket_kept(leave):
    sock = socket.socket()  # made here
    keep(sock, sock.close)
    if not leave:
        sock.close()


@case("socket")
def socket_dropped(leave):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # made here
    if not leave:
        sock.close()


@case("file")
def file_kept(leave):
    file = open(__file__, encoding="utf-8")  # noqa: SIM115, PTH123 # made here
    keep(file, file.close)
    if not leave:
        file.close()


@case("file")
def file_kept_by_a_path(leave):
    file = Path(__file__).open("rb")  # noqa: SIM115 # made here
    keep(file, file.close)
    if not leave:
        file.close()


@case("file")
def descriptor(leave):
    number = os.open(__file__, os.O_RDONLY)  # made here
    keep(number, lambda: os.close(number))
    if not leave:
        KEPT.pop()()


@case("tempfile")
def temporary_file(leave):
    number, path = tempfile.mkstemp()  # made here
    os.close(number)
    keep(path, Path(path).unlink)
    if not leave:
        KEPT.pop()()


@case("tempfile")
def temporary_file_with_a_name(leave):
    with tempfile.NamedTemporaryFile(delete=False) as file:  # made here
        keep(file, Path(file.name).unlink)
    if not leave:
        KEPT.pop()()


@case("tempfile")
def temporary_folder(leave):
    path = tempfile.mkdtemp()  # made here
    Path(path, "inside").touch()
    keep(path, lambda: shutil.rmtree(path))
    if not leave:
        KEPT.pop()()


@case("connection")
def sqlite_in_memory(leave):
    connection = sqlite3.connect(":memory:")  # made here
    keep(connection, connection.close)
    if not leave:
        connection.close()


@case("connection")
def sqlite_on_disk_dropped(leave):
    folder = tempfile.mkdtemp()
    connection = sqlite3.connect(f"{folder}/x.db")  # made here
    shutil.rmtree(folder)
    if not leave:
        connection.close()


@case("transport")
async def stream_dropped(leave, url, session):
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())  # made here
        if not leave:
            writer.close()
        del _, writer
        await asyncio.sleep(0.01)


@case("asyncgen")
async def generator_dropped(leave, url, session):
    async def loaves():
        try:
            yield 1
        finally:
            await asyncio.sleep(9 if leave else 0)

    async for _ in loaves():  # made here
        break


# the tests


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_open_is_reported_with_the_line_that_made_it(name):
    kind, function = CASES[name]
    found = leaks_of(function, leave=True)
    assert [leak.kind for leak in found] == [kind], [leak.lines() for leak in found]
    [leak] = found
    assert re.match(rf"(\S*/)?{HERE}:{line_of(function)} in ", leak.made), leak.lines()
    assert leak.made_at[0][0] == __file__
    assert 0 <= leak.age < 20


@pytest.mark.parametrize("name", CASES)
def test_what_is_given_back_is_not_reported(name):
    _, function = CASES[name]
    assert [leak.lines() for leak in leaks_of(function, leave=False)] == []


def test_every_kind_has_a_case():
    from desvelo.resources.kinds import NAMES

    elsewhere = {"blocked", "pool", "resource"}  # test_blocked, test_databases, test_warnings
    assert {kind for kind, _ in CASES.values()} == set(NAMES) - elsewhere


def test_a_generator_that_its_loop_closes_is_not_accused():
    async def main():
        generator = numbers()
        await anext(generator)
        keep(generator)

    with leak_check():
        asyncio.run(main())


def test_what_the_engine_itself_keeps_is_not_accused():
    from desvelo.servers.launch import __file__ as engine

    names = {"socket": socket, "keep": keep}
    code = "def start():\n    sock = socket.socket()\n    keep(sock, sock.close)"
    exec(compile(code, engine, "exec"), names)
    with leak_check():
        names["start"]()
