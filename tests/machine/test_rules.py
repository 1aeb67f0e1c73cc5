"""What a machine can do: operations, built-in steps, checks, and Hypothesis' own features."""

import asyncio
import gc
from typing import ClassVar

import pytest
import toys
from hypothesis import Verbosity, assume, event, note, seed, settings, target
from hypothesis import strategies as st
from hypothesis.errors import InvalidDefinition
from hypothesis.internal import observability
from hypothesis.stateful import (
    Bundle,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from toys import Correct

from desvelo import ConcurrentMachine, at_rest, fault, operation
from desvelo.errors import UsageError
from desvelo.failure import Deadlock, Hang, Leak
from desvelo.fault import ALL
from desvelo.machine.profiles import DEFAULT, machine_settings
from desvelo.machine.search import run_machine
from desvelo.world import boundary


class Empty(ConcurrentMachine):
    """Something to build small machines on."""

    @operation()
    async def nothing(self):
        await asyncio.sleep(0)


def test_an_operation_starts_and_returns_a_handle():
    state = Correct()
    handle = state.deposit(amount=3)
    assert (handle.state, state.balance) == ("waiting", 0)
    state.wait_for(handle=handle)
    assert (handle.state, handle.result, state.balance) == ("returned", 3, 3)
    state.teardown()


def test_plain_functions_are_operations_too():
    class Plain(ConcurrentMachine):
        @operation()
        def call(self):
            return 7

    state = Plain()
    handle = state.call()
    state.settle()
    assert handle.result == 7
    state.teardown()


def test_advance_lets_the_world_run_a_little():
    state = Correct()
    handle = state.deposit(amount=3)
    state.advance(polls=1)
    assert handle.state == "running"
    state.advance(polls=5)
    assert handle.state == "returned"
    state.teardown()


def test_elapse_lets_virtual_time_pass_up_to_a_bound():
    class Sleeper(ConcurrentMachine):
        longest_elapse = 10

        @operation()
        async def sleep(self):
            await asyncio.sleep(20)

    state = Sleeper()
    handle = state.sleep()
    state.elapse(seconds=4000)
    assert not handle.done
    state.elapse(seconds=10)
    state.elapse(seconds=1)
    assert handle.done
    state.teardown()


def test_a_cancelled_operation_is_no_failure_and_can_be_waited_for():
    state = Correct()
    handle = state.deposit(amount=3)
    state.cancel(handle=handle)
    state.wait_for(handle=handle)
    state.wait_for(handle=handle)
    assert handle.state == "cancelled"
    state.cancel(handle=handle)
    state.teardown()


@pytest.mark.parametrize("one", ALL, ids=repr)
def test_every_fault_can_be_injected(one, find):
    class Faulty(toys.CheckThenInsert):
        faults = (one,)
        expected_errors = (Exception,)

        @at_rest()
        def every_name_is_stored_once(self):
            pass

    state = Faulty()
    handle = state.store(name="a")
    state.advance(polls=3)
    state.inject(handle=handle, number=0)
    state.settle()
    assert handle.done
    state.teardown()


def test_faults_are_named_as_they_are_written():
    assert repr(fault.lose_ack) == "fault.lose_ack"


def test_expected_errors_are_outcomes(find):
    class Refusing(Empty):
        expected_errors = (ConnectionError,)

        @operation()
        async def refuse(self):
            raise ConnectionError("no")

    assert find(Refusing, examples=20).error is None


def test_other_errors_are_failures(find):
    class Refusing(Empty):
        @operation()
        async def refuse(self):
            raise ConnectionError("no")

    done = find(Refusing, examples=20)
    assert isinstance(done.error, ConnectionError)
    assert done.steps == ["state.refuse()"]


def test_what_cannot_be_cancelled_is_not(find):
    class Careful(Empty):
        cancellable = False

        @operation()
        async def work(self):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                raise AssertionError("cancelled") from None

    assert find(Careful, examples=60).error is None


class Register:
    """A sequential register."""

    def __init__(self):
        self.value = 0

    def write(self, value):
        self.value = value

    def read(self):
        return self.value


class Linear(ConcurrentMachine):
    model = Register
    cancellable = False

    async def setup(self):
        self.value = 0

    @operation(value=st.integers(1, 3))
    async def write(self, value):
        await asyncio.sleep(0)
        self.value = value

    @operation()
    async def read(self):
        await asyncio.sleep(0)
        return self.value


def test_histories_that_fit_the_model_are_accepted(find):
    assert find(Linear, examples=60).error is None


def test_histories_that_fit_no_order_are_rejected(find):
    class Stale(Linear):
        @operation()
        async def read(self):
            seen = self.value
            await asyncio.sleep(3)
            self.value = seen
            return seen

    done = find(Stale)
    assert done.finding.kind == "not-linearizable"
    assert "no order of" in done.text
    assert "The shortest part of the history that no order explains" in done.finding.story()


def test_what_shutdown_leaves_open_is_a_leak(find):
    class Leaky(Empty):
        async def setup(self):
            self.task = None

        async def shutdown(self):
            pass

        @operation()
        async def spawn(self):
            self.task = asyncio.ensure_future(asyncio.sleep(1e6))

    done = find(Leaky, examples=30)
    assert isinstance(done.error, Leak)
    assert done.steps == ["state.spawn()"]


def test_a_deadlock_is_found(find):
    class Stuck(Empty):
        cancellable = False

        @operation()
        async def wait(self):
            await asyncio.Event().wait()

    done = find(Stuck, examples=30)
    assert isinstance(done.error, Deadlock)
    assert done.steps == ["state.wait()"]


def test_a_hang_is_found(find):
    class Endless(Empty):
        world_options: ClassVar = {"max_polls": 300}

        @operation()
        async def spin(self):
            while True:  # noqa: ASYNC110 - that is the bug
                await asyncio.sleep(0)

    done = find(Endless, examples=30)
    assert isinstance(done.error, Hang)
    assert done.steps == ["state.spin()"]


def test_errors_of_background_tasks_are_found(find):
    class Background(Empty):
        @operation()
        async def spawn(self):
            async def fail():
                raise KeyError("lost")

            asyncio.ensure_future(fail())  # noqa: RUF006 - that is the bug

    done = find(Background, examples=30)
    assert isinstance(done.error, KeyError)
    assert done.steps == ["state.spawn()"]


def test_checks_and_shutdown_that_wait_for_ever_are_failures(find):
    class Waiting(Empty):
        @at_rest()
        async def look(self):
            if self.world.operations:
                await asyncio.Event().wait()

    assert "look() waits for something that never comes" in find(Waiting, examples=20).text

    class Closing(Empty):
        async def shutdown(self):
            await asyncio.Event().wait()

    assert "shutdown() waits for something that never comes" in find(Closing, examples=20).text


def test_setup_that_fails_is_told_as_it_is(find):
    class Broken(Empty):
        async def setup(self):
            raise OSError("no disk")

    done = find(Broken, examples=20)
    assert isinstance(done.error, OSError)
    assert boundary.current() is None

    class Waits(Empty):
        async def setup(self):
            await asyncio.Event().wait()

    assert "Waits.setup() waits for something that never comes" in find(Waits, examples=5).text


def test_what_a_plain_rule_changes_is_looked_at(find):
    class Tampered(Correct):
        @rule()
        def tamper(self):
            self.balance = -1

    done = find(Tampered)
    assert done.steps == ["state.tamper()"]


# Hypothesis' own features


def test_pasted_steps_are_looked_at_one_by_one_as_they_were_when_the_failure_was_found():
    class Looked(Empty):
        async def setup(self):
            self.looks = []

        @at_rest()
        def at_most_a_minute_goes_by(self):
            self.looks.append(self.world.loop.time())
            assert self.looks[-1] - self.looks[0] < 60, "too long"

    state = Looked()
    try:
        state.elapse(seconds=30.0)
        with pytest.raises(AssertionError, match="too long"):
            state.elapse(seconds=60.0)
        assert len(state.looks) == 3
    finally:
        with pytest.raises(AssertionError, match="too long"):
            state.teardown()


def test_bundles_preconditions_initialize_and_invariants_keep_working(find):
    class Featured(Empty):
        names = Bundle("names")
        looked = 0

        @initialize(target=names, first=st.sampled_from("ab"))
        def begin_with(self, first):
            self.known = [first]
            return [first]

        @rule(target=names, new=st.sampled_from("cd"))
        def two_more(self, new):
            self.known += [new, new]
            return multiple([new], [new, new])

        @rule(old=consumes(names))
        def drop(self, old):
            assert isinstance(old, list)

        @operation(name=names)
        async def use(self, name):
            assert name[0] in self.known

        @precondition(lambda self: len(self.known) > 2)
        @rule(several=st.lists(names, max_size=3))
        def only_later(self, several):
            assert len(self.known) > 2

        @invariant()
        def knows_something(self):
            assert self.known
            type(self).looked += 1

    assert find(Featured, examples=60).error is None
    assert Featured.looked


def test_values_of_bundles_are_the_same_ones_when_the_program_runs_again(find):
    class Shared(Empty):
        boxes = Bundle("boxes")

        async def setup(self):
            self.made = []

        @rule(target=boxes)
        def make(self):
            self.made += [[], []]
            return multiple(*self.made[-2:])

        @operation(box=boxes)
        async def fill(self, box):
            assert any(one is box for one in self.made), "a copy"
            await asyncio.sleep(0)
            box.append(1)

        @at_rest()
        def no_box_is_filled_twice(self):
            assert all(len(one) < 2 for one in self.made), "filled twice"

    done = find(Shared)
    assert "filled twice" in done.text
    assert done.size == (3, 0)


def test_teardown_may_be_overridden_without_super(find):
    ended = []

    class Ends(Correct):
        def teardown(self):
            ended.append(self.world)

    assert find(Ends, examples=10).error is None
    assert len(ended) > 10
    assert all(world.closed for world in ended)


def test_a_failing_teardown_is_a_failure(find):
    class Ends(Correct):
        def teardown(self):
            if self.deposited:
                raise ValueError("not now")

    done = find(Ends, examples=30)
    assert isinstance(done.error, ValueError)


def test_note_event_and_target_work_inside_rules(find):
    class Talks(Correct):
        @rule(n=st.integers(0, 5))
        def talk(self, n):
            note(f"n is {n}")
            event("talked")
            target(n, label=f"n {len(self.journal.program.steps)}")

    assert find(Talks, examples=20).error is None


def test_assume_ends_an_example_and_nothing_else(find):
    class Picky(Correct):
        worlds: ClassVar = []

        @rule(n=st.integers(0, 5))
        def pick(self, n):
            self.worlds.append(self.world)
            assume(n < 5)

        @operation()
        async def slow(self):
            await asyncio.sleep(30)

    assert find(Picky, examples=60).error is None
    assert all(world.closed for world in Picky.worlds)
    assert boundary.current() is None


def test_drawing_inside_a_rule_works_with_less_shrinking(find):
    class Draws(Correct):
        @rule(data=st.data())
        def set_balance(self, data):
            self.balance += data.draw(st.integers(0, 100), label="more")

    done = find(Draws)
    assert done.error is not None
    assert done.finding.kind == "race"
    assert len(done.steps) == 1
    assert "Draw 1 (more): 1" in done.text


def test_drawing_inside_a_rule_beside_a_race_works(find):
    done = find(toys.DrawsOn, examples=300)
    assert "of" in str(done.error)
    again = done.finding.replay()
    assert (again.failed, again.identical) == (True, True)


def test_a_rule_that_starts_operations_itself_is_told_all_the_same(find):
    class Bursts(toys.LostUpdate):
        @rule()
        def burst(self):
            self.slow(amount=1)
            self.quick(amount=2)

    done = find(Bursts, examples=200)
    assert isinstance(done.error, AssertionError)
    assert done.finding.deviations <= 1


def test_seed_on_the_class_repeats_the_search(find):
    seen = []

    @seed(5)
    class Seeded(Correct):
        @rule(n=st.integers(0, 10**9))
        def draw(self, n):
            seen.append(n)

    find(Seeded, seed=None, examples=10)
    first, seen[:] = seen[:], []
    find(Seeded, seed=None, examples=10)
    assert first == seen
    assert first


def test_settings_on_the_test_case_are_used():
    class Few(Correct):
        runs = 0

        async def setup(self):
            type(self).runs += 1
            await super().setup()

    Few.TestCase.settings = settings(max_examples=3, database=None)
    Few.TestCase("runTest").runTest()
    assert 3 <= Few.runs <= 30


def test_profiles_of_the_user_are_used_without_a_deadline():
    name = settings.get_current_profile_name()
    settings.register_profile("mine", max_examples=7)
    try:
        settings.load_profile("mine")
        assert machine_settings().max_examples == 7
    finally:
        settings.load_profile(name)


def test_our_profile_is_neither_derandomized_nor_without_database_where_ci_is_set():
    name = settings.get_current_profile_name()
    try:
        settings.load_profile("ci")
        ours = machine_settings()
        assert ours == settings.get_profile(DEFAULT)
        assert ours.derandomize is False
        assert ours.database is not None
    finally:
        settings.load_profile(name)


def test_observability_does_not_break(find):
    told = []
    observability.add_observability_callback(told.append)
    try:
        assert find(Correct, examples=5).error is None
    finally:
        observability.remove_observability_callback(told.append)
    assert told


def test_verbosity_debug_works(find, capsys):
    assert find(Correct, examples=3, verbosity=Verbosity.debug).error is None
    assert "state = Correct()" in capsys.readouterr().out


def test_a_machine_without_operations_is_refused():
    class Nothing(ConcurrentMachine):
        pass

    with pytest.raises(InvalidDefinition, match="Nothing has no @operation"):
        Nothing()


def test_a_strategy_that_yields_nothing_is_named(find):
    class Never(Empty):
        @operation(value=st.nothing())
        async def use(self, value):
            pass

    assert str(find(Never).error) == (
        "Never.use: the strategy of 'value' yields nothing, so the step can never be taken"
    )


def test_a_check_cannot_be_a_rule_as_well():
    with pytest.raises(InvalidDefinition, match="@at_rest and a rule"):

        class Both(Empty):
            @at_rest()
            @rule()
            def look(self):
                pass


def test_a_machine_may_run_while_somebody_handles_an_error():
    try:
        raise LookupError("before")
    except LookupError:
        state = Correct()
        state.deposit(amount=1)
        state.teardown()
        assert state.journal.report.failure is None
        assert state.journal.calls == []


def test_long_programs_work(find):
    done = find(Correct, examples=2, stateful_step_count=150)
    assert done.error is None
    gc.collect()


def test_a_machine_whose_operations_can_never_start_is_not_green():
    class Idle(ConcurrentMachine):
        @operation(value=st.integers().filter(lambda value: False))
        async def go(self, value):
            raise ValueError(value)

    with pytest.raises(UsageError, match="no operation was started"):
        run_machine(Idle, settings(machine_settings(), max_examples=10))
