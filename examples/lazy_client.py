"""Two threads ask for a client that is made at first use: checked twice, but published too early.

    desvelo explore examples/lazy_client.py

The second check is under a lock, the first is not; and the client can be seen before it knows its
address.
"""

import threading

runtime = "threads"


class Client:
    address = None

    def connect(self, address):
        self.address = address


class Clients:
    def __init__(self):
        self.lock = threading.Lock()
        self.client = None

    def get(self):
        if self.client is None:
            with self.lock:
                if self.client is None:
                    self.client = Client()
                    self.client.connect("127.0.0.1")
        return self.client


def setup():
    return Clients()


def operations(clients):
    def ask():
        address = clients.get().address
        assert address is not None, "the client has no address yet"
        return address

    return {"one": ask, "two": ask}
