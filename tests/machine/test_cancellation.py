"""Cancellation: that it comes at every suspension point, in scenarios and in machines."""

from __future__ import annotations

import asyncio
import types

import aiohttp
import pytest
from aiohttp import web

from desvelo import ConcurrentMachine, at_rest, explore, operation
from desvelo.errors import UsageError
from desvelo.exploration import Progress
from desvelo.finding.export import as_test
from desvelo.finding.finding import Finding


def scenario(**parts):
    """Return a scenario of some functions."""
    return types.SimpleNamespace(__name__="toy", **parts)


def searched(source, executions=600, seed=1):
    """Explore, and return what was found and what was covered."""
    progress = Progress()
    finding = explore(source, max_executions=executions, seed=seed, statistics=progress)
    return finding, progress


class Points:
    """One operation with every kind of suspension point there is; notes where it was cancelled."""

    cancellable = True
    most_cancels = 2

    def __init__(self):
        self.cancelled = set()

    async def at(self, point, awaitable):
        try:
            return await awaitable
        except asyncio.CancelledError:
            self.cancelled.add(point)
            raise

    async def visit(self):
        loop = asyncio.get_running_loop()
        lock, served = asyncio.Lock(), loop.create_future()
        await self.at("sleep(0)", asyncio.sleep(0))
        await self.at("sleep", asyncio.sleep(5))
        await self.at("shield", asyncio.shield(asyncio.sleep(1)))
        loop.call_later(1, served.set_result, None)
        await self.at("future", served)
        await self.at("thread", asyncio.to_thread(int))
        await self.at("gather", asyncio.gather(asyncio.sleep(1), asyncio.sleep(2)))
        await self.at("group", self.group())
        await self.at("wait_for", asyncio.wait_for(asyncio.sleep(1), 3))
        async with asyncio.timeout(20):
            await self.at("after a time-out of its own", asyncio.sleep(1))
        await lock.acquire()
        try:
            loop.call_later(1, lock.release)
            await self.at("lock", lock.acquire())
        finally:
            await self.at("clean-up", asyncio.sleep(1))
        try:
            await self.at("time-out", asyncio.wait_for(asyncio.Event().wait(), 30))
        except TimeoutError:
            await self.at("after a time-out", asyncio.sleep(0))

    async def group(self):
        async with asyncio.TaskGroup() as group:
            group.create_task(self.at("inside the group", asyncio.sleep(1)))

    def operations(self, state):
        return {"visit": self.visit}


def test_an_operation_is_cancelled_at_each_of_its_suspension_points_in_turn():
    points = Points()
    finding, progress = searched(points, executions=150)
    assert finding is None
    assert points.cancelled == {
        "sleep(0)", "sleep", "shield", "future", "thread", "gather", "group", "inside the group",
        "wait_for", "after a time-out of its own", "lock", "clean-up", "time-out",
        "after a time-out",
    }  # fmt: skip
    covered = progress.cancelled
    assert covered.reached == covered.points > 12, str(covered)


class LostPlace:
    """A semaphore of which a waiter takes the place along that is cancelled when he is served."""

    cancellable = True

    def setup(self):
        self.free, self.waiting = 1, []
        return self

    def operations(self, state):
        return {"one": self.use, "two": self.use}

    async def use(self):
        if self.free:
            self.free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            try:
                await turn
            finally:
                if turn in self.waiting:
                    self.waiting.remove(turn)
        try:
            await asyncio.sleep(0.01)
        finally:
            if self.waiting and not self.waiting[0].done():
                self.waiting.pop(0).set_result(None)
            else:
                self.free += 1

    def check(self, state):
        assert self.free == 1, "the place is lost"


def test_what_a_cancellation_breaks_is_found_soon_told_saved_and_replayed(tmp_path):
    finding = explore(LostPlace, seed=1, save=tmp_path, max_executions=60)
    assert "the place is lost" in str(finding.error)
    assert (len(finding.operations), finding.deviations) == (2, 1)
    assert finding.schedule.deviations[0].key.kind == "cancel"
    story = " ".join(finding.story().split())
    assert "was cancelled at test_cancellation.py:" in story
    assert "(`await turn`), when its wait was just over" in story
    loaded = Finding.load(finding.path)
    assert loaded.schedule == finding.schedule
    again = finding.replay()
    assert again.failed
    assert again.identical
    assert 'schedule.cancel("two", polls=' in as_test(finding, tmp_path / "test_it.py")


def test_clean_up_is_cancelled_as_well_where_two_cancellations_are_allowed():
    class Closing(LostPlace):
        async def use(self):
            self.free -= 1
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # says goodbye
                self.free += 1
                raise
            self.free += 1

        def operations(self, state):
            return {"one": self.use}

    once, _ = searched(Closing, executions=300)
    assert once is None
    Closing.most_cancels = 2
    twice, progress = searched(Closing, executions=300)
    assert [deviation.key.ordinal for deviation in twice.schedule.deviations] == [0, 1]
    assert progress.executions < 30
    assert "was cancelled again at" in " ".join(twice.story().split())


