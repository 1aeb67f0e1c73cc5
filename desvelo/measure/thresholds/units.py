"""Values with their units, as people write them: ``95 %``, ``30 s``, ``2 GB``, ``2 /s``."""

from __future__ import annotations

import difflib
import re
from decimal import Decimal

UNITS: dict[str, dict[str, float]] = {
    "share": {"%": 0.01},
    "s": {"µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    "B": {
        "B": 1.0,
        "kB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
    },
    "1/s": {"/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600},
    "cores": {"cores": 1.0},
    "": {"": 1.0},
}
"""For each unit of a `Metric`: what may be written, and how much it is."""

EXAMPLES = {"share": "95 %", "s": "30 s", "B": "2 GB", "1/s": "2 /s", "cores": "1.5 cores", "": "5"}

_VALUE = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>\D*?)\s*")


def parse(text: object, unit: str) -> float:
    """Read a value for a metric of this unit; raises `ValueError` that says what would be right.

    >>> parse("95 %", "share"), parse("2 GB", "B"), parse("90 /min", "1/s")
    (0.95, 2000000000.0, 1.5)
    >>> parse("2 Gb", "B")
    Traceback (most recent call last):
        ...
    ValueError: '2 Gb' has the unit 'Gb'; did you mean 'GB'? (B, kB, MB, GB, KiB, MiB, GiB)
    >>> parse(30, "s")
    Traceback (most recent call last):
        ...
    ValueError: 30 is no text with a number and its unit, such as "30 s"
    """
    example = EXAMPLES[unit]
    match = _VALUE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f'{text!r} is no text with a number and its unit, such as "{example}"')
    known = UNITS[unit]
    written = match["unit"]
    if written not in known:
        names = ", ".join(name for name in known if name)
        if not written:
            raise ValueError(f'{text!r} has no unit; write it as in "{example}" ({names})')
        if not names:
            raise ValueError(f'{text!r} has the unit {written!r}; this is a count, as in "5"')
        close = difflib.get_close_matches(written, known, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{text!r} has the unit {written!r}{hint} ({names})")
    # In decimals, as it was written: 95 times 0.01 is not 0.95 in binary.
    value = float(Decimal(match["number"]) * Decimal(repr(known[written])))
    if unit == "share" and value > 1:
        raise ValueError(f"{text!r} is more than 100 %")
    return value
