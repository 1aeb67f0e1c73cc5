"""What a model may say besides its operations, and what goes wrong with it."""

import collections
import datetime as dt
import enum
from dataclasses import dataclass

import pytest

from desvelo.errors import UsageError
from desvelo.oracle.frozen import frozen
from desvelo.oracle.invocation import Invocation, read_history, write_history
from desvelo.oracle.linearizability import check
from tests.oracle.sequential_models import PartitionedStore, Queue, Register, Store, history


class Seats:
    """Seats that can be booked once; a second booking is refused with an error."""

    expected_errors = (LookupError,)

    def __init__(self):
        self.taken = set()

    def book(self, seat):
        if seat in self.taken:
            raise KeyError(seat)
        self.taken.add(seat)


def book(client, begin, end, error=None):
    return Invocation(client, "book", {"seat": "A1"}, begin, end, None, error)


def test_an_error_that_is_an_answer_must_be_given_by_the_model_too():
    assert check([book("a", 0, 3), book("b", 1, 2, KeyError("A1"))], Seats).ok
    both = [book("a", 0, 3, KeyError("A1")), book("b", 1, 2, KeyError("A1"))]
    verdict = check(both, Seats)
    assert verdict.outcome == "illegal"
    assert verdict.instead == ("➜ None",)


def test_other_errors_may_have_taken_effect_or_not():
    for other in (None, KeyError("A1")):
        assert check([book("a", 0, 1, OSError()), book("b", 2, 3, other)], Seats).ok


def test_an_answer_may_be_an_error_by_name_as_it_stands_in_a_file():
    class ByName(Seats):
        expected_errors = (KeyError,)

    assert not check([book("b", 1, 2, "KeyError: 'A1'")], ByName).ok
    assert check([book("a", 0, 1), book("b", 2, 3, "KeyError: 'A1'")], ByName).ok


def test_what_the_model_refuses_in_every_order_is_said():
    verdict = check(history("A:dequeue() A:x"), Queue)
    assert verdict.summary() == (
        "no order of the calls explains dequeue() ➜ 'x' of A: "
        "the model refuses it (IndexError: pop from empty list)"
    )


def test_what_the_model_could_answer_in_several_orders_is_listed():
    verdict = check(history("A:write(1) B:write(2) C:read() C:3 A:ok B:ok"), Register)
    assert verdict.instead == ("➜ 0", "➜ 1", "➜ 2")
    assert verdict.summary().endswith("the model says 0 or 1 or 2")


def test_keys_are_judged_apart_and_the_report_is_of_the_key_that_fails():
    calls = [
        Invocation("a", "write", {"key": "x", "value": 1}, 0, 1),
        Invocation("a", "write", {"key": "y", "value": 2}, 2, 3),
        Invocation("b", "read", {"key": "y"}, 4, 5),
    ]
    verdict = check(calls, PartitionedStore)
    assert (verdict.key, verdict.keys) == ("y", 2)
    assert verdict.explain().splitlines() == [
        "no order of the calls explains read(key='y') ➜ None of b: the model says 2 in every order",
        "The shortest part of the history of 'y' that no order explains, time goes right:",
        "  a  ├┤    write(key='y', value=2) ➜ None",
        "  b    ├┤  read(key='y') ➜ None   ✗",
    ]


def test_a_call_that_concerns_every_key_keeps_all_together():
    class Listed(PartitionedStore):
        def partition(self, name, arguments):
            return arguments.get("key")

        def keys(self):
            return sorted(self.values)

    calls = [
        Invocation("a", "write", {"key": "x", "value": 1}, 0, 1),
        Invocation("b", "keys", {}, 2, 3, result=["x"]),
    ]
    assert check(calls, Listed).ok
    assert not check([calls[0], Invocation("b", "keys", {}, 2, 3, result=[])], Listed).ok


def test_a_model_may_say_what_tells_its_states_apart():
    class Bag(Store):
        def state(self):
            return frozenset(self.values.items())

    writes = [Invocation("a", "write", {"key": k, "value": 1}, 0, 99) for k in "abcdef"]
    wrong = [*writes, Invocation("b", "read", {"key": "a"}, 100, 101, result=2)]
    assert check(wrong, Bag).states < check(wrong, Store).states


def test_a_budget_that_is_spent_gives_no_answer_the_same_in_every_run():
    writes = [Invocation("a", "write", {"value": n}, 0, 99) for n in range(12)]
    wrong = [*writes, Invocation("b", "read", {}, 100, 101, result=77)]
    verdicts = [check(wrong, Register, most_states=500) for _ in range(2)]
    assert [(one.outcome, one.states) for one in verdicts] == [("unknown", 500)] * 2
    assert verdicts[0].summary() == "no answer after 500 states"


