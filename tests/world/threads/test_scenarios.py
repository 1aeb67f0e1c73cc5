"""Scenarios with ``runtime = "threads"``: found, told, saved, replayed and exported."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from desvelo import explore
from desvelo.errors import LoopBlocked, TargetError, UsageError
from desvelo.execution import Settings, execute
from desvelo.exploration import Progress
from desvelo.finding.export import export
from desvelo.finding.finding import Finding
from desvelo.scenario import Scenario, load_scenario
from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import Fifo, Scale, make_policy
from desvelo.world import World
from desvelo.world.boundary import Boundary

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
OFTEN = int(os.environ.get("DESVELO_SCHEDULES", "150"))


class Base:
    """A scenario of threads that only says what is special about it."""

    runtime = "threads"

    def setup(self):
        return {}


_EXAMPLES = {"thread_counter": "race", "bank_deadlock": "deadlock", "lazy_client": "race"}


def test_the_examples_are_found_small_replay_and_become_tests(tmp_path):
    for name, kind in _EXAMPLES.items():
        found = explore(str(EXAMPLES / f"{name}.py"), max_seconds=20, seed=1, save=tmp_path)
        assert found.kind == kind
        assert found.deviations == 1
        assert len(found.operations) == 2
        assert "is paused before this line" in found.story()
        again = Finding.load(found.path).replay()
        assert again.failed
        assert again.identical
        test = export(found, tmp_path / f"test_{name}.py")
        assert "schedule.pause(" in test.read_text()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1, ran.stdout
    assert f"{len(_EXAMPLES)} failed" in ran.stdout


def test_a_deadlock_says_who_waits_where_for_what_and_who_holds_it_since_when():
    found = explore(str(EXAMPLES / "bank_deadlock.py"), max_seconds=20, seed=1)
    said = found.reason()
    for part in (
        "to-two waits at ",
        "bank_deadlock.py:21",
        " for the lock made at ",
        "bank_deadlock.py:16, held by to-one since ",
        "bank_deadlock.py:20; to-one waits at ",
    ):
        assert part in said


def test_waiting_for_a_queue_that_stays_empty_is_a_deadlock_that_names_it():
    import queue

    class Waiting(Base):
        def operations(self, state):
            box = queue.Queue()
            return {"one": box.get}

    found = explore(Waiting, max_seconds=5, seed=1)
    assert found.kind == "deadlock"
    assert "one waits at " in found.reason()
    assert "for an item of the Queue made at " in found.reason()


def test_a_thread_that_never_ends_is_a_hang_that_says_where():
    class Spinning(Base):
        def operations(self, state):
            def spin():
                while True:
                    state["n"] = 1

            return {"one": spin}

    scenario = Scenario(Spinning)
    with Boundary():
        outcome = execute(scenario, Fifo(), Settings(max_polls=500))
    assert outcome.failure.kind == "hang"
    assert "one is at " in outcome.failure.summary()
    assert "in spin" in outcome.failure.summary()


class OneLine(Base):
    """An update in one line: reading and writing are two instructions of it."""

    def setup(self):
        return {"n": 0}

    def operations(self, state):
        def add():
            state["n"] += self.one()

        return {"one": add, "two": add}

    def one(self):
        return 1

    def check(self, state):
        assert state["n"] == 2


def test_an_update_in_one_line_is_lost_at_instruction_granularity():
    class NoCall(OneLine):
        def operations(self, state):
            def add():
                state["n"] += 1

            return {"one": add, "two": add}

    assert explore(NoCall, max_seconds=60, max_executions=200, seed=1) is None
    found = explore(NoCall, max_seconds=20, seed=1, granularity="instruction")
    assert found.kind == "race"

    class Fine(NoCall):
        granularity = "instruction"

    assert explore(Fine, max_seconds=20, seed=1).kind == "race"


@pytest.mark.parametrize("name", ["setup", "check", "teardown"])
def test_async_functions_are_refused_in_one_sentence(name):
    async def function(self, *arguments):
        return {}

    kind = type("Mixed", (Base,), {name: function, "operations": lambda self, state: {"a": int}})
    with pytest.raises(UsageError, match=f"{name} is an async function; with runtime 'threads'"):
        Scenario(kind)


def test_an_async_operation_is_refused_in_one_sentence():
    class Mixed(Base):
        def operations(self, state):
            async def work():
                pass

            return {"one": work}

    with pytest.raises(UsageError, match="operation 'one' is an async function"):
        explore(Mixed, max_seconds=1)


def test_an_unknown_granularity_is_refused_in_one_sentence():
    with pytest.raises(UsageError, match="granularity is 'word'; it is one of line, instruction"):
        explore(OneLine, granularity="word")


class Nested(Base):
    """An operation starts a thread that fails."""

    def operations(self, state):
        def work():
            thread = threading.Thread(target=self.fail)
            thread.start()
            thread.join()

        return {"one": work}

    def fail(self):
        raise ValueError("nobody catches this")


def test_an_error_that_ends_a_thread_of_the_target_is_a_failure():
    found = explore(Nested, max_seconds=5, seed=1)
    assert found.kind == "error"
    assert "nobody catches this" in found.reason()


def test_an_error_that_the_targets_own_hook_takes_is_none():
    seen = []

    def hook(arguments):
        seen.append(arguments.exc_type)

    before, threading.excepthook = threading.excepthook, hook
    try:
        assert explore(Nested, max_seconds=5, max_executions=20, seed=1) is None
    finally:
        threading.excepthook = before
    assert set(seen) == {ValueError}


def test_setup_check_and_teardown_may_wait_for_threads():
    import queue

    class Worker(Base):
        def setup(self):
            box = queue.Queue()
            thread = threading.Thread(target=self.serve, args=(box,))
            thread.start()
            return box, thread

        def serve(self, box):
            while box.get() is not None:
                box.task_done()

        def operations(self, state):
            box, _ = state
            return {"one": lambda: box.put(1), "two": lambda: box.put(2)}

        def check(self, state):
            box, _ = state
            box.join()

        def teardown(self, state):
            box, thread = state
            box.put(None)
            thread.join()

    assert explore(Worker, max_seconds=30, max_executions=OFTEN, seed=1) is None


class Forgotten(Base):
    """A worker is started and never told to end."""

    daemon = False

    def setup(self):
        event = threading.Event()
        threading.Thread(target=event.wait, name="worker", daemon=self.daemon).start()
        return event

    def operations(self, state):
        return {"one": lambda: None}

    def teardown(self, state):
        pass


def test_a_thread_that_outlives_the_teardown_is_a_leak_unless_it_is_a_daemon():
    found = explore(Forgotten, max_seconds=5, seed=1)
    assert found.kind == "leak"
    assert "the thread 'worker' still running, made by setup() at " in found.reason()
    assert explore(Forgotten, max_seconds=5, max_executions=5, seed=1, leaks=False) is None

    class Daemon(Forgotten):
        daemon = True

    assert explore(Daemon, max_seconds=5, max_executions=5, seed=1) is None


def test_a_lock_that_the_world_cannot_see_is_reported_with_its_line(monkeypatch):
    import _thread

    from desvelo.world.threads import baton

    monkeypatch.setattr(baton, "REAL_SECONDS", 0.3)
    hidden = _thread.allocate_lock()
    hidden.acquire()

    class Blocked(Base):
        def operations(self, state):
            def work():
                hidden.acquire()

            return {"one": work}

    try:
        with pytest.raises(LoopBlocked, match=r"thread 'one' was held for .*test_scenarios.py:\d+"):
            explore(Blocked, max_seconds=5, seed=1)
    finally:
        hidden.release()


def test_asyncio_run_inside_a_thread_is_refused_by_name():
    import asyncio

    class Inner(Base):
        def operations(self, state):
            def work():
                nap = asyncio.sleep(0)
                try:
                    asyncio.run(nap)
                finally:
                    nap.close()

            return {"one": work}

    with pytest.raises(TargetError, match=r"asyncio.run\(\) at .*test_scenarios.py"):
        explore(Inner, max_seconds=5)


class Everything(Base):
    """Loops, comprehensions, generators, handlers and contexts: many shapes of lines."""

    def setup(self):
        return {"lock": threading.RLock(), "log": []}

    def operations(self, state):
        def numbers():
            for number in range(2):
                yield number + 0

        def work():
            for number in numbers():
                state["log"].append(number)
            squares = [n * n for n in range(3) if n]
            try:
                with state["lock"]:
                    raise ValueError(squares)
            except ValueError:
                state["log"].append("error")
            finally:
                state["log"].append("end")
            total = 0
            while total < 2:
                total += 1
            named = max([total], key=lambda one: one)
            time.sleep(0.01)
            return sorted((one, named) for one in squares)

        return {"one": work, "two": work}


@pytest.mark.parametrize("granularity", ["line", "instruction"])
def test_a_run_with_a_story_takes_the_decisions_of_one_without(granularity):
    scenario, settings = Scenario(Everything), Settings(granularity=granularity)
    scale = Scale(decisions=60, arrivals=2, threads=True)
    with Boundary():
        execute(scenario, Fifo(), settings)
        for seed in range(4 if granularity == "instruction" else 10):
            plain = execute(scenario, make_policy("mix", seed, scale), settings)
            told = execute(scenario, make_policy("mix", seed, scale), settings, trace=True)
            again = execute(scenario, make_policy("mix", seed, scale), settings, trace=True)
            assert plain.decisions == told.decisions
            assert plain.schedule == told.schedule
            assert told.trace.digest() == again.trace.digest()
            assert [row.text for row in told.trace.rows] == [row.text for row in again.trace.rows]


def test_a_seed_gives_one_trace_in_every_process():
    script = (
        "from desvelo.execution import Settings, execute\n"
        "from desvelo.scenario import load_scenario\n"
        "from desvelo.schedule.policy import Scale, make_policy\n"
        "from desvelo.world.boundary import Boundary\n"
        f"scenario = load_scenario({str(EXAMPLES / 'lazy_client.py')!r})\n"
        "scale = Scale(decisions=30, arrivals=2, threads=True)\n"
        "with Boundary():\n"
        "    for seed in range(8):\n"
        "        run = execute(scenario, make_policy('mix', seed, scale), Settings(), trace=True)\n"
        "        print(run.trace.digest(), run.schedule)\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


class Pipeline(Base):
    """Correct: a worker, a queue, a condition with a time-out, a pool."""

    def setup(self):
        return {"turn": threading.Condition(), "got": []}

    def operations(self, state):
        import concurrent.futures
        import queue

        def produce():
            box = queue.Queue(1)

            def worker():
                while (item := box.get()) is not None:
                    with state["turn"]:
                        state["got"].append(item)
                        state["turn"].notify_all()

            thread = threading.Thread(target=worker)
            thread.start()
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                list(pool.map(box.put, range(3)))
            box.put(None)
            thread.join()

        def watch():
            with state["turn"]:
                assert state["turn"].wait_for(lambda: len(state["got"]) >= 2, timeout=30)

        return {"produce": produce, "watch": watch}

    def check(self, state):
        assert sorted(state["got"]) == [0, 1, 2]


@pytest.mark.parametrize("policy", ["mix", "pct(3)", "pos", "random_walk", "delays(2)"])
def test_a_correct_program_is_never_accused(policy):
    statistics = Progress()
    found = explore(
        Pipeline,
        max_seconds=600,
        max_executions=max(OFTEN // 10, 10),
        policy=policy,
        seed=3,
        statistics=statistics,
    )
    assert found is None, found.story()
    assert statistics.executions == max(OFTEN // 10, 10)
    assert statistics.distinct > 1


def test_a_thread_of_the_target_talks_to_the_event_loop():
    import asyncio

    async def main():
        loop = asyncio.get_running_loop()
        box = asyncio.Queue()

        def work():
            for number in range(3):
                time.sleep(1)
                loop.call_soon_threadsafe(box.put_nowait, number)

        thread = threading.Thread(target=work)
        thread.start()
        got = [await box.get() for _ in range(3)]
        thread.join()
        return got

    for seed in range(30):
        with World(Recorder(make_policy("mix", seed, 30))) as world:
            world.deciding = True
            assert world.run(main()) == [0, 1, 2]


def test_a_scenario_loaded_from_a_file_has_its_locks_seen(tmp_path):
    file = tmp_path / "module_lock_scenario.py"
    file.write_text(
        "import threading\n"
        "runtime = 'threads'\n"
        "LOCKS = [threading.Lock(), threading.Lock()]\n"
        "def take(a, b):\n"
        "    with LOCKS[a]:\n"
        "        with LOCKS[b]:\n"
        "            pass\n"
        "def operations(state):\n"
        "    return {'one': lambda: take(0, 1), 'two': lambda: take(1, 0)}\n"
    )
    found = explore(load_scenario(str(file)), max_seconds=20, seed=1)
    assert found.kind == "deadlock"
    assert "made at" in found.reason()
