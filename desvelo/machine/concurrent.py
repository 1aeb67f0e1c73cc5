"""`ConcurrentMachine`: a Hypothesis state machine whose rules start concurrent operations."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis.errors import InvalidDefinition
from hypothesis.stateful import Bundle

from desvelo.errors import StepLimitReached, TargetError, WorldStuck
from desvelo.execution import failed_operation, loop_failure, thread_failure
from desvelo.failure import Failure
from desvelo.machine import bridge
from desvelo.machine.builtin import BuiltInRules
from desvelo.machine.choose import next_step
from desvelo.machine.declarations import check_declarations, check_faults
from desvelo.machine.journal import Journal
from desvelo.machine.plan import current_rerun, draws_are_traced, kernel_of_draws
from desvelo.machine.report import BudgetSpent, MachineReport, collector
from desvelo.machine.rerun import is_warm_up, more_schedules
from desvelo.machine.rules import PENDING
from desvelo.machine.wrappers import (
    MACHINERY,
    concluding,
    endless,
    is_at_rest,
    looking_after_steps,
    naming,
    recording,
    stuck,
    vars_of,
)
from desvelo.oracle.deadlock import deadlock, hang
from desvelo.oracle.leaks import Account, allowed_leaks, with_holder
from desvelo.oracle.linearizability import check_history
from desvelo.schedule.decisions import Recorder
from desvelo.world import Operation, World


class ConcurrentMachine(BuiltInRules):
    """A rule-based state machine whose operations run concurrently in a simulated world.

    Write operations with `operation`, checks with `at_rest`, and everything else that
    Hypothesis knows (rules, bundles, preconditions, ``initialize``, invariants, ``teardown``).
    Override ``async def setup(self)`` to start the system under test and
    ``async def shutdown(self)`` to stop it: what is still open after that is a leak.

    >>> from desvelo import operation
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
    >>> state = Counter()
    >>> one, two = state.hit(), state.hit()
    >>> state.settle()
    >>> state.hits
    1
    >>> state.teardown()
    """

    pending: ClassVar[Bundle[Any]] = PENDING
    """The handles of started operations; rules may draw from it."""

    model: ClassVar[Any] = None
    """A sequential model: a class with a method for each operation.

    Histories must be linearizable to it.
    """

    expected_errors: ClassVar[tuple[type[BaseException], ...]] = ()
    """Errors of operations that are outcomes like any other, not failures."""

    world_options: ClassVar[dict[str, Any]] = {}
    """Settings of the world: latency, max_polls, network."""

    leaks: ClassVar[bool] = True
    """Whether what ``shutdown`` leaves open is a failure."""

    allow_leaks: ClassVar[Mapping[str, str]] = {}
    """Kinds of resources that may be left open all the same, each with the reason."""

    def __init__(self) -> None:
        super().__init__()
        rerun = current_rerun()
        self.journal = Journal(rerun)
        self._outer_error = sys.exc_info()[1]
        self._rules_strategy: Any = next_step(self)
        if rerun is not None:
            self.journal.seed = rerun.seed
        self.journal.decider.cancellable = self.cancellable
        trace = rerun.trace if rerun is not None else draws_are_traced()
        self.world = World(
            Recorder(
                rerun.decider if rerun is not None else self.journal.decider, keep_kinds=trace
            ),
            trace=trace,
            kernel=rerun.kernel if rerun is not None else kernel_of_draws(),
            runtime=self.runtime,
            **self.world_options,
        )
        self.world.network.watched = bool(self.faults)
        self.journal.account = Account(
            self.world, allowed_leaks(self.allow_leaks, type(self).__name__), judging=self.leaks
        )
        try:
            with self.journal.account.phase("setup()"):
                self._call_hook("setup")
            if self.runtime != "threads":
                self.world.settle()
        except WorldStuck as error:
            self.world.close()
            raise TargetError(
                f"{type(self).__name__}.setup() waits for something that never comes"
            ) from error
        except BaseException:
            self.world.close()
            raise
        self.world.begin_to_decide()
        if not self._under_control():
            looking_after_steps(self)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        taken = sorted(MACHINERY.intersection(vars(cls)))
        if taken:
            raise InvalidDefinition(
                f"{cls.__name__}.{taken[0]} has a name that every concurrent machine uses for "
                "itself; give it another"
            )
        check_declarations(cls)
        own = cls.__dict__.get("teardown")
        if own is not None and cls.__name__ != "ConcurrentMachine":
            setattr(cls, "teardown", concluding(own))  # noqa: B010 - a method, put in place of another

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
                    one.function = recording(one.function, initial=initial)
        state.invariants[:] = [
            one if is_at_rest(one) else replace(one, function=naming(one.function))
            for one in state.invariants
        ]
        if not any(getattr(f, "_desvelo_operation", False) for f in vars_of(cls)):
            raise InvalidDefinition(
                f"{cls.__name__} has no @operation: a concurrent machine needs something to run"
            )
        cls._refuse_async_functions()
        check_faults(cls)
        setattr(cls, "_desvelo_setup_state", state)  # noqa: B010 - our own mark
        return state

    @classmethod
    def _refuse_async_functions(cls) -> None:
        """Raise for what cannot be a thread in a machine of threads."""
        if cls.runtime != "threads":
            return
        for value in (*vars_of(cls), cls.setup, cls.shutdown):
            if getattr(value, "__module__", "") == __name__ or not callable(value):
                continue
            function = inspect.unwrap(value)
            if inspect.iscoroutinefunction(function):
                raise InvalidDefinition(
                    f"{function.__qualname__} is an async function; with runtime 'threads' all "
                    "functions of a machine are plain ones, each operation being a thread"
                )

    # what a machine overrides

    async def setup(self) -> None:
        """Start the system under test; runs in the world, in plain FIFO order."""

    async def shutdown(self) -> None:
        """Stop the system under test; what is open afterwards is a leak."""

    def _call_hook(self, name: str) -> None:
        """Call ``setup`` or ``shutdown``; those of this class are async and do nothing."""
        if self.runtime == "asyncio" or getattr(type(self), name) is not getattr(
            ConcurrentMachine, name
        ):
            self.world.call(getattr(self, name))

    # what rules and checks use

    @property
    def at_rest(self) -> bool:
        """Whether every operation has ended and nothing is under way."""
        return all(operation.done for operation in self.world.operations) and self.world.is_quiet()

    @property
    def started(self) -> list[Operation]:
        """Every operation that was started, in order."""
        return self.world.operations

    def run_check(self, function: Callable[..., Any]) -> None:
        """Run a check in the world in plain FIFO order: looking takes no decisions.

        A check that has passed is not run again before something else has happened.
        """
        __tracebackhide__ = True
        world, journal = self.world, self.journal
        happened = (
            world.selector.polls - journal.looked,
            len(world.operations),
            journal.own_steps,
        )
        if self._under_control() and journal.passed.get(function.__name__) == happened:
            return
        deciding, world.deciding = world.deciding, False
        before = world.selector.polls
        try:
            world.call(function, self)
        except WorldStuck:
            self._fail(stuck(function.__name__))
        except StepLimitReached as limit:
            self._fail(endless(function.__name__, limit))
        finally:
            world.deciding = deciding
            journal.looked += world.selector.polls - before
        journal.passed[function.__name__] = happened

    def _under_control(self) -> bool:
        """Whether steps are taken by Hypothesis or by a rerun, not by pasted code."""
        return bridge.in_example() or self.journal.rerun is not None

    def check_all_invariants(self) -> None:
        """Run the invariants, as Hypothesis does after each step."""
        __tracebackhide__ = True
        begun = not self._under_control() or self.initialized()
        for one in self.invariants:
            if (begun or one.check_during_init) and all(p(self) for p in one.preconditions):
                one.function(self)

    def initialized(self) -> bool:
        """Whether every ``initialize`` rule has run."""
        taken = {step.rule for step in self.journal.program.steps if step.initial}
        return all(one.function.__name__ in taken for one in self.setup_state().initializers)

    def check_invariants(
        self, settings: Any, output: Callable[[str], object], runtimes: Any
    ) -> None:
        """Check as Hypothesis does, without a printed line for each look at rest.

        Pasted steps are followed by the checks all the same: to print them after every step would
        bury the steps.
        """
        __tracebackhide__ = True
        quiet = {f"state.{one.function.__name__}()" for one in self.invariants if is_at_rest(one)}

        def told(text: str) -> None:
            if text not in quiet:
                output(text)

        super().check_invariants(settings, told, runtimes)

    # running and judging

    def run_in_world(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Let the world run, and judge what has ended."""
        __tracebackhide__ = True
        try:
            action(*arguments)
        except WorldStuck:
            self._fail(deadlock(self.world.operations, self.world))
        except StepLimitReached as limit:
            self._fail(hang(self.world.operations, limit, self.world))
        self._judge()

    def come_to_rest(self) -> None:
        """Run until nothing is in flight."""
        __tracebackhide__ = True
        self.run_in_world(self.world.finish, self.world.operations)
        self.run_in_world(self.world.settle)

    def _judge(self) -> None:
        """Fail when an operation has ended in an error that is not an outcome."""
        __tracebackhide__ = True
        lost = thread_failure(self.world)
        if lost is not None:
            self._fail(lost)
        ended = [
            operation
            for operation in self.world.operations
            if operation.done and not isinstance(operation.error, self.expected_errors)
        ]
        if len(ended) == self.journal.judged:
            return
        self.journal.judged = len(ended)
        found = failed_operation(ended)
        if found is not None:
            self._fail(found)

    def _fail(self, failure: Failure) -> None:
        __tracebackhide__ = True
        self.journal.failure = failure = with_holder(failure)
        raise failure.error

    def teardown(self) -> None:
        """Let everything end, check a last time, stop the system and look for leaks."""
        __tracebackhide__ = True
        self.conclude()

    def conclude(self) -> None:
        """End the example; does nothing the second time."""
        __tracebackhide__ = True
        if self.journal.ended:
            return
        self.journal.ended = True
        error = sys.exc_info()[1]
        if error is self._outer_error:
            # Somebody runs this example while he handles an error of his own.
            error = None
        doubtful = False
        try:
            if error is None:
                self._finish()
        except BaseException as raised:
            error = raised
            doubtful = self._may_be_warm_up()
            if not doubtful:
                raise
        finally:
            self.world.deciding = False
            self.journal.report = report = MachineReport.of(self, error)
            if error is not None:
                self._shut_down_anyway(error)
            self.journal.account.close()
            self.world.close()
            if error is not None and bridge.is_time_out(error):
                # Hypothesis would run the example again, and nobody would end it this time.
                collector().interrupted = cause = error.__cause__ or error
                raise BudgetSpent from cause
            if doubtful and is_warm_up(type(self), report):
                report.failure = error = None
            if error is not None and self.journal.rerun is None:
                collector().ended(report)
        if doubtful and error is not None:
            raise error
        if error is None and self.journal.rerun is None:
            collector().ended(report)
            self._try_more(report)

    def _may_be_warm_up(self) -> bool:
        """Whether it has failed for a leak, and there is a way to see whether it does so again."""
        failure = self.journal.failure
        return (
            failure is not None
            and failure.kind == "leak"
            and self.journal.rerun is None
            and bridge.in_example()
        )

    def _try_more(self, report: MachineReport) -> None:
        """Run the program of a clean example again, under further schedules, without drawing."""
        if report.control or self.journal.policy_name == "fifo" or not bridge.in_example():
            return
        found = more_schedules(type(self), report)
        if found is not None:
            collector().ended(found)
            assert found.failure is not None
            raise found.failure.error

    def _shut_down_anyway(self, error: BaseException) -> None:
        """Release what a failed or abandoned example holds; nobody judges it any more."""
        if bridge.is_time_out(error):
            # Somebody blocks for real: what has not begun must not begin and block again.
            for operation in self.world.operations:
                operation.done = True
            return
        self.world.max_polls = self.world.selector.polls + 5_000
        with contextlib.suppress(Exception):
            self._call_hook("shutdown")

    def _finish(self) -> None:
        __tracebackhide__ = True
        self.come_to_rest()
        self.check_all_invariants()
        if self.model is not None:
            self._check_model()
        self.world.deciding = False
        self._shut_down()
        self.run_in_world(self.world.settle)
        # What the operations hold must be let go before the garbage is looked at.
        self.journal.calls.clear()
        if self.leaks:
            leak = self.journal.account.judge(
                [("the machine", self)],
                survivors=type(self).shutdown is not ConcurrentMachine.shutdown,
            )
            if leak is not None:
                self._fail(leak)
        else:
            self.world.let_go()
            gc.collect(0)
        for context in self.world.loop_exceptions:
            found = loop_failure(context, leaks=self.leaks, allowed=self.allow_leaks)
            if found is not None:
                self._fail(found)

    def _shut_down(self) -> None:
        __tracebackhide__ = True
        try:
            with self.journal.account.phase("shutdown()"):
                self._call_hook("shutdown")
        except WorldStuck:
            self._fail(stuck("shutdown"))
        except StepLimitReached as limit:
            self._fail(endless("shutdown", limit))

    def _check_model(self) -> None:
        found = check_history(self.journal.calls, self.model)
        if found is not None:
            self._fail(found)

    # printing, and what the drawing of steps asks

    def is_possible(self, rule: Any) -> bool:
        """Whether a rule could be taken now."""
        return all(self.bundle(one.name) for one in rule.bundles) and all(
            condition(self) for condition in rule.preconditions
        )

    def maker_of(self, name: str) -> int:
        """Return the number of the step that made a value in a bundle."""
        makers = self.journal.makers
        for made in self.names_list[len(makers) :]:
            makers[made] = len(self.journal.program.steps) - 1
        return makers[name]

    def _repr_step(self, rule: Any, data: Any, result: Any) -> str:
        """Leave empty deviations out of what is printed."""
        shown = {
            name: value
            for name, value in data.items()
            if (name, value) not in {("deviations", "[]"), ("variant", "0")}
        }
        text = str(super()._repr_step(rule, shown, result))
        self.journal.printed.append(text)
        return text

    @classmethod
    @functools.cache
    def _to_test_case(cls) -> Any:
        from desvelo.machine.search import make_test_case

        return make_test_case(cls)


__all__ = ["ConcurrentMachine"]
