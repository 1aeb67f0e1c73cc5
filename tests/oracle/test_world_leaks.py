"""In the simulated world all that an execution opens is accounted for at its end."""

import asyncio
import contextlib
import functools
import inspect
import re
import socket
import sqlite3
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web
from hypothesis import settings

from desvelo import ConcurrentMachine, explore, operation
from desvelo.errors import TargetError, UsageError
from desvelo.execution import Settings, execute
from desvelo.exploration import young_garbage_only
from desvelo.failure import Leak
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo
from desvelo.world import boundary
from desvelo.world.boundary import Boundary

URL = "http://127.0.0.1:8000"
KEPT: dict[str, object] = {}
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore:coroutine:RuntimeWarning", "ignore:Inheritance class"
)
"""What a leak makes Python and its libraries complain of."""


class Shop:
    """A server that answers, streams without an end in sight, and talks over a websocket."""

    def __init__(self, use=None):
        if use is not None:
            self.use = use

    async def setup(self):
        app = web.Application()
        app.router.add_get("/", self.answer)
        app.router.add_get("/large", self.large)
        app.router.add_get("/talk", self.talk)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 8000).start()
        return self

    async def answer(self, request):
        return web.Response(text="bread")

    async def large(self, request):
        return web.Response(body=bytes(1_000_000))

    async def talk(self, request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(message.data)
        return websocket

    def operations(self, state):
        return {"one": lambda: self.use(self)}

    async def teardown(self, state):
        await self.runner.cleanup()


def leak_of(scenario, **options):
    with Boundary(), young_garbage_only():
        return execute(Scenario(scenario), Fifo(), Settings(**options)).failure


# one leak of each kind


async def session(shop):
    KEPT["bread"] = aiohttp.ClientSession()  # leaks
    await (await KEPT["bread"].get(URL)).text()


async def session_dropped(shop):
    session = aiohttp.ClientSession()  # leaks
    await (await session.get(URL)).text()


async def session_in_a_cycle(shop):
    shop.cycle = session = aiohttp.ClientSession()  # leaks
    session.itself = session
    del shop.cycle


async def session_of_a_subclass(shop):
    class Own(aiohttp.ClientSession):
        pass

    shop.own = Own()  # leaks


async def connector(shop):
    shop.connector = aiohttp.TCPConnector()  # leaks
    async with aiohttp.ClientSession(connector=shop.connector, connector_owner=False) as session:
        await (await session.get(URL)).text()


async def response(shop):
    async with aiohttp.ClientSession() as session:
        shop.response = await session.get(f"{URL}/large")  # leaks


async def websocket(shop):
    shop.session = session = aiohttp.ClientSession()
    shop.websocket = await session.ws_connect(f"{URL}/talk")  # leaks
    await session.connector.close()
    session.detach()


async def client(shop):
    shop.client = httpx.AsyncClient()  # leaks
    await shop.client.get(URL)


async def server(shop):
    shop.server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 9000)  # leaks


async def transport(shop):
    shop.streams = await asyncio.open_connection("127.0.0.1", 8000)  # leaks


async def transport_dropped(shop):
    await asyncio.open_connection("127.0.0.1", 8000)  # leaks


async def port(shop):
    shop.socket = socket.socket()  # leaks
    shop.socket.bind(("127.0.0.1", 9000))
    shop.socket.listen()


async def plain_socket(shop):
    socket.socket()  # leaks


async def task(shop):
    shop.task = asyncio.create_task(asyncio.Event().wait())  # leaks


async def task_dropped(shop):
    async def wait():
        await asyncio.get_running_loop().create_future()

    asyncio.create_task(wait())  # noqa: RUF006 # leaks


async def task_whose_error_nobody_saw(shop):
    async def fail():
        raise ValueError

    shop.task = asyncio.create_task(fail())  # leaks


async def coroutine(shop):
    shop.answer(None)  # leaks


async def asyncgen(shop):
    async def loaves():
        yield 1
        yield 2

    shop.loaves = loaves()
    async for _ in shop.loaves:  # leaks
        break


async def asyncgen_dropped(shop):
    async def loaves():
        try:
            yield 1
        finally:
            await asyncio.Event().wait()

    async for _ in loaves():  # leaks
        break


async def thread(shop):
    threading.Thread(target=threading.Event().wait).start()  # leaks


async def executor(shop):
    shop.pool = ThreadPoolExecutor(1)  # leaks
    shop.pool.submit(int)


async def executor_of_the_loop(shop):
    await asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), int)  # leaks


async def tempfile_(shop):
    with tempfile.NamedTemporaryFile(delete=False):  # leaks
        pass


async def tempfile_folder(shop):
    tempfile.mkdtemp()  # leaks


