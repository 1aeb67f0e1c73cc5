"""Which step comes next: drawn so that a step can be cut out of the choice sequence.

Hypothesis draws, on the way, which rules an example leaves out ("swarm testing"), and picks
among those that are possible at the moment. Both make what a choice means depend on the steps
before it: a sequence from which a step was cut would mean another program. Here a rule is a
number among all rules, and those that are left out follow from the seed of the plan.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.errors import InvalidDefinition
from hypothesis.stateful import Bundle

from desvelo.machine.bridge import number_of_choices

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine

WAITING = frozenset({"advance", "wait_for", "settle", "elapse"})
"""The built-in steps that only let something happen."""


def rules_in_order(machine: ConcurrentMachine) -> list[Any]:
    """Return the rules of a machine: those that start something first, the simplest first."""
    return sorted(
        machine.setup_state().rules,
        key=lambda one: (
            not getattr(one.function, "_desvelo_operation", False),
            len(one.arguments_strategies),
            one.function.__name__,
        ),
    )


def left_out(machine: ConcurrentMachine) -> frozenset[str]:
    """Return the rules that this example does without, for more variety between examples."""
    if machine.journal.policy_name == "fifo":
        return frozenset()
    chance = random.Random(f"rules {machine.journal.seed}")
    often = max(chance.uniform(-0.3, 0.6), 0.0)
    rules = rules_in_order(machine)
    out = {one.function.__name__ for one in rules if chance.random() < often}
    return frozenset(out - {chance.choice(_operations(rules)).function.__name__})


def _operations(rules: list[Any]) -> list[Any]:
    return [one for one in rules if getattr(one.function, "_desvelo_operation", False)]


@st.composite
def next_step(draw: st.DrawFn, machine: ConcurrentMachine) -> tuple[Any, dict[str, Any]]:
    """Draw a rule that is possible now, and its arguments."""
    rules = rules_in_order(machine)
    possible = [one for one in rules if machine.is_possible(one)]
    if not possible:
        names = ", ".join(one.function.__name__ for one in rules)
        raise InvalidDefinition(
            f"{type(machine).__name__} can take no step any more: none of its rules ({names}) has "
            "preconditions that hold and bundles that hold something"
        )
    start = number_of_choices()
    rule = rules[draw(st.integers(0, len(rules) - 1))]
    if machine.journal.policy_name == "fifo":
        while rule not in possible:
            rule = rules[(rules.index(rule) + 1) % len(rules)]
    else:
        rule = _something_else(machine, rule, possible)
    if number_of_choices() == start + 1:
        machine.journal.places.rules.append((start, rules.index(rule)))
    return rule, {name: _argument(draw, machine, one) for name, one in _strategies(rule)}


def _something_else(machine: ConcurrentMachine, rule: Any, possible: list[Any]) -> Any:
    """Return a rule that says something, if the one that was drawn does not."""
    out = left_out(machine)
    idle = WAITING if not machine.world.operations else frozenset()
    useful = [
        one
        for one in possible
        if one.function.__name__ not in out and one.function.__name__ not in idle
    ] or possible
    if rule in useful:
        return rule
    chance = random.Random(f"{machine.journal.seed} {len(machine.journal.program.steps)}")
    operations = _operations(useful)
    return chance.choice(operations if operations and chance.random() < 0.5 else useful)


def _strategies(rule: Any) -> list[tuple[str, Any]]:
    # The deviations come last: they are cut and put in where the other arguments stay.
    pairs = list(rule.arguments_strategies.items())
    return sorted(pairs, key=lambda pair: pair[0] == "deviations")


def _argument(draw: st.DrawFn, machine: ConcurrentMachine, strategy: Any) -> Any:
    if not isinstance(strategy, Bundle):
        return draw(strategy)
    inside = [machine.maker_of(reference.name) for reference in machine.bundle(strategy.name)]
    start = number_of_choices()
    value = draw(strategy)
    if number_of_choices() == start + 1:
        machine.journal.places.handles.append((start, inside[::-1]))
    return value
