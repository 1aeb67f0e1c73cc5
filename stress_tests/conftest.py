"""Shared by all stress tests: our Hypothesis profile, whatever ``CI`` says."""

from __future__ import annotations

from hypothesis import settings

from desvelo.machine.profiles import DEFAULT

settings.load_profile(DEFAULT)
