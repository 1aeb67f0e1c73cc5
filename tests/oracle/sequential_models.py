"""Sequential models that the tests of histories share, and a short way to write histories."""

from desvelo.oracle.invocation import Invocation


class Register:
    def __init__(self):
        self.value = 0

    def write(self, value):
        self.value = value

    def read(self):
        return self.value


class Queue:
    """First in, first out; an empty one gives nothing to anybody."""

    def __init__(self):
        self.items = []

    def enqueue(self, item):
        self.items.append(item)

    def dequeue(self):
        return self.items.pop(0)


class Store:
    """Registers by key."""

    def __init__(self):
        self.values = {}

    def write(self, key, value):
        self.values[key] = value

    def read(self, key):
        return self.values.get(key)

    def swap(self, key, value):
        before = self.values.get(key)
        self.values[key] = value
        return before


class PartitionedStore(Store):
    def partition(self, name, arguments):
        return arguments["key"]


def history(text):
    """Read events in order of time: ``A:enqueue(x)`` begins a call, ``A:x`` or ``A:ok`` ends it.

    A call's argument is taken for the first parameter of its operation. ``A:!Error`` is a failure.
    """
    open_, calls = {}, []
    for moment, event in enumerate(text.split()):
        client, _, said = event.partition(":")
        if "(" in said:
            name, _, given = said.removesuffix(")").partition("(")
            parameter = {"enqueue": "item", "write": "value"}.get(name)
            arguments = {parameter: _value(given)} if given else {}
            open_[client] = len(calls)
            calls.append({"client": client, "name": name, "arguments": arguments, "begin": moment})
            continue
        call = calls[open_.pop(client)]
        call["end"] = moment
        if said.startswith("!"):
            call["error"] = said.removeprefix("!")
        elif said != "ok":
            call["result"] = _value(said)
    return [Invocation(**call) for call in calls]


def _value(text):
    return int(text) if text.isdigit() else text