async def file(shop):
    shop.file = open(__file__)  # noqa: ASYNC230, PTH123, SIM115 # leaks


async def file_dropped(shop):
    open(__file__)  # noqa: ASYNC230, PTH123, SIM115 # leaks


async def connection(shop):
    shop.database = sqlite3.connect(":memory:")  # leaks


async def connection_dropped(shop):
    sqlite3.connect(":memory:")  # leaks


async def lock(shop):
    shop.lock = asyncio.Lock()  # leaks
    await shop.lock.acquire()


async def lock_of_threads(shop):
    shop.lock = threading.Lock()  # leaks
    shop.lock.acquire()


async def lock_with_slots(shop):
    shop.slots = asyncio.BoundedSemaphore(2)  # leaks
    await shop.slots.acquire()


LEAKS = (
    *(session, session_dropped, session_in_a_cycle, session_of_a_subclass, connector, response),
    *(
        websocket,
        client,
        server,
        transport,
        transport_dropped,
        asyncgen_dropped,
        port,
        plain_socket,
        task,
        task_dropped,
    ),
    *(task_whose_error_nobody_saw, coroutine, asyncgen, thread, executor, executor_of_the_loop),
    *(tempfile_, tempfile_folder, file, file_dropped, connection, connection_dropped),
    *(lock, lock_of_threads, lock_with_slots),
)


@pytest.mark.parametrize("use", LEAKS, ids=lambda use: use.__name__)
def test_what_is_left_open_is_told_with_its_line_its_maker_and_its_keeper(use):
    lines, first = inspect.getsourcelines(use)
    [line] = [first + number for number, text in enumerate(lines) if "# leaks" in text]
    kind = {"plain": "socket", "tempfile": "tempfile"}.get(
        use.__name__.partition("_")[0], use.__name__.partition("_")[0]
    )
    with Boundary():
        found = [leak_of(Shop(use)) for _ in range(3)]
    # What the first execution imports may cost it virtual time.
    assert str(found[1].error) == str(found[2].error)
    for failure in found:
        place = rf"\S*test_world_leaks\.py:{line} in {use.__name__}"
        assert failure.kind == "leak"
        assert failure.site.partition(" made at ")[0] == kind
        assert re.search(rf" made at {place}$", failure.site), failure.site
        assert f", made by one at {failure.site.partition(' made at ')[2]}" in str(failure.error)
        assert len([text for text in failure.details if not text.startswith(" ")]) == 1
    assert leak_of(Shop(use), leaks=False) is None
    KEPT.clear()


def test_it_says_who_keeps_it_and_how_old_it_is_in_virtual_time():
    async def use(shop):
        KEPT["bread"] = aiohttp.ClientSession()
        await asyncio.sleep(7)

    found = leak_of(Shop(use))
    KEPT.clear()
    assert "7.00 s ago" in found.details[1]
    assert found.details[2] == f"  kept by the module {__name__}, as KEPT['bread']"


def test_all_leaks_of_an_execution_are_one_finding():
    async def use(shop):
        await session(shop)
        await lock(shop)

    found = leak_of(Shop(use))
    KEPT.clear()
    assert [text.partition(":")[0] for text in found.details if text[0] != " "] == [
        "session",
        "lock",
    ]
    assert "(and 1 more)" in str(found.error)
    assert found.site.startswith("session made at ")


def test_a_task_of_a_factory_of_the_targets_has_the_same_name_in_each_execution():
    async def use(shop):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coro, **more: asyncio.Task(coro, loop=loop, **more))
        shop.task = asyncio.create_task(asyncio.Event().wait())
        loop.set_task_factory(None)

    assert re.search(r"'Task-\d+'", str(leak_of(Shop(use)).error))
    assert str(leak_of(Shop(use)).error) == str(leak_of(Shop(use)).error)


# what is let pass


def test_what_is_left_open_on_purpose_needs_a_kind_and_a_reason():
    class Beating(Shop):
        allow_leaks = {"task": "the heartbeat outlives teardown on purpose"}  # noqa: RUF012

    assert leak_of(Beating(task)) is None
    assert leak_of(Beating(lock)) is not None
    for given, said in (
        ({"taks": "why not"}, "did you mean 'task'?"),
        ({"task": " "}, "'task' needs a reason"),
        (["task"], "a dict from kind to reason"),
        ({"process": "a child"}, "there is no kind 'process'; the kinds are"),
    ):
        Beating.allow_leaks = given
        with pytest.raises(UsageError, match="allow_leaks") as caught:
            Scenario(Beating)
        assert said in str(caught.value)


