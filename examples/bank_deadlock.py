"""Two transfers in opposite directions, each of which locks its source before its destination.

    desvelo explore examples/bank_deadlock.py

When each has got its first lock, neither gets its second.
"""

import threading

runtime = "threads"


class Account:
    def __init__(self, balance):
        self.balance = balance
        self.lock = threading.Lock()


def transfer(source, destination, amount):
    with source.lock:
        with destination.lock:
            source.balance -= amount
            destination.balance += amount


def setup():
    return Account(100), Account(100)


def operations(accounts):
    one, two = accounts
    return {
        "to-two": lambda: transfer(one, two, 10),
        "to-one": lambda: transfer(two, one, 20),
    }


def check(accounts):
    one, two = accounts
    assert one.balance + two.balance == 200
