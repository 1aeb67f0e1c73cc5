"""Thresholds: what a phase has to reach, read from ``thresholds.toml``."""

from desvelo.measure.thresholds.checking import judge
from desvelo.measure.thresholds.explaining import explain
from desvelo.measure.thresholds.reading import Thresholds, read_thresholds

__all__ = ["Thresholds", "explain", "judge", "read_thresholds"]