def test_what_was_there_before_or_has_no_teardown_is_not_judged():
    before = ThreadPoolExecutor(1)

    class Plain:
        def operations(self, state):
            return {"one": self.one}

        async def one(self):
            self.lock = asyncio.Lock()
            await self.lock.acquire()

    async def use(shop):
        await asyncio.get_running_loop().run_in_executor(before, int)

    assert leak_of(Plain) is None
    assert leak_of(Shop(use)) is None
    before.shutdown()


def test_a_file_that_was_closed_is_not_accused_when_sqlite_gets_its_number(tmp_path):
    async def use(shop):
        path = tmp_path / "shop.db"
        path.write_bytes(b"")
        shop.database = sqlite3.connect(path)
        shop.database.execute("CREATE TABLE IF NOT EXISTS bread (n)")

    assert [text.partition(":")[0] for text in leak_of(Shop(use)).details if text[0] != " "] == [
        "connection"
    ]


def test_a_module_that_is_imported_in_an_execution_may_keep_what_it_makes(tmp_path, monkeypatch):
    code = "import threading\nLOCK = threading.Lock()\nLOCK.acquire()\n"
    (tmp_path / "baker.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))

    async def use(shop):
        import baker  # noqa: F401

    assert leak_of(Shop(use)) is None


def test_a_temporary_file_that_leaked_does_not_stand_in_the_way_of_the_next_execution():
    made = []

    async def use(shop):
        made.append(tempfile.mkdtemp())

    assert leak_of(Shop(use)) is not None
    assert leak_of(Shop(use)) is not None
    assert made[0] == made[1]
    assert not Path(made[0]).exists()


# other findings


def test_a_port_in_use_is_told_with_who_holds_it():
    async def use(shop):
        await asyncio.start_server(lambda r, w: None, "127.0.0.1", 8000)

    found = leak_of(Shop(use))
    assert found.kind == "error"
    said = "127.0.0.1:8000 is held by a socket that listens, made by setup() at "
    assert said in found.details[0]
    assert "test_world_leaks.py:" in found.details[0]

    class Twice(Shop):
        async def setup(self):
            await super().setup()
            return await super().setup()

    class Meanwhile(Shop):
        def operations(self, state):
            return {"first": self.listen, "second": self.listen}

        async def listen(self):
            async with await asyncio.start_server(lambda r, w: None, "127.0.0.1", 9000):
                await asyncio.sleep(1)

    found = leak_of(Meanwhile())
    said = r"9000 is held by a socket that listens, made by first at \S+ in listen, 0.00 s before"
    assert re.search(said, found.details[0]), "also when the port is free again at the end"

    with pytest.raises(TargetError, match=r"is held by a socket that listens, made by setup\(\)"):
        leak_of(Twice())


class Leaky:
    def operations(self, state):
        return {"look": self.look, "fetch": self.fetch, "wait": self.look}

    async def look(self):
        await asyncio.sleep(0)

    async def fetch(self):
        session = aiohttp.ClientSession()
        with contextlib.suppress(aiohttp.ClientError):
            await session.get("http://127.0.0.1:80/")

    def teardown(self, state):
        pass


def test_a_leak_is_shrunk_told_and_replayed():
    finding = explore(Leaky, max_seconds=10, seed=1)
    assert finding.operations == ["fetch"]
    assert "session = aiohttp.ClientSession()" in finding.story()
    assert "What `fetch` opened at " in finding.story()
    assert finding.replay().identical


def test_what_a_module_keeps_for_all_examples_of_a_machine_is_no_leak_of_the_first_one():
    class Lasting(ConcurrentMachine):
        @operation()
        async def use(self):
            if "file" not in KEPT:
                KEPT["file"] = open(__file__)  # noqa: ASYNC230, PTH123, SIM115

        async def shutdown(self):
            pass

    class Leaking(Lasting):
        @operation()
        async def use_again(self):
            KEPT["bread"] = aiohttp.ClientSession()

    few = settings(max_examples=5, deadline=None, database=None)
    for machine in (Lasting, Leaking):
        machine.TestCase.settings = few
    Lasting.TestCase("runTest").debug()
    with pytest.raises(Leak, match="ClientSession never closed"):
        Leaking.TestCase("runTest").debug()
    KEPT.pop("file").close()
    KEPT.clear()


# nothing is changed


def test_classes_are_as_before_afterwards_and_objects_are_collected_at_once():
    before = [vars(aiohttp.ClientSession).get("__del__"), aiohttp.ClientSession.__init__, open]
    gone = []

    async def use(shop):
        import weakref

        async with aiohttp.ClientSession() as session:
            seen = weakref.ref(session)
            assert isinstance(session, aiohttp.ClientSession)
        del session
        gone.append(seen() is None)

    assert leak_of(Shop(use)) is None
    assert gone == [True]
    after = [vars(aiohttp.ClientSession).get("__del__"), aiohttp.ClientSession.__init__, open]
    assert before == after


def test_a_target_may_replace_sockets_and_sessions(monkeypatch):
    class OwnSession(aiohttp.ClientSession):
        pass

    monkeypatch.setattr(aiohttp, "ClientSession", OwnSession)

    async def use(shop):
        with monkeypatch.context() as patch:
            simulated = socket.socket
            patch.setattr(socket, "socket", functools.partial(simulated))
            async with aiohttp.ClientSession() as session:
                await (await session.get(URL)).text()
            if shop.leaks:
                aiohttp.ClientSession()

    for leaks in (False, True):
        Shop.leaks = leaks
        assert (leak_of(Shop(use)) is not None) == leaks


def test_what_cannot_be_watched_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    monkeypatch.delattr(asyncio.locks, "Semaphore")

    async def use(shop):
        pass

    for _ in range(2):
        with Boundary():
            assert leak_of(Shop(use)) is None
    assert capsys.readouterr().err.count("asyncio.locks is not watched for leaks") == 1
    boundary.COMPANIONS[0].refusals.clear()


# plain use that is properly closed


async def use_aiohttp(shop):
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/large", "/"):
            async with session.get(URL + path) as response:
                await response.read()
        await asyncio.gather(*(fetch(session) for _ in range(3)))
        async with session.ws_connect(f"{URL}/talk") as talk:
            await talk.send_str("bread")
            await talk.receive_str()


async def use_a_websocket_that_the_server_ends(shop):
    async def never(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return websocket

    app = web.Application()
    app.router.add_get("/", never)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 9000).start()
    async with aiohttp.ClientSession() as session, session.ws_connect("http://127.0.0.1:9000/"):
        await asyncio.sleep(0.1)
        await runner.cleanup()


async def fetch(session):
    async with session.get(URL) as response:
        await response.read()


async def use_httpx(shop):
    async with httpx.AsyncClient() as client:
        await asyncio.gather(*(client.get(URL) for _ in range(3)))
        async with client.stream("GET", f"{URL}/large") as response:
            async for _ in response.aiter_bytes():
                pass


async def use_databases(shop):
    import aiosqlite

    with tempfile.TemporaryDirectory() as folder:
        async with aiosqlite.connect(f"{folder}/shop.db") as database:
            await database.execute("CREATE TABLE shop (bread)")
            await database.commit()
        with contextlib.closing(sqlite3.connect(f"{folder}/shop.db")) as database:
            database.execute("SELECT * FROM shop").fetchall()


async def use_redis(shop):
    import fakeredis

    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        await redis.set("bread", 1)
        async with redis.pipeline() as pipeline:
            await pipeline.incr("bread").get("bread").execute()
        async with redis.pubsub() as channel:
            await channel.subscribe("news")
    with fakeredis.FakeRedis(server=server) as redis:
        assert redis.get("bread") == b"2"


async def use_the_standard_library(shop):
    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(2) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, int) for _ in range(3)))
    await asyncio.to_thread(int)
    async with await asyncio.start_server(serve, "127.0.0.1", 9000):
        reader, writer = await asyncio.open_connection("127.0.0.1", 9000)
        writer.write(b"bread\n")
        assert await reader.readline() == b"bread\n"
        writer.close()
        await writer.wait_closed()
    lock, slots = asyncio.Lock(), asyncio.Semaphore(2)
    async with lock, slots, asyncio.timeout(1):
        await asyncio.sleep(0)
        with open(__file__) as file:  # noqa: ASYNC230, PTH123
            file.readline()
    thread = threading.Thread(target=int)
    thread.start()
    await asyncio.to_thread(thread.join)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.sleep(9), 0.01)

    async def loaves():
        yield 1
        yield 2

    async for _ in loaves():
        break


async def use_websockets(shop):
    websockets = pytest.importorskip("websockets")

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with (
        websockets.serve(echo, "127.0.0.1", 9000),
        websockets.connect("ws://127.0.0.1:9000") as connection,
    ):
        await connection.send("bread")
        assert await connection.recv() == "bread"


USES = (
    *(use_aiohttp, use_httpx, use_databases, use_redis, use_the_standard_library),
    *(use_websockets, use_a_websocket_that_the_server_ends),
)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_plain_use_that_is_closed_is_not_accused(use):
    class Both(Shop):
        def operations(self, state):
            return {"one": lambda: use(self), "none": lambda: asyncio.sleep(0)}

    finding = explore(Both, max_executions=12, max_seconds=20, seed=2)
    assert finding is None, finding.story()
