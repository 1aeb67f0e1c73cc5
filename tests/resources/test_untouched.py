"""The hooks change nothing that the code under test could notice, and go without a trace."""

import asyncio
import builtins
import gc
import inspect
import io
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import httpx
import pytest

from desvelo import leak_check
from desvelo.resources import check
from desvelo.resources.attaching import Attachment, Library, watch_class
from desvelo.resources.kinds import Kind
from desvelo.resources.recorder import Recorder

PLACES = [
    (aiohttp.ClientSession, "__init__"),
    (aiohttp.ClientSession, "__del__"),
    (aiohttp.BaseConnector, "__init__"),
    (asyncio.BaseEventLoop, "create_task"),
    (asyncio.BaseEventLoop, "call_exception_handler"),
    (asyncio.Lock, "__init__"),
    (asyncio.runners, "_cancel_all_tasks"),
    (builtins, "open"),
    (httpx.Client, "__init__"),
    (httpx.Client, "__del__"),
    (io, "open"),
    (os, "open"),
    (os, "pipe"),
    (socket.socket, "__init__"),
    (socket.socket, "close"),
    (socket.socket, "detach"),
    (sqlite3, "connect"),
    (subprocess.Popen, "__init__"),
    (subprocess.Popen, "__del__"),
    (sys, "unraisablehook"),
    (tempfile, "mkdtemp"),
    (threading, "Lock"),
    (threading.Thread, "start"),
    (ThreadPoolExecutor, "__del__"),
    (warnings, "_showwarnmsg_impl"),
    (warnings, "_warn_unawaited_coroutine"),
]


def state():
    return [vars(owner).get(name, "nothing") for owner, name in PLACES]


def test_everything_is_put_back():
    before, filters = state(), list(warnings.filters)
    depth = sys.get_coroutine_origin_tracking_depth()
    with leak_check():
        assert all(now is not was for now, was in zip(state(), before, strict=True))
    assert all(now is was for now, was in zip(state(), before, strict=True))
    assert warnings.filters == filters
    assert sys.get_coroutine_origin_tracking_depth() == depth


def test_what_somebody_else_replaced_in_the_meantime_stays_theirs():
    original = tempfile.mkdtemp
    with leak_check():
        hooked = tempfile.mkdtemp

        def theirs(*args):
            return hooked(*args)

        tempfile.mkdtemp = theirs
    try:
        assert tempfile.mkdtemp is theirs
        Path(tempfile.mkdtemp()).rmdir()  # and our hook inside of it is idle
    finally:
        tempfile.mkdtemp = original


def test_blocks_may_be_nested():
    with leak_check(), leak_check():
        socket.socket().close()
    assert not check.RECORDER.active


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_aiohttp_still_complains_of_an_unclosed_session():
    said = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            aiohttp.ClientSession()
            gc.collect()
        return [str(one.message) for one in warned if one.category is ResourceWarning]

    async def checked():
        async with leak_check(allow=["session"]):
            return await main()

    for plan in (main, checked):
        said.clear()
        warned = asyncio.run(plan())
        assert any(text.startswith("Unclosed client session") for text in warned)
        assert "Unclosed client session" in [context["message"] for context in said]


def test_a_warning_names_the_line_that_it_named_before():
    """A hook stands between the constructor and its caller, who is blamed all the same."""

    class Old:
        def __init__(self):
            warnings.warn("old", DeprecationWarning, stacklevel=2)

    recorder = Recorder()
    attachment = Attachment(recorder)
    kind = Kind("resource", repr, lambda one: False)
    attachment._libraries = [Library("io", lambda recorder, _: watch_class(recorder, Old, kind))]
    attachment.attach()
    try:
        with warnings.catch_warnings(record=True) as warned, leak_check():
            warnings.simplefilter("always")
            Old()
    finally:
        attachment.detach()
    assert [one.filename for one in warned] == [__file__]