def test_only_the_operations_that_are_named_are_cancelled():
    class OnlyOne(LostPlace):
        cancellable = ("one",)

    # In plain order whoever comes first never waits.
    assert explore(OnlyOne, max_executions=100, policy="fifo", seed=1) is None
    OnlyOne.cancellable = ("two",)
    finding = explore(OnlyOne, max_executions=100, policy="fifo", seed=1)
    assert {deviation.key.actor for deviation in finding.schedule.deviations} == {"two"}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"cancellable": "one"}, "True, or a tuple of names"),
        ({"cancellable": ("four",)}, "names 'four', but the operations are one, two"),
        ({"cancellable": True, "most_cancels": 0}, "a whole number from 1"),
        ({"cancellable": True, "runtime": "threads"}, "a thread cannot be cancelled"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(attributes, message):
    wrong = type("Wrong", (LostPlace,), attributes)
    with pytest.raises(UsageError, match=message):
        explore(wrong, max_executions=5)


# time-outs that race their answer


async def in_a_scope(answer, seconds):
    async with asyncio.timeout(seconds):
        return await answer


@pytest.mark.parametrize("call", [in_a_scope, asyncio.wait_for])
def test_an_answer_that_comes_with_its_time_out_wins_and_loses(call):
    async def serve(reader, writer):
        if await reader.readline():
            await asyncio.sleep(0.05)
            writer.write(b"answer\n")
        writer.close()

    outcomes = set()

    async def ask():
        reader, writer = await asyncio.open_connection("shop.example", 80)
        try:
            writer.write(b"question\n")
            outcomes.add(await call(reader.readline(), 0.06))
        except TimeoutError:
            # What the kernel had already is what the caller never saw.
            outcomes.add("timed out")
        finally:
            writer.close()

    async def setup():
        return await asyncio.start_server(serve, "shop.example", 80)

    source = scenario(setup=setup, operations=lambda server: {"ask": ask})
    finding, _ = searched(source, executions=120)
    assert finding is None
    assert outcomes == {b"answer\n", "timed out"}


def by_aiohttp(timeout):
    async def get():
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
            session.get("http://shop.example/") as answer,
        ):
            return await answer.text()

    return get


def by_httpx(timeout):
    httpx = pytest.importorskip("httpx")
    certificates = httpx.create_ssl_context()

    async def get():
        try:
            async with httpx.AsyncClient(timeout=timeout, verify=certificates) as client:
                return (await client.get("http://shop.example/")).text
        except httpx.TimeoutException as error:
            raise TimeoutError from error

    return get


@pytest.mark.parametrize("client", [by_aiohttp, by_httpx])
def test_the_time_out_of_a_client_races_the_answer_to_its_request(client):
    get, outcomes, served = client(0.052), set(), []

    async def setup():
        async def index(request):
            await asyncio.sleep(0.05)
            served.append(request)
            return web.Response(text="answer")

        app = web.Application()
        app.router.add_get("/", index)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "shop.example", 80).start()
        return runner

    async def ask():
        served.clear()
        try:
            outcomes.add(await get())
        except TimeoutError:
            outcomes.add("lost" if served else "timed out")

    source = scenario(
        setup=setup,
        operations=lambda runner: {"ask": ask},
        teardown=lambda runner: runner.cleanup(),
    )
    finding, _ = searched(source, executions=120)
    assert finding is None
    assert {"answer", "lost"} <= outcomes, outcomes


# machines


class Gate(ConcurrentMachine):
    """The same lost place, in a machine that never waits for the right moment."""

    longest_elapse = 0.0

    async def setup(self):
        self.place = LostPlace().setup()

    @operation()
    async def use(self):
        await self.place.use()

    @at_rest()
    def the_place_is_there(self):
        self.place.check(None)


def test_the_first_programs_of_a_machine_are_cancelled_at_every_point(find):
    search = find(Gate, examples=40, stateful_step_count=4)
    assert search.executions < 60
    assert "the place is lost" in search.text
    finding = search.finding
    assert len(finding.operations) == 2
    assert finding.deviations + len(finding.befell) == 1


def test_a_machine_that_is_not_cancellable_is_left_alone(find):
    class Calm(Gate):
        cancellable = False

    assert find(Calm, examples=8, stateful_step_count=4).error is None


def test_a_step_may_say_when_its_operation_is_cancelled():
    state = Gate()
    state.use()
    waiting = state.use(deviations=[("cancel", 0, 12)])
    with pytest.raises(AssertionError, match="the place is lost"):
        state.teardown()
    assert waiting.cancelled
    assert waiting.strikes == [2]
