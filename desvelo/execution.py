"""One execution of a scenario under one schedule, from set-up to verdict."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from desvelo.errors import (
    DesveloError,
    OutsideWorldError,
    ServerRefused,
    StepLimitReached,
    TargetError,
    TimeIsUp,
    UnsupportedInWorld,
    UsageError,
    WorldStuck,
)
from desvelo.failure import Deadlock, Failure, Hang, failure_of, site_of
from desvelo.fault.deciding import Striking
from desvelo.oracle.deadlock import deadlock, hang
from desvelo.oracle.leaks import Account, leak_from_loop, who_holds, with_holder
from desvelo.scenario import Scenario
from desvelo.schedule.cancelling import Life, Strike
from desvelo.schedule.decisions import Decider, Recorder, Schedule
from desvelo.world import MAX_POLLS, Operation, Trace, World
from desvelo.world.kernel import Kernel


@dataclass(frozen=True)
class Settings:
    """How executions are made; the same for all of one exploration."""

    latency: float = 0.1
    mode: str = "asyncio-order"
    leaks: bool = True
    max_polls: int = MAX_POLLS
    trace_files: Callable[[str], bool] | None = field(default=None, compare=False)
    """Whose lines a story shows."""
    kernel: Kernel | None = field(default=None, compare=False)
    """With one, a single execution on kernel sockets."""
    switch_files: Callable[[str], bool] | None = field(default=None, compare=False)
    """Whose lines are switch points of threads."""
    granularity: str = "line"


@dataclass
class Outcome:
    """What one execution did: its schedule, and its failure if it had one."""

    schedule: Schedule
    failure: Failure | None
    operations: tuple[str, ...]
    decisions: int
    kinds: list[tuple[str, str]] | None = None
    trace: Trace | None = None
    results: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    """What each operation was called with, where that was drawn."""
    refusals: list[DesveloError] = field(default_factory=list)
    virtual_seconds: float = 0.0
    polls: int = 0
    """Iterations of the loop from the first arrival to the end of the last operation."""
    points: int = 0
    """Switch points that its threads passed."""
    threads: int = 0
    """Controlled threads that were started."""
    lives: dict[str, Life] = field(default_factory=dict)
    """How long each operation could be cancelled, where the schedule has a say on that."""
    strikes: list[Strike] = field(default_factory=list)
    """The cancellations that came."""


def execute(
    scenario: Scenario,
    policy: Decider,
    settings: Settings,
    *,
    seed: int = 0,
    only: Collection[str] | None = None,
    trace: bool = False,
    until: float | None = None,
) -> Outcome:
    """Run a scenario once and judge it.

    ``only`` restricts it to some of its operations. Raises `TargetError` when the scenario
    cannot be set up or asks for what the world does not have, and `TimeIsUp` when it has not
    ended at ``until``, as `time.perf_counter` tells it.
    """
    recorder = Recorder(policy, keep_kinds=trace)
    world = World(
        recorder,
        seed=seed,
        latency=settings.latency,
        mode=settings.mode,
        max_polls=settings.max_polls,
        trace=trace,
        trace_files=settings.trace_files,
        kernel=settings.kernel,
        runtime=scenario.runtime,
        granularity=settings.granularity,
        switch_files=settings.switch_files,
        servers=scenario.servers,
        until=until,
    )
    run: _Run | None = None
    try:
        run = _Run(scenario, world, settings, only)
        failure = run.failure()
        if world.cut_short:
            raise TimeIsUp(
                f"still running after {world.selector.polls} {world.rounds}"
                + (f" and {world.threads.points} switch points" if world.threads.points else "")
            )
        kept = world.trace
        return Outcome(
            recorder.schedule(seed),
            failure,
            run.names,
            recorder.asked,
            recorder.kinds,
            kept,
            {operation.name: operation.outcome() for operation in world.operations}
            if trace
            else {},
            refusals=list(world.refusals),
            virtual_seconds=world.clock.now_ns / 1e9 - 1000,
            polls=run.polls,
            points=world.threads.points,
            threads=world.threads.started,
            lives=lives_of(world),
            strikes=strikes_of(world),
        )
    finally:
        if run is not None:
            run.account.close()
        world.close()


class _Run:
    """The phases of one execution."""

    def __init__(
        self, scenario: Scenario, world: World, settings: Settings, only: Collection[str] | None
    ) -> None:
        self._scenario = scenario
        self._world = world
        self._only = only
        self._leaks = settings.leaks and scenario.leaks
        self.account = Account(world, scenario.allow_leaks, judging=self._leaks)
        world.network.watched = bool(scenario.faults)
        self.names: tuple[str, ...] = ()
        self.polls = 0

    def failure(self) -> Failure | None:
        with self.account.phase("setup()"):
            state = self._set_up()
        found = self._operate(state) or thread_failure(self._world)
        if found is not None:
            found = with_holder(found)
        else:
            found = self._call("check", self._scenario.check, state)
        if found is None or found.kind not in ("deadlock", "hang"):
            after = self._call("teardown", self._scenario.teardown, state)
            found = found or after
            found = found or thread_failure(self._world)
        if found is None and self._leaks:
            found = self._look_for_leaks(state)
        return found or self._loop_failure()

    def _set_up(self) -> Any:
        world, scenario = self._world, self._scenario
        try:
            state = world.call(scenario.setup)
            self._refuse_coroutine("setup", state)
            if scenario.runtime != "threads":
                world.settle()
            calls = world.call(scenario.operations, state)
        except DesveloError as error:
            if isinstance(error, WorldStuck):
                raise TargetError(
                    f"scenario {scenario.name!r}: setup() waits for something that never comes"
                ) from error
            if isinstance(error, StepLimitReached):
                raise TargetError(
                    f"scenario {scenario.name!r}: what setup() started never comes to rest "
                    f"({error}); it spins without waiting, so nothing else can be told from it"
                ) from error
            if isinstance(error, (UnsupportedInWorld, OutsideWorldError)):
                raise TargetError(
                    f"scenario {scenario.name!r} cannot run in the simulated world: {error}"
                ) from error
            if isinstance(error, ServerRefused):
                raise TargetError(
                    f"scenario {scenario.name!r}: setup() failed at {site_of(error)}: {error}"
                ) from error
            raise
        except Exception as error:
            raise TargetError(
                f"scenario {scenario.name!r}: setup() failed: {type(error).__name__}: {error} "
                f"({'; '.join([site_of(error), *who_holds(error)])})"
            ) from error
        if self._only is not None:
            calls = {name: call for name, call in calls.items() if name in self._only}
        self.names = tuple(calls)
        self._calls = calls
        return state

    def _operate(self, state: Any) -> Failure | None:
        world, scenario = self._world, self._scenario
        before = world.selector.polls
        world.begin_to_decide()
        striking = Striking(world, scenario.faults, scenario.most_faults, self._function(state))
        operations = [
            world.start(name, striking.call_of(name, call)) for name, call in self._calls.items()
        ]
        del self._calls
        try:
            world.finish(operations)
            world.finish(world.operations)
        except WorldStuck:
            return deadlock(operations, self._world)
        except StepLimitReached as error:
            return hang(operations, error, world)
        finally:
            world.deciding = False
            self.polls = world.selector.polls - before
        return failed_operation(world.operations)

    def _function(self, state: Any) -> Callable[[str], Callable[[], Any]]:
        """Return what gives the scenario's own functions, with its state, to faults."""
        return lambda name: functools.partial(getattr(self._scenario.source, name), state)

    def _refuse_coroutine(self, where: str, found: Any) -> None:
        if self._scenario.runtime == "threads" and asyncio.iscoroutine(found):
            found.close()
            raise UsageError(
                f"scenario {self._scenario.name!r}: {where}() returned a coroutine; with runtime "
                "'threads' all functions are plain ones"
            )

    def _call(self, where: str, function: Callable[..., Any], state: Any) -> Failure | None:
        try:
            with self.account.phase(f"{where}()"):
                self._refuse_coroutine(where, self._world.call(function, state))
        except UsageError:
            raise
        except WorldStuck:
            error = Deadlock(f"{where}() waits for something that never comes")
            return Failure("deadlock", error, where, where)
        except StepLimitReached as limit:
            return Failure("hang", Hang(f"{where}() never ends: {limit}"), where, where)
        except Exception as error:
            return failure_of(error, where)
        return None

    def _look_for_leaks(self, state: Any) -> Failure | None:
        try:
            self._world.settle()
        except StepLimitReached as limit:
            return Failure(
                "hang",
                Hang(f"after teardown() it never comes to rest: {limit}"),
                "teardown",
                "teardown",
            )
        roots = [("what setup() returned", state), ("the scenario", self._scenario.source)]
        return self.account.judge(roots, survivors=self._scenario.has_teardown)

    def _loop_failure(self) -> Failure | None:
        """Judge what the loop's exception handler was told, once the garbage is out."""
        world = self._world
        if not self.account.judged:
            world.let_go()
            gc.collect(0)
        for context in world.loop_exceptions:
            found = loop_failure(context, leaks=self._leaks, allowed=self._scenario.allow_leaks)
            if found is not None:
                return found
        return None