@pytest.mark.parametrize("checked", [False, True])
def test_debug_mode_of_asyncio_tells_the_same_stack(checked):
    async def main():
        if checked:
            async with leak_check():
                return await stacks()
        return await stacks()

    async def stacks():
        session = aiohttp.ClientSession()
        await session.close()
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return session._source_traceback, task._source_traceback

    session, task = asyncio.run(main(), debug=True)
    assert session[-1].filename == __file__
    assert session[-1].line == "session = aiohttp.ClientSession()"
    assert task[-1].filename.endswith("tasks.py")


def test_what_is_watched_stays_collectable():
    with leak_check(allow=["client", "executor"]):
        client, pool = httpx.Client(), ThreadPoolExecutor()
        known = [weakref.ref(client), weakref.ref(pool)]
        del client, pool
        assert [reference() for reference in known] == [None, None]


def test_signatures_and_identities_are_what_they_were():
    before = (
        inspect.signature(aiohttp.ClientSession),
        repr(open),
        inspect.signature(tempfile.mkdtemp),
    )
    with leak_check():
        after = (
            inspect.signature(aiohttp.ClientSession),
            repr(open),
            inspect.signature(tempfile.mkdtemp),
        )
        assert io.open is not None
        assert open == io.open  # as they are one function in the original
        assert os.open in os.supports_dir_fd

        class Reader:
            opener = open  # a function of C is not bound when it is found on an instance

        with Reader().opener(os.devnull, encoding="utf-8") as file:
            assert file.read() == ""
        lock = threading.Lock()
        assert type(lock).__name__ == "lock"
        if isinstance(threading.Lock, type):
            assert isinstance(lock, threading.Lock)
        with sqlite3.connect(":memory:") as connection:
            assert isinstance(connection, sqlite3.Connection)
            assert repr(connection).startswith("<sqlite3.Connection object at")
        connection.close()
    assert after == before


def test_a_target_may_replace_socket_by_a_class_of_its_own(monkeypatch):
    class Fake(socket.socket):
        def send(self, data):
            return len(data)

    with leak_check():
        monkeypatch.setattr(socket, "socket", Fake)
        with socket.socket() as sock:
            assert sock.send(b"bread") == 5
        monkeypatch.undo()

    class Stranger:
        def close(self):
            pass

    with leak_check():
        monkeypatch.setattr(socket, "socket", Stranger)
        socket.socket()
        monkeypatch.undo()


def test_a_subclass_of_a_session_may_override_everything():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        class Own(aiohttp.ClientSession):
            def __init__(self):
                super().__init__()

            def __del__(self):
                pass

    async def main():
        async with leak_check(), Own() as session:
            assert type(session) is Own

    asyncio.run(main())


def test_a_library_that_cannot_be_watched_is_named_once_and_the_rest_goes_on(capfd):
    recorder = Recorder()
    attachment = Attachment(recorder)

    def hooks(recorder, module):
        return watch_class(recorder, getattr(module, "gone", None), Kind("resource", repr, bool))

    attachment._libraries = [Library("json", hooks), Library("json", lambda *_: [])]
    __import__("json")
    for _ in range(2):
        attachment.attach()
        attachment.detach()
    assert attachment.refusals == ["json is not watched for leaks: None is not a class"]
    stderr = sys.__stderr__
    assert stderr is None or capfd.readouterr().err.count("json is not watched") <= 1


def test_inside_of_a_simulated_world_nothing_is_recorded():
    from desvelo import World

    with leak_check(), World() as world:
        before = len(check.RECORDER.entries)

        async def plan():
            await asyncio.create_task(asyncio.sleep(1))

        world.run(plan())
        made = list(check.RECORDER.entries.values())[before:]
    assert [entry.kind.name for entry in made] == []


def test_a_failing_block_is_left_with_its_own_error():
    kept = []

    def fail():
        with leak_check():
            kept.append(socket.socket())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    kept[0].close()


def test_logging_and_standard_descriptors_are_not_accused(tmp_path):
    with leak_check():
        handler = logging.FileHandler(tmp_path / "log")
        logging.getLogger("shop").addHandler(handler)
        os.urandom(4)
    logging.getLogger("shop").removeHandler(handler)
    handler.close()
