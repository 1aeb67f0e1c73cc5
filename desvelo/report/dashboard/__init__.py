"""The history of runs in a browser: trends, and down to each run and each finding."""

from desvelo.report.dashboard.server import Dashboard, serve

__all__ = ["Dashboard", "serve"]
