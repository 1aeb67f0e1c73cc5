"""How much of the usual budget a machine is given."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

from desvelo import ConcurrentMachine


def case_of(machine: type[ConcurrentMachine], share: float) -> Any:
    """Return the test case of a machine, with a share of the examples that the profile gives.

    For machines whose executions take long, and of which few show what there is.
    """
    case = machine.TestCase
    usual = case.settings
    case.settings = settings(usual, max_examples=max(int(usual.max_examples * share), 5))
    return case
