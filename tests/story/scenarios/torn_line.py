"""A line reads and writes; a thread is stopped between the two."""

runtime = "threads"
granularity = "instruction"


class Counter:
    def __init__(self):
        self.n = 0

    def add(self):
        self.n += 1


def setup():
    return Counter()


def operations(counter):
    return {"a": counter.add, "b": counter.add}


def check(counter):
    assert counter.n == 2, counter.n
