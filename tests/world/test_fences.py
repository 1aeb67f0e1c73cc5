"""What may not leave the world, and that everything is put back after it."""

import asyncio
import contextlib
import gc
import http.client
import os
import random
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import types
import urllib.request
import uuid
from socket import create_connection
from socket import socket as imported_socket
from time import monotonic as imported_monotonic
from time import sleep as imported_sleep

import pytest

from desvelo import explore
from desvelo.errors import DesveloError, OutsideWorldError, TargetError, UnsupportedInWorld
from desvelo.world import World
from desvelo.world.boundary import Boundary


def ask_with_urllib():
    urllib.request.urlopen("http://example.org/", timeout=1)


def ask_with_http_client():
    http.client.HTTPConnection("example.org").request("GET", "/")


def connect_blocking():
    socket.socket().connect(("127.0.0.1", 1))


def create_a_connection():
    create_connection(("127.0.0.1", 1))


def open_an_imported_socket():
    imported_socket()


def wrap_a_socket():
    ssl.create_default_context().wrap_socket(socket.socket(), server_hostname="example.org")


def start_subprocess():
    subprocess.run(["true"], check=True)


def start_shell():
    os.system("true")


def spawn():
    os.posix_spawn("/bin/true", ["true"], {})


def replace_process():
    os.execv("/bin/true", ["true"])


def make_another_loop():
    asyncio.new_event_loop()


def poll_the_kernel():
    select.select([], [], [])


def wait_for_a_thread():
    threading.Event().wait()


def set_an_alarm():
    signal.alarm(1)


def send_a_datagram():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def read_a_file_object():
    socket.socketpair()[0].makefile()


def use_multiprocessing():
    import multiprocessing

    multiprocessing.get_context("spawn").Process(target=int).start()


