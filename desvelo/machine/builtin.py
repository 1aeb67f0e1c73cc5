"""The rules that every concurrent machine has: waiting, cancelling, faults, the schedule."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from desvelo.fault import Fault
from desvelo.machine.bridge import guarded
from desvelo.machine.injecting import allowed, fault_numbers, strike_of, variants
from desvelo.machine.journal import Journal
from desvelo.machine.plan import Explicit, operation_deviations, plans, policy_for
from desvelo.machine.rules import PENDING
from desvelo.oracle.linearizability import Call
from desvelo.world import Operation, World


class BuiltInRules(RuleBasedStateMachine):
    """What can happen to a system besides its own operations."""

    faults: ClassVar[tuple[Fault, ...]] = ()
    """The faults that may be injected."""

    most_faults: ClassVar[int | None] = None
    """How many faults one program may have; as many as it has steps, unless it is given."""

    cancellable: ClassVar[bool] = True
    """Whether operations may be cancelled; threads never are."""

    most_cancels: ClassVar[int] = 1
    """How often the schedule may cancel in one execution, besides the ``cancel`` steps."""

    runtime: ClassVar[str] = "asyncio"
    """``threads`` makes each operation a thread: all methods are plain functions then."""

    longest_elapse: ClassVar[float] = 60.0
    """How many virtual seconds one ``elapse`` may let pass; with 0 there is no such step."""

    world: World
    """The simulated world that the machine runs in."""

    journal: Journal

    @initialize(plan=plans())
    def interleave(self, plan: dict[str, Any]) -> None:
        """Say how this example is interleaved: by a policy, or by deviations at its steps."""
        if self.journal.rerun is not None:
            self.world.reseed(self.journal.seed)
            return
        self.journal.policy_name = plan["policy"]
        self.journal.seed = plan["seed"]
        self.world.reseed(plan["seed"])
        self.journal.decider.policy = policy_for(
            self.journal.policy_name,
            plan["seed"],
            plan.get("steps", 100),
            threads=self.runtime == "threads",
        )
        self.journal.decider.add("world", plan.get("world", ()))

    @rule(polls=st.integers(1, 40))
    def advance(self, polls: int) -> None:
        """Let the world run for some iterations of the loop."""
        self.run_in_world(self.world.step, polls)

    @rule(handle=PENDING)
    def wait_for(self, handle: Operation) -> None:
        """Run until one operation has ended."""
        self.run_in_world(self.world.finish, [handle])

    @rule()
    def settle(self) -> None:
        """Run until nothing is in flight."""
        self.come_to_rest()

    @precondition(lambda self: self.longest_elapse > 0)
    @rule(seconds=st.sampled_from((0.01, 0.1, 1.0, 5.0, 30.0, 60.0, 600.0, 4000.0)))
    def elapse(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.run_in_world(self.world.elapse, min(seconds, self.longest_elapse))

    @precondition(lambda self: self.cancellable and self.runtime != "threads")
    @rule(handle=PENDING, deviations=operation_deviations())
    def cancel(self, handle: Operation, deviations: list[Explicit] | None = None) -> None:
        """Cancel an operation, at the moment that the schedule decides."""
        self._let_happen("cancel", handle.cancel, deviations)

    @precondition(lambda self: bool(allowed(self)))
    @rule(
        handle=PENDING,
        number=fault_numbers(),
        variant=variants(),
        deviations=operation_deviations(),
    )
    def inject(
        self,
        handle: Operation,
        number: int,
        variant: int = 0,
        deviations: list[Explicit] | None = None,
    ) -> None:
        """Let something go wrong for an operation, at the moment that the schedule decides."""
        fault = self.faults[number % len(self.faults)]
        self.journal.injected.append(fault.name)
        name = f"{fault.name}-{len(self.journal.actors) + 1}"
        strike = strike_of(self, fault, handle, variant % fault.variants, name)
        self._let_happen(fault.name, strike, deviations)

    # what comes into the schedule

    def start_operation(
        self,
        function: Callable[..., Any],
        arguments: dict[str, Any],
        deviations: list[Explicit] | None,
    ) -> Operation:
        """Start an operation; `operation` makes rules that call this."""
        name = self._new_actor(function.__name__, deviations)
        handle = self.world.start(
            name,
            lambda: guarded(
                lambda: function(self, **arguments), asynchronous=iscoroutinefunction(function)
            ),
        )
        self.journal.calls.append(Call(function.__name__, arguments, handle))
        return handle

    def _new_actor(self, what: str, deviations: list[Explicit] | None) -> str:
        """Name what comes into the schedule, and tell the decider how it deviates."""
        name = f"{what}-{len(self.journal.actors) + 1}"
        self.journal.actors.append(name)
        if deviations is not None:
            # Whatever a rule of the user starts by itself has drawn nothing of its own.
            self.journal.drawn.append(name)
            self.journal.decider.add(name, deviations)
        if self.journal.program.steps:
            self.journal.program.steps[-1].actors.append(name)
        return name

    def _let_happen(
        self, what: str, action: Callable[[], None], deviations: list[Explicit] | None
    ) -> None:
        """Post something that befalls the system; it is an actor of its own in the schedule."""
        name = self._new_actor(what, deviations)
        selector = self.world.selector
        self.world.post("arrive", name, lambda: selector.call(action), unhurried=True)

    # what the machine says of these

    def run_in_world(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Let the world run, and judge what has ended."""
        raise NotImplementedError

    def come_to_rest(self) -> None:
        """Run until nothing is in flight."""
        raise NotImplementedError
