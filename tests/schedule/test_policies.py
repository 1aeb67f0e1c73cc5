"""What each policy promises, with the odds that a test fails by chance."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from desvelo.errors import UsageError
from desvelo.execution import Outcome, Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario
from desvelo.schedule.decisions import ORDERS, Schedule
from desvelo.schedule.policy import (
    Delays,
    Fifo,
    Recorded,
    Scale,
    Sequential,
    make_policy,
    policy_names,
)
from desvelo.schedule.source import Source
from desvelo.world.boundary import Boundary

KINDS = ("arrive", "deliver", "timer", "split", "ready", "answer")
DRAWING = ("mix", "delays", "delays(2)", "pct", "pct(3)", "random_walk", "sticky(0.9)")
SCALE = Scale(decisions=60, polls=40, arrivals=3)


class Figure5:
    """After the example of Burckhardt et al.: many steps, then a pair whose order matters.

    One operation sets a value after its last step, the other uses it after as many steps plus
    one. Fair coins keep the two abreast.
    """

    STEPS = 40

    def setup(self):
        return {}

    def operations(self, state):
        async def prepare():
            for _ in range(self.STEPS // 2):
                await asyncio.sleep(0)
            state["value"] = 1

        async def use():
            for _ in range(self.STEPS * 2):
                await asyncio.sleep(0)
            assert "value" in state, "used before it was set"

        return {"prepare": prepare, "use": use}


def answers(policy, count=200):
    asked = [("arrive", name, 1 << 16) for name in "abc"]
    asked += [(KINDS[i % 6], "abcd"[i % 4], 5 if i % 6 == 3 else 1 << 16) for i in range(count)]
    return [policy.decide(*question) for question in asked]


def failures(scenario, policy, count, mode="asyncio-order"):
    settings = Settings(mode=mode)
    source = Scenario(scenario)
    with Boundary(), young_garbage_only():
        plain = execute(source, Fifo(), settings)
        scale = scale_of(plain, settings)
        outcomes = [
            execute(source, make_policy(policy, seed, scale), settings) for seed in range(count)
        ]
    return sum(outcome.failure is not None for outcome in outcomes)


def test_uniform_random_misses_figure_5_and_pct_of_depth_1_hits_it():
    # The walk would have to give one operation 81 steps before the other has had 21, at even
    # odds a step: less than 1e-9 each time, so less than 1e-7 in 100 executions. PCT hits
    # whenever `use` draws the higher priority, and misses all 100 with 2^-100.
    assert failures(Figure5, "random_walk(0.5)", 100, "any-order") == 0
    assert failures(Figure5, "pct(1)", 100, "any-order") > 20


def test_pct_of_depth_1_hits_figure_5_about_every_second_time():
    # Binomial(200, 1/2): fewer than 60 or more than 140 has a chance below 1e-7.
    assert 60 <= failures(Figure5, "pct(1)", 200, "any-order") <= 140


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_delays_never_deviates_more_often_than_it_may(count):
    for seed in range(300):
        policy = Delays(Source(seed), count, SCALE)
        assert sum(value != 0 for value in answers(policy)) <= count


def test_delays_uses_all_its_deviations_when_the_run_is_as_long_as_expected():
    for seed in range(100):
        policy = Delays(Source(seed), 3, Scale(decisions=60, polls=40, arrivals=3))
        assert sum(value != 0 for value in answers(policy, 57)) == 3


def test_delays_never_holds_back_every_operation():
    for seed in range(300):
        policy = Delays(Source(seed), 4, Scale(decisions=3, polls=9, arrivals=3))
        assert 0 in [policy.decide("arrive", name, 1 << 16) for name in "abc"]


def test_every_decision_is_delayed_some_time():
    # Each of 12 places has a chance of at least 1/18 for each seed: to miss one of them in
    # 1,000 seeds has a chance below 12 * (17/18)^1000 < 1e-23.
    places = set()
    for seed in range(1000):
        policy = make_policy("delays(1)", seed, Scale(decisions=12, polls=20, arrivals=3))
        values = [policy.decide("arrive" if i < 3 else "deliver", "a", 1 << 16) for i in range(12)]
        places |= {index for index, value in enumerate(values) if value}
    assert places == set(range(12))


def test_every_poll_of_the_plain_run_is_an_arrival_some_time():
    # Each of 30 polls has a chance above 1/200 for each seed; (199/200)^5000 < 1e-10.
    holds = set()
    for seed in range(5000):
        policy = make_policy("delays(1)", seed, Scale(decisions=2, polls=31, arrivals=2))
        holds |= {policy.decide("arrive", name, 1 << 16) // ORDERS for name in "ab"}
    assert set(range(31)) <= holds


def test_fifo_never_deviates():
    assert set(answers(make_policy("fifo", 7, SCALE))) == {0}


@pytest.mark.parametrize("name", DRAWING)
def test_a_policy_answers_the_same_for_the_same_seed(name):
    for seed in range(50):
        first, again = (answers(make_policy(name, seed, SCALE)) for _ in range(2))
        assert first == again


@pytest.mark.parametrize("name", DRAWING)
def test_seeds_differ(name):
    # Far fewer than ten in a hundred seeds can agree by chance on 203 answers, but delays(1)
    # has few schedules to choose from.
    drawn = {tuple(answers(make_policy(name, seed, SCALE))) for seed in range(100)}
    assert len(drawn) > 10


@pytest.mark.parametrize("name", [*policy_names(), *DRAWING])
@pytest.mark.parametrize("limit", [2, 5, 100, 1 << 16])
def test_answers_stay_below_the_limit(name, limit):
    for seed in range(30):
        policy = make_policy(name, seed, Scale(decisions=30, polls=9000, arrivals=2))
        values = [policy.decide(kind, "abc"[i % 3], limit) for i in range(60) for kind in KINDS]
        assert all(0 <= value < limit for value in values)


@pytest.mark.parametrize("name", policy_names())
def test_a_program_without_any_size_can_be_scheduled(name):
    for scale in (0, 1, Scale(0, 0, 0), Scale(1, 1, 1), Scale(2, 0, 5)):
        answers(make_policy(name, 3, scale), 12)


def test_sequential_lets_each_operation_start_when_the_one_before_has_ended():
    log = []

    class Overlapping:
        def operations(self, state):
            async def work(name):
                log.append(f"{name} starts")
                await asyncio.sleep(0.5)
                await asyncio.to_thread(log.append, f"{name} works")
                log.append(f"{name} ends")

            return {name: (lambda name=name: work(name)) for name in "abc"}

    with Boundary():
        assert execute(Scenario(Overlapping), Sequential(), Settings()).failure is None
    assert log == [f"{name} {what}" for name in "abc" for what in ("starts", "works", "ends")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ptc", "did you mean 'pct'"),
        ("", "no policy is called ''"),
        ("pct(x)", "is not a whole number from 1"),
        ("pct(0)", "a whole number from 1"),
        ("sticky(1)", "from 0 to below 1"),
        ("random_walk(0)", "above 0, up to 1"),
        ("fifo(1)", "fifo takes no parameter"),
        ("delays(2", "no policy is called 'delays(2'"),
        ("mix(1)", "no policy is called 'mix(1)'"),
    ],
)
def test_a_wrong_name_is_refused_in_one_clear_sentence(name, words):
    with pytest.raises(UsageError) as refused:
        make_policy(name, 1, 100)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


class Chatter:
    """Streams, jobs and timers: something of every kind to decide."""

    async def setup(self):
        async def answer(reader, writer):
            while line := await reader.readline():
                writer.write(await asyncio.to_thread(line.upper))
            writer.close()

        return await asyncio.start_server(answer, "127.0.0.1", 0)

    def operations(self, server):
        async def talk(text):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            async with asyncio.timeout(5):
                writer.write(text)
                assert await reader.readline() == text.upper()
            await asyncio.sleep(0.01)
            writer.close()
            await writer.wait_closed()

        return {"one": lambda: talk(b"hello\n"), "two": lambda: talk(b"there\n")}

    async def teardown(self, server):
        server.close()
        await server.wait_closed()


def once(policy) -> Outcome:
    return execute(Scenario(Chatter), policy, Settings(), trace=True)


@pytest.mark.parametrize("name", ["mix", "delays", "pct", "random_walk", "sticky"])
def test_a_recorded_schedule_replays_event_by_event(name):
    with Boundary(), young_garbage_only():
        once(Fifo())
        scale = scale_of(once(Fifo()), Settings())
        for seed in range(12):
            drawn = once(make_policy(name, seed, scale))
            written = Schedule.from_json(drawn.schedule.to_json())
            played = once(Recorded(written.values()))
            assert played.trace.digest() == drawn.trace.digest()
            assert played.schedule == drawn.schedule
            assert played.kinds == drawn.kinds


def test_deviations_that_are_never_met_have_no_effect():
    with Boundary(), young_garbage_only():
        plain = once(Fifo())
        other = once(Recorded({("three", "arrive", 0): 400, ("one", "deliver", 99): 4}))
        assert other.trace.digest() == plain.trace.digest()


def test_even_draws_leave_no_gap_wider_than_a_few_times_the_fair_share():
    for dimension in range(4):
        draws = sorted(Source(10_000_019 + seed).even(dimension) for seed in range(100))
        gaps = [later - earlier for earlier, later in itertools.pairwise(draws)]
        assert max(gaps) < 0.05