def lives_of(world: World) -> dict[str, Life]:
    """Return how long the operations could be cancelled that the schedule has a say on."""
    busy = world.selector.busy_polls
    lives = {}
    for operation in world.operations:
        if operation.suspensions:
            begun, ended = operation.life
            lives[operation.name] = Life(
                ended - begun,
                operation.suspensions,
                frozenset(poll - begun for poll in range(begun + 1, ended + 1) if poll in busy),
                begun,
            )
    return lives


def strikes_of(world: World) -> list[Strike]:
    """Return the cancellations that the schedule decided on and that came."""
    return [
        Strike(operation.name, suspension)
        for operation in world.operations
        for suspension in operation.strikes
    ]


def thread_failure(world: World) -> Failure | None:
    """Judge the first error that ended a thread which nobody waits for."""
    for name, error in world.threads.errors:
        if isinstance(error, (UnsupportedInWorld, OutsideWorldError)):
            raise TargetError(
                f"thread {name!r} cannot run in the simulated world: {error}"
            ) from error
        return replace(failure_of(error, name), kind="error")
    return None


def loop_failure(
    context: dict[str, Any], *, leaks: bool, allowed: Collection[str] = ()
) -> Failure | None:
    """Judge one call of the loop's exception handler."""
    is_leak, leak = leak_from_loop(context, leaks=leaks, allowed=allowed)
    if is_leak:
        return leak
    error = context.get("exception")
    if isinstance(error, Exception):
        return failure_of(error, "loop")
    message = str(context.get("message", "the loop reported an error"))
    return Failure("error", RuntimeError(message), message.partition(":")[0], "loop")


def failed_operation(operations: list[Operation]) -> Failure | None:
    """Return the failure of the first operation that ended in an error, if any."""
    for operation in operations:
        error = operation.error
        if error is None or (operation.cancelled and operation.cancel_wanted):
            continue
        if isinstance(error, UsageError):
            raise error
        if isinstance(error, (UnsupportedInWorld, OutsideWorldError)):
            raise TargetError(
                f"operation {operation.name!r} cannot run in the simulated world: {error}"
            ) from error
        if isinstance(error, asyncio.CancelledError):
            return Failure("error", error, f"{operation.name} cancelled", operation.name)
        return failure_of(error, operation.name)
    return None
