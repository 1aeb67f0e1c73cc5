"""Searching with machines: what is found is minimal, saved at first sight, and repeatable."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import toys
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from desvelo import ConcurrentMachine, Finding, operation
from desvelo.failure import Nondeterminism
from desvelo.machine.code import first_change, not_code

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def start(code, *arguments, hash_seed="0", cwd, **options):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "PYTHONHASHSEED": hash_seed}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# what is found is minimal


@pytest.mark.parametrize(
    ("machine", "smallest", "seeds"),
    [
        (toys.LostUpdate, (2, 1), 2),
        (toys.CheckThenInsert, (2, 0), 1),
        (toys.CancelledHolder, (1, 1), 2),
        (toys.RetriedTwice, (2, 0), 1),
    ],
)
def test_shrinking_reaches_the_smallest_program_and_schedule(machine, smallest, seeds, find):
    sizes = []
    for seed in range(seeds):
        done = find(machine, seed=seed, examples=600)
        sizes.append(done.size)
        assert done.finding.kind == "race"
    assert sizes == [smallest] * len(sizes)


def test_payloads_are_the_simplest(find):
    steps = find(toys.LostUpdate, seed=3, examples=400).steps
    assert sum("amount=1" in step for step in steps) == 2


def test_further_schedules_of_one_program_are_tried(find):
    one = find(toys.Correct, examples=20, options={"batch": 0}).executions
    five = find(toys.Correct, examples=20, options={"batch": 4}).executions
    assert one <= 30
    assert five > 2 * one


def test_the_first_of_two_failures_is_kept(find):
    class Two(toys.Correct):
        @operation(n=st.integers(0, 20))
        async def fail(self, n):
            if n > 3:
                raise ValueError("large")
            raise KeyError("small")

    for seed in range(3):
        done = find(Two, seed=seed)
        kinds = {type(one.error).__name__ for one in done.findings}
        assert kinds == {type(done.error).__name__}
        assert done.steps == (
            ["state.fail(n=4)"] if isinstance(done.error, ValueError) else ["state.fail(n=0)"]
        )
        assert len(list(done.folder.glob("*.json"))) <= 2


# what is printed is code


def paste(lines):
    """Run printed lines; return what they raise."""
    try:
        exec("\n".join(lines), {**vars(toys)})
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("machine", [toys.LostUpdate, toys.CancelledHolder])
def test_the_printed_example_and_the_inputs_are_code_that_fails_in_the_same_way(machine, find):
    done = find(machine, examples=400)
    printed = [line for line in done.text.splitlines() if "state" in line and "(" in line]
    printed = list(itertools.dropwhile(lambda line: not line.startswith("state ="), printed))
    printed = printed[: printed.index("state.teardown()") + 1]
    assert paste(printed) == str(done.error)
    assert paste(done.finding.inputs) == str(done.error)


def test_a_failing_invariant_is_a_line_of_the_program(find):
    class Dips(ConcurrentMachine):
        async def setup(self):
            self.level = 0

        @operation()
        async def dip(self):
            import asyncio

            self.level -= 1
            await asyncio.sleep(1)
            self.level += 1

        @invariant()
        def never_below_zero(self):
            assert self.level >= 0, "below"

    done = find(Dips)
    assert done.steps[-1] == "state.never_below_zero()"
    namespace = {"Dips": Dips}
    with pytest.raises(AssertionError, match="below"):
        exec("\n".join(done.finding.inputs), namespace)
    namespace["state"].world.close()


class Opaque:
    """A value without a form as code, that cannot be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


def test_values_that_are_no_code_and_cannot_be_copied_do_no_harm(find):
    class Takes(toys.Correct):
        @operation(value=st.builds(Opaque), names=st.sets(st.sampled_from("abc"), min_size=2))
        async def take(self, value, names):
            raise ValueError("taken")

    done = find(Takes)
    assert isinstance(done.error, ValueError)
    assert "0x…" in done.steps[0]
    assert "names={'a', 'b'}" in done.steps[0]
    assert not_code(done.finding.inputs) == done.steps[0]


def test_a_changed_step_is_named():
    assert first_change(["a()", "b()"], ["a()", "c()"]) == "step 2 was `b()` and is `c()` now"
    assert first_change(["a()"], []) == "the program had 1 steps and has 0 now"


# nondeterminism


def test_a_target_that_is_not_under_control_is_reported_with_the_first_event(find):
    class Moody(toys.Correct):
        runs = itertools.count()

        @operation()
        async def work(self):
            import asyncio

            await asyncio.sleep(next(self.runs) % 7)
            raise ValueError("moody")

    done = find(Moody)
    assert isinstance(done.error, Nondeterminism)
    assert "two runs of the same program and schedule differ" in str(done.error)
    assert done.finding.kind == "nondeterminism"
    assert done.finding.replays is False


# in other processes

SEARCH = """
    import contextlib, sys, pathlib
    import toys
    from desvelo.machine.options import SearchOptions, searching_with
    from desvelo.machine.profiles import machine_settings
    from desvelo.machine.search import run_machine

    with searching_with(SearchOptions(seed=4, save=pathlib.Path(sys.argv[1]))):
        with contextlib.suppress(AssertionError):
            run_machine(toys.LostUpdate, machine_settings())
"""
REPLAY = """
    import sys
    from desvelo import Finding
    again = Finding.load(sys.argv[1]).replay()
    print(again.failed, again.identical, again.digest)
"""


