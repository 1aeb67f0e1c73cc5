"""The fixture, the marker and the option, seen from outside."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """
    import asyncio, socket, tempfile
    import aiohttp, pytest, pytest_asyncio

    KEPT = []

    def leave_a_port():
        KEPT.append(socket.create_server(("127.0.0.1", 0)))
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs pytest on a test file in a fresh process."""

    def start(text, *options, status=None, settings="", **outcomes):
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nasyncio_default_fixture_loop_scope = function\n" + settings
        )
        (tmp_path / "test_shop.py").write_text(
            textwrap.dedent(HEAD) + textwrap.dedent(text), encoding="utf-8"
        )
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_shop.py", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDEVMODE": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if status is not None:
            assert done.returncode == status, done.stdout + done.stderr
        for name, count in outcomes.items():
            found = re.search(rf"(\d+) {name}", done.stdout.splitlines()[-1])
            assert (int(found[1]) if found else 0) == count, done.stdout + done.stderr
        return done

    return start


LEAKING = """
def test_port():
    leave_a_port()
"""


def test_a_leak_is_an_error_at_teardown_that_says_what_where_and_how_to_go_on(run):
    done = run("@pytest.mark.leak_check" + LEAKING, status=1, passed=1, errors=0, error=1)
    assert "ERROR at teardown of test_port" in done.stdout
    line = 1 + (textwrap.dedent(HEAD)).splitlines().index(
        '    KEPT.append(socket.create_server(("127.0.0.1", 0)))'
    )
    told = [line.strip() for line in done.stdout.splitlines()]
    start = told.index("1 resource was left open by the test:")
    what, made, kept, more = told[start + 1 : start + 5]
    assert re.fullmatch(
        r"1\. port: a TCP socket that listens at 127\.0\.0\.1:\d+: never closed", what
    )
    assert made.startswith(
        f"made at test_shop.py:{line} in leave_a_port, called from test_shop.py:"
    )
    assert re.search(r" in test_port, \d+\.\d\d s ago$", made)
    assert kept == "kept by the module test_shop, as KEPT[…]"
    assert '@pytest.mark.allow_leak("KIND", reason="...")' in more


def test_the_fixture_the_marker_the_option_and_the_setting_all_switch_it_on(run):
    run(LEAKING, status=0)
    run(LEAKING.replace("()", "(leak_check)", 1), status=1, error=1)
    run("pytestmark = pytest.mark.leak_check\n" + LEAKING, status=1, error=1)
    run(LEAKING, "--leak-check", status=1, error=1)
    run(LEAKING, settings="leak_check = true\n", status=1, error=1)


def test_a_leak_may_be_allowed_for_a_reason(run):
    run(
        """
        @pytest.mark.allow_leak("port", reason="the next test uses it")
        def test_port():
            leave_a_port()

        @pytest.mark.allow_leak(reason="anything goes")
        def test_anything():
            leave_a_port()

        @pytest.mark.allow_leak("session", reason="of another kind")
        def test_other_kind():
            leave_a_port()
        """,
        "--leak-check",
        status=1,
        passed=3,
        error=1,
    )


@pytest.mark.parametrize(
    ("marker", "says"),
    [
        ('allow_leak("port")', "allow_leak needs a reason"),
        ('allow_leak("port", reason=" ")', "allow_leak needs a reason"),
        ('allow_leak("prot", reason="typo")', "there is no kind 'prot'; the kinds are loop,"),
        ('leak_check("port")', "leak_check takes only blocked=SECONDS"),
        ("leak_check(blocked=-1)", "give seconds, more than 0"),
    ],
)
def test_a_marker_that_makes_no_sense_is_refused_before_anything_runs(run, marker, says):
    done = run(f"@pytest.mark.{marker}" + LEAKING, status=4)
    assert f"test_shop.py::test_port: {says}" in done.stderr or says in done.stderr


def test_a_setting_that_is_no_time_is_refused(run):
    done = run(LEAKING, settings="leak_check_blocked = soon\n", status=4)
    assert "leak_check_blocked in the configuration: 'soon' is not a time" in done.stderr


def test_a_failing_test_is_not_judged(run):
    run(
        """
        def test_port():
            leave_a_port()
            assert False
        """,
        "--leak-check",
        status=1,
        failed=1,
        error=0,
    )


FIXTURES = """
    from aiohttp import web

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def shared():
        async with aiohttp.ClientSession() as session:
            yield session

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def server():
        async def answer(request):
            return web.Response(text="bread")

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://127.0.0.1:%d/" % runner.addresses[0][1]
        await runner.cleanup()

    @pytest_asyncio.fixture
    async def own():
        session = aiohttp.ClientSession()
        yield session
        await session.close()

    @pytest_asyncio.fixture
    async def forgotten():
        yield aiohttp.ClientSession()
