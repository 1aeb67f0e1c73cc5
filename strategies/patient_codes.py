"""Patient codes: those in use, those that hurt, and pools so small that calls meet.

A patient code is the only name that a webhook, a cache key and a database row have in common.
A race needs two calls that agree on it, so what matters is less which codes are drawn than how
often the same one, or nearly the same one, is drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from strategies.confusables import BLANKS, ZERO_WIDTH, confusable_with, skeleton


def patient_codes() -> SearchStrategy[str]:
    """Patient codes of every shape that was seen in use; the simplest is ``TEST-001``.

    >>> from strategies import minimal
    >>> minimal(patient_codes())
    'TEST-001'
    >>> minimal(patient_codes(), lambda code: code.startswith("TEMP-"))
    'TEMP-00000000'
    """
    small = st.integers(0, 30)
    site = st.sampled_from(["CD", "VG"]) | st.text(ascii_uppercase, min_size=2, max_size=6)
    return st.one_of(
        st.integers(1, 999).map("TEST-{:03}".format),
        st.integers(1, 9_999).map("TEST-{}".format),
        st.integers(1, 999).map("SIM-{:03}".format),
        st.builds("STRESS-{}-{}".format, small, small),
        st.builds("{}-{}-{:03}".format, site, st.integers(2025, 2030), st.integers(1, 999)),
        st.integers(0, 0xFFFF_FFFF).map("TEMP-{:08X}".format),
    )


def hostile_codes() -> SearchStrategy[str | None]:
    """Things that arrive where a patient code should be: empty, ``None``, blank, huge, injected.

    All of them survive JSON and UTF-8, so they do reach the code under test; a lone surrogate
    does not and is left to `hostile_bytes`. ``*`` and ``:`` are in the list because cache keys
    are ``patient:{code}:*``, and NUL because a PostgreSQL text cannot hold it.

    >>> from strategies import minimal
    >>> minimal(hostile_codes())
    ''
    >>> len(minimal(hostile_codes(), lambda code: code is not None and len(code) > 100))
    255
    """
    return st.one_of(
        st.just(""),
        st.none(),
        st.sampled_from([*BLANKS, "   ", *ZERO_WIDTH]),
        st.builds("{}{}".format, patient_codes(), st.sampled_from(_CONTROLS)),
        st.sampled_from(_INJECTIONS),
        # Limits of columns, index rows (a B-tree entry of PostgreSQL ends at 2,704 bytes), headers.
        st.builds(
            lambda char, size: char * size, st.sampled_from("A0é🏥"), st.sampled_from(_LENGTHS)
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    )


_CONTROLS = ("\x00", "\x07", "\x1b[2J", "\x7f", "\r\nX-Injected: 1", "\u2028", "\u202e")
_LENGTHS = (255, 256, 1_601, 2_705, 8_191, 16_384)
_INJECTIONS = (
    "*", "%", "_", "?", "[", ":", "TEST-001:*", "TEST-%", "../../etc/passwd", "/dev/null", "null",
    "undefined", "NaN", "True", "-1", "1e309", "{0}", "%s%n", "${jndi:ldap://localhost/x}",
    "' OR '1'='1", "'; DROP TABLE patients; --", "TEST-001'", '"', "\\", "$1",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;", "]]>",
)  # fmt: skip


# Made once: pools are drawn at every execution, and making a strategy takes longer than drawing.
_IN_USE = patient_codes()
_SHAPES = st.sampled_from(((False, False), (True, False), (False, True), (True, True)))


@composite
def code_pools(draw: DrawFn, codes: SearchStrategy[str] | None = None) -> tuple[str, ...]:
    """One to three codes for a whole test case, so few that concurrent calls keep meeting.

    A pool is one code; or a code and another spelling of it; or a code, maybe another spelling
    of it, and an unrelated one. Two draws from one pool are equal or near-equal in three
    cases of four (1, 1, 1/2 and 5/9 for the four shapes); two of `patient_codes` hardly ever are.

    >>> from strategies import minimal
    >>> minimal(code_pools())
    ('TEST-001',)
    >>> minimal(code_pools(), lambda pool: len(pool) == 3)
    ('TEST-001', 'test-001', 'TEST-002')
    """
    code = draw(_IN_USE if codes is None else codes)
    pool = [code]
    spelled_twice, unrelated = draw(_SHAPES)
    if spelled_twice:
        pool.append(draw(confusable_with(code)))
    if unrelated:
        pool.append(draw(_unrelated_to(code)))
    return tuple(pool)


def _unrelated_to(code: str) -> SearchStrategy[str]:
    avoided = skeleton(code)
    numbers = [new for number in (1, 2) if skeleton(new := f"TEST-{number:03}") != avoided]
    return st.sampled_from(numbers)


def colliding_codes(
    n: int, pools: SearchStrategy[Sequence[str]] | None = None
) -> SearchStrategy[list[str]]:
    """``n`` codes for ``n`` concurrent calls, all of them from one small pool.

    >>> from strategies import minimal
    >>> minimal(colliding_codes(3))
    ['TEST-001', 'TEST-001', 'TEST-001']
    >>> minimal(colliding_codes(2), lambda codes: codes[0] != codes[1])
    ['TEST-001', 'test-001']
    """
    return (code_pools() if pools is None else pools).flatmap(
        lambda pool: st.lists(st.sampled_from(pool), min_size=n, max_size=n)
    )


_DEFAULT_POOLS = code_pools()


def pooled_codes(
    pools: SearchStrategy[Sequence[str]] = _DEFAULT_POOLS, key: str = "patient codes"
) -> SearchStrategy[str]:
    """One code at a time, every one of a test case from the same pool: for the rules of a machine.

    Rules draw apart from one another and could not agree on a pool; here they share it through
    ``key``. Use another key for another set of patients.

    >>> from strategies import minimal
    >>> from hypothesis import strategies as st
    >>> minimal(st.tuples(pooled_codes(), pooled_codes()), lambda pair: pair[0] != pair[1])
    ('TEST-001', 'test-001')
    """
    return st.shared(pools, key=key).flatmap(st.sampled_from)
