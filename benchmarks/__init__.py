"""Measures the figures that the documentation quotes: ``python -m benchmarks NAME``."""
