"""A thread looks, and waits for a notification that was given in between."""

import threading

runtime = "threads"


class Gate:
    def __init__(self):
        self.changed = threading.Condition()
        self.ready = False

    def wait(self):
        if not self.ready:
            with self.changed:
                self.changed.wait()

    def open(self):
        self.ready = True
        with self.changed:
            self.changed.notify_all()


def setup():
    return Gate()


def operations(gate):
    return {"waiter": gate.wait, "opener": gate.open}
