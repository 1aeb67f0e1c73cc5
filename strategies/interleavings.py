"""How calls are interleaved: policies by name, and the moments at which calls arrive.

A machine draws its interleaving by itself; these are for tests that call `desvelo.explore`, or
that start operations in a `desvelo.World`, and want Hypothesis to decide how.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

PLAIN = "fifo"
"""The order of stock asyncio on an idle machine, and what policies shrink to."""

MOST_POLLS = 64


def policies() -> SearchStrategy[str]:
    """Names of policies as `desvelo.explore` takes them, the tamest first.

    >>> from strategies import minimal
    >>> minimal(policies())
    'fifo'
    >>> minimal(policies(), lambda name: name.startswith("pct"))
    'pct(1)'
    """
    return st.one_of(
        st.just(PLAIN),
        st.integers(1, 4).map("delays({})".format),
        st.integers(1, 4).map("pct({})".format),
        st.sampled_from(("sticky(0.9)", "sticky(0.75)")),
        st.sampled_from(("random_walk(0.9)", "random_walk(0.75)", "random_walk(0.5)")),
        st.just("mix"),
    )


def seeds() -> SearchStrategy[int]:
    """Seeds of an exploration.

    >>> from strategies import minimal
    >>> minimal(seeds())
    0
    """
    return st.integers(0, 2**32 - 1)


def arrivals(names: Sequence[str], most: int = MOST_POLLS) -> SearchStrategy[dict[str, int]]:
    """For each call the loop iteration at which it arrives: all at once is the simplest.

    Arrivals are log-uniform: most calls meet in their first steps, some come far into another's
    life.

    >>> from strategies import minimal
    >>> minimal(arrivals(["first", "second"]))
    {'first': 0, 'second': 0}
    >>> minimal(arrivals(["first", "second"]), lambda when: when["second"] > when["first"])
    {'first': 0, 'second': 1}
    """
    sizes = [2**power for power in range(most.bit_length())]
    moment = st.sampled_from([0, *sizes]).flatmap(lambda size: st.integers(0, min(size, most)))
    return st.fixed_dictionaries(dict.fromkeys(names, moment))
