"""The past of a target: every run that was made, and what changed."""

from desvelo.measure.history.comparison import compare
from desvelo.measure.history.store import History, open_history

__all__ = ["History", "compare", "open_history"]
