"""The policies by name: how the decisions of one execution are drawn.

A policy is made anew for each execution from a seeded random source and the `Scale` of the
program. It answers one decision at a time; it never sees the future and keeps no state from
one execution to the next, so that a seed is enough to run it again.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from desvelo.errors import UsageError
from desvelo.schedule.decisions import Decider
from desvelo.schedule.fifo import Fifo
from desvelo.schedule.mix import PORTFOLIO, Make, delays, mixed, pct, pos, random_walk, sticky
from desvelo.schedule.preempting_jobs import PreemptingJobs, is_coin
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.threaded import ThreadWalk

POLICIES: dict[str, Make] = {
    "fifo": lambda random, scale: Fifo(),
    **{name: make for _, name, make in PORTFOLIO},
    "pos": pos,
}
"""Every policy by the name that options use; each draws its own parameter."""

_WITH_NUMBER: dict[str, tuple[str, Callable[[str], float], Callable[[float], bool], str]] = {
    "delays": ("delays(2)", int, lambda number: number >= 1, "a whole number from 1"),
    "pct": ("pct(3)", int, lambda number: number >= 1, "a whole number from 1"),
    "sticky": ("sticky(0.9)", float, lambda number: 0 <= number < 1, "from 0 to below 1"),
    "random_walk": ("random_walk(0.5)", float, lambda number: 0 < number <= 1, "above 0, up to 1"),
}


def policy_names() -> tuple[str, ...]:
    """Return the names that ``--policy`` takes, ``mix`` first."""
    return ("mix", *POLICIES)


def make_policy(name: str, seed: int, scale: Scale | int) -> Decider:
    """Return a fresh policy for one execution.

    ``name`` may carry a parameter: ``delays(2)``, ``pct(3)``, ``sticky(0.9)``,
    ``random_walk(0.75)``. ``scale`` tells how large the program is; a mere number is the
    expected number of decisions. Raises `UsageError` for a name that does not exist.

    >>> make_policy("pct(3)", seed=1, scale=100).decide("arrive", "a", 1000)
    0
    >>> make_policy("ptc", seed=1, scale=100)
    Traceback (most recent call last):
        ...
    desvelo.errors.UsageError: no policy is called 'ptc'; did you mean 'pct'? (mix, fifo, delays, pct, random_walk, sticky, pos)
    """  # noqa: E501 - the message is one line
    size = Scale.of(scale)
    if size.points and not size.threads and is_coin(seed):
        plain = make_policy(name, seed, replace(size, points=0))
        return plain if isinstance(plain, Fifo) else PreemptingJobs(plain, seed, size)
    random = Source(seed)
    if name == "mix":
        return mixed(random, size)
    if name == "random_walk" and size.threads:
        return ThreadWalk(random)
    if name in POLICIES:
        return POLICIES[name](random, size)
    base, bracket, argument = name.partition("(")
    if bracket and argument.endswith(")") and base in POLICIES:
        return _with_number(name, base, argument[:-1], random, size)
    raise UsageError(_no_such_policy(name))


def _with_number(name: str, base: str, argument: str, random: Source, scale: Scale) -> Decider:
    if base not in _WITH_NUMBER:
        raise UsageError(f"policy {name!r}: {base} takes no parameter")
    example, read, fits, rule = _WITH_NUMBER[base]
    try:
        number = read(argument)
    except ValueError as error:
        raise UsageError(f"policy {name!r}: {argument!r} is not {rule}, as in {example}") from error
    if not fits(number):
        raise UsageError(f"policy {name!r}: the parameter is {rule}, as in {example}")
    if base == "delays":
        return delays(random, int(number), scale)
    if base == "pct":
        return pct(random, int(number), scale)
    if base == "sticky":
        return sticky(random, number, scale)
    return random_walk(random, number, scale)


def _no_such_policy(name: str) -> str:
    close = difflib.get_close_matches(name, policy_names(), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no policy is called {name!r}{hint} ({', '.join(policy_names())})"
