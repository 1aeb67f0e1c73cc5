"""A small target with a server of its own, and a phase's surroundings."""

import http.client
import itertools
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from desvelo.measure.context import Context
from desvelo.measure.load import WebhookRequest
from desvelo.measure.plan import Load, Settings, Webhook

SCRIPT = Path(__file__).with_name("small_server.py")


class SmallTarget:
    """Every fifth key is to be refused."""

    name = "small"
    health = "/"

    def __init__(self, fault="none"):
        self.fault = fault
        self._series = itertools.count()

    def server_command(self, port, folder):
        return [sys.executable, "-S", str(SCRIPT), str(port), str(folder / "store"), self.fault]

    def webhook_requests(self, seed, count):
        series = next(self._series)
        keys = [f"{'bad' if n % 5 == 4 else 'good'}-{series}-{n}" for n in range(count)]
        return [
            WebhookRequest("POST", "/", key.encode(), {}, key, valid=key.startswith("good"))
            for key in keys
        ]

    def accepted(self, status, body):
        return status == 200 and body == b"done"

    def stored_keys(self, url):
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request("GET", "/")
        text = connection.getresponse().read().decode()
        connection.close()
        return Counter(text.split())


@pytest.fixture
def small(tmp_path):
    """Return a function that makes a context around a small target with a fault."""

    def make(fault="none", *, requests=100, concurrency=10, **settings):
        chosen = Settings(
            load=Load(users=(1, 2), seconds=0.1, most=10),
            webhook=Webhook(requests, concurrency),
        )
        return Context(SmallTarget(fault), replace(chosen, **settings), tmp_path)

    return make