"""


def test_fixtures_of_a_wider_scope_are_not_accused_and_those_of_the_test_are_judged(run):
    done = run(
        FIXTURES
        + """
    @pytest.mark.asyncio(loop_scope="session")
    async def test_first(shared, server):
        async with shared.get(server) as response:
            assert await response.text() == "bread"

    @pytest.mark.asyncio(loop_scope="session")
    async def test_second(shared, server):
        async with shared.get(server) as response:
            assert await response.text() == "bread"

    @pytest.mark.asyncio
    async def test_own(own):
        pass

    @pytest.mark.asyncio
    async def test_forgotten(forgotten):
        pass

    def test_temporary(tmp_path, capfd):
        tempfile.mkdtemp(dir=tmp_path)

    def test_executor():
        async def main():
            await asyncio.to_thread(int)

        asyncio.run(main())
        """,
        "--leak-check",
        status=1,
        passed=6,
        error=1,
    )
    assert "ERROR at teardown of test_forgotten" in done.stdout
    assert "session: aiohttp.ClientSession: never closed" in done.stdout


def test_tests_of_pytest_asyncio_and_unittest_are_judged(run):
    done = run(
        """
        import unittest

        @pytest.mark.asyncio
        async def test_task():
            asyncio.create_task(asyncio.sleep(100))
            await asyncio.sleep(0)

        @pytest.mark.asyncio
        async def test_session():
            aiohttp.ClientSession()

        class TestShop(unittest.IsolatedAsyncioTestCase):
            async def test_port(self):
                leave_a_port()

            async def test_nothing(self):
                await asyncio.sleep(0)
        """,
        "--leak-check",
        status=1,
        passed=4,
        errors=3,
    )
    assert "task: the task" in done.stdout
    assert "in test_task, " in done.stdout


def test_it_works_under_xdist(run):
    done = run(
        LEAKING + LEAKING.replace("test_port", "test_again"), "--leak-check", "-n2", status=1
    )
    assert "2 passed" in done.stdout
    assert "2 errors" in done.stdout


def test_a_blocked_loop_is_reported_when_asked_for(run):
    text = """
        import time

        @pytest.mark.leak_check(blocked=0.1)
        @pytest.mark.asyncio
        async def test_slow():
            time.sleep(0.4)
    """
    done = run(text, status=1, error=1)
    assert "blocked: a callback held the event loop for 0." in done.stdout
    assert "in test_slow" in done.stdout
    run(text.replace("blocked=0.1", ""), status=0)
    run(text.replace("blocked=0.1", ""), settings="leak_check_blocked = 100ms\n", status=1)


def test_a_machine_is_left_to_its_worlds(run):
    run(
        """
        from desvelo import ConcurrentMachine, operation
        from hypothesis import settings

        class Shop(ConcurrentMachine):
            @operation()
            async def buy(self):
                await asyncio.sleep(1)

        TestShop = Shop.TestCase
        TestShop.settings = settings(max_examples=5, database=None)
        """,
        "--leak-check",
        status=0,
        passed=1,
    )


def test_a_port_that_is_in_use_is_traced_to_the_test_that_took_it(run):
    done = run(
        """
        def test_takes_it():
            leave_a_port()

        def test_wants_it():
            socket.create_server(KEPT[0].getsockname())
        """,
        "--leak-check",
        status=1,
        passed=1,
        failed=1,
        error=1,
    )
    assert "desvelo: who listens" in done.stdout
    assert "in leave_a_port, called from test_shop.py:" in done.stdout.partition("who listens")[2]
