"""Student's t distribution, which tells how surely one number is no noise of a few others."""

from __future__ import annotations

import math

_MOST_TERMS = 300
_PRECISION = 1e-12
_TINY = 1e-300


def two_sided(t: float, freedom: float) -> float:
    """Return how probable ``|T| >= |t|`` is by chance, with ``freedom`` degrees of freedom.

    By the incomplete beta function: P = I(x; f/2, 1/2) with x = f / (f + t²) (DLMF 8.17).

    >>> round(two_sided(2.228, 10), 4), round(two_sided(0.0, 3), 4)
    (0.05, 1.0)
    """
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # The fraction converges quickly on one side only; the other follows by symmetry.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction DLMF 8.17.22 by Lentz's method (Applied Optics, 1976)."""
    c = 1.0
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