@pytest.mark.parametrize(
    ("action", "call"),
    [
        (ask_with_urllib, "blocking socket.connect()"),
        (ask_with_http_client, "blocking socket.connect()"),
        (connect_blocking, "blocking socket.connect()"),
        (create_a_connection, "blocking socket.connect()"),
        (open_an_imported_socket, "socket.socket()"),
        (wrap_a_socket, "ssl.SSLSocket()"),
        (start_subprocess, "subprocess.Popen()"),
        (start_shell, "os.system()"),
        (os.fork, "os.fork()"),
        (spawn, "os.posix_spawn()"),
        (replace_process, "os.execv()"),
        (make_another_loop, "asyncio.new_event_loop()"),
        (poll_the_kernel, "select.select()"),
        (wait_for_a_thread, "waiting for the Event"),
        (set_an_alarm, "signal.alarm()"),
        (send_a_datagram, "SOCK_DGRAM"),
        (read_a_file_object, "socket.makefile()"),
        (use_multiprocessing, "Process.start()"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_would_leave_the_world_names_the_call_and_the_users_line(action, call):
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are compared

    async def main():
        # An imported name was bound before the fence was put up: look it up again.
        (os.fork if call == "os.fork()" else action)()

    with World() as world:
        with pytest.raises((UnsupportedInWorld, OutsideWorldError)) as caught:
            world.run(main())
        assert world.refusals
    assert call in str(caught.value)
    assert "test_fences.py:" in str(caught.value)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names are compared


def test_subprocesses_of_asyncio_are_refused():
    async def main():
        await asyncio.create_subprocess_exec("true")

    with World() as world, pytest.raises(UnsupportedInWorld, match="create_subprocess_exec"):
        world.run(main())


def test_a_real_descriptor_is_not_watched():
    one, other = socket.socketpair()

    async def main():
        asyncio.get_running_loop().add_reader(one.fileno(), int)

    with World() as world, pytest.raises(UnsupportedInWorld, match=r"descriptor \d+ .*test_fences"):
        world.run(main())
    one.close()
    other.close()


def test_a_refusal_is_remembered_when_the_target_swallows_it():
    async def main():
        with contextlib.suppress(Exception):
            start_shell()

    with World() as world:
        world.run(main())
        assert "os.system()" in str(world.refusals[0])


WATCHED = [
    (module, name)
    for module in (asyncio, os, random, select, signal, socket, threading, time, uuid)
    for name in sorted(vars(module))
]
CLASSES = [
    socket.socket,
    threading.Thread,
    threading.Condition,
    subprocess.Popen,
    random.Random,
    asyncio.Queue,
    asyncio.Lock,
    asyncio.StreamWriter,
    asyncio.SelectorEventLoop.__mro__[1],
]


def snapshot():
    state = {(module.__name__, name): vars(module).get(name) for module, name in WATCHED}
    for cls in CLASSES:
        state |= {(cls, name): value for name, value in vars(cls).items()}
    here = sys.modules[__name__]
    state |= {("here", name): value for name, value in vars(here).items() if "imported" in name}
    return state


def differences(before):
    after = snapshot()
    return [key for key in before.keys() | after.keys() if before.get(key) is not after.get(key)]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_everything_is_put_back_whatever_happens(error):
    before, state = snapshot(), random.getstate()

    async def main():
        random.random()
        if error is not None:
            raise error

    def attempt():
        with World() as world:
            world.run(main())

    if error is None:
        attempt()
    else:
        with pytest.raises(error):
            attempt()
    assert differences(before) == []
    assert random.getstate() == state
    assert abs(time.time() - os.stat("/proc/self").st_mtime) < 3600 * 24  # noqa: PTH116 - no path is built


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["WorldLoop", "SharedChance", "Jobs"])
def test_everything_is_put_back_when_the_set_up_of_a_world_fails(monkeypatch, place, error):
    before, state = snapshot(), random.getstate()

    def fail(*arguments):
        raise error

    monkeypatch.setattr(f"desvelo.world.world.{place}", fail)
    with pytest.raises(error):
        World()
    assert differences(before) == []
    assert random.getstate() == state
    assert Boundary._depth == 0


def test_everything_is_put_back_when_the_boundary_cannot_be_set_up(monkeypatch):
    before = snapshot()

    def fail():
        raise KeyboardInterrupt

    monkeypatch.setattr("desvelo.world.order.replacements", fail)
    with pytest.raises(KeyboardInterrupt):
        World()
    assert differences(before) == []
    assert Boundary._depth == 0


def test_an_interrupt_in_the_middle_of_restoring_does_not_stop_it():
    before = snapshot()

    class Stubborn:
        interrupted = False

        def __delattr__(self, name):
            if not Stubborn.interrupted:
                Stubborn.interrupted = True
                raise KeyboardInterrupt
            super().__delattr__(name)

    stubborn = Stubborn()
    boundary = Boundary()
    boundary.__enter__()
    Boundary._set(stubborn, "value", 1)
    with pytest.raises(KeyboardInterrupt):
        boundary.__exit__()
    assert differences(before) == []


def test_another_thread_keeps_real_time_and_real_sockets_meanwhile():
    seen = {}
    inside, done = threading.Event(), threading.Event()

    def outside():
        inside.wait(30)
        try:
            start = time.monotonic()
            time.sleep(0.02)
            seen["slept"] = time.monotonic() - start
            seen["wall"] = time.time()
            seen["random"] = os.urandom(8)
            with socket.socket() as real, socket.socket() as client:
                real.bind(("127.0.0.1", 0))
                real.listen()
                client.connect(real.getsockname())
                seen["fd"] = real.fileno()
            thread = threading.Thread(target=seen.setdefault, args=("thread", True))
            thread.start()
            thread.join()
            seen["child"] = subprocess.run(["true"], check=False).returncode
        finally:
            done.set()

    other = threading.Thread(target=outside, daemon=True)
    other.start()

    async def main():
        inside.set()
        while not done.is_set():  # noqa: ASYNC110 - time is what is tested
            await asyncio.sleep(100)
        return time.time()

    with World(max_polls=10**9) as world:
        wall = world.run(main())
    other.join()
    assert 0.02 <= seen["slept"] < 5
    assert abs(seen["wall"] - time.time()) < 60
    assert abs(wall - time.time()) > 60
    assert 0 < seen["fd"] < 100_000
    assert seen["thread"]
    assert seen["child"] == 0


def test_a_thread_that_calls_into_the_loop_is_refused():
    caught = []

    async def main():
        loop = asyncio.get_running_loop()

        def call():
            try:
                loop.call_soon_threadsafe(int)
            except UnsupportedInWorld as error:
                caught.append(error)
            finally:
                tried.set()

        asked.append(call)
        ready.set()
        while not tried.is_set():  # noqa: ASYNC110 - time is what is tested
            await asyncio.sleep(1)

    asked, ready, tried = [], threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: (ready.wait(30), asked[0]()), daemon=True)
    other.start()
    with World(max_polls=10**9) as world:
        world.run(main())
    other.join()
    assert "from another thread" in str(caught[0])


class Stopwatch:
    clock = time.monotonic
    pause = staticmethod(time.sleep)

    def read(self, clock=time.monotonic, *, pause=time.sleep):
        before = clock()
        pause(10)
        return clock() - before


def read_default(clock=time.perf_counter):
    return clock()


def test_names_imported_before_the_world_are_followed():
    async def main():
        start = imported_monotonic()
        imported_sleep(100)  # noqa: ASYNC251 - the mistake that is looked at
        watch = Stopwatch()
        first = watch.clock()
        watch.pause(10)
        return (
            round(imported_monotonic() - start),
            round(watch.clock() - first),
            round(watch.read()),
            read_default() - asyncio.get_running_loop().time() < 1,
        )

    real = time.perf_counter()
    with World() as world:
        assert world.run(main()) == (110, 10, 10, True)
    assert time.perf_counter() - real < 5
    assert Stopwatch.clock is time.monotonic
    assert read_default.__defaults__ == (time.perf_counter,)


def test_a_module_imported_inside_the_world_keeps_no_stand_in(tmp_path, monkeypatch):
    (tmp_path / "imported_later.py").write_text(
        "from time import monotonic, time\nfrom socket import socket\nfrom os import urandom\n"
        "def now(clock=monotonic):\n    return clock()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("imported_later", None)

    async def main():
        import imported_later

        await asyncio.sleep(500)
        return imported_later.monotonic(), imported_later.now(), imported_later.time()

    with World() as world:
        one, other, wall = world.run(main())
    module = sys.modules.pop("imported_later")
    assert 1500 <= one < 1501
    assert 1500 <= other < 1501
    assert 1_735_733_300 <= wall < 1_735_733_301
    assert module.monotonic is time.monotonic
    assert module.socket is socket.socket
    assert module.now.__defaults__ == (time.monotonic,)


def test_modules_without_a_plain_dictionary_do_no_harm():
    odd = types.ModuleType("odd_module")
    odd.__getattr__ = lambda name: 1 / 0
    sys.modules["odd_module"] = odd
    try:
        with World() as world:
            world.run(asyncio.sleep(0))
    finally:
        del sys.modules["odd_module"]


def test_a_world_inside_a_world_is_refused():
    async def main():
        with World() as other:
            other.run(asyncio.sleep(0))

    with World() as world, pytest.raises(UnsupportedInWorld, match="a world inside a world"):
        world.run(main())


def test_a_closed_world_says_so():
    world = World()
    world.close()
    world.close()
    with pytest.raises(DesveloError, match="closed"):
        world.settle()


def test_signal_handlers_are_the_worlds_own():
    real = signal.getsignal(signal.SIGTERM)
    log = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, log.append, "loop")
        signal.signal(signal.SIGINT, lambda number, frame: log.append(number))
        os.kill(os.getpid(), signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        assert loop.remove_signal_handler(signal.SIGTERM)
        assert not loop.remove_signal_handler(signal.SIGTERM)

    with World() as world:
        world.run(main())
    assert log == [signal.SIGINT, "loop"]
    assert signal.getsignal(signal.SIGTERM) is real


def test_asyncio_run_in_a_thread_says_what_to_do_there_and_closes_the_coroutine(recwarn):
    async def nothing():
        """Do nothing."""

    class Program:
        runtime = "threads"

        def operations(self, state):
            return {"a": lambda: asyncio.run(nothing())}

    with pytest.raises(TargetError, match=r"asyncio\.run\(\) at .*make them async functions"):
        explore(Program, max_executions=2)
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]
