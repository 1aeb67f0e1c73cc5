"""The target's processes: a server of the run's own, and what they use while they run."""
