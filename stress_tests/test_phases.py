"""The phases of the strategy document, on real processes, sockets and clocks.

They run with ``--phase=NAME`` only, with the numbers of ``--stress-profile``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PHASES = ("baseline", "load", "endurance", "memory", "io", "database", "webhook")


@pytest.mark.parametrize(
    "phase", [pytest.param(name, marks=pytest.mark.stress(phase=name)) for name in PHASES]
)
def test_phase(phase: str, run_phase: Callable[[str], Any]) -> None:
    result = run_phase(phase)
    assert result.status == "passed", result.reason
