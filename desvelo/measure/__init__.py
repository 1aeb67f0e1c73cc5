"""Phases on the real system: load, endurance, resources, thresholds, history."""
