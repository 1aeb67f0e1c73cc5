"""Oracles: what counts as a failure without a check being written."""
