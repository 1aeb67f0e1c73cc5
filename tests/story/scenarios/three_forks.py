"""Three threads take two of three locks each, in a circle."""

import threading

runtime = "threads"


class Table:
    def __init__(self):
        self.forks = [threading.Lock() for _ in range(3)]
        self.eaten = 0

    def eat(self, left, right):
        with self.forks[left]:
            self.take(right)

    def take(self, right):
        with self.forks[right]:
            self.eaten += 1


def setup():
    return Table()


def operations(table):
    return {f"p{i}": lambda i=i: table.eat(i, (i + 1) % 3) for i in range(3)}