def test_one_seed_gives_one_finding_in_every_process_and_it_replays_the_same(tmp_path):
    running = [start(SEARCH, n, hash_seed=str(n), cwd=tmp_path) for n in (1, 2)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    one, two = (sorted((tmp_path / str(n)).glob("*.json")) for n in (1, 2))
    assert [file.name for file in one] == [file.name for file in two]
    facts = []
    for file in (one[0], two[0]):
        data = json.loads(file.read_text())
        facts.append({key: data[key] for key in data if key not in ("seconds", "command")})
    assert facts[0] == facts[1]

    replays = [start(REPLAY, one[0], hash_seed=str(n), cwd=tmp_path) for n in range(4)]
    said = {process.communicate(timeout=60)[0] for process in replays}
    assert said == {f"True True {facts[0]['trace_sha256']}\n"}


KILLED = """
    import pathlib, sys, time
    import toys
    from desvelo.machine import search
    from desvelo.machine.options import SearchOptions, searching_with
    from desvelo.machine.profiles import machine_settings

    def for_ever(self):
        print("shrinking", flush=True)
        search.time_asleep.wait()

    import threading
    search.time_asleep = threading.Event()
    search.Smaller.shrink = for_ever
    with searching_with(SearchOptions(seed=4, save=pathlib.Path(sys.argv[1]))):
        search.run_machine(toys.LostUpdate, machine_settings())
"""


def test_a_kill_during_shrinking_leaves_a_finding_that_loads(tmp_path):
    process = start(KILLED, tmp_path, cwd=tmp_path)
    assert process.stdout.readline() == "shrinking\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (file,) = tmp_path.glob("*.json")
    finding = Finding.load(file)
    assert finding.kind == "race"
    again, errors = start(REPLAY, file, cwd=tmp_path).communicate(timeout=60)
    assert again.startswith("True "), errors


# replay and export

MACHINE = """
    import asyncio
    from hypothesis import strategies as st
    from desvelo import ConcurrentMachine, at_rest, operation

    class Visits(ConcurrentMachine):
        cancellable = False

        async def setup(self):
            self.seen = self.visits = 0

        @operation(step=st.integers(1, 9))
        async def visit(self, step):
            self.visits += step
            seen = self.seen
            await asyncio.sleep(0)
            self.seen = seen + step

        @at_rest()
        def all_are_seen(self):
            assert self.seen == self.visits, f"{self.seen} of {self.visits}"
"""


@pytest.fixture
def visits(tmp_path, monkeypatch, find):
    """A finding of a machine in a file of its own, and a function that changes the file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    file = tmp_path / "visits.py"

    def write(text):
        file.write_text(textwrap.dedent(text))
        sys.modules.pop("visits", None)
        with contextlib.suppress(FileNotFoundError):
            for cached in (tmp_path / "__pycache__").iterdir():
                cached.unlink()

    write(MACHINE)
    from visits import Visits

    done = find(Visits)
    yield Finding.load(done.finding.path), write
    sys.modules.pop("visits", None)


def test_a_finding_replays(visits):
    finding, _ = visits
    again = finding.replay()
    assert (again.failed, again.identical) == (True, True)
    assert "visit-1" in again.story


def test_the_story_says_what_each_operation_was_called_with(visits):
    finding, _ = visits
    first = next(line for line in finding.story().splitlines() if "visit-1" in line)
    assert first.strip().startswith("visit-1(step="), first


def test_a_finding_says_that_it_does_not_fail_any_more(visits):
    finding, write = visits
    write(MACHINE.replace("self.seen = seen + step", "self.seen += step"))
    again = finding.replay()
    assert not again.failed
    assert "does not fail any more" in again.message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("visit(self", "visited(self", "step 1 was `state.visit(step=1)` and is"),
        ("st.integers(1, 9)", "st.integers(5, 9)", "no longer"),
        ("class Visits", "class Others", "has no machine 'Visits' any more"),
    ],
)
def test_a_replay_after_a_change_of_the_machine_says_what_changed(visits, old, new, said):
    finding, write = visits
    write(MACHINE.replace(old, new))
    with pytest.raises(Exception, match="find the failure again") as caught:
        finding.replay()
    assert said in str(caught.value)


def test_an_exported_finding_is_a_test_that_fails_with_the_targets_own_error(visits, tmp_path):
    from desvelo.machine.export import as_machine_test

    finding, write = visits
    (tmp_path / "test_exported.py").write_text(as_machine_test(finding))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_exported.py"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, run.stdout
    assert "AssertionError: 1 of 2" in run.stdout
    write(MACHINE.replace("self.seen = seen + step", "self.seen += step"))
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


def test_a_search_ends_when_its_time_is_over(find):
    begun = time.perf_counter()
    find(toys.Correct, examples=10_000, options={"deadline": begun + 0.5})
    assert time.perf_counter() - begun < 20


def test_rules_of_a_user_may_fail_in_the_middle_of_things(find):
    class Midway(toys.Correct):
        @rule()
        def fail(self):
            self.deposit(amount=1)
            raise ValueError("midway")

    done = find(Midway)
    assert isinstance(done.error, ValueError)
    assert done.steps == ["state.fail()"]