def test_a_model_changes_nothing_of_the_history():
    class Eater(Queue):
        def enqueue(self, item):
            super().enqueue(item.pop())

    call = Invocation("a", "enqueue", {"item": ["x"]}, 0, 1)
    assert check([call, Invocation("b", "dequeue", {}, 2, 3, result="x")], Eater).ok
    assert call.arguments == {"item": ["x"]}


def test_long_histories_are_judged_without_recursion():
    calls = [Invocation("a", "write", {"value": n % 5}, 2 * n, 2 * n + 1) for n in range(3_000)]
    assert check(calls, Register).ok


def test_of_many_calls_the_last_are_drawn():
    calls = [Invocation("a", "write", {"value": n}, 2 * n, 2 * n + 1) for n in range(40)]
    verdict = check([*calls, Invocation("b", "read", {}, 99, 100, result=7)], Register)
    lines = verdict.lines()
    assert len(lines) == 16
    assert lines[1] == "  (after 27 more that ended before)"
    assert lines[-1].endswith("read() ➜ 7   ✗")
    assert all(len(line) <= 100 for line in lines)


def test_a_failed_call_is_drawn_as_one_whose_end_is_not_known():
    verdict = check(history("A:write(1) A:!TimeoutError B:read() B:5"), Register)
    assert "  A  ├╳    write(value=1) ✗ TimeoutError" in verdict.lines()
    assert verdict.instead == ("➜ 0", "➜ 1")


def test_async_models_are_refused():
    class Wrong(Register):
        async def read(self):
            return self.value

    with pytest.raises(UsageError, match=r"Wrong\.read is async; a sequential model has plain"):
        check(history("A:read() A:0"), Wrong)


def test_expected_errors_that_are_none_are_refused():
    class Wrong(Register):
        expected_errors = KeyError

    with pytest.raises(UsageError, match=r"Wrong\.expected_errors must be a tuple of error"):
        check([], Wrong)


def test_a_result_that_cannot_be_compared_is_named():
    class Array:
        def __eq__(self, other):
            raise ValueError("ambiguous")

        __hash__ = None

    with pytest.raises(UsageError, match=r"the result of read\(\) cannot be compared"):
        check([Invocation("a", "read", {}, 0, 1, result=Array())], Register)


def test_a_call_cannot_end_before_it_begins():
    with pytest.raises(UsageError, match=r"read\(\) of a ends at 1, before it begins at 2"):
        Invocation("a", "read", {}, 2, 1)


# histories in files


def test_a_history_that_is_written_is_read_again(tmp_path):
    calls = history("A:enqueue(x) B:dequeue() B:x A:!OSError C:dequeue()")
    write_history(tmp_path / "history.jsonl", calls)
    assert read_history(tmp_path / "history.jsonl") == calls


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"client": "a", "name": "read"}]', "call 1 has no 'begin'"),
        ('{"client": "a", "name": "read", "begin": 0, "start": 1}', "has 'start', which means"),
        ('{"client": "a", "name": "read", "begin": "0"}', "has begin '0', which is no number"),
        ('{"client": "a", "name": "r", "begin": 0, "arguments": [1]}', "no object of names"),
        ("[3]", "call 1 is int, and must be an object"),
        ("{", "cannot be read as a history"),
    ],
)
def test_what_is_no_history_is_refused_with_its_place(tmp_path, text, said):
    path = tmp_path / "history.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_history(path)


# images of states


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


@dataclass
class Point:
    x: int
    tags: list


@pytest.mark.parametrize(
    "make",
    [
        lambda: [1, {"a": {1, 2}, "b": (3, [4])}],
        lambda: collections.OrderedDict(a=[1]),
        lambda: collections.defaultdict(list, a=[1]),
        lambda: collections.deque([1, [2]], maxlen=3),
        lambda: Point(1, ["x"]),
        lambda: Slotted([1, 2]),
        lambda: (Colour.RED, dt.date(2025, 1, 1), bytearray(b"x"), 1.5),
        lambda: KeyError("x", [1]),
    ],
)
def test_equal_states_have_equal_images(make):
    assert frozen(make()) == frozen(make())
    assert hash(frozen(make())) == hash(frozen(make()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1], (1,)),
        ([1], [True]),
        ([1], [1.0]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Point(1, []), Point(1, ["x"])),
        (Slotted(1), Slotted(2)),
        (Colour.RED, Colour.BLUE),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=1), collections.defaultdict(list, a=2)),
        ({1, 2}, frozenset({1, 2})),
    ],
)
def test_states_that_differ_have_images_that_differ(one, other):
    assert frozen(one) != frozen(other)


def test_one_list_under_two_names_is_not_two_equal_lists():
    shared = [1]
    assert frozen([shared, shared]) != frozen([[1], [1]])


def test_what_holds_itself_has_an_image():
    ring, other = [1], [1]
    ring.append(ring)
    other.append(other)
    assert frozen(ring) == frozen(other)
