"""`ConcurrentMachine`: a Hypothesis state machine whose rules start concurrent operations."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule

from desvelo.errors import StepLimitReached, WorldStuck
from desvelo.execution import deadlock, failed_operation, hang, loop_failure
from desvelo.failure import Failure
from desvelo.machine import bridge
from desvelo.machine.fault import Fault
from desvelo.machine.plan import (
    Explicit,
    MachineDecider,
    Places,
    current_rerun,
    operation_deviations,
    plans,
    policy_for,
)
from desvelo.machine.program import Program
from desvelo.machine.report import MachineReport, collector
from desvelo.machine.rerun import more_schedules
from desvelo.machine.rules import PENDING
from desvelo.oracle.leaks import left_open
from desvelo.oracle.linearizability import Call, check_history
from desvelo.schedule.decisions import Recorder
from desvelo.world import Operation, World

T = TypeVar("T")


class ConcurrentMachine(RuleBasedStateMachine):
    """A rule-based state machine whose operations run concurrently in a simulated world.

    Write operations with `operation`, checks with `at_rest`, and everything else that
    Hypothesis knows (rules, bundles, preconditions, ``initialize``, invariants, ``teardown``).
    Override ``async def setup(self)`` to start the system under test and
    ``async def shutdown(self)`` to stop it: what is still open after that is a leak.

    >>> class Counter(ConcurrentMachine):
    ...     async def setup(self):
    ...         self.hits = 0
    ...
    ...     @operation()
    ...     async def hit(self):
    ...         import asyncio
    ...
    ...         seen = self.hits
    ...         await asyncio.sleep(0)
    ...         self.hits = seen + 1
    >>> from desvelo.machine.rules import operation
    """

    pending: ClassVar[Bundle[Any]] = PENDING
    """The handles of started operations; rules may draw from it."""

    model: ClassVar[Any] = None
    """A sequential model: a class with a method for each operation; histories must be linearizable to it."""

    faults: ClassVar[tuple[Fault, ...]] = ()
    """The faults that may be injected."""

    cancellable: ClassVar[bool] = True
    """Whether operations may be cancelled."""

    expected_errors: ClassVar[tuple[type[BaseException], ...]] = ()
    """Errors of operations that are outcomes like any other, not failures."""

    longest_elapse: ClassVar[float] = 60.0
    """How many virtual seconds one ``elapse`` may let pass."""

    world_options: ClassVar[dict[str, Any]] = {}
    """Settings of the world: latency, max_polls, network."""

    leaks: ClassVar[bool] = True
    """Whether what ``shutdown`` leaves open is a failure."""

    def __init__(self) -> None:
        super().__init__()
        rerun = current_rerun()
        self._decider = MachineDecider()
        decider = rerun.decider if rerun is not None else self._decider
        self.policy_name = "fifo"
        self.seed = rerun.seed if rerun is not None else 0
        self.places = Places()
        self.program = Program()
        self.failure: Failure | None = None
        self.report: MachineReport | None = None
        self._rerun = rerun
        self._started = 0
        self._judged = 0
        self._looked = 0
        """Iterations of the loop that checks took: they do not count as something happening."""
        self._passed: dict[str, tuple[int, int]] = {}
        self._ended = False
        self._calls: list[Call] = []
        self.operation_names: list[str] = []
        trace = rerun is not None and rerun.trace
        self.world = World(
            Recorder(decider, keep_kinds=trace),
            seed=rerun.seed if rerun is not None else 0,
            trace=trace,
            **self.world_options,
        )
        try:
            self.world.call(self.setup)
            self.world.settle()
        except BaseException:
            self.world.close()
            raise
        self.world.deciding = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.get("teardown")
        if own is not None and cls.__name__ != "ConcurrentMachine":
            cls.teardown = _concluding(own)  # type: ignore[method-assign]

    @classmethod
    def setup_state(cls) -> Any:
        """Let every rule be recorded, so that the program can be run again."""
        known = cls.__dict__.get("_desvelo_setup_state")
        if known is not None:
            return known
        state = super().setup_state()
        for kept, initial in ((state.rules, False), (state.initializers, True)):
            for one in kept:
                if not getattr(one.function, "_desvelo_recording", False):
                    one.function = _recording(one.function, initial=initial)
        if not any(getattr(f, "_desvelo_operation", False) for f in vars_of(cls)):
            from hypothesis.errors import InvalidDefinition

            raise InvalidDefinition(
                f"{cls.__name__} has no @operation: a concurrent machine needs something to run"
            )
        cls._desvelo_setup_state = state  # type: ignore[attr-defined]
        return state

    # what a machine overrides

    async def setup(self) -> None:
        """Start the system under test; runs in the world, in plain FIFO order."""

    async def shutdown(self) -> None:
        """Stop the system under test; what is open afterwards is a leak."""

    # built-in rules

    @initialize(plan=plans())
    def interleave(self, plan: dict[str, Any]) -> None:
        """Say how this example is interleaved: by a policy, or by deviations at its steps."""
        if self._rerun is not None:
            return
        self.policy_name = plan["policy"]
        self.seed = plan["seed"]
        self.world.reseed(plan["seed"])
        self._decider.policy = policy_for(self.policy_name, plan["seed"], plan.get("steps", 100))
        self._decider.add("world", plan.get("world", ()))

    @rule(polls=st.integers(1, 40))
    def advance(self, polls: int) -> None:
        """Let the world run for some iterations of the loop."""
        self._run(self.world.step, polls)

    @rule(handle=PENDING)
    def wait_for(self, handle: Operation) -> None:
        """Run until one operation has ended."""
        self._run(self.world.finish, [handle])

    @rule()
    def settle(self) -> None:
        """Run until nothing is in flight."""
        self._settle()

    @rule(seconds=st.sampled_from((0.01, 0.1, 1.0, 5.0, 30.0, 60.0, 600.0, 4000.0)))
    def elapse(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._run(self.world.elapse, min(seconds, self.longest_elapse))

    @precondition(lambda self: self.cancellable)
    @rule(handle=PENDING, deviations=operation_deviations())
    def cancel(self, handle: Operation, deviations: list[Explicit] | None = None) -> None:
        """Cancel an operation, at the moment that the schedule decides."""
        self._let_happen("cancel", handle.cancel, deviations or [])

    @precondition(lambda self: bool(self.faults))
    @rule(handle=PENDING, number=st.integers(0, 5), deviations=operation_deviations())
    def inject(
        self, handle: Operation, number: int, deviations: list[Explicit] | None = None
    ) -> None:
        """Let something go wrong for an operation, at the moment that the schedule decides."""
        fault = self.faults[number % len(self.faults)]

        def strike() -> None:
            if not handle.done:
                self.world.note("fault", handle.name, f"fault: {fault.name}")
                fault.strike(self.world, handle)

        self._let_happen(fault.name, strike, deviations or [])

    # what rules and checks use

    @property
    def at_rest(self) -> bool:
        """Whether every operation has ended and nothing is under way."""
        return all(operation.done for operation in self.world.operations) and self.world.is_quiet()

    @property
    def started(self) -> list[Operation]:
        """Every operation that was started, in order."""
        return self.world.operations

    def begin(
        self, function: Callable[..., Any], arguments: dict[str, Any], deviations: list[Explicit]
    ) -> Operation:
        """Start an operation; `operation` makes rules that call this."""
        self._started += 1
        name = f"{function.__name__}-{self._started}"
        self._names_step(name)
        self._decider.add(name, deviations)
        handle = self.world.start(name, lambda: function(self, **arguments))
        self._calls.append(Call(function.__name__, arguments, handle))
        return handle

    def _names_step(self, name: str) -> None:
        self.operation_names.append(name)
        if self.program.steps:
            self.program.steps[-1].actor = name

    def _let_happen(
        self, what: str, action: Callable[[], None], deviations: list[Explicit]
    ) -> None:
        """Post something that befalls the system; it is an actor of its own in the schedule."""
        self._started += 1
        name = f"{what}-{self._started}"
        self._names_step(name)
        self._decider.add(name, deviations)
        selector = self.world.selector
        self.world.post("arrive", name, lambda: selector.call(action), unhurried=True)

    def look(self, function: Callable[..., Any]) -> None:
        """Run a check in the world in plain FIFO order: looking takes no decisions.

        A check that has passed is not run again before something else has happened.
        """
        __tracebackhide__ = True
        world = self.world
        happened = (world.selector.polls - self._looked, len(world.operations))
        if self._passed.get(function.__name__) == happened:
            return
        deciding, world.deciding = world.deciding, False
        before = world.selector.polls
        try:
            world.call(function, self)
        finally:
            world.deciding = deciding
            self._looked += world.selector.polls - before
        self._passed[function.__name__] = happened

    def check_all_invariants(self) -> None:
        """Run the invariants, as Hypothesis does after each step."""
        __tracebackhide__ = True
        for one in self.invariants:
            if all(condition(self) for condition in one.preconditions):
                one.function(self)

    def check_invariants(
        self, settings: Any, output: Callable[[str], object], runtimes: Any
    ) -> None:
        """Check as Hypothesis does, without a printed line for each look at rest.

        The checks run whenever the pasted steps come to rest, and at the end: printing them
        after every step would bury the steps.
        """
        __tracebackhide__ = True
        quiet = {
            f"state.{one.function.__name__}()"
            for one in self.invariants
            if getattr(one.function, "_desvelo_at_rest", False)
        }

        def told(text: str) -> None:
            if text not in quiet:
                output(text)

        super().check_invariants(settings, told, runtimes)

    # running and judging

    def _run(self, action: Callable[..., Any], *arguments: Any) -> None:
        __tracebackhide__ = True
        try:
            action(*arguments)
        except WorldStuck:
            self._fail(deadlock(self.world.operations))
        except StepLimitReached as limit:
            self._fail(hang(self.world.operations, limit))
        self._judge()

    def _settle(self) -> None:
        __tracebackhide__ = True
        self._run(self.world.finish, self.world.operations)
        self._run(self.world.settle)

    def _judge(self) -> None:
        """Fail when an operation has ended in an error that is not an outcome."""
        __tracebackhide__ = True
        ended = [
            operation
            for operation in self.world.operations
            if operation.done and not isinstance(operation.error, self.expected_errors)
        ]
        if len(ended) == self._judged:
            return
        self._judged = len(ended)
        found = failed_operation(ended)
        if found is not None:
            self._fail(found)

    def _fail(self, failure: Failure) -> None:
        __tracebackhide__ = True
        self.failure = failure
        raise failure.error

    def teardown(self) -> None:
        """Let everything end, check a last time, stop the system and look for leaks."""
        __tracebackhide__ = True
        self.conclude()

    def conclude(self) -> None:
        """End the example; does nothing the second time."""
        __tracebackhide__ = True
        if self._ended:
            return
        self._ended = True
        error = sys.exc_info()[1]
        try:
            if error is None:
                self._finish()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.world.deciding = False
            self.report = report = MachineReport.of(self, error)
            if error is not None:
                self._shut_down_anyway()
            self.world.close()
            if error is not None and self._rerun is None:
                collector().ended(report)
        if error is None and self._rerun is None:
            collector().ended(report)
            self._try_more(report)

    def _try_more(self, report: MachineReport) -> None:
        """Run the program of a clean example again, under further schedules, without drawing."""
        if report.control or self.policy_name == "fifo" or not bridge.in_example():
            return
        found = more_schedules(type(self), report, self.world.selector.polls)
        if found is not None:
            collector().ended(found)
            assert found.failure is not None
            raise found.failure.error

    def _shut_down_anyway(self) -> None:
        """Release what a failed or abandoned example holds; nobody judges it any more."""
        self.world.max_polls = self.world.selector.polls + 5_000
        with contextlib.suppress(Exception):
            self.world.call(self.shutdown)

    def _finish(self) -> None:
        __tracebackhide__ = True
        self._settle()
        self.check_all_invariants()
        if self.model is not None:
            self._check_model()
        self.world.deciding = False
        self._run(self.world.call, self.shutdown)
        self._run(self.world.settle)
        # What the operations hold must be let go before the garbage is looked at.
        self._calls.clear()
        self.world.let_go()
        gc.collect(0)
        for context in self.world.loop_exceptions:
            found = loop_failure(context, leaks=self.leaks)
            if found is not None:
                self._fail(found)
        if self.leaks and type(self).shutdown is not ConcurrentMachine.shutdown:
            leak = left_open(self.world)
            if leak is not None:
                self._fail(leak)

    def _check_model(self) -> None:
        found = check_history(self._calls, self.model)
        if found is not None:
            self._fail(found)

    # printing

    def _repr_step(self, rule: Any, data: Any, result: Any) -> str:
        """Leave empty deviations out of what is printed."""
        shown = {
            name: value
            for name, value in data.items()
            if not (name == "deviations" and value == "[]")
        }
        text: str = super()._repr_step(rule, shown, result)  # type: ignore[misc]
        self.printed_steps().append(text)
        return text

    def printed_steps(self) -> list[str]:
        """Return the steps as code, as far as they were printed."""
        steps: list[str] | None = self.__dict__.get("_printed")
        if steps is None:
            steps = self.__dict__["_printed"] = []
        return steps

    @classmethod
    @functools.cache
    def _to_test_case(cls) -> Any:
        from desvelo.machine.search import make_test_case

        return make_test_case(cls)


def vars_of(cls: type) -> list[Any]:
    """Return every attribute of a class and its bases."""
    return [value for base in cls.__mro__ for value in vars(base).values()]


def _recording(function: Callable[..., Any], *, initial: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def step(self: ConcurrentMachine, **arguments: Any) -> Any:
        __tracebackhide__ = True
        self.program.record(function.__name__, arguments, initial=initial)
        index = len(self.program.results) - 1
        result = function(self, **arguments)
        self.program.results[index] = result
        return result

    step._desvelo_recording = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark
    return step


def _concluding(teardown: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let a machine's own teardown run first, and conclude in any case."""

    @functools.wraps(teardown)
    def both(self: ConcurrentMachine) -> None:
        try:
            teardown(self)
        finally:
            self.conclude()

    return both


__all__ = ["ConcurrentMachine"]
