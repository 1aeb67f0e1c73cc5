"""A class attribute of a machine that cannot be is refused when the class is made."""

import pytest
from hypothesis.errors import InvalidDefinition

from desvelo import ConcurrentMachine, fault, operation
from desvelo.errors import UsageError


class Shop(ConcurrentMachine):
    @operation()
    async def order(self):
        pass


WRONG = {
    "runtime": [("processes", "one of asyncio, threads"), (["threads"], "one of asyncio")],
    "cancellable": [("order", "True or False"), (("order",), "True or False, for all")],
    "most_cancels": [
        ("x", "a whole number from 1"),
        (0, "a whole number"),
        (True, "a whole number"),
    ],
    "longest_elapse": [("x", "a number of virtual seconds from 0"), (-1, "a number of virtual")],
    "expected_errors": [("OSError", "a tuple of classes of exceptions"), ((OSError(),), "a tuple")],
    "leaks": [("no", "True or False"), (0, "True or False")],
    "world_options": [
        ("latency", "a dict of latency"),
        ({"latencies": 1}, "a dict of latency"),
        ({"latency": "slow"}, "a dict of latency"),
        ({"max_polls": 0}, "a dict of latency"),
        ({"network": 3}, "a dict of latency"),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_the_wrong_type_is_refused_in_one_sentence(name):
    for value, may_be in WRONG[name]:
        with pytest.raises(InvalidDefinition) as raised:
            type("Wrong", (Shop,), {name: value})
        assert str(raised.value).startswith(f"Wrong.{name} is {value!r}; it must be {may_be}")


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"allow_leaks": {"tsak": "x"}}, "Wrong.allow_leaks: there is no kind 'tsak'; did you"),
        ({"allow_leaks": "task"}, "Wrong.allow_leaks is 'task'; it is a dict"),
        ({"faults": fault.reset}, "Wrong: faults is fault.reset; it must be a tuple: faults = ("),
        ({"faults": ("reset",)}, "Wrong: faults has 'reset', which is no fault; list those of"),
        ({"faults": (fault.stall, fault.stall.at_most(1))}, "Wrong: faults has fault.stall twice"),
        ({"fault": (fault.reset,)}, "Wrong: there is no attribute 'fault'; did you mean 'faults'?"),
        ({"expected_error": (OSError,)}, "Wrong: there is no attribute 'expected_error'; did you"),
        ({"most_faults": -1}, "Wrong: most_faults is -1; it must be a whole number, 0 or more"),
        ({"most_faults": "2"}, "Wrong: most_faults is '2'; it must be a whole number, 0 or more"),
    ],
)
def test_so_are_kinds_of_leaks_and_faults_that_cannot_be(declared, sentence):
    with pytest.raises(InvalidDefinition) as raised:
        type("Wrong", (Shop,), declared)
    assert str(raised.value).startswith(sentence)


def test_what_a_fault_needs_may_be_written_in_a_subclass():
    class Restarting(Shop):
        faults = (fault.restart_server,)

    with pytest.raises(InvalidDefinition, match=r"needs a function restart\(\); write one"):
        Restarting()

    class Complete(Restarting):
        async def restart(self):
            pass

    Complete().teardown()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: fault.Fault("nine", print, "", 9), "fault.nine has 9 variants; it must be 1 to 8"),
        (lambda: fault.Fault("none", print, variants="2"), "has '2' variants; it must be 1 to 8"),
        (lambda: fault.Fault("two", print, ("a", "b")), "has 1 variants, but 2 texts"),
        (lambda: fault.Fault("odd", 3, "{}"), "fault.odd: strike is 3; it must be a function of"),
        (lambda: fault.reset.at_most(0), "fault.reset.at_most(0): the number must be 1 or more"),
        (lambda: fault.reset.at_most(2.5), "fault.reset.at_most(2.5): the number must be 1 or"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_in_one_sentence(make, sentence):
    with pytest.raises(UsageError) as raised:
        make()
    assert sentence in str(raised.value)
