"""Two threads count visits: each reads the number, adds one and writes it back, twice.

    desvelo explore examples/thread_counter.py

Between the reading and the writing the other thread may have counted, and its visit is lost.
"""

runtime = "threads"


class Counter:
    def __init__(self):
        self.visits = 0

    def visit(self):
        seen = self.visits
        self.visits = seen + 1


def setup():
    return Counter()


def operations(counter):
    def browse():
        for _ in range(2):
            counter.visit()

    return {"one": browse, "two": browse}


def check(counter):
    assert counter.visits == 4, f"{counter.visits} visits were counted, there were 4"
