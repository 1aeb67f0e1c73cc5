"""What a machine knows about its example, kept apart from its user's own attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from desvelo.machine.plan import MachineDecider, Places, Rerun
from desvelo.machine.program import Program

if TYPE_CHECKING:
    from desvelo.failure import Failure
    from desvelo.machine.report import MachineReport
    from desvelo.oracle.leaks import Account
    from desvelo.oracle.linearizability import Call


@dataclass
class Journal:
    """Everything that one example leaves behind."""

    rerun: Rerun | None = None
    decider: MachineDecider = field(default_factory=MachineDecider)
    policy_name: str = "fifo"
    seed: int = 0
    places: Places = field(default_factory=Places)
    program: Program = field(default_factory=Program)
    actors: list[str] = field(default_factory=list)
    """All actors that steps brought in, in order: operations, faults and cancellations."""
    drawn: list[str] = field(default_factory=list)
    """Those of them whose deviations were drawn."""
    calls: list[Call] = field(default_factory=list)
    failure: Failure | None = None
    checking: str = ""
    """The invariant that runs now, or that has failed."""
    report: MachineReport | None = None
    printed: list[str] = field(default_factory=list)
    makers: dict[str, int] = field(default_factory=dict)
    """Which step made each value that is in a bundle."""
    own_steps: int = 0
    """Steps of the machine's own rules so far: they may change what checks compare with."""
    looked: int = 0
    """Iterations of the loop that checks took: they do not count as something happening."""
    passed: dict[str, Any] = field(default_factory=dict)
    """When each check has passed for the last time."""
    judged: int = 0
    account: Account = field(init=False)
    """What this example opened."""
    ended: bool = False
    injected: list[str] = field(default_factory=list)
    """The faults that have come so far, by name."""
