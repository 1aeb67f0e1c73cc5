"""Load on a real server: what is sent, at which moments, and what became of it."""

from desvelo.measure.load.request import WebhookRequest

__all__ = ["WebhookRequest"]
